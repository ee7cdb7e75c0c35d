"""Spherical harmonics: constants, energy, linearity, gradients; the kernel and the formula agree."""

import math

import pytest
import torch

from flamehead.errors import InputError
from flamehead.render import HARMONIC_CONSTANTS, constant_light, harmonic_light, harmonics, turn_light


def directions(*batch: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    normals = torch.randn(*batch, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(normals, dim=-1).to(dtype)


def light(*batch: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*batch, 9, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_constants_are_those_of_the_trackers():
    wanted = [0.282095, *3 * [1.023327], *3 * [0.858086], 0.429043, 0.247708]
    assert HARMONIC_CONSTANTS == pytest.approx(wanted, abs=1e-6)


def test_functions_are_orthogonal_with_the_energy_of_lambert():
    # Gauss-Legendre in z, equal steps around: exact for these degrees.
    z, w = torch.tensor([-0.7745966692, 0.0, 0.7745966692]).double(), torch.tensor([5 / 9, 8 / 9, 5 / 9]).double()
    around = torch.arange(8).double() * math.pi / 4
    flat = (1 - z**2).sqrt()
    grid = torch.stack([flat[:, None] * around.cos(), flat[:, None] * around.sin(), z[:, None].expand(3, 8)], dim=-1)
    values = harmonics(grid).reshape(-1, 9)
    weight = (w[:, None] * (math.pi / 4)).expand(3, 8).reshape(-1)
    energy = torch.diag(torch.tensor([1.0, *3 * [(2 * math.pi / 3) ** 2], *5 * [(math.pi / 4) ** 2]]).double())
    torch.testing.assert_close(values.T @ (weight[:, None] * values), energy, atol=2e-6, rtol=0)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_constant_light_is_constant(backend):
    color = torch.tensor([0.3, 0.6, 0.9])
    out = harmonic_light(directions(2, 40, dtype=torch.float32), constant_light(color), backend=backend)
    torch.testing.assert_close(out, color.expand(2, 40, 3), atol=1e-6, rtol=0)


def test_backends_agree_in_values_and_gradients():
    found = []
    for backend in ("numba", "reference"):
        normals = torch.randn(2, 10_000, 3, generator=torch.Generator().manual_seed(4))
        normals[0, 5] = 0.0
        normals.requires_grad_()
        coefficients = light(2).float().requires_grad_()
        out = harmonic_light(normals, coefficients, backend=backend)
        weight = torch.rand(out.shape, generator=torch.Generator().manual_seed(5))
        found.append((out.detach(), *torch.autograd.grad((out * weight).sum() / 1e3, (normals, coefficients))))
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, atol=3e-5, rtol=1e-4)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_a_zero_normal_gets_no_light_and_lengths_do_not_matter(backend):
    normals, coefficients = directions(30, dtype=torch.float32), light().float()
    one, other = (harmonic_light(scale * normals, coefficients, backend=backend) for scale in (1.0, 7.0))
    torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)
    assert not harmonic_light(torch.zeros(4, 3), coefficients, backend=backend).any()


def test_one_light_serves_a_batch_and_a_batch_of_lights_one_surface():
    normals, coefficients = directions(3, 20, dtype=torch.float32), light(3).float()
    torch.testing.assert_close(harmonic_light(normals, coefficients[0])[2], harmonic_light(normals[2], coefficients[0]))
    torch.testing.assert_close(harmonic_light(normals[0], coefficients)[1], harmonic_light(normals[0], coefficients[1]))


def test_gradients_are_those_of_finite_differences():
    normals, coefficients = (1.7 * directions(2, 6)).requires_grad_(), light(2).requires_grad_()
    assert torch.autograd.gradcheck(harmonic_light, (normals, coefficients))


def test_the_number_of_threads_does_not_change_a_bit():
    before, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            normals, coefficients = directions(30_000).float().requires_grad_(), light().float().requires_grad_()
            results.append(torch.autograd.grad((harmonic_light(normals, coefficients) ** 2).sum(), coefficients)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_wrong_shapes_get_one_sentence():
    with pytest.raises(InputError, match=r"\(\.\.\., 9, 3\)"):
        harmonic_light(torch.zeros(4, 3), torch.zeros(3, 9))


def test_turned_light_is_the_same_light_in_another_frame():
    from flamehead.geometry.rotation import exp

    generator = torch.Generator().manual_seed(4)
    light, vectors = torch.randn(6, 9, 3, generator=generator), torch.randn(6, 3, generator=generator)
    normals = torch.nn.functional.normalize(torch.randn(6, 80, 3, generator=generator), dim=-1)
    rotation = exp(vectors)
    got, wanted = harmonic_light(normals, turn_light(light, rotation)), harmonic_light(normals @ rotation.mT, light)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(turn_light(turn_light(light, rotation), rotation.mT), light, atol=1e-5, rtol=1e-5)
