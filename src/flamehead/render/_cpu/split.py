"""Four channels to colour and alpha, and back."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.render._cpu.vectors import peek, poke

__all__ = ["join", "split"]

_FAST = {"nogil": True, "error_model": "numpy", "_nrt": False}


@compiled(**_FAST)
def split(first, last, both, image, alpha):
    """Pixels `first` to `last - 1`; flat."""
    for n in range(first, last):
        for c in range(3):
            poke(image, 3 * n + c, peek(both, 4 * n + c))
        poke(alpha, n, peek(both, 4 * n + 3))


@compiled(**_FAST)
def join(first, last, image, alpha, both):
    """The other way; an empty `alpha` counts as zeros."""
    known = alpha.shape[0] > 0
    for n in range(first, last):
        for c in range(3):
            poke(both, 4 * n + c, peek(image, 3 * n + c))
        poke(both, 4 * n + 3, peek(alpha, n) if known else np.float32(0.0))
