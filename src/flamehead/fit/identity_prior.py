"""What else is known about a person before the landmarks are looked at, such as the identity that MICA reads off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.fit.landmark_model import HeadState

__all__ = ["IdentityPrior", "begun", "coefficients_used"]


@dataclass(frozen=True)
class IdentityPrior:
    """A Gaussian about an identity instead of about the mean head: r = sqrt(weight) (shape - mean) / shape_sigma."""

    mean: Float[torch.Tensor, "S"]
    """Identity coefficients in standard deviations; those that are missing are zero."""
    weight: float = 10.0
    """1 trusts it as much as the fit otherwise trusts the mean head; its spread is `shape_sigma / sqrt(weight)`."""

    def __post_init__(self) -> None:
        """Refuse what is no weight and no identity.

        Raises:
            InputError: The weight is not positive, or the mean is no vector of finite numbers.
        """
        if not (math.isfinite(self.weight) and self.weight > 0.0):
            raise InputError(f"The weight of the identity is {self.weight}; give a positive number, 10 by default.")
        if self.mean.ndim != 1 or not bool(self.mean.isfinite().all()):
            raise InputError(
                f"The mean of the identity prior has shape {tuple(self.mean.shape)}, wanted (S,) with finite numbers; "
                "give the coefficients of one person."
            )

    def believed(self, n_shape: int, sigma: float) -> tuple[Float[np.ndarray, "n_shape"], Float[np.ndarray, "n_shape"]]:
        """Mean and standard deviation of the first `n_shape` coefficients."""
        return _sized(self.mean, n_shape), np.full(n_shape, sigma / math.sqrt(self.weight))


def coefficients_used(values: Sequence[Float[torch.Tensor, "N"] | None]) -> int:
    """Up to which coefficient any of these says something."""
    used = [np.flatnonzero(value.detach().cpu().numpy()) for value in values if value is not None]
    return max((int(ids[-1]) + 1 for ids in used if len(ids)), default=0)


def begun(state: HeadState, start: FlameParams) -> HeadState:
    """A state with the shape, the expression, the jaw and the gaze of some parameters; its pose is kept.

    Raises:
        InputError: The parameters hold several heads, or numbers that are not finite.
    """
    parts = (start.shape, start.expression, start.jaw, start.left_eye, start.right_eye)
    if any(part.ndim != 1 or not bool(part.isfinite().all()) for part in parts):
        raise InputError("The start of a fit must be one head of finite numbers; give one set of parameters.")
    return HeadState(
        shape=_sized(start.shape, len(state.shape)),
        expression=_sized(start.expression, len(state.expression)),
        neck=state.neck,
        jaw=_sized(start.jaw, 3),
        eyes=np.stack([_sized(start.left_eye, 2), _sized(start.right_eye, 2)]),
        root=state.root,
        translation=state.translation,
        log_focal=state.log_focal,
    )


def _sized(values: Float[torch.Tensor, "N"], size: int) -> Float[np.ndarray, "size"]:
    """The leading numbers, filled with zeros."""
    leading = values.detach().cpu().double().numpy()[:size]
    return np.append(leading, np.zeros(size - len(leading)))
