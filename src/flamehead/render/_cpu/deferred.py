"""From fragments to painted pixels in one pass, and back: pictures of this size cost by their memory.

Only covered pixels are worked on, sixteen at a time; nothing of the picture's size is written but the result, and
behind it the gradients of the albedo, which are needed once more for the texels. The way back works everything out
again, which is cheaper than to keep it.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.render._cpu.blocks import (
    COARSE,
    FAR,
    FINE,
    GU,
    GV,
    GX,
    LEVEL,
    NEAR,
    TOTAL,
    VALID,
    G,
    N,
    U,
    V,
    flatten,
    light_backward,
    lit,
    locate,
    look_up,
    measure,
    straighten,
    visit,
)
from flamehead.render._cpu.faces import ROW
from flamehead.render._cpu.vectors import add_outer, as_int, peek, poke, spread

__all__ = ["paint", "paint_backward", "pull_texels"]

# No memory is taken here: it comes from the caller, and so nobody has to count who uses it, which in loops of this kind
# takes most of the time.
_FAST = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}, "_nrt": False}
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


@compiled(**_FAST)
def paint(first, last, ids, planes, depth, perspective, faces, table, steps, scaled, encode, texels, starts, size, out,
          s, pixels):  # fmt: skip
    """Colour and 1 where something is seen, zeros elsewhere, in the pixels `first` to `last - 1`.

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
        out: Rows of 4, flat.
        s, pixels: Room for a block: `SIZE` numbers, and `N` places.
    """
    count, plane = 0, ids.shape[0]
    for n in range(first, last):
        face = np.int64(peek(ids, n))
        if face < 0:
            for c in range(4):
                poke(out, 4 * n + c, _ZERO)
            continue
        far = peek(depth, n) if perspective else _ONE
        a, b, c = peek(planes, n), peek(planes, n + plane), peek(planes, n + 2 * plane)
        visit(s, count, face, far, a, b, c, faces, table, steps)
        poke(pixels, count, n)
        count += 1
        if count == N:
            _finish(s, count, pixels, scaled, encode, texels, starts, size, out)
            count = 0
    if count:
        _finish(s, count, pixels, scaled, encode, texels, starts, size, out)


@compiled(inline="always")
def _look(s, count, texels, starts, size, slopes):
    """Everything up to the albedo."""
    measure(s, np.float32(size[0]), np.float32(size[1]), np.float32(size[2]))
    straighten(s)
    locate(s, np.float32(size[0]), np.float32(size[1]))
    for lane in range(count):
        look_up(s, lane, texels, starts, slopes)


@compiled(**_FAST)
def _finish(s, count, pixels, scaled, encode, texels, starts, size, out):
    _look(s, count, texels, starts, size, False)
    lit(s, 0, scaled, encode)
    lit(s, 1, scaled, encode)
    lit(s, 2, scaled, encode)
    for lane in range(count):
        at = 4 * peek(pixels, lane)
        for c in range(3):
            poke(out, at + c, peek(s, G + c * N + lane))
        poke(out, at + 3, _ONE)


@compiled(**_FAST)
def paint_backward(first, last, ids, planes, depth, perspective, faces, table, steps, scaled, encode, texels, starts,
                   size, g_out, place, seen, rows, samples, counts, sums, s, shares, pixels,
                   lane_rows):  # fmt: skip
    """Gradients of the pixels `first` to `last - 1`; the first arguments are those of `paint`.

    Args:
        g_out: Gradient of the result, rows of 4, flat.
        place: -1 for every face, and so it is left; the row of a face in between.
        seen, rows: Faces in the order in which they are seen first; their sums, see `ROW`, flat.
        samples: For every covered pixel u, v, level and the gradient of the albedo, rows of 8, flat.
        counts: How many faces and samples there are.
        sums: Gradient of `scaled`.
        s, shares, pixels, lane_rows: Room for a block: `SIZE` zeros, 3 `N` and twice `N` numbers.
    """
    plane = ids.shape[0]
    count = n_faces = n_samples = 0
    for n in range(first, last + N):
        face = np.int64(peek(ids, n)) if n < last else np.int64(-1)
        if face >= 0:
            far = peek(depth, n) if perspective else _ONE
            a, b, c = peek(planes, n), peek(planes, n + plane), peek(planes, n + 2 * plane)
            visit(s, count, face, far, a, b, c, faces, table, steps)
            if peek(place, face) < 0:
                place[face], seen[n_faces] = n_faces, face
                rows[ROW * n_faces : ROW * (n_faces + 1)] = _ZERO
                n_faces += 1
            poke(pixels, count, n)
            poke(lane_rows, count, np.int64(3) * peek(place, face))
            for k in range(3):
                poke(shares, k * N + count, a if k == 0 else b if k == 1 else c)
            count += 1
        if count == N or (n >= last and count > 0):
            _pull(s, count, pixels, scaled, encode, texels, starts, size, g_out)
            _hand_on(s, count, lane_rows, shares, faces, ids, pixels, table, rows, samples, n_samples)
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
    _look(s, count, texels, starts, size, True)
    for row in range(GX, GX + 5 * N):
        s[row] = _ZERO
    for row in range(3 * N):
        s[G + row] = _ZERO
    for lane in range(count):
        at, valid = 4 * peek(pixels, lane), peek(s, VALID + lane)
        for c in range(3):
            poke(s, G + c * N + lane, peek(g_out, at + c) * valid)
    light_backward(s, 0, scaled, encode)
    light_backward(s, 1, scaled, encode)
    light_backward(s, 2, scaled, encode)
    flatten(s)


@compiled(**_FAST)
def _hand_on(s, count, lane_rows, shares, faces, ids, pixels, table, rows, samples, n_samples):
    """From pixels to the sums of their faces, and to the list for the texels."""
    for lane in range(count):
        first = 8 * np.int64(peek(faces, 3 * np.int64(peek(ids, peek(pixels, lane)))))
        u, v, gu, gv = peek(s, U + lane), peek(s, V + lane), peek(s, GU + lane), peek(s, GV + lane)
        # Counted from the first corner, so that a common offset cannot drown differences; along itself a normal has
        # no gradient.
        along = gu * (u - peek(table, first + 3)) + gv * (v - peek(table, first + 4))
        a, b, c = peek(shares, lane), peek(shares, N + lane), peek(shares, 2 * N + lane)
        gx, gy, gz = peek(s, GX + lane), peek(s, GX + N + lane), peek(s, GX + 2 * N + lane)
        add_outer(rows, peek(lane_rows, lane), a, b, c, gx, gy, gz, gu, gv, along)
        at = 8 * (n_samples + lane)
        poke(samples, at, u)
        poke(samples, at + 1, v)
        poke(samples, at + 2, peek(s, LEVEL + lane))
        for channel in range(3):
            poke(samples, at + 3 + channel, peek(s, G + channel * N + lane))


@compiled(**_FAST)
def pull_texels(low, high, samples, bands, starts, size, g_texels, s):
    """Add the gradients of the albedo to the texels between the relative rows `low` and `high`.

    Each caller owns rows of the texture, not pixels: no two write the same texel, and every texel is summed in the
    order of pixels. `bands` holds where each part of the list starts and ends; `s` is room for a block.
    """
    height = np.float32(size[1])
    all_rows = low <= 0.0 and high >= 1.0
    count = 0
    for band in range(bands.shape[0]):
        for n in range(bands[band, 0], bands[band, 1]):
            v, level = peek(samples, 8 * n + 1), peek(samples, 8 * n + 2)
            if not all_rows:
                # Two rows of the coarser copy.
                margin = np.float32(np.int64(4) << np.int64(level)) / height
                row = min(max(_ONE - v, _ZERO), _ONE)
                if row + margin < low or row - margin > high:
                    continue
            poke(s, U + count, peek(samples, 8 * n))
            poke(s, V + count, v)
            poke(s, LEVEL + count, level)
            for c in range(3):
                poke(s, G + c * N + count, peek(samples, 8 * n + 3 + c))
            count += 1
            if count == N:
                _scatter(s, count, low, high, starts, size, g_texels)
                count = 0
    _scatter(s, count, low, high, starts, size, g_texels)


@compiled(**_FAST)
def _scatter(s, count, low, high, starts, size, g_texels):
    locate(s, np.float32(size[0]), np.float32(size[1]))
    for lane in range(count):
        fine, coarse = np.int64(as_int(peek(s, FINE + lane))), np.int64(as_int(peek(s, COARSE + lane)))
        _scatter_one(s, lane, NEAR, fine, low, high, starts, size, g_texels)
        _scatter_one(s, lane, FAR, coarse, low, high, starts, size, g_texels)


@compiled(inline="always")
def _scatter_one(s, lane, of, level, low, high, starts, size, g_texels):
    at = peek(starts, level) + np.int64(as_int(peek(s, of + lane)))
    right, down = np.int64(as_int(peek(s, of + N + lane))), np.int64(as_int(peek(s, of + 2 * N + lane)))
    weight, fx, fy = peek(s, of + 5 * N + lane), peek(s, of + 3 * N + lane), peek(s, of + 4 * N + lane)
    under = weight * fy
    above = weight - under
    red, green, blue = peek(s, G + lane), peek(s, G + N + lane), peek(s, G + 2 * N + lane)
    columns, rows = max(size[0] >> level, 1), max(size[1] >> level, 1)
    # First texels of the rows that are this caller's.
    begin = peek(starts, level) + columns * np.int64(np.floor(low * rows + 0.5))
    end = peek(starts, level) + columns * np.int64(np.floor(high * rows + 0.5))
    used = weight > _ZERO
    spread(g_texels, used & (begin <= at) & (at < end), at, right, above - above * fx, above * fx, red, green, blue)
    at += down
    spread(g_texels, used & (begin <= at) & (at < end), at, right, under - under * fx, under * fx, red, green, blue)
