"""A parallel camera draws the same at every depth."""

import numpy as np
import pytest
import torch

from flamehead.data import Camera
from flamehead.render import Crop, render, wireframe

SQUARE = torch.tensor([[-1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [1.0, 1.0, 0.5], [1.0, -1.0, 0.5]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
CAMERA = Camera(
    torch.eye(3), torch.zeros(3), torch.tensor([10.0, 10.0]), torch.tensor([16.0, 12.0]), (32, 24), orthographic=True
)
"""10 pixels per unit: the square is 20 pixels wide wherever it lies."""


def test_depth_changes_nothing():
    pictures = []
    for depth in (-3.0, 0.0, 7.0):
        pictures.append(render(SQUARE + torch.tensor([0.0, 0.0, depth]), FACES, CAMERA, supersample=1))
        assert float(pictures[-1].alpha.sum()) == 400
    for picture in pictures[1:]:
        np.testing.assert_allclose(picture.image, pictures[0].image, atol=2e-3)
    assert pictures[0].image.max() > 0.3


def test_colours_are_affine_on_the_screen():
    ramp = torch.tensor([[0.0], [0.0], [1.0], [1.0]]).expand(4, 3)
    from flamehead.render import Lighting, srgb_to_linear

    flat = Lighting((), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    image = render(SQUARE, FACES, CAMERA, colors=ramp, lighting=flat, supersample=1).image
    linear = srgb_to_linear(image[12, 6:26, 0])
    np.testing.assert_allclose(linear, (np.arange(20) + 0.5) / 20, atol=2e-3)


@pytest.mark.parametrize("depth", [-2.0, 3.0])
def test_wires_do_not_depend_on_depth(depth):
    black = np.zeros((24, 32, 3), dtype=np.float32)
    moved = SQUARE + torch.tensor([0.0, 0.0, depth])
    np.testing.assert_allclose(
        wireframe(black, moved, FACES, CAMERA), wireframe(black, SQUARE, FACES, CAMERA), atol=2e-2
    )


def test_a_crop_keeps_the_projection():
    assert Crop((2.0, 2.0), (10.0, 10.0), (20, 20)).camera(CAMERA).orthographic
