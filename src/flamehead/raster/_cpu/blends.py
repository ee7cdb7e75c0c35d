"""Mixing the colours of pixel pairs in numba, and its derivatives; pairs are those of `raster._silhouette.Pairs`."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.blocks import fetch_pixels
from flamehead.raster._cpu.chain import ROW, hand_down

__all__ = ["blend", "blend_backward", "blend_in_place", "collect_blends", "move", "to_and_source"]

_TOGETHER, _AHEAD = 64, 8
"""Pixels whose gradients are handed to corners together, and pairs for which memory is asked before they are read."""


@compiled(nogil=True)
def blend(image, numbers, values, out, differences):
    """Mix pairs into `out`, a copy of `image` (P, C), and keep what the backward pass needs."""
    for n in range(numbers.shape[0]):
        to, source = to_and_source(numbers, values, n)
        share = values[n, 1] * abs(values[n, 0] - 0.5)
        for channel in range(image.shape[1]):
            difference = image[source, channel] - image[to, channel]
            differences[n, channel] = difference
            out[to, channel] += share * difference


@compiled(nogil=True)
def blend_backward(gradient, numbers, values, differences, by_image, by_points):
    """Add to `by_image`, a copy of `gradient` (P, C), and to `by_points` (V, 3)."""
    for n in range(numbers.shape[0]):
        to, source = to_and_source(numbers, values, n)
        share, total = values[n, 1] * abs(values[n, 0] - 0.5), 0.0
        for channel in range(gradient.shape[1]):
            g = gradient[to, channel]
            total += g * differences[n, channel]
            by_image[to, channel] -= share * g
            by_image[source, channel] += share * g
        total *= values[n, 1] if values[n, 0] >= 0.5 else -values[n, 1]
        move(numbers[n], values[n], total, 0, by_points)


@compiled(nogil=True)
def blend_in_place(image, numbers, values, differences):
    """`blend` of an image that nobody else has: first all differences, then all changes."""
    for n in range(numbers.shape[0]):
        to, source = to_and_source(numbers, values, n)
        for channel in range(image.shape[1]):
            differences[n, channel] = image[source, channel] - image[to, channel]
    for n in range(numbers.shape[0]):
        to, _ = to_and_source(numbers, values, n)
        share = values[n, 1] * abs(values[n, 0] - 0.5)
        for channel in range(image.shape[1]):
            image[to, channel] += share * differences[n, channel]


@compiled(inline="always")
def to_and_source(numbers, values, n):
    """Which pixel of a pair changes, and whose colour it takes."""
    return (numbers[n, 0], numbers[n, 1]) if values[n, 0] < 0.5 else (numbers[n, 1], numbers[n, 0])


@compiled(nogil=True, error_model="numpy")
def collect_blends(perspective, points, gradient, colors, faces, ids, barycentric, numbers, values, differences, sums):
    """What the blend adds to the gradients of vertices: sums (V, 3 or 6) of three colours, then of positions.

    The gradient before the blend is that after it, but for two pixels of every pair. As the rest of the way back is
    linear, those changes go it alone, and no picture is copied: each is like a face that is seen on one pixel.
    `gradient` and `barycentric` (three planes) are flat; rows are those of `blocks.collect_faces`.
    """
    with_points, plane, size = sums.shape[1] > 3, ids.shape[0], numbers.shape[0]
    chosen, rows, count = np.empty(_TOGETHER, np.int32), np.empty((_TOGETHER, ROW)), 0
    sums[:] = 0.0
    for n in range(size):
        if n + _AHEAD < size:
            for end in range(2):
                fetch_pixels(numbers[n + _AHEAD, end], gradient, ids, barycentric)
        to, source = to_and_source(numbers, values, n)
        share, at = values[n, 1] * abs(values[n, 0] - 0.5), 3 * np.int64(to)
        g0, g1, g2 = np.float64(gradient[at]), np.float64(gradient[at + 1]), np.float64(gradient[at + 2])
        if with_points:
            total = g0 * differences[n, 0] + g1 * differences[n, 1] + g2 * differences[n, 2]
            total *= values[n, 1] if values[n, 0] >= 0.5 else -values[n, 1]
            move(numbers[n], values[n], total, 3, sums)
        for pixel, part in ((to, -share), (source, share)):
            face = ids[pixel]
            if face < 0 or part == 0.0:
                continue
            u, v, w = barycentric[pixel], barycentric[pixel + plane], barycentric[pixel + 2 * plane]
            _set(u, v, w, part * g0, part * g1, part * g2, face, colors, faces, rows[count])
            chosen[count] = face
            count += 1
        if count > _TOGETHER - 2:
            hand_down(count, chosen, rows, perspective, with_points, points, colors, faces, sums)
            count = 0
    hand_down(count, chosen, rows, perspective, with_points, points, colors, faces, sums)


@compiled(inline="always")
def _set(u, v, w, g0, g1, g2, face, colors, faces, row):
    """One pixel, with barycentrics u, v, w and gradient g."""
    i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
    along_j = along_k = 0.0
    for c, g in ((0, g0), (1, g1), (2, g2)):
        row[c], row[3 + c], row[6 + c] = u * g, v * g, w * g
        # Values count from the first corner's, so that a large common offset cannot drown differences.
        along_j += g * np.float64(colors[j, c] - colors[i, c])
        along_k += g * np.float64(colors[k, c] - colors[i, c])
    along = v * along_j + w * along_k
    row[9], row[10], row[11] = u * along, v * along, w * along


@compiled(inline="always")
def move(numbers, values, total, column, sums):
    """Add what an edge's ends get, where the crossing's own gradient is `total`, to columns x and y."""
    place, slope = values[2], values[3]
    axis, low, high = numbers[2], numbers[3], numbers[4]
    sums[low, column + axis] += total * (1.0 - place)
    sums[high, column + axis] += total * place
    sums[low, column + 1 - axis] -= total * (1.0 - place) * slope
    sums[high, column + 1 - axis] -= total * place * slope
