"""What a block of neighbouring pixels has in common, step by step: the parts of `deferred`.

A block is a flat array whose numbers lie in rows, one for each pixel, at fixed places, so that LLVM sees that they do
not overlap; loops over a row have no branches and become vector instructions. Formulas are those of `harmonics`,
`sampling`, `srgb` and `texture`.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.lanes import FEW, bits, first, load, pick, span, spread, store
from flamehead.render._cpu.faces import ROW
from flamehead.render._cpu.vectors import (
    BLOCK,
    add_texels,
    as_float,
    as_int,
    look_up,
    look_up_with_slopes,
    peek,
    prefetch,
    totals,
)

__all__ = ["SIZE", "N", "flatten", "light_backward", "lit", "look", "note", "scatter", "sum_up", "visit"]

N = BLOCK
X, Y, Z, INVERSE, U, V, DEPTH = 0 * N, 1 * N, 2 * N, 3 * N, 4 * N, 5 * N, 6 * N
"""Normal, one over its length, texture coordinates, view depth."""
STEPS = 7 * N
"""How texture coordinates over depth change along x and y, in texels, and one over depth: u, u, v, v, 1, 1."""
VALID, LEVEL, FINE, COARSE = 14 * N, 15 * N, 16 * N, 17 * N
"""1 where there is a direction and a place on the texture; how small a copy to look at, and the two as bits."""
NEAR, FAR = 18 * N, 26 * N
"""Where to look in the finer and in the coarser copy: texel, steps right and down as bits, shares along x and y,
weight, weight times the change of x along u, and of y along v."""
ALBEDO, ALONG_U, ALONG_V = 34 * N, 37 * N, 40 * N
G, GX, GY, GZ, GU, GV = 43 * N, 46 * N, 47 * N, 48 * N, 49 * N, 50 * N
TOTAL = 51 * N
"""Sums of each harmonic function times the gradient of the light: 9 for each channel."""
SEEN, LOW, HIGH = 78 * N, 79 * N, 80 * N
"""1 where a face is seen; the least and the greatest v so far."""
COLORS = 81 * N
"""Rows of four for each pixel: colours of the texture and their slopes, or the gradient of the albedo."""
SIZE = 93 * N

_ZERO, _HALF, _ONE, _TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
_THREE, _SIX = np.float32(3.0), np.float32(6.0)
_UP0, _UP1, _UP2, _UP3, _UP4 = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_UP5 = np.uint64(5)


@compiled(inline="always")
def visit(s, at, begin, end, ids, planes, depth, perspective, faces, table, steps):
    """Normals, texture coordinates and what faces have in common, at the lanes `begin` to `end - 1` from pixel `at` on.

    Every face that is seen is spread over all lanes and kept in its own. Returns the lanes that show one, as bits.
    """
    seen, plane, zero = np.uint64(0), np.uint64(ids.shape[0]), spread(_ZERO)
    for part in range(N // FEW):
        to = np.uint64(FEW * part)
        n = at + to
        shown = load(ids, n)
        valid = (shown >= spread(np.int32(0))) & span(np.int32(begin - FEW * part), np.int32(end - FEW * part))
        left = bits(valid)
        seen |= left << to
        a, b, c = load(planes, n), load(planes, n + plane), load(planes, n + plane + plane)
        x = y = z = u = v = p = q = r = t = e = f = zero
        while left != np.uint64(0):
            face = np.uint64(ids[n + first(left)])
            here = shown == spread(np.int32(face))
            left &= ~bits(here)
            corner = np.uint64(3) * face
            i, j = np.uint64(8) * np.uint64(faces[corner]), np.uint64(8) * np.uint64(faces[corner + np.uint64(1)])
            k, step = np.uint64(8) * np.uint64(faces[corner + np.uint64(2)]), np.uint64(8) * face
            x = pick(here, mixed(table, i, j, k, _UP0, a, b, c), x)
            y = pick(here, mixed(table, i, j, k, _UP1, a, b, c), y)
            z = pick(here, mixed(table, i, j, k, _UP2, a, b, c), z)
            u = pick(here, mixed(table, i, j, k, _UP3, a, b, c), u)
            v = pick(here, mixed(table, i, j, k, _UP4, a, b, c), v)
            p, q = pick(here, spread(steps[step]), p), pick(here, spread(steps[step + _UP1]), q)
            r = pick(here, spread(steps[step + _UP2]), r)
            t = pick(here, spread(steps[step + _UP3]), t)
            e = pick(here, spread(steps[step + _UP4]), e)
            f = pick(here, spread(steps[step + _UP5]), f)
        store(s, np.uint64(X) + to, x)
        store(s, np.uint64(Y) + to, y)
        store(s, np.uint64(Z) + to, z)
        store(s, np.uint64(U) + to, u)
        store(s, np.uint64(V) + to, v)
        store(s, np.uint64(STEPS) + to, p)
        store(s, np.uint64(STEPS + N) + to, q)
        store(s, np.uint64(STEPS + 2 * N) + to, r)
        store(s, np.uint64(STEPS + 3 * N) + to, t)
        store(s, np.uint64(STEPS + 4 * N) + to, e)
        store(s, np.uint64(STEPS + 5 * N) + to, f)
        store(s, np.uint64(DEPTH) + to, load(depth, n) if perspective else spread(_ONE))
        store(s, np.uint64(SEEN) + to, pick(valid, spread(_ONE), zero))
    return seen


@compiled(inline="always")
def mixed(table, i, j, k, column, a, b, c):
    """One of the values at a face's corners in all lanes."""
    return a * spread(table[i + column]) + b * spread(table[j + column]) + c * spread(table[k + column])


