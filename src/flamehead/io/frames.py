"""The frames that a tracker works on: a video, or a folder of numbered pictures, streamed one at a time as bytes."""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from flamehead._types import StrPath
from flamehead.errors import InputError
from flamehead.io._decoding import decoded, read_stamps, upright
from flamehead.io.images import BROKEN_EXIF, open_picture, read_image

__all__ = ["FrameSource", "Place", "SourceFrame", "open_frames", "pictures_in"]

Place = float | int | str
"""Seconds, or a frame's number as text ending in f, such as `"120f"`."""

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_FOLDER_RATE = 25.0
_NAMED = 5
"""So many gaps are named in a sentence."""
_ORIENTATION, _TURNED_ON_SIDE = 0x0112, (5, 6, 7, 8)


@dataclass(frozen=True)
class SourceFrame:
    """One frame, upright."""

    row: int
    """Counted from 0 among the frames that were asked for."""
    frame: int
    """Counted from 0 in the source."""
    time: float
    """Seconds since the start of the source."""
    pixels: UInt8[np.ndarray, "H W 3"]
    """sRGB."""
    damaged: bool = False
    """It could not be decoded; `pixels` are those of the frame before, or black."""


@dataclass(frozen=True)
class FrameSource:
    """Which frames there are; `read` streams them."""

    path: Path
    size: tuple[int, int]
    """(width, height) of every frame in pixels, upright."""
    frames: Int[np.ndarray, "T"]
    """Which frame of the source each row is, counted from 0; increasing."""
    times: Float[np.ndarray, "T"]
    """Seconds since the source's first frame; not always evenly spaced."""
    identity: dict[str, int | str]
    """What tells that a source is still the same: bytes, time of the last change, frames."""
    warnings: tuple[str, ...]
    reader: Callable[[int], Iterator[SourceFrame]]

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, first_row: int = 0) -> Iterator[SourceFrame]:
        """Stream the rows from one on, each of them exactly once; one frame is in memory at a time.

        Raises:
            InputError: A picture of a folder is damaged or changed its size; a video's damaged frames are marked.
        """
        return self.reader(first_row)


def open_frames(
    source: StrPath, *, fps: float | None = None, start: Place = 0.0, end: Place | None = None
) -> FrameSource:
    """Look what frames a video or a folder of pictures holds, without decoding more than is needed to know.

    Pictures are taken in the order of the numbers in their names. Frames of a video keep the times that the file
    gives, also where they are not evenly spaced.

    Args:
        source: A video file, or a folder.
        fps: For a video: take so many frames per second, each the nearest in time, none twice. For a folder: how many
            pictures were taken per second; 25 by default.
        start: The first frame: seconds, or a number of a frame such as `"120f"`.
        end: The frame after the last one, likewise; None is the end.

    Raises:
        InputError: Nothing is there, nothing can be read, pictures differ in size, or no frame is between the ends.
        MissingExtra: A video, but PyAV is not installed.
    """
    path = Path(source)
    if fps is not None and not (math.isfinite(fps) and 0 < fps <= 1000):
        raise InputError(f"The rate is {fps} frames per second; give a number above 0 and up to 1000.")
    if path.is_dir():
        return _open_folder(path, fps or _FOLDER_RATE, start, end)
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"The video {path} is empty; copy or export it again.")
    return _open_video(path, fps, start, end)


def _open_video(path: Path, fps: float | None, start: Place, end: Place | None) -> FrameSource:
    stamps = read_stamps(path)
    rows, told = _between(stamps.times, start, end, path), list(stamps.warnings)
    if fps is not None:
        rows = _at_rate(stamps.times, rows, fps)
        rate = len(stamps.times) / max(stamps.times[-1], 1e-9) if len(stamps.times) > 1 else math.inf
        if fps > 1.05 * rate:
            told.append(f"The video has {rate:.4g} frames per second; {fps:g} were asked for, and none are made up.")
    info = path.stat()
    identity: dict[str, int | str] = {
        "bytes": info.st_size, "changed": info.st_mtime_ns, "frames": len(stamps.times),
        "rows": _digest(rows.astype(np.int64).tobytes()),
    }  # fmt: skip
    keys, times = stamps.keys[rows], stamps.times[rows]

    def read(first_row: int) -> Iterator[SourceFrame]:
        return _read_video(path, stamps.stamped, stamps.size, keys, rows, times, first_row)

    return FrameSource(path, stamps.size, rows, times, identity, tuple(told), read)


def _read_video(
    path: Path, stamped: bool, size: tuple[int, int], keys: Int[np.ndarray, "T"], frames: Int[np.ndarray, "T"],
    times: Float[np.ndarray, "T"], first_row: int,
) -> Iterator[SourceFrame]:  # fmt: skip
    """Decoding starts at the beginning, because what a seek gives differs from file to file; it is quick."""
    row, last = first_row, np.zeros((size[1], size[0], 3), dtype=np.uint8)
    if row >= len(keys):
        return
    for key, frame in decoded(path, stamped=stamped):
        while row < len(keys) and keys[row] < key:
            yield SourceFrame(row, int(frames[row]), float(times[row]), last, damaged=True)
            row += 1
        if row == len(keys):
            return
        if keys[row] == key:
            pixels = upright(frame)
            fits = pixels.shape == last.shape
            last = pixels if fits else last
            yield SourceFrame(row, int(frames[row]), float(times[row]), last, not fits or bool(frame.is_corrupt))
            row += 1
    for rest in range(row, len(keys)):
        yield SourceFrame(rest, int(frames[rest]), float(times[rest]), last, damaged=True)


