"""Points of scans and photos: MeshLab's picked points and small arrays."""

from __future__ import annotations

import re

import numpy as np

from flamehead._types import StrPath
from flamehead.assets._entries import Entries
from flamehead.assets.kinds import DisplacementMap, ImageLandmarks, PickedPoints, ScanLandmarks, Segmentation
from flamehead.assets.safe_pickle import read_bytes
from flamehead.errors import InputError

__all__ = ["is_picked_points", "points_in", "read_picked_points"]

# No XML parser: it would unfold entities, and the files are one flat list.
_POINT = re.compile(r"<point\b([^<>]{0,1000})/?>")
_ATTRIBUTE = re.compile(r"""([\w:]{1,40})\s*=\s*["']([^"'<>]{0,200})["']""")
_LARGEST_OFFSET = 0.05
"""Metres; a displacement along the normals has some millimetres."""
_MOST_CLASSES = 32


def is_picked_points(start: bytes) -> bool:
    """Whether a file that begins like this is one of MeshLab's."""
    return b"PickedPoints" in start[:256]


def read_picked_points(path: StrPath) -> PickedPoints:
    """A `.pp` file of MeshLab, in any order of attributes.

    Raises:
        AssetNotFound: there is no such file.
        InputError: it is damaged or holds no points.
    """
    text = read_bytes(path, most=2**22).decode("utf-8", errors="replace")
    names, rows, active = [], [], []
    for number, match in enumerate(_POINT.finditer(text), 1):
        attributes = dict(_ATTRIBUTE.findall(match[1]))
        try:
            rows.append([float(attributes[axis]) for axis in "xyz"])
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}: point {number} lacks a number x, y or z; save it again in MeshLab.") from error
        names.append(attributes.get("name", ""))
        active.append(attributes.get("active", "1") != "0")
    if not rows or "</PickedPoints>" not in text:
        raise InputError(f"{path} is not a whole file of picked points ({len(rows)} found); save it again in MeshLab.")
    points = np.array(rows, dtype=np.float64)
    Entries(str(path), {}, "save it again in MeshLab").check_finite("point", points)
    return PickedPoints(tuple(names), points, np.array(active))


def points_in(content: object, name: str) -> ScanLandmarks | ImageLandmarks | DisplacementMap | Segmentation | None:
    """What a small array without a name is, by its shape and values; None when it is nothing known."""
    if not isinstance(content, np.ndarray) or content.dtype.kind not in "fiu" or content.ndim != 2:
        return None
    file = Entries(name, {"(array)": content})
    if content.shape == (51, 3):
        return ScanLandmarks(file.floats("(array)", (51, 3)).astype(np.float64))
    if content.shape == (68, 2):
        return ImageLandmarks(file.floats("(array)", (68, 2)).astype(np.float64))
    if content.shape[0] != content.shape[1] or not 64 <= len(content) <= 4096:
        return None
    values = file.floats("(array)", (None, None))
    low, high = float(values.min()), float(values.max())
    if 0 <= low and high < _MOST_CLASSES and high >= 1 and (values == np.floor(values)).all():
        return Segmentation(values.astype(np.uint8))
    if max(-low, high) <= _LARGEST_OFFSET:
        return DisplacementMap(values.astype(np.float64))
    return None
