"""The rasterizer in Triton, for CUDA tensors: setup, binning into tiles, and one program that fills each tile.

The rules are those of `_cpu`. With corners k = 0, 1, 2 snapped to the grid, let `e_k` be the edge function opposite to
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
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster import _grid
from flamehead.raster.fragments import Fragments

__all__ = ["on_device", "rasterize", "snap"]

SUBPIXEL = tl.constexpr(_grid.SUBPIXEL)
HALF = tl.constexpr(_grid.HALF)
RECORD = tl.constexpr(16)
"""Float64 numbers per face: 3 x (slope_x, slope_y, offset) of the edges, 3 weights of the compared value, 3 weights of
the barycentrics, and the greatest value that is drawn. It fills one cache line."""
_TILE = 16
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
    like = {"device": points.device}
    ids = torch.full((n_batch, height, width), -1, dtype=torch.int32, **like)
    planes = torch.zeros(n_batch, 3, height, width, dtype=torch.float32, **like)
    depth = torch.full((n_batch, height, width), torch.inf, dtype=torch.float32, **like)
    if n_batch and n_faces:
        across, down = triton.cdiv(width, _TILE), triton.cdiv(height, _TILE)
        records = torch.empty(n_batch, n_faces, RECORD.value, dtype=torch.float64, **like)
        spans = torch.empty(n_batch, 4, n_faces, dtype=torch.int32, **like)
        with on_device(points):
            setup_kernel[(triton.cdiv(n_faces, _BLOCK) * n_batch,)](
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


def on_device(tensor: Tensor) -> AbstractContextManager:
    """Launches go to the device of `tensor`; nothing to do on the CPU, where kernels are interpreted."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def _rounded_down(near: float) -> float:
    """The greatest float32 up to `near`: a float32 depth is beyond the one exactly when it is beyond the other."""
    single = np.float32(near)
    return float(np.nextafter(single, np.float32(-np.inf)) if float(single) > near else single)


def _bin(
    spans: Int[Tensor, "B 4 F"], across: int, down: int
) -> tuple[Int[Tensor, "P"], Int[Tensor, "T"], Int[Tensor, "T"]]:
    """Faces whose bounding box touches each tile, in ascending order: all lists in one, and where each starts, ends."""
    n_batch, _, n_faces = spans.shape
    n_tiles = n_batch * across * down
    counts = torch.empty(n_tiles, dtype=torch.int32, device=spans.device)
    count_kernel[(n_tiles,)](spans, counts, n_faces, across, across * down, BLOCK=_BLOCK)
    ends = counts.cumsum(0)
    starts = ends - counts
    lists = torch.empty(int(ends[-1]), dtype=torch.int32, device=spans.device)
    list_kernel[(n_tiles,)](spans, starts, lists, n_faces, across, across * down, BLOCK=_BLOCK)
    return lists, starts, ends


@triton.jit
def snap(value):
    """Nearest position on the sub-pixel grid, in float64."""
    return tl.floor(value.to(tl.float64) * SUBPIXEL + 0.5)


@triton.jit
def _finite(x, y, z):
    # Comparisons with NaN are false.
    return (tl.abs(x) < float("inf")) & (tl.abs(y) < float("inf")) & (tl.abs(z) < float("inf"))


@triton.jit
def _store_edge(record, mask, number: tl.constexpr, ax, ay, bx, by, sign):
    """`e(x, y) = slope_x x + slope_y y + offset`, positive inside; reversing the edge negates every coefficient."""
    tl.store(record + 3 * number, sign * (ay - by), mask=mask)
    tl.store(record + 3 * number + 1, sign * (bx - ax), mask=mask)
    tl.store(record + 3 * number + 2, sign * (ax * by - bx * ay), mask=mask)


@triton.jit
def _widen(low, high, xa, za, xb, zb, near):
    """Take in the point where an edge passes through the near plane, if it does."""
    crosses = (za > near) != (zb > near)
    share = (near - za) / tl.where(crosses, zb - za, 1.0)
    x = (xa * za + share * (xb * zb - xa * za)) / near
    return tl.minimum(low, tl.where(crosses, x, low)), tl.maximum(high, tl.where(crosses, x, high))


