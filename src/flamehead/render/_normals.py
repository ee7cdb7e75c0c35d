"""`vertex_normals`, compiled for float32 on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead.geometry.normals import vertex_normals

__all__ = ["smooth_normals"]


def smooth_normals(vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "*batch V 3"]:
    """`vertex_normals`; faces have been checked to name vertices that are there, as `rasterize` does."""
    if vertices.dtype != torch.float32 or vertices.device.type != "cpu":
        return vertex_normals(vertices, faces)
    out = _Normals.apply(vertices.reshape(-1, *vertices.shape[-2:]), faces.int().contiguous())
    assert isinstance(out, Tensor)
    return out.reshape(vertices.shape)


class _Normals(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vertices: Tensor, faces: Tensor) -> Tensor:
        # Imported here: numba costs a second.
        from flamehead.render._cpu import normals as kernels

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
        from flamehead.render._cpu import normals as kernels

        vertices, faces, out, lengths = ctx.saved_tensors
        gradient, found = gradients[0].contiguous().numpy(), torch.zeros_like(vertices)
        room = torch.empty_like(vertices).numpy()
        for n in range(len(vertices)):
            kept = vertices[n].numpy(), faces.numpy(), out.detach()[n].numpy(), lengths[n].numpy()
            kernels.normals_backward(*kept, gradient[n], room[n], found[n].numpy())
        return found, None
