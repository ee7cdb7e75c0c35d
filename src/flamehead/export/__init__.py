"""Results for other programs: ARKit coefficients, Live Link Face tables, a page that shows the head."""

from flamehead.export.arkit import ArkitFit, from_arkit, to_arkit, track_to_arkit
from flamehead.export.arkit_csv import (
    ANGLE_NAMES,
    LiveLinkTake,
    arkit_take,
    head_and_eye_angles,
    read_live_link,
    write_live_link,
)
from flamehead.export.arkit_names import ARKIT_NAMES, arkit_index
from flamehead.export.arkit_rig import ArkitRig, arkit_rig
from flamehead.export.html import write_html

__all__ = [
    "ANGLE_NAMES",
    "ARKIT_NAMES",
    "ArkitFit",
    "ArkitRig",
    "LiveLinkTake",
    "arkit_index",
    "arkit_rig",
    "arkit_take",
    "from_arkit",
    "head_and_eye_angles",
    "read_live_link",
    "to_arkit",
    "track_to_arkit",
    "write_html",
    "write_live_link",
]
