"""Parallel cameras: the limit of a lens far away, for pictures and for maps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.data import Camera
from flamehead.render import maps, render, to_screen, wireframe

DISTANCE = 200.0
"""Metres; a head is flat from there."""


@pytest.fixture
def pair(front) -> tuple[Camera, Camera]:
    scale = torch.tensor([260.0, 260.0])
    away = torch.tensor([0.0, 0.0, DISTANCE])
    far = Camera(front.rotation, away, DISTANCE * scale, front.center, front.size)
    return far, Camera(front.rotation, torch.zeros(3), scale, front.center, front.size, orthographic=True)


def test_vertices_land_where_a_far_lens_puts_them(bust, pair):
    numbers = ("rotation", "translation", "focal", "center")
    doubled = (replace(c, **{name: getattr(c, name).double() for name in numbers}) for c in pair)
    far, flat = (to_screen(bust[0].double(), c) for c in doubled)
    torch.testing.assert_close(flat[:, :2], far[:, :2], atol=0.03, rtol=0)
    torch.testing.assert_close(flat[:, 2] + DISTANCE, far[:, 2])


def test_pictures_are_those_of_a_far_lens(bust, pair):
    vertices, faces = bust
    far, flat = (render(vertices, faces, camera) for camera in pair)
    assert 0.1 < flat.alpha.mean() < 0.9
    assert np.abs(far.image - flat.image).mean() < 2e-3 and np.abs(far.alpha - flat.alpha).mean() < 1e-3
    black = np.zeros_like(far.image)
    far, flat = (wireframe(black, vertices, faces, camera) for camera in pair)
    assert np.abs(far - flat).mean() < 5e-3 and flat.max() > 0.2


def test_depth_and_positions_are_those_of_the_surface(bust, pair):
    vertices, faces = bust
    camera = pair[1]
    found = maps(vertices, faces, camera, want=["depth", "positions", "faces"])
    assert found.positions is not None and found.depth is not None and found.faces is not None
    row, column = np.nonzero(found.faces >= 0)
    pixels = np.stack([column, row], axis=1) + 0.5
    np.testing.assert_allclose(found.positions[row, column, :2] * 260.0 + camera.center.numpy(), pixels, atol=2e-3)
    np.testing.assert_allclose(found.positions[row, column, 2], found.depth[row, column], atol=1e-6)
    # Before and behind the camera alike.
    assert (found.depth[row, column] < 0).any()