@triton.jit
def _span(x0, x1, x2, z0, z1, z2, near, crossing, end, TILE: tl.constexpr, PERSPECTIVE: tl.constexpr):
    """First and last tile, along one axis, of the part in front; the first is beyond the last if there is none."""
    low, high = tl.minimum(x0, tl.minimum(x1, x2)), tl.maximum(x0, tl.maximum(x1, x2))
    if PERSPECTIVE:
        # Only corners in front are where they are seen; one more pixel makes up for the rounding of the cuts.
        front0, front1, front2 = z0 > near, z1 > near, z2 > near
        near_low = tl.where(front0, x0, high)
        near_low = tl.minimum(near_low, tl.where(front1, x1, high))
        near_low = tl.minimum(near_low, tl.where(front2, x2, high))
        near_high = tl.where(front0, x0, low)
        near_high = tl.maximum(near_high, tl.where(front1, x1, low))
        near_high = tl.maximum(near_high, tl.where(front2, x2, low))
        near_low, near_high = _widen(near_low, near_high, x0, z0, x1, z1, near)
        near_low, near_high = _widen(near_low, near_high, x1, z1, x2, z2, near)
        near_low, near_high = _widen(near_low, near_high, x2, z2, x0, z0, near)
        low = tl.where(crossing, near_low - SUBPIXEL, low)
        high = tl.where(crossing, near_high + SUBPIXEL, high)
    # Limited while they are floats: huge values must not reach the conversion.
    first = tl.minimum(tl.maximum(tl.ceil((low - HALF) / SUBPIXEL), 0.0), end * 1.0).to(tl.int32)
    last = tl.maximum(tl.minimum(tl.floor((high - HALF) / SUBPIXEL), end - 1.0), -1.0).to(tl.int32)
    empty = first > last
    # A last tile of -1 stands for nothing, whatever the rounding of the division.
    return first // TILE, tl.where(empty, -1, last // TILE)


