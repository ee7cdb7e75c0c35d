"""Sampling an image: exact where theory says so, the same in both backends, with true gradients."""

from itertools import pairwise

import pytest
import torch

from flamehead.errors import InputError
from flamehead.render import build_pyramid, sample_image


def places(*batch: int, seed: int = 0, reach: float = 0.0) -> torch.Tensor:
    uv = torch.rand(*batch, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return uv * (1 + 2 * reach) - reach


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(height, width, channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (7, 5), (37, 50), (1, 9), (64, 64)])
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_every_level_has_the_mean_of_the_image(size, backend):
    image = noise(*size).float()
    pyramid = build_pyramid(image, backend=backend)
    assert pyramid.sizes[-1] == (1, 1)
    for which in range(len(pyramid.sizes)):
        mean = pyramid.level(which).mean(dim=(0, 1))
        torch.testing.assert_close(mean, image.mean(dim=(0, 1)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(7, 5), (37, 50), (96, 64)])
def test_backends_agree_in_values_and_gradients(size):
    found = []
    for backend in ("numba", "reference"):
        image = noise(*size).float().requires_grad_()
        uv = places(4, 100, reach=0.1).float().requires_grad_()
        level = 8 * torch.rand(4, 100, generator=torch.Generator().manual_seed(2)) - 0.5
        level[1, 3] = torch.nan
        out = sample_image(build_pyramid(image, backend=backend), uv, level=level, backend=backend)
        weight = noise(4, 100, seed=3).float()
        found.append((out.detach(), *torch.autograd.grad((out * weight).sum(), (image, uv))))
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("level", [None, 0.0, 1.3, 9.0])
def test_a_constant_image_is_constant(level):
    color = torch.tensor([0.2, 0.5, 0.9])
    uv = places(3, 50, reach=2.0).float()
    levels = None if level is None else torch.full((3, 50), level)
    out = sample_image(color.expand(9, 13, 3), uv, level=levels)
    torch.testing.assert_close(out, color.expand(3, 50, 3), atol=1e-6, rtol=0)


def test_a_linear_ramp_is_reproduced():
    height, width = 20, 30
    u = (torch.arange(width) + 0.5) / width
    v = 1 - (torch.arange(height) + 0.5) / height
    ramp = torch.stack([u.expand(height, width), v[:, None].expand(height, width)], dim=-1)
    uv = 0.05 + 0.9 * places(500).float()
    torch.testing.assert_close(sample_image(ramp, uv), uv, atol=1e-6, rtol=0)


def test_texel_centres_return_the_texels_and_borders_repeat():
    image = noise(4, 6).float()
    row, column = torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij")
    uv = torch.stack([(column + 0.5) / 6, 1 - (row + 0.5) / 4], dim=-1)
    torch.testing.assert_close(sample_image(image, uv), image, atol=1e-6, rtol=0)
    corners = torch.tensor([[-3.0, 5.0], [9.0, -1.0]])
    torch.testing.assert_close(sample_image(image, corners), torch.stack([image[0, 0], image[3, 5]]))


@pytest.mark.parametrize("size", [64, 63])
def test_a_minified_checkerboard_converges_to_its_mean(size):
    board = ((torch.arange(size)[:, None] + torch.arange(size)) % 2).float()[..., None]
    uv = 0.1 + 0.8 * places(200).float()
    errors = [
        float((sample_image(board, uv, level=torch.full((200,), level)) - board.mean()).abs().max())
        for level in (0.0, 0.5, 1.0, 2.0, 5.0)
    ]
    assert all(b <= a + 1e-3 for a, b in pairwise(errors))
    assert errors[0] > 0.4 and errors[-1] < 1e-3


def test_levels_between_two_blend_them():
    image, uv = noise(16, 16).float(), places(50).float()
    low, high, middle = (sample_image(image, uv, level=torch.full((50,), x)) for x in (1.0, 2.0, 1.25))
    torch.testing.assert_close(middle, 0.75 * low + 0.25 * high, atol=1e-6, rtol=0)


def test_nan_rows_are_empty_and_send_no_gradient():
    image, uv = noise(8, 8).float().requires_grad_(), places(6).float()
    level = torch.zeros(6)
    level[2], uv[4, 1] = torch.nan, torch.nan
    uv.requires_grad_()
    for backend in ("numba", "reference"):
        out = sample_image(build_pyramid(image, backend=backend), uv, level=level, backend=backend)
        assert not out[[2, 4]].any() and (out[[0, 1, 3, 5]] > 0).all()
        g_image, g_uv = torch.autograd.grad(out.sum(), (image, uv))
        assert g_image.isfinite().all() and g_uv.isfinite().all() and not g_uv[[2, 4]].any()
        assert float(g_image.sum()) == pytest.approx(4 * 3, rel=1e-5)


def test_gradients_are_those_of_finite_differences():
    image, uv = noise(6, 5, 2).requires_grad_(), (0.15 + 0.7 * places(20)).requires_grad_()
    level = torch.linspace(0, 2.2, 20, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda i, x: sample_image(i, x, level=level), (image, uv), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_does_not_change_a_bit(threads):
    before = torch.get_num_threads()
    results = []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            image, uv = noise(40, 50).float().requires_grad_(), places(20_000).float().requires_grad_()
            out = sample_image(image, uv, level=torch.full((20_000,), 0.7))
            results.append((out.detach(), *torch.autograd.grad((out**2).sum(), (image, uv))))
    finally:
        torch.set_num_threads(before)
    for one, many in zip(*results, strict=True):
        assert torch.equal(one, many)


def test_wrong_shapes_get_one_sentence():
    with pytest.raises(InputError, match="no texels"):
        build_pyramid(torch.zeros(0, 4, 3))
    with pytest.raises(InputError, match="one level for each"):
        sample_image(torch.zeros(4, 4, 3), torch.zeros(5, 2), level=torch.zeros(4))
