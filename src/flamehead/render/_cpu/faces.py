"""What is worked out once for each face before and after the pixels of `deferred`."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.chain import store_corners, three_of, to_corners
from flamehead.raster._cpu.lanes import FEW, as_doubles, least, order, spread, take, take_eights

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
    parts, count, flat, shown = np.empty(9 * FEW), seen.shape[0], rows.reshape(-1), table.reshape(-1)
    three, one, two = spread(np.int32(3)), spread(np.int32(1)), spread(np.int32(2))
    eight = spread(np.int32(8))
    for n in range(0, count, FEW):
        here = least(order() + spread(np.int32(n)), spread(np.int32(count - 1)))
        first, at = three * take(seen, here), spread(np.int32(ROW)) * here
        c0, c1, c2 = take(faces, first), take(faces, first + one), take(faces, first + two)
        known = take_eights(shown, eight * c0), take_eights(shown, eight * c1), take_eights(shown, eight * c2)
        sums = take_eights(flat, at), take_eights(flat, at + eight), take_eights(flat, at + eight + eight)
        rises = _rise(sums[0], known), _rise(sums[1], known), _rise(sums[2], known)
        i, j, k = take(vertex_rows, c0), take(vertex_rows, c1), take(vertex_rows, c2)
        corners = three_of(points, three * i), three_of(points, three * j), three_of(points, three * k)
        store_corners(parts, to_corners(rises, corners, perspective))
        for lane in range(min(FEW, count - n)):
            row, face = np.uint64(n + lane), np.uint64(seen[n + lane])
            for corner in range(3):
                place, column = np.uint64(faces[np.uint64(3) * face + np.uint64(corner)]), np.uint64(8 * corner)
                vertex, spot, part = np.uint64(vertex_rows[place]), np.uint64(uv_rows[place]), 3 * corner * FEW + lane
                for c in range(3):
                    by_vertex[vertex, np.uint64(c)] += rows[row, column + np.uint64(c)]
                    by_vertex[vertex, np.uint64(3 + c)] += parts[np.uint64(part + c * FEW)]
                by_uv[spot, 0] += rows[row, column + np.uint64(3)]
                by_uv[spot, 1] += rows[row, column + np.uint64(4)]


@compiled(inline="always")
def _rise(sums, known):
    """`S.(v_1 - v_0)`, `S.(v_2 - v_0)` and `T` of one corner of eight faces, from its sums and the values at all."""
    s0, s1, s2, s3, s4 = (
        as_doubles(sums[0]), as_doubles(sums[1]), as_doubles(sums[2]), as_doubles(sums[3]), as_doubles(sums[4])
    )  # fmt: skip
    (a0, a1, a2, a3, a4), one, two = _first_five(known[0]), _first_five(known[1]), _first_five(known[2])
    return (
        (one[0] - a0) * s0 + (one[1] - a1) * s1 + (one[2] - a2) * s2 + (one[3] - a3) * s3 + (one[4] - a4) * s4,
        (two[0] - a0) * s0 + (two[1] - a1) * s1 + (two[2] - a2) * s2 + (two[3] - a3) * s3 + (two[4] - a4) * s4,
        as_doubles(sums[5]),
    )


@compiled(inline="always")
def _first_five(values):
    return (
        as_doubles(values[0]), as_doubles(values[1]), as_doubles(values[2]), as_doubles(values[3]),
        as_doubles(values[4]),
    )  # fmt: skip
