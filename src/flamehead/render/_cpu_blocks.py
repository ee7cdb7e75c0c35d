"""What sixteen visible pixels have in common, step by step: the parts of `_cpu_deferred`.

A block is a flat array whose numbers lie in rows of 16 pixels at fixed places, so that LLVM sees that they do not
overlap; loops over a row have no branches and become vector instructions. Formulas are those of `harmonics`,
`sampling`, `srgb` and `texture`.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.render._cpu_vectors import as_float, as_int, bilinear, mix

__all__ = ["light_backward", "lit", "locate", "look_up", "measure", "place", "straighten", "visit"]

N = 16
"""Pixels in a block."""
X, Y, Z, INVERSE, U, V, DEPTH = 0 * N, 1 * N, 2 * N, 3 * N, 4 * N, 5 * N, 6 * N
"""Normal, one over its length, texture coordinates, view depth."""
STEPS = 7 * N
"""How texture coordinates over depth change along x and y, in texels, and one over depth: u, u, v, v, 1, 1."""
U0, V0 = 13 * N, 14 * N
"""Texture coordinates of the face's first corner."""
VALID, LEVEL, FINE = 15 * N, 16 * N, 17 * N
"""1 where there is a direction and a place on the texture; how small a copy to look at, and its whole part as bits."""
NEAR, FAR = 18 * N, 26 * N
"""Where to look in the finer and in the coarser copy: texel, steps right and down as bits, shares along x and y,
weight, weight times the change of x along u, and of y along v."""
ALBEDO, ALONG_U, ALONG_V = 34 * N, 37 * N, 40 * N
G, GX, GY, GZ, GU, GV = 43 * N, 46 * N, 47 * N, 48 * N, 49 * N, 50 * N
TOTAL = 51 * N
SIZE = 78 * N

_ZERO, _HALF, _ONE, _TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
_THREE, _SIX = np.float32(3.0), np.float32(6.0)


@compiled(inline="always")
def visit(s, lane, face, depth, a, b, c, faces, table, steps):
    """Begin a pixel: interpolate normal and texture coordinates, and note what its face has in common."""
    i = np.int64(faces[face, 0])
    x, y, z, u, v = mix(table, i, np.int64(faces[face, 1]), np.int64(faces[face, 2]), a, b, c)
    s[X + lane], s[Y + lane], s[Z + lane], s[U + lane], s[V + lane] = x, y, z, u, v
    s[DEPTH + lane] = depth
    at = np.uintp(8) * np.uintp(face)
    for k in range(6):
        s[STEPS + k * N + lane] = steps[at + np.uintp(k)]
    first = np.uintp(8) * np.uintp(i)
    s[U0 + lane], s[V0 + lane] = table[first + np.uintp(3)], table[first + np.uintp(4)]


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
        valid = placed & (square > _ZERO)
        s[X + lane], s[Y + lane], s[Z + lane] = x * inverse, y * inverse, z * inverse
        s[INVERSE + lane] = inverse if valid else _ZERO
        s[VALID + lane] = _ONE if valid else _ZERO
        s[U + lane], s[V + lane] = u if placed else _ZERO, v if placed else _ZERO


@compiled(inline="always")
def place(s, lane, to, level, weight, width, height):
    """Where to look in one copy."""
    columns, rows = np.int32(width >> level), np.int32(height >> level)
    columns, rows = max(columns, np.int32(1)), max(rows, np.int32(1))
    wide, high = np.float32(columns), np.float32(rows)
    x, y = s[U + lane] * wide - _HALF, (_ONE - s[V + lane]) * high - _HALF
    x_inside, y_inside = (x >= _ZERO) & (x <= wide - _ONE), (y >= _ZERO) & (y <= high - _ONE)
    x, y = min(max(x, _ZERO), wide - _ONE), min(max(y, _ZERO), high - _ONE)
    column, row = np.int32(x), np.int32(y)
    s[to + lane] = as_float(np.int32(row * columns + column))
    s[to + N + lane] = as_float(np.int32(1) if column + np.int32(1) < columns else np.int32(0))
    s[to + 2 * N + lane] = as_float(columns if row + np.int32(1) < rows else np.int32(0))
    s[to + 3 * N + lane], s[to + 4 * N + lane] = x - np.float32(column), y - np.float32(row)
    s[to + 5 * N + lane] = weight
    s[to + 6 * N + lane] = weight * wide if x_inside else _ZERO
    s[to + 7 * N + lane] = -weight * high if y_inside else _ZERO


@compiled(inline="always")
def locate(s, width, height, last_level):
    """Where to look in both copies."""
    for lane in range(N):
        level = s[LEVEL + lane]
        fine = np.int32(level)
        share = level - np.float32(fine)
        s[FINE + lane] = as_float(fine)
        place(s, lane, NEAR, fine, _ONE - share, width, height)
        place(s, lane, FAR, min(np.int32(fine + np.int32(1)), last_level), share, width, height)


@compiled(inline="always")
def look_up(s, lane, texels, starts):
    """The texture's colour at a pixel, and how it changes along u and v."""
    fine = np.int64(as_int(s[FINE + lane]))
    _look_up_one(s, lane, NEAR, starts[fine], texels)
    if s[FAR + 5 * N + lane] > _ZERO:
        r, g, b = s[ALBEDO + lane], s[ALBEDO + N + lane], s[ALBEDO + 2 * N + lane]
        ru, gu, bu = s[ALONG_U + lane], s[ALONG_U + N + lane], s[ALONG_U + 2 * N + lane]
        rv, gv, bv = s[ALONG_V + lane], s[ALONG_V + N + lane], s[ALONG_V + 2 * N + lane]
        _look_up_one(s, lane, FAR, starts[fine + 1], texels)
        s[ALBEDO + lane] += r
        s[ALBEDO + N + lane] += g
        s[ALBEDO + 2 * N + lane] += b
        s[ALONG_U + lane] += ru
        s[ALONG_U + N + lane] += gu
        s[ALONG_U + 2 * N + lane] += bu
        s[ALONG_V + lane] += rv
        s[ALONG_V + N + lane] += gv
        s[ALONG_V + 2 * N + lane] += bv


@compiled(inline="always")
def _look_up_one(s, lane, of, start, texels):
    at = start + np.int64(as_int(s[of + lane]))
    right, down = np.int64(as_int(s[of + N + lane])), np.int64(as_int(s[of + 2 * N + lane]))
    r, g, b, rx, gx, bx, ry, gy, by = bilinear(texels, at, right, down, s[of + 3 * N + lane], s[of + 4 * N + lane])
    weight, along_u, along_v = s[of + 5 * N + lane], s[of + 6 * N + lane], s[of + 7 * N + lane]
    s[ALBEDO + lane], s[ALBEDO + N + lane], s[ALBEDO + 2 * N + lane] = weight * r, weight * g, weight * b
    s[ALONG_U + lane], s[ALONG_U + N + lane], s[ALONG_U + 2 * N + lane] = along_u * rx, along_u * gx, along_u * bx
    s[ALONG_V + lane], s[ALONG_V + N + lane], s[ALONG_V + 2 * N + lane] = along_v * ry, along_v * gy, along_v * by


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
        s[GX + lane] = (s[GX + lane] - along * x) * inverse
        s[GY + lane] = (s[GY + lane] - along * y) * inverse
        s[GZ + lane] = (s[GZ + lane] - along * z) * inverse
