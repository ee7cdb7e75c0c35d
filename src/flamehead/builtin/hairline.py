"""Where the short hair of the built-in head grows. Centimetres."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from flamehead.builtin.fields import bump, step

__all__ = ["hair_amount"]

# Depth (z) and height (y) of the hairline along the side of the head, from the nape to the forehead.
_DEPTH = (-16.0, -13.0, -11.0, -9.2, -7.4, -6.4, -2.9, -2.5, -1.4, -1.0, 0.2, 1.6, 3.0, 4.2, 6.0)
_HEIGHT = (-5.0, -5.0, -4.4, -2.6, 1.5, 3.0, 3.3, 1.2, 0.9, 1.4, 3.9, 5.2, 6.8, 8.3, 9.2)


def hair_amount(rest: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    """1 under the hair, 0 on bare skin: over the forehead, down the temples, around the ears, down to the nape."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    edge = np.interp(z, _DEPTH, _HEIGHT) + 0.15 * np.sin(1.3 * x)
    edge = np.where(z > 0.0, np.minimum(edge, 9.0 - 0.012 * x**2), edge)
    ear = bump(np.stack([x, y, z], -1), (8.6, 0.9, -5.2), (1.2, 1.95, 1.2))
    return step(y - edge, -0.40, 0.40) * (1.0 - step(ear, 0.18, 0.38))
