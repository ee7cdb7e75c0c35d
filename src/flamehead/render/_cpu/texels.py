"""Texels in rows of four numbers, the last unused, which fit vectors: from an image, halved, and back.

Formulas are those of `srgb` and `sampling`.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.lanes import load, store
from flamehead.render._cpu.vectors import add_quarter, as_float, as_int, peek, poke

__all__ = ["RUN", "add_regions", "double", "halve", "pack", "unpack"]

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
def unpack(first, last, image, decode, lows, highs, begins, width, regions, coarse, out, run, sums):
    """The transpose of `pack` and of the first halving: gradients of texels become those of the image.

    Args:
        first, last: Rows of the image.
        image, decode: As for `pack`.
        lows, highs, begins: First row, the one after the last, and first texel of each region.
        width: Of the image.
        regions: Gradients of the texels, rows of 4, flat, which are summed.
        coarse: Of the copy of half the size, if both sides are even, rows of 4, flat; or empty.
        out: Gradient of the image, flat.
        run, sums: Room for `RUN` numbers, and for the same in rows of 4.
    """
    for n in range(RUN):
        run[n] = _ONE
    for y in range(first, last):
        for x in range(0, width, 16):
            count, start = min(16, width - x), y * width + x
            for n in range(4 * 16):
                sums[n] = np.float32(0.0)
            for region in range(lows.shape[0]):
                if lows[region] <= y < highs[region]:
                    _add_run(sums, regions, 4 * (begins[region] + (y - lows[region]) * width + x), count)
            if coarse.shape[0] > 0:
                at = 4 * (y // 2 * (width // 2) + x // 2)
                for n in range(count // 2):
                    add_quarter(sums, 8 * n, coarse, at + 4 * n)
            if decode:
                for n in range(3 * count):
                    poke(run, n, peek(image, 3 * start + n))
                _slope(run)
            for n in range(count):
                for c in range(3):
                    poke(out, 3 * (start + n) + c, peek(sums, 4 * n + c) * peek(run, 3 * n + c))


@compiled(inline="always")
def _add_run(sums, texels, at, count):
    """Add up to 16 texels in a row."""
    if count == 16:
        for n in range(0, 64, 8):
            place = np.uint64(n)
            store(sums, place, load(sums, place) + load(texels, np.uint64(at) + place))
    else:
        for n in range(4 * count):
            poke(sums, n, peek(sums, n) + peek(texels, at + n))


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


@compiled(**_FAST)
def add_regions(low, high, finest, lows, highs, begins, widths, heights, starts, regions, more, out):
    """Sum the gradients of several regions into a pyramid's rows between the relative rows `low` and `high`.

    Args:
        low, high: From 0 to 1; every caller owns rows.
        finest: The first copy that is wanted.
        lows, highs, begins: First row, the one after the last, and first texel of each region (G) in each copy (L).
        widths, heights, starts: Of each copy.
        regions: Texels, rows of 4, flat.
        more: Whether `out` holds something already.
        out: The pyramid, flat.
    """
    for level in range(finest, widths.shape[0]):
        width = np.int64(4) * widths[level]
        for y in range(int(np.floor(low * heights[level] + 0.5)), int(np.floor(high * heights[level] + 0.5))):
            to = 4 * starts[level] + y * width
            if not more:
                out[to : to + width] = np.float32(0.0)
            for region in range(lows.shape[0]):
                if lows[region, level] <= y < highs[region, level]:
                    at = 4 * begins[region, level] + (y - lows[region, level]) * width
                    for n in range(0, width - 7, 8):
                        place = np.uint64(to + n)
                        store(out, place, load(out, place) + load(regions, np.uint64(at + n)))
                    for n in range(width // 8 * 8, width):
                        poke(out, to + n, peek(out, to + n) + peek(regions, at + n))
