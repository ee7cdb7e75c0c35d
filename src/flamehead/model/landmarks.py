"""Landmarks: points that ride on the triangles of a mesh."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["barycentric_points"]


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
