"""Laws of the Triton kernels of `interpolate`: values and gradients are those of plain torch and its autograd."""

import os

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed; it comes with CUDA builds of torch, on Linux")
if os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available():
    pytest.skip("no CUDA device, and TRITON_INTERPRET=1 is not set", allow_module_level=True)

from flamehead.raster._triton import gradients as kernels
from flamehead.raster._triton.rasterize import rasterize as rasterize_triton

DEVICE = "cuda" if torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1" else "cpu"
SIZE = (21, 18)
PIXELS = SIZE[0] * SIZE[1]


def scene(seed: int, *, batch: int = 2, behind: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """A crumpled grid in perspective; with `behind`, some corners lie behind the camera."""
    generator = torch.Generator().manual_seed(seed)
    side = torch.linspace(-0.2, 1.2, 5)
    y, x = torch.meshgrid(side, side, indexing="ij")
    z = 1.0 + torch.rand(batch, 5, 5, generator=generator)
    if behind:
        z = z - 2.5 * (torch.rand(batch, 5, 5, generator=generator) < 0.2)
    noise = 3.0 * torch.rand(batch, 5, 5, 2, generator=generator)
    points = torch.stack([x * SIZE[0] + noise[..., 0], y * SIZE[1] + noise[..., 1], z], dim=-1)
    corner = torch.arange(20).reshape(4, 5)[:, :4].flatten()
    faces = torch.cat(
        [torch.stack([corner, corner + 5, corner + 1], 1), torch.stack([corner + 1, corner + 5, corner + 6], 1)]
    )
    return points.reshape(batch, 25, 3), faces.int()


def plain(attributes, points, faces, seen, perspective):
    """The same in differentiable torch and float64: `a_k = det(h_{k+1}, h_{k+2}, pixel)`, corners on the grid."""
    place = torch.floor(points.detach()[..., :2] * 1024 + 0.5) / 1024
    placed = torch.cat([points[..., :2] + (place - points.detach()[..., :2]), points[..., 2:]], dim=-1)
    height, width = seen.face_ids.shape[-2:]
    images = []
    for n, ids in enumerate(seen.face_ids):
        row, column = (ids >= 0).nonzero(as_tuple=True)
        corners = faces.long()[ids[row, column].long()]
        around = placed[n % len(placed)][corners]
        z = around[..., 2:] if perspective else torch.ones_like(around[..., 2:])
        h = torch.cat([around[..., :2] * z, z], dim=-1)
        pixel = torch.stack([column + 0.5, row + 0.5, torch.ones_like(row)], dim=-1).double()
        a = torch.stack(
            [(torch.linalg.cross(h[:, (k + 1) % 3], h[:, (k + 2) % 3]) * pixel).sum(-1) for k in range(3)], 1
        )
        values = ((a / a.sum(-1, keepdim=True))[..., None] * attributes[n % len(attributes)][corners]).sum(1)
        image = torch.zeros(height, width, attributes.shape[-1], dtype=torch.float64)
        images.append(image.index_put((row, column), values))
    return torch.stack(images).flatten(1, 2)


def planes(seen):
    ids, weights = seen.face_ids.flatten(1), seen.barycentric.movedim(-1, 1).flatten(2)
    return ids.contiguous(), weights.contiguous()


@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    ("channels", "shared", "dtype"), [(3, False, torch.float32), (1, True, torch.float64), (18, True, torch.float32)]
)
def test_values_and_gradients_are_those_of_autograd(perspective, behind, channels, shared, dtype):
    points, faces = scene(3, behind=behind)
    seen = rasterize_triton(points.to(DEVICE), faces.to(DEVICE), SIZE, cull=False, perspective=perspective, near=0.3)
    generator = torch.Generator().manual_seed(4)
    attributes = torch.randn(1 if shared else 2, 25, channels, generator=generator).to(dtype)
    weights = torch.randn(2, PIXELS, channels, generator=generator).to(dtype)

    wide = attributes.double().requires_grad_(), points.double().requires_grad_()
    there = type(seen)(seen.face_ids.cpu(), seen.barycentric.cpu(), seen.depth.cpu())
    expected = plain(*wide, faces, there, perspective)
    by_values, by_points = torch.autograd.grad((expected * weights.double()).sum(), wide)

    fixed = (faces.to(DEVICE), *planes(seen))
    image = kernels.interpolate(attributes.to(DEVICE), *fixed)
    got = kernels.interpolate_backward(
        weights.to(DEVICE), attributes.to(DEVICE), points.to(DEVICE), *fixed, perspective=perspective
    )
    assert image.dtype == dtype and got[0].dtype == dtype and got[1] is not None and got[1].dtype == points.dtype
    torch.testing.assert_close(image.cpu().double(), expected.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got[0].cpu().double(), by_values, rtol=1e-5, atol=2e-5)
    scale = float(by_points.abs().max())
    torch.testing.assert_close(got[1].cpu().double(), by_points, rtol=1e-4, atol=1e-5 * scale)
    assert by_points[..., :2].abs().max() > 0.1 and (not perspective or by_points[..., 2].abs().max() > 0.1)


