"""Surface normals of triangle meshes."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["vertex_normals"]


def vertex_normals(vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "*batch V 3"]:
    """Unit normals that point out of counter-clockwise faces, weighted by the faces' areas.

    `n_v = sum over faces f at v of (b - a) x (c - a)`, normalised; zero at a vertex without area around it.
    Differentiable with respect to `vertices`.
    """
    faces = faces.long()
    a, b, c = vertices[..., faces, :].unbind(-2)
    weighted = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for k in range(3):
        total = total.index_add(-2, faces[:, k], weighted)
    length = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
    # Where there is no area the sum stays zero, and so does its gradient.
    return total / torch.where(length > 0, length, 1.0)
