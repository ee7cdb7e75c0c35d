"""The part of a frame around the face, at the sizes that a tracker compares."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from flamehead.fit.photometric import PhotometricSettings
from flamehead.fit.pixels import PixelTerm, image_level

__all__ = ["FaceBox", "face_box", "face_level"]

FaceBox = tuple[float, float, float, float]
"""Left, top, right, bottom of a part of a picture, pixels."""
_MARGIN = 0.12
"""Of the face's longer side, around it."""
_LEAST = 8
"""Pixels of a face that can be compared."""


def face_box(
    vertices: Float[np.ndarray, "N 3"], *, focal: float, center: Float[np.ndarray, "2"], size: tuple[int, int]
) -> FaceBox | None:
    """Whole pixels around some vertices (the camera's y up, z backwards); None where the picture shows too few."""
    flat = center + focal * vertices[:, :2] * [1.0, -1.0] / -vertices[:, 2:]
    low, high = flat.min(0), flat.max(0)
    if not np.isfinite(flat).all() or (vertices[:, 2] >= 0.0).any():
        return None
    margin = _MARGIN * (high - low).max()
    low = np.maximum(np.floor(low - margin), 0.0)
    high = np.minimum(np.ceil(high + margin), size)
    return (*low.tolist(), *high.tolist()) if (high - low > _LEAST).all() else None


def face_level(
    pixels: UInt8[np.ndarray, "H W 3"],
    box: FaceBox,
    size: int,
    *,
    center: Float[np.ndarray, "2"],
    settings: PhotometricSettings,
    worth: float | None = None,
) -> PixelTerm:
    """A box of a frame, reduced until its longer side has `size` pixels; never enlarged."""
    from PIL import Image

    left, top, right, bottom = box
    part = pixels[int(top) : int(bottom), int(left) : int(right)]
    extent = np.array([right - left, bottom - top])
    zoom = min(1.0, size / float(extent.max()))
    shape = np.maximum(np.floor(extent * zoom), _LEAST).astype(int)
    # The box follows from the whole number of pixels, so that the zoom is exact.
    whole = (0.0, 0.0, *(shape / zoom))
    picture = Image.fromarray(np.ascontiguousarray(part)).resize(tuple(shape.tolist()), Image.Resampling.BOX, box=whole)
    return image_level(
        np.asarray(picture, dtype=np.float32) / np.float32(255), zoom=zoom, corner=np.array([left, top]), center=center,
        sigma=settings.sigma, outlier=settings.outlier, worth=settings.worth if worth is None else worth,
    )  # fmt: skip
