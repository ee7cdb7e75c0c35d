"""Laws of rasterization: each pixel once, the nearest triangle, perspective, culling, and harmless bad input."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

import flamehead.raster._cpu.rasterize as compiled_rasterizer
from flamehead.errors import InputError
from flamehead.raster import Backend, Fragments, rasterize

BACKENDS: list[Backend] = ["numba", "reference"]
SIZE = (37, 29)


def plane(seed: int, *, on_grid: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """A random triangulation that reaches beyond an image of `SIZE`, with corners turned either way."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-12.0, 50.0, (120, 2))
    if on_grid:
        # Pixel centres and pixel corners, so that edges and vertices hit centres exactly.
        points = np.round(points * 2) / 2
    corners = np.array([[-20.0, -20.0], [60.0, -20.0], [-20.0, 60.0], [60.0, 60.0]])
    points = np.unique(np.concatenate([points, corners]), axis=0)
    faces = Delaunay(points).simplices
    faces[::2] = faces[::2, ::-1]
    flat = np.concatenate([points, np.full((len(points), 1), 2.0)], axis=1)
    return torch.tensor(flat), torch.tensor(faces.astype(np.int64))


def soup(seed: int, n_faces: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Triangles of all sizes at random, crossing one another, partly outside."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.rand(n_faces, 1, 3, generator=generator) * torch.tensor([45.0, 37.0, 1.0]) - torch.tensor(
        [4.0, 4, 0]
    )
    reach = torch.tensor([9.0, 9.0, 0.6]) * torch.rand(n_faces, 1, 1, generator=generator)
    corners = centers + reach * (2 * torch.rand(n_faces, 3, 3, generator=generator) - 1) + torch.tensor([0.0, 0.0, 1.0])
    return corners.reshape(-1, 3), torch.arange(3 * n_faces).reshape(-1, 3)


