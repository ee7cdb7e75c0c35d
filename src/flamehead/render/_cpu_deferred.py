"""From fragments to painted pixels in one pass, and back: pictures of this size cost by their memory.

Only covered pixels are worked on, sixteen at a time; nothing of the picture's size is written but the result, and
behind it the gradients of the albedo, which are needed once more for the texels. The way back works everything out
again, which is cheaper than to keep it.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.render._cpu_blocks import (
    FINE,
    G,
    GU,
    GV,
    GX,
    LEVEL,
    NEAR,
    FAR,
    N,
    SIZE,
    TOTAL,
    U,
    U0,
    V,
    V0,
    VALID,
    flatten,
    light_backward,
    lit,
    locate,
    look_up,
    measure,
    straighten,
    visit,
)
from flamehead.render._cpu_faces import ROW
from flamehead.render._cpu_vectors import add_outer, as_int, spread

__all__ = ["paint", "paint_backward", "pull_texels"]

_FAST = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


@compiled(**_FAST)
def paint(first, last, ids, planes, depth, perspective, faces, table, steps, scaled, encode, texels, starts, size, out):
    """Colour and 1 where something is seen, zeros elsewhere, in the pixels `first` to `last - 1`.

    Args:
        first, last: Which pixels.
        ids, planes, depth: Fragments; barycentrics planar.
        perspective: Whether depth counts.
        faces: Rows of `table`.
        table: Normal and uv of every corner, rows of 8, flat.
        steps: Of every face, from `_cpu_faces.steps`, flat.
        scaled: Coefficients times constants.
        encode: As sRGB.
        texels: Of the pyramid, rows of 4, flat.
        starts, size: First texel of each copy; width and height of the full image, and the last copy.
        out: Rows of 4, flat.
    """
    s, pixels = np.zeros(SIZE, dtype=np.float32), np.zeros(N, dtype=np.uintp)
    count = 0
    for n in range(first, last):
        face = ids[n]
        if face < 0:
            at = np.uintp(4) * np.uintp(n)
            out[at] = out[at + np.uintp(1)] = out[at + np.uintp(2)] = out[at + np.uintp(3)] = _ZERO
            continue
        far = depth[n] if perspective else _ONE
        visit(s, count, face, far, planes[0, n], planes[1, n], planes[2, n], faces, table, steps)
        pixels[count] = n
        count += 1
        if count == N:
            _finish(s, count, pixels, scaled, encode, texels, starts, size, out)
            count = 0
    if count:
        _finish(s, count, pixels, scaled, encode, texels, starts, size, out)


@compiled(inline="always")
def _look(s, count, texels, starts, size):
    """Everything up to the albedo."""
    measure(s, np.float32(size[0]), np.float32(size[1]), np.float32(size[2]))
    straighten(s)
    locate(s, np.int32(size[0]), np.int32(size[1]), np.int32(size[2]))
    for lane in range(count):
        look_up(s, lane, texels, starts)


@compiled(**_FAST)
def _finish(s, count, pixels, scaled, encode, texels, starts, size, out):
    _look(s, count, texels, starts, size)
    lit(s, 0, scaled, encode)
    lit(s, 1, scaled, encode)
    lit(s, 2, scaled, encode)
    for lane in range(count):
        at = np.uintp(4) * pixels[lane]
        out[at], out[at + np.uintp(1)] = s[G + lane], s[G + N + lane]
        out[at + np.uintp(2)], out[at + np.uintp(3)] = s[G + 2 * N + lane], _ONE


@compiled(**_FAST)
def paint_backward(first, last, ids, planes, depth, perspective, faces, table, steps, scaled, encode, texels, starts,
                   size, g_out, place, seen, rows, samples, counts, sums):  # fmt: skip
    """Gradients of the pixels `first` to `last - 1`; the first arguments are those of `paint`.

    Args:
        g_out: Gradient of the result, rows of 4, flat.
        place: -1 for every face, and so it is left; the row of a face in between.
        seen, rows: Faces in the order in which they are seen first; their sums, see `ROW`, flat.
        samples: For every covered pixel u, v, level and the gradient of the albedo, rows of 8, flat.
        counts: How many faces and samples there are.
        sums: Gradient of `scaled`.
    """
    s, pixels = np.zeros(SIZE, dtype=np.float32), np.zeros(N, dtype=np.uintp)
    s[TOTAL:] = _ZERO
    count = n_faces = n_samples = 0
    for n in range(first, last + N):
        if n < last and ids[n] >= 0:
            face = ids[n]
            far = depth[n] if perspective else _ONE
            visit(s, count, face, far, planes[0, n], planes[1, n], planes[2, n], faces, table, steps)
            if place[face] < 0:
                place[face], seen[n_faces] = n_faces, face
                rows[ROW * n_faces : ROW * (n_faces + 1)] = _ZERO
                n_faces += 1
            pixels[count] = n
            count += 1
        if count == N or (n >= last and count > 0):
            _pull(s, count, pixels, scaled, encode, texels, starts, size, g_out)
            _hand_on(s, count, pixels, ids, planes, place, rows, samples, n_samples)
            n_samples += count
            count = 0
        if n >= last:
            break
    for n in range(n_faces):
        place[seen[n]] = -1
    counts[0], counts[1] = n_faces, n_samples
    for k in range(9):
        for c in range(3):
            total = _ZERO
            for lane in range(N):
                total += s[TOTAL + (9 * c + k) * N + lane]
            sums[k, c] = total


@compiled(**_FAST)
def _pull(s, count, pixels, scaled, encode, texels, starts, size, g_out):
    """Gradients at the pixels of a block."""
    _look(s, count, texels, starts, size)
    for row in range(GX, GX + 5 * N):
        s[row] = _ZERO
    for row in range(3 * N):
        s[G + row] = _ZERO
    for lane in range(count):
        at = np.uintp(4) * pixels[lane]
        for c in range(3):
            s[G + c * N + lane] = g_out[at + np.uintp(c)] * s[VALID + lane]
    light_backward(s, 0, scaled, encode)
    light_backward(s, 1, scaled, encode)
    light_backward(s, 2, scaled, encode)
    flatten(s)


@compiled(**_FAST)
def _hand_on(s, count, pixels, ids, planes, place, rows, samples, n_samples):
    """From pixels to the sums of their faces, and to the list for the texels."""
    for lane in range(count):
        n = pixels[lane]
        row = np.int64(3) * place[ids[n]]
        gu, gv = s[GU + lane], s[GV + lane]
        # Counted from the first corner, so that a common offset cannot drown differences; along itself a normal has
        # no gradient.
        along = gu * (s[U + lane] - s[U0 + lane]) + gv * (s[V + lane] - s[V0 + lane])
        a, b, c = planes[0, n], planes[1, n], planes[2, n]
        add_outer(rows, row, a, b, c, s[GX + lane], s[GX + N + lane], s[GX + 2 * N + lane], gu, gv, along)
        at = np.uintp(8) * np.uintp(n_samples + lane)
        samples[at], samples[at + np.uintp(1)], samples[at + np.uintp(2)] = s[U + lane], s[V + lane], s[LEVEL + lane]
        samples[at + np.uintp(3)], samples[at + np.uintp(4)] = s[G + lane], s[G + N + lane]
        samples[at + np.uintp(5)] = s[G + 2 * N + lane]


@compiled(**_FAST)
def pull_texels(low, high, samples, bands, starts, size, g_texels):
    """Add the gradients of the albedo to the texels between the relative rows `low` and `high`.

    Each caller owns rows of the texture, not pixels: no two write the same texel, and every texel is summed in the
    order of pixels. `bands` holds where each part of the list starts and ends.
    """
    s, height = np.zeros(SIZE, dtype=np.float32), np.float32(size[1])
    all_rows = low <= 0.0 and high >= 1.0
    count = 0
    for band in range(bands.shape[0]):
        for n in range(bands[band, 0], bands[band, 1]):
            at = np.uintp(8) * np.uintp(n)
            v, level = samples[at + np.uintp(1)], samples[at + np.uintp(2)]
            if not all_rows:
                # Two rows of the coarser copy.
                margin = np.float32(np.int64(4) << np.int64(level)) / height
                row = min(max(_ONE - v, _ZERO), _ONE)
                if row + margin < low or row - margin > high:
                    continue
            s[U + count], s[V + count], s[LEVEL + count] = samples[at], v, level
            for c in range(3):
                s[G + c * N + count] = samples[at + np.uintp(3 + c)]
            count += 1
            if count == N:
                _scatter(s, count, low, high, starts, size, g_texels)
                count = 0
    _scatter(s, count, low, high, starts, size, g_texels)


@compiled(**_FAST)
def _scatter(s, count, low, high, starts, size, g_texels):
    locate(s, np.int32(size[0]), np.int32(size[1]), np.int32(size[2]))
    for lane in range(count):
        fine = np.int64(as_int(s[FINE + lane]))
        _scatter_one(s, lane, NEAR, fine, low, high, starts, size, g_texels)
        if s[FAR + 5 * N + lane] > _ZERO:
            _scatter_one(s, lane, FAR, fine + 1, low, high, starts, size, g_texels)


@compiled(inline="always")
def _scatter_one(s, lane, of, level, low, high, starts, size, g_texels):
    at = starts[level] + np.int64(as_int(s[of + lane]))
    right, down = np.int64(as_int(s[of + N + lane])), np.int64(as_int(s[of + 2 * N + lane]))
    weight, fx, fy = s[of + 5 * N + lane], s[of + 3 * N + lane], s[of + 4 * N + lane]
    under = weight * fy
    above = weight - under
    red, green, blue = s[G + lane], s[G + N + lane], s[G + 2 * N + lane]
    columns, rows = max(size[0] >> level, 1), max(size[1] >> level, 1)
    # First texels of the rows that are this caller's.
    begin = starts[level] + columns * np.int64(np.floor(low * rows + 0.5))
    end = starts[level] + columns * np.int64(np.floor(high * rows + 0.5))
    if begin <= at < end:
        spread(g_texels, at, right, above - above * fx, above * fx, red, green, blue)
    if begin <= at + down < end:
        spread(g_texels, at + down, right, under - under * fx, under * fx, red, green, blue)


