"""Landmarks in space, from the files that people keep them in."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Float

from flamehead._types import StrPath
from flamehead.errors import InputError

__all__ = ["read_points"]

_MAX_BYTES = 20_000_000
_WANTED = "an .npy, .npz, .json, .txt, .csv or MeshLab .pp file with x, y and z of each landmark"


def read_points(path: StrPath) -> Float[np.ndarray, "L 3"]:
    """Read landmarks in space, in the file's order, frame and unit.

    `.npy` and `.npz` (key `points`, or the only one) with numbers `L 3`; `.json` with a list of points or
    `{"points": [...]}`; `.txt` and `.csv` with three numbers a line; `.pp` as MeshLab writes it, where points that are
    not active become NaN.

    Raises:
        InputError: The file is missing, cannot be read, or does not hold points in space.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "points.txt"
        >>> _ = path.write_text("0 0 0\\n1 2 3\\n")
        >>> read_points(path).shape
        (2, 3)
    """
    path = Path(path)
    text = dict.fromkeys((".txt", ".csv"), _read_text)
    readers = {".npy": _read_npy, ".npz": _read_npz, ".json": _read_json, ".pp": _read_pp} | text
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"Cannot read landmarks from {path}: the suffix {path.suffix!r} is unknown; give {_WANTED}.")
    if not path.is_file():
        raise InputError(f"Landmark file not found: {path}; check the path.")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("it is far too large")
        points = np.asarray(reader(path), dtype=np.float64)
    # Parsers fail on broken files in every way that Python knows.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(".;")
        raise InputError(f"Cannot read landmarks from {path} ({reason}); give {_WANTED}.") from error
    while points.ndim > 2 and len(points) == 1:
        points = points[0]
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise InputError(f"The landmarks in {path} have shape {points.shape}; give {_WANTED}.")
    if np.isinf(points).any():
        raise InputError(f"The landmarks in {path} hold infinite values; give {_WANTED}.")
    return points


def _read_npy(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def _read_npz(path: Path) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
            raise ValueError("its arrays are far too large")
    with np.load(path, allow_pickle=False) as stored:
        if "points" not in stored and len(stored.files) != 1:
            raise ValueError(f"it holds {', '.join(sorted(stored.files)[:8]) or 'nothing'} but no points")
        return stored["points" if "points" in stored else stored.files[0]]


def _read_json(path: Path) -> list:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    return content["points"] if isinstance(content, dict) else content


def _read_text(path: Path) -> list[list[float]]:
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    rows = [[word for word in re.split(r"[\s,;]+", line) if word] for line in lines if line]
    # A first line of names is no point.
    if rows and not _is_number(rows[0][0]):
        rows = rows[1:]
    return [[float(word) for word in row] for row in rows]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _read_pp(path: Path) -> list[list[float]]:
    text = path.read_text(encoding="utf-8-sig")
    # Entities could make a small file huge; MeshLab writes none.
    if "<!ENTITY" in text:
        raise ValueError("it defines entities")
    found = []
    for point in ElementTree.fromstring(text).iter("point"):
        place = [float(point.attrib[axis]) for axis in "xyz"]
        found.append(place if point.attrib.get("active", "1") != "0" else [np.nan] * 3)
    return found