@compiled(inline="always")
def measure(s, width, height, last_level):
    """How small a copy to look at."""
    for lane in range(N):
        z, u, v = s[DEPTH + lane], s[U + lane] * width, s[V + lane] * height
        along, down = s[STEPS + 4 * N + lane], s[STEPS + 5 * N + lane]
        u_right, u_down = s[STEPS + lane] - u * along, s[STEPS + N + lane] - u * down
        v_right, v_down = s[STEPS + 2 * N + lane] - v * along, s[STEPS + 3 * N + lane] - v * down
        right, below = u_right * u_right + v_right * v_right, u_down * u_down + v_down * v_down
        square = z * z * (right if right > below else below)
        square = square if square > _ONE else _ONE
        bits = as_int(square)
        mantissa = as_float(np.int32((bits & np.int32(0x7FFFFF)) | np.int32(0x3F800000)))
        # log2(m) = 2 / ln 2 * artanh((m - 1) / (m + 1)), to 2e-6.
        t = (mantissa - _ONE) / (mantissa + _ONE)
        t2 = t * t
        series = np.float32(1 / 9) * t2 + np.float32(1 / 7)
        series = (series * t2 + np.float32(1 / 5)) * t2 + np.float32(1 / 3)
        log = np.float32(np.int32(bits >> np.int32(23)) - np.int32(127))
        log += np.float32(2.8853900817779268) * t * (series * t2 + _ONE)
        level = _HALF * log
        s[LEVEL + lane] = level if level < last_level else last_level


@compiled(inline="always")
def straighten(s):
    """Make normals unit vectors, and note which pixels have one and a place on the texture."""
    for lane in range(N):
        x, y, z, u, v = s[X + lane], s[Y + lane], s[Z + lane], s[U + lane], s[V + lane]
        square = x * x + y * y + z * z
        inverse = _ONE / np.sqrt(square if square > _ZERO else _ONE)
        placed = (u - u == _ZERO) & (v - v == _ZERO)
        valid = placed & (square > _ZERO) & (s[SEEN + lane] > _ZERO)
        # Not even times nothing may go into sums what is not finite.
        s[X + lane], s[Y + lane] = x * inverse if valid else _ZERO, y * inverse if valid else _ZERO
        s[Z + lane] = z * inverse if valid else _ZERO
        s[INVERSE + lane] = inverse if valid else _ZERO
        s[VALID + lane] = _ONE if valid else _ZERO
        s[U + lane], s[V + lane] = u if placed else _ZERO, v if placed else _ZERO


