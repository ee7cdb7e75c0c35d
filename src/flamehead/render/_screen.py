"""`to_screen` and normals, compiled for float32 on the CPU and a camera that is given: torch wakes threads for less."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead._triangles import is_list, triangles_of
from flamehead.data import Camera
from flamehead.render.screen import to_screen

__all__ = ["place", "place_with_normals"]


def place(vertices: Float[Tensor, "*#batch V 3"], camera: Camera) -> Float[Tensor, "*batch V 3"]:
    """`to_screen`; compiled where there is one camera that needs no gradient."""
    if not _is_fast(vertices, camera):
        return to_screen(vertices, camera)
    out = _Place.apply(vertices, _fields(camera), not camera.orthographic)
    assert isinstance(out, Tensor)
    return out


def place_with_normals(
    vertices: Float[Tensor, "*#batch V 3"], faces: Int[Tensor, "F 3"], camera: Camera
) -> tuple[Float[Tensor, "*batch V 3"], Float[Tensor, "*#batch V 3"] | None]:
    """`place` and `vertex_normals` in one step; without normals where that is not compiled."""
    shaped = vertices.ndim > 1 and vertices.shape[-1] == 3 and vertices.numel() > 0
    known = triangles_of(faces) if shaped and faces.device.type == "cpu" and is_list(faces) else None
    if known is None or not known.names_only(vertices.shape[-2]) or not _is_fast(vertices, camera):
        return place(vertices, camera), None
    out = _PlaceWithNormals.apply(vertices, known.rows, _fields(camera), not camera.orthographic)
    assert isinstance(out, tuple)
    return out


def _is_fast(vertices: Tensor, camera: Camera) -> bool:
    fields = camera.rotation, camera.translation, camera.focal, camera.center
    if camera.rotation.ndim != 2 or any(field.ndim != 1 for field in fields[1:]):
        return False
    if torch.is_grad_enabled() and any(field.requires_grad for field in fields):
        return False
    return all(value.dtype == torch.float32 and value.device.type == "cpu" for value in (vertices, *fields))


def _fields(camera: Camera) -> tuple[np.ndarray, ...]:
    """Rotation, translation, focal length and centre; copies, as nobody may change them before the way back."""
    fields = camera.rotation, camera.translation, camera.focal, camera.center
    return tuple(field.detach().numpy().copy() for field in fields)


class _Place(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vertices: Tensor, fields: tuple[np.ndarray, ...], perspective: bool) -> Tensor:
        # Imported here: numba costs a second.
        from flamehead.render._cpu import screen as kernels

        vertices = vertices.detach().contiguous()
        ctx.save_for_backward(vertices)
        ctx.fields, ctx.perspective = fields, perspective
        out = torch.empty_like(vertices)
        kernels.place(vertices.reshape(-1, 3).numpy(), *fields, perspective, out.reshape(-1, 3).numpy())
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, None, None]:
        from flamehead.render._cpu import screen as kernels

        (vertices,) = ctx.saved_tensors
        gradient, out = gradients[0].contiguous(), torch.empty_like(vertices)
        rows = gradient.reshape(-1, 3).numpy(), out.reshape(-1, 3).numpy()
        kernels.place_backward(vertices.reshape(-1, 3).numpy(), *ctx.fields[:3], ctx.perspective, *rows)
        return out, None, None


class _PlaceWithNormals(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, vertices: Tensor, faces: np.ndarray, fields: tuple[np.ndarray, ...], perspective: bool
    ) -> tuple[Tensor, Tensor]:
        from flamehead.render._cpu import screen as kernels

        vertices = vertices.detach().contiguous()
        points, normals = torch.empty_like(vertices), torch.empty_like(vertices)
        plain, into = _rows(vertices), (_rows(points), _rows(normals))
        lengths = np.empty(plain.shape[:2], dtype=np.float32)
        kernels.place_with_normals(plain, faces, *fields, perspective, *into, lengths)
        ctx.save_for_backward(vertices, normals)
        ctx.fixed = faces, fields, perspective, lengths
        return points, normals

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, None, None, None]:
        from flamehead.render._cpu import screen as kernels

        vertices, normals = ctx.saved_tensors
        faces, fields, perspective, lengths = ctx.fixed
        out, given = torch.empty_like(vertices), (_rows(each.contiguous()) for each in gradients)
        known = _rows(vertices), faces, *fields[:3], perspective, _rows(normals), lengths
        kernels.place_with_normals_backward(*known, *given, _rows(out))
        return out, None, None, None


def _rows(values: Float[Tensor, "*batch V 3"]) -> Float[np.ndarray, "B V 3"]:
    return values.detach().numpy().reshape(-1, *values.shape[-2:])
