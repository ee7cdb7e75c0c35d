"""The pictures that a track was made from, by row of the track."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from flamehead._types import StrPath
from flamehead.data import Track
from flamehead.errors import InputError
from flamehead.io.frames import FrameSource, open_frames

__all__ = ["source_frames"]


def source_frames(track: Track, path: StrPath | None = None) -> Iterator[tuple[int, Float[np.ndarray, "H W 3"]]]:
    """Rows of a track with their pictures, from the video or the folder of pictures that was tracked.

    The pictures are read as the tracker reads them, by `flamehead.io.open_frames`.

    Args:
        track: The track.
        path: The video or folder; `Track.source` if it is not given.

    Raises:
        InputError: There is no source, or it ends before the track does; told where it is met.
        MissingExtra: A video without PyAV.
    """
    place = Path(path) if path is not None else Path(track.source)
    if not str(track.source if path is None else path) or not place.exists():
        raise InputError(
            f"There is no video or folder {str(place)!r}, which the track was made from; name it by source."
        )
    row_of = {int(frame): row for row, frame in enumerate(track.frames)}
    if not row_of:
        return iter(())
    return _read(open_frames(place), row_of)


def _read(source: FrameSource, row_of: dict[int, int]) -> Iterator[tuple[int, Float[np.ndarray, "H W 3"]]]:
    last = max(row_of)
    for frame in source.read(int(np.searchsorted(source.frames, min(row_of)))):
        if frame.frame > last:
            return
        if frame.frame in row_of:
            yield row_of[frame.frame], frame.pixels.astype(np.float32) / np.float32(255)
