"""From sums over the pixels of a face to the gradients of its corners.

A row holds sums of `b_k G_c` for the channels c of corners k = 0, 1, 2, then of `b_k G.(v - v_0)`, where b are the
barycentrics of a pixel, G the gradient of its values v, and v_0 the values at the first corner.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._grid import SUBPIXEL

__all__ = ["to_points", "to_vertices"]


@compiled(nogil=True)
def to_vertices(face, row, faces, channels, sums):
    """Add the gradients of the values at the corners."""
    for corner in range(3):
        vertex = np.uint64(faces[face, corner])
        for channel in range(channels):
            sums[vertex, channel] += row[corner * channels + channel]


@compiled(nogil=True)
def to_points(face, row, values, faces, channels, points, perspective, sums):
    """Add the gradient through the barycentrics of one face.

    With h_k = z_k (x_k, y_k, 1) as rows of H, barycentrics b solve `H^T b ~ (px, py, 1)`, hence
    `dL/dh_k = -H^-1 (sum_c A_c S_kc - 1 T_k)`, where `S_kc` sums `b_k G_c` and `T_k` sums `b_k G.v` over the pixels.
    Values and positions count from the first corner, which leaves 2 x 2 systems. Under parallel projection z_k is 1.
    """
    i, j, k = np.uint64(faces[face, 0]), np.uint64(faces[face, 1]), np.uint64(faces[face, 2])
    x0, y0 = _snap(points[i, 0]), _snap(points[i, 1])
    x1, y1 = _snap(points[j, 0]) - x0, _snap(points[j, 1]) - y0
    x2, y2 = _snap(points[k, 0]) - x0, _snap(points[k, 1]) - y0
    z0 = z1 = z2 = 1.0
    if perspective:
        z0, z1, z2 = np.float64(points[i, 2]), np.float64(points[j, 2]), np.float64(points[k, 2])
    area, product = x1 * y2 - x2 * y1, z0 * z1 * z2
    if area == 0.0 or product == 0.0 or not np.isfinite(area * product):
        return
    inverse, near0, near1, near2, r = 1.0 / area, 1.0 / z0, 1.0 / z1, 1.0 / z2, 3 * channels
    for corner in range(3):
        total, rise1, rise2 = row[r + corner], 0.0, 0.0
        for c in range(channels):
            start, g = np.float64(values[i, c]), row[corner * channels + c]
            rise1 += (values[j, c] - start) * g
            rise2 += (values[k, c] - start) * g
        rise1, rise2 = rise1 * near1 - total * (near1 - near0), rise2 * near2 - total * (near2 - near0)
        across, down, ahead = (rise1 * y2 - rise2 * y1) * inverse, (x1 * rise2 - x2 * rise1) * inverse, -total * near0
        vertex, x, y, z = i, 0.0, 0.0, z0
        if corner == 1:
            vertex, x, y, z = j, x1, y1, z1
        elif corner == 2:
            vertex, x, y, z = k, x2, y2, z2
        sums[vertex, channels] -= z * across
        sums[vertex, channels + 1] -= z * down
        if perspective:
            sums[vertex, channels + 2] -= x * across + y * down + ahead


@compiled(inline="always")
def _snap(value):
    """The corner where the rasterizer put it, in pixels; NaN and infinity stay what they are."""
    return np.floor(np.float64(value) * SUBPIXEL + 0.5) / SUBPIXEL
