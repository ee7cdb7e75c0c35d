"""Values at vertices spread over pixels: exact for linear functions, differentiable, and sealed against leaks."""

import pytest
import torch

from flamehead.errors import InputError
from flamehead.raster import gather, interpolate, rasterize

FACES = torch.tensor([[0, 1, 2], [2, 1, 3]])
SIZE = (21, 17)


def quad(dtype=torch.float64):
    """A slanted quadrilateral in camera space and on the screen."""
    space = torch.tensor([[-1.0, -0.8, 2.0], [1.1, -0.9, 3.5], [-0.9, 0.9, 2.5], [1.0, 0.8, 4.0]], dtype=dtype)
    points = torch.cat([14.0 * space[:, :2] / space[:, 2:] + torch.tensor([10.5, 8.5]), space[:, 2:]], dim=1)
    return space, points.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_interpolated_positions_project_back_to_their_pixels(dtype):
    space, points = quad(dtype)
    seen = rasterize(points, FACES, SIZE)
    positions = interpolate(space, FACES, seen)[seen.covered]
    pixels = 14.0 * positions[:, :2] / positions[:, 2:] + torch.tensor([10.5, 8.5])
    centers = seen.covered.nonzero().flip(1) + 0.5
    assert len(centers) > 50
    torch.testing.assert_close(pixels, centers.to(dtype), rtol=0.0, atol=2e-3)
    torch.testing.assert_close(positions[:, 2], seen.depth[seen.covered].to(dtype), rtol=1e-5, atol=0.0)


def test_compiled_and_plain_agree():
    _, points = quad()
    seen = rasterize(points, FACES, SIZE)
    values = torch.rand(4, 5, dtype=torch.float64)
    fast, plain = interpolate(values.float(), FACES, seen), interpolate(values, FACES, seen)
    torch.testing.assert_close(fast.double(), plain, rtol=1e-5, atol=1e-6)
    assert fast.shape == (17, 21, 5)


def test_gradient_of_values():
    _, points = quad()
    seen = rasterize(points, FACES, SIZE)
    values = torch.rand(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: interpolate(v, FACES, seen), (values,))
    single = values.detach().float().requires_grad_()
    interpolate(single, FACES, seen).sum().backward()
    assert single.grad is not None and float(single.grad.sum()) == pytest.approx(2 * int(seen.covered.sum()), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unseen_vertices_do_not_leak(dtype):
    _, points = quad()
    seen = rasterize(torch.cat([points, points[:1]]), FACES, SIZE)
    values = torch.ones(5, 1, dtype=dtype)
    values[4] = torch.nan
    image = interpolate(values, FACES, seen)
    torch.testing.assert_close(image[..., 0], seen.covered.to(dtype))


def test_nothing_seen_gives_zeros():
    seen = rasterize(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), (3, 2))
    assert torch.equal(interpolate(torch.ones(3, 4), torch.tensor([[0, 1, 2]]), seen), torch.zeros(2, 3, 4))


@pytest.mark.parametrize(("faces", "ids"), [([[0, 1, 9]], [0]), ([[0, 1, 2]], [1]), ([[0, 1, 2]], [-1])])
def test_rows_that_do_not_exist_are_refused(faces, ids):
    with pytest.raises(InputError, match="one mesh"):
        gather(torch.ones(3, 1), torch.tensor(faces), torch.tensor(ids), torch.ones(1, 3) / 3)
