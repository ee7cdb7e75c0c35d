"""Eight pixels at once do what numpy does."""

import numpy as np
from numba import njit

from flamehead.raster._cpu.lanes import (
    FEW,
    as_doubles,
    as_floats,
    as_ints,
    bits,
    count,
    down,
    first,
    greatest,
    least,
    load,
    load_three,
    order,
    pick,
    span,
    spread,
    store,
    store_three,
    take,
    take_eights,
    take_rows,
    times_plus,
    totals,
    up,
)


@njit
def _floats(values, ids, at, wanted, begin, end, out):
    here = (load(ids, at) == spread(wanted)) & span(begin, end)
    one, two, three = load_three(values, at)
    mixed = pick(here, one * two - three, one + spread(np.float32(2)))
    store(out, np.uint64(0), mixed)
    store_three(out, np.uint64(FEW), one, two, three)
    return bits(here), count(bits(here)), first_of(times_plus(mixed, spread(np.float32(2)), one))


@njit(inline="always")
def first_of(lanes):
    """The sum of all lanes, from the first of eight sums."""
    room, none = np.empty(FEW, np.float32), spread(np.float32(0))
    store(room, np.uint64(0), totals((lanes, none, none, none, none, none, none, none)))
    return room[0]


@njit
def _turned(table, starts, rows, sums):
    eights = take_eights(table, load(starts, np.uint64(0)))
    a, b, c, d, e, f, g, h = eights
    for row, lanes in ((0, a), (1, b), (2, c), (3, d), (4, e), (5, f), (6, g), (7, h)):
        store(rows, np.uint64(FEW * row), lanes)
    store(sums, np.uint64(0), totals(eights))


@njit
def _taken(table, rows, out):
    one, two, three, four = take_rows(table, rows_of(rows))
    store(out, np.uint64(0), one)
    store(out, np.uint64(FEW), two)
    store(out, np.uint64(2 * FEW), three)
    store(out, np.uint64(3 * FEW), four)
    store(rows, np.uint64(0), take(rows, order() * spread(np.int32(2)) + spread(np.int32(1))))


@njit(inline="always")
def rows_of(rows):
    return least(load(rows, np.uint64(0)), spread(np.int32(5)))


@njit
def _rounded(a, b, out, whole, floats):
    x, y, at = load(a, np.uint64(0)), load(b, np.uint64(0)), np.uint64(FEW)
    store(out, np.uint64(0), down(x / y))
    store(out, at, up(x) - as_doubles(order()))
    store(out, at + at, pick((x < y) | (x >= spread(3.0)), least(x, y), greatest(x, y)))
    store(whole, np.uint64(0), as_ints(x))
    store(floats, np.uint64(0), as_floats(x * y) + as_floats(order()))
    return bits(x == y), bits(~(x <= y)), bits(x > y)


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
        assert np.array_equal(out[:FEW], mixed) and whole == (2 * mixed + one).sum()
        assert np.array_equal(out[FEW:], values[at : at + 3 * FEW])
        assert mask == (here * 2**lanes).sum() and pixels == here.sum()


def test_the_lowest_bit_is_found():
    assert [_lowest(np.uint64(n)) for n in (1, 2, 6, 8, 2**40)] == [0, 1, 1, 3, 40]


def test_rows_are_taken_by_number():
    generator = np.random.default_rng(1)
    table, rows = generator.random((6, 4)), generator.integers(0, 9, 2 * FEW).astype(np.int32)
    out, before = np.empty(4 * FEW), rows.copy()
    _taken(table, rows, out)
    assert np.array_equal(out.reshape(4, FEW), table[np.minimum(before[:FEW], 5)].T)
    assert np.array_equal(rows[:FEW], before[1::2])


def test_doubles_do_what_numpy_does_and_nothing_holds_for_nan():
    generator = np.random.default_rng(2)
    a, b = generator.normal(0.0, 4.0, (2, FEW))
    a[2], a[3], b[3] = b[2], np.nan, 1.0
    out, whole, floats = np.empty(3 * FEW), np.empty(FEW, np.int32), np.empty(FEW, np.float32)
    masks = _rounded(a, b, out, whole, floats)
    lanes, known = np.arange(FEW), np.arange(FEW) != 3
    chosen = np.where((a < b) | (a >= 3), np.where(a < b, a, b), np.where(a > b, a, b))
    np.testing.assert_array_equal(out.reshape(3, FEW), [np.floor(a / b), np.ceil(a) - lanes, chosen])
    np.testing.assert_array_equal(whole[known], np.trunc(a[known]))
    np.testing.assert_array_equal(floats, (a * b).astype(np.float32) + lanes.astype(np.float32))
    assert masks == tuple(int((2**lanes)[where].sum()) for where in (a == b, ~(a <= b), a > b))


def test_rows_are_turned_and_summed():
    generator = np.random.default_rng(3)
    table, starts = generator.random(100, dtype=np.float32), generator.integers(0, 92, FEW).astype(np.int32)
    rows, sums = np.empty(FEW * FEW, np.float32), np.empty(FEW, np.float32)
    _turned(table, starts, rows, sums)
    wanted = table[starts[:, None] + np.arange(FEW)].T
    np.testing.assert_array_equal(rows.reshape(FEW, FEW), wanted)
    np.testing.assert_allclose(sums, wanted.sum(axis=1), rtol=1e-6)
