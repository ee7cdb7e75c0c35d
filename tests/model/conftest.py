"""FLAME-shaped random models.

`flame_model` is the recipe behind `data/flame_expected.npz`: the same bits on every machine and numpy version. The
expected numbers were computed with the original implementation on that model; nothing here comes from FLAME data.
"""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from flamehead.assets import FlameArrays, LandmarkEmbedding
from flamehead.assets.model_file import ContourEmbedding
from flamehead.data import FlameParams
from flamehead.model import Flame


def stream(key):
    """A generator; the key is an integer."""
    return np.random.Generator(np.random.PCG64(key))


def integers(s, low, high, *shape):
    """Integers in low..high-1."""
    return s.integers(low, high, size=shape, dtype=np.int32).astype(np.int64)


def uniform(s, *shape):
    """Float64 in [-1, 1), multiples of 2**-20: the same bits everywhere."""
    return integers(s, -(2**20), 2**20, *shape) / 2.0**20


def shares(counts):
    """Integers to fractions that sum to 1 along the last axis."""
    return counts / counts.sum(-1, keepdims=True)


def flame_model(seed):
    """A random model with the array shapes of FLAME. The order of the draws matters."""
    V, F = 5023, 9976
    s = stream(seed)
    v_template = uniform(s, V, 3) * [0.078125, 0.140625, 0.09375]  # metres
    a, b, c = integers(s, 0, V, F), integers(s, 1, 2512, F), integers(s, 1, 2511, F)
    f = np.stack([a, (a + b) % V, (a + b + c) % V], 1)  # three different corners
    sigma = 2.0 ** -np.concatenate([9 + np.arange(300) // 60, 9 + np.arange(100) // 25])
    shapedirs = uniform(s, V, 3, 400) * sigma  # columns 0..299 shape, 300..399 expression
    posedirs = uniform(s, V, 3, 36) * 2.0**-9
    counts = np.maximum(integers(s, 0, 8, V, 5) - 4, 0)  # sparse: about 5 of 8 are zero
    counts[np.arange(V), integers(s, 0, 5, V)] += 4
    weights = shares(counts)
    regressor = np.zeros((5, V), np.int64)
    columns, values = integers(s, 0, V, 5, 8), integers(s, 1, 1024, 5, 8)
    np.add.at(regressor, (np.arange(5)[:, None], columns), values)
    model = dict(
        v_template=v_template,
        f=f,
        shapedirs=shapedirs,
        posedirs=posedirs,
        weights=weights,
        J_regressor=shares(regressor),
        parents=np.array([-1, 0, 1, 1, 1]),
    )
    for name, shape in (("static", (51,)), ("dynamic", (79, 17)), ("full", (68,))):
        model[name + "_faces"] = integers(s, 0, F, *shape)
        model[name + "_bary"] = shares(integers(s, 1, 1024, *shape, 3))
    return model


def checksum(arrays):
    """CRC-32 over the bytes of some arrays, in the order given (little-endian machine)."""
    crc = 0
    for a in arrays:
        crc = zlib.crc32(np.ascontiguousarray(a).tobytes(), crc)
    return crc


def arrays_of(model, *, n_shape):
    """The recipe's arrays as our noun."""
    return FlameArrays(
        template=model["v_template"],
        faces=model["f"],
        shape_basis=model["shapedirs"][..., :n_shape],
        expression_basis=model["shapedirs"][..., n_shape:],
        pose_basis=model["posedirs"],
        skin_weights=model["weights"],
        joint_regressor=model["J_regressor"],
        parents=tuple(model["parents"].tolist()),
        fingerprint="random",
        source="random model",
    )


def small_model(seed):
    """Sixty vertices, 7 + 5 components; vertices 40..49 and 50..59 are rigid eyeballs."""
    s = stream(seed)
    corners = integers(s, 0, 58, 80)
    weights = shares(integers(s, 1, 9, 60, 5))
    posedirs = uniform(s, 60, 3, 36) / 64
    for joint, eye in ((3, slice(40, 50)), (4, slice(50, 60))):
        weights[eye], posedirs[eye] = np.eye(5)[joint], 0.0
    return dict(
        v_template=uniform(s, 60, 3) / 8,
        f=np.stack([corners, corners + 1, corners + 2], axis=1),
        shapedirs=uniform(s, 60, 3, 12) / 64,
        posedirs=posedirs,
        weights=weights,
        J_regressor=shares(integers(s, 1, 9, 5, 60)),
        parents=np.array([-1, 0, 1, 1, 1]),
    )


@pytest.fixture(scope="session")
def recipe():
    """The arrays behind the expected numbers, checked bit for bit."""
    model = flame_model(7)
    with np.load(Path(__file__).parent / "data" / "flame_expected.npz") as expected:
        for name, crc in zip(expected["recipe_names"], expected["recipe_crc32"], strict=True):
            assert checksum([model[str(name)]]) == crc
    return model


@pytest.fixture(scope="session")
def expected():
    """The original implementation's results."""
    with np.load(Path(__file__).parent / "data" / "flame_expected.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="session")
def recipe_flame(recipe):
    """A function from dtype to the layer of the recipe's model."""
    embeddings = {
        "ibug51": LandmarkEmbedding(recipe["static_faces"], recipe["static_bary"]),
        "ibug68": LandmarkEmbedding(recipe["full_faces"], recipe["full_bary"]),
    }
    arrays = arrays_of(recipe, n_shape=300)
    contour = ContourEmbedding(recipe["dynamic_faces"], recipe["dynamic_bary"])
    return lambda dtype: Flame(arrays, embeddings=embeddings, contour=contour, dtype=dtype)


@pytest.fixture(scope="session")
def small_arrays():
    return arrays_of(small_model(5), n_shape=7)


@pytest.fixture(scope="session")
def small_flame(small_arrays):
    """A small layer in float64 with four landmarks."""
    embedding = LandmarkEmbedding(np.array([0, 5, 9, 79]), shares(integers(stream(6), 1, 9, 4, 3)))
    return Flame(small_arrays, embeddings={"ibug68": embedding}, dtype=torch.float64)


@pytest.fixture(scope="session")
def random_params():
    """A function that draws float64 parameters for a layer."""

    def draw(flame, *batch, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def normal(size):
            return torch.randn(*batch, size, dtype=torch.float64, generator=generator)

        return FlameParams(normal(flame.n_shape), normal(flame.n_expression), *(0.5 * normal(3) for _ in range(6)))

    return draw


@pytest.fixture(scope="session")
def lidded_flame(small_arrays):
    """The small layer with eyelids and a sliding contour."""
    s = stream(9)
    contour = ContourEmbedding(integers(s, 0, 80, 79, 17), shares(integers(s, 1, 9, 79, 17, 3)))
    return Flame(small_arrays, eyelids=uniform(s, 2, 60, 3) / 64, contour=contour, dtype=torch.float64)
