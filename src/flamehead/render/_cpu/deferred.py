"""From fragments to painted pixels in one pass, and back: pictures of this size cost by their memory.

A block of neighbouring pixels is worked on at a time; nothing of the picture's size is written but the result. The way
back works everything out again, which is cheaper than to keep it, and ends in sums for each face and in the texels.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.lanes import FEW, load, load_three, store, store_three
from flamehead.render._cpu.blocks import (
    GX,
    HIGH,
    LOW,
    SEEN,
    TOTAL,
    VALID,
    G,
    N,
    flatten,
    light_backward,
    lit,
    look,
    note,
    scatter,
    sum_up,
    visit,
)
from flamehead.render._cpu.faces import ROW
from flamehead.render._cpu.vectors import peek

__all__ = ["paint", "paint_backward"]

# No memory is taken here: it comes from the caller, and so nobody has to count who uses it, which in loops of this kind
# takes most of the time. Products are not fused into sums: which ones LLVM chooses differs between copies of a kernel,
# and so between a process that compiles and those that find its work on disk.
_FAST = {"nogil": True, "error_model": "numpy", "_nrt": False}
_ZERO = np.float32(0.0)


@compiled(**_FAST)
def paint(first, last, ids, planes, depth, perspective, faces, table, steps, scaled, encode, texels, starts, size,
          image, alpha, extent, s):  # fmt: skip
    """Colour, and 1 where something is seen, zeros elsewhere, in the pixels `first` to `last - 1`, at least `N`.

    Args:
        first, last: Which pixels.
        ids, planes, depth: Fragments; barycentrics planar, flat.
        perspective: Whether depth counts.
        faces: Rows of `table`, flat.
        table: Normal and uv of every corner, rows of 8, flat.
        steps: Of every face, from `faces.steps`, flat.
        scaled: Coefficients times constants.
        encode: As sRGB.
        texels: Of the pyramid, rows of 4, flat.
        starts, size: First texel of each copy; width and height of the full image, and the last copy.
        image, alpha: The result, flat.
        extent: The least and the greatest v that were looked up; infinite the wrong way round where there are none.
        s: Room for a block, `SIZE` zeros.
    """
    s[LOW : LOW + N] = np.float32(np.inf)
    s[HIGH : HIGH + N] = np.float32(-np.inf)
    for start in range(first, last, N):
        # The last block ends where the pixels end, and paints some of them again.
        at = np.uint64(min(start, last - N))
        seen = visit(s, at, 0, N, ids, planes, depth, perspective, faces, table, steps)
        if seen != np.uint64(0):
            look(s, seen, texels, starts, size, False)
            note(s)
            lit(s, 0, scaled, encode)
            lit(s, 1, scaled, encode)
            lit(s, 2, scaled, encode)
        else:
            s[G : G + 3 * N] = _ZERO
        for part in range(N // FEW):
            to = np.uint64(FEW * part)
            red, green = load(s, np.uint64(G) + to), load(s, np.uint64(G + N) + to)
            store_three(image, np.uint64(3) * (at + to), red, green, load(s, np.uint64(G + 2 * N) + to))
            store(alpha, at + to, load(s, np.uint64(SEEN) + to))
    extent[0], extent[1] = np.float32(np.inf), np.float32(-np.inf)
    for lane in range(N):
        extent[0], extent[1] = min(extent[0], s[LOW + lane]), max(extent[1], s[HIGH + lane])


@compiled(**_FAST)
def paint_backward(first, last, width, ids, planes, depth, perspective, faces, table, steps, scaled, encode, texels,
                   starts, size, g_image, slots, changed, to_texels, spots, g_texels, place, seen, rows, count, sums,
                   s):  # fmt: skip
    """Gradients of the rows `first` to `last - 1` of a picture of at least `N` pixels.

    Args:
        first, last, width: Which rows of the picture, and how long they are.
        ids, planes, depth, perspective, faces, table, steps, scaled, encode, texels, starts, size: See `paint`.
        g_image: Gradient of the colours, flat.
        slots, changed: Blocks of these rows whose gradient is another, see `outlines.change`.
        to_texels: Whether gradients of texels are wanted.
        spots, g_texels: What `starts` is for `texels`; added to.
        place: -1 for every face, and so it is left; the row of a face in between.
        seen, rows: Faces in the order in which they are seen first; their sums, see `ROW`, flat.
        count: How many faces there are.
        sums: Gradient of `scaled`.
        s: Room for a block, `SIZE` zeros.
    """
    n_faces = 0
    for y in range(first, last):
        for x in range(0, width, N):
            start = y * width + x
            # The last block ends where the picture ends, and leaves out what belongs to the one before.
            at = min(start, ids.shape[0] - N)
            begin = start - at
            n, end = np.uint64(at), min(N, begin + width - x)
            shown = visit(s, n, begin, end, ids, planes, depth, perspective, faces, table, steps)
            if shown == np.uint64(0):
                continue
            for lane in range(begin, end):
                face = np.int64(peek(ids, at + lane))
                if face >= 0 and peek(place, face) < 0:
                    place[face], seen[n_faces] = n_faces, face
                    rows[ROW * n_faces : ROW * (n_faces + 1)] = _ZERO
                    n_faces += 1
            look(s, shown, texels, starts, size, True)
            slot = np.int64(peek(slots, (y - first) * ((width + N - 1) // N) + x // N))
            if slot < 0:
                _take_gradient(s, np.uint64(3) * n, g_image)
            else:
                _take_gradient(s, np.uint64(3 * N * slot), changed)
            light_backward(s, 0, scaled, encode)
            light_backward(s, 1, scaled, encode)
            light_backward(s, 2, scaled, encode)
            flatten(s)
            sum_up(s, n, begin, end, ids, planes, faces, table, place, rows)
            if to_texels:
                scatter(s, shown, spots, g_texels)
    for n in range(n_faces):
        place[seen[n]] = -1
    count[0] = n_faces
    for k in range(9):
        for c in range(3):
            total = _ZERO
            for lane in range(N):
                total += s[TOTAL + (9 * c + k) * N + lane]
            sums[k, c] = total


@compiled(inline="always")
def _take_gradient(s, at, gradient):
    """Of the colours, from a place on; zeros where nothing is looked up, and for what is about to be summed."""
    for part in range(N // FEW):
        to = np.uint64(FEW * part)
        red, green, blue = load_three(gradient, at + np.uint64(3) * to)
        store(s, np.uint64(G) + to, red)
        store(s, np.uint64(G + N) + to, green)
        store(s, np.uint64(G + 2 * N) + to, blue)
    for c in range(3):
        for lane in range(N):
            g = s[G + c * N + lane]
            s[G + c * N + lane] = g if s[VALID + lane] > _ZERO else _ZERO
    for row in range(GX, GX + 5 * N):
        s[row] = _ZERO
