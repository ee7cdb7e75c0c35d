"""The rasterizer in plain torch: one triangle at a time, slow, to check the fast ones against."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from flamehead.raster._grid import HALF, SUBPIXEL
from flamehead.raster.fragments import Fragments

__all__ = ["rasterize"]


def rasterize(
    points: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    size: tuple[int, int],
    *,
    cull: bool,
    perspective: bool,
    near: float,
) -> Fragments:
    """See `flamehead.raster.rasterize`."""
    each = [_one(mesh, faces, size, cull=cull, perspective=perspective, near=near) for mesh in points.double()]
    width, height = size
    if not each:
        empty = torch.empty(0, height, width, device=points.device)
        return Fragments(empty.int(), empty[..., None].expand(-1, -1, -1, 3), empty)
    return Fragments(*(torch.stack(parts) for parts in zip(*each, strict=True)))


def _one(
    points: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    size: tuple[int, int],
    *,
    cull: bool,
    perspective: bool,
    near: float,
) -> tuple[Int[Tensor, "H W"], Float[Tensor, "H W 3"], Float[Tensor, "H W"]]:
    width, height = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([x, y], dim=-1).to(points) * SUBPIXEL + HALF
    ids = torch.full((height, width), -1, dtype=torch.int32, device=points.device)
    nearest = torch.full((height, width), 0.0 if perspective else -torch.inf, device=points.device)
    barycentric = torch.zeros(height, width, 3, device=points.device)
    depth = torch.full_like(nearest, torch.inf)
    for face, corners in enumerate(points[faces.long()]):
        z = corners[:, 2] if perspective else torch.ones(3).to(corners)
        if not corners.isfinite().all() or not (z > near).any():
            continue
        # Homogeneous coordinates: `sum_k a_k h_k = (px, py, 1)` has the barycentrics over z as its solution a.
        h = torch.cat([torch.floor(corners[:, :2] * SUBPIXEL + 0.5), torch.ones(3, 1).to(z)], dim=1) * z[:, None]
        edges = [_edge(h[j], h[k], near) for j, k in ((1, 2), (2, 0), (0, 1))]
        volume = edges[0] @ h[0]
        if volume == 0 or not volume.isfinite() or (cull and volume > 0):
            continue
        inside, over_z = torch.ones_like(ids, dtype=torch.bool), []
        for edge in (volume.sign() * edge for edge in edges):
            value = pixels @ edge[:2] + edge[2]
            inside &= (value > 0) | ((value == 0) & _owns(edge))
            over_z.append(value / volume.abs())
        shares = torch.stack(over_z, dim=-1)
        inverse = shares.sum(-1)
        key = inverse if perspective else -(shares @ corners[:, 2])
        seen = inside & (key.float() > nearest)
        if perspective:
            seen &= inverse * near <= 1
        ids[seen], nearest[seen] = face, key[seen].float()
        barycentric[seen] = (shares[seen] / inverse[seen, None]).float()
        depth[seen] = (1.0 / key[seen] if perspective else -key[seen]).float()
    return ids, barycentric, depth


def _edge(a: Float[Tensor, "3"], b: Float[Tensor, "3"], near: float) -> Float[Tensor, "3"]:
    """The edge function of two corners; where both are in front, made of whole numbers as on the screen."""
    if a[2] > near and b[2] > near:
        return a[2] * b[2] * torch.linalg.cross((a / a[2]).round(), (b / b[2]).round())
    return torch.linalg.cross(a, b)


def _owns(edge: Float[Tensor, "3"]) -> Bool[Tensor, ""]:
    """The top-left rule: pixels on an edge belong to the triangle on its right, or below it where it is level."""
    return (edge[0] > 0) | ((edge[0] == 0) & (edge[1] > 0))