def test_points_may_be_shared_or_left_out():
    points, faces = scene(5, batch=1)
    seen = rasterize_triton(points.expand(2, -1, -1).to(DEVICE), faces.to(DEVICE), SIZE, cull=False)
    fixed = (faces.to(DEVICE), *planes(seen))
    attributes = torch.randn(2, 25, 3, generator=torch.Generator().manual_seed(6)).to(DEVICE)
    gradient = torch.ones(2, PIXELS, 3, device=DEVICE)
    each = kernels.interpolate_backward(gradient, attributes, points.expand(2, -1, -1).contiguous().to(DEVICE), *fixed)
    together = kernels.interpolate_backward(gradient, attributes, points.to(DEVICE), *fixed)
    without = kernels.interpolate_backward(gradient, attributes, None, *fixed)
    assert each[1] is not None and together[1] is not None and without[1] is None
    torch.testing.assert_close(together[1], each[1].sum(0, keepdim=True))
    torch.testing.assert_close(without[0], each[0])


def test_what_is_not_seen_does_not_leak():
    """Values, corners and gradients of what no covered pixel shows may be anything."""
    points, faces = scene(7, batch=1)
    seen = rasterize_triton(points.to(DEVICE), faces.to(DEVICE), SIZE, cull=False)
    unseen = torch.cat([points, torch.full((1, 1, 3), torch.nan)], dim=1).to(DEVICE)
    attributes = torch.full((1, 26, 3), torch.nan)
    attributes[:, :25] = 1.0
    more = torch.cat([faces, torch.tensor([[0, 1, 25]], dtype=torch.int32)]).to(DEVICE)
    ids, weights = planes(seen)
    gradient = torch.ones(1, PIXELS, 3, device=DEVICE)
    gradient[ids < 0] = torch.nan
    image = kernels.interpolate(attributes.to(DEVICE), more, ids, weights)
    found = kernels.interpolate_backward(gradient, attributes.to(DEVICE), unseen, more, ids, weights)
    assert found[1] is not None and all(x.isfinite().all() for x in (image, found[0], found[1]))
    assert (image[ids < 0] == 0).all()


@pytest.mark.parametrize(("size", "channels"), [((5, 4), 0), ((0, 4), 3)])
def test_nothing_in_nothing_out(size, channels):
    empty = torch.zeros(2, 3, channels, device=DEVICE)
    pixels = size[0] * size[1]
    ids = torch.full((2, pixels), -1, dtype=torch.int32, device=DEVICE)
    fixed = (torch.zeros(0, 3, dtype=torch.int32, device=DEVICE), ids, torch.zeros(2, 3, pixels, device=DEVICE))
    assert kernels.interpolate(empty, *fixed).shape == (2, pixels, channels)
    found = kernels.interpolate_backward(torch.zeros(2, pixels, channels, device=DEVICE), empty, None, *fixed)
    assert not found[0].any() and found[1] is None
