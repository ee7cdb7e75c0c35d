"""The first pass over a video: landmarks of one face in every frame, shots, and what else is in the pictures.

Everything that is done with a frame follows from its pixels and from the records of the frames before it, so that a
run that goes on from its journal ends with the same bits.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from flamehead.detect.following import count_faces, extent, follow_face, search_face
from flamehead.io.frames import FrameSource, SourceFrame
from flamehead.track._ahead import ahead
from flamehead.track.journal import Journal

__all__ = ["RECORD_WIDTH", "Detections", "detect_rows", "detections"]

_POINTS = 478 * 2
_SCORE, _OTHERS, _DAMAGED, _CHANGE = range(_POINTS, _POINTS + 4)
_BINS, _SAMPLES = 8, 48
_SIGNATURE = 4 * 3 * _BINS
RECORD_WIDTH = _POINTS + 4 + _SIGNATURE
"""float32 numbers of a record: points, score, other faces (-1 where nobody looked), damage, change, signature."""
BACK_FILLED = 1
"""Kind of the records that following backwards in time made."""

_CUT = 0.3
"""Share of the colours in the quarters of a picture that changes at a cut; people who move change less than 0.1."""
_JUMP = 0.12
"""Mean way of the landmarks by the size of the face that makes a cut of such a change."""
_BRIEF = 12
"""Frames after which a face that was lost is not expected where it was."""
_LONG = 50
"""Frames after which any face is taken for the one that was followed."""
_LOOK_AROUND = 50
"""Frames from one look for other people to the next."""
_BACK_BYTES, _BACK_FRAMES = 200_000_000, 25
"""Pictures that are kept for following backwards."""


@dataclass(frozen=True)
class Detections:
    """What is known of all frames after the first pass."""

    landmarks: Float32[np.ndarray, "T 478 2"]
    """Pixels; NaN where the face was not seen."""
    scores: Float32[np.ndarray, "T"]
    """As those of `detect_face`; 0 where the face was not seen."""
    scene: Int[np.ndarray, "T"]
    """Number of the shot, from 0."""
    damaged: Bool[np.ndarray, "T"]
    """Frames that could not be decoded."""
    warnings: tuple[str, ...]

    @property
    def seen(self) -> Bool[np.ndarray, "T"]:
        """Frames in which the face was seen."""
        return self.scores > 0


def detect_rows(source: FrameSource, journal: Journal, *, advance: Callable[[int], None] | None = None) -> None:
    """Look at every frame that has no record yet.

    Args:
        source: The frames.
        journal: Of `RECORD_WIDTH` float32 numbers; records are added.
        advance: Called with the number of frames done.

    Raises:
        MissingExtra: MediaPipe is not installed.
        InputError: A picture is damaged, or the journal cannot be written.
    """
    done, total = journal.count(), len(source)
    if done >= total:
        return
    width, height = source.size
    kept = deque[SourceFrame](maxlen=int(np.clip(_BACK_BYTES // (3 * width * height), 2, _BACK_FRAMES)))
    first = max(0, done - (kept.maxlen or 0))
    with ahead(source.read(first)) as frames:
        for frame in frames:
            # Of frames that are done only the pictures are wanted, to follow backwards from the next face.
            record = journal.records[frame.row, 0] if frame.row < done else _look(frame, journal)
            if record[_SCORE] > 0:
                if frame.row >= done:
                    _fill_back(journal, kept, frame.row, record)
                kept.clear()
            elif not frame.damaged:
                kept.append(frame)
            if frame.row >= done:
                journal.append(frame.row, record)
                if advance is not None:
                    advance(frame.row + 1)


def detections(source: FrameSource, journal: Journal) -> Detections:
    """What the journal of a whole first pass says."""
    total = len(source)
    forward, records = journal.rows(total), journal.rows(total).copy()
    for row in range(total):
        filled = journal.records.get((row, BACK_FILLED))
        if filled is not None:
            records[row, : _SCORE + 1] = filled[: _SCORE + 1]
    points, scores = records[:, :_POINTS].reshape(-1, 478, 2), records[:, _SCORE]
    scene = _scenes(points, scores > 0, forward[:, _CHANGE])
    damaged = forward[:, _DAMAGED] > 0
    warnings = _warnings(source, scores > 0, scene, damaged, forward[:, _OTHERS])
    return Detections(points, scores, scene, damaged, warnings)


def _look(frame: SourceFrame, journal: Journal) -> Float32[np.ndarray, "W"]:
    """The record of a frame."""
    record = np.zeros(RECORD_WIDTH, dtype=np.float32)
    record[:_POINTS], record[_OTHERS], record[_DAMAGED] = np.nan, -1.0, float(frame.damaged)
    before = journal.records.get((frame.row - 1, 0))
    if frame.damaged:
        record[_CHANGE + 1 :] = 0.0 if before is None else before[_CHANGE + 1 :]
        return record
    record[_CHANGE + 1 :] = signature(frame.pixels)
    if before is not None and before[_CHANGE + 1 :].any():
        record[_CHANGE] = change(record[_CHANGE + 1 :], before[_CHANGE + 1 :])
    points, score = _find(frame, journal, cut=bool(record[_CHANGE] > _CUT))
    record[:_POINTS], record[_SCORE] = points.ravel(), score
    if score > 0 and frame.row % _LOOK_AROUND == 0:
        record[_OTHERS] = count_faces(frame.pixels, points)
    return record


def _find(frame: SourceFrame, journal: Journal, *, cut: bool) -> tuple[Float32[np.ndarray, "478 2"], float]:
    """The face that was followed so far, or the largest one."""
    last, lost, cut_since = _last_seen(frame.row, journal)
    cut |= cut_since
    if last is None:
        return search_face(frame.pixels, thorough=lost == 0 or cut or _is_time(lost))
    if lost < _BRIEF:
        points, score = follow_face(frame.pixels, last)
        if score > 0:
            return points, score
    reach = np.inf if cut or lost > _LONG else 1.0 + 0.2 * lost
    points, score = search_face(frame.pixels, like=last, reach=reach)
    if score == 0 and ((cut and not cut_since) or _is_time(lost)):
        return search_face(frame.pixels, like=last, reach=reach, thorough=True)
    return points, score


def _is_time(lost: int) -> bool:
    """Whether a search that takes seconds is due: after 4, 8, 16, 32, 64 frames without a face, then every 64."""
    return lost >= 4 and (lost & (lost - 1) == 0 if lost < 64 else lost % 64 == 0)


def _last_seen(row: int, journal: Journal) -> tuple[Float[np.ndarray, "478 2"] | None, int, bool]:
    """The face where it was last seen, frames without it since then, and whether there was a cut among them."""
    cut = False
    for back in itertools.count(1):
        record = journal.records.get((row - back, 0))
        if record is None:
            return None, row, cut
        if record[_SCORE] > 0:
            return record[:_POINTS].reshape(478, 2).astype(np.float64), back - 1, cut
        cut |= bool(record[_CHANGE] > _CUT)
    raise AssertionError


def _fill_back(journal: Journal, kept: deque[SourceFrame], row: int, record: Float32[np.ndarray, "W"]) -> None:
    """Follow a face that was found backwards through the frames without it, until it is lost or the shot begins."""
    near, later, changed = record[:_POINTS].reshape(478, 2), row, record[_CHANGE]
    for frame in reversed(kept):
        if frame.row != later - 1 or changed > _CUT:
            return
        near, score = follow_face(frame.pixels, near)
        if score == 0:
            return
        filled = np.zeros(RECORD_WIDTH, dtype=np.float32)
        filled[:_POINTS], filled[_SCORE] = near.ravel(), score
        journal.append(frame.row, filled, kind=BACK_FILLED)
        later, changed = frame.row, journal.records[frame.row, 0][_CHANGE]


def signature(pixels: UInt8[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "_"]:
    """Histograms of the colours in the four quarters of a picture, of which pixels far apart are looked at.

    A value counts for the two bins beside it, so that noise about the border of two changes little.
    """
    height, width = pixels.shape[:2]
    y = (np.arange(_SAMPLES) * height + height // 2) // _SAMPLES
    x = (np.arange(_SAMPLES) * width + width // 2) // _SAMPLES
    small = pixels[y[:, None], x].astype(np.float64)
    half = _SAMPLES // 2
    quarters = small.reshape(2, half, 2, half, 3).transpose(0, 2, 4, 1, 3).reshape(12, half * half)
    at = np.clip(quarters / 256.0 * _BINS - 0.5, 0.0, _BINS - 1.0)
    low = np.minimum(at.astype(int), _BINS - 2)
    part = at - low
    found = np.zeros((12, _BINS))
    rows = np.arange(12)[:, None]
    np.add.at(found, (rows, low), 1.0 - part)
    np.add.at(found, (rows, low + 1), part)
    return (found / (half * half)).astype(np.float32).ravel()


def change(now: Float32[np.ndarray, "_"], before: Float32[np.ndarray, "_"]) -> float:
    """Share of the colours that is elsewhere now, 0 to 1."""
    return float(np.abs(now - before).reshape(12, _BINS).sum(axis=1).mean() / 2)


def _scenes(
    points: Float32[np.ndarray, "T 478 2"], seen: Bool[np.ndarray, "T"], changed: Float32[np.ndarray, "T"]
) -> Int[np.ndarray, "T"]:
    """A new shot begins where the colours change and the face jumps or is lost, and where a lost face is elsewhere."""
    begins, last = np.zeros(len(seen), dtype=np.int64), -1
    for row in range(len(seen)):
        if row and changed[row] > _CUT:
            begins[row] = not (seen[row] and seen[row - 1]) or _jump(points[row], points[row - 1]) > _JUMP
        if seen[row]:
            if last >= 0 and row - last > _LONG and not begins[last + 1 : row + 1].any():
                begins[row] |= _jump(points[row], points[last]) > 1.0
            last = row
    return np.cumsum(begins)


def _jump(points: Float[np.ndarray, "478 2"], before: Float[np.ndarray, "478 2"]) -> float:
    return float(np.linalg.norm(points - before, axis=1).mean() / extent(before))


def _warnings(
    source: FrameSource,
    seen: Bool[np.ndarray, "T"],
    scene: Int[np.ndarray, "T"],
    damaged: Bool[np.ndarray, "T"],
    others: Float32[np.ndarray, "T"],
) -> tuple[str, ...]:
    found, times = list(source.warnings), source.times
    if damaged.any():
        found.append(f"{damaged.sum()} frames could not be decoded, the first at {times[damaged.argmax()]:.2f} s.")
    if seen.any() and not seen[0]:
        found.append(f"The face is first seen at {times[seen.argmax()]:.2f} s; the frames before are lost.")
    missing = int((~seen)[seen.argmax() :].sum()) if seen.any() else 0
    if missing:
        found.append(f"The face was not seen in {missing} of {len(seen)} frames.")
    cuts = np.flatnonzero(np.diff(scene)) + 1
    if len(cuts):
        named = ", ".join(f"{times[row]:.2f} s" for row in cuts[:5]) + (", ..." if len(cuts) > 5 else "")
        count = "1 cut" if len(cuts) == 1 else f"{len(cuts)} cuts"
        found.append(
            f"The video has {count}, at {named}; choose a part with --start and --end if others are seen then."
        )
    looked = others > 0
    if looked.any():
        found.append(
            f"Another face is in the picture, first noticed at {times[looked.argmax()]:.2f} s; the one that is "
            "followed is the largest of the first frame that shows one."
        )
    return tuple(found)
