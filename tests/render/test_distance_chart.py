"""The chart of distances is as high as they are frequent, in the colours of the scale."""

import numpy as np

from flamehead.render import distance_chart, field_colors


def test_bars_have_the_colours_of_the_scale():
    picture = distance_chart(np.full(50, 0.26), 1.0, title="t", unit="mm", size=(560, 300))
    assert picture.shape == (300, 560, 3)
    color = field_colors(np.array([10.5 / 40]), limits=(0.0, 1.0), colormap="heat")[0]
    bar = (np.abs(picture - color) < 0.01).all(-1)
    assert bar.sum() > 1500
    # One bar, from the axis to the top, a quarter along the scale.
    rows, columns = np.nonzero(bar)
    assert np.ptp(rows) > 220 and np.ptp(columns) < 14 and abs((columns.mean() - 44) / 500 - 0.26) < 0.02


def test_the_last_bar_holds_all_that_is_farther():
    picture = distance_chart(np.array([5.0, 9.0]), 1.0, title="t", unit="mm")
    color = field_colors(np.array([1.0]), limits=(0.0, 1.0), colormap="heat")[0]
    columns = np.nonzero((np.abs(picture - color) < 0.01).all(-1))[1]
    assert columns.size and columns.min() > 520


def test_the_scale_of_errors_ends_in_blue_and_red():
    near, far, unknown = field_colors(np.array([0.0, 7.0, np.nan]), limits=(0.0, 2.0), colormap="heat")
    assert near.argmax() == 2 and far.argmax() == 0 and len(set(unknown.tolist())) == 1
