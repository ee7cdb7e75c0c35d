"""A head of one person as other programs know it: a mesh at rest, a skeleton, skin weights and morph targets.

In the symbols of `flamehead.model.flame`, with the identity built in and expression coefficients e:

    p = v + expression_basis e + pose_basis (R - I)

The pose correctives are linear in the entries of the joints' rotation matrices, so each column of `pose_basis` is a
morph target of its own whose weight is one entry of R_j - I: nothing of the model is sampled or approximated. What a
skeleton with fixed rest joints cannot do is let the expression move the joints; `flamehead.export.rig_motion` puts that
into the joints' translations, frame by frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.model import Flame

__all__ = ["JOINT_NAMES", "Driver", "ExpressionMorph", "EyelidMorph", "Morph", "Rig", "build_rig", "expression_names"]

JOINT_NAMES = ("root", "neck", "jaw", "left_eye", "right_eye")
_LICENSED_EXPRESSIONS = 50
"""How many components of a model without names are morph targets unless told otherwise; the first are the largest."""
_NOTHING = 1e-7
"""A corrective that moves no vertex by more, metres per unit, is left out."""


@dataclass(frozen=True)
class ExpressionMorph:
    """A morph target whose weight is an expression coefficient."""

    name: str
    offsets: Float[np.ndarray, "V 3"]
    """Metres at weight 1, which is one standard deviation."""
    row: int
    """Which coefficient."""
    joint_offsets: Float[np.ndarray, "5 3"]
    """How the coefficient moves the joints at rest, metres; only motions can follow it."""


@dataclass(frozen=True)
class EyelidMorph:
    """A morph target that closes an eye at weight 1."""

    name: str
    offsets: Float[np.ndarray, "V 3"]
    """Metres."""
    row: int
    """0 is the left eye, 1 the right one."""


@dataclass(frozen=True)
class Driver:
    """A pose corrective: its weight is an entry of a joint's local rotation matrix, less 1 on the diagonal."""

    name: str
    offsets: Float[np.ndarray, "V 3"]
    """Metres at weight 1."""
    joint: int
    row: int
    column: int


Morph: TypeAlias = ExpressionMorph | EyelidMorph | Driver


@dataclass(frozen=True)
class Rig:
    """One person's head; metres, y up, z out of the face."""

    vertices: Float[np.ndarray, "V 3"]
    """At rest, with the identity built in."""
    faces: Int[np.ndarray, "F 3"]
    joints: Float[np.ndarray, "5 3"]
    """At rest."""
    parents: tuple[int, ...]
    skin_weights: Float[np.ndarray, "V 5"]
    morphs: tuple[Morph, ...]
    shape: Float[np.ndarray, "S"]
    """The identity coefficients that were built in."""
    fingerprint: str
    """Of the model."""
    source: str
    """Where the model came from."""

    @property
    def expressions(self) -> list[ExpressionMorph]:
        """The morph targets that are expressions."""
        return [morph for morph in self.morphs if isinstance(morph, ExpressionMorph)]

    @property
    def drivers(self) -> list[Driver]:
        """The pose correctives."""
        return [morph for morph in self.morphs if isinstance(morph, Driver)]


