"""Values at vertices spread over pixels, with gradients to the values and to where the vertices stand."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead._triangles import Triangles
from flamehead.errors import InputError
from flamehead.raster._checks import check_kernel_dtype, check_rows
from flamehead.raster._grid import SUBPIXEL
from flamehead.raster._pixels import Pixels
from flamehead.raster.fragments import Fragments

__all__ = ["barycentric_at", "check", "check_compiled", "interpolate", "interpolate_plain", "snapped"]


def interpolate(
    attributes: Float[Tensor, "*#batch V C"],
    faces: Int[Tensor, "F 3"],
    fragments: Fragments,
    *,
    points: Float[Tensor, "*#batch V 3"] | None = None,
    perspective: bool = True,
    threads: int | None = None,
    backend: Literal["numba", "triton", "reference"] | None = None,
) -> Float[Tensor, "*batch H W C"]:
    """Spread values at vertices over the pixels: `sum_k barycentric_k * attributes[faces[id, k]]`; 0 in the background.

    Differentiable with respect to `attributes`, and through the barycentrics with respect to `points` where they are
    given; first derivatives only. What is seen where is held fixed: gradients of visibility come from `antialias`.
    Only what covered pixels show is touched, so values at vertices that are not seen cannot leak, whatever they are.
    The bits of the gradients do not depend on the number of threads.

    Args:
        attributes: Values at vertices, one set for all pictures or one for each.
        faces: As passed to `rasterize`.
        fragments: What `rasterize` found.
        points: As passed to `rasterize`; only gradients flow to them, the values are those of `fragments`.
        perspective: As passed to `rasterize`; under parallel projection no gradient flows to depths.
        threads: `None` chooses by the size of the job, at most torch's number of threads.
        backend: `None` follows the device of `attributes`: compiled on the CPU and on CUDA, plain torch elsewhere.

    Raises:
        InputError: Shapes that do not fit together, or faces or vertices that are not there.

    Example:
        >>> from flamehead.raster import rasterize
        >>> points = torch.tensor([[0.0, 0.0, 1.0], [0.0, 4.0, 1.0], [4.0, 0.0, 1.0]])
        >>> seen = rasterize(points, torch.tensor([[0, 1, 2]]), (4, 4))
        >>> interpolate(points, torch.tensor([[0, 1, 2]]), seen)[1, 0]
        tensor([0.5000, 1.5000, 1.0000])
    """
    known = check(attributes, points, faces, fragments)
    chosen = backend or {"cpu": "numba", "cuda": "triton"}.get(attributes.device.type, "reference")
    match chosen:
        case "reference":
            placed = None if points is None else snapped(points)
            return interpolate_plain(attributes, faces, fragments, points=placed, perspective=perspective)
        case "triton":
            from flamehead.raster._triton import autograd

            return autograd.interpolate(attributes, faces, fragments, points=points, perspective=perspective)
        case "numba":
            return _compiled(attributes, known, fragments, points, perspective, threads)
        case other:
            raise InputError(f"There is no interpolation backend {other!r}; choose 'numba', 'triton' or 'reference'.")


def interpolate_plain(
    attributes: Float[Tensor, "*#batch V C"],
    faces: Int[Tensor, "F 3"],
    fragments: Fragments,
    *,
    points: Float[Tensor, "*#batch V 3"] | None,
    perspective: bool = True,
) -> Float[Tensor, "*batch H W C"]:
    """`interpolate` in plain torch; where points are given, their own barycentrics replace those of `fragments`."""
    *batch, height, width = fragments.face_ids.shape
    item, pixel, corners = _seen(faces, fragments)
    if points is None:
        weights = fragments.barycentric.reshape(-1, height * width, 3)[item, pixel].to(attributes.dtype)
    else:
        weights = barycentric_at(points, faces, fragments, perspective=perspective).to(attributes.dtype)
    values = (weights[:, :, None] * _flat(attributes, batch)[item[:, None], corners]).sum(1)
    size = fragments.face_ids[..., 0, 0].numel()
    image = torch.zeros(size, height * width, attributes.shape[-1], dtype=attributes.dtype, device=attributes.device)
    return image.index_put((item, pixel), values).reshape(*batch, height, width, -1)


def barycentric_at(
    points: Float[Tensor, "*#batch V 3"], faces: Int[Tensor, "F 3"], fragments: Fragments, *, perspective: bool = True
) -> Float[Tensor, "N 3"]:
    """Barycentrics of all covered pixels, differentiable: areas opposite to the corners, over the depths.

    Homogeneous corners are `h_k = z_k (x_k, y_k, 1)`, measured from the pixel's centre; the weights `a` with
    `sum_k a_k h_k ~ (0, 0, 1)` are `a_k = (h_{k+1} x h_{k+2})_z`, so corners behind the camera need no special care.
    """
    *batch, _, width = fragments.face_ids.shape
    item, pixel, corners = _seen(faces, fragments)
    around = _flat(points, batch)[item[:, None], corners].double()
    centers = torch.stack([pixel % width, pixel // width], dim=-1) + 0.5
    offset, depth = around[..., :2] - centers[:, None], around[..., 2] if perspective else 1.0
    weighted = offset * (depth[..., None] if isinstance(depth, Tensor) else 1.0)
    after, second = weighted.roll(-1, dims=1), weighted.roll(-2, dims=1)
    opposite = after[..., 0] * second[..., 1] - after[..., 1] * second[..., 0]
    return (opposite / opposite.sum(-1, keepdim=True)).to(points.dtype)


def snapped(points: Float[Tensor, "*batch V 3"]) -> Float[Tensor, "*batch V 3"]:
    """Corners where the rasterizer puts them, on the grid of 1/1024 pixel; gradients pass as if they had not moved."""
    plain = points.detach()
    place = torch.floor(plain[..., :2].float().double() * SUBPIXEL + 0.5) / SUBPIXEL
    moved = torch.cat([place - plain[..., :2], torch.zeros_like(plain[..., 2:])], dim=-1)
    return points.double() + moved


def check(attributes: Tensor, points: Tensor | None, faces: Tensor, fragments: Fragments) -> Triangles | None:
    """Refuse shapes and rows that do not belong together; compiled code would read foreign memory.

    The faces, if they are on the CPU.
    """
    if not isinstance(fragments, Fragments):
        raise InputError(f"fragments are those that rasterize() returns, got {type(fragments).__name__}.")
    batch = fragments.face_ids.shape[:-2]
    for what, values in (("attributes", attributes), ("points", points)):
        if values is None:
            continue
        if not isinstance(values, Tensor):
            raise InputError(f"{what} must be a tensor, got {type(values).__name__}; use torch.as_tensor({what}).")
        if values.ndim < 2 or values.shape[:-2] not in ((), batch) or not values.is_floating_point():
            raise InputError(
                f"{what} must be floating-point rows for every vertex, for all pictures or for each of {tuple(batch)}, "
                f"got {values.dtype} {tuple(values.shape)}."
            )
        if not values.shape[-1] or (what == "points" and values.shape[-1] != 3):
            wanted = "x, y and depth" if what == "points" else "at least one number"
            raise InputError(f"{what} need {wanted} in every row, got shape {tuple(values.shape)}.")
    rows = (values.shape[-2] for values in (attributes, points) if values is not None)
    return check_rows(min(rows), faces, fragments)


def _seen(faces: Tensor, fragments: Fragments) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, pixel and corners of everything covered."""
    ids = fragments.face_ids.flatten(-2).reshape(-1, fragments.face_ids[..., :, :].shape[-2:].numel())
    item, pixel = (ids >= 0).nonzero(as_tuple=True)
    return item, pixel, faces.to(ids.device).long()[ids[item, pixel].long()]


