"""The kernels behind `rasterize`, from triangles to tiles to pixels."""

from __future__ import annotations

import triton.language as tl

from flamehead.raster import _grid
from flamehead.raster._triton.jit import kernel

__all__ = ["RECORD", "count_kernel", "fill_kernel", "list_kernel", "setup_kernel", "snap"]

SUBPIXEL = tl.constexpr(_grid.SUBPIXEL)
HALF = tl.constexpr(_grid.HALF)
RECORD = tl.constexpr(16)
"""Float64 numbers per face: 3 x (slope_x, slope_y, offset) of the edges, 3 weights of the compared value, 3 weights of
the barycentrics, and the greatest value that is drawn. It fills one cache line."""


@kernel()
def snap(value):
    """Nearest position on the sub-pixel grid, in float64."""
    return tl.floor(value.to(tl.float64) * SUBPIXEL + 0.5)


@kernel()
def _finite(x, y, z):
    # Comparisons with NaN are false.
    return (tl.abs(x) < float("inf")) & (tl.abs(y) < float("inf")) & (tl.abs(z) < float("inf"))


@kernel()
def _store_edge(record, mask, number: tl.constexpr, ax, ay, bx, by, sign):
    """`e(x, y) = slope_x x + slope_y y + offset`, positive inside; reversing the edge negates every coefficient."""
    tl.store(record + 3 * number, sign * (ay - by), mask=mask)
    tl.store(record + 3 * number + 1, sign * (bx - ax), mask=mask)
    tl.store(record + 3 * number + 2, sign * (ax * by - bx * ay), mask=mask)


@kernel()
def _store_weights(record, mask, d0, d1, d2, z0, z1, z2, limit, PERSPECTIVE: tl.constexpr):
    """What edge functions are multiplied with: for the value that is compared, 1/z or -z, and for barycentrics."""
    w0, w1, w2 = 1.0 / tl.abs(d0), 1.0 / tl.abs(d1), 1.0 / tl.abs(d2)
    tl.store(record + 9, w0 if PERSPECTIVE else -z0 * w0, mask=mask)
    tl.store(record + 10, w1 if PERSPECTIVE else -z1 * w1, mask=mask)
    tl.store(record + 11, w2 if PERSPECTIVE else -z2 * w2, mask=mask)
    tl.store(record + 12, w0, mask=mask)
    tl.store(record + 13, w1, mask=mask)
    tl.store(record + 14, w2, mask=mask)
    tl.store(record + 15, limit, mask=mask)


@kernel()
def _widen(low, high, xa, za, xb, zb, near):
    """Take in the point where an edge passes through the near plane, if it does."""
    crosses = (za > near) != (zb > near)
    share = (near - za) / tl.where(crosses, zb - za, 1.0)
    x = (xa * za + share * (xb * zb - xa * za)) / near
    return tl.minimum(low, tl.where(crosses, x, low)), tl.maximum(high, tl.where(crosses, x, high))


@kernel()
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


@kernel(do_not_specialize=["n_points", "n_faces", "width", "height", "near"])
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
    _store_weights(record, mask, d0, d1, d2, z0, z1, z2, limit, PERSPECTIVE)
    left, right = _span(x0, x1, x2, z0, z1, z2, near, crossing, width, TILE, PERSPECTIVE)
    top, bottom = _span(y0, y1, y2, z0, z1, z2, near, crossing, height, TILE, PERSPECTIVE)
    span = spans + batch * 4 * n_faces + face
    tl.store(span, left, mask=mask)
    tl.store(span + n_faces, tl.where(seen, right, -1), mask=mask)
    tl.store(span + 2 * n_faces, top, mask=mask)
    tl.store(span + 3 * n_faces, tl.where(seen, bottom, -1), mask=mask)


@kernel()
def _strip(n_tiles, across, TILES: tl.constexpr):
    """Of one program: its picture, the row of tiles, the columns of its TILES neighbours, and the tiles' numbers."""
    groups = tl.cdiv(across, TILES)
    strips = n_tiles // across * groups
    batch = tl.program_id(0) // strips
    row = tl.program_id(0) % strips // groups
    column = tl.program_id(0) % groups * TILES + tl.arange(0, TILES)
    return batch.to(tl.int64), row, column, batch * n_tiles + row * across + column


@kernel()
def _touches(spans, face, n_faces, column, row):
    """Which faces of one mesh [BLOCK] have a bounding box that touches which tiles of a row [TILES]."""
    mask = face < n_faces
    left = tl.load(spans + face, mask=mask, other=1)[None, :]
    right = tl.load(spans + n_faces + face, mask=mask, other=-1)[None, :]
    top = tl.load(spans + 2 * n_faces + face, mask=mask, other=1)[None, :]
    bottom = tl.load(spans + 3 * n_faces + face, mask=mask, other=-1)[None, :]
    return ((left <= column[:, None]) & (column[:, None] <= right) & (top <= row) & (row <= bottom)).to(tl.int32)


@kernel(do_not_specialize=["n_faces", "across", "n_tiles"])
def count_kernel(spans, counts, n_faces, across, n_tiles, TILES: tl.constexpr, BLOCK: tl.constexpr):
    """One program for some tiles of a row: spans [B, 4, F] -> counts [B * n_tiles], the faces that touch each tile."""
    batch, row, column, tile = _strip(n_tiles, across, TILES)
    spans += batch * 4 * n_faces
    total = tl.zeros([TILES, BLOCK], tl.int32)
    for first in range(0, n_faces, BLOCK):
        total += _touches(spans, first + tl.arange(0, BLOCK), n_faces, column, row)
    tl.store(counts + tile, tl.sum(total, 1), mask=column < across)


@kernel(do_not_specialize=["n_faces", "across", "n_tiles"])
def list_kernel(spans, starts, lists, n_faces, across, n_tiles, TILES: tl.constexpr, BLOCK: tl.constexpr):
    """Writes the faces that `count_kernel` counted to lists[starts[tile]...], in their order."""
    batch, row, column, tile = _strip(n_tiles, across, TILES)
    spans += batch * 4 * n_faces
    place = tl.load(starts + tile, mask=column < across, other=0)
    for first in range(0, n_faces, BLOCK):
        face = first + tl.arange(0, BLOCK)
        # No box reaches beyond the last column, so tiles that are not there get nothing.
        hit = _touches(spans, face, n_faces, column, row)
        rank = tl.cumsum(hit, 1)
        here = tl.broadcast_to(face[None, :], hit.shape)
        tl.store(lists + place[:, None] + rank - 1, here, mask=hit > 0)
        place += tl.sum(hit, 1)


@kernel()
def _edge(record, number: tl.constexpr, x, y):
    """Value of an edge function and whether it is inside.

    The top-left rule: at least 0 for the triangle on the right of the edge, or below it where it is level, and at least
    1, the next integer, for the other one.
    """
    slope_x, slope_y = tl.load(record + 3 * number), tl.load(record + 3 * number + 1)
    value = slope_x * x + (slope_y * y + tl.load(record + 3 * number + 2))
    least = tl.where((slope_x > 0.0) | ((slope_x == 0.0) & (slope_y > 0.0)), 0.0, 1.0)
    return value, value >= least


@kernel(do_not_specialize=["n_faces", "width", "height", "across", "n_tiles"])
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
