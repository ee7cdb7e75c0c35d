"""The picture under work, in which a thread keeps the nearest triangle of every pixel until its rows are done.

It is an array of blocks of 8 pixels of a row. A block holds four runs of 8 float32: the key (the greater is nearer),
the face, and two of the three barycentrics times their weight; all are linear functions of the pixel.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.lanes import FEW, as_ints, greatest, least, load, pick, spread, store

__all__ = ["BLOCK", "clear", "in_row", "resolve"]

BLOCK = 4 * FEW
"""Numbers in a block."""


@compiled(inline="always")
def in_row(width):
    """How many blocks a row takes, an odd number.

    Rows that are a multiple of 4096 bytes apart fall into the same few lines of a core's cache, and a read looks to it
    like one of what was just written in the row above: triangles, which are higher than wide, would take twice as long.
    """
    return ((width + FEW - 1) // FEW) | 1


@compiled(nogil=True, error_model="numpy")
def clear(picture, farthest):
    """Make everything background."""
    key, nothing = spread(farthest), spread(np.float32(-1))
    for block in range(0, picture.shape[0], BLOCK):
        store(picture, np.uint64(block), key)
        store(picture, np.uint64(block + FEW), nothing)


@compiled(nogil=True, error_model="numpy")
def resolve(picture, width, begin, end, perspective, ids, barycentric, depth):
    """Divide by the key, and write the rows: ids, three planes of barycentrics, depth."""
    blocks, plane = in_row(width), np.uint64(ids.shape[0])
    zero, one = spread(np.float32(0)), spread(np.float32(1))
    rest, some_ids = np.empty(4 * FEW, np.float32), np.empty(FEW, np.int32)
    for row in range(begin, end):
        for block in range((width + FEW - 1) // FEW):
            at = np.uint64(((row - begin) * blocks + block) * BLOCK)
            key, face = load(picture, at), load(picture, at + np.uint64(FEW))
            away = one / key
            b0, b1 = load(picture, at + np.uint64(2 * FEW)), load(picture, at + np.uint64(3 * FEW))
            if perspective:
                b0, b1 = b0 * away, b1 * away
            else:
                away = zero - key
            # The division may leave them a rounding error outside.
            something = face >= zero
            b0, b1 = least(greatest(b0, zero), one), least(greatest(b1, zero), one)
            b2 = pick(something, greatest(one - b0 - b1, zero), zero)
            b0, b1 = pick(something, b0, zero), pick(something, b1, zero)
            to, here = np.uint64(row * width + block * FEW), width - block * FEW
            if here >= FEW:
                store(ids, to, as_ints(face))
                store(depth, to, away)
                store(barycentric, to, b0)
                store(barycentric, to + plane, b1)
                store(barycentric, to + plane + plane, b2)
            else:
                store(some_ids, np.uint64(0), as_ints(face))
                store(rest, np.uint64(0), away)
                store(rest, np.uint64(FEW), b0)
                store(rest, np.uint64(2 * FEW), b1)
                store(rest, np.uint64(3 * FEW), b2)
                for lane in range(here):
                    n = to + np.uint64(lane)
                    ids[n], depth[n] = some_ids[lane], rest[lane]
                    barycentric[n], barycentric[n + plane] = rest[FEW + lane], rest[2 * FEW + lane]
                    barycentric[n + plane + plane] = rest[3 * FEW + lane]
