"""Laws of the Triton backend: the same pixels as numba, and the near plane as a ray caster in float64 sees it.

Kernels run on a CUDA device, or interpreted with TRITON_INTERPRET=1 in the environment (`make triton`).
"""

import os

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull, Delaunay

from flamehead.raster import Fragments, rasterize

pytest.importorskip("triton", reason="triton is not installed; it comes with CUDA builds of torch, on Linux")
if os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available():
    pytest.skip("no CUDA device, and TRITON_INTERPRET=1 is not set", allow_module_level=True)

from flamehead.raster._triton.rasterize import rasterize as rasterize_triton

DEVICE = "cuda" if torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1" else "cpu"
SIZE = (37, 29)
Scene = tuple[torch.Tensor, torch.Tensor]


def soup(seed: int, n_faces: int = 40) -> Scene:
    """Triangles of all sizes at random, crossing one another, partly outside the image."""
    generator = torch.Generator().manual_seed(seed)
    middles = torch.rand(n_faces, 1, 3, generator=generator) * torch.tensor([45.0, 37.0, 1.0])
    reach = torch.tensor([9.0, 9.0, 0.6]) * torch.rand(n_faces, 1, 1, generator=generator)
    corners = middles + reach * (2 * torch.rand(n_faces, 3, 3, generator=generator) - 1) + torch.tensor([-4.0, -4.0, 1])
    return corners.reshape(-1, 3), torch.arange(3 * n_faces).reshape(-1, 3)


def plane(seed: int) -> Scene:
    """A triangulation of the plane beyond the image, turned either way, edges and corners through pixel centres."""
    rng = np.random.default_rng(seed)
    points = np.round(rng.uniform(-12.0, 50.0, (60, 2)) * 2) / 2
    points = np.unique(np.concatenate([points, [[-20, -20], [60, -20], [-20, 60], [60, 60]]]), axis=0)
    faces = Delaunay(points).simplices
    faces[::2] = faces[::2, ::-1]
    flat = np.concatenate([points, np.full((len(points), 1), 2.0)], axis=1)
    return torch.tensor(flat, dtype=torch.float32), torch.tensor(faces.astype(np.int64))


