"""Values at vertices spread over pixels: exact for linear functions, differentiable, and sealed against leaks."""

from typing import Literal

import pytest
import torch

from flamehead.errors import InputError
from flamehead.raster import Fragments, gather, interpolate, rasterize
from flamehead.raster.interpolate import interpolate_plain

FACES = torch.tensor([[0, 1, 2], [2, 1, 3]])
SIZE = (21, 17)
BACKENDS: list[Literal["numba", "reference"]] = ["numba", "reference"]


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


def scene(seed: int, n_faces: int = 12, size=(33, 27), behind: bool = False):
    """Random triangles with corners on the grid of 1/1024 pixel, two pictures, and what is seen of them."""
    generator = torch.Generator().manual_seed(seed)
    faces = torch.arange(3 * n_faces).reshape(-1, 3)
    spread = torch.tensor([float(size[0]), float(size[1]), 2.0])
    points = torch.rand(2, 3 * n_faces, 3, generator=generator) * spread + torch.tensor([0.0, 0.0, 1.0])
    points[..., :2] = torch.round(points[..., :2] * 1024) / 1024
    return points, faces, several(points, faces, size)


def several(points, faces, size, **options):
    """Pictures one at a time, as a batch."""
    each = [rasterize(p, faces, size, **options) for p in points]
    return Fragments(*(torch.stack([getattr(f, name) for f in each]) for name in ("face_ids", "barycentric", "depth")))


