"""Eight pixels at once do what numpy does."""

import numpy as np
from numba import njit

from flamehead.raster._cpu.lanes import (
    FEW,
    bits,
    count,
    first,
    load,
    load_three,
    pick,
    span,
    spread,
    store,
    store_three,
    total,
)


@njit
def _floats(values, ids, at, wanted, begin, end, out):
    here = (load(ids, at) == spread(wanted)) & span(begin, end)
    one, two, three = load_three(values, at)
    mixed = pick(here, one * two - three, one + spread(np.float32(2)))
    store(out, np.uint64(0), mixed)
    store_three(out, np.uint64(FEW), one, two, three)
    return bits(here), count(bits(here)), total(mixed)


@njit
def _lowest(number):
    return first(number)


def test_lanes_do_what_numpy_does():
    generator = np.random.default_rng(0)
    for at in range(5):
        values = generator.integers(-9, 9, 5 + 3 * FEW).astype(np.float32)
        ids = generator.integers(0, 2, 5 + FEW).astype(np.int32)
        begin, end = generator.integers(-1, FEW + 2, 2).astype(np.int32)
        out = np.empty(4 * FEW, np.float32)
        mask, pixels, whole = _floats(values, ids, np.uint64(at), np.int32(1), begin, end, out)
        one, two, three = values[at : at + 3 * FEW].reshape(FEW, 3).T
        lanes = np.arange(FEW)
        here = (ids[at : at + FEW] == 1) & (lanes >= begin) & (lanes < end)
        mixed = np.where(here, one * two - three, one + 2)
        assert np.array_equal(out[:FEW], mixed) and whole == mixed.sum()
        assert np.array_equal(out[FEW:], values[at : at + 3 * FEW])
        assert mask == (here * 2**lanes).sum() and pixels == here.sum()


def test_the_lowest_bit_is_found():
    assert [_lowest(np.uint64(n)) for n in (1, 2, 6, 8, 2**40)] == [0, 1, 1, 3, 40]
