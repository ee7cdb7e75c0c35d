"""Dots and short lines on images, placed to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["links", "marks"]

Color = tuple[float, float, float]


def marks(
    image: Float[np.ndarray, "H W 3"],
    points: Float[np.ndarray, "L 2"],
    color: Color,
    *,
    radius: float | None = None,
    outline: float = 0.55,
) -> Float[np.ndarray, "H W 3"]:
    """Draw a dot with a dark rim at each point, readable on light and dark ground; returns a new image.

    Args:
        image: sRGB in [0, 1].
        points: Pixels, pixel centres at +0.5; rows that are not finite are left out.
        color: sRGB of the dots.
        radius: In pixels; `None` is 1/160 of the shorter side of the image, and at least 1.2.
        outline: Opacity of the rim.
    """
    out = np.array(image, dtype=np.float32)
    radius = max(1.2, min(out.shape[:2]) / 160) if radius is None else radius
    rim = radius + max(0.6, 0.35 * radius)
    for x, y in np.asarray(points, dtype=np.float64):
        if np.isfinite(x) and np.isfinite(y):
            window, dx, dy = _around(out, x - rim, x + rim, y - rim, y + rim)
            distance = np.hypot(dx - x, dy - y)
            _paint(window, (0.0, 0.0, 0.0), outline * np.clip(rim + 0.5 - distance, 0.0, 1.0))
            _paint(window, color, np.clip(radius + 0.5 - distance, 0.0, 1.0))
    return out


def links(
    image: Float[np.ndarray, "H W 3"],
    starts: Float[np.ndarray, "L 2"],
    ends: Float[np.ndarray, "L 2"],
    color: Color,
    *,
    width: float = 1.0,
) -> Float[np.ndarray, "H W 3"]:
    """Draw a line from each start to its end; rows where either is not finite are left out; returns a new image."""
    out = np.array(image, dtype=np.float32)
    for (ax, ay), (bx, by) in zip(np.asarray(starts, np.float64), np.asarray(ends, np.float64), strict=True):
        if np.isfinite([ax, ay, bx, by]).all():
            margin = 0.5 * width
            window, dx, dy = _around(
                out, min(ax, bx) - margin, max(ax, bx) + margin, min(ay, by) - margin, max(ay, by) + margin
            )
            square = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-12)
            along = np.clip(((dx - ax) * (bx - ax) + (dy - ay) * (by - ay)) / square, 0.0, 1.0)
            distance = np.hypot(dx - ax - along * (bx - ax), dy - ay - along * (by - ay))
            _paint(window, color, np.clip(margin + 0.5 - distance, 0.0, min(width, 1.0)))
    return out


def _around(
    image: Float[np.ndarray, "H W 3"], left: float, right: float, top: float, bottom: float
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "1 w"], Float[np.ndarray, "h 1"]]:
    """The part of the image, perhaps empty, that holds a box and half a pixel more; and its pixel centres."""
    height, width = image.shape[:2]
    x0, x1 = (int(np.clip(value, 0, width)) for value in (np.floor(left - 0.5), np.ceil(right + 0.5)))
    y0, y1 = (int(np.clip(value, 0, height)) for value in (np.floor(top - 0.5), np.ceil(bottom + 0.5)))
    return image[y0:y1, x0:x1], np.arange(x0, x1)[None] + 0.5, np.arange(y0, y1)[:, None] + 0.5


def _paint(window: Float[np.ndarray, "h w 3"], color: Color, alpha: Float[np.ndarray, "h w"]) -> None:
    window += alpha.astype(np.float32)[..., None] * (np.asarray(color, dtype=np.float32) - window)
