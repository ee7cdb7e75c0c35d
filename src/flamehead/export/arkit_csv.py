"""ARKit coefficients over time as CSV in the layout of the Live Link Face app.

The layout follows public descriptions; it was not compared with a file of the app. Angles are ours, in radians, and
their signs are not verified either: yaw turns to the subject's left, pitch down, roll towards the subject's right
shoulder, and the head's matrix is yaw, pitch, roll about y, x, z, from left to right.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.data import FlameParams, Track
from flamehead.errors import InputError
from flamehead.export.arkit import ArkitFit
from flamehead.export.arkit_names import ARKIT_NAMES
from flamehead.geometry.rotation import exp

__all__ = ["ANGLE_NAMES", "LiveLinkTake", "arkit_take", "head_and_eye_angles", "read_live_link", "write_live_link"]

ANGLE_NAMES = tuple(f"{what}{angle}" for what in ("Head", "LeftEye", "RightEye") for angle in ("Yaw", "Pitch", "Roll"))
"""The nine columns after the coefficients."""
_HEADER = ("Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in ARKIT_NAMES), *ANGLE_NAMES)
_COUNT = len(ARKIT_NAMES) + len(ANGLE_NAMES)


@dataclass(frozen=True)
class LiveLinkTake:
    """What one file holds."""

    coefficients: Float[np.ndarray, "T 52"]
    """In the order of `ARKIT_NAMES`."""
    angles: Float[np.ndarray, "T 9"]
    """In the order of `ANGLE_NAMES`, radians."""
    times: Float[np.ndarray, "T"]
    """Seconds since midnight of the timecode."""
    fps: float
    """Frames per second that the timecode counts in."""


def arkit_take(
    fit: ArkitFit, head: FlameParams | Track, *, times: Float[np.ndarray, "T"] | None = None, fps: float = 60.0
) -> LiveLinkTake:
    """Coefficients with the angles of head and eyes, ready to be written.

    Args:
        fit: of the head, by `to_arkit` or `track_to_arkit`.
        head: the parameters or the track that were fitted; a track has times and a frame rate of its own.
        times: seconds; evenly spaced by `fps` when None.
        fps: of parameters.
    """
    if isinstance(head, Track):
        times, fps, head = np.asarray(head.times, dtype=np.float64), head.fps, head.params
    count = len(fit.coefficients)
    angles = np.broadcast_to(head_and_eye_angles(head), (count, len(ANGLE_NAMES)))
    return LiveLinkTake(fit.coefficients, angles, np.arange(count) / fps if times is None else times, fps)


def head_and_eye_angles(params: FlameParams) -> Float[np.ndarray, "T 9"]:
    """Yaw, pitch and roll of the head (root and neck together) and of the eyes in the head, radians."""
    head = exp(params.root.double()) @ exp(params.neck.double())
    parts = torch.broadcast_tensors(head, exp(params.left_eye.double()), exp(params.right_eye.double()))
    return torch.cat([_angles(part) for part in parts], dim=-1).reshape(-1, 9).detach().cpu().numpy()


def _angles(rotation: torch.Tensor) -> torch.Tensor:
    """Yaw, pitch, roll with R = Ry(yaw) Rx(pitch) Rz(roll)."""
    pitch = torch.asin((-rotation[..., 1, 2]).clamp(-1.0, 1.0))
    yaw = torch.atan2(rotation[..., 0, 2], rotation[..., 2, 2])
    roll = torch.atan2(rotation[..., 1, 0], rotation[..., 1, 1])
    return torch.stack([yaw, pitch, roll], dim=-1)


def write_live_link(path: StrPath, take: LiveLinkTake) -> None:
    """Write a take; six decimals, one row per frame.

    Raises:
        InputError: arrays that do not fit together, values that are not finite, times outside of a day, a frame rate
            that is not positive, or a folder that cannot be written.
    """
    _check(take)
    table = np.concatenate([take.coefficients, take.angles], axis=1)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        for time, row in zip(take.times, table, strict=True):
            writer.writerow([_timecode(float(time), take.fps), _COUNT, *(f"{value:.6f}" for value in row)])


def read_live_link(path: StrPath, *, fps: float | None = None) -> LiveLinkTake:
    """Read a take by the names of its columns; without the nine angles they are zeros.

    Args:
        path: the file.
        fps: what the timecode's frames count; the file does not say it. By default the smallest common rate above the
            largest frame number: 24, 25, 30, 50, 60, 120 or 240.

    Raises:
        InputError: no such file, or another layout.
    """
    path = Path(path)
    rows = _rows(path)
    header = [name.strip().lower() for name in rows[0]]
    missing = [name for name in ("timecode", *map(str.lower, ARKIT_NAMES)) if name not in header]
    if missing:
        raise InputError(f"The table {path} lacks the column {missing[0]!r}; give a CSV file of Live Link Face.")
    body = [row for row in rows[1:] if row]
    if not body or any(len(row) != len(header) for row in body):
        raise InputError(f"The table {path} has no rows, or rows of another length than its header; record it again.")
    codes = [_parsed(row[header.index("timecode")], path) for row in body]
    rate = _rate(codes) if fps is None else fps
    values = {
        name: _numbers(path, name, [row[header.index(name.lower())] for row in body])
        for name in (*ARKIT_NAMES, *ANGLE_NAMES)
        if name.lower() in header
    }
    zeros = np.zeros(len(body))
    take = LiveLinkTake(
        np.stack([values[name] for name in ARKIT_NAMES], axis=1),
        np.stack([values.get(name, zeros) for name in ANGLE_NAMES], axis=1),
        np.array([second + frame / rate for second, frame in codes]),
        rate,
    )
    _check(take)
    return take


def _check(take: LiveLinkTake) -> None:
    count = len(take.times)
    shapes = (np.shape(take.coefficients), np.shape(take.angles), np.shape(take.times))
    if shapes != ((count, 52), (count, 9), (count,)):
        raise InputError(f"A take has shapes {shapes}, wanted 52 coefficients, 9 angles and a time for each frame.")
    if not all(np.isfinite(values).all() for values in (take.coefficients, take.angles, take.times)):
        raise InputError("The take holds NaN or infinite values; leave those frames out.")
    if not (math.isfinite(take.fps) and take.fps > 0.0):
        raise InputError(f"The frame rate is {take.fps}; give a positive number of frames per second.")
    if count and not (0.0 <= take.times.min() and take.times.max() < 86_400.0):
        raise InputError("A timecode counts one day; give times from 0 to 86399 seconds.")


def _timecode(time: float, fps: float) -> str:
    """`HH:MM:SS:FF.fff`: frames within the second, and thousandths of a frame."""
    seconds = int(time)
    thousandths = round((time - seconds) * fps * 1000.0)
    if thousandths >= round(fps * 1000.0):
        seconds, thousandths = seconds + 1, 0
    frame, rest = divmod(thousandths, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame:02d}.{rest:03d}"


def _parsed(code: str, path: Path) -> tuple[float, float]:
    """Seconds, and frames within the second."""
    try:
        hours, minutes, seconds, frame = (float(part) for part in code.strip().split(":"))
    except ValueError as error:
        raise InputError(
            f"The timecode {code!r} in {path} is not HH:MM:SS:FF.fff; give a CSV of Live Link Face."
        ) from error
    return 3600.0 * hours + 60.0 * minutes + seconds, frame


def _rate(codes: Sequence[tuple[float, float]]) -> float:
    most = max(frame for _, frame in codes)
    return next((rate for rate in (24.0, 25.0, 30.0, 50.0, 60.0, 120.0, 240.0) if most < rate), math.ceil(most + 1e-6))


def _numbers(path: Path, name: str, texts: Sequence[str]) -> Float[np.ndarray, "T"]:
    try:
        return np.array([float(text) for text in texts])
    except ValueError as error:
        raise InputError(
            f"The column {name!r} in {path} holds something that is no number; record it again."
        ) from error


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except FileNotFoundError as error:
        raise InputError(f"There is no table {path}; check the name.") from error
    except (UnicodeDecodeError, csv.Error, IsADirectoryError) as error:
        raise InputError(f"The file {path} is no table of text; give a CSV file of Live Link Face.") from error
    if not rows:
        raise InputError(f"The table {path} is empty; give a CSV file of Live Link Face.")
    return rows
