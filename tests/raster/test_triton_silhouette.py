"""Laws of the Triton silhouette pass: the pairs of the compiled one on the CPU, its picture and its gradients."""

import os

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from flamehead.raster import Fragments, antialias, rasterize
from flamehead.raster._silhouette import STEPS, TOLERANCE
from flamehead.raster.antialias import silhouette_pairs
from flamehead.raster.edges import edges_of

pytest.importorskip("triton", reason="triton is not installed; it comes with CUDA builds of torch, on Linux")
if os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available():
    pytest.skip("no CUDA device, and TRITON_INTERPRET=1 is not set", allow_module_level=True)

from flamehead.raster._triton import silhouette

DEVICE = "cuda" if torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1" else "cpu"
SIZE = (40, 33)
Scene = tuple[torch.Tensor, torch.Tensor]


def ball(where: tuple[float, float, float], n: int = 150) -> Scene:
    """A closed ball in camera space, with many faces narrower than a pixel at its limb."""
    unit = np.random.default_rng(3).normal(size=(n, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    faces = ConvexHull(unit).simplices
    a, b, c = (unit[faces[:, k]] for k in range(3))
    inward = np.einsum("fk,fk->f", np.cross(b - a, c - a), a) < 0
    faces[inward] = faces[inward, ::-1]
    return torch.tensor(unit) + torch.tensor(where), torch.tensor(faces.astype(np.int64))


def project(space: torch.Tensor, focal: float = 45.0) -> torch.Tensor:
    return torch.cat([focal * space[:, :2] / space[:, 2:] + 18.3, space[:, 2:]], dim=1).float()


def two_balls() -> Scene:
    """One ball before another, so that silhouettes are hidden and lie before surfaces; as a batch of two views."""
    (front, faces), (back, _) = ball((0.3, 0.0, 4.0)), ball((-1.0, 0.4, 6.0))
    space = torch.cat([front, back])
    views = torch.stack([project(space), project(space + torch.tensor([0.4, -0.3, 0.2]))])
    return views, torch.cat([faces, faces + len(front)])


def sheets() -> Scene:
    """Open triangles at random, three of which share an edge, and one with a corner that is not a number."""
    generator = torch.Generator().manual_seed(5)
    points = torch.rand(1, 36, 3, generator=generator) * torch.tensor([44.0, 36.0, 2.0]) + torch.tensor([-2.0, -2, 1])
    points[0, 35] = torch.nan
    faces = torch.cat([torch.arange(36).reshape(-1, 3), torch.tensor([[0, 1, 3], [1, 0, 7]])])
    return points, faces


def through_the_camera() -> Scene:
    """The viewer stands in a ball with holes; some corners are behind."""
    space, faces = ball((0.2, 0.1, 0.4), n=60)
    return project(space, 15.0)[None], faces[torch.arange(len(faces)) % 3 > 0]


def on_centres() -> Scene:
    """Open triangles with corners at pixel centres and half-way between them, which edges pass exactly."""
    points, _ = sheets()
    points[0, :35, :2] = torch.round(2.0 * points[0, :35, :2]) / 2.0
    return points, torch.arange(33).reshape(-1, 3)


SCENES = {"on centres": on_centres, "two balls": two_balls, "sheets": sheets, "through the camera": through_the_camera}


def there(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.to(DEVICE) for tensor in tensors)


def pairs_of(points: torch.Tensor, faces: torch.Tensor, seen: Fragments, perspective: bool):
    edges = edges_of(faces)
    arrays = (
        torch.from_numpy(x) for x in (edges.faces, edges.vertices, edges.half_edges, edges.starts, edges.face_edges)
    )
    return silhouette.find_pairs(
        *there(points, *arrays, seen.face_ids, seen.depth),
        degree=int(np.diff(edges.starts).max()), perspective=perspective, tolerance=TOLERANCE, steps=STEPS,
    )  # fmt: skip


@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("name", SCENES)
def test_pairs_are_those_of_the_compiled_pass(name, perspective):
    points, faces = SCENES[name]()
    seen = rasterize(points, faces, SIZE, perspective=perspective)
    pictures, numbers, values = (x.cpu() for x in pairs_of(points, faces, seen, perspective))
    expected = silhouette_pairs(points, edges_of(faces), seen, perspective=perspective)
    assert len(pictures) == sum(len(each.numbers) for each in expected) > 30
    for n, each in enumerate(expected):
        torch.testing.assert_close(numbers[pictures == n], torch.from_numpy(each.numbers))
        torch.testing.assert_close(values[pictures == n], torch.from_numpy(each.values))


@pytest.mark.parametrize(("channels", "dtype"), [(1, torch.float64), (3, torch.float32), (18, torch.float32)])
def test_picture_and_gradients_are_those_of_the_compiled_pass(channels, dtype):
    points, faces = two_balls()
    seen = rasterize(points, faces, SIZE)
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(*seen.face_ids.shape, channels, generator=generator).to(dtype)
    weights = torch.randn(image.shape, generator=generator).to(dtype)
    wanted = image.clone().requires_grad_(), points.clone().requires_grad_()
    expected = antialias(*wanted, faces, seen)
    gradients = torch.autograd.grad((expected * weights).sum(), wanted)

    pairs = pairs_of(points, faces, seen, True)
    flat, slopes = image.flatten(1, 2).to(DEVICE), weights.flatten(1, 2).to(DEVICE)
    got = silhouette.blend(flat, pairs)
    by_image, by_points = silhouette.blend_backward(slopes, flat, points.to(DEVICE), pairs)
    assert (expected != image).any() and gradients[1].abs().max() > 0.1
    torch.testing.assert_close(got.cpu(), expected.detach().flatten(1, 2))
    torch.testing.assert_close(by_image.cpu(), gradients[0].flatten(1, 2))
    torch.testing.assert_close(by_points.cpu(), gradients[1], rtol=1e-5, atol=1e-5)


def test_pictures_may_share_their_points():
    points, faces = two_balls()
    points = points[:1]
    seen = rasterize(points.expand(2, -1, -1), faces, SIZE)
    pictures, numbers, values = pairs_of(points, faces, seen, True)
    half = len(pictures) // 2
    assert torch.equal(numbers[:half], numbers[half:]) and torch.equal(pictures.bincount(), torch.tensor([half, half]))
    image = torch.rand(2, SIZE[0] * SIZE[1], 3, generator=torch.Generator().manual_seed(2)).to(DEVICE)
    shared = silhouette.blend_backward(torch.ones_like(image), image, points.to(DEVICE), (pictures, numbers, values))
    each = silhouette.blend_backward(
        torch.ones_like(image), image, points.expand(2, -1, -1).contiguous().to(DEVICE), (pictures, numbers, values)
    )
    torch.testing.assert_close(shared[1], each[1].sum(0, keepdim=True), rtol=1e-5, atol=1e-5)


def test_where_nothing_is_seen_nothing_changes():
    points, faces = two_balls()
    for corners in (points - torch.tensor([500.0, 0.0, 0.0]), points * torch.tensor([1.0, 1.0, -1.0])):
        seen = rasterize(corners, faces, SIZE)
        pairs = pairs_of(corners, faces, seen, True)
        image = torch.rand(2, SIZE[0] * SIZE[1], 3).to(DEVICE)
        assert len(pairs[0]) == 0 and torch.equal(silhouette.blend(image, pairs), image)
