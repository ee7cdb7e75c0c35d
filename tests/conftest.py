"""What several rooms test with: a picture whose landmarks are known exactly, and the skipping of what is absent."""

import importlib.util
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

SIZE, FOCAL = (240, 300), 400.0
NODE_MODULES = Path(os.environ.get("FLAMEHEAD_NODE_MODULES", Path(__file__).parents[1] / ".node/node_modules"))


def pytest_collection_modifyitems(items):
    """Tests that need the detector or a program of npm skip where it is not installed."""
    for item in items:
        wanted = item.get_closest_marker("node")
        if wanted and not (shutil.which("node") and all((NODE_MODULES / name).is_dir() for name in wanted.args)):
            item.add_marker(pytest.mark.skip(reason=f"needs Node.js and {', '.join(wanted.args)}; `make node`"))
    if importlib.util.find_spec("mediapipe") is None:
        for item in items:
            if item.get_closest_marker("detect"):
                item.add_marker(pytest.mark.skip(reason="mediapipe is not installed"))


@pytest.fixture(scope="session")
def node_modules():
    """Where npm packages are; tests that use it are marked `node`."""
    return NODE_MODULES


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


@dataclass(frozen=True)
class KnownScan:
    """The surface of a known head, in millimetres, turned and moved, and its landmarks."""

    flame: object
    vertices: np.ndarray
    """(5023, 3), the true head in the scan's frame, millimetres."""
    points: np.ndarray
    faces: np.ndarray
    landmarks: np.ndarray
    """(51, 3), off by about half a millimetre."""


@pytest.fixture(scope="session")
def known_scan():
    """A random identity with an expression; its skin, each triangle cut in four, the lowest part of the neck absent."""
    from scipy.spatial.transform import Rotation

    from flamehead import load_flame

    flame, rng = load_flame(dtype=torch.float64), np.random.default_rng(5)
    shape, expression = np.zeros(flame.n_shape), np.zeros(flame.n_expression)
    shape[:60], expression[:30] = rng.normal(size=60), 0.3 * rng.normal(size=30)
    params = replace(
        flame.zeros(),
        shape=torch.tensor(shape),
        expression=torch.tensor(expression),
        # Random expressions press closed lips into each other.
        jaw=torch.tensor([0.12, 0.0, 0.0], dtype=torch.float64),
    )
    turn = Rotation.from_euler("yxz", [130.0, 25.0, 60.0], degrees=True).as_matrix()
    at_home = flame(params).vertices.numpy()
    head = 1000.0 * at_home @ turn.T + [40.0, -300.0, 900.0]
    faces = flame.arrays.faces
    inside = np.zeros(len(head), bool)
    inside[np.concatenate([flame.regions[name] for name in ("lip_inside", "left_eyeball", "right_eyeball")])] = True
    skin = faces[~inside[faces].all(axis=1) & (at_home[faces, 1].mean(axis=1) > -0.12)]
    edges, middles = np.unique(
        np.sort(skin[:, [[0, 1], [1, 2], [2, 0]]], axis=2).reshape(-1, 2), axis=0, return_inverse=True
    )
    a, b, c = skin.T
    ab, bc, ca = (len(head) + middles.reshape(-1, 3)).T
    corners = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
    used, corners = np.unique(corners, return_inverse=True)
    points = np.concatenate([head, head[edges].mean(axis=1)])[used]
    embedding = flame.embeddings["ibug51"]
    landmarks = np.einsum("lk,lka->la", embedding.barycentric, head[faces[embedding.face_ids]])
    return KnownScan(flame, head, points, corners.reshape(-1, 3), landmarks + 0.3 * rng.normal(size=landmarks.shape))
