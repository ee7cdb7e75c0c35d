"""Similarities, the maps that keep shapes: closed-form alignment of points with known partners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from flamehead.errors import InputError

__all__ = ["Similarity", "align_points", "inverted", "moved"]

_FLAT = 1e-9
"""Share of the largest spread below which points count as lying on one line."""


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation."""

    scale: float
    """Positive; 1 for a rigid motion."""
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]


def moved(points: Float[np.ndarray, "N 3"], by: Similarity) -> Float[np.ndarray, "N 3"]:
    """The points where a similarity takes them.

    Example:
        >>> moved(np.ones((1, 3)), Similarity(2.0, np.eye(3), np.zeros(3)))
        array([[2., 2., 2.]])
    """
    return by.scale * (points @ by.rotation.T) + by.translation


def inverted(similarity: Similarity) -> Similarity:
    """The similarity that takes everything back."""
    rotation, scale = similarity.rotation.T, 1.0 / similarity.scale
    return Similarity(scale, rotation, -scale * (rotation @ similarity.translation))


def align_points(
    source: Float[np.ndarray, "N 3"],
    target: Float[np.ndarray, "N 3"],
    *,
    weights: Float[np.ndarray, "N"] | None = None,
    scaled: bool = True,
    robust: bool = False,
) -> Similarity:
    """The similarity that takes points nearest to their partners: min sum_i w_i |s R x_i + t - y_i|^2.

    Closed form by a singular value decomposition (Umeyama, "Least-squares estimation of transformation parameters
    between two point patterns", 1991). Reflections are left out.

    Args:
        source: x.
        target: y, in any unit.
        weights: w, not negative; all alike when None.
        scaled: False keeps the scale at 1.
        robust: Weight down pairs that do not fit, by a Geman-McClure loss whose width follows their median distance.

    Raises:
        InputError: fewer than three points, other shapes, NaN, or points on one line, which turn freely about it.
    """
    x, y = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 2 or x.shape[1] != 3 or len(x) < 3:
        raise InputError(
            f"Cannot align points {x.shape} to {y.shape}; give three or more pairs, one row of x, y, z each."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("Cannot align points that are NaN or infinite; leave those pairs out.")
    plain = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    found = _umeyama(x, y, plain / plain.sum(), scaled)
    for _ in range(20 if robust else 0):
        distance = np.linalg.norm(moved(x, found) - y, axis=1)
        width = 2.0 * float(np.median(distance[plain > 0.0]))
        if width <= 0.0:
            break
        weighted = plain * (width**2 / (width**2 + distance**2)) ** 2
        found = _umeyama(x, y, weighted / weighted.sum(), scaled)
    return found


def _umeyama(
    x: Float[np.ndarray, "N 3"], y: Float[np.ndarray, "N 3"], w: Float[np.ndarray, "N"], scaled: bool
) -> Similarity:
    """The closed form, for weights that sum to 1."""
    x_mean, y_mean = w @ x, w @ y
    x, y = x - x_mean, y - y_mean
    for points in (x, y):
        spread = np.linalg.eigvalsh((points * w[:, None]).T @ points)
        if not spread[1] > _FLAT * spread[2]:
            raise InputError("Cannot align points that lie on one line or spot; give points that span a plane or more.")
    left, sizes, right = np.linalg.svd((y * w[:, None]).T @ x)
    sizes[2] *= (mirror := np.sign(np.linalg.det(left) * np.linalg.det(right)))
    rotation = left @ np.diag([1.0, 1.0, mirror]) @ right
    scale = float(sizes.sum() / (w @ (x**2).sum(axis=1))) if scaled else 1.0
    return Similarity(scale, rotation, y_mean - scale * (rotation @ x_mean))
