"""The pinhole camera: its inverse, its gradient, and agreement with the matrix form."""

import pytest
import torch

from flamehead.geometry.camera import project, world_to_camera


def camera(batch):
    rotation, _ = torch.linalg.qr(torch.randn(*batch, 3, 3, dtype=torch.float64))
    translation = torch.randn(*batch, 3, dtype=torch.float64)
    focal = 500 + 100 * torch.rand(*batch, 2, dtype=torch.float64)
    return rotation, translation, focal, 200 + 50 * torch.rand(*batch, 2, dtype=torch.float64)


@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
def test_world_to_camera_is_rotation_then_translation(batch):
    rotation, translation, _, _ = camera(batch)
    points = torch.randn(*batch, 7, 3, dtype=torch.float64)
    back = (world_to_camera(points, rotation, translation) - translation[..., None, :]) @ rotation
    torch.testing.assert_close(back, points)
    first = rotation[..., None, :, :] @ points[..., None]
    torch.testing.assert_close(
        world_to_camera(points, rotation, translation), first[..., 0] + translation[..., None, :]
    )


@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
def test_project_agrees_with_the_intrinsic_matrix(batch):
    _, _, focal, center = camera(batch)
    points = torch.randn(*batch, 7, 3, dtype=torch.float64) + torch.tensor([0.0, 0.0, 6.0])
    matrix = torch.diag_embed(torch.cat([focal, torch.ones_like(focal[..., :1])], dim=-1))
    matrix[..., :2, 2] = center
    homogeneous = points @ matrix.mT
    torch.testing.assert_close(project(points, focal, center), homogeneous[..., :2] / homogeneous[..., 2:])


def test_one_camera_serves_a_batch_of_points():
    rotation, translation, focal, center = camera(())
    points = torch.randn(4, 7, 3, dtype=torch.float64) + 5.0
    together = project(world_to_camera(points, rotation, translation), focal, center)
    alone = torch.stack([project(world_to_camera(p, rotation, translation), focal, center) for p in points])
    torch.testing.assert_close(together, alone)


def test_axes_are_right_down_forward():
    points = torch.tensor([[0.0, 0.0, 2.0], [1.0, 0.0, 2.0], [0.0, 1.0, 2.0]])
    pixels = project(points, torch.tensor([10.0, 20.0]), torch.tensor([32.0, 24.0]))
    torch.testing.assert_close(pixels, torch.tensor([[32.0, 24.0], [37.0, 24.0], [32.0, 34.0]]))


def test_gradient():
    rotation, translation, focal, center = camera((2,))
    points = torch.randn(2, 3, 3, dtype=torch.float64)
    inputs = [
        value.requires_grad_() for value in (points, rotation, translation + torch.tensor([0.0, 0, 9]), focal, center)
    ]
    assert torch.autograd.gradcheck(lambda p, r, t, f, c: project(world_to_camera(p, r, t), f, c), inputs)


@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
def test_a_parallel_projection_does_not_see_depth(batch):
    _, _, focal, center = camera(batch)
    points = torch.randn(*batch, 7, 3, dtype=torch.float64)
    pixels = project(points, focal, center, orthographic=True)
    torch.testing.assert_close(pixels, focal[..., None, :] * points[..., :2] + center[..., None, :])
    moved = points + torch.tensor([0.0, 0.0, 5.0])
    torch.testing.assert_close(project(moved, focal, center, orthographic=True), pixels)
