"""A small random FLAME-shaped model in float64, and parameters that visit the corners of the rotations."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.assets import FlameArrays
from flamehead.data import Camera, FlameParams
from flamehead.geometry.rotation import exp
from flamehead.model import Flame

HEADS = 1000


def shares(array):
    return array / array.sum(-1, keepdims=True)


def make_flame(fingerprint):
    rng = np.random.default_rng(5)
    arrays = FlameArrays(
        template=rng.uniform(-0.1, 0.1, (60, 3)),
        faces=rng.permuted(np.tile(np.arange(60), (80, 1)), axis=1)[:, :3],
        shape_basis=0.004 * rng.standard_normal((60, 3, 7)),
        expression_basis=0.004 * rng.standard_normal((60, 3, 5)),
        pose_basis=0.004 * rng.standard_normal((60, 3, 36)),
        skin_weights=shares(rng.random((60, 5))),
        joint_regressor=shares(rng.random((5, 60))),
        parents=(-1, 0, 1, 1, 1),
        fingerprint=fingerprint,
        source=f"the model {fingerprint}",
    )
    return Flame(arrays, dtype=torch.float64)


@pytest.fixture(scope="session")
def flame():
    return make_flame("first")


@pytest.fixture(scope="session")
def other_flame():
    return make_flame("second")


def rotations(generator, count):
    """Vectors of any direction whose angles are ordinary, zero, tiny, near pi, pi, and beyond."""
    direction = torch.randn(count, 3, dtype=torch.float64, generator=generator)
    direction = direction / direction.norm(dim=-1, keepdim=True)
    angle = 3 * torch.rand(count, 1, dtype=torch.float64, generator=generator)
    for start, value in enumerate((0.0, 1e-9, 1e-4, np.pi - 1e-9, np.pi - 1e-4, np.pi, 4.0)):
        angle[start::14] = value
    return angle * direction


@pytest.fixture(scope="session")
def random_params(flame):
    """A function that draws a thousand heads; zeros the parts that a dialect does not have."""

    def draw(seed, *, zero=(), one_identity=False):
        generator = torch.Generator().manual_seed(seed)

        def normal(size):
            return torch.randn(HEADS, size, dtype=torch.float64, generator=generator)

        root, neck, jaw, left, right = (
            rotations(generator, HEADS)[torch.randperm(HEADS, generator=generator)] for _ in range(5)
        )
        params = FlameParams(normal(flame.n_shape), normal(flame.n_expression), root, neck, jaw, left, right, normal(3))
        if one_identity:
            params = replace(params, shape=params.shape[:1].expand(HEADS, -1))
        return replace(params, **{name: torch.zeros_like(getattr(params, name)) for name in zero})

    return draw


@pytest.fixture(scope="session")
def random_camera():
    """A function that draws a thousand cameras of one size, square pixels."""

    def draw(seed, *, size=(640, 480)):
        generator = torch.Generator().manual_seed(seed)
        focal = 500 + 1000 * torch.rand(HEADS, 1, dtype=torch.float64, generator=generator)
        shift = torch.randn(HEADS, 3, dtype=torch.float64, generator=generator)
        center = 300 + 50 * torch.randn(HEADS, 2, dtype=torch.float64, generator=generator)
        return Camera(exp(rotations(generator, HEADS)), shift, focal.expand(-1, 2), center, size)

    return draw


@pytest.fixture(scope="session")
def same_vertices(flame):
    """Asserts that two sets of parameters give the same vertices, metres; cameras are applied if given."""

    def compare(got, wanted, *, cameras=None, atol=1e-6):
        seen = [flame(params.to(dtype=torch.float64)).vertices for params in (got, wanted)]
        if cameras is not None:
            seen = [
                v @ camera.rotation.double().mT + camera.translation.double()[..., None, :]
                for v, camera in zip(seen, cameras, strict=True)
            ]
        assert seen[0].shape == seen[1].shape
        assert float((seen[0] - seen[1]).abs().max()) < atol

    return compare
