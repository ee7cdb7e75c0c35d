"""One door to tracked videos, whoever tracked them."""

from __future__ import annotations

import math
from pathlib import Path

from flamehead._types import StrPath
from flamehead.data import Track
from flamehead.errors import InputError
from flamehead.formats.fingerprint import check_fingerprint
from flamehead.formats.tracker_folder import is_tracker_folder, read_tracker_folder
from flamehead.formats.vhap_folder import is_vhap_folder, read_vhap_folder
from flamehead.io import is_track_file, load_track
from flamehead.model import Flame

__all__ = ["is_track", "open_track"]

_OWN = "track.npz"
_KINDS = (
    "a track.npz, a folder with one, an output folder of metrical-tracker (`checkpoint/*.frame`), or a run or an "
    "export of VHAP"
)


def open_track(path: StrPath, flame: Flame, *, fps: float | None = None, force: bool = False) -> Track:
    """Open a tracked video: flamehead's, metrical-tracker's or VHAP's.

    Args:
        path: A `track.npz` or a folder that holds one; an output folder of metrical-tracker; a
            `tracked_flame_params*.npz`, the folder of a run, or an exported data set of VHAP.
        flame: The model of the parameters.
        fps: Frames per second of other programs' folders; `None` is what they say, or 25.
        force: Accept parameters of another model.

    Raises:
        AssetNotFound: There is nothing there.
        InputError: It is none of these, is damaged, or belongs to another model; or the rate is not positive.

    Example:
        >>> track = open_track("out", flame)  # doctest: +SKIP
    """
    place = Path(path)
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InputError(f"The rate is {fps} frames per second; give a number above 0, or leave it out.")
    if not place.exists():
        raise InputError(f"There is no track at {place}; give {_KINDS}.")
    own = place / _OWN if place.is_dir() else place
    if own.is_file() and is_track_file(own):
        track = load_track(own)
        check_fingerprint(track.fingerprint, flame, force=force)
        return track
    if place.is_dir() and is_tracker_folder(place):
        return read_tracker_folder(place, flame, fps=fps, force=force)
    if place.is_dir() and is_vhap_folder(place):
        return read_vhap_folder(place, flame, fps=fps, force=force)
    if place.is_file() and place.name.startswith("tracked_flame_params"):
        return read_vhap_folder(place, flame, fps=fps, force=force)
    raise InputError(f"{place} is no track that is known here; give {_KINDS}.")


def is_track(path: StrPath) -> bool:
    """Whether `open_track` would know what it is; looks at names and lists of contents only."""
    place = Path(path)
    if place.is_dir():
        return is_track_file(place / _OWN) or is_tracker_folder(place) or is_vhap_folder(place)
    return is_track_file(place) or (place.is_file() and place.name.startswith("tracked_flame_params"))
