"""Filling triangles on the CPU: each thread owns some rows, visits the triangles in order, and keeps the nearest.

Everything goes eight at a time: triangles are chosen and prepared in eights, and a triangle is then laid over one
column of blocks of the picture under work (see `scratch`) after the other, from its top row to its bottom row.

With corners on the grid of `_grid.SUBPIXEL`, an edge function is an integer, and at pixel centres its value is
`c + SUBPIXEL * (a column + b row)`. Whether that is negative can be told from `floor(c / SUBPIXEL) + a column + b row`,
whose integers stay below 2**24, exact in float32, for all triangles up to `_SMALL` pixels wide and high.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.fork import fork, ticket
from flamehead.raster._cpu.lanes import (
    FEW,
    as_floats,
    as_ints,
    bits,
    down,
    first,
    greatest,
    least,
    load,
    order,
    pick,
    span,
    spread,
    store,
    take,
    take_rows,
    times_plus,
    up,
)
from flamehead.raster._cpu.large import fill_crossing, fill_large
from flamehead.raster._cpu.scratch import BLOCK, clear, in_row, resolve
from flamehead.raster._grid import HALF, SUBPIXEL

__all__ = ["fill_together", "prepare"]

_SMALL = 80.0
"""Pixels: `_SMALL * SUBPIXEL * (_SMALL + FEW) * 2 < 2**24`."""

_RECORD, _PLACE = 20, 3
"""Numbers that `_walk` needs of a triangle, and whole numbers."""


@compiled(nogil=True, error_model="numpy")
def prepare(points, faces, width, height, rows, cull, perspective, near):
    """Corners on the grid with key and depth; the faces that may be seen, and each face's first and last strip.

    The key is 1/z, or -z in a parallel projection, whose corners are nowhere near the camera and have depth inf.
    """
    corners = np.empty((points.shape[0], 4))
    for v in range(points.shape[0]):
        z = np.float64(points[v, 2])
        corners[v, 0] = np.floor(np.float64(points[v, 0]) * SUBPIXEL + 0.5)
        corners[v, 1] = np.floor(np.float64(points[v, 1]) * SUBPIXEL + 0.5)
        corners[v, 2] = 1.0 / z if perspective else -z
        # What is not finite compares as if it were behind the camera, where it is left out.
        corners[v, 3] = (z if z < np.inf else np.nan) if perspective else np.inf
    count, most = 0, faces.shape[0] // 3
    drawn = np.empty(most + FEW, np.int32)
    upper, lower = np.empty_like(drawn), np.empty_like(drawn)
    # Only to be fast: what is listed is asked again, with the numbers that its pixels come from.
    low, high = spread(HALF), spread((height - 1) * SUBPIXEL + HALF)
    right, scale = spread((width - 1) * SUBPIXEL + HALF), spread(1.0 / (rows * SUBPIXEL))
    ends, zero, end = spread(np.float64((height + rows - 1) // rows - 1)), spread(0.0), spread(np.int32(most - 1))
    for n in range(0, most, FEW):
        numbers = least(order() + spread(np.int32(n)), end)
        (x0, x1, x2), (y0, y1, y2), _, far = _corners_of(numbers, corners, faces, near)
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        top, bottom = greatest(least(least(y0, y1), y2), low), least(greatest(greatest(y0, y1), y2), high)
        here = (greatest(greatest(x0, x1), x2) >= low) & (least(least(x0, x1), x2) <= right) & (top <= bottom)
        here = here & far & _facing(area, cull)
        # Of those that cross the near plane nothing is known yet.
        store(upper, np.uint64(n), as_ints(pick(here, (top - low) * scale, zero)))
        store(lower, np.uint64(n), as_ints(pick(here, (bottom - low) * scale, ends)))
        kept = bits((here | ~far) & span(np.int32(0), np.int32(most - n)))
        # No branches, which would be guessed wrong half the time: the next face writes over one that is not drawn.
        for lane in range(FEW):
            drawn[count] = n + lane
            count += np.int64((kept >> np.uint64(lane)) & np.uint64(1))
    return corners, drawn[:count], upper, lower


@compiled(nogil=True, error_model="numpy")
def fill(from_strip, to_strip, corners, drawn, upper, lower, faces, width, height, rows, cull, perspective, near,
         picture, ids, barycentric, depth):  # fmt: skip
    """Some of the strips of `rows` rows; outputs are the flat arrays of the whole picture, barycentrics planar.

    `picture` has room for a strip, which stays in the core's own cache from the first triangle to the last, so that
    only the outputs go to memory.
    """
    row, listed = in_row(width) * BLOCK, np.empty(drawn.shape[0] + FEW, np.int32)
    for strip in range(from_strip, to_strip):
        begin, end = strip * rows, min(strip * rows + rows, height)
        clear(picture[: (end - begin) * row], np.float32(0.0 if perspective else -np.inf))
        count = 0
        for face in drawn:
            number = np.uint64(face)
            listed[count] = face
            count += np.int64((upper[number] <= strip) & (lower[number] >= strip))
        # Eights that are not full end with a face that is there.
        listed[count : count + FEW] = 0
        _lay(listed, count, corners, faces, width, begin, end, cull, perspective, near, picture)
        resolve(picture, width, begin, end, perspective, ids, barycentric, depth)


@compiled(nogil=True, error_model="numpy")
def fill_together(crew, counters, last, scratch, corners, drawn, upper, lower, faces, width, height, rows, cull,
                  perspective, near, ids, barycentric, depth):  # fmt: skip
    """All `last` strips by a crew, a thread for each row of `scratch`. Returns what `fork` does.

    Counters are of strips and of threads.
    """
    # Python hands over no tuples: to find out what is in them takes as long as a small picture.
    lists, view = (corners, drawn, upper, lower), (faces, width, height, rows, cull, perspective, near)
    return fork(crew, _fill_some, (counters, last, scratch, lists, view, ids, barycentric, depth))


@compiled(nogil=True, error_model="numpy")
def _fill_some(counters, last, scratch, lists, view, ids, barycentric, depth):
    corners, drawn, upper, lower = lists
    faces, width, height, rows, cull, perspective, near = view
    me = ticket(counters, 1)
    if me >= scratch.shape[0]:
        return
    while True:
        strip = ticket(counters, 0)
        if strip >= last:
            return
        fill(strip, strip + 1, corners, drawn, upper, lower, faces, width, height, rows, cull, perspective, near,
             scratch[me], ids, barycentric, depth)  # fmt: skip


@compiled(inline="always")
def _corners_of(numbers, corners, faces, near):
    """x, y and keys of the corners of eight faces, and which faces are in front of the near plane."""
    three = spread(np.int32(3)) * numbers
    x0, y0, k0, z0 = take_rows(corners, take(faces, three))
    x1, y1, k1, z1 = take_rows(corners, take(faces, three + spread(np.int32(1))))
    x2, y2, k2, z2 = take_rows(corners, take(faces, three + spread(np.int32(2))))
    plane = spread(near)
    return (x0, x1, x2), (y0, y1, y2), (k0, k1, k2), (z0 > plane) & (z1 > plane) & (z2 > plane)


@compiled(inline="always")
def _facing(area, cull):
    """Which faces show a side that is to be seen; area is negative in front, and NaN where a corner is broken."""
    zero = spread(0.0)
    front = (area < zero) & (area > spread(-np.inf))
    return front if cull else front | ((area > zero) & (area < spread(np.inf)))


@compiled(nogil=True, error_model="numpy")
def _lay(listed, count, corners, faces, width, begin, end, cull, perspective, near, picture):
    """Lay the triangles of a list over rows `begin` to `end - 1`, in their order."""
    record, place = np.empty(_RECORD * FEW, np.float32), np.empty(_PLACE * FEW, np.int32)
    rows, stride = (np.float64(begin), np.float64(end - 1)), in_row(width) * BLOCK
    for n in range(0, count, FEW):
        small, others = _set_up(n, count, listed, corners, faces, width, rows, cull, perspective, near, record, place)
        left = small | others
        while left != np.uint64(0):
            lane = first(left)
            left &= left - np.uint64(1)
            if (small >> lane) & np.uint64(1):
                _walk(record, place, lane, stride, picture)
                continue
            face = np.int64(listed[np.uint64(n) + lane])
            i, j, k = np.uint64(faces[3 * face]), np.uint64(faces[3 * face + 1]), np.uint64(faces[3 * face + 2])
            if corners[i, 3] > near and corners[j, 3] > near and corners[k, 3] > near:
                fill_large(face, i, j, k, corners, perspective, width, begin, end, picture)
            else:
                fill_crossing(face, i, j, k, corners, width, begin, end, cull, near, picture)


@compiled(inline="always")
def _lead(slope_x, slope_y):
    """The top-left rule: pixels on an edge belong to the triangle on its right, or below it where it is level.

    On the grid, what lies inside is at least 0 there, and 1 at other edges.
    """
    zero = spread(0.0)
    return pick((slope_x > zero) | ((slope_x == zero) & (slope_y > zero)), zero, spread(1.0))


@compiled(nogil=True, error_model="numpy")
def _set_up(n, count, listed, corners, faces, width, rows, cull, perspective, near, record, place):
    """Write what `_walk` needs of the eight triangles from `n` on; returns which of them are for it, and which others.

    Edge functions, key and shares are measured from the first pixel of a triangle's bounding box and begin at the first
    lane of a block; the key and the shares in the first row of the box, which may lie above the rows that are wanted.
    """
    numbers = load(listed, np.uint64(n))
    (x0, x1, x2), (y0, y1, y2), (k0, k1, k2), far = _corners_of(numbers, corners, faces, near)
    zero, one, half, back, step = spread(0.0), spread(1.0), spread(HALF), spread(1.0 / SUBPIXEL), spread(SUBPIXEL)
    # Columns and rows whose centres lie in the bounding box; still floats, as huge values have no whole number.
    left, right = up((least(least(x0, x1), x2) - half) * back), down((greatest(greatest(x0, x1), x2) - half) * back)
    top, bottom = up((least(least(y0, y1), y2) - half) * back), down((greatest(greatest(y0, y1), y2) - half) * back)
    from_x, to_x = greatest(left, zero), least(right, spread(width - 1.0))
    from_y, to_y = greatest(top, spread(rows[0])), least(bottom, spread(rows[1]))
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    there = span(np.int32(0), np.int32(count - n))
    seen = there & far & _facing(area, cull) & (from_x <= to_x) & (from_y <= to_y)
    small = seen & (right - left <= spread(_SMALL)) & (bottom - top <= spread(_SMALL))
    sign = pick(area > zero, one, spread(-1.0))
    ax, bx, ay, by = sign * (y1 - y2), sign * (x2 - x1), sign * (y2 - y0), sign * (x0 - x2)
    az, bz, scale = sign * (y0 - y1), sign * (x1 - x0), one / (sign * area)
    x, y = left * step + half, top * step + half
    a, b, c = ax * (x - x1) + bx * (y - y1), ay * (x - x2) + by * (y - y2), az * (x - x0) + bz * (y - y0)
    w0, w1 = (k0 * scale, k1 * scale) if perspective else (scale, scale)
    k0, k1, k2 = k0 * scale, k1 * scale, k2 * scale
    kx, ky = (k0 * ax + k1 * ay + k2 * az) * step, (k0 * bx + k1 * by + k2 * bz) * step
    px, py, qx, qy = w0 * ax * step, w0 * bx * step, w1 * ay * step, w1 * by * step
    block = down(from_x * spread(1.0 / FEW))
    dx, dy = block * spread(np.float64(FEW)) - left, from_y - top
    e0 = down((a - _lead(ax, bx)) * back) + ax * dx + bx * dy
    e1 = down((b - _lead(ay, by)) * back) + ay * dx + by * dy
    e2 = down((c - _lead(az, bz)) * back) + az * dx + bz * dy
    key, p, q = k0 * a + k1 * b + k2 * c + kx * dx, w0 * a + px * dx, w1 * b + qx * dx
    _keep(record, 0, (e0, e1, e2, key, p, q))
    _keep(record, 6, (ax, ay, az, kx, px, qx))
    _keep(record, 12, (bx, by, bz, ky, py, qy))
    store(record, np.uint64(18 * FEW), as_floats(dy))
    store(record, np.uint64(19 * FEW), as_floats(numbers))
    start = ((from_y - spread(rows[0])) * spread(np.float64(in_row(width))) + block) * spread(np.float64(BLOCK))
    store(place, np.uint64(0), as_ints(start))
    store(place, np.uint64(FEW), as_ints(to_y - from_y + one))
    store(place, np.uint64(2 * FEW), as_ints(down(to_x * spread(1.0 / FEW)) - block + one))
    return bits(small), bits((seen & ~small) | (there & ~far))


@compiled(inline="always")
def _keep(record, column, values):
    one, two, three, four, five, six = values
    at = np.uint64(column * FEW)
    store(record, at, as_floats(one))
    store(record, at + np.uint64(FEW), as_floats(two))
    store(record, at + np.uint64(2 * FEW), as_floats(three))
    store(record, at + np.uint64(3 * FEW), as_floats(four))
    store(record, at + np.uint64(4 * FEW), as_floats(five))
    store(record, at + np.uint64(5 * FEW), as_floats(six))


@compiled(inline="always")
def _six(record, column, lane):
    """Six numbers of a triangle, each in all lanes."""
    at = np.uint64(column * FEW) + lane
    return (
        spread(record[at]), spread(record[at + np.uint64(FEW)]), spread(record[at + np.uint64(2 * FEW)]),
        spread(record[at + np.uint64(3 * FEW)]), spread(record[at + np.uint64(4 * FEW)]),
        spread(record[at + np.uint64(5 * FEW)]),
    )  # fmt: skip


@compiled(nogil=True, error_model="numpy")
def _walk(record, place, lane, stride, picture):
    """Lay one triangle of a record over the picture, whose rows are `stride` numbers apart."""
    e0, e1, e2, key, p, q = _six(record, 0, lane)
    e0x, e1x, e2x, kx, px, qx = _six(record, 6, lane)
    e0y, e1y, e2y, ky, py, qy = _six(record, 12, lane)
    dy, number = spread(record[np.uint64(18 * FEW) + lane]), spread(record[np.uint64(19 * FEW) + lane])
    zero, one, run, steps = spread(np.float32(0)), spread(np.float32(1)), spread(np.float32(FEW)), as_floats(order())
    rows, blocks = place[np.uint64(FEW) + lane], place[np.uint64(2 * FEW) + lane]
    column = np.uint64(place[lane])
    e0, e1, e2 = times_plus(e0x, steps, e0), times_plus(e1x, steps, e1), times_plus(e2x, steps, e2)
    key, p, q = times_plus(kx, steps, key), times_plus(px, steps, p), times_plus(qx, steps, q)
    for _ in range(blocks):
        at, a, b, c, row = column, e0, e1, e2, dy
        for _ in range(rows):
            # Not summed up from row to row: the value must not depend on the row at which a thread begins.
            new, old = times_plus(ky, row, key), load(picture, at)
            seen = (a >= zero) & (b >= zero) & (c >= zero) & (new > old)
            to_face, to_p, to_q = at + np.uint64(FEW), at + np.uint64(2 * FEW), at + np.uint64(3 * FEW)
            store(picture, at, pick(seen, new, old))
            store(picture, to_face, pick(seen, number, load(picture, to_face)))
            store(picture, to_p, pick(seen, times_plus(py, row, p), load(picture, to_p)))
            store(picture, to_q, pick(seen, times_plus(qy, row, q), load(picture, to_q)))
            at += np.uint64(stride)
            a, b, c, row = a + e0y, b + e1y, c + e2y, row + one
        column += np.uint64(BLOCK)
        e0, e1, e2 = times_plus(e0x, run, e0), times_plus(e1x, run, e1), times_plus(e2x, run, e2)
        key, p, q = times_plus(kx, run, key), times_plus(px, run, p), times_plus(qx, run, q)
