"""Curves stand where their values are, gaps stay empty, states have their colours."""

import numpy as np
import pytest

from flamehead.errors import InputError
from flamehead.render import Band, Curve, timeline

BANDS = (Band("well", (0.0, 0.6, 0.0)), Band("badly", (0.8, 0.0, 0.0)))
BLUE = (0.0, 0.0, 1.0)


def ink(picture, color):
    """Rows and columns of pixels that are nearly of a colour."""
    return np.nonzero(np.abs(picture - color).max(axis=2) < 0.25)


def test_a_rising_curve_rises_over_the_whole_width():
    times = np.linspace(0.0, 4.0, 50)
    picture = timeline(times, [Curve("rise", 2.0 * times, BLUE)], width=600, height=150)
    y, x = ink(picture, BLUE)
    assert picture.shape == (150 + 26 + 30, 600, 3)
    assert np.corrcoef(x, y)[0, 1] < -0.99 and x.min() < 65 and x.max() > 575


def test_gaps_stay_empty_and_single_values_are_dots():
    values = np.ones(101)
    values[20:80] = np.nan
    values[50] = 1.0
    _, x = ink(timeline(np.arange(101.0), [Curve("", values, BLUE)], width=1000), BLUE)
    at = (x - 58) / (1000 - 58 - 18) * 100
    assert not ((at > 21) & (at < 49)).any() and ((at > 49.5) & (at < 50.5)).any()


def test_states_take_their_share_of_the_strip():
    states = np.repeat([0, 1], [75, 25])
    picture = timeline(np.arange(100.0), [Curve("", np.ones(100))], states=states, bands=BANDS)
    row = picture[-62]
    well, badly = (np.abs(row - band.color).max(axis=1) < 0.1 for band in BANDS)
    assert well.sum() / badly.sum() == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("values", [np.full(5, np.nan), np.zeros(5), np.full(5, 1e-12)])
def test_curves_that_show_nothing_are_drawn_all_the_same(values):
    assert np.isfinite(timeline(np.arange(5.0), [Curve("flat", values)])).all()
    assert np.isfinite(timeline(np.zeros(1), [Curve("one", values[:1])])).all()


def test_lengths_must_agree():
    with pytest.raises(InputError, match="a value for each"):
        timeline(np.arange(5.0), [Curve("", np.ones(4))])
