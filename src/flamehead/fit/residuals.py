"""Residuals of landmark fits, each with its analytic Jacobian. They know no solver.

A residual is divided by its standard deviation, so that 0.5 * sum of squares is a negative log posterior.
The camera of these fits sits in the origin and looks along -z of the model frame: the head itself moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["CAMERA_FROM_MODEL", "ImageTargets", "gaussian_prior", "project", "project_residuals", "soft_limits"]

CAMERA_FROM_MODEL = np.diag([1.0, -1.0, -1.0])
"""Rotation from the model frame (y up, z towards the viewer) to the OpenCV camera frame (y down, z forward)."""


@dataclass(frozen=True)
class ImageTargets:
    """Where points were seen in an image, and how well."""

    seen: Float[np.ndarray, "L 2"]
    """Pixels; any finite number for a point that was not seen."""
    whitening: Float[np.ndarray, "L 2 2"]
    """Square root of the inverse covariance of each point, 1 / pixel; zero ignores the point."""
    center: Float[np.ndarray, "2"]
    """Principal point, pixels."""


def project(points: Float[np.ndarray, "L 3"], focal: float, center: Float[np.ndarray, "2"]) -> Float[np.ndarray, "L 2"]:
    """Pixels of world points; NaN for points that are not in front of the camera."""
    depth = np.where(points[:, 2] < 0.0, -points[:, 2], np.nan)
    return center + focal * (points[:, :2] * [1.0, -1.0]) / depth[:, None]


def project_residuals(
    points: Float[np.ndarray, "L 3"],
    jacobian: Float[np.ndarray, "L 3 N"],
    targets: ImageTargets,
    *,
    log_focal: float,
) -> tuple[Float[np.ndarray, "2*L"], Float[np.ndarray, "2*L N+1"]]:
    """Distances between projected and seen points, r = whitening @ (focal * (x, -y) / -z + center - seen).

    Args:
        points: World points, metres.
        jacobian: Their derivative by the unknowns.
        targets: The image side.
        log_focal: Logarithm of the focal length in pixels.

    Returns:
        x and y of each point in turn, and the derivative by the unknowns and, in the last column, by `log_focal`.
        NaN where a point is not in front of the camera.
    """
    focal = np.exp(log_focal)
    pixels = project(points, focal, targets.center)
    offset = pixels - targets.center
    # d(x / depth) = (dx - x / depth * d depth) / depth, with depth = -z and the image's y pointing down.
    by_point = np.zeros((len(points), 2, 3))
    by_point[:, 0, 0], by_point[:, 1, 1] = focal, -focal
    by_point[:, :, 2] = offset
    by_point /= -points[:, 2, None, None]
    out = np.empty((len(points), 2, jacobian.shape[2] + 1))
    np.matmul(targets.whitening @ by_point, jacobian, out=out[..., :-1])
    out[..., -1] = np.einsum("lab,lb->la", targets.whitening, offset)
    residuals = np.einsum("lab,lb->la", targets.whitening, pixels - targets.seen)
    return residuals.reshape(-1), out.reshape(2 * len(points), -1)


def gaussian_prior(
    values: Float[np.ndarray, "K"],
    *,
    mean: Float[np.ndarray, "K"] | float = 0.0,
    sigma: Float[np.ndarray, "K"] | float = 1.0,
) -> tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K"]]:
    """r = (v - mean) / sigma, and the diagonal of its Jacobian."""
    slope = np.broadcast_to(1.0 / np.asarray(sigma, dtype=np.float64), values.shape)
    return (values - mean) * slope, slope


def soft_limits(
    values: Float[np.ndarray, "K"],
    *,
    low: Float[np.ndarray, "K"] | float,
    high: Float[np.ndarray, "K"] | float,
    sigma: Float[np.ndarray, "K"] | float,
) -> tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K"]]:
    """Zero within [low, high], excess / sigma outside, and the diagonal of its Jacobian.

    Kept apart from the Gaussian of the same values: a single residual with both costs would bend so sharply at the
    limit that Gauss-Newton steps overshoot.
    """
    excess = values - np.clip(values, low, high)
    return excess / sigma, (excess != 0.0) / sigma
