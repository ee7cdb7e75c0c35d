"""`interpolate` in numba, forward and backward.

The pixels of a picture are cut into bands, whose number depends on the size of the job alone; every band adds to
gradients of its own, which are summed in the order of the bands. So there are no atomics, and the bits are the same
whatever the number of threads. Within a band, sums stay in registers along a run of pixels that show one face.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._buffers import empty, empty_like
from flamehead.raster._compile import compiled
from flamehead.raster._grid import SUBPIXEL
from flamehead.raster._threads import ranges, run, threads_for

__all__ = ["interpolate", "interpolate_backward"]

_UNITS = 16
"""Bands in all pictures of a batch together, at most; a larger batch has one for each picture."""

_BAND = 1 << 15
"""Pixels in a band, at least."""

_FORWARD_SECONDS, _BACKWARD_SECONDS = 3e-9, 6e-9
"""What three channels of a pixel cost on one core, roughly; they only decide how many threads a job is worth."""


def interpolate(
    attributes: Float[Tensor, "A V C"],
    faces: Int[Tensor, "F 3"],
    face_ids: Int[Tensor, "B P"],
    barycentric: Float[Tensor, "B 3 P"],
    *,
    threads: int | None,
) -> Float[Tensor, "B P C"]:
    """Values at pixels; `A` is `B`, or 1 where all pictures share their values; everything contiguous."""
    size, pixels = face_ids.shape
    out = empty(size, pixels, attributes.shape[2], dtype=attributes.dtype)
    arrays = (x.detach().numpy() for x in (attributes, faces, face_ids, barycentric, out))
    bands = _bands(size, pixels)
    workers = threads_for(_work(out) * _FORWARD_SECONDS, threads)
    run(ranges(_spread, size * bands, workers, bands, *arrays), workers)
    return out


def interpolate_backward(
    gradient: Float[Tensor, "B P C"],
    attributes: Float[Tensor, "A V C"],
    points: Float[Tensor, "Q V 3"] | None,
    faces: Int[Tensor, "F 3"],
    face_ids: Int[Tensor, "B P"],
    barycentric: Float[Tensor, "B 3 P"],
    *,
    perspective: bool,
    threads: int | None,
) -> tuple[Float[Tensor, "A V C"], Float[Tensor, "Q V 3"] | None]:
    """Gradients with respect to attributes, and to points where they are given; everything contiguous."""
    size, pixels = face_ids.shape
    rows, channels = attributes.shape[1:]
    bands = _bands(size, pixels)
    sums = empty(size * bands, rows, channels + (0 if points is None else 3), dtype=torch.float64).numpy()
    corners = np.empty((1, 0, 3), np.float32) if points is None else points.detach().float().numpy()
    arrays = (x.detach().numpy() for x in (gradient, attributes, faces, face_ids, barycentric))
    workers = threads_for(_work(gradient) * _BACKWARD_SECONDS, threads)
    rows = min(len(faces), -(-pixels // bands)), 3 * channels + 3
    run(
        ranges(_collect_with_scratch, size * bands, workers, rows, (bands, perspective, corners, *arrays, sums)),
        workers,
    )
    by_values, by_points = empty_like(attributes), None if points is None else empty_like(points)
    for first, result in ((0, by_values), (channels, by_points)):
        if result is not None:
            _total(sums, first, result.numpy())
    return by_values, by_points


def _collect_with_scratch(first: int, last: int, rows: tuple[int, int], arguments: tuple) -> None:
    place = empty(len(arguments[5]), dtype=torch.int32)
    seen, table = empty(rows[0], dtype=torch.int32), empty(*rows, dtype=torch.float64)
    _collect(first, last, *arguments, place.numpy(), seen.numpy(), table.numpy())


def _bands(size: int, pixels: int) -> int:
    return max(1, min(pixels // _BAND, _UNITS // size)) if size else 1


def _work(values: Tensor) -> int:
    size, pixels, channels = values.shape
    return size * pixels * ((channels + 2) // 3)


@compiled(nogil=True)
def _spread(first, last, bands, attributes, faces, face_ids, barycentric, out):
    """Bands `first` to `last` of all pictures, three channels at a time."""
    pixels, channels = out.shape[1], out.shape[2]
    for unit in range(first, last):
        item, band = unit // bands, unit % bands
        start, stop = pixels * band // bands, pixels * (band + 1) // bands
        values = attributes[item if attributes.shape[0] > 1 else 0]
        for c in range(0, channels, 3):
            _spread_three(c, values, faces, face_ids[item, start:stop], barycentric[item, :, start:stop],
                          out[item, start:stop])  # fmt: skip


@compiled(nogil=True)
def _spread_three(c, values, faces, ids, barycentric, out):
    """Channels c, c + 1 and c + 2; those that are not there are the last one again."""
    d, e = min(c + 1, out.shape[1] - 1), min(c + 2, out.shape[1] - 1)
    zero = out.dtype.type(0)
    i0 = i1 = i2 = j0 = j1 = j2 = k0 = k1 = k2 = zero
    last = -1
    for pixel in range(ids.shape[0]):
        face = ids[pixel]
        if face < 0:
            out[pixel, c] = out[pixel, d] = out[pixel, e] = zero
            continue
        if face != last:
            last = face
            i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
            i0, i1, i2 = values[i, c], values[i, d], values[i, e]
            j0, j1, j2 = values[j, c], values[j, d], values[j, e]
            k0, k1, k2 = values[k, c], values[k, d], values[k, e]
        a, b, g = barycentric[0, pixel], barycentric[1, pixel], barycentric[2, pixel]
        out[pixel, c] = a * i0 + b * j0 + g * k0
        out[pixel, d] = a * i1 + b * j1 + g * k1
        out[pixel, e] = a * i2 + b * j2 + g * k2


@compiled(nogil=True)
def _collect(first, last, bands, perspective, points, gradient, attributes, faces, face_ids, barycentric, sums, place,
             seen, table):  # fmt: skip
    """Bands `first` to `last` of all pictures: sums per face first, then from faces to vertices.

    `place` says in which row of `table` a face's sums are kept, and `seen` whose row it is; faces get a row when they are
    seen first. A row holds the sum of `b_k G_c` for all channels c of corner k = 0, 1, 2, then of `b_k G.(v - v_0)`.
    """
    pixels, channels = gradient.shape[1], gradient.shape[2]
    with_points = sums.shape[2] > channels
    place[:] = -1
    for unit in range(first, last):
        item, band = unit // bands, unit % bands
        start, stop = pixels * band // bands, pixels * (band + 1) // bands
        values = attributes[item if attributes.shape[0] > 1 else 0]
        ids, weights = face_ids[item, start:stop], barycentric[item, :, start:stop]
        sums[unit] = 0.0
        count = 0
        for c in range(0, channels, 3):
            count = _collect_three(c, with_points, values, faces, ids, weights, gradient[item, start:stop], place,
                                   seen, table, count)  # fmt: skip
        for n in range(count):
            _to_vertices(seen[n], table[n], values, faces, channels, sums[unit])
            if with_points:
                corners = points[item if points.shape[0] > 1 else 0]
                _to_points(seen[n], table[n], values, faces, channels, corners, perspective, sums[unit])
            place[seen[n]] = -1


@compiled(nogil=True)
def _total(sums, first, out):
    """Sum over the bands of a picture in their order; over all pictures where they share one set of rows."""
    each = sums.shape[0] // out.shape[0]
    for n in range(out.shape[0]):
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                total = 0.0
                for unit in range(n * each, (n + 1) * each):
                    total += sums[unit, row, first + column]
                out[n, row, column] = total


@compiled(nogil=True)
def _collect_three(c, with_points, values, faces, ids, barycentric, gradient, place, seen, table, count):
    """Channels c, c + 1 and c + 2, missing ones as the last with gradient 0; returns how many rows are in use."""
    channels = gradient.shape[1]
    d, e = min(c + 1, channels - 1), min(c + 2, channels - 1)
    one, zero = gradient.dtype.type(1), gradient.dtype.type(0)
    keep_d, keep_e = one if d == c + 1 else zero, one if e == c + 2 else zero
    j0 = j1 = j2 = k0 = k1 = k2 = zero
    a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = t0 = t1 = t2 = zero
    last = np.int32(-1)
    for pixel in range(ids.shape[0] + 1):
        face = ids[pixel] if pixel < ids.shape[0] else np.int32(-1)
        if face != last:
            if last >= 0:
                if place[last] < 0:
                    place[last] = count
                    seen[count] = last
                    table[count] = 0.0
                    count += 1
                row, r = table[place[last]], 3 * channels
                row[c] += a0
                row[channels + c] += b0
                row[2 * channels + c] += c0
                if d == c + 1:
                    row[d] += a1
                    row[channels + d] += b1
                    row[2 * channels + d] += c1
                if e == c + 2:
                    row[e] += a2
                    row[channels + e] += b2
                    row[2 * channels + e] += c2
                row[r] += t0
                row[r + 1] += t1
                row[r + 2] += t2
            last = face
            if face >= 0:
                a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = t0 = t1 = t2 = zero
                i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
                # Values count from the first corner's, so that a large common offset cannot drown differences.
                i0, i1, i2 = values[i, c], values[i, d], values[i, e]
                j0, j1, j2 = values[j, c] - i0, values[j, d] - i1, values[j, e] - i2
                k0, k1, k2 = values[k, c] - i0, values[k, d] - i1, values[k, e] - i2
        if face < 0:
            continue
        u, v, w = barycentric[0, pixel], barycentric[1, pixel], barycentric[2, pixel]
        g0, g1, g2 = gradient[pixel, c], gradient[pixel, d] * keep_d, gradient[pixel, e] * keep_e
        a0 += u * g0
        a1 += u * g1
        a2 += u * g2
        b0 += v * g0
        b1 += v * g1
        b2 += v * g2
        c0 += w * g0
        c1 += w * g1
        c2 += w * g2
        if with_points:
            along = v * (g0 * j0 + g1 * j1 + g2 * j2) + w * (g0 * k0 + g1 * k1 + g2 * k2)
            t0 += u * along
            t1 += v * along
            t2 += w * along
    return count


@compiled(nogil=True)
def _to_vertices(face, row, values, faces, channels, sums):
    for corner in range(3):
        vertex = faces[face, corner]
        for channel in range(channels):
            sums[vertex, channel] += row[corner * channels + channel]


@compiled(nogil=True)
def _to_points(face, row, values, faces, channels, points, perspective, sums):
    """Add the gradient through the barycentrics of one face.

    With h_k = z_k (x_k, y_k, 1) as rows of H, barycentrics b solve `H^T b ~ (px, py, 1)`, hence
    `dL/dh_k = -H^-1 (sum_c A_c S_kc - 1 T_k)`, where `S_kc` sums `b_k G_c` and `T_k` sums `b_k G.v` over the pixels.
    Values and positions count from the first corner, which leaves 2 x 2 systems. Under parallel projection z_k is 1.
    """
    i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
    x0, y0 = _snap(points[i, 0]), _snap(points[i, 1])
    x1, y1 = _snap(points[j, 0]) - x0, _snap(points[j, 1]) - y0
    x2, y2 = _snap(points[k, 0]) - x0, _snap(points[k, 1]) - y0
    z0 = z1 = z2 = 1.0
    if perspective:
        z0, z1, z2 = np.float64(points[i, 2]), np.float64(points[j, 2]), np.float64(points[k, 2])
    area, product = x1 * y2 - x2 * y1, z0 * z1 * z2
    if area == 0.0 or product == 0.0 or not np.isfinite(area * product):
        return
    r = 3 * channels
    for corner in range(3):
        total = row[r + corner]
        rise1, rise2 = -total * (1.0 / z1 - 1.0 / z0), -total * (1.0 / z2 - 1.0 / z0)
        for c in range(channels):
            start, g = np.float64(values[i, c]), row[corner * channels + c]
            rise1 += (values[j, c] - start) * g / z1
            rise2 += (values[k, c] - start) * g / z2
        across, down, ahead = (rise1 * y2 - rise2 * y1) / area, (x1 * rise2 - x2 * rise1) / area, -total / z0
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
