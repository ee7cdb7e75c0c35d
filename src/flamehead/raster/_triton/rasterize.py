"""The rasterizer in Triton, for CUDA tensors: setup, binning into tiles, and one program that fills each tile.

The rules are those on the CPU. With corners k = 0, 1, 2 snapped to the grid, let `e_k` be the edge function opposite to
corner k and A twice the area. The solution of `sum_k a_k (x_k z_k, y_k z_k, z_k) = (x, y, 1)` is
`a_k = e_k / (z_k A)`, for corners behind the camera too; a point of the triangle has `a_k >= 0` and depth
`z = 1 / sum_k a_k` (Olano and Greer 1997, "Triangle scan conversion using 2D homogeneous coordinates"). So a triangle
that crosses the near plane needs no cutting: it needs the signs of its z_k in its edge functions, and a limit on 1/z.

Everything is float64 up to the comparison of depths, which keeps the edge functions exact (see `_grid.SUBPIXEL`); a
tile of a head takes some dozens of faces, few enough also for GPUs with slow float64. No atomics, and every list is
made in the order of the faces: the same bits in every run.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._triton.jit import on_device
from flamehead.raster._triton.kernels import RECORD, count_kernel, fill_kernel, list_kernel, setup_kernel
from flamehead.raster.fragments import Fragments

__all__ = ["rasterize"]

_TILE = 16
"""Pixels, the width and height of a tile; one warp fills it."""
_TILES = 8
"""Neighbouring tiles that look for their faces together."""
_BLOCK = 256


def rasterize(
    points: Float[Tensor, "*batch V 3"],
    faces: Int[Tensor, "F 3"],
    size: tuple[int, int],
    *,
    cull: bool,
    perspective: bool = True,
    near: float = 1e-3,
) -> Fragments:
    """See `flamehead.raster.rasterize`; `barycentric` is a view of planes `*batch 3 H W`.

    The host waits once for the device, to learn how long the tiles' lists are.
    """
    (width, height), batch = size, points.shape[:-2]
    corners = points.detach().float().reshape(math.prod(batch), *points.shape[-2:]).contiguous()
    triangles = faces.to(device=points.device, dtype=torch.int32).contiguous()
    n_batch, n_points, n_faces = len(corners), corners.shape[1], len(triangles)
    ids = torch.full((n_batch, height, width), -1, dtype=torch.int32, device=points.device)
    planes = torch.zeros(n_batch, 3, height, width, dtype=torch.float32, device=points.device)
    depth = torch.full((n_batch, height, width), torch.inf, dtype=torch.float32, device=points.device)
    if n_batch and n_faces:
        across, down = -(-width // _TILE), -(-height // _TILE)
        records = torch.empty(n_batch, n_faces, RECORD.value, dtype=torch.float64, device=points.device)
        spans = torch.empty(n_batch, 4, n_faces, dtype=torch.int32, device=points.device)
        with on_device(points):
            setup_kernel[(-(-n_faces // _BLOCK) * n_batch,)](
                corners, triangles, records, spans, n_points, n_faces, width, height, _rounded_down(near),
                CULL=cull, PERSPECTIVE=perspective, TILE=_TILE, BLOCK=_BLOCK, enable_fp_fusion=False,
            )  # fmt: skip
            lists, starts, ends = _bin(spans, across, down)
            fill_kernel[(n_batch * across * down,)](
                records, lists, starts, ends, ids, planes, depth, n_faces, width, height, across, across * down,
                PERSPECTIVE=perspective, TILE=_TILE, num_warps=1,
            )  # fmt: skip
    return Fragments(
        ids.reshape(*batch, height, width),
        planes.reshape(*batch, 3, height, width).movedim(-3, -1),
        depth.reshape(*batch, height, width),
    )


def _rounded_down(near: float) -> float:
    """The greatest float32 up to `near`: a float32 depth is beyond the one exactly when it is beyond the other."""
    single = np.float32(near)
    return float(np.nextafter(single, np.float32(-np.inf)) if float(single) > near else single)


def _bin(
    spans: Int[Tensor, "B 4 F"], across: int, down: int
) -> tuple[Int[Tensor, "P"], Int[Tensor, "T"], Int[Tensor, "T"]]:
    """Faces whose bounding box touches each tile, in ascending order: all lists in one, and where each starts, ends."""
    n_batch, _, n_faces = spans.shape
    n_tiles = across * down
    grid = (n_batch * down * -(-across // _TILES),)
    counts = torch.empty(n_batch * n_tiles, dtype=torch.int32, device=spans.device)
    count_kernel[grid](spans, counts, n_faces, across, n_tiles, TILES=_TILES, BLOCK=_BLOCK)
    ends = counts.cumsum(0)
    starts = ends - counts
    lists = torch.empty(int(ends[-1]), dtype=torch.int32, device=spans.device)
    list_kernel[grid](spans, starts, lists, n_faces, across, n_tiles, TILES=_TILES, BLOCK=_BLOCK)
    return lists, starts, ends
