"""What is worked out once for each face before and after the pixels of `deferred`."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._grid import SUBPIXEL

__all__ = ["ROW", "corners", "hand_out", "steps"]

ROW = 24
"""Numbers kept for a face: for each corner k the sums of `b_k G` over the five values shown and of `b_k G.(v - v_0)`,
padded to 8; G is the gradient of the values v, and b_k the corner's share."""


@compiled(nogil=True)
def corners(normals, vertex_rows, uv, uv_rows, out):
    """Normal, then texture coordinates, in rows of 8."""
    for n in range(vertex_rows.shape[0]):
        vertex, place = vertex_rows[n], uv_rows[n]
        out[n, 0], out[n, 1], out[n, 2] = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2]
        out[n, 3], out[n, 4] = uv[place, 0], uv[place, 1]
        out[n, 5] = out[n, 6] = out[n, 7] = np.float32(0.0)


@compiled(nogil=True, error_model="numpy")
def steps(first, last, points, faces, uv, uv_faces, perspective, width, height, out):
    """How `u / z`, `v / z` and `1 / z` change along x and y on each face, u and v in texels; rows of 8."""
    for face in range(first, last):
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        x0, y0 = np.float64(points[i, 0]), np.float64(points[i, 1])
        x1, y1, x2, y2 = points[j, 0] - x0, points[j, 1] - y0, points[k, 0] - x0, points[k, 1] - y0
        scale = 1.0 / (x1 * y2 - x2 * y1)
        w0, w1, w2 = scale, scale, scale
        if perspective:
            w0, w1, w2 = scale / points[i, 2], scale / points[j, 2], scale / points[k, 2]
        px0, px1, px2 = (y1 - y2) * w0, y2 * w1, -y1 * w2
        py0, py1, py2 = (x2 - x1) * w0, -x2 * w1, x1 * w2
        a, b, c = uv_faces[face, 0], uv_faces[face, 1], uv_faces[face, 2]
        out[face, 0] = width * (px0 * uv[a, 0] + px1 * uv[b, 0] + px2 * uv[c, 0])
        out[face, 1] = width * (py0 * uv[a, 0] + py1 * uv[b, 0] + py2 * uv[c, 0])
        out[face, 2] = height * (px0 * uv[a, 1] + px1 * uv[b, 1] + px2 * uv[c, 1])
        out[face, 3] = height * (py0 * uv[a, 1] + py1 * uv[b, 1] + py2 * uv[c, 1])
        out[face, 4], out[face, 5] = px0 + px1 + px2, py0 + py1 + py2


@compiled(nogil=True, error_model="numpy")
def hand_out(seen, rows, faces, vertex_rows, uv_rows, table, points, perspective, by_vertex, by_uv):
    """Add the sums of faces to their corners: six columns for normal and position, two for texture coordinates."""
    for n in range(seen.shape[0]):
        face = seen[n]
        for k in range(3):
            corner = faces[face, k]
            vertex, place = vertex_rows[corner], uv_rows[corner]
            for c in range(3):
                by_vertex[vertex, c] += rows[n, 8 * k + c]
            by_uv[place, 0] += rows[n, 8 * k + 3]
            by_uv[place, 1] += rows[n, 8 * k + 4]
        _to_points(face, rows[n], faces, vertex_rows, table, points, perspective, by_vertex)


@compiled(nogil=True, error_model="numpy")
def _to_points(face, row, faces, vertex_rows, table, points, perspective, by_vertex):
    """Add the gradient through the barycentrics of one face.

    With h_k = z_k (x_k, y_k, 1) as rows of H, barycentrics b solve `H^T b ~ (px, py, 1)`, hence
    `dL/dh_k = -H^-1 (sum_c A_c S_kc - 1 T_k)`, where `S_kc` sums `b_k G_c` and `T_k` sums `b_k G.v` over the pixels.
    Values and positions count from the first corner, which leaves 2 x 2 systems. Under parallel projection z_k is 1.
    """
    first, second, third = faces[face, 0], faces[face, 1], faces[face, 2]
    i, j, k = vertex_rows[first], vertex_rows[second], vertex_rows[third]
    x0, y0 = _snap(points[i, 0]), _snap(points[i, 1])
    x1, y1 = _snap(points[j, 0]) - x0, _snap(points[j, 1]) - y0
    x2, y2 = _snap(points[k, 0]) - x0, _snap(points[k, 1]) - y0
    z0 = z1 = z2 = 1.0
    if perspective:
        z0, z1, z2 = np.float64(points[i, 2]), np.float64(points[j, 2]), np.float64(points[k, 2])
    area, product = x1 * y2 - x2 * y1, z0 * z1 * z2
    if area == 0.0 or product == 0.0 or not np.isfinite(area * product):
        return
    scale, over0, over1, over2 = 1.0 / area, 1.0 / z0, 1.0 / z1, 1.0 / z2
    for corner in range(3):
        total = np.float64(row[8 * corner + 5])
        rise1, rise2 = -total * (over1 - over0), -total * (over2 - over0)
        for c in range(5):
            start, g = np.float64(table[first, c]), np.float64(row[8 * corner + c])
            rise1 += (table[second, c] - start) * g * over1
            rise2 += (table[third, c] - start) * g * over2
        across, down = (rise1 * y2 - rise2 * y1) * scale, (x1 * rise2 - x2 * rise1) * scale
        ahead = -total * over0
        vertex, x, y, z = i, 0.0, 0.0, z0
        if corner == 1:
            vertex, x, y, z = j, x1, y1, z1
        elif corner == 2:
            vertex, x, y, z = k, x2, y2, z2
        by_vertex[vertex, 3] -= z * across
        by_vertex[vertex, 4] -= z * down
        if perspective:
            by_vertex[vertex, 5] -= x * across + y * down + ahead


@compiled(inline="always")
def _snap(value):
    """The corner where the rasterizer put it, in pixels; NaN and infinity stay what they are."""
    return np.floor(np.float64(value) * SUBPIXEL + 0.5) / SUBPIXEL
