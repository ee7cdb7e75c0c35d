"""Texels in rows of four numbers, the last unused, which fit vectors: from an image, halved, and back.

Formulas are those of `srgb` and `sampling`.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.render._cpu.vectors import as_float, as_int, peek, poke

__all__ = ["RUN", "double", "halve", "pack", "unpack"]

RUN = 48
"""Numbers of an image that are decoded together, 16 texels."""
_ONE = np.float32(1.0)
_FAST = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}, "_nrt": False}


@compiled(inline="always")
def _root(x):
    """`x**(-1/5)` to rounding: a guess from the exponent, 3 % off at most, then Householder's and Newton's methods."""
    y = as_float(np.int32(np.float32(1277929856.0) - np.float32(as_int(x)) * np.float32(1 / 5)))
    y2 = y * y
    e = _ONE - x * (y2 * y2 * y)
    y *= _ONE + e * (np.float32(1 / 5) + e * (np.float32(3 / 25) + e * np.float32(11 / 125)))
    y2 = y * y
    return y * (_ONE + np.float32(1 / 5) * (_ONE - x * (y2 * y2 * y)))


@compiled(inline="always")
def _curve(run):
    """Decode a run in place."""
    for n in range(RUN):
        x = run[n]
        base = (max(x, np.float32(0.04)) + np.float32(0.055)) * np.float32(1 / 1.055)
        root = _root(base)
        product = base * root
        run[n] = product * product * product if x > np.float32(0.04045) else x * np.float32(1 / 12.92)


@compiled(inline="always")
def _slope(run):
    """The derivative of decoding, in place."""
    for n in range(RUN):
        x = run[n]
        base = (max(x, np.float32(0.04)) + np.float32(0.055)) * np.float32(1 / 1.055)
        product = base * _root(base)
        bent = np.float32(2.4 / 1.055) * (product * product * product / base)
        run[n] = bent if x > np.float32(0.04045) else np.float32(1 / 12.92)


@compiled(**_FAST)
def pack(first, last, image, decode, out, run):
    """Texels `first` to `last - 1` of an image in rows of four; both flat. `run` is room for `RUN` numbers."""
    for start in range(first, last, 16):
        count = min(16, last - start)
        for n in range(3 * count):
            poke(run, n, peek(image, 3 * start + n))
        if decode:
            _curve(run)
        for n in range(count):
            for c in range(3):
                poke(out, 4 * (start + n) + c, peek(run, 3 * n + c))
            poke(out, 4 * (start + n) + 3, np.float32(0.0))


@compiled(**_FAST)
def unpack(first, last, image, decode, gradient, out, run):
    """The transpose of `pack`: gradients of texels in rows of four become those of the image."""
    for start in range(first, last, 16):
        count = min(16, last - start)
        if decode:
            for n in range(3 * count):
                poke(run, n, peek(image, 3 * start + n))
            _slope(run)
        else:
            for n in range(RUN):
                poke(run, n, _ONE)
        for n in range(count):
            for c in range(3):
                value = peek(gradient, 4 * (start + n) + c) * peek(run, 3 * n + c)
                poke(out, 3 * (start + n) + c, value)


@compiled(**_FAST)
def halve(first, last, image, width, out):
    """Rows `first` to `last - 1` of a copy of half the size, both sides even: means of four. Flat; `width` of `out`."""
    quarter = np.float32(0.25)
    for i in range(first, last):
        above = np.uintp(16 * i * width)
        below, to = above + np.uintp(8 * width), np.uintp(4 * i * width)
        for j in range(width):
            p, q, r = above + np.uintp(8 * j), below + np.uintp(8 * j), to + np.uintp(4 * j)
            for c in range(4):
                k = np.uintp(c)
                total = image[p + k] + image[p + k + np.uintp(4)] + image[q + k] + image[q + k + np.uintp(4)]
                out[r + k] = quarter * total


@compiled(**_FAST)
def double(first, last, image, width, out):
    """The transpose of `halve`, added to the rows that it read."""
    quarter = np.float32(0.25)
    for i in range(first, last):
        above = np.uintp(16 * i * width)
        below, to = above + np.uintp(8 * width), np.uintp(4 * i * width)
        for j in range(width):
            p, q, r = above + np.uintp(8 * j), below + np.uintp(8 * j), to + np.uintp(4 * j)
            for c in range(4):
                k = np.uintp(c)
                share = quarter * image[r + k]
                out[p + k] += share
                out[p + k + np.uintp(4)] += share
                out[q + k] += share
                out[q + k + np.uintp(4)] += share
