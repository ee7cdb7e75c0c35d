"""Rotations in NumPy for the solvers: exponential, logarithm and the derivative of the exponential.

`exp(J_l(r) dr) exp(r) = exp(r + dr)` to first order defines the left Jacobian J_l; see Sola et al., "A micro Lie
theory" (2018), equations 143-145.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

__all__ = ["exp", "left_jacobian", "log", "skew"]

# Below this angle the Taylor series of the coefficients is exact to the last bit of float64.
_SMALL = 1e-3


def skew(r: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """The matrix of `x -> r cross x`."""
    k = np.zeros((*r.shape, 3))
    k[..., 0, 1], k[..., 0, 2], k[..., 1, 2] = -r[..., 2], r[..., 1], -r[..., 0]
    k[..., 1, 0], k[..., 2, 0], k[..., 2, 1] = r[..., 2], -r[..., 1], r[..., 0]
    return k


def exp(r: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Rotation matrix of an axis-angle vector, I + a K + b K^2 with a = sin(t) / t, b = (1 - cos(t)) / t^2."""
    a, b, _ = _coefficients(r)
    k = skew(r)
    return np.eye(3) + a * k + b * (k @ k)


def left_jacobian(r: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Turns a change of an axis-angle vector into the small rotation it adds on the left, I + b K + c K^2."""
    _, b, c = _coefficients(r)
    k = skew(r)
    return np.eye(3) + b * k + c * (k @ k)


def log(rotation: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    """Axis-angle vector of a rotation matrix; its angle is at most pi."""
    twice_sine = np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    length = math.sqrt(float(twice_sine @ twice_sine))
    cosine = float(rotation[0, 0] + rotation[1, 1] + rotation[2, 2]) - 1.0
    if cosine > -1.0:
        # Up to 120 degrees the sine tells the axis well; SciPy's general way takes twenty times as long.
        angle = math.atan2(length, cosine)
        return twice_sine * (0.5 + angle * angle / 12.0 if angle < _SMALL else angle / length)
    return Rotation.from_matrix(rotation).as_rotvec()


def _coefficients(r: Float[np.ndarray, "3"]) -> tuple[float, float, float]:
    """sin(t) / t, (1 - cos(t)) / t^2 and (t - sin(t)) / t^3 at t = |r|."""
    t2 = float(r @ r)
    t = math.sqrt(t2)
    if t < _SMALL:
        return 1.0 - t2 / 6.0, 0.5 - t2 / 24.0, 1.0 / 6.0 - t2 / 120.0
    half = math.sin(0.5 * t) / t
    return math.sin(t) / t, 2.0 * half * half, (t - math.sin(t)) / (t * t2)
