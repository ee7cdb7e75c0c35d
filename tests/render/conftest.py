"""A ball with a nose: enough of a head to render."""

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from flamehead.data import Camera


@pytest.fixture(scope="session")
def bust() -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices in metres (x left, y up, z out of the face) and outward faces of a head-sized body with a nose."""
    n = 1500
    # A spiral from pole to pole spreads points evenly.
    height = 1 - 2 * (np.arange(n) + 0.5) / n
    around = np.pi * (1 + 5**0.5) * np.arange(n)
    flat = np.sqrt(1 - height**2)
    unit = np.stack([flat * np.cos(around), height, flat * np.sin(around)], axis=1)
    faces = ConvexHull(unit).simplices.astype(np.int64)
    a, b, c = (unit[faces[:, k]] for k in range(3))
    inward = np.einsum("fk,fk->f", np.cross(b - a, c - a), a) < 0
    faces[inward] = faces[inward, ::-1]
    nose = np.exp(-(unit[:, 0] ** 2 + (unit[:, 1] + 0.1) ** 2) / 0.02) * (unit[:, 2] > 0)
    vertices = unit * np.array([0.08, 0.11, 0.10]) + nose[:, None] * np.array([0.0, 0.0, 0.03])
    return torch.tensor(vertices, dtype=torch.float32), torch.tensor(faces)


@pytest.fixture(scope="session")
def front() -> Camera:
    """Looks at the face from 0.6 m, 96 x 80 pixels."""
    turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    return Camera(
        turn, torch.tensor([0.0, 0.0, 0.6]), torch.tensor([150.0, 150.0]), torch.tensor([48.0, 40.0]), (96, 80)
    )
