"""Distances as colours, and how often each occurs as a chart."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from flamehead.errors import InputError

__all__ = ["distance_chart", "distance_colors"]

_STOPS = np.array([[0.16, 0.31, 0.62], [0.25, 0.66, 0.67], [0.95, 0.93, 0.62], [0.93, 0.52, 0.24], [0.68, 0.10, 0.15]])
"""sRGB from near to far: blue, teal, yellow, orange, red; also told apart by their lightness."""
_UNKNOWN = (0.62, 0.62, 0.62)
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 16, 30, 40


def distance_colors(distances: Float[np.ndarray, "N"], largest: float) -> Float[np.ndarray, "N 3"]:
    """sRGB of distances from 0 (blue) to `largest` and beyond (red); grey where a distance is NaN.

    Example:
        >>> distance_colors(np.array([0.0, 1.0]), 1.0).round(2)
        array([[0.16, 0.31, 0.62],
               [0.68, 0.1 , 0.15]])
    """
    if not 0 < largest < np.inf:
        raise InputError(f"The largest distance of the colours is {largest}; give a number above 0.")
    known = np.isfinite(distances)
    place = np.clip(np.where(known, distances, 0.0) / largest, 0.0, 1.0)
    steps = np.linspace(0.0, 1.0, len(_STOPS))
    colors = np.stack([np.interp(place, steps, _STOPS[:, k]) for k in range(3)], axis=-1)
    return np.where(known[:, None], colors, _UNKNOWN)


def distance_chart(
    distances: Float[np.ndarray, "N"], largest: float, *, title: str, unit: str, size: tuple[int, int] = (560, 300)
) -> Float[np.ndarray, "h w 3"]:
    """A histogram whose bars have the colours of `distance_colors`; the last bar holds all that is farther.

    Args:
        distances: Not NaN.
        largest: Where the scale of colours ends.
        title: Above the chart.
        unit: Of the distances, below the axis.
        size: (width, height) in pixels.
    """
    from PIL import Image, ImageDraw

    width, height = size
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    bins = 40
    counts = np.bincount(np.minimum((distances / largest * bins).astype(int), bins), minlength=bins + 1)
    share = counts / max(len(distances), 1)
    left, right, top, bottom = _LEFT, width - _RIGHT, _TOP, height - _BOTTOM
    step, tallest = (right - left) / (bins + 1), max(float(share.max()), 1e-9)
    colors = distance_colors((np.arange(bins + 1) + 0.5) / bins * largest, largest)
    for k, (value, color) in enumerate(zip(share, colors, strict=True)):
        box = [left + k * step + 1, bottom - value / tallest * (bottom - top), left + (k + 1) * step - 1, bottom]
        if value > 0:
            draw.rectangle(box, fill=tuple(int(255 * c) for c in color))
    draw.line([left, bottom, right, bottom], fill="black")
    for k in range(5):
        x = left + k * (bins * step) / 4
        draw.line([x, bottom, x, bottom + 4], fill="black")
        draw.text((x, bottom + 6), f"{largest * k / 4:g}" + ("+" if k == 4 else ""), fill="black", anchor="ma")
    draw.text(((left + right) / 2, height - 16), unit, fill="black", anchor="ma")
    draw.text((left, 8), title, fill="black")
    draw.text((left - 6, top), f"{100 * tallest:.0f} %", fill="black", anchor="ra")
    return np.asarray(picture, dtype=np.float32) / 255.0
