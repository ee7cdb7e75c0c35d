"""What several rooms test with: a picture whose landmarks are known exactly, and the skipping of what is absent."""

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

SIZE, FOCAL = (240, 300), 400.0


def pytest_collection_modifyitems(items):
    """Tests that need the detector skip where it is not installed."""
    if importlib.util.find_spec("mediapipe") is None:
        for item in items:
            if item.get_closest_marker("detect"):
                item.add_marker(pytest.mark.skip(reason="mediapipe is not installed"))


@dataclass(frozen=True)
class Known:
    """A picture without a face, and where the landmarks of a known built-in head would be in it."""

    image: Path
    landmarks: Path
    points: np.ndarray
    vertices: np.ndarray
    focal: float = FOCAL


@pytest.fixture(scope="session")
def known(tmp_path_factory):
    """A random identity with an open mouth, a little turned, 0.6 m before a camera of known focal length."""
    from flamehead import load_flame, write_image

    folder = tmp_path_factory.mktemp("known")
    flame = load_flame(dtype=torch.float64)
    shape = torch.randn(flame.n_shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    params = replace(
        flame.zeros(),
        shape=shape,
        jaw=torch.tensor([0.15, 0.0, 0.0], dtype=torch.float64),
        root=torch.tensor([0.05, 0.25, 0.0], dtype=torch.float64),
        translation=torch.tensor([0.01, 0.0, -0.6], dtype=torch.float64),
    )
    vertices = flame(params).vertices
    x, y, z = flame.landmarks(vertices, "mediapipe478").numpy().T
    points = np.stack([FOCAL * x / -z + SIZE[0] / 2, FOCAL * y / z + SIZE[1] / 2], axis=1)
    np.save(folder / "known.npy", points)
    ramp = np.linspace(0.3, 0.7, SIZE[1])[:, None, None] * np.ones((1, SIZE[0], 3))
    write_image(folder / "known.png", ramp)
    return Known(folder / "known.png", folder / "known.npy", points, vertices.numpy())
