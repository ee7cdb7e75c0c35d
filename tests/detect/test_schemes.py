"""The index tables agree with one another, and `select` takes rows by them."""

import numpy as np
import pytest

from flamehead.detect import select
from flamehead.errors import InputError
from flamehead.geometry import landmark_sets as sets


@pytest.mark.parametrize("name", sets.__all__)
def test_tables_hold_distinct_points_and_cannot_be_changed(name):
    table = getattr(sets, name)
    assert len(set(table.tolist())) == len(table) and 0 <= table.min() and table.max() < 478
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1


def test_the_tables_have_the_documented_sizes():
    sizes = {name: len(getattr(sets, name)) for name in sets.__all__}
    assert sizes == {
        "FACE_OVAL": 36,
        "IBUG68_IN_MEDIAPIPE": 68,
        "LEFT_BROW": 10,
        "LEFT_EYE_RING": 16,
        "LEFT_IRIS": 5,
        "LIPS_INNER": 20,
        "LIPS_OUTER": 20,
        "MEDIAPIPE_105": 105,
        "MEDIAPIPE_MIRROR": 478,
        "RIGHT_BROW": 10,
        "RIGHT_EYE_RING": 16,
        "RIGHT_IRIS": 5,
    }


def test_the_groups_make_up_the_105_points():
    parts = [sets.LEFT_BROW, sets.RIGHT_BROW, sets.LEFT_EYE_RING, sets.RIGHT_EYE_RING]
    start = 0
    for part in parts:
        assert sorted(part) == list(sets.MEDIAPIPE_105[start : start + len(part)])
        start += len(part)
    assert sorted([*sets.LIPS_OUTER, *sets.LIPS_INNER]) == list(sets.MEDIAPIPE_105[65:])


def test_the_mirror_swaps_left_and_right():
    mirror = sets.MEDIAPIPE_MIRROR
    np.testing.assert_array_equal(mirror[mirror], np.arange(478))
    np.testing.assert_array_equal(mirror[sets.LEFT_EYE_RING], sets.RIGHT_EYE_RING)
    np.testing.assert_array_equal(mirror[sets.LEFT_BROW], sets.RIGHT_BROW)
    np.testing.assert_array_equal(mirror[sets.FACE_OVAL[1:]], sets.FACE_OVAL[:0:-1])
    assert set(mirror[sets.LEFT_IRIS]) == set(sets.RIGHT_IRIS) and mirror[468] == 473
    for loop in (sets.LIPS_OUTER, sets.LIPS_INNER):
        np.testing.assert_array_equal(mirror[loop], np.roll(loop[::-1], 11))


@pytest.mark.parametrize("full", ["mediapipe478", "mediapipe468"])
@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
def test_select_takes_rows(full, batch):
    points = np.random.default_rng(0).normal(size=(*batch, int(full[-3:]), 2))
    np.testing.assert_array_equal(select(points, full, "mediapipe105"), points[..., sets.MEDIAPIPE_105, :])
    np.testing.assert_array_equal(select(points, full, "ibug68"), points[..., sets.IBUG68_IN_MEDIAPIPE, :])
    np.testing.assert_array_equal(select(points, full, "mediapipe468"), points[..., :468, :])
    assert select(points, full, full) is points


def test_points_that_are_not_there_are_refused():
    with pytest.raises(InputError, match="does not hold"):
        select(np.zeros((105, 2)), "mediapipe105", "ibug68")
    with pytest.raises(InputError, match="does not hold"):
        select(np.zeros((468, 2)), "mediapipe468", "mediapipe478")
    with pytest.raises(InputError, match="wanted 478 rows"):
        select(np.zeros((468, 2)), "mediapipe478", "ibug68")
