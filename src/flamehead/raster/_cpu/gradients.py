"""`interpolate` in numba, backward.

The work on a picture is cut into bands, whose number depends on the size of the job alone; every band adds to
gradients of its own, which are summed in the order of the bands. So there are no atomics, and the bits are the same
whatever the number of threads. Three channels of float32 whose faces can be found on the screen go through
`blocks`, and bands are lists of faces; the kernels here serve everything, and their bands are pixels: sums stay in
registers along a run of pixels that show one face.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._buffers import empty, empty_like
from flamehead.raster._compile import compiled
from flamehead.raster._cpu import blocks
from flamehead.raster._cpu.blends import blend_backward, collect_blends
from flamehead.raster._cpu.chain import to_points as add_points
from flamehead.raster._cpu.fork import ALONE, fork, share, ticket
from flamehead.raster._cpu.lanes import FEW, load, store
from flamehead.raster._cpu.spread import UNITS, Seen, bands_for, work
from flamehead.raster._pixels import Pixels
from flamehead.raster._threads import ranges, run, threads_for

__all__ = ["Blends", "interpolate_backward"]

_LISTS, _LISTED = 5, 1 << 14
"""Lists of faces in a picture, at most, and their pixels, at least; each list has sums for all vertices."""

_SECONDS = 6e-9
"""What three channels of a pixel cost on one core, roughly; it only decides how many threads a job is worth."""


class Blends(NamedTuple):
    """How pairs of pixels of one picture were mixed, see `raster._silhouette.Pairs`, and by how much they differed."""

    numbers: Int[np.ndarray, "N 5"]
    values: Float[np.ndarray, "N 4"]
    differences: Float[np.ndarray, "N C"]


def interpolate_backward(
    gradient: Float[Tensor, "B P C"],
    attributes: Float[Tensor, "A V C"],
    points: Float[Tensor, "Q V 3"] | None,
    faces: Int[np.ndarray, "F 3"],
    pixels: Pixels,
    *,
    to_points: bool,
    seen: Seen | None,
    perspective: bool,
    threads: int | None,
    blends: Sequence[Blends] | None = None,
) -> tuple[Float[Tensor, "A V C"], Float[Tensor, "Q V 3"] | None]:
    """Gradients with respect to attributes, and to points where that is wanted; everything contiguous.

    With `blends`, one for each picture, the gradient is that of the blended picture, and points are moved by it too.
    """
    (size, height, width), (rows, channels) = pixels.ids.shape, attributes.shape[1:]
    by_values, by_points = empty_like(attributes), empty_like(points) if to_points and points is not None else None
    corners = np.empty((1, 0, 3), np.float32) if points is None else points.detach().float().numpy()
    fixed = faces, pixels.ids.reshape(size, height * width), pixels.planes
    arrays = gradient.detach().numpy(), attributes.detach().numpy(), *fixed
    workers = threads_for(work(gradient) * _SECONDS, threads)
    bands, columns = bands_for(size, height * width), channels + (0 if by_points is None else 3)
    results = [(first, each) for first, each in ((0, by_values), (channels, by_points)) if each is not None]
    if seen is not None and points is not None and gradient.dtype == torch.float32:
        few = max(1, min(_LISTS, height * width // _LISTED, UNITS // max(1, size)))
        tables = few + (blends is not None)
        # A vertex has few faces, whose sums come rounded: float32 is enough, and half as much to move.
        sums = empty(size * tables, rows, columns, dtype=torch.float32).numpy()
        listed = _Listed(seen, pixels.rest, few, width, perspective, workers, blends)
        if listed.collect(corners, arrays, sums, by_values.numpy(), None if by_points is None else by_points.numpy()):
            if size != 1:
                _hand_out(sums, size, tables, results)
            return by_values, by_points
        # Some face is not where its corners are: one of them is behind the camera, or the points are others.
    moved = None
    if blends is not None:
        gradient, moved = _unblend(gradient, blends, rows)
        arrays = gradient.numpy(), *arrays[1:]
    sums = empty(size * bands, rows, columns, dtype=torch.float64).numpy()
    table = min(len(faces), -(-height * width // bands)), 3 * channels + 3
    common = bands, perspective, corners, *arrays, sums
    run(ranges(_collect_with_scratch, size * bands, workers, table, common), workers)
    _hand_out(sums, size, bands, results)
    if moved is not None and by_points is not None:
        by_points += moved if len(by_points) == size else moved.sum(0, keepdim=True)
    return by_values, by_points


def _unblend(gradient: Tensor, blends: Sequence[Blends], rows: int) -> tuple[Tensor, Tensor]:
    """Gradients before the blend, of picture and points."""
    before, moved = empty_like(gradient).copy_(gradient), gradient.new_zeros(len(gradient), rows, 3).double()
    for n, each in enumerate(blends):
        blend_backward(gradient[n].numpy(), *each, before[n].numpy(), moved[n].numpy())
    return before, moved


class _Listed(NamedTuple):
    """The way back through `blocks`: lists of faces, each with sums of its own, and a table for blends."""

    seen: Seen
    rest: bool
    lists: int
    width: int
    perspective: bool
    workers: int
    blends: Sequence[Blends] | None

    def collect(
        self,
        points: np.ndarray,
        arrays: tuple[np.ndarray, ...],
        sums: np.ndarray,
        by_values: np.ndarray,
        by_points: np.ndarray | None,
    ) -> bool:
        """Fill `sums`, and whether all pixels were found; a single picture's are handed out too."""
        gradient, values, faces, ids, barycentric = arrays
        tables, wanted = len(sums) // max(1, len(ids)), self.seen.pixels
        found, jobs, alone = np.zeros(len(sums), dtype=np.int64), [], len(ids) == 1
        into = by_values[0] if alone else _no_rows(), by_points[0] if alone and by_points is not None else _no_rows()
        for n in range(len(ids)):
            corners, colors = points[n if len(points) > 1 else 0], values[n if len(values) > 1 else 0]
            places = self.seen.arrange(n, self.width, len(ids[n]) // self.width, self.perspective, corners, faces)
            mine = slice(n * tables, n * tables + tables)
            picture = (
                np.zeros(2, dtype=np.int64), self.perspective, corners, gradient[n].reshape(-1), colors, faces, ids[n],
                barycentric[n], self.rest, *(_nothing() if self.blends is None else self.blends[n]), *places,
                self.width, self.lists, sums[mine], found[mine], wanted if alone else -1, *into,
            )  # fmt: skip
            if alone:
                share(collect_together, min(self.workers, tables), *picture)
            else:
                jobs += [partial(collect_together, ALONE, *picture)] * min(self.workers, tables)
        run(jobs, self.workers)
        return int(found.sum()) == wanted


@cache
def _nothing() -> Blends:
    return Blends(np.empty((0, 5), np.int32), np.empty((0, 4)), np.empty((0, 3), np.float32))


@cache
def _no_rows() -> np.ndarray:
    return np.empty((0, 3), np.float32)


@compiled(nogil=True)
def collect_together(crew, counters, perspective, points, gradient, values, faces, ids, barycentric, rest, numbers,
                     crossings, differences, chosen, boxes, before, width, lists, sums, found, wanted, by_values,
                     by_points):  # fmt: skip
    """Sums by lists of faces and of blends, and those handed out where they are of `wanted` pixels.

    Returns what `fork` does. The table of blends comes first where there is one. Counters are of tables that have been
    begun and of those that have ended.
    """
    picture, pairs = (gradient, values, faces, ids, barycentric, rest), (numbers, crossings, differences)
    places, results = (chosen, boxes, before, width), (sums, found, wanted, by_values, by_points)
    return fork(crew, _collect_units, (counters, perspective, points, picture, pairs, places, lists, results))


@compiled(nogil=True)
def _collect_units(counters, perspective, points, picture, pairs, places, lists, results):
    gradient, values, faces, ids, barycentric, rest = picture
    chosen, boxes, before, width = places
    sums, found, wanted, by_values, by_points = results
    work = before[before.shape[0] - 1]
    while True:
        unit = ticket(counters, 0)
        if unit >= sums.shape[0]:
            return
        band = unit - (sums.shape[0] - lists)
        if band < 0:
            numbers, crossings, differences = pairs
            collect_blends(perspective, points, gradient, values, faces, ids, barycentric, numbers, crossings,
                           differences, sums[unit])  # fmt: skip
        else:
            first = np.searchsorted(before, work * band // lists)
            last = np.searchsorted(before, work * (band + 1) // lists)
            found[unit] = blocks.collect_faces(chosen[first:last], boxes[first:last], width, perspective, points,
                                               gradient, values, faces, ids, barycentric, rest, sums[unit])  # fmt: skip
        if ticket(counters, 1) == sums.shape[0] - 1 and found.sum() == wanted:
            _hand_out_one(sums, by_values, by_points)


@compiled(nogil=True)
def _hand_out_one(sums, by_values, by_points):
    """Sum the tables of one picture in their order."""
    first = sums[0].reshape(-1)
    whole = first.shape[0] - first.shape[0] % FEW
    for table in range(1, sums.shape[0]):
        other = sums[table].reshape(-1)
        for n in range(0, whole, FEW):
            at = np.uint64(n)
            store(first, at, load(first, at) + load(other, at))
        for n in range(whole, first.shape[0]):
            first[n] += other[n]
    for row in range(by_values.shape[0]):
        for column in range(3):
            by_values[row, column] = sums[0, row, column]
    for row in range(by_points.shape[0]):
        for column in range(3):
            by_points[row, column] = sums[0, row, 3 + column]


def _hand_out(sums: np.ndarray, size: int, bands: int, results: list[tuple[int, Tensor]]) -> None:
    """Sum over bands, and over pictures where these share one set of rows; results start at a column each."""
    if not size:
        for _, each in results:
            each.zero_()
        return
    _add_up(sums, 1, bands)
    for first, each in results:
        if len(each) == size:
            _take(sums, first, each.numpy())
    shared = [(first, each) for first, each in results if len(each) != size]
    if shared:
        _add_up(sums, bands, size * bands)
    for first, each in shared:
        _take(sums, first, each.numpy())


def _collect_with_scratch(first: int, last: int, rows: tuple[int, int], arguments: tuple) -> None:
    place = empty(len(arguments[5]), dtype=torch.int32)
    seen, table = empty(rows[0], dtype=torch.int32), empty(*rows, dtype=torch.float64)
    _collect(first, last, *arguments, place.numpy(), seen.numpy(), table.numpy())


@compiled(nogil=True)
def _collect(first, last, bands, perspective, points, gradient, attributes, faces, face_ids, planes, sums, place,
             seen, table):  # fmt: skip
    """Bands `first` to `last` of all pictures: sums per face first, then from faces to vertices.

    `place` says in which row of `table` a face's sums are kept, and `seen` whose row it is; faces get a row when they
    are seen first. A row holds sums of `b_k G_c` for the channels c of corners k = 0, 1, 2, then of `b_k G.(v - v_0)`.
    """
    pixels, channels = gradient.shape[1], gradient.shape[2]
    barycentric = planes.reshape(planes.shape[0], 3, pixels)
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
        rises = np.empty((count if with_points else 0, 9))
        for n in range(count):
            _to_vertices(seen[n], table[n], faces, channels, sums[unit])
            if with_points:
                row = table[n]
                for corner in range(3):
                    sums_here, total = row[corner * channels : (corner + 1) * channels], row[3 * channels + corner]
                    rises[n, 3 * corner : 3 * corner + 3] = _slopes(seen[n], sums_here, total, values, faces)
            place[seen[n]] = -1
        if with_points:
            corners = points[item if points.shape[0] > 1 else 0]
            add_points(count, seen, rises, faces, channels, corners, perspective, sums[unit])


@compiled(nogil=True)
def _add_up(sums, step, each):
    """Add every `step`-th table to the first one of its group of `each`, in their order."""
    flat = sums.reshape(sums.shape[0], -1)
    for unit in range(0, sums.shape[0], step):
        if unit % each:
            target, source = flat[unit - unit % each], flat[unit]
            for n in range(target.shape[0]):
                target[n] += source[n]


@compiled(nogil=True)
def _take(sums, first, out):
    """Take the columns from `first` on, of the first table of every group."""
    each = sums.shape[0] // out.shape[0]
    for n in range(out.shape[0]):
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                out[n, row, column] = sums[n * each, row, first + column]


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
def _to_vertices(face, row, faces, channels, sums):
    """Add the gradients of the values at the corners."""
    for corner in range(3):
        vertex = faces[face, corner]
        for channel in range(channels):
            sums[vertex, channel] += row[corner * channels + channel]


@compiled(nogil=True)
def _slopes(face, sums, total, values, faces):
    """What one corner hands to `to_points`."""
    i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
    rise1 = rise2 = 0.0
    for c in range(sums.shape[0]):
        start = np.float64(values[i, c])
        rise1 += (values[j, c] - start) * sums[c]
        rise2 += (values[k, c] - start) * sums[c]
    return rise1, rise2, total
