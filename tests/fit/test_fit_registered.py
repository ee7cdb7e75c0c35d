from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead import load_flame
from flamehead.errors import InputError
from flamehead.fit import fit_registered


@pytest.fixture(scope="module")
def small():
    """The built-in head with few components: the law is the same, and the test is quick."""
    flame = load_flame(dtype=torch.float64)
    arrays = replace(
        flame.arrays,
        shape_basis=flame.arrays.shape_basis[..., :30],
        expression_basis=flame.arrays.expression_basis[..., :15],
    )
    return type(flame)(arrays, embeddings=flame.embeddings, regions=flame.regions, dtype=torch.float64)


def people(flame, frames, seed=0):
    rng = torch.Generator().manual_seed(seed)

    def draw(*size, sigma):
        return sigma * torch.randn(*size, generator=rng, dtype=torch.float64)

    zeros = flame.zeros(batch=(frames,))
    return replace(
        zeros,
        shape=draw(1, flame.n_shape, sigma=1.0).expand(frames, -1),
        expression=draw(frames, flame.n_expression, sigma=0.5),
        root=draw(frames, 3, sigma=0.6),
        neck=draw(frames, 3, sigma=0.1),
        jaw=torch.tensor([[0.2, 0.0, 0.0]], dtype=torch.float64).expand(frames, -1),
        translation=draw(frames, 3, sigma=0.3),
    )


@pytest.mark.parametrize("unit", [1.0, 0.001])
def test_one_mesh_gives_its_parameters_back(small, unit):
    true = people(small, 1)
    vertices = small(true).vertices.numpy()[0] / unit
    fit = fit_registered(small, vertices, scale=None)
    assert fit.scale == unit and fit.errors[0] < 5e-5
    np.testing.assert_allclose(small(fit.params).vertices.numpy() / unit, vertices, atol=3e-4 / unit)
    torch.testing.assert_close(fit.params.shape, true.shape[0], atol=0.15, rtol=0.0)


def test_a_sequence_has_one_identity(small):
    true = people(small, 3, seed=1)
    fit = fit_registered(small, small(true).vertices.numpy())
    assert fit.params.shape.shape == (3, 30) and len(fit.statuses) == 3
    torch.testing.assert_close(fit.params.shape[0], fit.params.shape[2])
    assert (fit.errors < 1e-4).all()
    torch.testing.assert_close(fit.params.jaw[:, 0], true.jaw[:, 0], atol=0.03, rtol=0.0)


def test_another_topology_is_refused(small):
    with pytest.raises(InputError, match="fit_scan"):
        fit_registered(small, np.zeros((100, 3)))
    with pytest.raises(InputError, match="NaN"):
        fit_registered(small, np.full((5023, 3), np.nan))
