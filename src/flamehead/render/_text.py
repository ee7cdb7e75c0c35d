"""Words on pictures, in the font that comes with pillow."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["INK", "PAPER", "text_width", "write"]

PAPER = (0.965, 0.965, 0.96)
INK = (0.20, 0.21, 0.23)


def write(
    image: Float[np.ndarray, "H W 3"], words: list[tuple[float, float, str]], size: float, *, anchor: str = "mm"
) -> Float[np.ndarray, "H W 3"]:
    """Write at (x, y) pixels; `anchor` is pillow's, `"mm"` centres the words there. Returns a new image."""
    from PIL import Image, ImageDraw, ImageFont

    # Pillow does not scale below this.
    font = ImageFont.load_default(size=max(4.0, size))
    ink = Image.new("L", (image.shape[1], image.shape[0]))
    draw = ImageDraw.Draw(ink)
    for x, y, text in words:
        draw.text((x, y), text, fill=255, font=font, anchor=anchor)
    alpha = np.asarray(ink, dtype=np.float32)[..., None] / np.float32(255)
    return image + alpha * (np.array(INK, dtype=np.float32) - image)


def text_width(text: str, size: float) -> float:
    """In pixels."""
    from PIL import ImageFont

    return ImageFont.load_default(size=max(4.0, size)).getlength(text)
