"""`interpolate` and `antialias` for CUDA tensors: Triton kernels with their derivatives, behind the public doors.

Gradients are sums of atomic additions, whose last bits differ from run to run; under
`torch.use_deterministic_algorithms(True)` plain torch does the sums instead, slower and in a fixed order.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead.raster._silhouette import STEPS, TOLERANCE, Pairs, blend
from flamehead.raster._triton import gradients as kernels
from flamehead.raster._triton import silhouette
from flamehead.raster.edges import Edges
from flamehead.raster.fragments import Fragments
from flamehead.raster.interpolate import interpolate_plain, snapped

__all__ = ["antialias", "interpolate"]

_Arrays = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]

_KNOWN: dict[tuple[int, torch.device], tuple[weakref.ref[Edges], _Arrays, int]] = {}
"""Edges on devices, by identity; entries leave with their `Edges`."""


def interpolate(
    attributes: Float[Tensor, "*#batch V C"],
    faces: Int[Tensor, "F 3"],
    fragments: Fragments,
    *,
    points: Float[Tensor, "*#batch V 3"] | None,
    perspective: bool,
) -> Float[Tensor, "*batch H W C"]:
    """See `flamehead.raster.interpolate`, which checks the arguments; everything on one device."""
    if torch.are_deterministic_algorithms_enabled():
        # The kernels add in no fixed order; plain torch knows how to.
        placed = None if points is None else snapped(points)
        return interpolate_plain(attributes, faces, fragments, points=placed, perspective=perspective)
    *batch, height, width = fragments.face_ids.shape
    planes = fragments.barycentric.detach().movedim(-1, -3).reshape(-1, 3, height * width).float().contiguous()
    ids = fragments.face_ids.reshape(-1, height * width).int().contiguous()
    triangles = faces.detach().to(attributes.device, torch.int32).contiguous()
    flat = _Interpolate.apply(_rows(attributes), _rows(points), triangles, ids, planes, perspective)
    return flat.reshape(*batch, height, width, attributes.shape[-1])


def antialias(
    image: Float[Tensor, "*batch H W C"],
    points: Float[Tensor, "*#batch V 3"],
    fragments: Fragments,
    edges: Edges,
    *,
    perspective: bool,
) -> Float[Tensor, "*batch H W C"]:
    """See `flamehead.raster.antialias`, which checks the arguments; image, points and fragments on one device."""
    height, width = fragments.face_ids.shape[-2:]
    arrays, degree = _on_device(edges, image.device)
    corners = _rows(points)
    pairs = silhouette.find_pairs(
        corners.detach().float().contiguous(),
        *arrays,
        fragments.face_ids.detach().reshape(-1, height, width).int().contiguous(),
        fragments.depth.detach().reshape(-1, height, width).float().contiguous(),
        degree=degree,
        perspective=perspective,
        tolerance=TOLERANCE,
        steps=STEPS,
    )
    flat = image.reshape(-1, height * width, image.shape[-1])
    if torch.are_deterministic_algorithms_enabled():
        placed = snapped(corners).expand(len(flat), -1, -1)
        each = [_blend_plain(flat[n], placed[n], pairs, n, (width, height)) for n in range(len(flat))]
        return torch.stack(each).reshape(image.shape) if each else image.clone()
    return _Blend.apply(flat, corners, *pairs).reshape(image.shape)


def _blend_plain(
    image: Float[Tensor, "P C"],
    points: Float[Tensor, "V 3"],
    pairs: silhouette.Pairs,
    picture: int,
    size: tuple[int, int],
) -> Float[Tensor, "P C"]:
    """The pairs of one picture blended in plain torch."""
    pictures, numbers, values = (x.cpu().numpy() for x in pairs)
    here = pictures == picture
    return blend(image, points, Pairs(numbers[here], values[here]), size)


def _rows(values: Any) -> Any:
    """The batch as one axis, of length 1 where all pictures share the values."""
    return None if values is None else values.reshape(-1, *values.shape[-2:])


def _on_device(edges: Edges, device: torch.device) -> tuple[_Arrays, int]:
    """The arrays of `edges` in the order of `find_pairs`, and the most faces that meet at one edge."""
    key = id(edges), device
    known = _KNOWN.get(key)
    if known is not None and known[0]() is edges:
        return known[1], known[2]

    def moved(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    there = (
        moved(edges.faces),
        moved(edges.vertices),
        moved(edges.half_edges),
        moved(edges.starts),
        moved(edges.face_edges),
    )
    degree = int(np.diff(edges.starts).max(initial=0))
    _KNOWN[key] = weakref.ref(edges, lambda _: _KNOWN.pop(key, None)), there, degree
    return there, degree


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        points: Tensor | None,
        faces: Tensor,
        ids: Tensor,
        planes: Tensor,
        perspective: bool,
    ) -> Tensor:
        values = values.detach().contiguous()
        ctx.save_for_backward(values, points, faces, ids, planes)
        ctx.perspective = perspective
        return kernels.interpolate(values, faces, ids, planes)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        values, points, *fixed = ctx.saved_tensors
        placed = points.detach().contiguous() if points is not None and ctx.needs_input_grad[1] else None
        found = kernels.interpolate_backward(gradient.contiguous(), values, placed, *fixed, perspective=ctx.perspective)
        return (*found, None, None, None, None)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, points: Tensor, pictures: Tensor, numbers: Tensor, values: Tensor) -> Tensor:
        image = image.detach().contiguous()
        ctx.save_for_backward(image, points, pictures, numbers, values)
        return silhouette.blend(image, (pictures, numbers, values))

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        image, points, *pairs = ctx.saved_tensors
        by_image, by_points = silhouette.blend_backward(gradient.contiguous(), image, points, tuple(pairs))
        return by_image, by_points, None, None, None
