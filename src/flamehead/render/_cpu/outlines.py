"""Silhouettes blended into colours and coverage in place; formulas are those of `flamehead.raster.antialias`."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.blends import move, to_and_source
from flamehead.render._cpu.vectors import BLOCK as N

__all__ = ["blend", "change", "move_points"]


@compiled(nogil=True)
def blend(image, alpha, numbers, values, differences):
    """Mix pairs of pixels into `image` (P, 3) and `alpha` (P,), and keep what the backward pass needs (N, 4)."""
    for n in range(numbers.shape[0]):
        to, source = to_and_source(numbers, values, n)
        for c in range(3):
            differences[n, c] = image[source, c] - image[to, c]
        differences[n, 3] = alpha[source] - alpha[to]
    for n in range(numbers.shape[0]):
        to, share = to_and_source(numbers, values, n)[0], values[n, 1] * abs(values[n, 0] - 0.5)
        for c in range(3):
            image[to, c] += share * differences[n, c]
        alpha[to] += share * differences[n, 3]


@compiled(nogil=True)
def change(first, last, g_image, width, pixels, numbers, values, slots, changed):
    """The gradient before pairs were mixed, in some rows, where it differs from that of the picture.

    No picture is copied: the pixels of pairs lie in few of the blocks of `N` pixels in which the way back goes along
    rows; the last block of a picture ends where that ends.

    Args:
        first, last: Which rows, `first` to `last - 1`.
        g_image: Gradient of the picture, flat.
        width, pixels: Of a row, and of the picture as the way back sees it, at least `N`.
        numbers, values: Of the pairs.
        slots: For every block of these rows: set to the place of its gradient, or to -1 where nothing changes.
        changed: Blocks of 3 N, flat, as many as rows have: the first ones are set.
    """
    blocks, used = (width + N - 1) // N, 0
    begin, end = first * width, last * width
    slots[: blocks * (last - first)] = -1
    for n in range(numbers.shape[0]):
        # A pair is two neighbours, in a row or in a column.
        if numbers[n, 1] < begin or numbers[n, 0] >= end:
            continue
        to, source = to_and_source(numbers, values, n)
        share, at = values[n, 1] * abs(values[n, 0] - 0.5), 3 * np.int64(to)
        for pixel, part in ((np.int64(to), -share), (np.int64(source), share)):
            if pixel < begin or pixel >= end:
                continue
            y, x = pixel // width, pixel % width
            start = min(y * width + x // N * N, pixels - N)
            block = (y - first) * blocks + x // N
            if slots[block] < 0:
                slots[block] = used
                for k in range(3 * N):
                    changed[3 * N * used + k] = g_image[3 * start + k]
                used += 1
            row = 3 * (N * np.int64(slots[block]) + pixel - start)
            for c in range(3):
                changed[row + c] += part * g_image[at + c]


@compiled(nogil=True)
def move_points(g_image, g_alpha, numbers, values, differences, by_points):
    """Add what the crossings of pairs hand to the ends of their edges, to (V, 3); an empty `g_alpha` counts as zeros.

    `g_image` is flat.
    """
    for n in range(numbers.shape[0]):
        to, total = to_and_source(numbers, values, n)[0], 0.0
        for c in range(3):
            total += g_image[3 * np.int64(to) + c] * differences[n, c]
        if g_alpha.shape[0]:
            total += g_alpha[to] * differences[n, 3]
        total *= values[n, 1] if values[n, 0] >= 0.5 else -values[n, 1]
        move(numbers[n], values[n], total, 0, by_points)
