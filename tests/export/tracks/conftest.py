"""A short track of the built-in head with pictures of it, as the tracker would give it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead import load_flame
from flamehead.data import Camera, FlameParams, FrameStatus, Track
from flamehead.render import render

COUNT, SIZE, FOCAL = 8, (320, 240), 560.0


@pytest.fixture(scope="session")
def flame():
    return load_flame()


def a_track(flame, *, neck=True):
    """Eight frames; the first and the last are lost and one between is bridged. The lens is off the middle."""
    t = torch.arange(COUNT, dtype=torch.float32)[:, None]
    generator = torch.Generator().manual_seed(1)
    shape = torch.zeros(flame.n_shape)
    shape[:20] = torch.randn(20, generator=generator)
    expression = torch.zeros(COUNT, flame.n_expression)
    expression[:, :10] = 0.5 * torch.randn(COUNT, 10, generator=generator)
    params = FlameParams(
        shape.expand(COUNT, -1), expression,
        root=torch.cat([0.02 * t, 0.06 * t - 0.2, 0.01 * t], dim=1),
        neck=torch.cat([0.01 * t, 0.03 * t - 0.1, 0 * t], dim=1) * (1.0 if neck else 0.0),
        jaw=torch.cat([0.03 * t, 0 * t, 0 * t], dim=1),
        left_eye=torch.cat([0 * t, 0.02 * t, 0 * t], dim=1), right_eye=torch.cat([0 * t, 0.03 * t, 0 * t], dim=1),
        translation=torch.cat([0.004 * t + 0.02, 0 * t, -0.75 + 0 * t], dim=1),
    )  # fmt: skip
    camera = Camera(
        torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(COUNT, 3, 3), torch.zeros(COUNT, 3),
        torch.full((COUNT, 2), FOCAL), torch.tensor([155.5, 122.25]).expand(COUNT, 2), SIZE,
    )  # fmt: skip
    lids = np.linspace(0, 0.7, COUNT)[:, None] * np.array([1.0, 0.5])
    vertices = flame(params, eyelids=torch.tensor(lids, dtype=torch.float32)).vertices
    points = camera.project(flame.landmarks(vertices, "mediapipe478")).numpy().astype(np.float32)
    status = np.full(COUNT, FrameStatus.TRACKED, np.int8)
    status[[0, -1]], status[4] = FrameStatus.LOST, FrameStatus.BRIDGED
    points[status != FrameStatus.TRACKED] = np.nan
    light = torch.zeros(COUNT, 9, 3)
    light[:, 0] = 3.0
    light[:, 3] = -0.5
    return Track(
        params, camera, np.arange(COUNT), np.arange(COUNT) / 25.0, status, flame.fingerprint, eyelids=lids,
        landmarks=points, light=light.numpy(), albedo=np.linspace(-1, 1, 31), source="clip.mp4",
    )  # fmt: skip


def pictures(track, flame):
    """Renderings of the track on a background, by row."""
    width, height = track.camera.size
    ground = np.linspace(0.2, 0.6, width)[None, :, None] * np.ones((height, 1, 3))
    lids = torch.tensor(track.eyelids, dtype=torch.float32)
    vertices = flame(track.params, eyelids=lids).vertices
    for row in range(len(track)):
        names = ("rotation", "translation", "focal", "center")
        camera = replace(track.camera, **{name: getattr(track.camera, name)[row] for name in names})
        yield row, render(vertices[row], flame.faces, camera, colors=flame.colors, background=ground).image


@pytest.fixture(scope="session")
def track(flame):
    return a_track(flame)


@pytest.fixture(scope="session")
def frames(track, flame):
    return list(pictures(track, flame))
