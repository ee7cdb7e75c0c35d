"""Linear blend skinning as pure tensor functions; nothing here knows what a head is.

Bases are stored rows first, `(K, 3 V)`, one flattened (vertex, xyz) displacement field per row: using the first k
coefficients then means using a contiguous block.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["add_basis", "joint_transforms", "pose_feature", "skin"]


def add_basis(
    points: Float[Tensor, "*#batch N 3"], basis: Float[Tensor, "K N3"], coefficients: Float[Tensor, "*#batch k"]
) -> Float[Tensor, "*batch N 3"]:
    """`points + sum_l coefficients[l] * basis[l]`; missing trailing coefficients count as zero."""
    return points + (coefficients @ basis[: coefficients.shape[-1]]).unflatten(-1, (-1, 3))


def pose_feature(rotations: Float[Tensor, "*batch J 3 3"]) -> Float[Tensor, "*batch P"]:
    """What drives the pose correctives: rows of R_j - I of every joint but the root, row-major, P = 9 (J - 1)."""
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    return (rotations[..., 1:, :, :] - identity).flatten(-3)


def joint_transforms(
    rotations: Float[Tensor, "*turns J 3 3"], joints: Float[Tensor, "*heads J 3"], parents: Sequence[int]
) -> tuple[Float[Tensor, "*turns J 3 3"], Float[Tensor, "*batch J 3"]]:
    """Walk the kinematic chain: G_0 = [R_0 | J_0], G_j = G_parent [R_j | J_j - J_parent].

    Args:
        rotations: of each joint relative to its parent.
        joints: rest positions, metres; their batch is broadcast against that of the rotations.
        parents: parent of each joint, before the joint itself; -1 for the root.

    Returns:
        The rotation parts of all G_j, and their translation parts: the posed joints in metres.
    """
    turned: list[Tensor] = []
    placed: list[Tensor] = []
    for first, last, parent in _siblings(tuple(parents)):
        own, place = rotations[..., first:last, :, :], joints[..., first:last, :]
        if parent >= 0:
            bone = place - joints[..., parent, None, :]
            place = placed[parent] + (turned[parent] @ bone[..., None])[..., 0]
            own = turned[parent] @ own
        turned += own.split(1, dim=-3)
        placed += place.split(1, dim=-2)
    return torch.cat(turned, dim=-3), torch.cat(torch.broadcast_tensors(*placed), dim=-2)


def _siblings(parents: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Runs of joints with the same parent, (first, last + 1, parent): they are moved together."""
    starts = [j for j, parent in enumerate(parents) if j == 0 or parent != parents[j - 1]]
    return [(i, j, parents[i]) for i, j in pairwise([*starts, len(parents)])]


def skin(
    points: Float[Tensor, "*#batch V 3"],
    weights: Float[Tensor, "V J"],
    rotations: Float[Tensor, "*#batch J 3 3"],
    posed: Float[Tensor, "*#batch J 3"],
    joints: Float[Tensor, "*#batch J 3"],
) -> Float[Tensor, "*batch V 3"]:
    """Move each point with its mixture of joints: v_i = sum_j w_ij (R_j (p_i - J_j) + posed_j).

    Args:
        points: in the rest pose, metres.
        weights: skinning weights, rows sum to 1.
        rotations: rotation parts of the joints' transforms, from `joint_transforms`.
        posed: positions of the joints after posing.
        joints: positions of the joints at rest.
    """
    offset = posed - (rotations @ joints[..., None])[..., 0]
    rigid = torch.cat([rotations.expand(*offset.shape, 3), offset[..., None]], dim=-1)
    mixed = (weights @ rigid.flatten(-2)).unflatten(-1, (3, 4))
    x, y, z = points[..., None].unbind(-2)
    # Column by column: a sum over an axis of three is several times slower.
    return mixed[..., 0] * x + mixed[..., 1] * y + mixed[..., 2] * z + mixed[..., 3]
