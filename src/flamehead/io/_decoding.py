"""A video's frames one by one as bytes, past damaged places, each known by its time stamp."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from flamehead.errors import InputError
from flamehead.io.video import _av, _opened

__all__ = ["Stamps", "decoded", "read_stamps", "upright"]

_SHORT = 0.5
"""Seconds by which the pictures may end before the file does without a word."""


@dataclass(frozen=True)
class Stamps:
    """When each frame of a video is shown."""

    keys: Int[np.ndarray, "N"]
    """Increasing; what `decoded` calls a frame by: its time stamp, or its number where frames carry no stamps."""
    times: Float[np.ndarray, "N"]
    """Seconds since the first frame."""
    size: tuple[int, int]
    """(width, height), upright."""
    stamped: bool
    rate: float
    """Mean frames per second by the file's header; NaN when it does not say."""
    warnings: tuple[str, ...] = ()


def read_stamps(path: Path) -> Stamps:
    """Find the true frames of a video from its packets; one that is cut off or carries no stamps is decoded instead.

    Raises:
        InputError: The file is missing, holds no video, or nothing of it can be decoded.
        MissingExtra: PyAV is not installed.
    """
    with _opened(path) as (container, stream):
        first = next(_frames_of(container, stream), None)
        if first is None:
            raise InputError(f"The video {path} holds no frame that can be decoded; copy or export it again.")
        size = (first.height, first.width) if int(first.rotation) % 180 else (first.width, first.height)
        rate = stream.average_rate or stream.guessed_rate
    with _opened(path) as (container, stream):
        # What an edit list hides is decoded for the frames after it but never shown.
        every = [packet for packet in _packets_of(container, stream) if packet.size]
        packets = [packet for packet in every if not packet.is_discard]
        stamps = sorted({packet.pts for packet in packets if packet.pts is not None})
        broken = any(packet.is_corrupt for packet in packets) or stream.frames > len(every)
        unit, duration = stream.time_base, (container.duration or 0) / 1_000_000
        shown = float((stamps[-1] - stamps[0]) * unit) if stamps else math.nan
    stamped, warnings = len(stamps) == len(packets), list[str]()
    if not broken and stamped and duration - shown > max(_SHORT, 0.05 * duration):
        warnings.append(
            f"The file lasts {duration:.1f} s but its pictures end after {shown:.1f} s; it may be cut off, or its "
            "sound is longer."
        )
    if broken or not stamped:
        found = [(key, frame.pts) for key, frame in decoded(path, stamped=stamped)]
        if broken:
            missing = f", of about {len(packets)}" if len(packets) > len(found) else ""
            warnings.append(
                f"The video {path.name} is cut off or damaged: only its first {len(found)} frames can be read{missing}."
            )
        stamps = [key for key, _ in found]
    keys = np.array(stamps, dtype=np.int64)
    step = float(unit) if stamped else 1 / float(rate or 25)
    return Stamps(keys, (keys - keys[0]) * step, size, stamped, float(rate) if rate else math.nan, tuple(warnings))


def decoded(path: Path, *, stamped: bool) -> Iterator[tuple[int, Any]]:
    """Every frame that can be decoded, in the order they are shown, and its key; PyAV's own frames, not yet upright."""
    with _opened(path) as (container, stream):
        for number, frame in enumerate(_frames_of(container, stream)):
            yield (frame.pts if stamped and frame.pts is not None else number), frame


def upright(frame: Any) -> UInt8[np.ndarray, "H W 3"]:
    """A decoded frame as bytes of its own, turned as the file says."""
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, int(frame.rotation) // 90 % 4))


def _packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """Packets until the end or until the file makes no sense any more."""
    error = _av("read the video").FFmpegError
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, error):
            return
        yield packet


def _frames_of(container: Any, stream: Any) -> Iterator[Any]:
    """Frames of all packets that can be decoded; a damaged one costs its own frames only."""
    error = _av("read the video").FFmpegError
    for packet in _packets_of(container, stream):
        try:
            yield from packet.decode()
        except error:
            continue
