"""Square windows into a picture, at any place, scale and angle; what lies outside the picture is grey."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Window", "cut", "to_picture"]

_GREY = (128, 128, 128)


@dataclass(frozen=True)
class Window:
    """A square in pixels of the picture (corner of the picture at (0, 0))."""

    center: tuple[float, float]
    side: float
    angle: float = 0.0
    """Radians; the window's x axis is the picture's, turned by this from x towards y."""

    def canvas_to_picture(self, points: Float[np.ndarray, "*batch 2"], size: int) -> Float[np.ndarray, "*batch 2"]:
        """Map pixels of the canvas that `cut` returns to pixels of the picture."""
        scale = self.side / size
        turn = np.array(_rotation(self.angle)).reshape(2, 2)
        return (points - size / 2) * scale @ turn.T + np.array(self.center)


def _rotation(angle: float) -> tuple[float, float, float, float]:
    return math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)


def cut(picture: Image.Image, window: Window, *, size: int) -> UInt8[np.ndarray, "N N 3"]:
    """Sample a window of an RGB picture into a canvas of `size` x `size`, without aliasing.

    A reduction is done first by averaging whole blocks, because sampling alone would skip pixels. Sampling is bilinear:
    Pillow's bicubic transform does not reproduce straight ramps and moves edges by up to a tenth of a pixel.
    """
    from PIL import Image

    factor = max(1, round(window.side / size))
    box = _bounds(picture, window, margin=2 * factor + 2)
    canvas = Image.new("RGB", (size, size), _GREY)
    if box is None:
        return np.asarray(canvas)
    part = picture.reduce(factor, box=box) if factor > 1 else picture.crop(box)
    # Canvas to part, both with the corner at (0, 0): p = scale * R (u - size / 2) + (center - box corner) / factor.
    scale = window.side / size / factor
    a, b, d, e = (scale * value for value in _rotation(window.angle))
    x = (window.center[0] - box[0]) / factor - (a + b) * size / 2
    y = (window.center[1] - box[1]) / factor - (d + e) * size / 2
    coefficients = (a, b, x, d, e, y)
    sampled = part.transform(
        (size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=_GREY
    )
    return np.asarray(sampled)


def _bounds(picture: Image.Image, window: Window, *, margin: int) -> tuple[int, int, int, int] | None:
    """The part of the picture under a window, with a margin; None when the window lies beside it."""
    half = window.side / 2 * (abs(math.cos(window.angle)) + abs(math.sin(window.angle)))
    (x, y), (width, height) = window.center, picture.size
    left, top = max(0, math.floor(x - half) - margin), max(0, math.floor(y - half) - margin)
    right, bottom = min(width, math.ceil(x + half) + margin), min(height, math.ceil(y + half) + margin)
    return (left, top, right, bottom) if left < right and top < bottom else None


def to_picture(image: Float[np.ndarray, "H W 3"], *, stretch: bool = False) -> Image.Image:
    """Float RGB as an 8-bit picture, in strips so that a large one needs little extra memory.

    Args:
        image: Float RGB; values outside [0, 1] are clipped.
        stretch: Lift a dark or flat picture: the 1st and 99.5th percentiles of a sample become black and white, and
            the square root brightens the shadows.
    """
    from PIL import Image

    low, high, power = 0.0, 1.0, 1.0
    if stretch:
        step = max(1, max(image.shape[:2]) // 256)
        low, high = (float(v) for v in np.percentile(image[::step, ::step], (1.0, 99.5)))
        power = 0.5
    gain = 1.0 / max(high - low, 1e-6)
    pixels = np.empty(image.shape, dtype=np.uint8)
    for row in range(0, image.shape[0], 256):
        strip = np.clip((image[row : row + 256] - low) * gain, 0.0, 1.0)
        pixels[row : row + 256] = np.rint((strip if power == 1.0 else strip**power) * 255.0)
    return Image.fromarray(pixels)
