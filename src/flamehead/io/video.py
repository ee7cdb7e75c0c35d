"""Videos: frames to mp4, avi or gif, and a video's frames upright with their times.

mp4 and avi need the extra `video` (PyAV, which brings FFmpeg along); gif needs nothing but Pillow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.errors import InputError, MissingExtra

__all__ = ["VideoFrame", "VideoInfo", "describe_video", "read_video", "write_video"]

_WRITABLE = (".mp4", ".avi", ".gif")
_RATE_LIMIT = 1001
"""Largest denominator of a frame rate: 30000/1001 is the oddest that is in use."""
_PALETTE_SAMPLE = 60_000
"""Pixels that the common palette of a gif is made from."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds."""

    count: int
    """Frames that can be shown; counted, not taken from the file's header, which is often wrong."""
    size: tuple[int, int]
    """(width, height) in pixels as it is shown, after rotation."""
    rotation: int
    """Degrees counter-clockwise by which the stored frames must be turned: 0, 90, 180 or 270."""
    fps: float
    """Mean frames per second; NaN when the file does not say."""
    duration: float
    """Seconds from the first frame's start to the last one's end; NaN when the file does not say."""


@dataclass(frozen=True)
class VideoFrame:
    """One frame of a video, upright."""

    index: int
    """Counted from 0 in the order they are shown."""
    time: float
    """Seconds since the start of the video; frames need not be evenly spaced."""
    image: Float[np.ndarray, "H W 3"]
    """sRGB float32 in [0, 1]."""


def write_video(path: StrPath, frames: Iterable[Float[np.ndarray, "H W 3"]], *, fps: float = 30.0) -> int:
    """Write frames as a video; the suffix names the format: `.mp4` (H.264, plays everywhere), `.gif` (loops), or `.avi`
    (MPEG-4 tagged DIVX, which trackers write).

    Frames are taken one at a time, so a generator needs the memory of one (a gif keeps bytes of all). An odd width or
    height, which H.264 cannot hold, is padded by repeating the last column or row. A gif's delays are multiples of
    1/100 s; they alternate so that the mean rate is right up to 50 frames per second. Equal neighbours become one
    longer frame.

    Args:
        path: Where to; written whole or not at all.
        frames: sRGB in [0, 1], all of one size.
        fps: Frames per second.

    Returns:
        How many frames were written.

    Raises:
        InputError: No frames, frames of different sizes or that are no pictures, or a suffix that is not known.
        MissingExtra: mp4 or avi without PyAV.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _WRITABLE:
        raise InputError(f"Cannot write {path} as a video: the suffix is {path.suffix!r}, wanted .mp4, .avi or .gif.")
    if not (math.isfinite(fps) and 0.1 <= fps <= 1000):
        raise InputError(f"Cannot write {path} with {fps} frames per second; give a number from 0.1 to 1000.")
    if suffix != ".gif":
        _av(f"write {path}")
    checked = _checked(path, frames)
    # The first frame is made before the file: when there is none, or it fails, nothing is touched.
    first = next(checked, None)
    if first is None:
        raise InputError(f"Cannot write {path}: there are no frames; give at least one.")
    with atomic_path(path) as temporary:
        write = {".mp4": _write_mp4, ".avi": _write_avi, ".gif": _write_gif}[suffix]
        return write(temporary, itertools.chain([first], checked), fps)


def read_video(path: StrPath, *, start: int = 0, stop: int | None = None) -> Iterator[VideoFrame]:
    """Iterate over a video's frames, upright, in the order they are shown; one frame is in memory at a time.

    Args:
        path: MP4, MOV, MKV, WebM, AVI, GIF, ...
        start: Index of the first frame given; those before are decoded but not converted.
        stop: Index after the last frame given; `None` is the end.

    Raises:
        InputError: The file is missing or damaged, or holds no video; damage is told where it is met.
        MissingExtra: PyAV is not installed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "grey.mp4"
        >>> write_video(path, [np.full((32, 48, 3), 0.5)] * 3, fps=25)  # doctest: +SKIP
        3
        >>> [round(frame.time, 2) for frame in read_video(path)]  # doctest: +SKIP
        [0.0, 0.04, 0.08]
    """
    path = Path(path)
    _av(f"read {path}")
    return _frames(path, start, stop)


def describe_video(path: StrPath) -> VideoInfo:
    """Say how many frames a video has, how large and how fast; reads the whole file but decodes one frame.

    Raises:
        InputError: The file is missing or damaged, or holds no video.
        MissingExtra: PyAV is not installed.
    """
    path = Path(path)
    _av(f"read {path}")
    with _opened(path) as (container, stream):
        first = next(iter(container.decode(stream)), None)
        if first is None:
            raise InputError(f"The video {path} holds no frame that can be decoded; copy or export it again.")
        rotation = int(first.rotation) % 360
        size = (first.height, first.width) if rotation in (90, 270) else (first.width, first.height)
        rate = stream.average_rate or stream.guessed_rate
    with _opened(path) as (container, stream):
        # What an edit list hides is decoded for the frames after it but never shown.
        packets = [p for p in container.demux(stream) if p.size and not p.is_discard and p.pts is not None]
        unit = float(stream.time_base or 0)
        shown = [packet.pts * unit for packet in packets]
    fps = float(rate) if rate else math.nan
    length = max(shown) - min(shown) + (float(packets[-1].duration or 0) * unit or 1 / fps) if shown else math.nan
    return VideoInfo(len(packets), size, rotation, fps, length)


def _frames(path: Path, start: int, stop: int | None) -> Iterator[VideoFrame]:
    with _opened(path) as (container, stream):
        began: float | None = None
        for index, frame in enumerate(container.decode(stream)):
            if stop is not None and index >= stop:
                return
            # A frame without a time stamp follows at the mean rate.
            time = float(index / (stream.average_rate or 25) if frame.time is None else frame.time)
            if began is None:
                began = time
            if index >= start:
                pixels = np.rot90(frame.to_ndarray(format="rgb24"), int(frame.rotation) // 90 % 4)
                yield VideoFrame(index, time - began, pixels.astype(np.float32) / np.float32(255))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream; PyAV's errors become sentences."""
    av = _av(f"read {path}")
    if not path.is_file():
        raise InputError(f"There is no video file {path}; check the name.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"The file {path} holds no video; give a video such as an MP4.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).rstrip(".")
        raise InputError(f"Cannot read {path} as a video ({reason}); copy or export it again.") from error


