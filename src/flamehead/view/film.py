"""Small pictures of a video's frames, kept in memory so that a timeline can jump about."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from flamehead.errors import FlameheadError
from flamehead.io import read_image, read_video

__all__ = ["Film"]

_log = logging.getLogger(__name__)

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_QUALITY = 80
_LONGEST = 480
"""Pixels of the longer side: a thousand frames take about 20 MB as JPEG."""


class Film:
    """Reads a video or a folder of pictures in the background; frames that were not reached yet are None."""

    def __init__(self, source: Path, frames: Iterator[int] | list[int] | np.ndarray) -> None:
        """Start to read.

        Args:
            source: A video, or a folder whose pictures are the frames in the order of their names.
            frames: Indices that are wanted.
        """
        self._wanted = {int(frame) for frame in frames}
        self._pictures: dict[int, bytes] = {}
        self._stopping = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(source,), name="flamehead-film", daemon=True)
        self._reader.start()

    def picture(self, frame: int) -> UInt8[np.ndarray, "H W 3"] | None:
        """A frame, made smaller."""
        from PIL import Image

        found = self._pictures.get(int(frame))
        if found is None:
            return None
        with Image.open(io.BytesIO(found)) as image:
            return np.asarray(image.convert("RGB"))

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return not self._reader.is_alive()

    def stop(self) -> None:
        """Read no further."""
        self._stopping.set()

    def _read(self, source: Path) -> None:
        last = max(self._wanted, default=-1)
        try:
            for index, image in _images(source):
                if self._stopping.is_set() or index > last:
                    return
                if index in self._wanted:
                    self._pictures[index] = _small(image)
        except FlameheadError as error:
            _log.warning("The video is not shown: %s", error)


def _images(source: Path) -> Iterator[tuple[int, Float[np.ndarray, "H W 3"]]]:
    if source.is_dir():
        names = sorted(path for path in source.iterdir() if path.suffix.lower() in _PICTURES)
        yield from ((index, read_image(path)) for index, path in enumerate(names))
    elif source.suffix.lower() in _PICTURES:
        yield 0, read_image(source)
    else:
        yield from ((frame.index, frame.image) for frame in read_video(source))


def _small(image: Float[np.ndarray, "H W 3"]) -> bytes:
    from PIL import Image

    shown = Image.fromarray(np.rint(255.0 * np.clip(image, 0.0, 1.0)).astype(np.uint8))
    shown.thumbnail((_LONGEST, _LONGEST))
    buffer = io.BytesIO()
    shown.save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()
