"""Pictures that only data sets need: grey masks, pictures with opacity, and pictures over one colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from flamehead._atomic import atomic_path

__all__ = ["over_color", "write_grey", "write_rgba"]


def write_grey(path: Path, values: Float[np.ndarray, "H W"] | UInt8[np.ndarray, "H W"]) -> None:
    """Write opacities in [0, 1], or bytes as they are, as an 8-bit grey picture."""
    from PIL import Image

    options: dict[str, Any] = {"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    with atomic_path(path) as temporary:
        Image.fromarray(_bytes(values)).save(temporary, **options)


def write_rgba(path: Path, image: Float[np.ndarray, "H W 3"], alpha: Float[np.ndarray, "H W"]) -> None:
    """Write a PNG with opacity; the colours stay as they are under transparent pixels."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(np.dstack([_bytes(image), _bytes(alpha)])).save(temporary)


def over_color(
    image: Float[np.ndarray, "H W 3"], alpha: Float[np.ndarray, "H W"], color: tuple[float, float, float]
) -> Float[np.ndarray, "H W 3"]:
    """`alpha image + (1 - alpha) color`, on sRGB values."""
    return alpha[..., None] * image + (1.0 - alpha[..., None]) * np.asarray(color, dtype=np.float32)


def _bytes(values: np.ndarray) -> UInt8[np.ndarray, "*shape"]:
    if values.dtype == np.uint8:
        return values
    return np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