def _av(what: str) -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtra(f'Cannot {what}: PyAV is not installed; run `pip install "flamehead[video]"`.') from error
    return av


def _checked(path: Path, frames: Iterable[np.ndarray]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The frames as bytes."""
    shape: tuple[int, ...] | None = None
    for number, frame in enumerate(frames):
        pixels = np.asarray(frame)
        shape = pixels.shape if shape is None else shape
        if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape or pixels.dtype.kind != "f":
            raise InputError(
                f"Cannot write {path}: frame {number} has shape {pixels.shape} and type {pixels.dtype}, "
                "wanted float RGB of shape (height, width, 3)."
            )
        if pixels.shape != shape:
            raise InputError(f"Cannot write {path}: frame {number} is {pixels.shape}, the first {shape}; resize them.")
        if not np.isfinite(pixels).all():
            raise InputError(f"Cannot write {path}: frame {number} holds NaN or infinite values; replace them first.")
        yield np.rint(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)


def _write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float) -> int:
    av = _av(f"write {path}")
    from fractions import Fraction

    count = 0
    # `+faststart` puts the index first, so that browsers play before they have all.
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(_RATE_LIMIT))
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "18", "preset": "medium"}
        # Said in the file, or players guess the matrix from the size and colours shift.
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 1, 1, 1, 1
        for pixels in frames:
            even = np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge")
            if not count:
                stream.height, stream.width = even.shape[:2]
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace="ITU709")))
            count += 1
        container.mux(stream.encode())
    return count


def _write_avi(path: Path, frames: Iterable[np.ndarray], fps: float) -> int:
    av = _av(f"write {path}")
    from fractions import Fraction

    count = 0
    with av.open(str(path), "w", format="avi") as container:
        stream: Any = container.add_stream("mpeg4", rate=Fraction(fps).limit_denominator(_RATE_LIMIT))
        stream.pix_fmt, stream.codec_tag = "yuv420p", "DIVX"
        stream.codec_context.qmin, stream.codec_context.qmax = 2, 4
        for pixels in frames:
            even = np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge")
            if not count:
                stream.height, stream.width = even.shape[:2]
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p")))
            count += 1
        container.mux(stream.encode())
    return count


def _write_gif(path: Path, frames: Iterable[np.ndarray], fps: float) -> int:
    """One palette for all frames, made from pixels of all of them: palettes that change from frame to frame flicker."""
    from PIL import Image

    stack = list(frames)
    pixels = np.concatenate([frame.reshape(-1, 3) for frame in stack])
    step = max(1, len(pixels) // _PALETTE_SAMPLE)
    sample = Image.fromarray(np.ascontiguousarray(pixels[::step][None]))
    palette = sample.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=2)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in stack]
    # Browsers slow delays below 2/100 s down to 10/100.
    ends = np.rint(100.0 * np.arange(len(stack) + 1) / fps)
    delays = np.maximum(np.diff(ends), 2) * 10
    options: dict[str, Any] = {"save_all": True, "append_images": images[1:], "loop": 0, "optimize": False}
    images[0].save(path, duration=[int(delay) for delay in delays], disposal=1, **options)
    return len(stack)
