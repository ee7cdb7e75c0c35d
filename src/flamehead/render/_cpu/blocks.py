"""What sixteen visible pixels have in common, step by step: the parts of `deferred`.

A block is a flat array whose numbers lie in rows of 16 pixels at fixed places, so that LLVM sees that they do not
overlap; loops over a row have no branches and become vector instructions. Formulas are those of `harmonics`,
`sampling`, `srgb` and `texture`.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.render._cpu.vectors import as_float, as_int, bilinear, mix, peek, poke

__all__ = ["light_backward", "lit", "locate", "look_up", "measure", "place", "straighten", "visit"]

N = 16
"""Pixels in a block."""
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
SIZE = 78 * N

_ZERO, _HALF, _ONE, _TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
_THREE, _SIX = np.float32(3.0), np.float32(6.0)


@compiled(inline="always")
def visit(s, lane, face, depth, a, b, c, faces, table, steps):
    """Begin a pixel: interpolate normal and texture coordinates, and note what its face has in common."""
    corner = np.int64(3) * face
    i = np.int64(peek(faces, corner))
    x, y, z, u, v = mix(table, i, np.int64(peek(faces, corner + 1)), np.int64(peek(faces, corner + 2)), a, b, c)
    poke(s, X + lane, x)
    poke(s, Y + lane, y)
    poke(s, Z + lane, z)
    poke(s, U + lane, u)
    poke(s, V + lane, v)
    poke(s, DEPTH + lane, depth)
    for k in range(6):
        poke(s, STEPS + k * N + lane, peek(steps, np.int64(8) * face + k))


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
def look_up(s, lane, texels, starts, slopes):
    """The texture's colour at a pixel, and if wanted how it changes along u and v."""
    start = peek(starts, np.int64(as_int(peek(s, FINE + lane))))
    weight, along_u, along_v, r, g, b, rx, gx, bx, ry, gy, by = _look_up_one(s, lane, NEAR, start, texels)
    r, g, b = weight * r, weight * g, weight * b
    ru, gu, bu, rv, gv, bv = along_u * rx, along_u * gx, along_u * bx, along_v * ry, along_v * gy, along_v * by
    start = peek(starts, np.int64(as_int(peek(s, COARSE + lane))))
    weight, along_u, along_v, r1, g1, b1, rx, gx, bx, ry, gy, by = _look_up_one(s, lane, FAR, start, texels)
    r, g, b = r + weight * r1, g + weight * g1, b + weight * b1
    ru, gu, bu = ru + along_u * rx, gu + along_u * gx, bu + along_u * bx
    rv, gv, bv = rv + along_v * ry, gv + along_v * gy, bv + along_v * by
    _poke_three(s, ALBEDO + lane, r, g, b)
    if slopes:
        _poke_three(s, ALONG_U + lane, ru, gu, bu)
        _poke_three(s, ALONG_V + lane, rv, gv, bv)


@compiled(inline="always")
def _poke_three(s, at, a, b, c):
    poke(s, at, a)
    poke(s, at + N, b)
    poke(s, at + 2 * N, c)


@compiled(inline="always")
def _look_up_one(s, lane, of, start, texels):
    at = start + np.int64(as_int(peek(s, of + lane)))
    right, down = np.int64(as_int(peek(s, of + N + lane))), np.int64(as_int(peek(s, of + 2 * N + lane)))
    r, g, b, rx, gx, bx, ry, gy, by = bilinear(
        texels, at, right, down, peek(s, of + 3 * N + lane), peek(s, of + 4 * N + lane)
    )
    weight, along_u, along_v = peek(s, of + 5 * N + lane), peek(s, of + 6 * N + lane), peek(s, of + 7 * N + lane)
    return weight, along_u, along_v, r, g, b, rx, gx, bx, ry, gy, by


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
