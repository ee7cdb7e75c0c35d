"""The Triton kernels as autograd functions: what callers of `interpolate` and `antialias` get for CUDA tensors."""

import os

import pytest
import torch

from flamehead.raster import antialias, interpolate
from flamehead.raster.edges import edges_of

pytest.importorskip("triton", reason="triton is not installed; it comes with CUDA builds of torch, on Linux")
if os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available():
    pytest.skip("no CUDA device, and TRITON_INTERPRET=1 is not set", allow_module_level=True)

from flamehead.raster._triton import autograd
from flamehead.raster._triton.rasterize import rasterize as rasterize_triton

DEVICE = "cuda" if torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1" else "cpu"
SIZE = (30, 21)


def tent(batch: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A crumpled fan around a near tip, inside the image, with a border all around."""
    generator = torch.Generator().manual_seed(seed)
    angles = torch.linspace(0, 2 * torch.pi, 13)[:-1]
    ring = torch.stack([15.2 + 11.0 * angles.cos(), 10.3 + 8.0 * angles.sin(), torch.full_like(angles, 2.0)], dim=1)
    points = torch.cat([torch.tensor([[14.0, 9.0, 1.0]]), ring])
    points = points + 0.6 * torch.rand(*batch, 13, 3, generator=generator)
    around = torch.arange(12)
    return points, torch.stack([torch.zeros(12, dtype=torch.int64), 1 + around, 1 + (around + 1) % 12], dim=1)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("batch", [(), (2,), (2, 1)])
def test_a_picture_and_its_gradients_are_those_of_the_cpu(batch, shared):
    points, faces = tent(() if shared else batch)
    seen = rasterize_triton(points.expand(*batch, 13, 3).to(DEVICE), faces.to(DEVICE), SIZE, cull=False)
    here = type(seen)(seen.face_ids.cpu(), seen.barycentric.cpu(), seen.depth.cpu())
    generator = torch.Generator().manual_seed(1)
    colours = torch.rand(*(() if shared else batch), 13, 3, generator=generator)
    weights = torch.randn(*seen.face_ids.shape, 3, generator=generator)

    wanted = colours.clone().requires_grad_(), points.clone().requires_grad_()
    flat = interpolate(wanted[0], faces, here, points=wanted[1])
    picture = antialias(flat, wanted[1], faces, here)
    expected = torch.autograd.grad((picture * weights).sum(), wanted)

    given = tuple(x.detach().clone().to(DEVICE).requires_grad_() for x in (colours, points))
    drawn = autograd.interpolate(given[0], faces.to(DEVICE), seen, points=given[1], perspective=True)
    blended = autograd.antialias(drawn, given[1], seen, edges_of(faces), perspective=True)
    gradients = torch.autograd.grad((blended * weights.to(DEVICE)).sum(), given)

    assert blended.shape == (*batch, 21, 30, 3) and not torch.equal(blended, drawn)
    torch.testing.assert_close(blended.detach().cpu(), picture.detach(), rtol=1e-5, atol=1e-6)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-4, atol=1e-4)


def test_deterministic_algorithms_give_the_same_picture_and_gradients():
    points, faces = tent((2,))
    seen = rasterize_triton(points.to(DEVICE), faces.to(DEVICE), SIZE, cull=False)
    colours = torch.rand(2, 13, 3, generator=torch.Generator().manual_seed(1))
    results = []
    for deterministic in (False, True, True):
        given = tuple(x.detach().clone().to(DEVICE).requires_grad_() for x in (colours, points))
        torch.use_deterministic_algorithms(deterministic)
        try:
            drawn = autograd.interpolate(given[0], faces.to(DEVICE), seen, points=given[1], perspective=True)
            blended = autograd.antialias(drawn, given[1], seen, edges_of(faces), perspective=True)
            results.append((blended, *torch.autograd.grad(blended.square().sum(), given)))
        finally:
            torch.use_deterministic_algorithms(False)
    for usual, fixed, again in zip(*results, strict=True):
        torch.testing.assert_close(usual, fixed, rtol=1e-4, atol=1e-4)
        assert torch.equal(fixed, again)


def test_without_points_only_values_get_gradients():
    points, faces = tent(())
    seen = rasterize_triton(points.to(DEVICE), faces.to(DEVICE), SIZE, cull=False)
    colours = torch.rand(13, 2, device=DEVICE, requires_grad=True)
    drawn = autograd.interpolate(colours, faces.to(DEVICE), seen, points=None, perspective=True)
    (gradient,) = torch.autograd.grad(drawn.sum(), colours)
    torch.testing.assert_close(gradient.sum(), 2.0 * seen.covered.sum().float())


def test_edges_on_a_device_leave_with_the_edges():
    points, faces = tent(())
    edges = edges_of(faces)
    first, again = (autograd._on_device(edges, torch.device(DEVICE)) for _ in range(2))
    assert first[0] is again[0] and first[1] == 2
    count = len(autograd._KNOWN)
    del edges, faces, points
    assert len(autograd._KNOWN) == count - 1
