"""What pixels are worth, and what is believed of light."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from flamehead.fit._beliefs import appearance_prior, pixels_worth


def test_white_noise_counts_every_pixel_and_coherent_errors_hardly_any():
    rng = np.random.default_rng(0)
    inside = np.ones((140, 126), dtype=bool)
    white = rng.normal(0, 0.05, (140, 126, 3))
    worth = pixels_worth(white, inside, sigma=0.05, most=1e9)
    assert worth == pytest.approx(inside.size, rel=0.15)
    smooth = gaussian_filter(white, (8, 8, 0))
    smooth *= 0.05 / smooth.std()
    assert pixels_worth(smooth, inside, sigma=0.05, most=1e9) < 0.03 * worth


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_worth_falls_with_the_square_of_the_errors(factor):
    noise = np.random.default_rng(1).normal(0, 0.05, (100, 100, 3))
    inside = np.hypot(*(np.mgrid[:100, :100] - 50)) < 45
    once = pixels_worth(noise, inside, sigma=0.05, most=1e9)
    assert pixels_worth(factor * noise, inside, sigma=0.05, most=1e9) == pytest.approx(once / factor**2)
    assert pixels_worth(noise, inside, sigma=0.05, most=10.0) == 10.0


@pytest.mark.parametrize(("count", "worth"), [(0, 1.0), (1, 1.0), (3, 3.0), (9, 7.0)])
def test_too_few_pixels_for_a_block_are_worth_no_more_than_they_are(count, worth):
    inside = np.arange(9)[None] < count
    assert pixels_worth(np.zeros((1, 9, 3)), inside, sigma=0.05, most=7.0) == worth


def test_nothing_inside_is_worth_the_least():
    assert pixels_worth(np.zeros((64, 64, 3)), np.zeros((64, 64), dtype=bool), sigma=0.05, most=7.0) == 1.0


def test_even_white_light_is_what_is_believed():
    precision, mean = appearance_prior(3, albedo_sigma=2.0, level=0.8, level_sigma=0.3, light_sigma=1.0, tint_sigma=0.1)
    light = mean[3:].reshape(3, 9)
    assert not mean[:3].any() and not light[:, 1:].any() and light[:, 0] * 0.28209479 == pytest.approx([0.8] * 3)
    np.testing.assert_array_equal(precision, precision.T)
    assert np.linalg.eigvalsh(precision).min() > 0
    # Along the mean of the channels and across it.
    brighter, redder = np.zeros(30), np.zeros(30)
    brighter[[3, 12, 21]] = 0.3 / 0.28209479
    redder[[3, 12]] = np.array([1, -1]) * 0.1 * 0.8 / 0.28209479
    assert brighter @ precision @ brighter == pytest.approx(1.0)
    assert redder @ precision @ redder == pytest.approx(2.0)
