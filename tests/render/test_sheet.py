"""The overlay sheet: same panels for any photo; its side view stands upright in the head's own frame."""

import math

import numpy as np
import pytest
import torch

from flamehead.data import Camera
from flamehead.geometry.camera import project, world_to_camera
from flamehead.render import Crop, overlay_sheet, render, side_view


def turned(axis: tuple[float, float, float], angle: float) -> torch.Tensor:
    x, y, z = (value / math.hypot(*axis) for value in axis)
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return torch.linalg.matrix_exp(angle * cross)


def seen_from(camera: Camera, points: torch.Tensor) -> torch.Tensor:
    return project(world_to_camera(points, camera.rotation, camera.translation), camera.focal, camera.center)


@pytest.mark.parametrize("size", [(200, 300), (300, 200)])
def test_a_side_view_frames_the_head(bust, size):
    vertices, _ = bust
    pixels = seen_from(side_view(vertices, size, fill=0.9), vertices)
    share = (pixels.amax(0) - pixels.amin(0)) / torch.tensor(size)
    assert float(share.max()) == pytest.approx(0.9, rel=1e-4)
    torch.testing.assert_close((pixels.amax(0) + pixels.amin(0)) / 2, torch.tensor(size) / 2, rtol=0, atol=0.01)


def test_a_side_view_shows_the_left_profile_upright(bust):
    vertices, _ = bust
    camera = side_view(vertices, (200, 200), angle=math.radians(90))
    nose, crown, left = torch.tensor([[0.0, 0.0, 0.2], [0.0, 0.2, 0.0], [0.2, 0.0, 0.0]])
    middle, at_nose, at_crown = seen_from(camera, torch.stack([torch.zeros(3), nose, crown]))
    assert at_nose[0] < middle[0] - 10 and abs(at_nose[1] - middle[1]) < 0.01
    assert at_crown[1] < middle[1] - 10 and abs(at_crown[0] - middle[0]) < 0.01
    depth = world_to_camera(torch.stack([torch.zeros(3), left]), camera.rotation, camera.translation)[:, 2]
    assert depth[1] < depth[0]
    torch.testing.assert_close(torch.linalg.det(camera.rotation), torch.tensor(1.0))


@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.3, -1.0, 0.7)])
def test_a_side_view_turns_with_the_head(bust, axis):
    vertices, _ = bust
    rotation = turned(axis, 1.1)
    moved = vertices @ rotation.mT + torch.tensor([3.0, -1.0, 0.5])
    straight, other = side_view(vertices, (100, 100)), side_view(moved, (100, 100), rotation=rotation)
    torch.testing.assert_close(seen_from(other, moved), seen_from(straight, vertices), rtol=0, atol=0.05)


def test_a_crop_keeps_points_and_camera_together(bust, front):
    vertices, faces = bust
    crop = Crop((20.0, 10.0), (48.0, 60.0), (96, 120))
    whole = seen_from(front, vertices).double().numpy()
    np.testing.assert_allclose(seen_from(crop.camera(front), vertices).numpy(), crop.points(whole), atol=1e-3)
    part = render(vertices, faces, crop.camera(front), supersample=1).alpha
    full = render(vertices, faces, front, supersample=2).alpha
    np.testing.assert_allclose(part.reshape(60, 2, 48, 2).mean(axis=(1, 3)), full[10:70, 20:68], atol=1e-6)


def sheet_of(bust, front, scale: float, *, height: int = 128, border: int = 0) -> np.ndarray:
    vertices, faces = bust
    width, tall = (round(scale * value) + 2 * border for value in front.size)
    camera = Camera(
        front.rotation, front.translation, front.focal * scale, front.center * scale + border, (width, tall)
    )
    photo = np.random.default_rng(0).uniform(size=(tall, width, 3)).astype(np.float32)
    points = seen_from(camera, vertices[::60]).numpy().astype(np.float64)
    seen = points + 2.0 * scale
    seen[3] = np.nan
    return overlay_sheet(photo, vertices, faces, camera, detected=seen, fitted=points, height=height)


@pytest.mark.parametrize(("scale", "border"), [(1.0, 0), (4.0, 0), (0.5, 0), (1.0, 300)])
def test_sheets_of_small_and_large_photos_look_alike(bust, front, scale, border):
    sheet = sheet_of(bust, front, scale, border=border)
    assert sheet.shape[0] == 4 + 128 + 11
    assert 3.0 < sheet.shape[1] / sheet.shape[0] < 5.5
    assert sheet.dtype == np.float32 and 0 <= sheet.min() and sheet.max() <= 1
    green = (sheet[..., 1] > 0.75) & (sheet[..., 0] < 0.35) & (sheet[..., 2] < 0.5)
    assert green[4:132, : sheet.shape[1] // 4].any() and green[132:].any()


def test_a_sheet_is_written_even_when_the_fit_failed(bust, front):
    vertices, faces = bust
    photo, nothing = np.full((80, 96, 3), 0.5, dtype=np.float32), np.full((5, 2), np.nan)
    for bad in (torch.full_like(vertices, torch.nan), vertices + 100.0):
        sheet = overlay_sheet(photo, bad, faces, front, detected=nothing, fitted=nothing, height=64)
        assert np.isfinite(sheet).all()


@pytest.mark.parametrize("shape", [(40, 1000), (1000, 40), (3, 3)])
def test_photos_of_any_shape(bust, front, shape):
    vertices, faces = bust
    camera = Camera(front.rotation, front.translation, front.focal, front.center, (shape[1], shape[0]))
    points = seen_from(camera, vertices[:5]).numpy()
    photo = np.full((*shape, 3), 0.5, dtype=np.float32)
    sheet = overlay_sheet(photo, vertices, faces, camera, detected=points, fitted=points, height=64)
    assert np.isfinite(sheet).all() and sheet.shape[1] < 4000
