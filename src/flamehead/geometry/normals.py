"""Surface normals of triangle meshes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead._triangles import is_list, triangles_of
from flamehead.errors import check_choice

__all__ = ["vertex_normals"]


def vertex_normals(
    vertices: Float[Tensor, "*batch V 3"],
    faces: Int[Tensor, "F 3"],
    *,
    backend: Literal["numba", "reference"] | None = None,
) -> Float[Tensor, "*batch V 3"]:
    """Unit normals that point out of counter-clockwise faces, weighted by the faces' areas.

    `n_v = sum over faces f at v of (b - a) x (c - a)`, normalised; zero at a vertex without area around it.
    Differentiable with respect to `vertices`.

    Args:
        vertices: In any unit.
        faces: Rows of `vertices`.
        backend: "numba" prefers compiled kernels, which there are for float32 on the CPU and first derivatives;
            "reference" is plain torch, as second derivatives and torch.func need it. `None` compiles where a gradient
            is asked for, because such a call is rarely the only one.
    """
    check_choice("backend", backend, (None, "numba", "reference"))
    able = vertices.device.type == "cpu" and vertices.dtype == torch.float32
    shaped = vertices.ndim > 1 and vertices.shape[-1] == 3 and vertices.numel() > 0
    wanted = backend == "numba" or (backend is None and vertices.requires_grad and torch.is_grad_enabled())
    # Whatever does not fit is left to torch, which refuses it.
    if able and shaped and wanted and (rows := _rows(faces, vertices.shape[-2])) is not None:
        out = _Normals.apply(vertices.reshape(-1, *vertices.shape[-2:]), rows)
        assert isinstance(out, Tensor)
        return out.reshape(vertices.shape)
    faces = faces.long()
    a, b, c = vertices[..., faces, :].unbind(-2)
    weighted = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for k in range(3):
        total = total.index_add(-2, faces[:, k], weighted)
    length = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
    # Where there is no area the sum stays zero, and so does its gradient.
    return total / torch.where(length > 0, length, 1.0)


def _rows(faces: Tensor, count: int) -> np.ndarray | None:
    """Faces as the kernels read them, if they name rows that are there."""
    if faces.device.type != "cpu" or not is_list(faces):
        return None
    known = triangles_of(faces)
    return known.rows if known.names_only(count) else None


class _Normals(torch.autograd.Function):
    """The compiled kernels: vertices (B, V, 3)."""

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, faces: np.ndarray) -> Tensor:
        # Imported here: numba costs a second, and plain torch needs none of it.
        from flamehead.geometry import _cpu_normals as kernels

        vertices = vertices.detach().contiguous()
        out, lengths = torch.zeros_like(vertices), vertices.new_empty(vertices.shape[:2])
        for each, normals, length in zip(vertices.numpy(), out.numpy(), lengths.numpy(), strict=True):
            kernels.normals(each, faces, normals, length)
        ctx.save_for_backward(vertices, out, lengths)
        ctx.faces = faces
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        from flamehead.geometry import _cpu_normals as kernels

        vertices, out, lengths = ctx.saved_tensors
        gradient, found = gradients[0].contiguous().numpy(), torch.zeros_like(vertices)
        room = torch.empty_like(vertices).numpy()
        for n in range(len(vertices)):
            kept = vertices[n].numpy(), ctx.faces, out.detach()[n].numpy(), lengths[n].numpy()
            kernels.normals_backward(*kept, gradient[n], room[n], found[n].numpy())
        return found, None
