"""The ARKit coefficients on one head: what each of the 52 does to the parameters, and how well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from flamehead.export.arkit_names import ARKIT_NAMES
from flamehead.export.arkit_recipe import builtin_directions
from flamehead.export.arkit_space import ParameterSpace, jacobian, moved, parameter_space

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["ArkitRig", "arkit_rig"]

_MOVES = 0.1
"""Vertices that a coefficient moves by this share of its largest displacement are those it is about."""


@dataclass(frozen=True)
class ArkitRig:
    """The 52 coefficients on a head, made by `arkit_rig`."""

    directions: Float[np.ndarray, "52 P"]
    """Parameters (standard deviations, radians) at coefficient 1; `tongueOut` is all zeros."""
    residual_mm: Float[np.ndarray, "52"]
    """By shape: mean distance between the displacement that is meant and the one that the head can do, over the
    vertices that the shape is about."""
    motion_mm: Float[np.ndarray, "52"]
    """By shape: mean length of the displacement that is meant, over the same vertices."""
    approximate: tuple[str, ...]
    """What to know about the shapes of this head, one sentence each."""
    fingerprint: str
    """Of the model that the directions belong to."""
    space: ParameterSpace = field(repr=False)
    gram: Float[np.ndarray, "P P"] = field(repr=False)
    """Inner products of the displacements by the parameters, square millimetres summed over the vertices."""

    @property
    def columns(self) -> Mapping[str, slice]:
        """Columns of `directions`: expression, jaw, left_eye, right_eye, eyelids."""
        return self.space.columns


def arkit_rig(flame: Flame) -> ArkitRig:
    """Find the parameters of a head that do what the 52 coefficients say.

    On the built-in head they are its named fields and turns of its joints. Any other model gets the displacements of
    the built-in head, carried over between the two surfaces; it needs landmarks for that.

    Args:
        flame: the model.

    Raises:
        InputError: another model has no landmarks that the built-in head has as well.

    Example:
        >>> from flamehead import load_flame
        >>> rig = arkit_rig(load_flame())
        >>> rig.directions.shape[0], float(rig.residual_mm[ARKIT_NAMES.index("mouthSmileLeft")])
        (52, 0.0)
    """
    from flamehead.builtin import builtin_head

    head, space = builtin_head(), parameter_space(flame)
    if flame.fingerprint == head.arrays.fingerprint:
        directions, wanted = builtin_directions(head, space)
        approximate = (
            "mouthClose leaves a part of the gap, as the expressions do not close lips that are wide apart.",
            "mouthPressLeft and mouthPressRight are halves of one field and fitted to it.",
        )
    else:
        from flamehead.export.arkit_transfer import carried_directions

        directions, wanted = carried_directions(space)
        approximate = (
            "All shapes but jawOpen and the eyes' are fitted to displacements carried over from the built-in head.",
        )
    residual, motion = _residuals(space, directions, wanted)
    columns = 1e3 * jacobian(space)
    return ArkitRig(directions, residual, motion, approximate, flame.fingerprint, space, columns.T @ columns)


def _residuals(
    space: ParameterSpace, directions: Float[np.ndarray, "52 P"], wanted: Mapping[str, Float[np.ndarray, "V 3"]]
) -> tuple[Float[np.ndarray, "52"], Float[np.ndarray, "52"]]:
    """Mean distance to what is meant, and its mean length, millimetres; shapes that are not in `wanted` are exact."""
    done = moved(space, directions)
    residual, motion = np.zeros(52), np.zeros(52)
    for row, name in enumerate(ARKIT_NAMES):
        meant = np.asarray(wanted.get(name, done[row]))
        length = np.linalg.norm(meant, axis=1)
        if length.max() > 0.0:
            about = length >= _MOVES * length.max()
            residual[row] = 1e3 * np.linalg.norm(done[row] - meant, axis=1)[about].mean()
            motion[row] = 1e3 * length[about].mean()
    return residual, motion