@compiled(inline="always")
def place(s, lane, to, level, weight, width, height):
    """Where to look in one copy."""
    # Sides are halved by a power of two made from its bits, and rounded down.
    half = as_float(np.int32((np.int32(127) - level) << np.int32(23)))
    wide, high = np.floor(width * half), np.floor(height * half)
    wide, high = wide if wide > _ONE else _ONE, high if high > _ONE else _ONE
    x, y = s[U + lane] * wide - _HALF, (_ONE - s[V + lane]) * high - _HALF
    right, bottom = wide - _ONE, high - _ONE
    x_inside, y_inside = (x >= _ZERO) & (x <= right), (y >= _ZERO) & (y <= bottom)
    x, y = x if x > _ZERO else _ZERO, y if y > _ZERO else _ZERO
    x, y = x if x < right else right, y if y < bottom else bottom
    column, row = np.floor(x), np.floor(y)
    columns = np.int32(wide)
    s[to + lane] = as_float(np.int32(np.int32(row) * columns + np.int32(column)))
    s[to + N + lane] = as_float(np.int32(1) if column < right else np.int32(0))
    s[to + 2 * N + lane] = as_float(columns if row < bottom else np.int32(0))
    s[to + 3 * N + lane], s[to + 4 * N + lane] = x - column, y - row
    s[to + 5 * N + lane] = weight
    s[to + 6 * N + lane] = weight * wide if x_inside else _ZERO
    s[to + 7 * N + lane] = -weight * high if y_inside else _ZERO


@compiled(inline="always")
def locate(s, width, height):
    """Where to look in both copies."""
    for lane in range(N):
        level = s[LEVEL + lane]
        fine = np.int32(level)
        coarse = np.int32(fine + np.int32(1))
        share = level - np.float32(fine)
        # Where it has no share, the coarser copy is not looked at: there may be none, or what is there not finite.
        coarse = coarse if share > _ZERO else fine
        s[FINE + lane], s[COARSE + lane] = as_float(fine), as_float(coarse)
        place(s, lane, NEAR, fine, _ONE - share, width, height)
        place(s, lane, FAR, coarse, share, width, height)


@compiled(inline="always")
def note(s):
    """Widen the range of v."""
    for lane in range(N):
        v, valid, low, high = s[V + lane], s[VALID + lane] > _ZERO, s[LOW + lane], s[HIGH + lane]
        s[LOW + lane], s[HIGH + lane] = v if valid & (v < low) else low, v if valid & (v > high) else high


