"""Surface normals of triangle meshes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead.errors import check_choice

__all__ = ["vertex_normals"]

_UNSIGNED = {torch.int64: np.uint64, torch.int32: np.uint32}


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
    if able and shaped and wanted and _names_only(faces, vertices.shape[-2]):
        out = _Normals.apply(vertices.reshape(-1, *vertices.shape[-2:]), faces.int().contiguous())
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


def _names_only(faces: Tensor, count: int) -> bool:
    if faces.device.type != "cpu" or faces.ndim != 2 or faces.shape[1] != 3:
        return False
    if faces.dtype not in _UNSIGNED:
        low, high = faces.aminmax() if faces.numel() else (0, -1)
        return int(low) >= 0 and int(high) < count
    # As numbers without a sign, negative ones are the greatest: one pass, and a third of the time.
    return not faces.numel() or int(faces.detach().numpy().view(_UNSIGNED[faces.dtype]).max()) < count


class _Normals(torch.autograd.Function):
    """The compiled kernels: vertices (B, V, 3)."""

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, faces: Tensor) -> Tensor:
        # Imported here: numba costs a second, and plain torch needs none of it.
        from flamehead.geometry import _cpu_normals as kernels

        vertices = vertices.detach().contiguous()
        out, lengths = torch.zeros_like(vertices), vertices.new_empty(vertices.shape[:2])
        for each, normals, length in zip(vertices.numpy(), out.numpy(), lengths.numpy(), strict=True):
            kernels.normals(each, faces.numpy(), normals, length)
        ctx.save_for_backward(vertices, faces, out, lengths)
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        from flamehead.geometry import _cpu_normals as kernels

        vertices, faces, out, lengths = ctx.saved_tensors
        gradient, found = gradients[0].contiguous().numpy(), torch.zeros_like(vertices)
        room = torch.empty_like(vertices).numpy()
        for n in range(len(vertices)):
            kept = vertices[n].numpy(), faces.numpy(), out.detach()[n].numpy(), lengths[n].numpy()
            kernels.normals_backward(*kept, gradient[n], room[n], found[n].numpy())
        return found, None
