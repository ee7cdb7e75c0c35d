"""The similarity that takes one set of points nearest to another, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from flamehead.errors import InputError

__all__ = ["Similarity", "align_points"]


@dataclass(frozen=True)
class Similarity:
    """`y = scale * rotation @ x + translation`."""

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    def apply(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """Move points."""
        return self.scale * points @ self.rotation.T + self.translation


def align_points(
    source: Float[np.ndarray, "N 3"],
    target: Float[np.ndarray, "N 3"],
    *,
    weights: Float[np.ndarray, "N"] | None = None,
    with_scale: bool = True,
    robust: bool = False,
) -> Similarity:
    """The similarity with the least weighted sum of squared distances; never a reflection.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991).

    Args:
        source: Points to move; not all on one line.
        target: Where they should go.
        weights: Of the squared distances.
        with_scale: Otherwise the scale is 1.
        robust: Weight down points that do not fit, by a Geman-McClure loss whose width follows their median distance.

    Raises:
        InputError: Fewer than three points, or they all lie on one line.

    Example:
        >>> x = np.eye(3)
        >>> float(align_points(x, 2 * x + 1).scale.__round__(6))
        2.0
    """
    plain = np.ones(len(source)) if weights is None else weights
    found = _umeyama(source, target, plain, with_scale)
    for _ in range(20 if robust else 0):
        distance = np.linalg.norm(found.apply(source) - target, axis=1)
        width = 2.0 * float(np.median(distance[plain > 0.0]))
        if width <= 0.0:
            break
        found = _umeyama(source, target, plain * (width**2 / (width**2 + distance**2)) ** 2, with_scale)
    return found


def _umeyama(
    source: Float[np.ndarray, "N 3"],
    target: Float[np.ndarray, "N 3"],
    weights: Float[np.ndarray, "N"],
    with_scale: bool,
) -> Similarity:
    total = weights.sum()
    if (weights > 0.0).sum() < 3:
        raise InputError(f"A similarity needs at least 3 pairs of points, got {int((weights > 0.0).sum())}; give more.")
    middle, goal = weights @ source / total, weights @ target / total
    x, y = source - middle, target - goal
    left, sizes, right = np.linalg.svd((y * weights[:, None]).T @ x)
    if not sizes[1] > 1e-9 * sizes[0] > 0.0:
        raise InputError("The points all lie on one spot or line, which has no orientation; give points of a face.")
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left * sign) @ right
    scale = float((sizes * sign).sum() / (weights @ (x**2).sum(1))) if with_scale else 1.0
    return Similarity(scale, rotation, goal - scale * rotation @ middle)