def gradients(function, *inputs):
    """Of a random weighting of the output; the same weights for every shape."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    out = function(*inputs)
    weights = torch.rand(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return out.detach(), torch.autograd.grad((out.double() * weights).sum(), inputs)


@pytest.mark.parametrize("perspective", [True, False])
def test_plain_gradients_are_those_of_the_plain_values(perspective):
    points, faces, seen = scene(0, 3, (9, 8))
    values = torch.rand(9, 2, dtype=torch.float64)

    def plain(values, points):
        return interpolate_plain(values, faces, seen, points=points, perspective=perspective)

    inputs = values.requires_grad_(), points.double().requires_grad_()
    assert torch.autograd.gradcheck(plain, inputs, eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("perspective", [True, False])
def test_compiled_gradients_are_the_plain_ones(perspective, channels, shared):
    points, faces, seen = scene(channels)
    if not perspective:
        seen = Fragments(seen.face_ids, affine(points, faces, seen), seen.depth)
    values = torch.rand(*(() if shared else (2,)), points.shape[1], channels)

    def run(backend: Literal["numba", "reference"]):
        return gradients(
            lambda v, p: interpolate(v, faces, seen, points=p, perspective=perspective, backend=backend),
            values,
            points,
        )

    (fast, fast_grads), (slow, slow_grads) = run("numba"), run("reference")
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
    for a, b in zip(fast_grads, slow_grads, strict=True):
        assert a.shape == b.shape and a.abs().max() > 0.1
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().median() + 1))


def affine(points, faces, seen):
    """Barycentrics of a parallel projection, for the same visibility."""
    weights = interpolate_plain(torch.eye(3).repeat(len(faces), 1), faces, seen, points=points, perspective=False)
    return weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_to_points_are_those_of_rasterizing_again(dtype):
    """Differences across whole steps of the grid, through the rasterizer itself; visibility does not change inside."""
    generator = torch.Generator().manual_seed(4)
    _, points = quad()
    points[:, :2] = torch.round(points[:, :2] * 1024) / 1024
    face = FACES[:1]
    values = torch.rand(4, 3, generator=generator).to(dtype)
    weights = torch.rand(17, 21, 3, generator=generator, dtype=torch.float64)
    seen = rasterize(points, face, SIZE)
    inside = (seen.barycentric > 0.05).all(-1)

    def loss(points, fragments):
        return (interpolate(values, face, fragments, points=points).double() * weights)[inside].sum()

    wanted = points.detach().clone().requires_grad_()
    loss(wanted, seen).backward()
    assert wanted.grad is not None
    for vertex in range(3):
        for axis in range(3):
            step = torch.zeros_like(points)
            step[vertex, axis] = 16 / 1024 if axis < 2 else 0.01
            up, down = (float(loss(points, rasterize(points + s * step, face, SIZE))) for s in (1, -1))
            slope = (up - down) / (2 * float(step[vertex, axis]))
            assert float(wanted.grad[vertex, axis]) == pytest.approx(slope, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_reach_corners_behind_the_camera(backend):
    """A corner behind the camera keeps a signed depth; the same surface cut in front of it has the same gradient."""
    # In homogeneous corners h = z (x, y, 1) the triangle is an ordinary one.
    space = torch.tensor([[-2.0, 0.5, 2.0], [2.5, 0.6, 3.0], [0.1, -0.4, -0.5]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2]])

    def to_points(space):
        return torch.cat([8.0 * space[:, :2] / space[:, 2:] + 8.0, space[:, 2:]], dim=1)

    rays = torch.stack(torch.meshgrid(torch.arange(16), torch.arange(16), indexing="xy"), dim=-1).double() + 0.5
    rays = torch.cat([(rays - 8.0) / 8.0, torch.ones(16, 16, 1, dtype=torch.float64)], dim=-1)
    weights = torch.linalg.solve(space.T, rays.reshape(-1, 3).T).T.reshape(16, 16, 3)
    covered = (weights > 0).all(-1)
    assert covered.sum() > 20
    barycentric = torch.where(covered[..., None], weights / weights.sum(-1, keepdim=True), 0.0)
    seen = Fragments(
        torch.where(covered, 0, -1).int(), barycentric, torch.where(covered, 1 / weights.sum(-1), torch.inf)
    )
    values = torch.rand(3, 2, dtype=torch.float64)

    def through_space(space):
        a = torch.linalg.solve(space.T, rays.reshape(-1, 3).T).T.reshape(16, 16, 3)
        return torch.where(covered[..., None], a / a.sum(-1, keepdim=True) @ values, 0.0)

    image, (found,) = gradients(lambda s: interpolate(values, faces, seen, points=to_points(s), backend=backend), space)
    exact, (wanted,) = gradients(through_space, space)
    torch.testing.assert_close(image, exact, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("channels", [3, 5])
def test_the_number_of_threads_changes_no_bit(channels):
    points, faces, _ = scene(5, 40)
    points[..., :2] *= 12
    seen = several(points, faces, (400, 320))
    values = torch.rand(points.shape[1], channels)
    one, two, three = (
        gradients(lambda v, p, n=n: interpolate(v, faces, seen, points=p, threads=n), values, points) for n in (1, 2, 3)
    )
    for other in (two, three):
        assert torch.equal(one[0], other[0])
        assert all(torch.equal(a, b) for a, b in zip(one[1], other[1], strict=True))


def both_backends(faces, seen, values, points):
    """Compiled and plain values and gradients, in that order."""

    def run(backend: Literal["numba", "reference"]):
        return gradients(lambda v, p: interpolate(v, faces, seen, points=p, backend=backend), values, points)

    return [run(backend) for backend in BACKENDS]


@pytest.mark.parametrize("size", [(8, 1), (3, 3), (9, 5), (40, 200), (333, 7)])
def test_colours_of_all_picture_sizes(size):
    """Faces narrower and wider than a block of pixels, and higher than what is summed at once."""
    points, faces, seen = scene(11, 6, size)
    (fast, found), (slow, wanted) = both_backends(faces, seen, torch.rand(points.shape[1], 3), points)
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-3 * float(b.abs().max() + 1e-3))


def test_colours_of_faces_that_reach_behind_the_camera():
    points, faces, _ = scene(12, 8)
    points[:, ::5, 2] *= -0.2
    seen = several(points, faces, (33, 27))
    behind = (points[:, faces.flatten(), 2] < 0).reshape(2, -1, 3).any(-1)
    ids = seen.face_ids
    assert any(behind[n][ids[n][ids[n] >= 0].long()].any() for n in range(2))
    (_, found), (_, wanted) = both_backends(faces, seen, torch.rand(points.shape[1], 3), points)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-3 * float(b.abs().max()))


def test_colours_keep_their_gradient_where_points_are_not_those_of_the_picture():
    points, faces, seen = scene(13)
    values = torch.rand(points.shape[1], 3)
    _, (wanted,) = gradients(lambda v: interpolate(v, faces, seen), values)
    _, (found,) = gradients(lambda v: interpolate(v, faces, seen, points=points + 1000.0), values)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_vertices_spoil_no_other_gradient(backend):
    points, faces, _ = scene(6)
    bad = torch.tensor([[torch.nan, 1.0, 2.0], [4.0, torch.inf, 1.0], [3.0, 3.0, -1.0]])
    spoiled = torch.cat([points, bad.expand(2, 3, 3)], dim=1)
    more = torch.cat([faces, torch.tensor([[0, 1, 36], [36, 37, 2], [3, 37, 38]])])
    seen, clean = several(spoiled, more, (33, 27)), several(points, faces, (33, 27))
    keep = (seen.face_ids == clean.face_ids).all()
    assert keep
    values = torch.rand(39, 3)
    values[36:] = torch.nan
    dirty = gradients(lambda v, p: interpolate(v, more, seen, points=p, backend=backend), values, spoiled)
    wanted = gradients(lambda v, p: interpolate(v, faces, clean, points=p, backend=backend), values[:36], points)
    assert torch.equal(dirty[0], wanted[0])
    for a, b in zip(dirty[1], wanted[1], strict=True):
        assert torch.equal(a[..., :36, :], b) and (a[..., 36:, :] == 0).all()


def test_shapes_that_do_not_fit_are_refused():
    _, points = quad()
    seen = rasterize(points, FACES, SIZE)
    with pytest.raises(InputError, match="floating-point rows for every vertex"):
        interpolate(torch.ones(3, 4, 2), FACES, seen)
    with pytest.raises(InputError, match="one mesh"):
        interpolate(torch.ones(3, 2), FACES, seen)
    with pytest.raises(InputError, match="'numba', 'triton' or 'reference'"):
        interpolate(torch.ones(4, 2), FACES, seen, backend="cuda")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="threads"):
        interpolate(torch.ones(4, 2), FACES, seen, threads=0)


def test_shared_rows_collect_the_gradients_of_all_pictures():
    points, faces, seen = scene(3)
    one = Fragments(*(torch.stack([x[0], x[0]]) for x in (seen.face_ids, seen.barycentric, seen.depth)))
    single = Fragments(*(x[0] for x in (seen.face_ids, seen.barycentric, seen.depth)))
    values = torch.rand(points.shape[1], 2)

    def slopes(fragments):
        inputs = values.clone().requires_grad_(), points[0].clone().requires_grad_()
        image = interpolate(inputs[0], faces, fragments, points=inputs[1])
        return torch.autograd.grad(image.square().sum(), inputs)

    for a, b in zip(slopes(one), slopes(single), strict=True):
        torch.testing.assert_close(a, 2 * b)


def test_no_pictures_give_no_gradient():
    values = torch.rand(3, 2, requires_grad=True)
    faces = torch.tensor([[0, 1, 2]])
    image = interpolate(values, faces, rasterize(torch.zeros(0, 3, 3), faces, (4, 3)), points=torch.ones(3, 3))
    assert image.shape == (0, 3, 4, 2)
    (slope,) = torch.autograd.grad(image.sum(), values)
    assert (slope == 0).all()


def test_barycentrics_that_were_changed_count():
    points = torch.tensor([[0.0, 0.0, 1.0], [0.0, 40.0, 1.0], [40.0, 0.0, 1.0]])
    faces, values = torch.tensor([[0, 1, 2]]), torch.eye(3)
    seen = rasterize(points, faces, (24, 16))
    image = interpolate(values, faces, seen)
    assert torch.equal(image, seen.barycentric)
    seen.barycentric[..., 2] = 0.25
    assert torch.equal(interpolate(values, faces, seen), torch.where(seen.covered[..., None], seen.barycentric, 0.0))
    given = Fragments(seen.face_ids, 2.0 * image, seen.depth)
    assert torch.equal(interpolate(values, faces, given), 2.0 * image)
