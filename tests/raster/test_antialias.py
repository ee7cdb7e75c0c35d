"""Laws of silhouette blending: areas, exact derivatives, equal backends, and nothing but silhouettes touched."""

from typing import Literal

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from flamehead.errors import InputError
from flamehead.raster import Fragments, antialias, edges_of, rasterize
from flamehead.raster._silhouette import blend
from flamehead.raster.antialias import silhouette_pairs
from flamehead.raster.interpolate import snapped

BACKENDS: list[Literal["numba", "reference"]] = ["numba", "reference"]
SIZE = (37, 29)


def soup(seed: int, n_faces: int = 40, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Connected and loose triangles of all sizes, partly outside, in several pictures."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(batch, n_faces, 3, generator=generator) * torch.tensor([45.0, 37.0, 1.0])
    points += torch.tensor([-4.0, -4.0, 1.0])
    near = torch.cdist(points[0, :, :2], points[0, :, :2]).argsort(1)
    columns = torch.stack([torch.randperm(7, generator=generator)[:2] + 1 for _ in range(n_faces)])
    faces = torch.cat([torch.arange(n_faces)[:, None], near.gather(1, columns)], dim=1)
    return points, faces


def ball(radius: float, *, n: int = 400, center=(18.0, 14.0)) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed ball under parallel projection; most of its limb's faces are narrower than a pixel."""
    unit = np.random.default_rng(3).normal(size=(n, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    faces = ConvexHull(unit).simplices
    a, b, c = (unit[faces[:, k]] for k in range(3))
    inward = np.einsum("fk,fk->f", np.cross(b - a, c - a), a) > 0
    faces[inward] = faces[inward, ::-1]
    points = radius * unit + np.array([*center, 3 * radius])
    return torch.tensor(points), torch.tensor(faces.astype(np.int64))


def mask(points, faces, size=SIZE, **options) -> torch.Tensor:
    seen = rasterize(points, faces, size, perspective=options.get("perspective", True))
    return antialias(seen.covered[..., None].to(points.dtype), points, faces, seen, **options)[..., 0]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("place", [3.1, 3.5, 3.75, 4.0, 4.499])
def test_level_and_upright_edges_cover_their_exact_area(axis, place):
    points = torch.tensor([[place, -90.0, 1.0], [place, 90.0, 1.0], [300.0, 0.0, 1.0]])
    if axis:
        points = points[:, [1, 0, 2]]
    drawn = mask(points, torch.tensor([[0, 1, 2]]), (9, 9))
    line = drawn[4] if axis == 0 else drawn[:, 4]
    exact = (torch.arange(9) + 1.0 - place).clamp(0, 1)
    torch.testing.assert_close(line, exact, rtol=0, atol=6e-4)


@pytest.mark.parametrize("angle", torch.linspace(0.05, 6.2, 13).tolist())
def test_the_mean_area_and_its_derivative_are_exact(angle):
    """Over all shifts within a pixel, the drawn area of a triangle is its area, and moving a side changes it alike."""
    turn = torch.tensor([angle, angle + 2.0, angle + 4.3], dtype=torch.float64)
    corners = 11.0 * torch.stack([turn.cos(), turn.sin()], dim=1) + torch.tensor([18.0, 14.0], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2]])
    areas, slopes = [], []
    for x in range(6):
        for y in range(6):
            moved = (corners + torch.tensor([x / 6, y / 6])).requires_grad_()
            area = mask(torch.cat([moved, torch.ones(3, 1)], dim=1), faces).sum()
            areas.append(area.detach())
            slopes.append(torch.autograd.grad(area, moved)[0])
    corners.requires_grad_()
    a, b = corners[1] - corners[0], corners[2] - corners[0]
    exact = 0.5 * (a[0] * b[1] - a[1] * b[0]).abs()
    (slope,) = torch.autograd.grad(exact, corners)
    assert float(torch.stack(areas).mean()) == pytest.approx(float(exact.detach()), rel=0.01)
    torch.testing.assert_close(torch.stack(slopes).mean(0), slope, rtol=0.0, atol=0.06 * float(slope.abs().max()))


def test_every_pair_on_the_limb_of_a_fine_ball_is_found():
    points, faces = ball(11.3, n=3000)
    seen = rasterize(points, faces, SIZE, perspective=False)
    (pairs,) = silhouette_pairs(points, edges_of(faces), seen, perspective=False)
    covered, cells = seen.covered, torch.arange(SIZE[0] * SIZE[1]).reshape(SIZE[1], SIZE[0])
    wanted = {(int(n), 0) for n in cells[:, :-1][covered[:, :-1] != covered[:, 1:]]}
    wanted |= {(int(n), 1) for n in cells[:-1][covered[:-1] != covered[1:]]}
    found = {(a, axis) for a, _, axis, _, _ in pairs.numbers.tolist()}
    # A limb inside the ball's own picture does not exist, and pairs of two covered pixels are at most a grazed few.
    assert wanted <= found and len(found) < 1.05 * len(wanted)
    drawn = antialias(covered[..., None].double(), points, faces, seen, perspective=False)
    assert float(drawn.sum()) == pytest.approx(np.pi * 11.3**2, rel=0.01)


@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_backends_find_the_same_and_blend_alike(seed, perspective):
    for points, faces in (soup(seed), ball(9.0 + seed)):
        seen = rasterize(points, faces, SIZE, perspective=perspective)
        image = torch.rand(*seen.depth.shape, 3, generator=torch.Generator().manual_seed(seed))
        fast, slow = (
            silhouette_pairs(points, edges_of(faces), seen, perspective=perspective, plain=plain)
            for plain in (False, True)
        )
        for a, b in zip(fast, slow, strict=True):
            order, other = (np.lexsort(each.numbers[:, :3].T[::-1]) for each in (a, b))
            assert (a.numbers[order] == b.numbers[other]).all() and len(a.numbers) > 20
            np.testing.assert_allclose(a.values[order], b.values[other], rtol=1e-9, atol=1e-9)
        results = []
        for backend in BACKENDS:
            inputs = image.clone().requires_grad_(), points.float().clone().requires_grad_()
            out = antialias(inputs[0], inputs[1], faces, seen, perspective=perspective, backend=backend)
            weights = torch.rand(out.shape, generator=torch.Generator().manual_seed(1))
            results.append((out.detach(), *torch.autograd.grad((out * weights).sum(), inputs)))
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_derivatives_of_the_blend(seed):
    """With pairs and weights held fixed, which is what the gradient is defined by."""
    points, faces = soup(seed, batch=1)
    points[..., 2] += 0.5
    seen = rasterize(points, faces, SIZE)
    (pairs,) = silhouette_pairs(points, edges_of(faces), seen)
    # Rows of half the picture: a full numerical Jacobian of it would take minutes.
    image = torch.rand(SIZE[0] * SIZE[1], 2, dtype=torch.float64, requires_grad=True)
    places = snapped(points[0].double()).detach().requires_grad_()
    weights = torch.rand(SIZE[0] * SIZE[1], 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda i, p: (blend(i, p, pairs, SIZE) * weights).sum(), (image, places), eps=1e-7, atol=1e-5, fast_mode=True
    )
    slow = torch.autograd.grad((blend(image, places, pairs, SIZE) * weights).sum(), (image, places))
    whole = image.reshape(1, SIZE[1], SIZE[0], 2)
    out = antialias(whole, places[None], faces, seen)
    fast = torch.autograd.grad((out.reshape(weights.shape) * weights).sum(), (image, places))
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_only_silhouettes_are_touched():
    points, faces = ball(10.0)
    seen = rasterize(points, faces, SIZE, perspective=False)
    image = torch.rand(*seen.depth.shape, 3)
    out = antialias(image, points, faces, seen, perspective=False)
    edge = torch.zeros_like(seen.covered)
    for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
        edge |= seen.covered != seen.covered.roll(shift, axis)
    touched = (out != image).any(-1)
    assert touched.sum() > 30 and not (touched & ~edge).any()


def test_the_nearer_surface_owns_the_border():
    """A small sheet before a large one: its border counts, the large one's behind it does not."""
    points = torch.tensor(
        [[4.3, 4.3, 1.0], [4.3, 20.3, 1.0], [20.3, 4.3, 1.0], [-9.0, -90.0, 2.0], [-9.0, 90.0, 2.0], [10.2, 0.0, 2.0]]
    )
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    seen = rasterize(points, faces, SIZE)
    (pairs,) = silhouette_pairs(points, edges_of(faces), seen)
    a = pairs.numbers[:, 0]
    inside = (a % 37 > 4) & (a % 37 < 12) & (a // 37 > 5) & (a // 37 < 8)
    assert len(a) > 20 and not inside.any()


def test_a_sheet_behind_another_sheet_has_no_edge():
    points = torch.tensor(
        [
            [-90.0, -90.0, 1.0],
            [-90.0, 190.0, 1.0],
            [190.0, 0.0, 1.0],
            [4.3, 4.3, 2.0],
            [4.3, 20.3, 2.0],
            [20.3, 4.3, 2.0],
        ]
    )
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    seen = rasterize(points, faces, (20, 20))
    (pairs,) = silhouette_pairs(points, edges_of(faces), seen)
    assert not np.isin(pairs.numbers[:, 3:], [3, 4, 5]).any()


def test_crossing_sheets_hide_each_others_ends():
    """Where a surface dives behind another one between two pixels, its border behind that one does not count."""
    points = torch.tensor(
        [
            [-9.0, -90.0, 1.0],
            [-9.0, 90.0, 1.0],
            [12.2, 0.0, 3.0],
            [40.0, -90.0, 1.5],
            [40.0, 90.0, 1.5],
            [-30.0, 0.0, 2.0],
        ]
    )
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    for plain in (False, True):
        seen = rasterize(points, faces, (30, 9))
        assert set(seen.face_ids.unique().tolist()) == {0, 1}
        (pairs,) = silhouette_pairs(points, edges_of(faces), seen, plain=plain)
        assert not np.isin(pairs.numbers[:, 3:], [2]).any()


def test_the_number_of_threads_changes_no_bit():
    points, faces = soup(7, 60, batch=5)
    seen = rasterize(points, faces, SIZE)
    image = torch.rand(*seen.depth.shape, 3)
    results = []
    for threads in (1, 2, 4):
        inputs = image.clone().requires_grad_(), points.clone().requires_grad_()
        out = antialias(*inputs, faces, seen, threads=threads)
        results.append((out.detach(), *torch.autograd.grad(out.square().sum(), inputs)))
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_vertices_spoil_no_other_gradient(backend):
    points, faces = soup(8)
    bad = torch.tensor([[torch.nan, 1.0, 2.0], [4.0, torch.inf, 1.0], [3.0, 3.0, -1.0], [2.0, 5.0, 0.0]])
    spoiled = torch.cat([points, bad.expand(2, 4, 3)], dim=1)
    more = torch.cat([faces, torch.tensor([[40, 41, 42], [40, 41, 43], [0, 1, 40], [42, 43, 41]])])

    def run(points, faces):
        seen = rasterize(points, faces, SIZE)
        image = torch.rand(2, SIZE[1], SIZE[0], 3, generator=torch.Generator().manual_seed(2))
        wanted = points.clone().requires_grad_()
        out = antialias(image, wanted, faces, seen, backend=backend)
        return out.detach(), torch.autograd.grad(out.square().sum(), wanted)[0]

    (dirty, dirty_grad), (clean, clean_grad) = run(spoiled, more), run(points, faces)
    assert torch.equal(dirty, clean) and torch.equal(dirty_grad[:, :40], clean_grad)
    assert (dirty_grad[:, 40:] == 0).all()


def test_shared_points_collect_the_gradients_of_all_pictures():
    points, faces = soup(9, batch=1)
    single = rasterize(points[0], faces, SIZE)
    both = Fragments(*(torch.stack([x, x]) for x in (single.face_ids, single.barycentric, single.depth)))
    image = torch.rand(*single.depth.shape, 3)
    for backend in BACKENDS:
        wanted = points[0].clone().requires_grad_()
        (one,) = torch.autograd.grad(antialias(image, wanted, faces, single, backend=backend).square().sum(), wanted)
        twice = antialias(torch.stack([image, image]), wanted, faces, both, backend=backend)
        (two,) = torch.autograd.grad(twice.square().sum(), wanted)
        torch.testing.assert_close(two, 2 * one)


def test_shapes_that_do_not_fit_are_refused():
    points, faces = soup(1)
    seen = rasterize(points, faces, SIZE)
    with pytest.raises(InputError, match="like the fragments"):
        antialias(torch.ones(*seen.depth.shape), points, faces, seen)
    with pytest.raises(InputError, match=r"got \(3, 40, 3\)"):
        antialias(torch.ones(*seen.depth.shape, 1), points[:1].expand(3, -1, -1), faces, seen)
    with pytest.raises(InputError, match="one mesh"):
        antialias(torch.ones(*seen.depth.shape, 1), points[:, :9], faces, seen)
    with pytest.raises(InputError, match="edges belong to another mesh"):
        antialias(torch.ones(*seen.depth.shape, 1), points, faces, seen, edges=edges_of(faces[:-1]))
    with pytest.raises(InputError, match="'numba', 'triton' or 'reference'"):
        antialias(torch.ones(*seen.depth.shape, 1), points, faces, seen, backend="cuda")  # pyright: ignore