@compiled(inline="always")
def look(s, seen, texels, starts, size, slopes):
    """Everything up to the albedo, and if wanted how it changes along u and v."""
    measure(s, np.float32(size[0]), np.float32(size[1]), np.float32(size[2]))
    straighten(s)
    locate(s, np.float32(size[0]), np.float32(size[1]))
    left = seen
    while left != np.uint64(0):
        lane = np.int64(first(left))
        left &= left - np.uint64(1)
        near, far = _sloping_spot(s, lane, NEAR, FINE, starts), _sloping_spot(s, lane, FAR, COARSE, starts)
        # Pixels wait for texels more than for anything else; the next row of pixels most often looks at the row below.
        prefetch(texels, near[0] + 2 * near[2])
        prefetch(texels, far[0] + 2 * far[2])
        if slopes:
            look_up_with_slopes(texels, near, far, s, COLORS + 4 * lane)
        else:
            look_up(texels, near[:6], far[:6], s, COLORS + 4 * lane)
    for c in range(9 if slopes else 3):
        _from_rows_of_four(s, COLORS + 4 * N * (c // 3) + c % 3, ALBEDO + c * N)


@compiled(inline="always")
def spot(s, lane, of, level, starts):
    """Where to look in one copy, see `vectors`."""
    at = peek(starts, np.int64(as_int(peek(s, level + lane)))) + np.int64(as_int(peek(s, of + lane)))
    right, down = np.int64(as_int(peek(s, of + N + lane))), np.int64(as_int(peek(s, of + 2 * N + lane)))
    return at, right, down, peek(s, of + 3 * N + lane), peek(s, of + 4 * N + lane), peek(s, of + 5 * N + lane)


@compiled(inline="always")
def _sloping_spot(s, lane, of, level, starts):
    at, right, down, fx, fy, weight = spot(s, lane, of, level, starts)
    return at, right, down, fx, fy, weight, peek(s, of + 6 * N + lane), peek(s, of + 7 * N + lane)


@compiled(inline="always")
def _from_rows_of_four(s, source, to):
    """One number of every row; 0 where there is nothing to look up."""
    for lane in range(N):
        value = s[source + 4 * lane]
        s[to + lane] = value if s[VALID + lane] > _ZERO else _ZERO


@compiled(inline="always")
def _root(x):
    """`x**(-1/12)` to rounding: a guess from the exponent, 3 % off at most, then Householder's method twice."""
    y = as_float(np.int32(np.float32(1153706368.0) - np.float32(as_int(x)) * np.float32(1 / 12)))
    y3 = y * y * y
    y6 = y3 * y3
    e = _ONE - x * (y6 * y6)
    y *= _ONE + e * (np.float32(1 / 12) + e * (np.float32(13 / 288) + e * np.float32(325 / 10368)))
    y3 = y * y * y
    y6 = y3 * y3
    e = _ONE - x * (y6 * y6)
    return y * (_ONE + e * (np.float32(1 / 12) + e * np.float32(13 / 288)))


@compiled(inline="always")
def lit(s, c, scaled, encode):
    """Light times albedo of a channel, in place of the albedo; encoded if wanted."""
    k0, k1, k2, k3, k4 = scaled[0, c], scaled[1, c], scaled[2, c], scaled[3, c], scaled[4, c]
    k5, k6, k7, k8 = scaled[5, c], scaled[6, c], scaled[7, c], scaled[8, c]
    for lane in range(N):
        x, y, z = s[X + lane], s[Y + lane], s[Z + lane]
        light = k0 + k1 * x + k2 * y + k3 * z + k4 * x * y + k5 * x * z + k6 * y * z
        light += k7 * (x * x - y * y) + k8 * (_THREE * z * z - _ONE)
        value = light * s[ALBEDO + c * N + lane]
        if encode:
            curved = max(value, np.float32(0.003))
            bent = np.float32(1.055) * (np.sqrt(curved) * _root(curved)) - np.float32(0.055)
            value = bent if value > np.float32(0.0031308) else np.float32(12.92) * value
        # Where there is no direction there is no light either, even if the coefficients are not finite.
        s[G + c * N + lane] = value if s[VALID + lane] > _ZERO else _ZERO


@compiled(inline="always")
def light_backward(s, c, scaled, encode):
    """Gradients through one channel; the gradient of the colour becomes that of the albedo."""
    k0, k1, k2, k3, k4 = scaled[0, c], scaled[1, c], scaled[2, c], scaled[3, c], scaled[4, c]
    k5, k6, k7, k8 = scaled[5, c], scaled[6, c], scaled[7, c], scaled[8, c]
    total = TOTAL + 9 * c * N
    for lane in range(N):
        x, y, z, albedo = s[X + lane], s[Y + lane], s[Z + lane], s[ALBEDO + c * N + lane]
        square, polar = x * x - y * y, _THREE * z * z - _ONE
        light = k0 + k1 * x + k2 * y + k3 * z + k4 * x * y + k5 * x * z + k6 * y * z + k7 * square + k8 * polar
        g = s[G + c * N + lane]
        if encode:
            value = light * albedo
            root = _root(max(value, np.float32(0.003)))
            cube = root * root * root
            slope = np.float32(1.055 / 2.4) * (cube * cube * root)
            g *= slope if value > np.float32(0.0031308) else np.float32(12.92)
        pulled = g * light
        s[G + c * N + lane] = pulled
        s[GU + lane] += pulled * s[ALONG_U + c * N + lane]
        s[GV + lane] += pulled * s[ALONG_V + c * N + lane]
        g *= albedo
        s[total + lane] += g
        s[total + N + lane] += g * x
        s[total + 2 * N + lane] += g * y
        s[total + 3 * N + lane] += g * z
        s[total + 4 * N + lane] += g * x * y
        s[total + 5 * N + lane] += g * x * z
        s[total + 6 * N + lane] += g * y * z
        s[total + 7 * N + lane] += g * square
        s[total + 8 * N + lane] += g * polar
        s[GX + lane] += g * (k1 + k4 * y + k5 * z + _TWO * k7 * x)
        s[GY + lane] += g * (k2 + k4 * x + k6 * z - _TWO * k7 * y)
        s[GZ + lane] += g * (k3 + k5 * x + k6 * y + _SIX * k8 * z)


@compiled(inline="always")
def flatten(s):
    """The length of a normal has no effect: the gradient along it is taken out."""
    for lane in range(N):
        x, y, z, inverse = s[X + lane], s[Y + lane], s[Z + lane], s[INVERSE + lane]
        along = s[GX + lane] * x + s[GY + lane] * y + s[GZ + lane] * z
        valid = s[VALID + lane] > _ZERO
        s[GX + lane] = (s[GX + lane] - along * x) * inverse if valid else _ZERO
        s[GY + lane] = (s[GY + lane] - along * y) * inverse if valid else _ZERO
        s[GZ + lane] = (s[GZ + lane] - along * z) * inverse if valid else _ZERO
        s[GU + lane] = s[GU + lane] if valid else _ZERO
        s[GV + lane] = s[GV + lane] if valid else _ZERO


@compiled(inline="always")
def scatter(s, seen, starts, g_texels):
    """Add the gradient of the albedo to the texels."""
    for lane in range(N):
        for c in range(3):
            s[COLORS + 4 * lane + c] = s[G + c * N + lane]
        s[COLORS + 4 * lane + 3] = _ZERO
    left = seen
    while left != np.uint64(0):
        lane = np.int64(first(left))
        left &= left - np.uint64(1)
        if peek(s, VALID + lane) > _ZERO:
            add_texels(g_texels, spot(s, lane, NEAR, FINE, starts), s, COLORS + 4 * lane)
            # Without a share the coarser copy is the finer one, or what is there may not be finite.
            if peek(s, FAR + 5 * N + lane) > _ZERO:
                add_texels(g_texels, spot(s, lane, FAR, COARSE, starts), s, COLORS + 4 * lane)


@compiled(inline="always")
def sum_up(s, at, begin, end, ids, planes, faces, table, place, rows):
    """Add the gradients of normals and texture coordinates to the sums of faces, see `ROW`; `place` says where."""
    plane, zero = np.uint64(ids.shape[0]), spread(_ZERO)
    for part in range(N // FEW):
        to = np.uint64(FEW * part)
        n = at + to
        shown = load(ids, n)
        valid = (shown >= spread(np.int32(0))) & span(np.int32(begin - FEW * part), np.int32(end - FEW * part))
        left = bits(valid)
        while left != np.uint64(0):
            face = np.uint64(ids[n + first(left)])
            here = valid & (shown == spread(np.int32(face)))
            left &= ~bits(here)
            a, b = pick(here, load(planes, n), zero), pick(here, load(planes, n + plane), zero)
            c = pick(here, load(planes, n + plane + plane), zero)
            gx = pick(here, load(s, np.uint64(GX) + to), zero)
            gy = pick(here, load(s, np.uint64(GY) + to), zero)
            gz = pick(here, load(s, np.uint64(GZ) + to), zero)
            gu = pick(here, load(s, np.uint64(GU) + to), zero)
            gv = pick(here, load(s, np.uint64(GV) + to), zero)
            corner = np.uint64(3) * face
            i, j = np.uint64(8) * np.uint64(faces[corner]), np.uint64(8) * np.uint64(faces[corner + np.uint64(1)])
            k = np.uint64(8) * np.uint64(faces[corner + np.uint64(2)])
            # Counted from the first corner, so that a common offset cannot drown differences.
            along = b * rise(table, i, j, gx, gy, gz, gu, gv) + c * rise(table, i, k, gx, gy, gz, gu, gv)
            row = np.uint64(ROW) * np.uint64(place[face])
            one = totals(a * gx, a * gy, a * gz, a * gu, a * gv, a * along)
            two = totals(b * gx, b * gy, b * gz, b * gu, b * gv, b * along)
            three = totals(c * gx, c * gy, c * gz, c * gu, c * gv, c * along)
            store(rows, row, load(rows, row) + one)
            store(rows, row + np.uint64(8), load(rows, row + np.uint64(8)) + two)
            store(rows, row + np.uint64(16), load(rows, row + np.uint64(16)) + three)


@compiled(inline="always")
def rise(table, i, j, gx, gy, gz, gu, gv):
    """The gradient times the change of the values from one corner to another."""
    x, y, z = table[j] - table[i], table[j + _UP1] - table[i + _UP1], table[j + _UP2] - table[i + _UP2]
    u, v = table[j + _UP3] - table[i + _UP3], table[j + _UP4] - table[i + _UP4]
    return gx * spread(x) + gy * spread(y) + gz * spread(z) + gu * spread(u) + gv * spread(v)
