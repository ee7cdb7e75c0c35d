"""The pictures that a track was made from, by row of the track."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from flamehead._types import StrPath
from flamehead.data import Track
from flamehead.errors import InputError
from flamehead.io import read_image, read_video

__all__ = ["source_frames"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")


def source_frames(track: Track, path: StrPath | None = None) -> Iterator[tuple[int, Float[np.ndarray, "H W 3"]]]:
    """Rows of a track with their pictures, from the video or the folder of pictures that was tracked.

    The pictures of a folder are taken in the order of their names; `Track.frames` counts them from 0.

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
    last = max(row_of, default=-1)
    if place.is_dir():
        files = sorted(file for file in place.iterdir() if file.suffix.lower() in _SUFFIXES)
        return ((row_of[i], read_image(file)) for i, file in enumerate(files[: last + 1]) if i in row_of)
    found = read_video(place, start=int(min(row_of, default=0)), stop=last + 1)
    return ((row_of[frame.index], frame.image) for frame in found if frame.index in row_of)
