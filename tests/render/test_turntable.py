"""The camera circles, the head stays in the frame and in place."""

import math

import numpy as np
import pytest
import torch

from flamehead import load_flame
from flamehead.errors import InputError
from flamehead.render import orbit_camera, swing, tile, turntable

SIZE = (120, 150)


@pytest.fixture(scope="module")
def head():
    flame = load_flame()
    return flame(flame.zeros()).vertices, flame


@pytest.mark.parametrize("yaw", [0.0, 1.0, -2.5])
@pytest.mark.parametrize("pitch", [0.0, 0.5, -1.2])
def test_a_rigid_camera_that_keeps_the_head_in_the_frame(head, yaw, pitch):
    vertices, _ = head
    camera = orbit_camera(vertices, SIZE, yaw=yaw, pitch=pitch, fill=0.9)
    turn = camera.rotation.double()
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3).double(), atol=1e-6, rtol=0)
    assert float(torch.linalg.det(turn)) == pytest.approx(1)
    pixels = camera.project(vertices) / torch.tensor(SIZE)
    assert float(pixels.min()) > 0.0499 and float(pixels.max()) < 0.9501
    middle = (vertices.amin(0) + vertices.amax(0)) / 2
    torch.testing.assert_close(camera.project(middle[None])[0], torch.tensor(SIZE) / 2.0, atol=1e-3, rtol=0)
    # What is higher in the world is higher in the picture, and one side touches the frame when it is not steady.
    up = torch.stack([middle, middle + torch.tensor([0.0, 0.01, 0.0])])
    assert float(camera.project(up)[1, 1]) < float(camera.project(up)[0, 1])
    tight = orbit_camera(vertices, SIZE, yaw=yaw, pitch=pitch, fill=0.9, steady=False)
    reach = (tight.project(vertices) / torch.tensor(SIZE) - 0.5).abs().max()
    assert float(reach) == pytest.approx(0.45, abs=1e-4)


def test_the_camera_stands_on_the_side_that_is_asked_for(head):
    vertices, _ = head

    def place(**angles):
        camera = orbit_camera(vertices, SIZE, **angles)
        return -(camera.rotation.mT @ camera.translation) - (vertices.amin(0) + vertices.amax(0)) / 2

    front, left, above = place(), place(yaw=math.pi / 2), place(pitch=1.0)
    assert front[2] > 0.3 and abs(front[0]) < 1e-5
    assert left[0] > 0.3 and abs(left[2]) < 1e-5
    assert above[1] > 0.3 and above[2] > 0.1


def test_any_unit_is_framed_alike(head):
    vertices, _ = head
    metres, millimetres = orbit_camera(vertices, SIZE), orbit_camera(1000 * vertices, SIZE)
    torch.testing.assert_close(metres.project(vertices), millimetres.project(1000 * vertices), atol=1e-2, rtol=0)


@pytest.mark.parametrize("wrong", [{"fov": 0.0}, {"fov": 4.0}, {"pitch": 1.6}, {"fill": 0.0}, {"yaw": math.nan}])
def test_views_that_are_none(head, wrong):
    with pytest.raises(InputError, match="sees no picture"):
        orbit_camera(head[0], SIZE, **wrong)


def test_a_turntable_closes(head):
    cameras = list(turntable(head[0], SIZE, frames=8))
    assert len(cameras) == 8
    step = cameras[1].rotation @ cameras[0].rotation.mT
    torch.testing.assert_close(step @ cameras[7].rotation, cameras[0].rotation, atol=1e-6, rtol=0)
    half = list(turntable(head[0], SIZE, frames=8, turn=1.0))
    torch.testing.assert_close(half[0].rotation, half[4].rotation, atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="at least one"):
        next(turntable(head[0], SIZE, frames=0))


def test_a_swing_starts_and_ends_at_the_base():
    base = torch.randn(6)
    moved = torch.stack(list(swing(base, [1, 4], frames=8, reach=3.0)))
    torch.testing.assert_close(moved[0], base)
    torch.testing.assert_close(moved.mean(0), base)
    torch.testing.assert_close(moved[:, [0, 2, 3, 5]], base[[0, 2, 3, 5]].expand(8, 4))
    torch.testing.assert_close((moved - base).amax(0)[[1, 4]], torch.tensor([3.0, 3.0]))


def test_tiles():
    tiles = [np.full((4, 3, 3), float(k)) for k in range(5)]
    sheet = tile(tiles, columns=3, background=9.0)
    assert sheet.shape == (8, 9, 3)
    assert sheet[0, 4, 0] == 1 and sheet[5, 1, 0] == 3 and sheet[5, 8, 0] == 9
    assert tile(tiles[:1]).shape == (4, 3, 3) and tile(tiles[:4]).shape in ((8, 6, 3), (8, 9, 3))
    for wrong in ([], [tiles[0], np.zeros((2, 2, 3))]):
        with pytest.raises(InputError, match="tile"):
            tile(wrong)
