"""Landmarks: points that ride on the triangles of a mesh, and the jaw contour, which slides with the view."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.errors import check_choice

__all__ = ["barycentric_points", "contour_rows", "from_camera", "head_turn", "picked_points"]

_MOST_YAW = 39


def barycentric_points(
    vertices: Float[Tensor, "*batch V 3"], corners: Int[Tensor, "L 3"], weights: Float[Tensor, "L 3"]
) -> Float[Tensor, "*batch L 3"]:
    """`L_i = sum_k weights[i, k] * vertices[corners[i, k]]`, in the units and the frame of `vertices`.

    Args:
        vertices: of the posed mesh.
        corners: vertex ids of the triangle that each point lies on.
        weights: barycentric coordinates, rows sum to 1.
    """
    triangles = vertices.index_select(-2, corners.flatten()).unflatten(-2, (-1, 3))
    return (triangles * weights[..., None]).sum(-2)


def head_turn(
    rotations: Float[Tensor, "*batch J 3 3"], *, chain: Literal["root_neck", "root"] = "root_neck"
) -> Float[Tensor, "*batch 3 3"]:
    """How a head is turned in the world, which selects the row of the sliding contour.

    Args:
        rotations: of each joint relative to its parent, root and neck first.
        chain: FLAME_PyTorch, DECA and MICA follow root and neck; smplx follows the root alone.
    """
    root = rotations[..., 0, :, :]
    check_choice("chain", chain, ("root_neck", "root"))
    return root if chain == "root" else root @ rotations[..., 1, :, :]


def from_camera(
    camera: Float[Tensor, "*#batch 3 3"], turn: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """A head's turn in the frame of a camera whose y points up, from an OpenCV rotation world to camera (y down)."""
    up = torch.tensor([1.0, -1.0, -1.0], dtype=camera.dtype, device=camera.device)
    return (up[:, None] * camera) @ turn


def contour_rows(turn: Float[Tensor, "*batch 3 3"], *, sign: Literal[1, -1] = 1) -> Int[Tensor, "*batch"]:
    """Rows of the sliding contour's table: 0 frontal, 1..39 for +1..+39 degrees of yaw, 40..78 for -1..-39.

    With M the turn, the yaw is `atan2(-M[2, 0], sqrt(M[0, 0]^2 + M[1, 0]^2))` in degrees, rounded half to even. It
    lies in [-90, 90]: a face that looks away folds back. Without derivatives.

    Args:
        turn: from model axes to axes with y up, as seen by a camera that looks along -z (see `from_camera`).
        sign: +1 is right for such axes, and what photometric_optimization, DECA and MICA use. FLAME_PyTorch, smplx and
            metrical-tracker use -1, which is right when the turn holds the half turn about x of a camera with y down.
    """
    check_choice("sign", sign, (1, -1))
    across = torch.linalg.vector_norm(turn[..., :2, 0], dim=-1)
    yaw = sign * torch.atan2(-turn[..., 2, 0], across) * (180.0 / math.pi)
    # A turn that is not a number has no row; its points are not numbers either, whichever row is taken.
    row = yaw.detach().nan_to_num().clamp(max=_MOST_YAW).round().long()
    return torch.where(row >= 0, row, (_MOST_YAW - row).clamp(max=2 * _MOST_YAW))


def picked_points(
    vertices: Float[Tensor, "*#batch V 3"],
    rows: Int[Tensor, "*#batch"],
    corners: Int[Tensor, "79 17 3"],
    weights: Float[Tensor, "79 17 3"],
) -> Float[Tensor, "*batch 17 3"]:
    """The points of one row of a table for each head."""
    batch = torch.broadcast_shapes(vertices.shape[:-2], rows.shape)
    ids = corners[rows].expand(*batch, -1, -1).flatten(-2)
    heads = vertices.expand(*batch, -1, -1)
    triangles = heads.gather(-2, ids[..., None].expand(*ids.shape, 3)).unflatten(-2, (-1, 3))
    return (triangles * weights[rows][..., None]).sum(-2)
