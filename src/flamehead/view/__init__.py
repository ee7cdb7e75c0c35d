"""The head in a browser: sliders, fitted photos, tracks and scans; a server for browsers on this computer (viser)."""

from flamehead.view.controls import Control, all_directions, controls
from flamehead.view.results import PhotoResult, Result, ScanResult, TrackResult, open_result
from flamehead.view.state import PRESETS, HeadState, History, params_of
from flamehead.view.viewer import Viewer

__all__ = [
    "PRESETS",
    "Control",
    "HeadState",
    "History",
    "PhotoResult",
    "Result",
    "ScanResult",
    "TrackResult",
    "Viewer",
    "all_directions",
    "controls",
    "open_result",
    "params_of",
]