def ball(depth: float = 4.0, n: int = 160, focal: float = 90.0) -> Scene:
    """A closed unit ball seen from `depth`, counter-clockwise from outside, for 64 x 64 pixels."""
    unit = np.random.default_rng(3).normal(size=(n, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    faces = ConvexHull(unit).simplices
    a, b, c = (unit[faces[:, k]] for k in range(3))
    inward = np.einsum("fk,fk->f", np.cross(b - a, c - a), a) < 0
    faces[inward] = faces[inward, ::-1]
    space = torch.tensor(unit) * torch.tensor([0.9, 1.2, 1.0]) + torch.tensor([0.05, 0.0, depth])
    pixels = torch.cat([focal * space[:, :2] / space[:, 2:] + 32.0, space[:, 2:]], dim=1)
    return pixels.float(), torch.tensor(faces.astype(np.int64))


def draw(points: torch.Tensor, faces: torch.Tensor, size=SIZE, *, cull=False, **options) -> Fragments:
    seen = rasterize_triton(points.to(DEVICE), faces.to(DEVICE), size, cull=cull, **options)
    return Fragments(seen.face_ids.cpu(), seen.barycentric.cpu(), seen.depth.cpu())


def same(a: Fragments, b: Fragments) -> None:
    assert torch.equal(a.face_ids, b.face_ids)
    torch.testing.assert_close(a.barycentric, b.barycentric, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(a.depth, b.depth, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("cull", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_soup_and_plane_are_those_of_numba(seed, cull):
    for scene in (soup(seed), plane(seed)):
        same(draw(*scene, cull=cull), rasterize(*scene, SIZE, cull=cull, backend="numba"))


@pytest.mark.parametrize("size", [(64, 64), (50, 33)])
def test_a_closed_mesh_is_that_of_numba(size):
    scene = ball()
    seen = draw(*scene, size, cull=True)
    assert seen.covered.float().mean() > 0.3
    same(seen, rasterize(*scene, size, cull=True, backend="numba"))


@pytest.mark.parametrize("seed", range(2))
def test_a_triangulated_plane_covers_every_pixel_exactly_once(seed):
    points, faces = plane(seed)
    points += torch.tensor([0.1234567 * seed, 0.7654321 * seed, 0.0])
    times = torch.zeros(SIZE[::-1], dtype=torch.int64)
    # Two colours of faces: an overlap would hide one face, a gap would show nothing.
    for part in (faces[::2], faces[1::2]):
        times += draw(points, part).covered
    assert (times == 1).all()


def test_a_fan_of_slivers_has_neither_gaps_nor_overlaps():
    angles = torch.linspace(0, 2 * torch.pi, 60, dtype=torch.float64)[:-1]
    ring = torch.stack([12.0 + 12.0 * angles.cos(), 4.0 + 12.0 * angles.sin(), torch.ones(59).double()], dim=1)
    points = torch.cat([torch.tensor([[12.501, 4.499, 1.0]]), ring]).float()
    around = torch.arange(59)
    faces = torch.stack([torch.zeros(59, dtype=torch.int64), 1 + around, 1 + (around + 1) % 59], dim=1)
    even, odd = draw(points, faces[::2], (24, 8)).covered, draw(points, faces[1::2], (24, 8)).covered
    assert (even[:, 2:22] ^ odd[:, 2:22]).all()


def test_meshes_of_a_batch_do_not_meet():
    scenes = [soup(5), soup(6)]
    points = torch.stack([scene[0] for scene in scenes])[:, None]
    seen = draw(points, scenes[0][1])
    assert seen.face_ids.shape == (2, 1, 29, 37) and seen.barycentric.shape == (2, 1, 29, 37, 3)
    assert seen.barycentric.movedim(-1, -3).is_contiguous()
    same(seen, rasterize(points, scenes[0][1], SIZE, backend="numba"))


@pytest.mark.parametrize("bad", [(torch.nan, 0.0, 1.0), (0.0, torch.inf, 1.0), (0.0, 0.0, torch.nan), (0.0, 0.0, 0.0)])
def test_a_bad_corner_costs_its_own_triangles_only(bad):
    points, faces = plane(1)
    worse = faces.clone()
    worse[:5, 1] = len(points)
    seen = draw(torch.cat([points, torch.tensor([bad])]), worse)
    without = rasterize(points, faces[5:], SIZE, backend="numba")
    assert torch.equal(seen.covered, without.covered)
    assert torch.equal(seen.face_ids[seen.covered], without.face_ids[seen.covered] + 5)
    assert seen.barycentric.isfinite().all()


@pytest.mark.parametrize("far", [1e3, 1e5, 1e9, 1e30])
def test_huge_triangles_fill_the_picture_and_nothing_else(far):
    points = torch.tensor([[-far, -far, 1.0], [far, -far, 1.0], [0.0, far, 1.0]])
    seen = draw(points, torch.tensor([[0, 1, 2]]))
    assert seen.covered.all() and seen.barycentric.isfinite().all()
    assert not draw(points + torch.tensor([3.0 * far, 0.0, 0.0]), torch.tensor([[0, 1, 2]])).covered.any()


def test_nothing_in_nothing_out():
    faces = torch.zeros(0, 3, dtype=torch.int64)
    for points in (torch.zeros(0, 3), torch.zeros(2, 4, 3), torch.zeros(0, 4, 3)):
        seen = draw(points, faces)
        assert seen.face_ids.shape == (*points.shape[:-2], 29, 37) and not seen.covered.any()
    flat = torch.tensor([[1.0, 1.0, 1.0], [9.0, 9.0, 1.0], [5.0, 5.0, 1.0]])
    assert not draw(flat, torch.tensor([[0, 1, 2], [0, 0, 1], [0, 0, 0]])).covered.any()


def test_a_wide_picture_has_more_tiles_than_one_program_takes():
    points, faces = soup(8)
    scene = torch.stack([points * torch.tensor([4.0, 0.6, 1.0]), points * torch.tensor([3.0, 0.5, 1.0])]), faces
    same(draw(*scene, (150, 19)), rasterize(*scene, (150, 19), backend="numba"))


@pytest.mark.parametrize("size", [(1, 1), (1, 20), (16, 16), (33, 1)])
def test_any_size_of_picture(size):
    points = torch.tensor([[-100.0, -100.0, 1.0], [200.0, -100.0, 1.0], [-100.0, 200.0, 1.0]])
    same(draw(points, torch.tensor([[0, 1, 2]]), size), rasterize(points, torch.tensor([[0, 1, 2]]), size))


def test_the_first_of_equals_wins():
    points, faces = plane(0)
    same(draw(points, torch.cat([faces, faces])), rasterize(points, faces, SIZE, backend="numba"))


def cast(points: torch.Tensor, faces: torch.Tensor, size, *, near: float, perspective: bool):
    """Ids, depth and barycentrics by one ray per pixel and face, and how clear of all edges each ray passes."""
    width, height = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixel = torch.stack([x + 0.5, y + 0.5, torch.ones_like(x)], dim=-1).double()
    corners = points.double()[faces]
    z = corners[..., 2]
    ones = torch.ones_like(z)
    scale = z if perspective else ones
    h = torch.stack([corners[..., 0] * scale, corners[..., 1] * scale, scale], dim=-1)
    a = torch.einsum("fkc,hwc->hwfk", torch.linalg.inv(h).mT, pixel)
    total = a.sum(-1)
    depth = 1.0 / total if perspective else (a * z).sum(-1)
    inside = (a >= 0).all(-1) & ((depth > near) if perspective else torch.ones_like(total, dtype=torch.bool))
    margin = torch.minimum(
        (a / total[..., None]).abs().amin(-1), (depth - near).abs() if perspective else depth * 0 + 1
    )
    depth = torch.where(inside, depth, torch.inf)
    nearest, ids = depth.min(-1)
    ids = torch.where(nearest.isinf(), -1, ids)
    weights = (a / total[..., None]).gather(2, ids.clamp(min=0)[..., None, None].expand(*ids.shape, 1, 3))[..., 0, :]
    return ids, nearest, weights, margin.amin(-1)


@pytest.mark.parametrize("depth", [0.3, -0.2])
def test_a_mesh_through_the_camera_plane_is_cut_there(depth):
    """The viewer stands inside the ball, the near plane cuts it; only what is in front is seen."""
    near = 0.1
    points, faces = ball(depth, n=24, focal=20.0)
    assert (points[:, 2] < 0).any() and (points[:, 2] > near).any()
    ids, expected, weights, margin = cast(points, faces, (40, 30), near=near, perspective=True)
    seen = draw(points, faces, (40, 30), near=near)
    # Rays that pass an edge closer than the sub-pixel grid resolves may fall on either side.
    clear = margin > 2e-3
    assert clear.float().mean() > 0.7 and (ids >= 0)[clear].float().mean() > 0.5
    assert torch.equal(seen.face_ids[clear].long(), ids[clear])
    hit = clear & (ids >= 0)
    torch.testing.assert_close(seen.depth[hit].double(), expected[hit], rtol=5e-3, atol=0.0)
    torch.testing.assert_close(seen.barycentric[hit].double(), weights[hit], rtol=0.0, atol=5e-3)
    assert (seen.depth > near).all()


def test_no_gaps_between_triangles_that_cross_the_near_plane():
    """A floor under the camera, from behind it to far in front: below the horizon every pixel shows it once."""
    rng = np.random.default_rng(2)
    where = np.concatenate([rng.uniform(-3.9, 3.9, (30, 2)), [[-4, -4], [4, -4], [-4, 4], [4, 4]]])
    faces = torch.tensor(Delaunay(where).simplices.astype(np.int64))
    z = torch.tensor(where[:, 1])
    points = torch.stack([20.0 * torch.tensor(where[:, 0]) / z + 16.0, 20.0 / z + 4.0, z], dim=1).float()
    times = sum(draw(points, faces[part::2], (32, 40), near=1e-3).covered.long() for part in (0, 1))
    assert isinstance(times, torch.Tensor) and (times[12:, 4:28] == 1).all() and (times[:4] == 0).all()


def test_without_perspective_weights_are_affine_and_depth_has_any_sign():
    points, faces = soup(3)
    points = points - torch.tensor([0.0, 0.0, 1.5])
    ids, expected, weights, margin = cast(points, faces, SIZE, near=0.0, perspective=False)
    seen = draw(points, faces, perspective=False)
    clear = margin > 5e-3
    assert (points[:, 2] < 0).any() and (seen.depth < 0).any()
    assert torch.equal(seen.face_ids[clear].long(), ids[clear])
    hit = clear & (ids >= 0)
    torch.testing.assert_close(seen.depth[hit].double(), expected[hit], rtol=0.0, atol=5e-3)
    torch.testing.assert_close(seen.barycentric[hit].double(), weights[hit], rtol=0.0, atol=5e-3)


@pytest.mark.parametrize("options", [{"near": 0.1}, {"near": 0.5, "cull": True}, {"perspective": False}])
@pytest.mark.parametrize("depth", [0.3, -0.2, 1.5])
def test_cut_and_parallel_meshes_are_those_of_numba(depth, options):
    points, faces = ball(depth, n=24, focal=20.0)
    both = torch.stack([points, points * torch.tensor([0.8, 0.9, 1.1])])
    for scene in ((both, faces), (both, faces.flip(1))):
        same(draw(*scene, (40, 30), **options), rasterize(*scene, (40, 30), backend="numba", **options))


def test_culling_knows_fronts_through_the_camera_plane():
    """Inside a closed surface only backs are seen, on both sides of the camera plane."""
    points, faces = ball(0.3, n=24, focal=20.0)
    assert draw(points, faces, (40, 30), near=0.1).covered.any()
    assert not draw(points, faces, (40, 30), near=0.1, cull=True).covered.any()
    same(draw(points, faces.flip(1), (40, 30), near=0.1, cull=True), draw(points, faces.flip(1), (40, 30), near=0.1))


def test_two_runs_are_equal_bit_for_bit():
    first, second = (draw(*soup(4)) for _ in range(2))
    for name in ("face_ids", "barycentric", "depth"):
        assert torch.equal(getattr(first, name), getattr(second, name))
