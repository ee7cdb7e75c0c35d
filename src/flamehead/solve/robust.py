"""Robust losses and the weights that make least squares follow them.

A loss maps the squared norm `s` of a residual block to `rho(s)`, with `rho(s) ~ s` near zero, so that the robust cost
is `0.5 * sum(rho(s))`. Its derivative `rho'(s)` weights the block in iteratively reweighted least squares; see Triggs
et al., "Bundle Adjustment - A Modern Synthesis" (2000), section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

__all__ = ["LOSSES", "Loss", "LossName", "RobustBlock", "cauchy", "geman_mcclure", "huber", "robust_cost", "squared"]

Loss = Callable[
    [Float[np.ndarray, "B"], float],
    tuple[Float[np.ndarray, "B"], Float[np.ndarray, "B"]],
]
"""`loss(s, scale) -> (rho, weight)` for squared norms `s`; `scale` is in the unit of the norm, not of its square."""

LossName = Literal["squared", "huber", "cauchy", "geman_mcclure"]


def squared(s: Float[np.ndarray, "B"], scale: float) -> tuple[Float[np.ndarray, "B"], Float[np.ndarray, "B"]]:
    """Plain least squares; `scale` plays no part."""
    del scale
    return s, np.ones_like(s)


def huber(s: Float[np.ndarray, "B"], scale: float) -> tuple[Float[np.ndarray, "B"], Float[np.ndarray, "B"]]:
    """Quadratic up to `scale`, linear beyond: an outlier pulls with a constant force."""
    norm = np.sqrt(np.maximum(s, scale**2))
    outside = s > scale**2
    return np.where(outside, 2.0 * scale * norm - scale**2, s), scale / norm


def cauchy(s: Float[np.ndarray, "B"], scale: float) -> tuple[Float[np.ndarray, "B"], Float[np.ndarray, "B"]]:
    """Logarithmic growth: an outlier pulls with a force that fades like 1 / distance."""
    ratio = s / scale**2
    return scale**2 * np.log1p(ratio), 1.0 / (1.0 + ratio)


def geman_mcclure(s: Float[np.ndarray, "B"], scale: float) -> tuple[Float[np.ndarray, "B"], Float[np.ndarray, "B"]]:
    """Saturates at `scale**2`: a far outlier does not pull at all."""
    keep = scale**2 / (scale**2 + s)
    return s * keep, keep**2


LOSSES: dict[LossName, Loss] = {"squared": squared, "huber": huber, "cauchy": cauchy, "geman_mcclure": geman_mcclure}
"""The losses by name, for settings."""


@dataclass(frozen=True)
class RobustBlock:
    """Rows of a residual vector that are judged in groups, e.g. the x and y of one image point."""

    rows: slice
    """The rows that take part; their number must be a multiple of `size`."""
    size: int
    """Consecutive rows that form one group."""
    loss: Loss
    scale: float
    """Norm of a group at which it starts to look like an outlier, in the unit of the residuals."""


def robust_cost(
    residuals: Float[np.ndarray, "M"], blocks: Sequence[RobustBlock]
) -> tuple[float, Float[np.ndarray, "M"] | None]:
    """The robust cost and the weight of every row; rows outside all blocks keep weight 1.

    Returns:
        `0.5 * sum(rho)` and the weights `rho'`, or None instead of weights that would all be 1.
    """
    if not blocks:
        return 0.5 * float(residuals @ residuals), None
    rho = residuals**2
    weights = np.ones_like(residuals)
    for block in blocks:
        s = rho[block.rows].reshape(-1, block.size).sum(axis=1)
        value, weight = block.loss(s, block.scale)
        weights[block.rows] = np.repeat(weight, block.size)
        rho[block.rows] = np.repeat(value / block.size, block.size)
    return 0.5 * float(rho.sum()), weights