@triton.jit(do_not_specialize=["n_points", "n_faces", "width", "height", "near"])
def setup_kernel(
    points, faces, records, spans, n_points, n_faces, width, height, near,
    CULL: tl.constexpr, PERSPECTIVE: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One lane per face: points [B, V, 3], faces [F, 3] -> records [B, F, RECORD], spans [B, 4, F] in tiles.

    Compiled without fused multiply-add, which would not negate exactly when an edge is reversed.
    """
    blocks = tl.cdiv(n_faces, BLOCK)
    batch = (tl.program_id(0) // blocks).to(tl.int64)
    face = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    mask = face < n_faces
    i = tl.load(faces + 3 * face.to(tl.int64), mask=mask, other=0)
    j = tl.load(faces + 3 * face.to(tl.int64) + 1, mask=mask, other=0)
    k = tl.load(faces + 3 * face.to(tl.int64) + 2, mask=mask, other=0)
    corner0 = points + 3 * (batch * n_points + i)
    corner1 = points + 3 * (batch * n_points + j)
    corner2 = points + 3 * (batch * n_points + k)
    x0, y0 = snap(tl.load(corner0, mask=mask, other=0.0)), snap(tl.load(corner0 + 1, mask=mask, other=0.0))
    x1, y1 = snap(tl.load(corner1, mask=mask, other=0.0)), snap(tl.load(corner1 + 1, mask=mask, other=0.0))
    x2, y2 = snap(tl.load(corner2, mask=mask, other=0.0)), snap(tl.load(corner2 + 1, mask=mask, other=0.0))
    z0 = tl.load(corner0 + 2, mask=mask, other=1.0).to(tl.float64)
    z1 = tl.load(corner1 + 2, mask=mask, other=1.0).to(tl.float64)
    z2 = tl.load(corner2 + 2, mask=mask, other=1.0).to(tl.float64)
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    seen = mask & _finite(x0, y0, z0) & _finite(x1, y1, z1) & _finite(x2, y2, z2)
    seen = seen & (tl.abs(area) < float("inf")) & (area != 0.0)
    # Nothing that is not a number may reach a conversion to whole numbers.
    x0, x1, x2 = tl.where(seen, x0, 0.0), tl.where(seen, x1, 0.0), tl.where(seen, x2, 0.0)
    y0, y1, y2 = tl.where(seen, y0, 0.0), tl.where(seen, y1, 0.0), tl.where(seen, y2, 0.0)
    limit = tl.full([BLOCK], float("inf"), tl.float64)
    crossing = z0 != z0
    # The divisors of a_k; 1 stands in where nothing is drawn.
    d0 = tl.where(seen, area, 1.0)
    d1, d2 = d0, d0
    facing = d0
    if PERSPECTIVE:
        seen = seen & ((z0 > near) | (z1 > near) | (z2 > near)) & (z0 != 0.0) & (z1 != 0.0) & (z2 != 0.0)
        crossing = (z0 <= near) | (z1 <= near) | (z2 <= near)
        limit = tl.where(crossing, 1.0 / tl.full([BLOCK], near, tl.float64), limit)
        d0, d1, d2 = tl.where(seen, area * z0, 1.0), tl.where(seen, area * z1, 1.0), tl.where(seen, area * z2, 1.0)
        facing = tl.where((z0 < 0.0) != ((z1 < 0.0) != (z2 < 0.0)), -area, area)
    if CULL:
        seen = seen & (facing <= 0.0)
    record = records + (batch * n_faces + face) * RECORD
    _store_edge(record, mask, 0, x1, y1, x2, y2, tl.where(d0 > 0.0, 1.0, -1.0).to(tl.float64))
    _store_edge(record, mask, 1, x2, y2, x0, y0, tl.where(d1 > 0.0, 1.0, -1.0).to(tl.float64))
    _store_edge(record, mask, 2, x0, y0, x1, y1, tl.where(d2 > 0.0, 1.0, -1.0).to(tl.float64))
    w0, w1, w2 = 1.0 / tl.abs(d0), 1.0 / tl.abs(d1), 1.0 / tl.abs(d2)
    tl.store(record + 9, w0 if PERSPECTIVE else -z0 * w0, mask=mask)
    tl.store(record + 10, w1 if PERSPECTIVE else -z1 * w1, mask=mask)
    tl.store(record + 11, w2 if PERSPECTIVE else -z2 * w2, mask=mask)
    tl.store(record + 12, w0, mask=mask)
    tl.store(record + 13, w1, mask=mask)
    tl.store(record + 14, w2, mask=mask)
    tl.store(record + 15, limit, mask=mask)
    left, right = _span(x0, x1, x2, z0, z1, z2, near, crossing, width, TILE, PERSPECTIVE)
    top, bottom = _span(y0, y1, y2, z0, z1, z2, near, crossing, height, TILE, PERSPECTIVE)
    span = spans + batch * 4 * n_faces + face
    tl.store(span, left, mask=mask)
    tl.store(span + n_faces, tl.where(seen, right, -1), mask=mask)
    tl.store(span + 2 * n_faces, top, mask=mask)
    tl.store(span + 3 * n_faces, tl.where(seen, bottom, -1), mask=mask)


@triton.jit
def _touches(spans, face, n_faces, column, row):
    """Which of the faces of one mesh have a bounding box that touches the tile."""
    mask = face < n_faces
    left = tl.load(spans + face, mask=mask, other=1)
    right = tl.load(spans + n_faces + face, mask=mask, other=-1)
    top = tl.load(spans + 2 * n_faces + face, mask=mask, other=1)
    bottom = tl.load(spans + 3 * n_faces + face, mask=mask, other=-1)
    return (left <= column) & (column <= right) & (top <= row) & (row <= bottom)


@triton.jit(do_not_specialize=["n_faces", "across", "n_tiles"])
def count_kernel(spans, counts, n_faces, across, n_tiles, BLOCK: tl.constexpr):
    """One program per tile: spans [B, 4, F] -> counts [B * n_tiles], the faces that touch the tile."""
    tile = tl.program_id(0) % n_tiles
    spans += (tl.program_id(0) // n_tiles).to(tl.int64) * 4 * n_faces
    total = tl.zeros([BLOCK], tl.int32)
    for first in range(0, n_faces, BLOCK):
        face = first + tl.arange(0, BLOCK)
        total += _touches(spans, face, n_faces, tile % across, tile // across).to(tl.int32)
    tl.store(counts + tl.program_id(0), tl.sum(total, 0))


@triton.jit(do_not_specialize=["n_faces", "across", "n_tiles"])
def list_kernel(spans, starts, lists, n_faces, across, n_tiles, BLOCK: tl.constexpr):
    """One program per tile: writes the faces that `count_kernel` counted to lists[starts[tile]...], in their order."""
    tile = tl.program_id(0) % n_tiles
    spans += (tl.program_id(0) // n_tiles).to(tl.int64) * 4 * n_faces
    place = tl.load(starts + tl.program_id(0))
    for first in range(0, n_faces, BLOCK):
        face = first + tl.arange(0, BLOCK)
        hit = _touches(spans, face, n_faces, tile % across, tile // across)
        rank = tl.cumsum(hit.to(tl.int32), 0)
        tl.store(lists + place + rank - 1, face, mask=hit)
        place += tl.sum(hit.to(tl.int32), 0)


@triton.jit
def _edge(record, number: tl.constexpr, x, y):
    """Value of an edge function and whether it is inside.

    The top-left rule: at least 0 for the triangle on the right of the edge, or below it where it is level, and at least
    1, the next integer, for the other one.
    """
    slope_x, slope_y = tl.load(record + 3 * number), tl.load(record + 3 * number + 1)
    value = slope_x * x + (slope_y * y + tl.load(record + 3 * number + 2))
    least = tl.where((slope_x > 0.0) | ((slope_x == 0.0) & (slope_y > 0.0)), 0.0, 1.0)
    return value, value >= least


@triton.jit(do_not_specialize=["n_faces", "width", "height", "across", "n_tiles"])
def fill_kernel(
    records, lists, starts, ends, ids, planes, depth, n_faces, width, height, across, n_tiles,
    PERSPECTIVE: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """One program per tile: ids [B, H, W], planes [B, 3, H, W] and depth [B, H, W] of the nearest of its faces."""
    tile = tl.program_id(0) % n_tiles
    batch = (tl.program_id(0) // n_tiles).to(tl.int64)
    column = (tile % across) * TILE + tl.arange(0, TILE)[None, :]
    row = (tile // across) * TILE + tl.arange(0, TILE)[:, None]
    x, y = column.to(tl.float64) * SUBPIXEL + HALF, row.to(tl.float64) * SUBPIXEL + HALF
    records += batch * n_faces * RECORD
    nearest = tl.full([TILE, TILE], 0.0 if PERSPECTIVE else float("-inf"), tl.float32)
    winner = tl.full([TILE, TILE], -1, tl.int32)
    for item in range(tl.load(starts + tl.program_id(0)), tl.load(ends + tl.program_id(0))):
        face = tl.load(lists + item)
        record = records + face.to(tl.int64) * RECORD
        e0, in0 = _edge(record, 0, x, y)
        e1, in1 = _edge(record, 1, x, y)
        e2, in2 = _edge(record, 2, x, y)
        value = e0 * tl.load(record + 9) + e1 * tl.load(record + 10) + e2 * tl.load(record + 11)
        single = value.to(tl.float32)
        wins = in0 & in1 & in2 & (single > nearest) & (value <= tl.load(record + 15))
        nearest = tl.where(wins, single, nearest)
        winner = tl.where(wins, face, winner)
    # The record of face 0 stands in for the background, and is not used.
    covered = winner >= 0
    seen = records + tl.where(covered, winner, 0).to(tl.int64) * RECORD
    e0, in0 = _edge(seen, 0, x, y)
    e1, in1 = _edge(seen, 1, x, y)
    e2, in2 = _edge(seen, 2, x, y)
    a0 = tl.where(covered, e0 * tl.load(seen + 12), 0.0)
    a1 = tl.where(covered, e1 * tl.load(seen + 13), 0.0)
    a2 = tl.where(covered, e2 * tl.load(seen + 14), 0.0)
    total = tl.where(covered, a0 + a1 + a2, 1.0)
    if PERSPECTIVE:
        z = 1.0 / total
    else:
        z = -(e0 * tl.load(seen + 9) + e1 * tl.load(seen + 10) + e2 * tl.load(seen + 11))
    inside = (column < width) & (row < height)
    pixel = row.to(tl.int64) * width + column
    plane = height.to(tl.int64) * width
    tl.store(ids + batch * plane + pixel, winner, mask=inside)
    tl.store(depth + batch * plane + pixel, tl.where(covered, z, float("inf")).to(tl.float32), mask=inside)
    planes += batch * 3 * plane + pixel
    tl.store(planes, (a0 / total).to(tl.float32), mask=inside)
    tl.store(planes + plane, (a1 / total).to(tl.float32), mask=inside)
    tl.store(planes + 2 * plane, (a2 / total).to(tl.float32), mask=inside)
