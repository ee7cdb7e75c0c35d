"""Parameters as what a rig is moved by: turned and moved joints, and weights of morph targets, for every frame."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.export.rig import Driver, ExpressionMorph, EyelidMorph, Rig
from flamehead.geometry.rotation import exp, to_quaternion

__all__ = ["Motion", "joint_shift", "motion_of"]


@dataclass(frozen=True)
class Motion:
    """Frames of one rig."""

    times: Float[np.ndarray, "T"]
    """Seconds, increasing, from 0 on."""
    rotations: Float[np.ndarray, "T 5 4"]
    """Of the joints relative to their parents, unit quaternions (x, y, z, w); neighbours in time lie on one side."""
    translations: Float[np.ndarray, "T 5 3"]
    """Of the joints relative to their parents, metres."""
    weights: Float[np.ndarray, "T M"]
    """Of the rig's morph targets."""


def motion_of(
    rig: Rig,
    params: FlameParams,
    *,
    times: Float[np.ndarray, "T"] | None = None,
    eyelids: Float[np.ndarray, "*T 2"] | None = None,
) -> Motion:
    """The frames of one person as motions of their rig.

    Expressions move the joints of FLAME a little. With rest joints J fixed in the rig and J + D those of a frame, the
    skeleton does what the model does if the node of joint j, turned by G_j, lies at posed_j - G_j D_j; the
    translations are those places relative to the parents.

    Args:
        rig: of `build_rig`, for these parameters.
        params: one head or a batch of frames (T,).
        times: seconds of each frame, increasing; those of a single head do not matter. By default 25 frames a second.
        eyelids: how far the left and the right eye are closed; the rig must have eyelids.

    Raises:
        InputError: the times do not increase, or the rig lacks what the frames use.
    """
    params = _flat(params)
    count = len(params.root)
    turns = exp(params.pose.detach().cpu().double()).numpy()
    quaternions = to_quaternion(torch.from_numpy(turns)).numpy()[..., [1, 2, 3, 0]]
    expression = params.expression.detach().cpu().double().numpy()
    lids = None if eyelids is None else np.asarray(eyelids, dtype=np.float64).reshape(-1, 2)
    _check_covered(rig, expression, lids)
    shift = _joint_offsets(rig, expression)
    move = params.translation.detach().cpu().double().numpy()
    return Motion(
        times=_seconds(times, count),
        rotations=_continuous(quaternions),
        translations=_placed(rig, turns, shift, move),
        weights=np.stack([_weight(morph, turns, expression, lids) for morph in rig.morphs], axis=1)
        if rig.morphs
        else np.zeros((count, 0)),
    )


def joint_shift(rig: Rig, motion: Motion) -> Float[np.ndarray, "5"]:
    """How far a motion moves each joint from its place in the skeleton at most, metres; the root travels freely."""
    bones = _bones(rig)
    moved = np.linalg.norm(motion.translations - bones, axis=-1).max(0)
    moved[0] = 0.0
    return moved


def _flat(params: FlameParams) -> FlameParams:
    """The fields with one common batch axis (T,)."""
    values = [getattr(params, field.name) for field in fields(FlameParams)]
    batch = torch.broadcast_shapes(*(value.shape[:-1] for value in values))
    return FlameParams(*(value.expand(*batch, -1).reshape(-1, value.shape[-1]) for value in values))


def _seconds(times: np.ndarray | None, count: int) -> Float[np.ndarray, "T"]:
    if times is None:
        return np.arange(count) / 25.0
    seconds = np.asarray(times, dtype=np.float64)
    # Files hold single precision, in which neighbours must still differ.
    steps = np.diff((seconds - seconds[:1]).astype(np.float32))
    if seconds.shape != (count,) or not np.isfinite(seconds).all() or (steps <= 0).any():
        raise InputError(
            f"The times of an animation must be {count} increasing numbers, got {seconds.shape} with smallest step "
            f"{np.diff(seconds).min(initial=np.inf):g} s; give the seconds of each frame."
        )
    return seconds - seconds[0]


