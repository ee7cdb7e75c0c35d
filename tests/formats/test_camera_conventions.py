"""Cameras of other conventions see the same pixels, computed from each convention's own projection."""

from dataclasses import fields

import pytest
import torch

from flamehead.errors import InputError
from flamehead.formats import cameras as C
from flamehead.formats import move_camera
from flamehead.geometry.camera import project, world_to_camera
from flamehead.geometry.rotation import exp


def pixels(camera, points):
    return project(world_to_camera(points, camera.rotation, camera.translation), camera.focal, camera.center)


def assert_same(got, wanted):
    assert got.size == wanted.size
    for field in fields(got)[:4]:
        torch.testing.assert_close(getattr(got, field.name), getattr(wanted, field.name), rtol=0, atol=1e-9)


@pytest.fixture(params=[(640, 480), (300, 700)])
def scene(request, random_camera):
    camera = random_camera(1, size=request.param)
    generator = torch.Generator().manual_seed(2)
    seen = torch.randn(1000, 4, 3, generator=generator, dtype=torch.float64) + torch.tensor([0.0, 0.0, 5.0])
    points = (seen - camera.translation[:, None]) @ camera.rotation  # Away from the camera's plane.
    return camera, points


def test_pytorch3d_ndc(scene):
    camera, points = scene
    turn, shift, focal, principal = C.camera_to_pytorch3d_ndc(camera)
    view = points @ turn + shift[:, None]
    ndc = focal[:, None] * view[..., :2] / view[..., 2:] + principal[:, None]
    (w, h), s = camera.size, min(camera.size) / 2
    screen = torch.tensor([w / 2, h / 2], dtype=torch.float64) - s * ndc
    torch.testing.assert_close(screen, pixels(camera, points))
    assert_same(C.pytorch3d_ndc_to_camera(turn, shift, focal, principal, size=camera.size), camera)
    assert_same(C.pytorch3d_ndc_to_camera(turn, shift, focal[:, :1], principal, size=camera.size), camera)


def test_pytorch3d_screen(scene):
    camera, points = scene
    turn, shift, focal, center = C.camera_to_pytorch3d_screen(camera)
    view = points @ turn + shift[:, None]
    screen = center[:, None] - focal[:, None] * view[..., :2] / view[..., 2:]
    torch.testing.assert_close(screen, pixels(camera, points))
    assert_same(C.pytorch3d_screen_to_camera(turn, shift, focal, center, size=camera.size), camera)


@pytest.mark.parametrize("from_bottom", [False, True])
def test_opengl(scene, from_bottom):
    camera, points = scene
    matrix, focal, center = C.camera_to_opengl(camera, center_from_bottom=from_bottom)
    inverse = torch.linalg.inv(matrix)
    x, y, z = (points @ inverse[:, :3, :3].mT + inverse[:, None, :3, 3]).unbind(-1)
    u, v = focal[:, :1] * x / -z + center[:, :1], focal[:, 1:] * y / -z
    v = camera.size[1] - (v + center[:, 1:]) if from_bottom else center[:, 1:] - v
    torch.testing.assert_close(torch.stack([u, v], dim=-1), pixels(camera, points))
    assert_same(C.opengl_to_camera(matrix, focal, center, size=camera.size, center_from_bottom=from_bottom), camera)


def test_opencv(scene):
    camera, points = scene
    turn, shift, matrix = C.camera_to_opencv(camera)
    homogeneous = (points @ turn.mT + shift[:, None]) @ matrix.mT
    torch.testing.assert_close(homogeneous[..., :2] / homogeneous[..., 2:], pixels(camera, points))
    assert_same(C.opencv_to_camera(turn, shift, matrix, size=camera.size), camera)
    matrix[..., 0, 1] = 1.0
    with pytest.raises(InputError, match="skew"):
        C.opencv_to_camera(turn, shift, matrix, size=camera.size)


def test_the_tracker_starts_a_metre_away():
    """R = diag(-1, 1, -1), T = (0, 0, 1), f = 5000/H is a camera in front of the face, 2500 pixels at 512."""
    turn = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    camera = C.pytorch3d_ndc_to_camera(
        turn, torch.tensor([0.0, 0.0, 1.0]), torch.tensor([5000 / 512]), torch.zeros(2), size=(512, 512)
    )
    assert camera.focal.tolist() == [2500, 2500] and camera.center.tolist() == [256, 256]
    assert camera.rotation.equal(torch.diag(torch.tensor([1.0, -1.0, -1.0])))


def test_a_moved_world_gives_the_same_picture(scene):
    camera, points = scene
    turn, shift = exp(torch.tensor([0.3, -2.0, 1.0]).double()), torch.tensor([0.1, 0.2, -0.5]).double()
    moved = move_camera(camera, rotation=turn, translation=shift)
    torch.testing.assert_close(pixels(moved, points @ turn.mT + shift), pixels(camera, points))
