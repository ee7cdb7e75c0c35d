"""`interpolate` for three channels of float32, eight pixels at a time.

Forward, a block of pixels is painted once for every face that it shows. Backward, faces are visited instead: all sums
of a face stay in registers while its box on the screen is searched for its pixels, block by block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.chain import ROW, hand_down
from flamehead.raster._cpu.lanes import (
    FEW,
    as_doubles,
    bits,
    count,
    fetch,
    first,
    greatest,
    load,
    load_three,
    pick,
    span,
    spread,
    store,
    store_three,
    times_plus,
    totals,
)

__all__ = ["Places", "arrange", "collect_faces", "fetch_pixels", "paint"]

_ROWS = 64
"""Rows whose sums are taken in float32, before they are added to sums in float64."""

_FACE_BLOCKS = 8
"""Blocks of pixels that take as long as what is done once for a face."""

_LINE, _AHEAD = 16, 24
"""Numbers in a cache line, and rows that are asked for before they are read.

Faces come in the order of their rows, but are higher than a page has rows, so processors do not see where this goes.
"""

_TOGETHER = 64
"""Faces whose sums are handed to their corners together."""

_REACH = 2.0**-9
"""Pixels: the rasterizer moves corners by less, onto its grid of 1/1024."""


class Places(NamedTuple):
    """Where faces are on the screen, in the order of their first rows; see `arrange`."""

    chosen: Int[np.ndarray, "F"]
    boxes: Int[np.ndarray, "F 4"]
    before: Int[np.ndarray, "F+1"]
    used: Int[np.ndarray, "1"]
    """How many of the rows above are in use."""

    @staticmethod
    def of(n_faces: int) -> Places:
        """Room for so many faces."""
        return Places(
            np.empty(n_faces, np.int32), np.empty((n_faces, 4), np.int32), np.empty(n_faces + 1, np.int64),
            np.empty(1, np.int64),
        )  # fmt: skip


@compiled(nogil=True, error_model="numpy")
def paint(begin, end, values, faces, ids, barycentric, rest, out, seen, covered):
    """Pixels `begin` to `end - 1`, at least 8; arrays but values and faces are flat, barycentrics in three planes.

    With `rest` the third plane is what the others leave of 1, as the rasterizer finds it, and not read.
    Faces that are seen are marked in `seen`; `covered[0]` is how many pixels show one.
    """
    plane, zero, painted = np.uint64(ids.shape[0]), spread(np.float32(0)), np.uint64(0)
    for start in range(begin, end, FEW):
        # The last block ends where the pixels end, and paints some of them again.
        at = np.uint64(min(start, end - FEW))
        shown = load(ids, at)
        left = bits(shown >= spread(np.int32(0)))
        painted += count(left >> (np.uint64(start) - at))
        u, v = load(barycentric, at), load(barycentric, at + plane)
        w = _third(u, v, rest, barycentric, at + plane + plane)
        red = green = blue = zero
        while left != np.uint64(0):
            face = np.uint64(ids[at + first(left)])
            here = shown == spread(np.int32(face))
            left &= ~bits(here)
            seen[face] = 1
            i, j, k = np.uint64(faces[face, 0]), np.uint64(faces[face, 1]), np.uint64(faces[face, 2])
            red = pick(here, _mix(u, v, w, values[i, 0], values[j, 0], values[k, 0]), red)
            green = pick(here, _mix(u, v, w, values[i, 1], values[j, 1], values[k, 1]), green)
            blue = pick(here, _mix(u, v, w, values[i, 2], values[j, 2], values[k, 2]), blue)
        store_three(out, np.uint64(3) * at, red, green, blue)
    covered[0] = painted


@compiled(inline="always")
def _third(u, v, rest, barycentric, at):
    """The third barycentrics; where they need not be read, there is a sixth less to read."""
    if rest:
        return greatest(spread(np.float32(1.0)) - u - v, spread(np.float32(0.0)))
    return load(barycentric, at)


@compiled(inline="always")
def _mix(u, v, w, one, two, three):
    """Which products are fused into sums is said, so that all copies of a kernel give the same bits."""
    return times_plus(w, spread(three), times_plus(v, spread(two), u * spread(one)))


@compiled(nogil=True, error_model="numpy")
def arrange(seen, width, height, perspective, points, faces, chosen, boxes, before):
    """Faces that are seen, and where: first and last column and row; ordered by first row, so that memory is near.

    Written are the first rows of `chosen` and `boxes`, and how much work lies before each face, in blocks of pixels,
    with all of it in one more row of `before`. Returns how many faces there are.

    Left out are faces with a corner behind the camera, and those whose corners lie outside the picture.
    """
    listed, unordered = np.empty(seen.shape[0], np.int32), np.empty((seen.shape[0], 4), np.int32)
    starts = np.zeros(height + 1, np.int64)
    found = 0
    for face in range(seen.shape[0]):
        if not seen[face]:
            continue
        i, j, k = np.uint64(faces[face, 0]), np.uint64(faces[face, 1]), np.uint64(faces[face, 2])
        if perspective and not (points[i, 2] > 0.0 and points[j, 2] > 0.0 and points[k, 2] > 0.0):
            continue
        x0, x1, x2, y0, y1, y2 = points[i, 0], points[j, 0], points[k, 0], points[i, 1], points[j, 1], points[k, 1]
        left, right = max(0.0, np.ceil(min(x0, x1, x2) - 0.5 - _REACH)), np.floor(max(x0, x1, x2) - 0.5 + _REACH)
        top, bottom = max(0.0, np.ceil(min(y0, y1, y2) - 0.5 - _REACH)), np.floor(max(y0, y1, y2) - 0.5 + _REACH)
        right, bottom = min(width - 1.0, right), min(height - 1.0, bottom)
        # Comparisons with NaN are false.
        if left <= right and top <= bottom:
            listed[found] = face
            unordered[found, 0], unordered[found, 1] = np.int32(left), np.int32(right)
            unordered[found, 2], unordered[found, 3] = np.int32(top), np.int32(bottom)
            starts[unordered[found, 2] + 1] += 1
            found += 1
    for row in range(height):
        starts[row + 1] += starts[row]
    for n in range(found):
        place = starts[unordered[n, 2]]
        starts[unordered[n, 2]] += 1
        chosen[place] = listed[n]
        for side in range(4):
            boxes[place, side] = unordered[n, side]
    before[0] = 0
    for n in range(found):
        blocks = (boxes[n, 1] - boxes[n, 0] + FEW) // FEW * (boxes[n, 3] - boxes[n, 2] + 1)
        before[n + 1] = before[n] + blocks + _FACE_BLOCKS
    return found


@compiled(nogil=True, error_model="numpy")
def collect_faces(chosen, boxes, width, perspective, points, gradient, values, faces, ids, barycentric, rest, sums):
    """Sum the gradients of all pixels of some faces in `sums` (V, 3 or 6); returns how many pixels those are.

    The picture has at least 8 pixels. Faces and their boxes are those of `arrange`; see `paint` for `rest`.
    """
    pixels, with_points = np.uint64(0), sums.shape[1] > 3
    rows = np.empty((_TOGETHER, ROW))
    sums[:] = 0.0
    ahead, last, left, right, burst = _route(boxes, width, ids.shape[0])
    column = left
    for start in range(0, chosen.shape[0], _TOGETHER):
        some = chosen[start : start + _TOGETHER]
        rows[:] = 0.0
        for n in range(some.shape[0]):
            first, end = boxes[start + n, 2], boxes[start + n, 3] + 1
            # A little with every face: the core waits when too much is on its way.
            for _ in range(burst):
                if ahead < min(first + _AHEAD, last):
                    fetch_pixels(ahead * width + column, gradient, ids, barycentric)
                    column += _LINE
                    if column > right:
                        ahead, column = ahead + 1, left
            face, row = np.uint64(some[n]), rows[n]
            i, j, k = np.uint64(faces[face, 0]), np.uint64(faces[face, 1]), np.uint64(faces[face, 2])
            for begin in range(first, end, _ROWS):
                box = boxes[start + n, 0], boxes[start + n, 1], begin, min(begin + _ROWS, end)
                pixels += _sum_box(face, i, j, k, box, width, with_points, gradient, values, ids, barycentric,
                                   rest, row)  # fmt: skip
        hand_down(some.shape[0], some, rows, perspective, with_points, points, values, faces, sums)
    return np.int64(pixels)


@compiled(nogil=True)
def _route(boxes, width, pixels):
    """First row, end of rows, first and last column of all boxes, and how many lines to fetch with each."""
    if not boxes.shape[0]:
        return 0, 0, 0, 0, 0
    left, right, top, bottom = boxes[:, 0].min(), boxes[:, 1].max(), boxes[0, 2], boxes[:, 3].max() + 1
    lines = (bottom - top) * ((right - left) // _LINE + 1)
    return top, min(bottom, pixels // width), left, right, lines // boxes.shape[0] + 1


@compiled(inline="always")
def fetch_pixels(pixel, gradient, ids, barycentric):
    """Ask for a pixel, and for those that share its line of memory."""
    at, plane = np.uint64(pixel), np.uint64(ids.shape[0])
    fetch(ids, at)
    fetch(barycentric, at)
    fetch(barycentric, at + plane)
    fetch(gradient, np.uint64(3) * at)
    fetch(gradient, np.uint64(3) * at + np.uint64(_LINE))
    fetch(gradient, np.uint64(3) * at + np.uint64(2 * _LINE))


@compiled(nogil=True, error_model="numpy")
def _sum_box(face, i, j, k, box, width, with_points, gradient, values, ids, barycentric, rest, row):
    """Add sums over the pixels of a face in a box to `row`; returns how many pixels those are.

    The row holds sums of `b_k G_c` for the channels c of corners k = 0, 1, 2, then of `b_k G.(v - v_0)`; see `chain`.
    """
    left, right, top, bottom = box
    plane, mine, none = np.uint64(ids.shape[0]), spread(np.int32(face)), spread(np.float32(0))
    # Values count from the first corner's, so that a large common offset cannot drown differences.
    j0, k0 = spread(values[j, 0] - values[i, 0]), spread(values[k, 0] - values[i, 0])
    j1, k1 = spread(values[j, 1] - values[i, 1]), spread(values[k, 1] - values[i, 1])
    j2, k2 = spread(values[j, 2] - values[i, 2]), spread(values[k, 2] - values[i, 2])
    a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = t0 = t1 = t2 = none
    pixels = np.uint64(0)
    for y in range(top, bottom):
        for x in range(left, right + 1, FEW):
            start = y * width + x
            n = np.uint64(start)
            if x + FEW <= width:
                here = load(ids, n) == mine
            else:
                # Not those of the next row; and the last block of the picture ends where that ends.
                at = min(start, ids.shape[0] - FEW)
                n, skip = np.uint64(at), start - at
                here = (load(ids, n) == mine) & span(np.int32(skip), np.int32(skip + width - x))
            pixels += count(bits(here))
            u, v = pick(here, load(barycentric, n), none), pick(here, load(barycentric, n + plane), none)
            w = pick(here, _third(u, v, rest, barycentric, n + plane + plane), none)
            g0, g1, g2 = load_three(gradient, np.uint64(3) * n)
            g0, g1, g2 = pick(here, g0, none), pick(here, g1, none), pick(here, g2, none)
            a0, a1, a2 = times_plus(u, g0, a0), times_plus(u, g1, a1), times_plus(u, g2, a2)
            b0, b1, b2 = times_plus(v, g0, b0), times_plus(v, g1, b1), times_plus(v, g2, b2)
            c0, c1, c2 = times_plus(w, g0, c0), times_plus(w, g1, c1), times_plus(w, g2, c2)
            along = times_plus(v, _dot(g0, g1, g2, j0, j1, j2), w * _dot(g0, g1, g2, k0, k1, k2))
            t0, t1, t2 = times_plus(u, along, t0), times_plus(v, along, t1), times_plus(w, along, t2)
    first, then = np.uint64(0), np.uint64(FEW)
    store(row, first, load(row, first) + as_doubles(totals((a0, a1, a2, b0, b1, b2, c0, c1))))
    store(row, then, load(row, then) + as_doubles(totals((c2, t0, t1, t2, none, none, none, none))))
    return pixels


@compiled(inline="always")
def _dot(x, y, z, i, j, k):
    return times_plus(z, k, times_plus(y, j, x * i))
