"""What is believed about a head before its surface is seen, as residuals of a state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from flamehead.fit.landmark_model import Columns, HeadState
from flamehead.fit.residuals import gaussian_prior, soft_limits

__all__ = ["HeadBelief", "Prior", "head_prior"]

Prior = Callable[[HeadState], tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K N"]]]
"""Residuals of what is believed, and their derivative by `Columns`."""


@dataclass(frozen=True)
class HeadBelief:
    """Standard deviations and soft limits of a head's parameters."""

    shape_sigma: float = 1.0
    """Of identity coefficients; 1 is the model's own statistics."""
    expression_sigma: float = 1.0
    """Of expression coefficients."""
    coefficient_limit: float = 3.0
    """Coefficients beyond this are penalised more than the Gaussian does."""
    coefficient_excess_sigma: float = 0.3
    """Of what exceeds the limit."""
    jaw_sigma: tuple[float, float, float] = (0.2, 0.03, 0.03)
    """Of the jaw's axis-angle components, radians: opening, sideways turn, roll."""
    jaw_limits: tuple[float, float] = (-0.02, 0.5)
    """Soft limits of the opening, radians."""
    eye_sigma: float = 0.2
    """Of the gaze, radians; a surface hardly shows it."""
    eye_limit: float = 0.6
    """Soft limit of pitch and yaw, radians."""
    neck_sigma: float = 0.06
    """Of the neck's axis-angle components, radians."""
    angle_excess_sigma: float = 0.01
    """Of what exceeds the limits of jaw and gaze, radians."""


def head_prior(columns: Columns, belief: HeadBelief) -> Prior:
    """The residuals of a belief as a function of the state.

    Args:
        columns: Of the model.
        belief: Standard deviations and limits.
    """
    which = np.r_[columns.coefficients, columns.jaw, columns.eyes, columns.neck]
    sizes = [columns.n_shape, columns.n_expression, 1, 1, 1, 4, 3]
    spreads = [belief.shape_sigma, belief.expression_sigma, *belief.jaw_sigma, belief.eye_sigma, belief.neck_sigma]
    sigma = np.repeat(spreads, sizes)
    limit, (closed, opened), gaze = belief.coefficient_limit, belief.jaw_limits, belief.eye_limit
    low = np.repeat([-limit, -limit, closed, -np.inf, -np.inf, -gaze, -np.inf], sizes)
    high = np.repeat([limit, limit, opened, np.inf, np.inf, gaze, np.inf], sizes)
    excess = np.full(len(which), belief.angle_excess_sigma)
    excess[columns.coefficients] = belief.coefficient_excess_sigma
    count, row = len(which), np.arange(len(which))

    def prior(state: HeadState) -> tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K N"]]:
        values = np.concatenate([state.coefficients, state.jaw, state.eyes.reshape(-1), state.neck])
        believed, slope = gaussian_prior(values, sigma=sigma)
        limits, limits_slope = soft_limits(values, low=low, high=high, sigma=excess)
        active = np.flatnonzero(limits_slope)
        rows = np.zeros((count + active.size, len(columns)))
        rows[row, which] = slope
        rows[count + np.arange(active.size), which[active]] = limits_slope[active]
        return np.concatenate([believed, limits[active]]), rows

    return prior
