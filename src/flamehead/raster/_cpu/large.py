"""Triangles for which the short cuts of `fill` do not hold: large ones, and those that cross the near plane."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.lanes import FEW, as_doubles, as_floats, load, order, pick, spread, store
from flamehead.raster._cpu.scratch import BLOCK, in_row
from flamehead.raster._grid import HALF, SUBPIXEL

__all__ = ["fill_crossing", "fill_large"]

_BARELY = 1e-300
"""The least value inside an edge whose own pixels belong to the other side: anything above 0."""


@compiled(inline="always")
def _least(slope_x, slope_y):
    """The top-left rule: pixels on an edge belong to the triangle on its right, or below it where it is level."""
    return 0.0 if slope_x > 0.0 or (slope_x == 0.0 and slope_y > 0.0) else _BARELY


@compiled(nogil=True, error_model="numpy")
def fill_large(face, i, j, k, corners, perspective, width, begin, end, picture):
    """One triangle of any size in front of the camera, with corners i, j, k, in float64."""
    x0, x1, x2, y0, y1, y2 = corners[i, 0], corners[j, 0], corners[k, 0], corners[i, 1], corners[j, 1], corners[k, 1]
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    sign = 1.0 if area > 0.0 else -1.0
    ax, bx, cx = sign * (y1 - y2), sign * (x2 - x1), sign * (x1 * y2 - x2 * y1)
    ay, by, cy = sign * (y2 - y0), sign * (x0 - x2), sign * (x2 * y0 - x0 * y2)
    az, bz, cz = sign * (y0 - y1), sign * (x1 - x0), sign * (x0 * y1 - x1 * y0)
    least = spread(_least(ax, bx)), spread(_least(ay, by)), spread(_least(az, bz))
    area = abs(area)
    k0, k1, k2 = corners[i, 2] / area, corners[j, 2] / area, corners[k, 2] / area
    w0, w1 = (spread(k0), spread(k1)) if perspective else (spread(1.0 / area), spread(1.0 / area))
    kx, ky, kc = k0 * ax + k1 * ay + k2 * az, k0 * bx + k1 * by + k2 * bz, k0 * cx + k1 * cy + k2 * cz
    from_x = max(0.0, np.ceil((min(x0, x1, x2) - HALF) / SUBPIXEL))
    to_x = min(width - 1.0, np.floor((max(x0, x1, x2) - HALF) / SUBPIXEL))
    from_y = max(np.float64(begin), np.ceil((min(y0, y1, y2) - HALF) / SUBPIXEL))
    to_y = min(end - 1.0, np.floor((max(y0, y1, y2) - HALF) / SUBPIXEL))
    blocks, number, steps = in_row(width), spread(np.float32(face)), as_doubles(order()) * spread(SUBPIXEL)
    for row in range(np.int64(from_y), np.int64(to_y) + 1):
        y = row * SUBPIXEL + HALF
        e0r, e1r, e2r = spread(bx * y + cx), spread(by * y + cy), spread(bz * y + cz)
        key = spread(ky * y + kc)
        for block in range(np.int64(from_x) // FEW, np.int64(to_x) // FEW + 1):
            at = np.uint64(((row - begin) * blocks + block) * BLOCK)
            to_face, to_p, to_q = at + np.uint64(FEW), at + np.uint64(2 * FEW), at + np.uint64(3 * FEW)
            x = spread(np.float64(block * FEW) * SUBPIXEL + HALF) + steps
            e0, e1, e2 = spread(ax) * x + e0r, spread(ay) * x + e1r, spread(az) * x + e2r
            new, old = as_floats(spread(kx) * x + key), load(picture, at)
            seen = (e0 >= least[0]) & (e1 >= least[1]) & (e2 >= least[2]) & (new > old)
            store(picture, at, pick(seen, new, old))
            store(picture, to_face, pick(seen, number, load(picture, to_face)))
            store(picture, to_p, pick(seen, as_floats(w0 * e0), load(picture, to_p)))
            store(picture, to_q, pick(seen, as_floats(w1 * e1), load(picture, to_q)))


@compiled(inline="always")
def _edge(xj, yj, zj, xk, yk, zk, near):
    """The edge function of two corners in homogeneous coordinates; reversing the edge negates every number exactly.

    Between two corners in front it is the one that the neighbour on the screen has, times zj zk.
    """
    if zj > near and zk > near:
        scale = zj * zk
        return scale * (yj - yk), scale * (xk - xj), scale * (xj * yk - xk * yj)
    u, v, s, t = xj * zj, yj * zj, xk * zk, yk * zk
    return v * zk - zj * t, zj * s - u * zk, u * t - s * v


@compiled(nogil=True, error_model="numpy")
def fill_crossing(face, i, j, k, corners, width, begin, end, cull, near, picture):
    """A triangle that crosses the near plane, by 2D homogeneous rasterization (Olano and Greer 1997), without clipping.

    With corners `h = (x z, y z, z)`, the barycentrics over z of a pixel are `inverse([h0 h1 h2]) (px, py, 1)`.
    """
    z0, z1, z2 = corners[i, 3], corners[j, 3], corners[k, 3]
    if not (z0 > near or z1 > near or z2 > near):
        return
    x0, x1, x2, y0, y1, y2 = corners[i, 0], corners[j, 0], corners[k, 0], corners[i, 1], corners[j, 1], corners[k, 1]
    ax, bx, cx = _edge(x1, y1, z1, x2, y2, z2, near)
    ay, by, cy = _edge(x2, y2, z2, x0, y0, z0, near)
    az, bz, cz = _edge(x0, y0, z0, x1, y1, z1, near)
    volume = (ax * x0 + bx * y0 + cx) * z0
    if volume == 0.0 or (cull and volume > 0.0) or not abs(volume) < np.inf:
        return
    left = top = np.inf
    right = bottom = -np.inf
    ring = ((x0, y0, z0), (x1, y1, z1), (x2, y2, z2))
    for n in range(3):
        (x, y, z), (s, t, w) = ring[n], ring[(n + 1) % 3]
        if z > near:
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
        if (z > near) != (w > near):
            # Where the side meets the near plane.
            share = (near - z) / (w - z)
            x, y = (x * z + share * (s * w - x * z)) / near, (y * z + share * (t * w - y * z)) / near
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
    from_x, to_x = max(0.0, np.floor(left / SUBPIXEL) - 1.0), min(width - 1.0, np.ceil(right / SUBPIXEL) + 1.0)
    from_y, to_y = (
        max(np.float64(begin), np.floor(top / SUBPIXEL) - 1.0),
        min(end - 1.0, np.ceil(bottom / SUBPIXEL) + 1.0),
    )
    if not (from_x <= to_x and from_y <= to_y):
        return
    sign, blocks = 1.0 if volume > 0.0 else -1.0, in_row(width)
    ax, bx, cx, ay, by, cy = sign * ax, sign * bx, sign * cx, sign * ay, sign * by, sign * cy
    az, bz, cz, volume = sign * az, sign * bz, sign * cz, sign * volume
    least = _least(ax, bx), _least(ay, by), _least(az, bz)
    for row in range(np.int64(from_y), np.int64(to_y) + 1):
        y = row * SUBPIXEL + HALF
        for column in range(np.int64(from_x), np.int64(to_x) + 1):
            x = column * SUBPIXEL + HALF
            e0, e1, e2 = ax * x + (bx * y + cx), ay * x + (by * y + cy), az * x + (bz * y + cz)
            if e0 < least[0] or e1 < least[1] or e2 < least[2]:
                continue
            inverse = (e0 + e1 + e2) / volume
            n = np.uint64(((row - begin) * blocks + column // FEW) * BLOCK + column % FEW)
            if inverse * near <= 1.0 and np.float32(inverse) > picture[n]:
                picture[n], picture[n + np.uint64(FEW)] = np.float32(inverse), np.float32(face)
                picture[n + np.uint64(2 * FEW)] = np.float32(e0 / volume)
                picture[n + np.uint64(3 * FEW)] = np.float32(e1 / volume)
