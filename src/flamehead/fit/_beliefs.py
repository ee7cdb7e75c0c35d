"""What is believed of albedo and light before a photo is seen, and how much its pixels are worth afterwards."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["appearance_prior", "pixels_worth"]

_CONSTANT = 0.28209479
"""The first harmonic."""
_BLOCKS = 14
"""Blocks along the longer side of the picture in which residuals are averaged."""


def appearance_prior(
    n_albedo: int, *, albedo_sigma: float, level: float, level_sigma: float, light_sigma: float, tint_sigma: float
) -> tuple[Float[np.ndarray, "A A"], Float[np.ndarray, "A"]]:
    """Precision and mean of albedo and light, in the order of the normal equations (light channel by channel).

    Skin under a lamp and another skin under another lamp may look the same: only beliefs tell them apart. The mean over
    the channels of each of the light's coefficients has one spread, the channels' differences from it another:
    `p = 1 1^T / (9 s^2) + (I - 1 1^T / 3) / t^2`.

    Args:
        n_albedo: Number of albedo coefficients.
        albedo_sigma: Their spread.
        level: Brightness of even light, in which a white surface shows 1.
        level_sigma: Its spread.
        light_sigma: Spread of the other coefficients.
        tint_sigma: Spread of a coefficient's channels about their mean, relative to `level` for the constant one.
    """
    size = n_albedo + 27
    precision, mean = np.zeros((size, size)), np.zeros(size)
    precision[range(n_albedo), range(n_albedo)] = albedo_sigma**-2.0
    together = np.full((3, 3), 1.0 / 3.0)
    for harmonic in range(9):
        rows = n_albedo + harmonic + 9 * np.arange(3)
        common, tint = (
            (level_sigma / _CONSTANT, tint_sigma * level / _CONSTANT) if harmonic == 0 else (light_sigma, tint_sigma)
        )
        precision[np.ix_(rows, rows)] = together / (3 * common**2) + (np.eye(3) - together) / tint**2
        mean[rows] = level / _CONSTANT if harmonic == 0 else 0.0
    return precision, mean


def pixels_worth(
    residual: Float[np.ndarray, "H W 3"], inside: Bool[np.ndarray, "H W"], *, sigma: float, most: float
) -> float:
    """How many independent observations of noise `sigma` the pixels inside stand for.

    Errors of neighbouring pixels are alike wherever the model cannot paint what is there. Noise that is white counts
    every pixel; of errors that fill blocks of b x b pixels, the mean square of the blocks' means, times b^2, is the
    power per pixel that moves a face, S (the noise's spectral density at long wavelengths), and P pixels are worth
    `P sigma^2 / S`.

    Args:
        residual: Photo minus model, sRGB, with outliers already damped.
        inside: Pixels that count.
        sigma: The noise that the fit assumes for a channel.
        most: Never more than this.

    Returns:
        Where there are too few pixels for a single block, as many as there are, and 1 if there is none.
    """
    side = max(2, math.ceil(max(inside.shape) / _BLOCKS))
    height, width = (length // side * side for length in inside.shape)
    count = np.count_nonzero(inside)
    few = min(most, float(max(count, 1)))
    if not (height and width):
        return few
    shape = height // side, side, width // side, side
    weight = inside[:height, :width].reshape(shape).sum((1, 3))
    total = (residual * inside[..., None])[:height, :width].reshape(*shape, 3).sum((1, 3))
    full = weight >= 0.5 * side * side
    if not full.any():
        return few
    means = total[full] / weight[full, None]
    density = float((means**2 * weight[full, None]).mean())
    return min(most, count * sigma**2 / max(density, 1e-9))
