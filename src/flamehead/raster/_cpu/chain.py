"""From sums over the pixels of a face to the gradients of its corners, through the barycentrics.

The barycentrics of a pixel are b, the gradient of its values v is G, and v_0 are the values at the first corner.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.lanes import FEW, as_doubles, as_floats, down, least, order, pick, spread, store, take
from flamehead.raster._grid import SUBPIXEL

__all__ = ["ROW", "hand_down", "store_corners", "three_of", "to_corners", "to_points"]


ROW = 16
"""Numbers for a face: for each corner k the sums of `b_k G_c` over the channels c, then those of `b_k G.(v - v_0)`, and
nothing in the last four."""


@compiled(nogil=True, error_model="numpy")
def hand_down(count, chosen, rows, perspective, with_points, points, values, faces, sums):
    """Add the sums of `count` faces for three channels, see `blocks`, to their corners, eight faces at a time.

    Values go to columns 0 to 2 of `sums`, positions to those after; points and values are float32.
    """
    parts = np.empty(18 * FEW, np.float32)
    three, one, two, width = spread(np.int32(3)), spread(np.int32(1)), spread(np.int32(2)), spread(np.int32(ROW))
    for n in range(0, count, FEW):
        here = least(order() + spread(np.int32(n)), spread(np.int32(count - 1)))
        first, at = three * take(chosen, here), width * here
        i, j, k = take(faces, first), take(faces, first + one), take(faces, first + two)
        a, b, c = three_of(rows, at), three_of(rows, at + three), three_of(rows, at + three + three)
        _keep(parts, 0, a)
        _keep(parts, 6, b)
        _keep(parts, 12, c)
        if with_points:
            t0, t1, t2 = three_of(rows, at + three + three + three)
            start = three_of(values, three * i)
            to_j, to_k = _minus(three_of(values, three * j), start), _minus(three_of(values, three * k), start)
            corners = three_of(points, three * i), three_of(points, three * j), three_of(points, three * k)
            rises = (_dot(a, to_j), _dot(a, to_k), t0), (_dot(b, to_j), _dot(b, to_k), t1), (
                _dot(c, to_j), _dot(c, to_k), t2)  # fmt: skip
            for_i, for_j, for_k = to_corners(rises, corners, perspective)
            _keep(parts, 3, for_i)
            _keep(parts, 9, for_j)
            _keep(parts, 15, for_k)
        columns = 6 if with_points else 3
        for lane in range(min(FEW, count - n)):
            face = np.uint64(chosen[n + lane])
            for corner in range(3):
                vertex, part = np.uint64(faces[face, corner]), np.uint64(6 * FEW * corner + lane)
                for column in range(columns):
                    sums[vertex, column] += parts[part + np.uint64(FEW * column)]


@compiled(inline="always")
def three_of(table, at):
    """Three numbers in a row of a table, as float64."""
    return (
        as_doubles(take(table, at)), as_doubles(take(table, at + spread(np.int32(1)))),
        as_doubles(take(table, at + spread(np.int32(2)))),
    )  # fmt: skip


@compiled(inline="always")
def _keep(parts, column, three):
    x, y, z = three
    store(parts, np.uint64(column * FEW), as_floats(x))
    store(parts, np.uint64(column * FEW + FEW), as_floats(y))
    store(parts, np.uint64(column * FEW + 2 * FEW), as_floats(z))


@compiled(inline="always")
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled(inline="always")
def _minus(a, b):
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@compiled(nogil=True, error_model="numpy")
def to_points(count, chosen, rises, faces, channels, points, perspective, sums):
    """Add the gradients through the barycentrics of `count` faces to three columns of `sums` from `channels` on.

    Rows of `rises` (., 9), float64, are those of `to_corners` for a face.
    """
    parts = np.empty(9 * FEW)
    three, one, two = spread(np.int32(3)), spread(np.int32(1)), spread(np.int32(2))
    for n in range(0, count, FEW):
        here = least(order() + spread(np.int32(n)), spread(np.int32(count - 1)))
        first, at = three * take(chosen, here), spread(np.int32(9)) * here
        i, j, k = take(faces, first), take(faces, first + one), take(faces, first + two)
        corners = three_of(points, three * i), three_of(points, three * j), three_of(points, three * k)
        slopes = three_of(rises, at), three_of(rises, at + three), three_of(rises, at + three + three)
        gradients = to_corners(slopes, corners, perspective)
        store_corners(parts, gradients)
        for lane in range(min(FEW, count - n)):
            for corner in range(3):
                vertex = faces[chosen[n + lane], corner]
                for axis in range(3):
                    sums[vertex, channels + axis] += parts[(3 * corner + axis) * FEW + lane]


@compiled(inline="always")
def to_corners(rises, corners, perspective):
    """The gradients that corners of eight faces get through the barycentrics; zeros where a face has no area.

    With h_k = z_k (x_k, y_k, 1) as rows of H, barycentrics b solve `H^T b ~ (px, py, 1)`, hence
    `dL/dh_k = -H^-1 (sum_c A_c S_kc - 1 T_k)`, where `S_kc` sums `b_k G_c` and `T_k` sums `b_k G.(v - v_0)` over the
    pixels. Values and positions count from the first corner, which leaves 2 x 2 systems. Under parallel projection z_k
    is 1. What comes in for each corner are `S_k.(v_1 - v_0)`, `S_k.(v_2 - v_0)` and `T_k`, and its x, y and z.
    """
    half, grid, back, one, zero = spread(0.5), spread(SUBPIXEL), spread(1.0 / SUBPIXEL), spread(1.0), spread(0.0)
    # Corners are where the rasterizer put them.
    x0, y0 = down(corners[0][0] * grid + half) * back, down(corners[0][1] * grid + half) * back
    x1, y1 = down(corners[1][0] * grid + half) * back - x0, down(corners[1][1] * grid + half) * back - y0
    x2, y2 = down(corners[2][0] * grid + half) * back - x0, down(corners[2][1] * grid + half) * back - y0
    z0, z1, z2 = (corners[0][2], corners[1][2], corners[2][2]) if perspective else (one, one, one)
    area, product = x1 * y2 - x2 * y1, z0 * z1 * z2
    size = area * product
    fine = ((size > zero) | (size < zero)) & (size < spread(np.inf)) & (size > spread(-np.inf))
    system, near = (x1, y1, x2, y2, one / area), (one / z0, one / z1, one / z2)
    return (
        _to_corner(rises[0], (zero, zero, z0), near, system, fine, perspective),
        _to_corner(rises[1], (x1, y1, z1), near, system, fine, perspective),
        _to_corner(rises[2], (x2, y2, z2), near, system, fine, perspective),
    )


@compiled(inline="always")
def _to_corner(slopes, place, near, system, fine, perspective):
    (rise1, rise2, total), (x, y, z), (x1, y1, x2, y2, inverse) = slopes, place, system
    rise1, rise2 = rise1 * near[1] - total * (near[1] - near[0]), rise2 * near[2] - total * (near[2] - near[0])
    across, along = (rise1 * y2 - rise2 * y1) * inverse, (x1 * rise2 - x2 * rise1) * inverse
    zero = spread(0.0)
    ahead = total * near[0] - x * across - y * along if perspective else zero
    return pick(fine, zero - z * across, zero), pick(fine, zero - z * along, zero), pick(fine, ahead, zero)


@compiled(inline="always")
def store_corners(parts, gradients):
    """Three numbers of three corners, each in eight lanes, to `parts` (72) of float64."""
    one, two, three = gradients
    _store_three(parts, 0, one)
    _store_three(parts, 3, two)
    _store_three(parts, 6, three)


@compiled(inline="always")
def _store_three(parts, column, three):
    x, y, z = three
    store(parts, np.uint64(column * FEW), x)
    store(parts, np.uint64(column * FEW + FEW), y)
    store(parts, np.uint64(column * FEW + 2 * FEW), z)
