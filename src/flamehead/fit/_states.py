"""From the solver's states to the package's parameters and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from flamehead.data import FlameParams
from flamehead.fit._so3 import exp, log
from flamehead.fit.landmark_model import Columns, HeadState

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["Placed", "moved_placed", "resized", "to_params", "to_state"]


@dataclass(frozen=True)
class Placed:
    """A head, and how large the unit of what it is fitted to is."""

    head: HeadState
    log_scale: float
    """Logarithm of the metres per unit."""

    @property
    def scale(self) -> float:
        """Metres per unit."""
        return float(np.exp(self.log_scale))


def moved_placed(
    placed: Placed, step: Float[np.ndarray, "N"], columns: Columns, pivot: Float[np.ndarray, "3"]
) -> Placed:
    """Apply a step over `Columns` and, last, the logarithm of the scale.

    Args:
        placed: Where the head is.
        step: Tangent step.
        columns: Of the model.
        pivot: What stays when only the scale changes, in the unit of what is fitted.
    """
    head, n = placed.head, len(columns)
    scale = placed.log_scale + float(step[n])
    shift = step[columns.translation] + (np.exp(scale) - np.exp(placed.log_scale)) * pivot
    moved = replace(
        head,
        shape=head.shape + step[columns.shape],
        expression=head.expression + step[columns.expression],
        neck=head.neck + step[columns.neck],
        jaw=head.jaw + step[columns.jaw],
        eyes=head.eyes + step[columns.eyes].reshape(2, 2),
        root=exp(step[columns.root]) @ head.root,
        translation=head.translation + shift,
    )
    return Placed(moved, scale)


def resized(state: HeadState, columns: Columns) -> HeadState:
    """The same head with another number of components: cut off, or padded with zeros."""

    def fit(values: Float[np.ndarray, "k"], size: int) -> Float[np.ndarray, "n"]:
        return np.append(values[:size], np.zeros(max(0, size - len(values))))

    return replace(
        state, shape=fit(state.shape, columns.n_shape), expression=fit(state.expression, columns.n_expression)
    )


def to_params(flame: Flame, state: HeadState) -> FlameParams:
    """Parameters in the model's dtype, on its device, padded to its number of coefficients."""
    like = flame.template
    full = resized(state, Columns(flame.n_shape, flame.n_expression))
    left, right = (np.append(eye, 0.0) for eye in full.eyes)
    values = (full.shape, full.expression, log(full.root), full.neck, full.jaw, left, right, full.translation)
    return FlameParams(*(torch.as_tensor(v).to(dtype=like.dtype, device=like.device) for v in values))


def to_state(params: FlameParams) -> HeadState:
    """The solver's state of one head."""
    shape, expression, root, neck, jaw, left, right, translation = (
        getattr(params, name).detach().cpu().double().numpy()
        for name in ("shape", "expression", "root", "neck", "jaw", "left_eye", "right_eye", "translation")
    )
    return HeadState(
        shape, expression, neck, jaw, np.stack([left[:2], right[:2]]), exp(root), translation, log_focal=0.0
    )