def _check_covered(rig: Rig, expression: np.ndarray, lids: np.ndarray | None) -> None:
    known = {morph.row for morph in rig.expressions}
    missing = [row for row in np.flatnonzero(np.abs(expression).max(0, initial=0.0)).tolist() if row not in known]
    if missing:
        raise InputError(
            f"The frames use expression {missing[0]}, which the rig does not have; build the rig with their parameters."
        )
    if lids is not None and lids.any() and not any(isinstance(morph, EyelidMorph) for morph in rig.morphs):
        raise InputError("The frames move eyelids, which the rig does not have; build it with eyelids=True.")


def _joint_offsets(rig: Rig, expression: Float[np.ndarray, "T E"]) -> Float[np.ndarray, "T 5 3"]:
    """D: how the expressions move the joints at rest."""
    out = np.zeros((len(expression), len(rig.joints), 3))
    for morph in rig.expressions:
        if morph.row < expression.shape[1]:
            out += expression[:, morph.row, None, None] * morph.joint_offsets
    return out


def _bones(rig: Rig) -> Float[np.ndarray, "5 3"]:
    """Places of the joints at rest relative to their parents."""
    parents = [max(parent, 0) for parent in rig.parents]
    is_root = np.array(rig.parents)[:, None] < 0
    return rig.joints - np.where(is_root, 0.0, rig.joints[parents])


def _placed(
    rig: Rig, turns: Float[np.ndarray, "T 5 3 3"], shift: Float[np.ndarray, "T 5 3"], move: Float[np.ndarray, "T 3"]
) -> Float[np.ndarray, "T 5 3"]:
    """Translations of the nodes relative to their parents."""
    rest = rig.joints + shift
    turned: list[np.ndarray] = []
    posed: list[np.ndarray] = []
    places: list[np.ndarray] = []
    out = np.empty_like(rest)
    for j, parent in enumerate(rig.parents):
        if parent < 0:
            turned.append(turns[:, j])
            posed.append(rest[:, j] + move)
        else:
            turned.append(turned[parent] @ turns[:, j])
            posed.append(posed[parent] + _apply(turned[parent], rest[:, j] - rest[:, parent]))
        places.append(posed[j] - _apply(turned[j], shift[:, j]))
        if parent < 0:
            out[:, j] = places[j]
        else:
            out[:, j] = _apply(np.swapaxes(turned[parent], -1, -2), places[j] - places[parent])
    return out


def _apply(matrices: Float[np.ndarray, "T 3 3"], vectors: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, "T 3"]:
    return (matrices @ vectors[..., None])[..., 0]


def _weight(
    morph: ExpressionMorph | EyelidMorph | Driver,
    turns: Float[np.ndarray, "T 5 3 3"],
    expression: Float[np.ndarray, "T E"],
    lids: Float[np.ndarray, "T 2"] | None,
) -> Float[np.ndarray, "T"]:
    zero = np.zeros(len(turns))
    if isinstance(morph, Driver):
        return turns[:, morph.joint, morph.row, morph.column] - (morph.row == morph.column)
    if isinstance(morph, EyelidMorph):
        return zero if lids is None else lids[:, morph.row] + zero
    return expression[:, morph.row] if morph.row < expression.shape[1] else zero


def _continuous(quaternions: Float[np.ndarray, "T 5 4"]) -> Float[np.ndarray, "T 5 4"]:
    """Signs such that neighbours in time are near each other: q and -q are the same rotation."""
    turns_back = (quaternions[1:] * quaternions[:-1]).sum(-1) < 0
    signs = np.where(np.cumsum(turns_back, axis=0) % 2, -1.0, 1.0)
    return np.concatenate([quaternions[:1], quaternions[1:] * signs[..., None]])