def build_rig(
    flame: Flame,
    params: FlameParams,
    *,
    expressions: int | None = None,
    eyelids: bool | None = None,
    correctives: bool = True,
    offsets: Float[np.ndarray, "V 3"] | None = None,
) -> Rig:
    """The rig of one person.

    Args:
        flame: the model.
        params: one head, or the frames of one person: their shape must be the same. Expression coefficients that are
            used become morph targets whatever `expressions` says.
        expressions: how many components become morph targets; by default the named ones of the built-in head, and the
            first 50 of other models.
        eyelids: whether the eyelid fields become morph targets; by default where the model has them and no expression
            is the same.
        correctives: whether the pose correctives become morph targets; without them the rig is plain skinning.
        offsets: personal displacements of the head at rest, metres, as `frame_offsets` of the model.

    Raises:
        InputError: the frames show several people, or the model has no such number of components.

    Example:
        >>> from flamehead import load_flame
        >>> flame = load_flame()
        >>> rig = build_rig(flame, flame.zeros())
        >>> rig.expressions[0].name, len(rig.drivers)
        ('blink_left', 10)
    """
    shape = _one_shape(params)
    with torch.no_grad():
        person = flame.with_identity(shape.to(flame.template))
    vertices = _numbers(person.template)
    names = expression_names(flame)
    morphs: list[Morph] = [*_expressions(flame, names, _rows(flame, params, expressions))]
    if flame.eyelid_basis is not None and (eyelids or (eyelids is None and "blink_left" not in names)):
        fields = _fields(flame.eyelid_basis)
        morphs += [EyelidMorph(f"eyelid_{side}", fields[k], k) for k, side in enumerate(("left", "right"))]
    if correctives:
        morphs += _correctives(flame)
    return Rig(
        vertices=vertices if offsets is None else vertices + offsets,
        faces=flame.faces.cpu().numpy(),
        joints=_numbers(person.joint_template),
        parents=flame.parents,
        skin_weights=_numbers(flame.skin_weights),
        morphs=tuple(morphs),
        shape=_numbers(shape),
        fingerprint=flame.fingerprint,
        source=flame.source,
    )


def expression_names(flame: Flame) -> list[str]:
    """The names of a model's expression components: movements of the built-in head, else numbers from 0 on."""
    from flamehead.builtin import builtin_head
    from flamehead.model import is_builtin

    if is_builtin(flame):
        return list(builtin_head().expression_names[: flame.n_expression])
    return [f"expression_{row:03d}" for row in range(flame.n_expression)]


def _one_shape(params: FlameParams) -> torch.Tensor:
    """The shape that all frames share, (S,)."""
    rows = params.shape.reshape(-1, params.shape.shape[-1])
    if not len(rows):
        raise InputError("There are no heads to export; give a result with at least one frame.")
    if not torch.allclose(rows, rows[:1], atol=1e-5):
        raise InputError(
            f"The {len(rows)} heads have different identities, but a rig is one person; export them one by one."
        )
    return rows[0].detach()


def _rows(flame: Flame, params: FlameParams, wanted: int | None) -> list[int]:
    """Which expression components become morph targets: those asked for, and those that are used."""
    names = expression_names(flame)
    if wanted is None:
        named = [row for row, name in enumerate(names) if not name.startswith(("local_", "mode_", "expression_"))]
        rows = named or range(min(_LICENSED_EXPRESSIONS, len(names)))
    elif 0 <= wanted <= len(names):
        rows = range(wanted)
    else:
        raise InputError(
            f"Asked for {wanted} expressions, but {flame.source} has {len(names)}; give 0 to {len(names)}."
        )
    used = params.expression.reshape(-1, params.expression.shape[-1]).abs().amax(0).nonzero().squeeze(-1).tolist()
    if used and used[-1] >= len(names):
        raise InputError(f"The result uses expression {used[-1]}, but {flame.source} has {len(names)}; name its model.")
    return sorted({*rows, *used})


def _expressions(flame: Flame, names: list[str], rows: Iterable[int]) -> list[ExpressionMorph]:
    moved, joints = _fields(flame.expression_basis), _fields(flame.joint_expression_basis)
    return [ExpressionMorph(names[row], moved[row], row, joints[row]) for row in rows]


def _correctives(flame: Flame) -> list[Driver]:
    """Columns of the pose basis that do something, named `pose_JOINT_RC` by the entry that drives them."""
    found = []
    for number, offsets in enumerate(_fields(flame.pose_basis)):
        joint, entry = divmod(number, 9)
        row, column = divmod(entry, 3)
        if np.abs(offsets).max() > _NOTHING:
            name = f"pose_{JOINT_NAMES[joint + 1]}_{row}{column}"
            found.append(Driver(name, offsets, joint + 1, row, column))
    return found


def _fields(basis: torch.Tensor) -> Float[np.ndarray, "K N 3"]:
    return _numbers(basis.unflatten(-1, (-1, 3)))


def _numbers(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().double().numpy()
