"""Errors in numbers: median, mean, spread, and the share of points within a distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from flamehead.errors import InputError

__all__ = ["MILLIMETRES", "ErrorSummary", "Unit", "cumulative_share", "summarize"]


Unit = Literal["m", "cm", "mm"]
"""The unit that coordinates are written in."""

MILLIMETRES: dict[Unit, float] = {"m": 1000.0, "cm": 10.0, "mm": 1.0}
"""How many millimetres each unit has."""


@dataclass(frozen=True)
class ErrorSummary:
    """What is reported of many errors; in their unit."""

    median: float
    mean: float
    std: float
    """Over the population, as the benchmarks have it: divided by the count."""
    rms: float
    largest: float
    count: int


def summarize(errors: Float[np.ndarray, "N"]) -> ErrorSummary:
    """The numbers that the field reports of per-point errors.

    Raises:
        InputError: There are no errors, or some are NaN.

    Example:
        >>> summarize(np.array([1.0, 2.0, 6.0])).mean
        3.0
    """
    values = np.asarray(errors, dtype=np.float64).reshape(-1)
    if not values.size or not np.isfinite(values).all():
        raise InputError(f"There is nothing to summarize: {values.size} errors, some perhaps NaN; give finite errors.")
    mean = float(values.mean())
    return ErrorSummary(
        float(np.median(values)),
        mean,
        float(values.std()),
        float(np.sqrt(np.square(values).mean())),
        float(values.max()),
        values.size,
    )


def cumulative_share(errors: Float[np.ndarray, "N"], limits: Float[np.ndarray, "K"]) -> Float[np.ndarray, "K"]:
    """The share of errors up to each limit, 0 to 1: the field's cumulative error curve.

    Example:
        >>> cumulative_share(np.array([0.5, 1.0, 3.0, 4.0]), np.array([1.0, 5.0]))
        array([0.5, 1. ])
    """
    values = np.sort(np.asarray(errors, dtype=np.float64).reshape(-1))
    if not values.size:
        raise InputError("There are no errors to draw a curve of; evaluate at least one prediction.")
    return np.searchsorted(values, limits, side="right") / values.size