def sphere(n: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed ball in camera space, counter-clockwise seen from outside, and its projection onto 64 x 64 pixels."""
    rng = np.random.default_rng(3)
    unit = rng.normal(size=(n * n, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    from scipy.spatial import ConvexHull

    faces = ConvexHull(unit).simplices
    a, b, c = (unit[faces[:, k]] for k in range(3))
    inward = np.einsum("fk,fk->f", np.cross(b - a, c - a), a) < 0
    faces[inward] = faces[inward, ::-1]
    space = torch.tensor(unit) + torch.tensor([0.0, 0.0, 4.0])
    pixels = torch.cat([90.0 * space[:, :2] / space[:, 2:] + 32.0, space[:, 2:]], dim=1)
    return pixels, torch.tensor(faces.astype(np.int64))


def times_covered(points: torch.Tensor, faces: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """By how many triangles each pixel is covered, drawn one at a time."""
    return torch.stack([rasterize(points, face[None], size).covered for face in faces]).sum(0)


def same(a: Fragments, b: Fragments) -> None:
    torch.testing.assert_close(a.face_ids, b.face_ids)
    torch.testing.assert_close(a.barycentric, b.barycentric, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(a.depth, b.depth, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, 0.5), (0.1234567, 0.7654321), (1e-3, -1e-3), (1000.3, 700.7)])
@pytest.mark.parametrize("on_grid", [False, True])
def test_a_triangulated_plane_covers_every_pixel_exactly_once(seed, shift, on_grid):
    points, faces = plane(seed, on_grid=on_grid)
    offset = torch.tensor([*np.floor(shift), 0.0])
    shifted = points + torch.tensor([*shift, 0.0]) - offset
    assert (times_covered(shifted, faces, SIZE) == 1).all()


@pytest.mark.parametrize("far", [100.0, 1000.0, 8000.0])
def test_a_fan_far_from_the_corner_covers_every_pixel_exactly_once(far):
    # Slivers that meet in one point next to a pixel's centre, in a corner of a large image.
    angles = torch.linspace(0, 2 * torch.pi, 90, dtype=torch.float64)[:-1]
    ring = torch.stack([far + 12.0 * angles.cos(), 4.0 + 12.0 * angles.sin()], dim=1)
    points = torch.cat([torch.tensor([[far + 0.501, 4.499]], dtype=torch.float64), ring])
    points = torch.cat([points, torch.ones(len(points), 1, dtype=torch.float64)], dim=1)
    around = torch.arange(89)
    faces = torch.stack([torch.zeros(89, dtype=torch.int64), 1 + around, 1 + (around + 1) % 89], dim=1)
    assert (times_covered(points, faces, (int(far) + 5, 8))[:, int(far) - 5 :] == 1).all()


@pytest.mark.parametrize("cull", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_backends_agree(seed, cull):
    for points, faces in (soup(seed), plane(seed), plane(seed, on_grid=True)):
        fast, slow = (rasterize(points, faces, SIZE, cull=cull, backend=name) for name in BACKENDS)
        same(fast, slow)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_follow_the_ray(backend):
    """Depth and barycentrics are those of the ray through the pixel's centre and the triangle's plane."""
    generator = torch.Generator().manual_seed(7)
    focal, center = 40.0, torch.tensor([18.5, 14.5], dtype=torch.float64)
    for _ in range(8):
        corners = torch.rand(3, 3, generator=generator, dtype=torch.float64) * torch.tensor(
            [2.0, 2.0, 3.0]
        ) + torch.tensor([-1.0, -1.0, 1.5])
        points = torch.cat([focal * corners[:, :2] / corners[:, 2:] + center, corners[:, 2:]], dim=1)
        seen = rasterize(points, torch.tensor([[0, 1, 2]]), SIZE, backend=backend)
        y, x = seen.covered.nonzero().double().unbind(1)
        rays = torch.stack([(x + 0.5 - center[0]) / focal, (y + 0.5 - center[1]) / focal, torch.ones_like(x)], dim=1)
        normal = torch.linalg.cross(corners[1] - corners[0], corners[2] - corners[0])
        hits = rays * ((normal @ corners[0]) / (rays @ normal))[:, None]
        # Corners are snapped to 1/1024 pixel, which is 2.4e-5 of the focal length.
        slope = float(normal.norm() / (rays @ normal).abs().min()) if len(rays) else 1.0
        tolerance = 1e-4 * slope
        torch.testing.assert_close(seen.depth[seen.covered].double(), hits[:, 2], rtol=0.0, atol=tolerance)
        torch.testing.assert_close(seen.barycentric[seen.covered].double() @ corners, hits, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("backend", BACKENDS)
def test_barycentrics_are_a_partition(backend):
    seen = rasterize(*soup(11), SIZE, backend=backend)
    inside, outside = seen.barycentric[seen.covered], seen.barycentric[~seen.covered]
    assert (inside >= 0).all()
    torch.testing.assert_close(inside.sum(-1), torch.ones(len(inside)))
    assert (outside == 0).all() and torch.isinf(seen.depth[~seen.covered]).all()
    assert seen.face_ids.dtype == torch.int32 and seen.barycentric.dtype == seen.depth.dtype == torch.float32


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_nearest_wins_whatever_the_order(backend):
    points, faces = soup(2)
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))
    straight, shuffled = (rasterize(points, f, SIZE, backend=backend) for f in (faces, faces[order]))
    torch.testing.assert_close(straight.depth, shuffled.depth)
    seen = straight.covered
    torch.testing.assert_close(straight.face_ids[seen].long(), order[shuffled.face_ids[seen].long()])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_of_equals_wins(backend):
    points, faces = plane(0)
    twice = rasterize(points, torch.cat([faces, faces]), SIZE, backend=backend)
    same(twice, rasterize(points, faces, SIZE, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_culling_leaves_out_backs(backend):
    points, faces = sphere()
    size = (64, 64)
    whole = rasterize(points, faces, size, backend=backend)
    # The fronts of a closed surface hide its backs.
    same(rasterize(points, faces, size, cull=True, backend=backend), whole)
    inside_out = rasterize(points, faces.flip(1), size, cull=True, backend=backend)
    assert torch.equal(inside_out.covered, whole.covered)
    assert (inside_out.depth[whole.covered] > whole.depth[whole.covered]).all()


BAD = {
    "nan x": (torch.nan, 0.0, 1.0),
    "nan y": (0.0, torch.nan, 1.0),
    "nan depth": (0.0, 0.0, torch.nan),
    "infinite x": (torch.inf, 0.0, 1.0),
    "infinite depth": (0.0, 0.0, torch.inf),
    "on the camera": (0.0, 0.0, 0.0),
    "behind the camera": (0.0, 0.0, -1.0),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_corner_costs_its_own_triangle_only(backend, bad):
    points, faces = plane(1)
    without = rasterize(points, faces[5:], SIZE, backend=backend)
    points = torch.cat([points, torch.tensor([bad])])
    worse = faces.clone()
    worse[:5, 1] = len(points) - 1
    seen = rasterize(points, worse, SIZE, backend=backend)
    assert torch.equal(seen.covered, without.covered)
    torch.testing.assert_close(seen.depth, without.depth)
    assert seen.barycentric.isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_triangles_without_area_are_not_seen(backend):
    points = torch.tensor([[1.0, 1.0, 1.0], [9.0, 9.0, 1.0], [5.0, 5.0, 1.0], [1.0, 1.0, 2.0]])
    faces = torch.tensor([[0, 1, 2], [0, 0, 1], [0, 0, 0], [0, 3, 1]])
    assert not rasterize(points, faces, SIZE, backend=backend).covered.any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("far", [1e3, 1e5, 1e9, 1e30])
def test_huge_triangles_fill_the_picture_and_nothing_else(backend, far):
    points = torch.tensor([[-far, -far, 1.0], [far, -far, 1.0], [0.0, far, 1.0]], dtype=torch.float64)
    seen = rasterize(points, torch.tensor([[0, 1, 2]]), SIZE, backend=backend)
    assert seen.covered.all() and seen.barycentric.isfinite().all()
    beside = points + torch.tensor([3.0 * far, 0.0, 0.0])
    assert not rasterize(beside, torch.tensor([[0, 1, 2]]), SIZE, backend=backend).covered.any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 3), (16, 16), (33, 1)])
def test_any_size_of_picture(backend, size):
    points = torch.tensor([[-100.0, -100.0, 1.0], [200.0, -100.0, 1.0], [-100.0, 200.0, 1.0]])
    seen = rasterize(points, torch.tensor([[0, 1, 2]]), size, backend=backend)
    assert seen.face_ids.shape == (size[1], size[0]) and seen.covered.all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_faces_no_fragments(backend):
    assert not rasterize(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64), SIZE, backend=backend).covered.any()


def test_two_runs_are_equal_bit_for_bit():
    first, second = (rasterize(*soup(4), SIZE) for _ in range(2))
    for name in ("face_ids", "barycentric", "depth"):
        assert torch.equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize(
    ("points", "faces", "size", "word"),
    [
        (torch.zeros(2, 4, 2), torch.zeros(1, 3, dtype=torch.int64), (4, 4), "batch"),
        (torch.zeros(4, 3), torch.zeros(1, 4, dtype=torch.int64), (4, 4), "faces"),
        (torch.zeros(4, 3), torch.zeros(1, 3), (4, 4), "whole numbers"),
        (torch.zeros(4, 3), torch.tensor([[0, 1, 4]]), (4, 4), "another mesh"),
        (torch.zeros(4, 3), torch.tensor([[0, 1, -1]]), (4, 4), "another mesh"),
        (torch.zeros(4, 3), torch.tensor([[0, 1, 2]]), (0, 4), "at least 1"),
    ],
)
def test_bad_arguments_get_one_sentence(points, faces, size, word):
    with pytest.raises(InputError, match=word):
        rasterize(points, faces, size)


def test_threads_and_near_are_checked():
    points, faces = soup(0)
    with pytest.raises(InputError, match="1 or more"):
        rasterize(points, faces, SIZE, threads=0)
    for near in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="near plane"):
            rasterize(points, faces, SIZE, near=near)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 2), (0,)])
def test_a_batch_is_its_members(backend, batch):
    meshes = [soup(seed)[0] for seed in range(max(1, math.prod(batch)))]
    faces = soup(0)[1]
    points = torch.stack(meshes)[: math.prod(batch)].reshape(*batch, len(meshes[0]), 3)
    seen = rasterize(points, faces, SIZE, backend=backend)
    assert seen.depth.shape == (*batch, SIZE[1], SIZE[0]) and seen.barycentric.shape == (*seen.depth.shape, 3)
    for index in np.ndindex(*batch):
        one = rasterize(points[index], faces, SIZE, backend=backend)
        for name in ("face_ids", "barycentric", "depth"):
            assert torch.equal(getattr(seen, name)[index], getattr(one, name))


@pytest.mark.parametrize("size", [(37, 29), (200, 131), (640, 480)])
@pytest.mark.parametrize("perspective", [True, False])
def test_threads_do_not_change_a_bit(size, perspective):
    points, faces = soup(5, n_faces=300)
    points = points * torch.tensor([size[0] / 37, size[1] / 29, 1.0])
    runs = [rasterize(points, faces, size, perspective=perspective, threads=n) for n in (1, 2, 3, 7)]
    for other in runs[1:]:
        for name in ("face_ids", "barycentric", "depth"):
            assert torch.equal(getattr(runs[0], name), getattr(other, name))


@pytest.mark.parametrize("cull", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 28])
def test_strips_do_not_change_a_bit(rows, cull, monkeypatch):
    """Each strip visits its own list of triangles; those through the camera and broken ones are on all of them."""
    points, faces = soup(6, n_faces=200)
    space, more = crossing(1)
    bad = torch.tensor([[torch.nan, 1.0, 2.0], [4.0, torch.inf, 1.0], [1e30, 3.0, 1.0], [2.0, -torch.inf, 3.0]])
    points = torch.cat([points, on_screen(space).to(points), bad])
    end = len(points)
    broken = torch.tensor([[0, 1, end - 1], [2, end - 2, 3], [end - 3, 4, 5], [end - 4, 6, 7]])
    for triangles in (torch.cat([faces, more + (end - 4 - len(space)), broken]), faces, faces[:0]):
        whole = rasterize(points, triangles, SIZE, cull=cull, threads=1)
        with monkeypatch.context() as patch:
            patch.setattr(compiled_rasterizer, "_MOST_SCRATCH", rows * 3 * 64)
            cut = rasterize(points, triangles, SIZE, cull=cull, threads=1)
        for name in ("face_ids", "barycentric", "depth"):
            assert torch.equal(getattr(whole, name), getattr(cut, name))


@pytest.mark.parametrize("zoom", [3.0, 9.0, 40.0])
def test_large_triangles_are_filled_like_small_ones(zoom):
    size = (230, 190)
    points, faces = soup(3, n_faces=40)
    points = (points - torch.tensor([18.0, 14.0, 0.0])) * torch.tensor([zoom, zoom, 1.0]) + torch.tensor([115.0, 95, 0])
    for perspective in (True, False):
        fast, slow = (rasterize(points, faces, size, perspective=perspective, backend=name) for name in BACKENDS)
        same(fast, slow)


def crossing(seed: int, n_faces: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Triangles around the camera, in its own frame, most of them partly behind it."""
    generator = torch.Generator().manual_seed(seed)
    space = 2 * torch.rand(3 * n_faces, 3, generator=generator, dtype=torch.float64) - 1
    return space, torch.arange(3 * n_faces).reshape(-1, 3)


def on_screen(space: torch.Tensor) -> torch.Tensor:
    return torch.cat([20.0 * space[:, :2] / space[:, 2:] + torch.tensor([18.5, 14.5]), space[:, 2:]], dim=1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("near", [1e-3, 0.2])
@pytest.mark.parametrize("seed", range(4))
def test_triangles_through_the_camera_are_cut_at_the_near_plane(backend, near, seed):
    """Every ray against every triangle, with no screen in between."""
    space, faces = crossing(seed)
    seen = rasterize(on_screen(space), faces, SIZE, near=near, backend=backend)
    y, x = torch.meshgrid(torch.arange(SIZE[1]), torch.arange(SIZE[0]), indexing="ij")
    rays = torch.stack([(x + 0.5 - 18.5) / 20.0, (y + 0.5 - 14.5) / 20.0, torch.ones_like(x)], -1).double()
    # Moeller and Trumbore: s ray = b0 a + b1 b + b2 c.
    corners = space[faces].mT
    shares = torch.linalg.solve(corners[:, None, None], rays[None, ..., None]).squeeze(-1)
    z = 1.0 / shares.sum(-1)
    hit = (shares * z[..., None] >= 0).all(-1) & (z >= near)
    depth = torch.where(hit, z, torch.inf).amin(0)
    # Rays that graze an edge or the near plane may fall on either side of it.
    clear = (shares * z[..., None]).abs().amin(-1).amin(0) > 2e-3
    assert clear.double().mean() > 0.5 and hit.any()
    assert torch.equal(seen.covered[clear], depth.isfinite()[clear])
    both = clear & depth.isfinite()
    torch.testing.assert_close(seen.depth[both].double(), depth[both], rtol=2e-2, atol=1e-3)
    assert seen.barycentric.isfinite().all() and (seen.barycentric >= 0).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cull", [False, True])
def test_backends_agree_at_the_near_plane(seed, cull):
    space, faces = crossing(seed)
    fast, slow = (rasterize(on_screen(space), faces, SIZE, cull=cull, backend=name) for name in BACKENDS)
    same(fast, slow)


def test_a_plane_through_the_camera_is_sealed():
    """A floor that reaches behind the camera: each pixel below the horizon once, however it is cut into triangles."""
    rng = np.random.default_rng(4)
    flat = np.concatenate([rng.uniform(-3, 3, (60, 2)), [[-40, -40], [40, -40], [-40, 40], [40, 40]]])
    faces = torch.tensor(Delaunay(flat).simplices.astype(np.int64))
    space = torch.tensor(np.stack([flat[:, 0], np.full(len(flat), 0.5), flat[:, 1]], axis=1))
    points = on_screen(space)
    covered = times_covered(points, faces, SIZE)
    assert (covered[16:] == 1).all() and (covered[:14] == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_parallel_projection_is_linear_on_the_screen(backend):
    points = torch.tensor([[2.0, 2.0, -3.0], [2.0, 26.0, 5.0], [34.0, 2.0, 1.0]])
    seen = rasterize(points, torch.tensor([[0, 1, 2]]), SIZE, perspective=False, backend=backend)
    y, x = seen.covered.nonzero().float().unbind(1)
    assert len(x) > 300
    expected = -3.0 + 8.0 * (y + 0.5 - 2.0) / 24.0 + 4.0 * (x + 0.5 - 2.0) / 32.0
    torch.testing.assert_close(seen.depth[seen.covered], expected, rtol=0.0, atol=2e-5)
    torch.testing.assert_close(seen.barycentric[seen.covered] @ points[:, 2], expected, rtol=0.0, atol=2e-5)
    assert torch.isinf(seen.depth[~seen.covered]).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_nearest_wins_in_a_parallel_projection(backend):
    square = torch.tensor([[0.0, 0.0], [0.0, 40.0], [40.0, 0.0], [40.0, 40.0]])
    points = torch.cat([torch.cat([square, torch.full((4, 1), z)], dim=1) for z in (2.0, -1.0, 7.0)])
    faces = torch.cat([torch.tensor([[0, 1, 2], [2, 1, 3]]) + 4 * n for n in range(3)])
    seen = rasterize(points, faces, SIZE, perspective=False, backend=backend)
    assert (seen.depth == -1.0).all() and ((seen.face_ids == 2) | (seen.face_ids == 3)).all()


def test_slivers_and_needles_leave_no_trace_outside_themselves():
    generator = torch.Generator().manual_seed(1)
    start = 40 * torch.rand(400, 2, generator=generator)
    along = 60 * (torch.rand(400, 2, generator=generator) - 0.5)
    third = start + along * torch.rand(400, 1, generator=generator) + 1e-3 * torch.randn(400, 2, generator=generator)
    points = torch.stack([start, start + along, third], dim=1)
    points = torch.cat([points, 1 + torch.rand(400, 3, 1, generator=generator)], dim=2).reshape(-1, 3)
    faces = torch.arange(1200).reshape(-1, 3)
    fast, slow = (rasterize(points, faces, SIZE, backend=name) for name in BACKENDS)
    assert torch.equal(fast.face_ids, slow.face_ids)
    nearest, farthest = points[faces][..., 2].aminmax(dim=1)
    ids = fast.face_ids[fast.covered].long()
    depth = fast.depth[fast.covered]
    assert (depth >= nearest[ids] * 0.99).all() and (depth <= farthest[ids] * 1.01).all()


def test_a_device_without_a_backend_says_so():
    points, faces = torch.zeros(3, 3, device="meta"), torch.zeros(0, 3, dtype=torch.int64)
    with pytest.raises(InputError, match="reference"):
        rasterize(points, faces, (4, 4))
    with pytest.raises(InputError, match="cpu"):
        rasterize(points, faces, (4, 4), backend="numba")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_triangle_with_a_corner_that_is_not_finite_is_left_out(backend, perspective, bad, column):
    points = torch.tensor([[0.0, 0.0, 1.0], [0.0, 30.0, 1.0], [30.0, 0.0, 1.0]])
    points[1, column] = bad
    seen = rasterize(points, torch.tensor([[0, 1, 2]]), SIZE, perspective=perspective, backend=backend)
    assert not seen.covered.any()
