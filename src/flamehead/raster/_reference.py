"""The rasterizer in plain torch: one triangle at a time, slow, to check the fast ones against."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._grid import HALF, NEAR, SUBPIXEL
from flamehead.raster.fragments import Fragments

__all__ = ["rasterize"]


def rasterize(
    points: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], size: tuple[int, int], *, cull: bool
) -> Fragments:
    """See `flamehead.raster.rasterize`."""
    width, height = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([x, y], dim=-1).to(points).double() * SUBPIXEL + HALF
    ids = torch.full((height, width), -1, dtype=torch.int32, device=points.device)
    nearest = torch.zeros(height, width, dtype=torch.float32, device=points.device)
    barycentric = torch.zeros(height, width, 3, dtype=torch.float32, device=points.device)
    depth = torch.full_like(nearest, torch.inf)
    for face, corners in enumerate(points.double()[faces.long()]):
        if not (corners.isfinite().all() and (corners[:, 2] > NEAR).all()):
            continue
        corner, inverse_z = torch.floor(corners[:, :2] * SUBPIXEL + 0.5), 1.0 / corners[:, 2]
        area = _cross(corner[1] - corner[0], corner[2] - corner[0])
        if area == 0 or (cull and area > 0):
            continue
        inside, weights = torch.ones_like(ids, dtype=torch.bool), []
        for a, b in ((corner[1], corner[2]), (corner[2], corner[0]), (corner[0], corner[1])):
            edge = area.sign() * _cross(b - a, pixels - a)
            inside &= (edge > 0) | ((edge == 0) & _owns(area.sign() * (b - a)))
            weights.append(edge)
        weight = torch.stack(weights, dim=-1) * inverse_z
        inverse = weight.sum(-1) / area.abs()
        seen = inside & (inverse.float() > nearest)
        ids[seen], nearest[seen] = face, inverse[seen].float()
        barycentric[seen] = (weight[seen] / weight[seen].sum(-1, keepdim=True)).float()
        depth[seen] = (1.0 / inverse[seen]).float()
    return Fragments(ids, barycentric, depth)


def _cross(a: Float[Tensor, "*#batch 2"], b: Float[Tensor, "*#batch 2"]) -> Float[Tensor, "..."]:
    """Twice the signed area; with y down, a triangle that turns clockwise on the screen is positive."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _owns(along: Float[Tensor, "2"]) -> bool:
    """The top-left rule: pixels on an edge belong to the triangle on its right, or below it where it is level."""
    return bool(along[1] < 0 or (along[1] == 0 and along[0] > 0))
