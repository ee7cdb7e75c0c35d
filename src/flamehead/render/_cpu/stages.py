"""The regions of work behind a picture and its way back, which threads go through together; see `fork`.

Every kernel here deals out its work by tickets, so it does not matter how many threads come, or in which order; what is
summed is summed in an order of its own.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.fork import fork, ticket
from flamehead.raster._cpu.pairs import BAND, all_done, choose, walk_part
from flamehead.raster._cpu.silhouette import nearest
from flamehead.render._cpu import deferred, outlines
from flamehead.render._cpu.blocks import SIZE, N
from flamehead.render._cpu.faces import corners as fill_corners
from flamehead.render._cpu.faces import hand_out
from flamehead.render._cpu.faces import steps as fill_steps
from flamehead.render._cpu.texels import RUN, add_regions, double, halve, pack, unpack

__all__ = [
    "TILE",
    "halve_all",
    "hand_on_together",
    "pack_tile",
    "paint_together",
    "prepare_together",
    "unpack_together",
    "visit_together",
]

_ZERO = np.float32(0.0)

TILE, _DEEP = 16, 4
"""Rows of a texture that are packed together, and how often they are halved at once, while they are in the cache."""

_STEPS = 4
"""In how many parts faces are prepared."""

_MESH, _TILES, _TILES_DONE = range(3)
"""Tickets of `prepare_together`."""

_ADDS, _ADDS_DONE, _REST = range(3)
"""Tickets of `hand_on_together`."""

_SLICES = 16
"""In how many parts regions of a texture are summed."""


@compiled(nogil=True)
def prepare_together(crew, counters, tickets, outlined, points, vertices, sides_of, half_edges, starts, face_edges,
                     faces, perspective, face_ids, corners, sides, chosen, inside, before, found, normals, vertex_rows,
                     uv, uv_rows, table, uv_faces, steps, image, decode, texels, level_starts, widths, heights,
                     halvings, packed):  # fmt: skip
    """Silhouettes are chosen, where they are wanted, faces prepared, and the texture packed. Returns what `fork` does.

    Args:
        crew, counters: See `fork`, and `pairs.Search`.
        tickets: (3,) zeros.
        outlined: Whether silhouettes are wanted.
        points: (V, 3); the rest up to `found` is as in `pairs.begin_together`.
        normals, vertex_rows, uv, uv_rows, table: See `faces.corners`.
        uv_faces, steps: See `faces.steps`.
        image, decode, texels: See `texels.pack`; all copies come one after the other.
        level_starts, widths, heights: Of each copy.
        halvings: How many copies are means of four, from the first on.
        packed: Whether the texture is packed already.
    """
    search = counters, points, (vertices, sides_of, half_edges, starts, faces), perspective, face_ids, (
        corners, sides, chosen, inside, before, found)  # fmt: skip
    shown = normals, vertex_rows, uv, uv_rows, table
    change = points, faces, uv, uv_faces, perspective, np.float64(widths[0]), np.float64(heights[0]), steps
    packing = image, decode, texels, level_starts, widths, heights, halvings
    return fork(crew, _prepare, (tickets, outlined, search, shown, change, packing, packed))


@compiled(nogil=True)
def _prepare(tickets, outlined, search, shown, change, packing, packed):
    if outlined:
        choose(*search)
    n_faces = change[1].shape[0]
    while True:
        unit = ticket(tickets, _MESH)
        if unit > _STEPS:
            break
        if unit == 0:
            fill_corners(*shown)
        else:
            fill_steps(n_faces * (unit - 1) // _STEPS, n_faces * unit // _STEPS, *change)
    if packed:
        return
    heights, run = packing[5], np.zeros(RUN, np.float32)
    tiles = (heights[0] + TILE - 1) // TILE
    while True:
        tile = ticket(tickets, _TILES)
        if tile >= tiles:
            return
        pack_tile(tile, run, packing)
        if ticket(tickets, _TILES_DONE) == tiles - 1:
            halve_all(packing)


@compiled(nogil=True)
def pack_tile(tile, run, packing):
    """Pack some rows of a texture, and halve them some times; see `Packing`. `run` is room for `RUN` numbers."""
    image, decode, texels, _, widths, heights, halvings = packing
    first, last = tile * TILE, min(tile * TILE + TILE, heights[0])
    pack(first * widths[0], last * widths[0], image, decode, texels, run)
    for level in range(min(_DEEP, halvings)):
        first, last = first // 2, last // 2
        _halve(level, first, last, packing)


@compiled(nogil=True)
def halve_all(packing):
    """What is left to halve when all tiles are packed."""
    for level in range(min(_DEEP, packing[6]), packing[6]):
        _halve(level, 0, packing[5][level + 1], packing)


@compiled(nogil=True)
def _halve(level, first, last, packing):
    """Rows of the copy after `level`."""
    _, _, texels, starts, widths, _, _ = packing
    halve(first, last, texels[4 * starts[level] :], widths[level + 1], texels[4 * starts[level + 1] :])


@compiled(nogil=True)
def paint_together(crew, counters, bands, ids, planes, seen_depth, perspective, cut_faces, table, steps, scaled, encode,
                   texels, texel_starts, size, image, alpha, extents, points, vertices, sides_of, half_edges, starts,
                   face_edges, faces, projected, face_ids, corners, sides, chosen, inside, before, found, depth,
                   numbers, crossings, depths, counts, firsts, kept, differences):  # fmt: skip
    """Paint bands of a picture, walk along its silhouettes, and blend. Returns what `fork` does.

    Args:
        crew, counters: See `fork`, and `pairs.Search`.
        bands: First pixel of every band, and the end of the last one.
        ids: The rest up to `size` is as in `deferred.paint`.
        image, alpha, extents: See there; extents of every band.
        points: The rest is as in `pairs.walk_together`; without parts in `counts` nothing is blended.
    """
    seen = ids, planes, seen_depth, perspective, cut_faces, table, steps, scaled, encode, texels, texel_starts, size
    mesh, lists = (vertices, half_edges, starts, face_edges, faces), (corners, sides, chosen, inside, before, found)
    pairs = numbers, crossings, depths, counts, firsts, kept, differences
    search = counters, points, mesh, projected, face_ids, depth, lists, pairs
    return fork(crew, _paint, (bands, seen, image, alpha, extents, search))


@compiled(nogil=True)
def _paint(bands, seen, image, alpha, extents, search):
    counters, pairs, room = search[0], search[7], np.empty(SIZE, np.float32)
    size, units = extents.shape[0], extents.shape[0] + pairs[3].shape[0]
    while True:
        band = ticket(counters, BAND)
        if band >= size:
            break
        room[:] = _ZERO
        deferred.paint(bands[band], bands[band + 1], *seen, image, alpha, extents[band], room)
        if all_done(counters, units):
            _blend(image, alpha, pairs)
    while walk_part(*search):
        if all_done(counters, units):
            _blend(image, alpha, pairs)


@compiled(nogil=True)
def _blend(image, alpha, pairs):
    """Keep the nearest pair wherever several are the same, and mix them."""
    numbers, crossings, depths, counts, firsts, kept, differences = pairs
    if counts.shape[0] > 0:
        count = kept[0] = nearest(numbers, crossings, depths, firsts, counts)
        outlines.blend(image.reshape(-1, 3), alpha, numbers[:count], crossings[:count], differences[:count])


@compiled(nogil=True)
def visit_together(crew, counters, bands, width, ids, planes, depth, perspective, faces, table, steps, scaled, encode,
                   texels, starts, size, gradient, numbers, crossings, to_texels, parts, spots, ranges, g_texels, seen,
                   rows, counts, sums):  # fmt: skip
    """`deferred.paint_backward` for all bands, by regions of the texture. Returns what `fork` does.

    Args:
        crew: See `fork`.
        counters: (1,) zeros: regions that have been begun.
        bands: First row of every band, and the end of the last one.
        width: Of the picture; the rest up to `to_texels` is as in `deferred.paint_backward`.
        numbers, crossings: Pairs of pixels that were mixed.
        parts, spots, ranges: How many bands share a region of the texture, `spots` of every region, and where it begins
            and ends in `g_texels`, which is set to zero there.
        seen, rows, counts, sums: Of every band.
    """
    common = ids, planes, depth, perspective, faces, table, steps, scaled, encode, texels, starts, size
    given, regions = (gradient, numbers, crossings, to_texels), (parts, spots, ranges, g_texels)
    return fork(crew, _visit, (counters, bands, width, common, given, regions, (seen, rows, counts, sums)))


@compiled(nogil=True)
def _visit(counters, bands, width, common, given, regions, found):
    gradient, numbers, crossings, to_texels = given
    parts, spots, ranges, g_texels = regions
    seen, rows, counts, sums = found
    blocks = (width + N - 1) // N * np.diff(bands).max()
    slots, changed = np.empty(blocks, np.int32), np.empty(3 * N * blocks, np.float32)
    room, place = np.empty(SIZE, np.float32), np.full(common[4].shape[0] // 3, -1, np.int32)
    while True:
        region = ticket(counters, 0)
        if region >= spots.shape[0]:
            return
        if to_texels:
            g_texels[ranges[region, 0] : ranges[region, 1]] = _ZERO
        for n in range(region * parts, min(region * parts + parts, bands.shape[0] - 1)):
            room[:] = _ZERO
            outlines.change(bands[n], bands[n + 1], gradient, width, common[0].shape[0], numbers, crossings, slots,
                            changed)  # fmt: skip
            deferred.paint_backward(bands[n], bands[n + 1], width, *common, gradient, slots, changed, to_texels,
                                    spots[region], g_texels, place, seen[n], rows[n].reshape(-1), counts[n], sums[n],
                                    room)  # fmt: skip


@compiled(nogil=True)
def hand_on_together(crew, tickets, to_texels, finest, lows, highs, begins, level_starts, widths, heights, regions,
                     more, out, halvings, seen, rows, counts, sums, faces, vertex_rows, uv_rows, table, points,
                     perspective, gradient, g_alpha, numbers, crossings, differences, by_vertex, by_uv,
                     by_scaled):  # fmt: skip
    """Sums of bands become those of the texture's copies, of vertices and of the light. Returns what `fork` does.

    Args:
        crew: See `fork`.
        tickets: (3,) zeros.
        to_texels: Whether the texture's are wanted.
        finest, lows, highs, begins, level_starts, widths, heights, regions, more, out: See `texels.add_regions`.
        halvings: How many copies are means of four, from the first on, if the coarser ones' gradients are to be handed
            on to the finer ones, up to the second; else 0.
        seen, rows, counts, sums: Of every band, from `visit_together`.
        faces, vertex_rows, uv_rows, table, points, perspective: See `faces.hand_out`.
        gradient, g_alpha, numbers, crossings, differences: See `outlines.move_points`.
        by_vertex, by_uv: (2, V, 6) and (2, T, 2), for two halves of the bands: set, or, with `more`, the second added
            to.
        by_scaled: (9, 3), set.
    """
    adding = lows, highs, begins, widths, heights, level_starts, regions, more, out
    mesh = faces, vertex_rows, uv_rows, table, points, perspective
    found, mixed = (seen, rows, counts, sums), (gradient, g_alpha, numbers, crossings, differences)
    results = by_vertex, by_uv, by_scaled
    return fork(crew, _hand_on, (tickets, to_texels, finest, adding, halvings, found, mesh, mixed, results))


@compiled(nogil=True)
def _hand_on(tickets, to_texels, finest, adding, halvings, found, mesh, mixed, results):
    by_vertex, by_uv, by_scaled = results
    _, _, _, widths, heights, starts, _, more, out = adding
    while to_texels:
        unit = ticket(tickets, _ADDS)
        if unit >= _SLICES:
            break
        add_regions(unit / _SLICES, (unit + 1) / _SLICES, finest, *adding)
        if ticket(tickets, _ADDS_DONE) == _SLICES - 1:
            for level in range(halvings - 1, 0, -1):
                double(0, heights[level + 1], out[4 * starts[level + 1] :], widths[level + 1],
                       out[4 * starts[level] :])  # fmt: skip
    seen, rows, counts, sums = found
    bands = seen.shape[0]
    while True:
        unit = ticket(tickets, _REST)
        if unit > 2:
            return
        if unit == 2:
            for k in range(9):
                for c in range(3):
                    total = 0.0
                    for n in range(bands):
                        total += sums[n, k, c]
                    by_scaled[k, c] = total
            return
        by_vertex[unit] = 0.0
        if not more:
            by_uv[unit] = 0.0
        if unit == 0:
            outlines.move_points(*mixed, by_vertex[unit, :, 3:])
        for n in range(bands // 2 * unit, bands // 2 if unit == 0 else bands):
            count = counts[n, 0]
            hand_out(seen[n, :count], rows[n, :count], *mesh, by_vertex[unit], by_uv[unit])


@compiled(nogil=True)
def unpack_together(crew, counters, to_texels, image, decode, lows, highs, begins, width, height, regions, coarse, out,
                    by_vertex, by_uv, by_normals, by_points, by_coordinates):  # fmt: skip
    """`texels.unpack` for all rows, if that is wanted; and halves of sums become one. Returns what `fork` does.

    Args:
        crew: See `fork`.
        counters: (1,) zeros: units that have been begun.
        to_texels: Whether the texture's gradient is wanted.
        image, decode, lows, highs, begins, width, regions, coarse, out: See `texels.unpack`.
        height: Rows of the image.
        by_vertex, by_uv: (B, 2, V, 6) and (2, T, 2).
        by_normals, by_points, by_coordinates: (B, V, 3), (B, V, 3) and (T, 2), set.
    """
    packed = image, decode, lows, highs, begins, width, regions, coarse, out
    halves = by_vertex, by_uv, by_normals, by_points, by_coordinates
    return fork(crew, _unpack, (counters, height if to_texels else 0, packed, halves))


@compiled(nogil=True)
def _unpack(counters, height, packed, halves):
    run, sums = np.zeros(RUN, np.float32), np.zeros(4 * RUN // 3, np.float32)
    tiles = (height + TILE - 1) // TILE
    while True:
        tile = ticket(counters, 0) - 1
        if tile >= tiles:
            return
        if tile >= 0:
            unpack(tile * TILE, min(tile * TILE + TILE, height), *packed, run, sums)
            continue
        by_vertex, by_uv, by_normals, by_points, by_coordinates = halves
        for n in range(by_normals.shape[0]):
            one, other = by_vertex[n, 0], by_vertex[n, 1]
            for row in range(by_normals.shape[1]):
                for c in range(3):
                    by_normals[n, row, c] = one[row, c] + other[row, c]
                    by_points[n, row, c] = one[row, 3 + c] + other[row, 3 + c]
        for row in range(by_coordinates.shape[0]):
            for c in range(2):
                by_coordinates[row, c] = by_uv[0, row, c] + by_uv[1, row, c]
