"""Who moves, the head or the camera: the same pictures either way, and both ways back.

With x_camera = R (root (u - J0) + J0 + t) + T of a camera R, T and a head at rest u, all motion goes into the camera
(root and t become zero), as metrical-tracker has it, or into the head before a camera that stands still in the origin
and looks along -z with y up, as our tracker and VHAP have it. J0 is the root joint, which depends on identity and
expression, so that both ways need the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.data import Camera, FlameParams, Track
from flamehead.errors import check_choice
from flamehead.formats import move_camera, move_head
from flamehead.formats.move import rest_joints, root_joint
from flamehead.geometry.rotation import exp, log
from flamehead.model import Flame

__all__ = ["Folded", "Mover", "fold_neck", "move_pose", "move_track"]

Mover = Literal["camera", "head"]
"""What moves while the other stands still."""

_STANDING = (1.0, -1.0, -1.0)
"""Diagonal of the standing camera's rotation: OpenCV's axes seen from model space."""
_STRAIGHT = 1e-7
"""Radians of neck that count as none."""


@dataclass(frozen=True)
class Folded:
    """Heads whose necks are straight, and what that cost."""

    params: FlameParams
    largest: float
    """The largest turn of a neck that was taken into the root, radians."""


def move_track(track: Track, flame: Flame, motion: Mover) -> Track:
    """The same track with all rigid motion in the camera, or in the head; what is seen stays the same.

    Light is in the camera's frame and stays as it is.

    Raises:
        InputError: There is no such motion.

    Example:
        >>> moved = move_track(track, flame, "camera")  # doctest: +SKIP
        >>> float(moved.params.root.abs().max())  # doctest: +SKIP
        0.0
    """
    params, camera = move_pose(track.params, track.camera, flame, motion)
    return replace(track, params=params, camera=camera)


def move_pose(params: FlameParams, camera: Camera, flame: Flame, motion: Mover) -> tuple[FlameParams, Camera]:
    """`move_track` for parameters and cameras of any batch; worked out in double precision."""
    check_choice("motion", motion, get_args(Mover))
    dtype = params.root.dtype
    exact = params.to(dtype=torch.float64)
    lens = camera.to(dtype=torch.float64)
    if motion == "head":
        still = torch.diag(lens.rotation.new_tensor(_STANDING))
        exact = move_head(exact, flame, rotation=still @ lens.rotation, translation=_turn(still, lens.translation))
        batch = lens.rotation.shape
        lens = replace(lens, rotation=still.expand(batch), translation=torch.zeros_like(lens.translation))
    else:
        # The head's own frame becomes the world: u = turn^T (x - shift).
        joint, turn = root_joint(exact, flame), exp(exact.root)
        shift = joint - _turn(turn, joint) + exact.translation
        lens = move_camera(lens, rotation=turn.mT, translation=-_turn(turn.mT, shift))
        exact = replace(exact, root=torch.zeros_like(exact.root), translation=torch.zeros_like(exact.translation))
    return exact.to(dtype=dtype), lens.to(dtype=camera.rotation.dtype)


def fold_neck(params: FlameParams, flame: Flame) -> Folded:
    """Heads with a straight neck whose skull is where it was: the neck's turn goes into the root's.

    With the neck joint J1, x = R0 (R1 (u - J1) + J1 - J0) + J0 + t for what hangs on the skull alone, which is
    R0 R1 (u - J0) + J0 + t' with t' = R0 (R1 (J0 - J1) + J1 - J0) + t. What lies between neck and skull, and the neck's
    pose correctives, do change.
    """
    largest = float(torch.linalg.vector_norm(params.neck, dim=-1).max()) if params.neck.numel() else 0.0
    if largest <= _STRAIGHT:
        return Folded(replace(params, neck=torch.zeros_like(params.neck)), 0.0)
    dtype = params.root.dtype
    exact = params.to(dtype=torch.float64)
    joints = rest_joints(exact, flame)
    root, neck, arm = exp(exact.root), exp(exact.neck), joints[..., 1, :] - joints[..., 0, :]
    moved = _turn(root, arm - _turn(neck, arm)) + exact.translation
    folded = replace(exact, root=log(root @ neck), neck=torch.zeros_like(exact.neck), translation=moved)
    return Folded(folded.to(dtype=dtype), largest)


def _turn(rotation: Float[Tensor, "*#batch 3 3"], points: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*batch 3"]:
    return (rotation @ points[..., None])[..., 0]
