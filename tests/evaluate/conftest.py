"""A person's scan, and heads that were predicted for it."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from flamehead import load_flame
from flamehead.evaluate import seven_of
from flamehead.geometry.similarity import Similarity


@dataclass(frozen=True)
class Person:
    """A head in millimetres with its seven landmarks."""

    vertices: np.ndarray
    faces: np.ndarray
    landmarks: np.ndarray


@pytest.fixture(scope="session")
def flame():
    return load_flame(dtype=torch.float64)


@pytest.fixture(scope="session")
def person(flame):
    """A function that makes the head of a seed, in millimetres."""

    def person(seed, *, strength=1.0):
        shape = strength * torch.randn(flame.n_shape, generator=torch.Generator().manual_seed(seed)).double()
        vertices = flame(replace(flame.zeros(), shape=shape)).vertices
        seven = seven_of(flame.landmarks(vertices, "ibug68").numpy())
        return Person(1000.0 * vertices.numpy(), flame.faces.numpy(), 1000.0 * seven)

    return person


@pytest.fixture(scope="session")
def motion():
    """A function that makes a random similarity; lengths in millimetres."""

    def motion(seed, *, scaled=True, degrees=180.0):
        rng = np.random.default_rng(seed)
        axis = rng.normal(size=3)
        turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.deg2rad(degrees) * rng.uniform()).as_matrix()
        return Similarity(float(np.exp(rng.normal()) if scaled else 1.0), turn, 200.0 * rng.normal(size=3))

    return motion
