"""Light times texture at every pixel in one pass, forward and backward: pictures this size cost by their memory.

A pixel's row holds the normal and then u, v. Formulas are those of `harmonics`, `sampling` and `srgb`. Texels are
gathered pixel by pixel into a block of pixels; everything else runs over the block without branches, which LLVM turns
into vector instructions. The block's numbers are rows of one flat array at fixed places, so that LLVM can see that they
do not overlap.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.render._cpu_srgb import encoded
from flamehead.render._cpu_texture import between, place, unseen

__all__ = ["paint", "paint_backward"]

_N = 16
"""Pixels in a block."""
_X, _Y, _Z, _INVERSE = 0 * _N, 1 * _N, 2 * _N, 3 * _N
_ALBEDO, _ALONG_U, _ALONG_V = 4 * _N, 7 * _N, 10 * _N
_OUT, _G = 13 * _N, 16 * _N
_GX, _GY, _GZ, _GU, _GV = 19 * _N, 20 * _N, 21 * _N, 22 * _N, 23 * _N
_TOTAL = 24 * _N
_SIZE = 51 * _N
# Unsigned places are not tested for being negative, which for a few numbers per texel is most of the work.
_ONE, _TWO = np.uintp(1), np.uintp(2)
_ROW_ALBEDO, _ROW_ALONG_U, _ROW_ALONG_V = np.uintp(_ALBEDO), np.uintp(_ALONG_U), np.uintp(_ALONG_V)


@compiled(inline="always")
def _direction(seen, n, lane, s):
    x, y, z = seen[n, 0], seen[n, 1], seen[n, 2]
    square = x * x + y * y + z * z
    inverse = np.float32(1.0) / np.sqrt(square) if square > np.float32(0.0) else np.float32(0.0)
    s[_X + lane], s[_Y + lane], s[_Z + lane], s[_INVERSE + lane] = x * inverse, y * inverse, z * inverse, inverse


@compiled(nogil=True)
def paint(seen, level, out, scaled, encode, texels, starts, widths, heights):
    """Colour and 1 where something is seen, zeros elsewhere."""
    s = np.zeros(_SIZE, dtype=np.float32)
    for first in range(0, seen.shape[0], _N):
        count = min(_N, seen.shape[0] - first)
        any_seen = False
        for lane in range(count):
            n = first + lane
            s[_ALBEDO + lane] = s[_ALBEDO + _N + lane] = s[_ALBEDO + 2 * _N + lane] = np.float32(0.0)
            u, v = seen[n, 3], seen[n, 4]
            out[n, 0] = out[n, 1] = out[n, 2] = np.float32(0.0)
            out[n, 3] = np.float32(1.0) if level[n] == level[n] else np.float32(0.0)
            if unseen(u, v, level[n]):
                continue
            any_seen = True
            _direction(seen, n, lane, s)
            fine, share = between(level[n], widths.shape[0])
            red = green = blue = np.float32(0.0)
            for step in range(2):
                weight = share if step else np.float32(1.0) - share
                if weight == np.float32(0.0):
                    continue
                which = fine + step
                x0, x1, fx, _ = place(u, widths[which])
                y0, y1, fy, _ = place(np.float32(1.0) - v, heights[which])
                top, bottom = starts[which] + y0 * widths[which], starts[which] + y1 * widths[which]
                w10, w11 = weight * fy * (np.float32(1.0) - fx), weight * fy * fx
                w00, w01 = weight * (np.float32(1.0) - fx) - w10, weight * fx - w11
                a, b = np.uintp(3 * (top + x0)), np.uintp(3 * (top + x1))
                c, d = np.uintp(3 * (bottom + x0)), np.uintp(3 * (bottom + x1))
                red += w00 * texels[a] + w01 * texels[b] + w10 * texels[c] + w11 * texels[d]
                green += (
                    w00 * texels[a + _ONE] + w01 * texels[b + _ONE] + w10 * texels[c + _ONE] + w11 * texels[d + _ONE]
                )
                blue += (
                    w00 * texels[a + _TWO] + w01 * texels[b + _TWO] + w10 * texels[c + _TWO] + w11 * texels[d + _TWO]
                )
            lit = np.float32(0.0) if s[_INVERSE + lane] == np.float32(0.0) else np.float32(1.0)
            s[_ALBEDO + lane], s[_ALBEDO + _N + lane], s[_ALBEDO + 2 * _N + lane] = red * lit, green * lit, blue * lit
        if not any_seen:
            continue
        _light(s, scaled, 0)
        _light(s, scaled, 1)
        _light(s, scaled, 2)
        for lane in range(count):
            for c in range(3):
                # Where there is no albedo there is no light either, even if the coefficients are not finite.
                if s[_ALBEDO + c * _N + lane] != np.float32(0.0):
                    value = s[_G + c * _N + lane]
                    out[first + lane, c] = encoded(value) if encode else value


@compiled(inline="always")
def _light(s, scaled, c):
    """The product of light and albedo of a channel, for the whole block."""
    k0, k1, k2, k3, k4 = scaled[0, c], scaled[1, c], scaled[2, c], scaled[3, c], scaled[4, c]
    k5, k6, k7, k8 = scaled[5, c], scaled[6, c], scaled[7, c], scaled[8, c]
    for lane in range(_N):
        x, y, z = s[_X + lane], s[_Y + lane], s[_Z + lane]
        light = k0 + k1 * x + k2 * y + k3 * z + k4 * x * y + k5 * x * z + k6 * y * z
        light += k7 * (x * x - y * y) + k8 * (np.float32(3.0) * z * z - np.float32(1.0))
        s[_G + c * _N + lane] = light * s[_ALBEDO + c * _N + lane]


@compiled(nogil=True)
def paint_backward(seen, level, out, g_out, g_seen, g_albedo, scaled, encode, texels, starts, widths, heights, sums):
    """Gradients of normals and uv; of the albedo at each pixel, for `pull_texels`; and sums for the light."""
    s = np.zeros(_SIZE, dtype=np.float32)
    for first in range(0, seen.shape[0], _N):
        count = min(_N, seen.shape[0] - first)
        any_seen = False
        for row in range(_TOTAL):
            s[row] = np.float32(0.0)
        for lane in range(count):
            n = first + lane
            if not unseen(seen[n, 3], seen[n, 4], level[n]):
                any_seen = True
                _direction(seen, n, lane, s)
                _gather(seen[n, 3], seen[n, 4], level[n], lane, s, texels, starts, widths, heights)
                lit = np.float32(0.0) if s[_INVERSE + lane] == np.float32(0.0) else np.float32(1.0)
                for c in range(3):
                    s[_OUT + c * _N + lane] = out[n, c]
                    s[_G + c * _N + lane] = g_out[n, c] * lit
        if any_seen:
            _channel(s, scaled, 0, encode)
            _channel(s, scaled, 1, encode)
            _channel(s, scaled, 2, encode)
            _flatten(s)
        for lane in range(count):
            n = first + lane
            g_seen[n, 0], g_seen[n, 1], g_seen[n, 2] = s[_GX + lane], s[_GY + lane], s[_GZ + lane]
            g_seen[n, 3], g_seen[n, 4] = s[_GU + lane], s[_GV + lane]
            for c in range(3):
                g_albedo[n, c] = s[_G + c * _N + lane]
    for k in range(9):
        for c in range(3):
            total = np.float32(0.0)
            for lane in range(_N):
                total += s[_TOTAL + (9 * c + k) * _N + lane]
            sums[k, c] = total


@compiled(inline="always")
def _gather(u, v, level, lane, s, texels, starts, widths, heights):
    """Albedo of a pixel and how it changes along u and v."""
    fine, share = between(level, widths.shape[0])
    for step in range(2):
        weight = share if step else np.float32(1.0) - share
        if weight == np.float32(0.0):
            continue
        which = fine + step
        x0, x1, fx, x_inside = place(u, widths[which])
        y0, y1, fy, y_inside = place(np.float32(1.0) - v, heights[which])
        top, bottom = starts[which] + y0 * widths[which], starts[which] + y1 * widths[which]
        per_u = weight * np.float32(widths[which]) if x_inside else np.float32(0.0)
        per_v = -weight * np.float32(heights[which]) if y_inside else np.float32(0.0)
        a, b = np.uintp(3 * (top + x0)), np.uintp(3 * (top + x1))
        d, e = np.uintp(3 * (bottom + x0)), np.uintp(3 * (bottom + x1))
        at = np.uintp(lane)
        for c in range(3):
            k, row = np.uintp(c), np.uintp(c * _N)
            left, low = texels[a + k], texels[d + k]
            across, below = texels[b + k] - left, texels[e + k] - low
            upper, lower = left + fx * across, low + fx * below
            s[_ROW_ALBEDO + row + at] += weight * (upper + fy * (lower - upper))
            s[_ROW_ALONG_U + row + at] += per_u * (across + fy * (below - across))
            s[_ROW_ALONG_V + row + at] += per_v * (lower - upper)


@compiled(inline="always")
def _channel(s, scaled, c, encode):
    """Gradients through one channel, for the whole block; the gradient of the colour becomes that of the albedo."""
    k0, k1, k2, k3, k4 = scaled[0, c], scaled[1, c], scaled[2, c], scaled[3, c], scaled[4, c]
    k5, k6, k7, k8 = scaled[5, c], scaled[6, c], scaled[7, c], scaled[8, c]
    two, six = np.float32(2.0), np.float32(6.0)
    total = _TOTAL + 9 * c * _N
    for lane in range(_N):
        x, y, z, albedo = s[_X + lane], s[_Y + lane], s[_Z + lane], s[_ALBEDO + c * _N + lane]
        square, polar = x * x - y * y, np.float32(3.0) * z * z - np.float32(1.0)
        light = k0 + k1 * x + k2 * y + k3 * z + k4 * x * y + k5 * x * z + k6 * y * z + k7 * square + k8 * polar
        g = s[_G + c * _N + lane]
        if encode:
            # Where the curve is straight, the quotient is not used and must only be finite.
            value = light * albedo
            curved = value > np.float32(0.0031308)
            bent = (s[_OUT + c * _N + lane] + np.float32(0.055)) / (np.float32(2.4) * max(value, np.float32(0.003)))
            g *= bent if curved else np.float32(12.92)
        pulled = g * light
        s[_G + c * _N + lane] = pulled
        s[_GU + lane] += pulled * s[_ALONG_U + c * _N + lane]
        s[_GV + lane] += pulled * s[_ALONG_V + c * _N + lane]
        g *= albedo
        s[total + lane] += g
        s[total + _N + lane] += g * x
        s[total + 2 * _N + lane] += g * y
        s[total + 3 * _N + lane] += g * z
        s[total + 4 * _N + lane] += g * x * y
        s[total + 5 * _N + lane] += g * x * z
        s[total + 6 * _N + lane] += g * y * z
        s[total + 7 * _N + lane] += g * square
        s[total + 8 * _N + lane] += g * polar
        s[_GX + lane] += g * (k1 + k4 * y + k5 * z + two * k7 * x)
        s[_GY + lane] += g * (k2 + k4 * x + k6 * z - two * k7 * y)
        s[_GZ + lane] += g * (k3 + k5 * x + k6 * y + six * k8 * z)


@compiled(inline="always")
def _flatten(s):
    """The length of a normal has no effect: the gradient along it is taken out."""
    for lane in range(_N):
        x, y, z, inverse = s[_X + lane], s[_Y + lane], s[_Z + lane], s[_INVERSE + lane]
        along = s[_GX + lane] * x + s[_GY + lane] * y + s[_GZ + lane] * z
        s[_GX + lane] = (s[_GX + lane] - along * x) * inverse
        s[_GY + lane] = (s[_GY + lane] - along * y) * inverse
        s[_GZ + lane] = (s[_GZ + lane] - along * z) * inverse
