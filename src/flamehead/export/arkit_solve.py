"""Least squares with bounds for many frames that share one matrix, perhaps tied to each other in time."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["box_least_squares"]

_TOLERANCE = 1e-7
"""Of the last step, in the unit of the unknowns."""
_MOST = 20_000


def box_least_squares(
    normal: Float[np.ndarray, "K K"],
    right: Float[np.ndarray, "T K"],
    lower: Float[np.ndarray, "#T K"],
    upper: Float[np.ndarray, "#T K"],
    *,
    smoothness: float = 0.0,
    linked: Bool[np.ndarray, "T-1"] | None = None,
) -> Float[np.ndarray, "T K"]:
    """Minimise sum_t (x_t N x_t / 2 - b_t x_t) + s / 2 sum_t (x_t - x_{t+1}) D (x_t - x_{t+1}) over a box, D = diag N.

    Accelerated projected gradients, restarted where they lose their way (Beck and Teboulle 2009; O'Donoghue and Candes
    2015), in unknowns scaled by the root of D: each step costs one small matrix product for all frames, with bounds and
    ties in time at no extra cost.

    Args:
        normal: N, symmetric and positive definite.
        right: b.
        lower: bounds, for each frame or for all.
        upper: likewise.
        smoothness: s; 1 weighs a change between neighbours like a misfit of the same size.
        linked: which frames are tied to the next one; all when None.
    """
    scale = np.sqrt(np.diagonal(normal))
    matrix = normal / np.outer(scale, scale)
    target, low, high = right / scale, lower * scale, upper * scale
    ties = np.zeros(max(len(right) - 1, 0)) if smoothness == 0.0 else np.full(len(right) - 1, float(smoothness))
    if linked is not None:
        ties = ties * linked
    step = 1.0 / (np.linalg.eigvalsh(matrix)[-1] + 4.0 * smoothness)
    # The answer without bounds and ties is a good start.
    x = np.clip(np.linalg.solve(matrix, target.T).T, low, high)
    ahead, momentum = x, 1.0
    for _ in range(_MOST):
        slope = ahead @ matrix - target + (_pull(ahead, ties) if smoothness else 0.0)
        new = np.clip(ahead - step * slope, low, high)
        if (np.abs(new - ahead) <= _TOLERANCE * scale).all():
            return np.clip(new / scale, lower, upper)
        if ((ahead - new) * (new - x)).sum() > 0.0:
            momentum = 1.0
        grown = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        ahead, x, momentum = new + (momentum - 1.0) / grown * (new - x), new, grown
    return np.clip(x / scale, lower, upper)


def _pull(x: Float[np.ndarray, "T K"], ties: Float[np.ndarray, "T-1"]) -> Float[np.ndarray, "T K"]:
    """Gradient of half the weighted squared differences of neighbours."""
    pulled = np.zeros_like(x)
    force = ties[:, None] * np.diff(x, axis=0)
    pulled[:-1] -= force
    pulled[1:] += force
    return pulled
