"""`to_screen`, compiled for float32 on the CPU and one camera that is given: torch wakes its threads for less."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead.data import Camera
from flamehead.render.screen import to_screen

__all__ = ["place"]


def place(vertices: Float[Tensor, "*#batch V 3"], camera: Camera) -> Float[Tensor, "*batch V 3"]:
    """`to_screen`; compiled where there is one camera that needs no gradient."""
    fields = camera.rotation, camera.translation, camera.focal, camera.center
    fast = all(value.dtype == torch.float32 and value.device.type == "cpu" for value in (vertices, *fields))
    if not fast or camera.rotation.ndim != 2 or any(field.ndim != 1 for field in fields[1:]):
        return to_screen(vertices, camera)
    if torch.is_grad_enabled() and any(field.requires_grad for field in fields):
        return to_screen(vertices, camera)
    out = _Place.apply(vertices, tuple(field.detach().contiguous() for field in fields), not camera.orthographic)
    assert isinstance(out, Tensor)
    return out


class _Place(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vertices: Tensor, fields: tuple[Tensor, ...], perspective: bool) -> Tensor:
        # Imported here: numba costs a second.
        from flamehead.render._cpu import screen as kernels

        vertices = vertices.detach().contiguous()
        ctx.save_for_backward(vertices, *fields)
        ctx.perspective = perspective
        out = torch.empty_like(vertices)
        plain = (field.numpy() for field in fields)
        kernels.place(vertices.reshape(-1, 3).numpy(), *plain, perspective, out.reshape(-1, 3).numpy())
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, None, None]:
        from flamehead.render._cpu import screen as kernels

        vertices, *fields = ctx.saved_tensors
        gradient, out = gradients[0].contiguous(), torch.empty_like(vertices)
        plain = [field.numpy() for field in fields[:3]]
        rows = gradient.reshape(-1, 3).numpy(), out.reshape(-1, 3).numpy()
        kernels.place_backward(vertices.reshape(-1, 3).numpy(), *plain, ctx.perspective, *rows)
        return out, None, None
