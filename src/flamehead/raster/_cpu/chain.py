"""From sums over the pixels of a face to the gradients of its corners, through the barycentrics.

The barycentrics of a pixel are b, the gradient of its values v is G, and v_0 are the values at the first corner.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._grid import SUBPIXEL

__all__ = ["hand_down", "to_points"]


@compiled(nogil=True, error_model="numpy")
def hand_down(face, row, perspective, with_points, points, values, faces, sums):
    """Add a face's sums for three channels to its corners, see `blocks`: values to columns 0 to 2, positions after."""
    i, j, k = np.uint64(faces[face, 0]), np.uint64(faces[face, 1]), np.uint64(faces[face, 2])
    for c in range(3):
        sums[i, c] += row[c]
        sums[j, c] += row[3 + c]
        sums[k, c] += row[6 + c]
    if with_points:
        j0, k0 = np.float64(values[j, 0] - values[i, 0]), np.float64(values[k, 0] - values[i, 0])
        j1, k1 = np.float64(values[j, 1] - values[i, 1]), np.float64(values[k, 1] - values[i, 1])
        j2, k2 = np.float64(values[j, 2] - values[i, 2]), np.float64(values[k, 2] - values[i, 2])
        one = row[0] * j0 + row[1] * j1 + row[2] * j2, row[0] * k0 + row[1] * k1 + row[2] * k2, row[9]
        two = row[3] * j0 + row[4] * j1 + row[5] * j2, row[3] * k0 + row[4] * k1 + row[5] * k2, row[10]
        three = row[6] * j0 + row[7] * j1 + row[8] * j2, row[6] * k0 + row[7] * k1 + row[8] * k2, row[11]
        to_points(face, one, two, three, faces, 3, points, perspective, sums)


@compiled(nogil=True, error_model="numpy")
def to_points(face, first, second, third, faces, channels, points, perspective, sums):
    """Add the gradient through the barycentrics of one face to three columns from `channels` on.

    With h_k = z_k (x_k, y_k, 1) as rows of H, barycentrics b solve `H^T b ~ (px, py, 1)`, hence
    `dL/dh_k = -H^-1 (sum_c A_c S_kc - 1 T_k)`, where `S_kc` sums `b_k G_c` and `T_k` sums `b_k G.(v - v_0)` over the
    pixels. Values and positions count from the first corner, which leaves 2 x 2 systems. Under parallel projection z_k
    is 1. What comes in for each corner are `S_k.(v_1 - v_0)`, `S_k.(v_2 - v_0)` and `T_k`.
    """
    i, j, k = np.uint64(faces[face, 0]), np.uint64(faces[face, 1]), np.uint64(faces[face, 2])
    x0, y0 = _snap(points[i, 0]), _snap(points[i, 1])
    x1, y1 = _snap(points[j, 0]) - x0, _snap(points[j, 1]) - y0
    x2, y2 = _snap(points[k, 0]) - x0, _snap(points[k, 1]) - y0
    z0 = z1 = z2 = 1.0
    if perspective:
        z0, z1, z2 = np.float64(points[i, 2]), np.float64(points[j, 2]), np.float64(points[k, 2])
    area, product = x1 * y2 - x2 * y1, z0 * z1 * z2
    if area == 0.0 or product == 0.0 or not abs(area * product) < np.inf:
        return
    near = 1.0 / z0, 1.0 / z1, 1.0 / z2
    system = x1, y1, x2, y2, 1.0 / area
    _to_corner(i, first, (0.0, 0.0, z0), near, system, channels, perspective, sums)
    _to_corner(j, second, (x1, y1, z1), near, system, channels, perspective, sums)
    _to_corner(k, third, (x2, y2, z2), near, system, channels, perspective, sums)


@compiled(inline="always")
def _to_corner(vertex, slopes, place, near, system, channels, perspective, sums):
    (rise1, rise2, total), (x, y, z), (x1, y1, x2, y2, inverse) = slopes, place, system
    rise1, rise2 = rise1 * near[1] - total * (near[1] - near[0]), rise2 * near[2] - total * (near[2] - near[0])
    across, down, ahead = (rise1 * y2 - rise2 * y1) * inverse, (x1 * rise2 - x2 * rise1) * inverse, -total * near[0]
    sums[vertex, channels] -= z * across
    sums[vertex, channels + 1] -= z * down
    if perspective:
        sums[vertex, channels + 2] -= x * across + y * down + ahead


@compiled(inline="always")
def _snap(value):
    """The corner where the rasterizer put it, in pixels; NaN and infinity stay what they are."""
    return np.floor(np.float64(value) * SUBPIXEL + 0.5) / SUBPIXEL
