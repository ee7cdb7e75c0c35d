"""Landmarks of one face in a file: npz (our own), npy or json, checked before anything is fitted to them."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float

from flamehead._atomic import atomic_path
from flamehead.data import LandmarkScheme, Observation
from flamehead.errors import InputError

__all__ = ["SCHEME_SIZES", "read_landmarks", "write_landmarks"]

SCHEME_SIZES: dict[LandmarkScheme, int] = {"ibug68": 68, "mediapipe105": 105, "mediapipe468": 468, "mediapipe478": 478}
"""How many points each scheme holds; the number alone tells the scheme."""

_MAX_BYTES = 20_000_000
_WANTED = "68 (iBUG), 105, 468 or 478 (MediaPipe) points with x and y in pixels"


def read_landmarks(path: str | Path, *, size: tuple[int, int]) -> Observation:
    """Read the landmarks of one face, in pixels of an image of `size` (width, height).

    Accepted: `.npy` with `L 2` or `L 3` numbers (z is dropped), `.json` with a list of points or
    `{"points": [...], "scheme": "..."}`, and `.npz` as `write_landmarks` makes it. A point at exactly (0, 0), the usual
    mark for a point that was not found, becomes NaN.

    Raises:
        InputError: The file cannot be read, or its content cannot be the landmarks of a face in this image.
    """
    path = Path(path)
    points, scheme, made_for = _read(path)
    if made_for is not None and made_for != tuple(size):
        raise InputError(
            f"The landmarks in {path} belong to an image of {made_for[0]} x {made_for[1]} pixels, but this one has "
            f"{size[0]} x {size[1]}; give the landmarks of this image."
        )
    array = _to_points(points, path)
    found = _scheme_of(array, scheme, path)
    # Only our own files use NaN on purpose, for points that were not seen; elsewhere it is the trace of a fault.
    holes = np.isnan(array).all(axis=1) & (path.suffix.lower() == ".npz")
    if not np.isfinite(array[~holes]).all():
        raise InputError(f"The landmarks in {path} hold NaN or infinite values; give {_WANTED}.")
    array = np.where((array == 0).all(axis=1, keepdims=True), np.nan, array)
    _check_range(array[np.isfinite(array[:, 0])], path, size)
    return Observation(array, found, (int(size[0]), int(size[1])))


def write_landmarks(
    path: str | Path,
    *,
    detected: Float[np.ndarray, "L 2"],
    scheme: LandmarkScheme,
    size: tuple[int, int],
    fitted: Float[np.ndarray, "L 2"] | None = None,
    source: str = "file",
) -> None:
    """Write detected landmarks, and the model's own where given, as npz with the keys `points`, `fitted`, `scheme`,
    `size` and `source`; `read_landmarks` takes `points` back."""
    points = np.asarray(detected, dtype=np.float64)
    if points.shape != (SCHEME_SIZES[scheme], 2):
        raise InputError(
            f"Cannot write {path}: got landmarks of shape {points.shape}, wanted {SCHEME_SIZES[scheme]} x 2."
        )
    other = np.full_like(points, np.nan) if fitted is None else np.asarray(fitted, dtype=np.float64)
    if other.shape != points.shape:
        raise InputError(f"Cannot write {path}: got fitted landmarks of shape {other.shape}, wanted {points.shape}.")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            points=points,
            fitted=other,
            scheme=np.array(scheme),
            size=np.array(size, dtype=np.int64),
            source=np.array(source),
        )


def _read(path: Path) -> tuple[Any, str | None, tuple[int, int] | None]:
    """The raw points, the scheme if the file names one, and the image size if it holds one."""
    readers = {".npy": _read_npy, ".npz": _read_npz, ".json": _read_json}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"Cannot read landmarks from {path}: the suffix {path.suffix!r} is not .npz, .npy or .json.")
    try:
        if path.is_dir():
            raise InputError(f"Cannot read landmarks from {path}: it is a folder; give one file.")
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"The file {path} is far too large for the landmarks of one face; give {_WANTED}.")
        return reader(path)
    except FileNotFoundError as error:
        raise InputError(f"Landmark file not found: {path}; check the path.") from error
    except PermissionError as error:
        raise InputError(f"Not allowed to read the landmarks {path}; change its permissions.") from error
    except InputError:
        raise
    except RecursionError as error:
        raise InputError(f"Cannot read landmarks from {path}: it is nested too deeply; give {_WANTED}.") from error
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise InputError(
            f"Cannot read landmarks from {path} ({reason}); give a whole {path.suffix} file with plain numbers."
        ) from error


def _read_npy(path: Path) -> tuple[Any, None, None]:
    with path.open("rb") as file:
        # The header is read first, so that a file that claims to be huge does not reserve the memory.
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if np.prod(shape, dtype=np.float64) * dtype.itemsize > _MAX_BYTES:
            raise InputError(f"The array in {path} has the shape {shape}; give {_WANTED}.")
    return np.load(path, allow_pickle=False), None, None


def _read_npz(path: Path) -> tuple[Any, str | None, tuple[int, int] | None]:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
            raise InputError(f"The arrays in {path} are far too large for the landmarks of one face; give {_WANTED}.")
    with np.load(path, allow_pickle=False) as stored:
        if "points" not in stored:
            raise InputError(
                f"The file {path} holds {', '.join(map(repr, sorted(stored)[:8])) or 'nothing'} but no 'points'; "
                "give a landmarks.npz written by flamehead, or an .npy file."
            )
        scheme = str(stored["scheme"]) if "scheme" in stored else None
        size = stored["size"] if "size" in stored else None
        return stored["points"], scheme, None if size is None else (int(size[0]), int(size[1]))


def _read_json(path: Path) -> tuple[Any, str | None, None]:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict):
        return content, None, None
    if "points" not in content:
        raise InputError(f'The file {path} holds no "points"; give a list of [x, y] or {{"points": [[x, y], ...]}}.')
    scheme = content.get("scheme")
    return content["points"], None if scheme is None else str(scheme), None


def _to_points(points: Any, path: Path) -> Float[np.ndarray, "L 2"]:
    try:
        array = np.asarray(points)
    except ValueError as error:
        raise InputError(f"The landmarks in {path} have rows of different lengths; give {_WANTED}.") from error
    if array.dtype.kind not in "fiu":
        raise InputError(f"The landmarks in {path} are not plain numbers (type {array.dtype}); give {_WANTED}.")
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[-1] in (2, 3):
        raise InputError(f"The file {path} holds the landmarks of {len(array)} faces; give those of one face.")
    if array.ndim != 2 or array.shape[1] not in (2, 3) or len(array) not in SCHEME_SIZES.values():
        raise InputError(f"The landmarks in {path} have the shape {array.shape}; give {_WANTED}.")
    return array[:, :2].astype(np.float64)


def _scheme_of(array: Float[np.ndarray, "L 2"], named: str | None, path: Path) -> LandmarkScheme:
    by_count: LandmarkScheme = next(scheme for scheme, count in SCHEME_SIZES.items() if count == len(array))
    if named is None or named == by_count:
        return by_count
    known = ", ".join(get_args(LandmarkScheme))
    raise InputError(
        f"The landmarks in {path} are named {named!r} but are {len(array)} points, which is {by_count!r}; "
        f"correct the name (known: {known}) or leave it out."
    )


def _check_range(seen: Float[np.ndarray, "K 2"], path: Path, size: tuple[int, int]) -> None:
    """Refuse what cannot be a face in an image of this size, naming the likely cause."""
    if len(seen) < 5:
        raise InputError(f"The landmarks in {path} hold {len(seen)} seen points, fewer than 5; give {_WANTED}.")
    if np.abs(seen).max() <= 1.5 and max(size) > 4:
        raise InputError(
            f"The landmarks in {path} seem to be normalised (values from {seen.min():.3g} to {seen.max():.3g}); "
            f"multiply x by the width {size[0]} and y by the height {size[1]}."
        )
    extent = np.ptp(seen, axis=0)
    if extent.max() < 2.0:
        raise InputError(
            f"The landmarks in {path} all lie on one spot ({extent.max():.2g} pixels wide); give {_WANTED}."
        )
    limits = np.array(size, dtype=np.float64)
    if (seen < -limits).any() or (seen > 2 * limits).any():
        worst = seen[np.argmax(np.abs(seen / limits - 0.5).max(axis=1))]
        raise InputError(
            f"The landmarks in {path} reach to ({worst[0]:.6g}, {worst[1]:.6g}), far outside the image of "
            f"{size[0]} x {size[1]} pixels; give pixels of this very image."
        )