def _flat(values: Tensor, batch: list[int]) -> Tensor:
    """One set of rows for every picture, the batch as one axis."""
    return values.expand(*batch, *values.shape[-2:]).reshape(-1, *values.shape[-2:])


def _compiled(
    attributes: Tensor,
    known: Triangles | None,
    fragments: Fragments,
    points: Tensor | None,
    perspective: bool,
    threads: int | None,
) -> Tensor:
    faces, pixels = check_compiled(attributes, points, known), Pixels.of(fragments)
    values = attributes.reshape(-1, *attributes.shape[-2:])
    corners = None if points is None else points.reshape(-1, *points.shape[-2:])
    flat = _Interpolate.apply(values, corners, (faces, pixels, perspective, threads), fragments)
    return flat.reshape(*fragments.face_ids.shape, attributes.shape[-1])


def check_compiled(attributes: Tensor, points: Tensor | None, known: Triangles | None) -> Int[np.ndarray, "F 3"]:
    """Refuse what the numba backend cannot do; the faces as its kernels read them."""
    if attributes.device.type != "cpu":
        raise InputError(f"The numba backend needs CPU tensors, got {attributes.device}; move them with `.cpu()`.")
    if known is None:
        raise InputError("The numba backend needs faces on the CPU; move them with `.cpu()`.")
    check_kernel_dtype("attributes", attributes)
    if points is not None:
        check_kernel_dtype("points", points)
    return known.rows


class _Interpolate(torch.autograd.Function):
    """The compiled kernels with their derivatives."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        points: Tensor | None,
        scene: tuple[np.ndarray, Pixels, bool, int | None],
        fragments: Fragments,
    ) -> Tensor:
        # Imported here: numba costs a second, and plain torch needs none of it.
        from flamehead.raster._cpu.spread import interpolate as spread

        values, (faces, pixels, perspective, threads) = values.contiguous(), scene
        # The fragments too, so that torch notices when somebody writes to them before the way back.
        ctx.save_for_backward(values, points, fragments.face_ids, fragments.barycentric)
        out, seen = spread(values, faces, pixels, threads=threads)
        ctx.fixed = faces, pixels
        ctx.options = {"seen": seen, "perspective": perspective, "threads": threads}
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        from flamehead.raster._cpu.gradients import interpolate_backward

        values, points, *_ = ctx.saved_tensors
        corners = None if points is None else points.contiguous()
        options = {"to_points": ctx.needs_input_grad[1], **ctx.options}
        found = interpolate_backward(gradients[0].contiguous(), values, corners, *ctx.fixed, **options)
        return (*found, None, None)
