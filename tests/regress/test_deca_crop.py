"""DECA's crop: the box, the border, and scikit-image where it is at hand."""

import numpy as np
import pytest

from flamehead.data import Observation
from flamehead.errors import InputError
from flamehead.regress._deca_crop import crop_image, crop_matrix, points68


@pytest.fixture
def noise():
    return np.random.default_rng(0).random((90, 120, 3))


def test_the_box_of_the_landmarks_becomes_the_crop():
    points = np.array([[100.0, 50.0], [300.0, 170.0]])  # 200 x 120: the mean side is 160.
    size = int(160 * 1.1 * 1.25)
    matrix = crop_matrix(points)
    for corner, wanted in (((-1, -1), (0, 0)), ((-1, 1), (0, 223)), ((1, -1), (223, 0))):
        x, y, _ = matrix @ [200 + corner[0] * size / 2, 110 + corner[1] * size / 2, 1]
        np.testing.assert_allclose((x, y), wanted, atol=1e-9)


def test_points_that_were_not_seen_do_not_count():
    points = np.random.default_rng(1).random((68, 2)) * 100
    holes = np.concatenate([points, np.full((5, 2), np.nan)])
    np.testing.assert_array_equal(crop_matrix(holes), crop_matrix(points))
    with pytest.raises(InputError, match="less than a pixel"):
        crop_matrix(np.full((68, 2), 7.0))
    few = np.full((68, 2), np.nan)
    few[:5] = 1.0
    with pytest.raises(InputError, match="Fewer than 10"):
        points68(Observation(few, "ibug68", (10, 10)))


def test_a_sample_half_outside_is_half_black_not_black():
    """scipy's border mode "constant" gives 0 there, "nearest" gives 1."""
    image = np.ones((100, 100, 3))
    matrix = np.array([[1.0, 0, 0.5], [0, 1.0, 0], [0, 0, 1]])  # Column 0 of the crop lies at -0.5.
    crop = crop_image(image, matrix)
    assert crop.shape == (3, 224, 224) and crop.dtype == np.float32
    np.testing.assert_allclose(crop[:, 50, 0], 0.5)
    np.testing.assert_allclose(crop[:, 50, 1:100], 1.0)
    np.testing.assert_allclose(crop[:, 50, 100], 0.5)
    assert not crop[:, 50, 101:].any()


@pytest.mark.parametrize("offset", [(20.0, 15.0), (-30.0, -20.0), (60.0, 40.0)])
def test_scikit_image_gives_the_same_crop(noise, offset):
    transform = pytest.importorskip("skimage.transform")
    matrix = crop_matrix(np.array([[0.0, 0.0], [50.0, 61.0]]) + offset)
    wanted = transform.warp(noise, np.linalg.inv(matrix), output_shape=(224, 224))
    np.testing.assert_allclose(crop_image(noise, matrix), wanted.transpose(2, 0, 1), atol=1e-6)


def test_no_filter_smooths_a_crop_that_shrinks():
    stripes = np.zeros((1000, 1000, 3))
    stripes[:, ::2] = 1.0
    crop = crop_image(stripes, crop_matrix(np.array([[100.0, 100.0], [700.0, 700.0]])))
    assert crop.std() > 0.25
