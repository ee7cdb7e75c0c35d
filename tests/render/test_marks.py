"""Dots and lines: in place to a fraction of a pixel, readable at any size, harmless off the image."""

import numpy as np
import pytest

from flamehead.render import links, marks

GREEN = (0.0, 1.0, 0.0)


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 0.5, dtype=np.float32)


@pytest.mark.parametrize("point", [(20.0, 15.0), (20.5, 15.5), (20.25, 15.8)])
def test_a_dot_is_centred_on_its_point(point):
    weight = marks(grey(30, 40), np.array([point]), GREEN, radius=4.0, outline=0.0)[..., 1] - 0.5
    y, x = np.mgrid[:30, :40] + 0.5
    center = (weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()
    np.testing.assert_allclose(center, point, atol=0.03)
    assert 2 * weight.sum() == pytest.approx(np.pi * 16, rel=0.03)


@pytest.mark.parametrize("size", [224, 3000])
def test_dots_grow_with_the_image(size):
    image = grey(size, size)
    drawn = marks(image, np.array([[size / 2, size / 2]]), GREEN)
    share = np.sqrt((drawn != image).any(axis=-1).sum()) / size
    assert 1 / 120 < share < 1 / 40


def test_points_off_the_image_or_unseen_change_nothing():
    image = grey(20, 30)
    points = np.array([[np.nan, np.nan], [np.nan, 3.0], [-500.0, 4.0], [4.0, 1e12], [np.inf, 0.0]])
    np.testing.assert_array_equal(marks(image, points, GREEN), image)
    np.testing.assert_array_equal(links(image, points[:2], points[:2] + 1, GREEN), image)
    assert (marks(image, np.array([[0.0, 0.0]]), GREEN, radius=3.0) != image).any()


def test_the_input_is_left_alone():
    image = grey(20, 30)
    marks(image, np.array([[5.0, 5.0]]), GREEN)
    links(image, np.array([[5.0, 5.0]]), np.array([[15.0, 9.0]]), GREEN)
    np.testing.assert_array_equal(image, grey(20, 30))


def test_a_line_runs_from_start_to_end():
    drawn = links(np.zeros((20, 30, 3)), np.array([[4.5, 4.5]]), np.array([[24.5, 14.5]]), (1.0, 1.0, 1.0), width=2.0)
    for t in np.linspace(0, 1, 9):
        assert drawn[int(4 + 10 * t), int(4 + 20 * t), 0] > 0.4
    assert drawn.sum() / 3 == pytest.approx(2 * np.hypot(20, 10), rel=0.12)
