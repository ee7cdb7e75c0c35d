"""Colours that mean something: in order, between their ends, and the same in the legend."""

import numpy as np
import pytest
import torch

from flamehead.errors import InputError
from flamehead.render import EVEN, face_regions, field_colors, region_colors, region_paint, render, shade, with_legend


def lightness(color: np.ndarray) -> np.ndarray:
    return color @ np.array([0.2126, 0.7152, 0.0722])


def test_larger_values_are_lighter():
    colors = field_colors(np.linspace(0, 3, 200), limits=(0.0, 3.0))
    assert (np.diff(lightness(colors)) > 0).all() and colors.dtype == np.float32


def test_signed_values_are_palest_in_the_middle():
    colors = field_colors(torch.linspace(-2, 2, 201), limits=(-2.0, 2.0), colormap="diverging")
    assert lightness(colors).argmax() == 100
    assert colors[0, 2] > colors[0, 0] and colors[-1, 0] > colors[-1, 2]


def test_values_beyond_the_ends_keep_the_last_colour_and_nan_is_grey():
    colors = field_colors(np.array([-5.0, 0.0, 1.0, 9.0, np.nan]), limits=(0.0, 1.0))
    np.testing.assert_array_equal(colors[0], colors[1])
    np.testing.assert_array_equal(colors[2], colors[3])
    assert np.ptp(colors[4]) == 0


@pytest.mark.parametrize("limits", [(0.0, 2.0), (-0.005, 0.005), (0.0, 1200.0)])
@pytest.mark.parametrize("height", [64, 512])
def test_the_legend_leaves_the_picture_alone_and_holds_all_colours(limits, height):
    image = np.random.default_rng(0).uniform(size=(height, 100, 3)).astype(np.float32)
    out = with_legend(image, limits=limits, title="distance, mm")
    np.testing.assert_array_equal(out[:, :100], image)
    legend = out[:, 100:].reshape(-1, 3)
    for color in field_colors(np.array([0.02, 0.5, 0.98]), limits=(0.0, 1.0)):
        assert np.abs(legend - color).max(axis=1).min() < 0.03


def test_even_light_keeps_colours():
    normals = np.random.default_rng(0).normal(size=(500, 3))
    light = shade(normals[normals[:, 2] < 0], np.ones(3), EVEN)
    assert light.min() > 0.6 and light.max() < 1.1


def test_region_colours_differ():
    table = np.array(list(region_colors([str(k) for k in range(24)]).values()))
    distance = np.linalg.norm(table[:, None] - table, axis=-1) + 9 * np.eye(24)
    assert distance.min() > 0.04


def test_faces_are_painted_by_their_region(bust, front):
    vertices, faces = bust
    regions = {"left": np.flatnonzero(vertices[:, 0] > 0), "right": np.flatnonzero(vertices[:, 0] < 0)}
    chosen = {"left": (1.0, 0.0, 0.0), "right": (0.0, 0.0, 1.0)}
    paint = region_paint(faces, regions, colors=chosen)
    of_face, names = face_regions(faces, regions)
    painted = paint(np.arange(len(faces)), np.zeros((len(faces), 3)))
    for k, name in enumerate(names):
        assert (painted[of_face == k] == np.array(chosen[name], np.float32)).all()
    assert (painted[of_face < 0] == painted[of_face < 0][:1]).all()
    image = render(vertices, faces, front, colors=paint).image
    # The subject's left is on the right of the picture.
    assert image[40, 30, 2] > image[40, 30, 0] and image[40, 66, 0] > image[40, 66, 2]


def test_wrong_limits_and_missing_colours_get_one_sentence(bust):
    with pytest.raises(InputError, match="smaller and a larger"):
        field_colors(np.zeros(3), limits=(1.0, 1.0))
    with pytest.raises(InputError, match="a colour for each region"):
        region_paint(bust[1], {"a": np.arange(3)}, colors={})
