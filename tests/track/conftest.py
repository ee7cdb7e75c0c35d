"""Faces of the built-in head in front of a wall, drawn once and moved about."""

import numpy as np
import pytest
import torch

WALL = (70, 80, 95)


@pytest.fixture(scope="session")
def portrait():
    """A frontal face, (200, 200, 3) bytes, on the wall."""
    from dataclasses import replace

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
