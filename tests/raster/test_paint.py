"""Painting in one step is interpolating and blending in two, in every bit of the picture and in all gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flamehead.errors import InputError
from flamehead.raster import Fragments, antialias, edges_of, interpolate, paint, rasterize

SIZE = (37, 29)


def soup(seed: int, n_faces: int = 40, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Connected and loose triangles of all sizes, partly outside, in several pictures."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(batch, n_faces, 3, generator=generator) * torch.tensor([45.0, 37.0, 1.0])
    points += torch.tensor([-4.0, -4.0, 1.0])
    near = torch.cdist(points[0, :, :2], points[0, :, :2]).argsort(1)
    columns = torch.stack([torch.randperm(7, generator=generator)[:2] + 1 for _ in range(n_faces)])
    faces = torch.cat([torch.arange(n_faces)[:, None], near.gather(1, columns)], dim=1)
    return points, faces


def two_steps(values, points, faces, seen, **options):
    image = interpolate(values, faces, seen, points=points, **options)
    return antialias(image, points, faces, seen, **options)


def gradients(function, values, points, faces, seen, **options):
    """The picture, and gradients of a random weighting of its squares."""
    inputs = [x.detach().clone().requires_grad_() for x in (values, points)]
    out = function(*inputs, faces, seen, **options)
    weights = torch.rand(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return out.detach(), *torch.autograd.grad((out.double().square() * weights).sum(), inputs)


def agree(found, wanted, *, scale: float = 1e-5) -> None:
    assert torch.equal(found[0], wanted[0])
    for a, b in zip(found[1:], wanted[1:], strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=scale, atol=scale * float(b.abs().max()))


@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize(("channels", "dtype"), [(3, torch.float32), (3, torch.float64), (1, torch.float32), (5, None)])
def test_one_step_is_two_steps(channels, dtype, perspective):
    points, faces = soup(channels)
    seen = rasterize(points, faces, SIZE, perspective=perspective)
    values = torch.rand(2, 40, channels, dtype=dtype)
    arguments = values, points.to(values), faces, seen
    found, wanted = (gradients(f, *arguments, perspective=perspective) for f in (paint, two_steps))
    agree(found, wanted)
    assert float((found[0] - interpolate(values, faces, seen)).abs().max()) > 0.05


@pytest.mark.parametrize("shared", ["values", "points", "both"])
def test_what_pictures_share_collects_the_gradients_of_all(shared):
    points, faces = soup(5, batch=1)
    one = rasterize(points[0], faces, SIZE)
    seen = Fragments(*(torch.stack([x, x]) for x in (one.face_ids, one.barycentric, one.depth)))
    values = torch.rand(2, 40, 3)[0 if shared != "points" else slice(None)]
    points = points[0] if shared != "values" else points.expand(2, -1, -1)
    found, wanted = (gradients(f, values, points, faces, seen) for f in (paint, two_steps))
    agree(found, wanted)


def test_derivatives_are_those_of_plain_torch():
    points, faces = soup(6, 12, batch=1)
    seen = rasterize(points, faces, SIZE)
    values = torch.rand(1, 12, 3)
    found = gradients(paint, values, points, faces, seen)
    wanted = gradients(paint, values.double(), points.double(), faces, seen, backend="reference")
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=2e-4 * float(b.abs().max()))


def test_faces_that_reach_behind_the_camera():
    points, faces = soup(7)
    points[:, ::5, 2] *= -0.2
    seen, values = rasterize(points, faces, SIZE), torch.rand(2, 40, 3)
    found, wanted = (gradients(f, values, points, faces, seen) for f in (paint, two_steps))
    agree(found, wanted, scale=1e-4)


def test_the_number_of_threads_changes_no_bit():
    points, faces = soup(8, 60, batch=3)
    seen, values = rasterize(points, faces, SIZE), torch.rand(60, 3)
    results = [gradients(paint, values, points, faces, seen, threads=n) for n in (1, 2, 4)]
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


def test_the_gradient_that_comes_in_is_left_alone():
    points, faces = soup(9)
    seen = rasterize(points, faces, SIZE)
    image = paint(torch.rand(2, 40, 3, requires_grad=True), points.requires_grad_(), faces, seen)
    gradient = torch.rand_like(image)
    before = gradient.clone()
    image.backward(gradient)
    assert torch.equal(gradient, before)


@pytest.mark.parametrize("who", [0, 1])
def test_gradients_that_nobody_wants_are_left_out(who):
    points, faces = soup(10)
    seen, values = rasterize(points, faces, SIZE), torch.rand(2, 40, 3)
    chosen = (values, points)[who].requires_grad_()
    found, wanted = (
        torch.autograd.grad(f(values, points, faces, seen).square().sum(), chosen)[0] for f in (paint, two_steps)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_bad_vertices_spoil_no_other_gradient():
    points, faces = soup(11)
    bad = torch.tensor([[torch.nan, 1.0, 2.0], [4.0, torch.inf, 1.0], [3.0, 3.0, -1.0], [2.0, 5.0, 0.0]])
    spoiled, values = torch.cat([points, bad.expand(2, 4, 3)], dim=1), torch.rand(2, 44, 3)
    more = torch.cat([faces, torch.tensor([[40, 41, 42], [40, 41, 43], [0, 1, 40], [42, 43, 41]])])
    clean = gradients(paint, values[:, :40], points, faces, rasterize(points, faces, SIZE))
    dirty = gradients(paint, values, spoiled, more, rasterize(spoiled, more, SIZE))
    assert torch.equal(clean[0], dirty[0])
    for a, b in zip(clean[1:], dirty[1:], strict=True):
        torch.testing.assert_close(b[:, :40], a)
        assert (b[:, 40:] == 0).all()


def test_pictures_of_nothing_and_no_pictures():
    faces = torch.tensor([[0, 1, 2]])
    for points in (torch.zeros(3, 3), torch.zeros(0, 3, 3)):
        seen = rasterize(points, faces, SIZE)
        values = torch.rand(3, 3, requires_grad=True)
        image = paint(values, points.requires_grad_(), faces, seen)
        image.sum().backward()
        assert image.shape == (*seen.depth.shape, 3) and not image.any()
        assert values.grad is not None and not values.grad.any()


def test_what_does_not_belong_together_is_refused():
    points, faces = soup(12)
    seen, values = rasterize(points, faces, SIZE), torch.rand(2, 40, 3)
    with pytest.raises(InputError, match="one mesh"):
        paint(values[:, :9], points, faces, seen)
    with pytest.raises(InputError, match="one mesh"):
        paint(values, points[:, :9], faces, seen)
    with pytest.raises(InputError, match="edges belong to another mesh"):
        paint(values, points, faces, seen, edges=edges_of(faces[:-1]))
    with pytest.raises(InputError, match=r"got torch\.float16"):
        paint(values.half(), points, faces, seen)
    with pytest.raises(InputError, match="choose 'numba'"):
        paint(values, points, faces, seen, backend="opengl")  # pyright: ignore


@pytest.mark.parametrize("function", [paint, interpolate])
@pytest.mark.parametrize("part", ["face_ids", "barycentric"])
def test_fragments_that_are_written_to_before_the_way_back_are_noticed(function, part):
    points, faces = soup(3)
    seen, values = rasterize(points, faces, SIZE), torch.rand(40, 3, requires_grad=True)
    more = {} if function is interpolate else {"points": points}
    image = function(values, faces=faces, fragments=seen, **more)
    getattr(seen, part).mul_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        image.sum().backward()
