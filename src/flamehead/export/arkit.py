"""Head parameters to the 52 ARKit coefficients and back.

    parameters = directions^T c,      c = argmin |J (parameters - directions^T c)|^2 + ridge |c|^2,   0 <= c <= 1

with the displacements J of the vertices by each parameter at rest: misfits are weighed by how far they move the face.
Coefficients that undo each other (looking up and down, ...) are one unknown with a sign, so that never both act.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from flamehead.data import FlameParams, Track
from flamehead.errors import InputError
from flamehead.export.arkit_names import ARKIT_NAMES, arkit_index
from flamehead.export.arkit_rig import ArkitRig
from flamehead.export.arkit_solve import box_least_squares
from flamehead.export.arkit_space import pack, pose_vectors, unpack

__all__ = ["ArkitFit", "from_arkit", "to_arkit", "track_to_arkit"]

_OPPOSITES = (
    ("eyeLookUpLeft", "eyeLookDownLeft"),
    ("eyeLookUpRight", "eyeLookDownRight"),
    ("eyeLookInLeft", "eyeLookOutLeft"),
    ("eyeLookInRight", "eyeLookOutRight"),
    ("jawLeft", "jawRight"),
    ("mouthLeft", "mouthRight"),
)
_CHUNK = 64
"""Frames posed at once for their residuals."""


@dataclass(frozen=True)
class ArkitFit:
    """Coefficients of frames."""

    coefficients: Float[np.ndarray, "T 52"]
    """In the order of `ARKIT_NAMES`, 0 to 1."""
    residual_mm: Float[np.ndarray, "T"]
    """Mean distance of the vertices posed by the coefficients to those posed by the parameters, the head at rest."""
    worst_mm: Float[np.ndarray, "T"]
    """Largest such distance."""
    fingerprint: str
    """Of the model."""


def to_arkit(
    rig: ArkitRig,
    params: FlameParams,
    *,
    eyelids: Float[np.ndarray, "T 2"] | Float[Tensor, "T 2"] | None = None,
    ridge: float = 1.0,
    smoothness: float = 0.0,
    linked: Bool[np.ndarray, "T-1"] | None = None,
) -> ArkitFit:
    """The coefficients that come nearest to parameters; what they cannot say is in the residuals.

    Only expression, jaw, eyes and eyelids count: the pose of the head has no coefficients, and the identity none.

    Args:
        rig: from `arkit_rig`, of the model that the parameters belong to.
        params: of frames, any batch, flattened.
        eyelids: how far the left and the right eye are closed besides, 0 to 1.
        ridge: what a coefficient of 1 costs, in square millimetres summed over the vertices. More keeps noise out of
            shapes that nearly look alike (rolled and pressed lips), at the price of weaker movements.
        smoothness: ties neighbours in time; 1 weighs a change from frame to frame like a misfit of the same size.
        linked: which frames are tied to the next one; all when None.

    Raises:
        InputError: parameters of another model or that are not finite, or options that do not fit or are negative.

    Example:
        >>> from flamehead import load_flame
        >>> from flamehead.export import arkit_rig
        >>> rig = arkit_rig(load_flame())
        >>> params, eyelids = from_arkit(rig, np.full((1, 52), 0.25))
        >>> to_arkit(rig, params).coefficients.shape
        (1, 52)
    """
    for name, value in (("ridge", ridge), ("smoothness", smoothness)):
        if not (np.isfinite(value) and value >= 0.0):
            raise InputError(f"The {name} is {value}; give a number from 0 on.")
    lids = None if eyelids is None else torch.as_tensor(eyelids).detach().cpu().double().numpy()
    rows = pack(rig.space, params, lids)
    if linked is not None and np.shape(linked) != (max(len(rows) - 1, 0),):
        raise InputError(f"linked has shape {np.shape(linked)}, wanted one fewer than the {len(rows)} frames.")
    if not np.isfinite(rows).all():
        raise InputError("Cannot find coefficients for parameters that are NaN or infinite; leave those frames out.")
    unknowns, lower, sign = _unknowns(rig)
    pushed = unknowns @ rig.gram
    normal = pushed @ unknowns.T + max(ridge, 1e-9) * np.eye(len(unknowns))
    lower, upper = np.tile(lower, (len(rows), 1)), np.ones((len(rows), len(unknowns)))
    found = box_least_squares(normal, rows @ pushed.T, lower, upper, smoothness=smoothness, linked=linked)
    jaw, close = (_row_of(sign, name) for name in ("jawOpen", "mouthClose"))
    if (found[:, close] > found[:, jaw]).any():
        # Lips can be closed no further than the jaw opened them.
        upper[:, close] = lower[:, jaw] = found[:, jaw]
        found = box_least_squares(normal, rows @ pushed.T, lower, upper, smoothness=smoothness, linked=linked)
    coefficients = _unsigned(found, sign)
    return ArkitFit(coefficients, *_misfit(rig, rows, coefficients, params.shape), rig.fingerprint)


def track_to_arkit(rig: ArkitRig, track: Track, *, ridge: float = 1.0, smoothness: float = 0.0) -> ArkitFit:
    """The coefficients of a track, not smoothed across cuts; options as for `to_arkit`.

    Raises:
        InputError: the track belongs to another model.
    """
    if track.fingerprint != rig.fingerprint:
        raise InputError(
            f"The track belongs to the model {track.fingerprint or 'unknown'}, but the coefficients are made for "
            f"{rig.fingerprint}; call arkit_rig with the track's model."
        )
    linked = None if track.scene is None else np.diff(track.scene) == 0
    return to_arkit(
        rig, track.params, eyelids=track.eyelids, ridge=ridge, smoothness=smoothness, linked=linked
    )  # fmt: skip


def from_arkit(rig: ArkitRig, coefficients: Float[np.ndarray, "T 52"]) -> tuple[FlameParams, Tensor | None]:
    """The head's parameters for coefficients, with the mean identity at rest, and eyelids where the model has them.

    Give both to the model: `flame(params, eyelids=eyelids)`. Coefficients beyond 0 to 1 are taken as they are.

    Raises:
        InputError: not 52 finite numbers per frame.
    """
    given = np.asarray(coefficients, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != 52 or not np.isfinite(given).all():
        raise InputError(
            f"The coefficients have shape {given.shape}, wanted rows of 52 finite numbers, one row per frame, in the "
            "order of ARKIT_NAMES."
        )
    return unpack(rig.space, given @ rig.directions)


def _unknowns(rig: ArkitRig) -> tuple[Float[np.ndarray, "K P"], Float[np.ndarray, "K"], Float[np.ndarray, "K 52"]]:
    """Directions of the unknowns, their lower bounds (0, or -1 for pairs), and which coefficients each one is."""
    second = dict(_OPPOSITES)
    rows, lower = [], []
    for name in ARKIT_NAMES:
        if name in second.values() or not rig.directions[arkit_index(name)].any():
            continue
        sign = np.zeros(52)
        sign[arkit_index(name)] = 1.0
        if name in second:
            sign[arkit_index(second[name])] = -1.0
        rows.append(sign)
        lower.append(-1.0 if name in second else 0.0)
    signs = np.stack(rows)
    return (signs > 0).astype(float) @ rig.directions, np.array(lower), signs


def _row_of(sign: Float[np.ndarray, "K 52"], name: str) -> int:
    return int(np.flatnonzero(sign[:, arkit_index(name)])[0])


def _unsigned(found: Float[np.ndarray, "T K"], sign: Float[np.ndarray, "K 52"]) -> Float[np.ndarray, "T 52"]:
    """Each unknown's positive part to its first coefficient, its negative part to the second."""
    return (found.clip(0.0) @ (sign > 0) + (-found).clip(0.0) @ (sign < 0)).clip(0.0, 1.0)


def _misfit(
    rig: ArkitRig, rows: Float[np.ndarray, "T P"], coefficients: Float[np.ndarray, "T 52"], shape: Tensor
) -> tuple[Float[np.ndarray, "T"], Float[np.ndarray, "T"]]:
    """Mean and largest distance of the vertices in millimetres, of the exact forward pass."""
    shapes = shape.reshape(-1, shape.shape[-1])
    one = bool((shapes == shapes[:1]).all())
    mean, worst = np.zeros(len(rows)), np.zeros(len(rows))
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        who = shapes[0] if one else shapes[part]
        wanted = pose_vectors(rig.space, rows[part], shape=who)
        got = pose_vectors(rig.space, coefficients[part] @ rig.directions, shape=who)
        distance = 1e3 * np.linalg.norm(wanted - got, axis=-1)
        mean[part], worst[part] = distance.mean(1), distance.max(1)
    return mean, worst
