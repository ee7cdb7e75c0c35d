"""Faces of the built-in head in front of a wall, drawn once and moved about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

if TYPE_CHECKING:
    from flamehead.model import Flame

WALL = (70, 80, 95)


@pytest.fixture(scope="session")
def portrait():
    """A frontal face, (200, 200, 3) bytes, on the wall."""
    from flamehead import load_flame
    from flamehead.data import Camera
    from flamehead.render import render

    flame = load_flame()
    jaw, place = torch.tensor([0.06, 0.0, 0.0]), torch.tensor([0.0, 0.02, -0.6])
    vertices = flame(replace(flame.zeros(), jaw=jaw, translation=place)).vertices
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    camera = Camera(flip, torch.zeros(3), torch.full((2,), 360.0), torch.full((2,), 100.0), (200, 200))
    wall = (WALL[0] / 255, WALL[1] / 255, WALL[2] / 255)
    return np.rint(255 * render(vertices, flame.faces, camera, colors=flame.colors, background=wall).image).astype(
        np.uint8
    )


@pytest.fixture(scope="session")
def scene(portrait):
    """A picture with the face's corner at (x, y), or without a face where that is None."""

    def draw(*places, size=(320, 240), wall=WALL, small=()):
        picture = np.empty((size[1], size[0], 3), dtype=np.uint8)
        picture[:] = wall
        faces = [(place, portrait) for place in places] + [(place, portrait[::2, ::2]) for place in small]
        for place, face in faces:
            if place is not None:
                x, y = place
                shown = picture[y : y + len(face), x : x + len(face)]
                cut = face[: shown.shape[0], : shown.shape[1]]
                shown[:] = np.where((np.abs(cut.astype(int) - WALL) < 3).all(axis=2, keepdims=True), shown, cut)
        return picture

    return draw


@pytest.fixture
def stream():
    """Pictures as a source of frames."""
    from pathlib import Path

    from flamehead.io import FrameSource, SourceFrame

    def made(pictures, damaged=()):
        def read(first):
            for row in range(first, len(pictures)):
                yield SourceFrame(row, row, row / 25, pictures[row], row in damaged)

        count, (height, width) = len(pictures), pictures[0].shape[:2]
        rows = np.arange(count)
        return FrameSource(Path("made"), (width, height), rows, rows / 25, {"frames": count}, (), read)

    return made


@pytest.fixture(scope="session")
def small_settings():
    """Quick: faces of 64 and 128 pixels."""
    from flamehead.track import TrackSettings

    return TrackSettings(
        sizes=(64, 128), iterations=(2, 2), calibration_sizes=(64, 128), calibration_iterations=(4, 3)
    )  # fmt: skip


@dataclass(frozen=True)
class Shot:
    """A head of known shape before a camera of known focal length."""

    flame: Flame
    shape: np.ndarray
    size: tuple[int, int] = (160, 150)
    focal: float = 300.0

    def params(self, **values):
        """One head; by default straight ahead, filling the picture."""
        given = {"shape": self.shape, "translation": (0.0, 0.02, -0.45)} | values
        zeros = self.flame.zeros()
        return replace(zeros, **{name: torch.as_tensor(value).to(self.flame.template) for name, value in given.items()})

    def points(self, **values):
        """Its landmarks, (478, 2) pixels, without a detector's errors."""
        with torch.no_grad():
            vertices = self.flame(self.params(**values)).vertices
            x, y, z = self.flame.landmarks(vertices, "mediapipe478").double().numpy().T
        return np.stack([self.size[0] / 2 - self.focal * x / z, self.size[1] / 2 + self.focal * y / z], axis=1)

    def picture(self, seed=0, **values):
        """What a camera with some noise sees, bytes."""
        from flamehead.data import Camera
        from flamehead.render import render

        flip, center = torch.diag(torch.tensor([1.0, -1.0, -1.0])), 0.5 * torch.tensor(self.size)
        camera = Camera(flip, torch.zeros(3), torch.full((2,), self.focal), center, self.size)
        vertices = self.flame(self.params(**values)).vertices
        wall = (WALL[0] / 255, WALL[1] / 255, WALL[2] / 255)
        image = render(vertices, self.flame.faces, camera, colors=self.flame.colors, background=wall).image
        noise = np.random.default_rng(seed).normal(0, 0.01, image.shape)
        return np.rint(255 * np.clip(image + noise, 0, 1)).astype(np.uint8)


@pytest.fixture(scope="session")
def shot():
    """A random person."""
    from flamehead import load_flame

    flame = load_flame()
    shape = np.zeros(flame.n_shape)
    shape[:20] = np.random.default_rng(1).normal(0, 0.8, 20)
    return Shot(flame, shape)


KEYFRAMES = [
    {"root": (0.0, 0.0, 0.0)}, {"root": (0.05, 0.35, 0.0), "jaw": (0.1, 0.0, 0.0)},
    {"root": (0.1, -0.35, 0.0), "jaw": (0.05, 0.0, 0.0)},
]  # fmt: skip


@pytest.fixture(scope="session")
def keyframes(shot):
    """Three pictures of that person, and their landmarks."""
    return [shot.picture(k, **pose) for k, pose in enumerate(KEYFRAMES)], np.stack(
        [shot.points(**p) for p in KEYFRAMES]
    )


@pytest.fixture(scope="session")
def look(shot):
    """The colours that the built-in head may have."""
    from flamehead.fit.appearance import load_appearance

    return load_appearance(shot.flame).space


@pytest.fixture(scope="session")
def calibrated(shot, keyframes, look, small_settings):
    """By pixels."""
    from flamehead.track import calibrate

    images, points = keyframes
    return calibrate(shot.flame, images, points, shot.size, settings=small_settings, texture=look)
