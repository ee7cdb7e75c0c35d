"""Windows sample the picture where they say they do, at every scale and angle."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flamehead.detect._window import Window, cut, to_picture


def _blob(width: int, height: int, x: float, y: float, radius: float) -> np.ndarray:
    """A soft white spot on grey; its centre of mass is at (x, y) with pixel centres at +0.5."""
    columns, rows = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    return np.repeat((128 / 255 + (1 - 128 / 255) * spot)[..., None], 3, axis=-1)


def _centre(canvas: np.ndarray) -> np.ndarray:
    weight = np.clip(canvas[..., 0].astype(float) - 131, 0, None)
    axis = np.arange(canvas.shape[0]) + 0.5
    return np.array([(weight.sum(axis=0) * axis).sum(), (weight.sum(axis=1) * axis).sum()]) / weight.sum()


@pytest.mark.parametrize("side", [90.0, 150.0, 400.0, 1000.0])
@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 2, math.pi, -math.pi / 2, 2.5])
def test_a_spot_is_found_where_it_is(side, angle):
    x, y = 210.3, 160.8
    picture = to_picture(_blob(400, 300, x, y, radius=max(6.0, side / 25)))
    window = Window((x + 0.1 * side, y - 0.15 * side), side, angle)
    size = 100
    found = window.canvas_to_picture(_centre(cut(picture, window, size=size)), size)
    np.testing.assert_allclose(found, [x, y], atol=0.02 * side / size + 0.1)


@given(
    x=st.floats(-100, 500),
    y=st.floats(-100, 500),
    side=st.floats(1, 3000),
    angle=st.floats(-7, 7),
    size=st.integers(1, 64),
)
def test_every_window_gives_a_canvas_and_turns_about_its_middle(x, y, side, angle, size):
    window = Window((x, y), side, angle)
    canvas = cut(to_picture(np.ones((40, 60, 3))), window, size=size)
    assert canvas.shape == (size, size, 3) and canvas.dtype == np.uint8
    middle = window.canvas_to_picture(np.full((1, 2), size / 2), size)
    np.testing.assert_allclose(middle[0], [x, y], atol=1e-9 * (1 + side))
    corners = window.canvas_to_picture(np.array([[0.0, 0.0], [size, 0.0]]), size)
    np.testing.assert_allclose(np.linalg.norm(corners[1] - corners[0]), side, rtol=1e-9)


def test_outside_the_picture_is_grey():
    picture = to_picture(np.ones((10, 10, 3)))
    assert (cut(picture, Window((500.0, 500.0), 20.0), size=8) == 128).all()
    canvas = cut(picture, Window((5.0, 5.0), 20.0), size=20)
    assert (canvas[0] == 128).all() and (canvas[10, 10] == 255).all()


def test_a_fine_pattern_is_averaged_not_sampled():
    stripes = np.zeros((512, 512, 3))
    stripes[:, ::2] = 1.0
    canvas = cut(to_picture(stripes), Window((256.0, 256.0), 512.0), size=64)
    assert np.abs(canvas[4:-4, 4:-4].astype(int) - 128).max() <= 2


def test_pictures_are_rounded_clipped_and_stretched():
    image = np.linspace(-0.5, 1.5, 300, dtype=np.float32).reshape(300, 1, 1).repeat(3, axis=2)
    plain = np.asarray(to_picture(image))[:, 0, 0]
    np.testing.assert_array_equal(plain, np.rint(np.clip(image[:, 0, 0], 0, 1) * 255))
    dark = np.asarray(to_picture(image.clip(0, 1) * 0.02, stretch=True))
    assert dark.min() == 0 and dark.max() == 255
    assert np.asarray(to_picture(np.zeros((5, 5, 3)), stretch=True)).max() == 0