def _open_folder(folder: Path, fps: float, start: Place, end: Place | None) -> FrameSource:
    files = pictures_in(folder)
    if not files:
        raise InputError(
            f"The folder {folder} holds no pictures ({', '.join(_PICTURES)}); name a video or such a folder."
        )
    size = _size(files[0])
    for file in files[1:]:
        if (other := _size(file)) != size:
            raise InputError(
                f"The pictures in {folder} differ in size: {files[0].name} has {size[0]} x {size[1]} pixels, "
                f"{file.name} {other[0]} x {other[1]}; bring them to one size."
            )
    places, told = _places(files)
    times = places / fps
    rows = _between(times, start, end, folder)
    chosen, shown = [files[row] for row in rows], times[rows]
    known = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    identity: dict[str, int | str] = {
        "bytes": sum(item[1] for item in known), "changed": max(item[2] for item in known), "frames": len(files),
        "rows": _digest(repr((known, rows.tolist(), fps)).encode()),
    }  # fmt: skip

    def read(first_row: int) -> Iterator[SourceFrame]:
        for row in range(first_row, len(chosen)):
            pixels = np.rint(read_image(chosen[row]) * np.float32(255)).astype(np.uint8)
            if pixels.shape[1::-1] != size:
                raise InputError(f"The picture {chosen[row]} changed its size while it was worked on; start again.")
            yield SourceFrame(row, int(rows[row]), float(shown[row]), pixels)

    return FrameSource(folder, size, rows, shown, identity, tuple(told), read)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in the order in which `open_frames` counts them; other and hidden files are none."""
    return sorted((f for f in folder.iterdir() if _is_picture(f)), key=lambda f: _natural(f.name))


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in _PICTURES and not file.name.startswith(".") and file.is_file()


def _natural(name: str) -> list[tuple[int, int, str]]:
    """So that 2 comes before 10, and numbers before words."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in re.split(r"(\d+)", name) if part
    ]


def _size(file: Path) -> tuple[int, int]:
    """(width, height) as it is shown, from the header alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with open_picture(file) as image:
            try:
                sideways = image.getexif().get(_ORIENTATION) in _TURNED_ON_SIDE
            except BROKEN_EXIF:
                sideways = False
            return (image.height, image.width) if sideways else (image.width, image.height)


def _places(files: Sequence[Path]) -> tuple[Float[np.ndarray, "N"], list[str]]:
    """When each picture was taken, in frames since the first; a gap in the numbers is time that passed."""
    in_order = np.arange(len(files), dtype=np.float64)
    found = [re.search(r"(\d+)\D*$", file.stem) for file in files]
    heads = {file.stem[: match.start(1)] for file, match in zip(files, found, strict=True) if match}
    if len(files) < 2 or not all(found) or len(heads) != 1:
        return in_order, []
    numbers = np.array([int(match[1]) for match in found if match], dtype=np.float64)
    steps = np.diff(numbers)
    if (steps <= 0).any():
        return in_order, []
    step = float(np.bincount(steps.astype(np.int64)).argmax()) if steps.max() < 1e6 else 1.0
    step = step if (steps % step == 0).all() else 1.0
    gaps = np.flatnonzero(steps > step)
    # Names such as dates count nothing.
    if len(gaps) > len(files) // 2 or steps.max() > 1e4:
        return in_order, []
    told = []
    if len(gaps):
        named = ", ".join(f"between {files[k].name} and {files[k + 1].name}" for k in gaps[:_NAMED])
        missing = int((steps[gaps] / step - 1).sum())
        more = f" and {len(gaps) - _NAMED} more places" if len(gaps) > _NAMED else ""
        told.append(f"The numbers of the pictures have gaps: {missing} missing {named}{more}.")
    return (numbers - numbers[0]) / step, told


def _between(times: Float[np.ndarray, "N"], start: Place, end: Place | None, path: Path) -> Int[np.ndarray, "T"]:
    """The frames from `start` to before `end`."""
    first = _place(start, times, "--start")
    last = len(times) if end is None else _place(end, times, "--end")
    if first >= last:
        raise InputError(
            f"No frame of {path} lies between --start {start} and --end {'of the file' if end is None else end}; it "
            f"has {len(times)} frames and lasts {times[-1]:.2f} s."
        )
    return np.arange(first, min(last, len(times)), dtype=np.int64)


def _place(place: Place, times: Float[np.ndarray, "N"], name: str) -> int:
    text = str(place).strip()
    try:
        value = float(text.removesuffix("f"))
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name} is {place!r}; give seconds such as 2.5, or a frame such as 120f.")
    # Half a microsecond less: 0.04 s is meant to be the frame at 0.04 s.
    return int(value) if text.endswith("f") else int(np.searchsorted(times, value - 5e-7))


def _at_rate(times: Float[np.ndarray, "N"], rows: Int[np.ndarray, "T"], fps: float) -> Int[np.ndarray, "K"]:
    """For each tick of a clock that starts with the first row, the frame nearest in time; none twice."""
    own = times[rows]
    ticks = own[0] + np.arange(math.floor((own[-1] - own[0]) * fps + 1e-6) + 1) / fps
    after = np.clip(np.searchsorted(own, ticks), 1, max(len(own) - 1, 1)) if len(own) > 1 else np.zeros(len(ticks), int)
    nearer = np.where(ticks - own[after - 1] <= own[after] - ticks, after - 1, after) if len(own) > 1 else after
    return rows[np.unique(nearer)]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
