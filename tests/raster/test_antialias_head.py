"""Visibility gradients on a head: against finely sampled pictures, by the share of pairs found, by fitting a pose."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from flamehead import load_flame
from flamehead.geometry.rotation import exp
from flamehead.raster import antialias, edges_of, interpolate, rasterize
from flamehead.raster.antialias import silhouette_pairs

FINE = 16


class Scene:
    """The built-in head about its centre, 1 m in front of the camera, three quarters of the picture high."""

    def __init__(self, size: int) -> None:
        self.flame, self.size = load_flame(), size
        template = self.flame.template
        self.rest = template - 0.5 * (template.amax(0) + template.amin(0))
        self.faces = self.flame.faces

    def points(self, rotation: Tensor, shift: Tensor, offsets: Tensor | float = 0.0) -> Tensor:
        """Model to picture: y and z turn over, then the camera looks from 1 m away."""
        turned = (self.rest + offsets) @ exp(rotation).mT * torch.tensor([1.0, -1.0, -1.0])
        space = turned + shift + torch.tensor([0.0, 0.0, 1.0])
        pixels = 3.0 * self.size * space[:, :2] / space[:, 2:] + 0.5 * self.size
        return torch.cat([pixels, space[:, 2:]], dim=1)

    def draw(self, points: Tensor, values: Tensor, *, fine: int = 1) -> Tensor:
        """Values seen, (C, H, W): blended with gradients, or sampled `fine` times in both directions and averaged."""
        scaled = points * torch.tensor([fine, fine, 1.0])
        seen = rasterize(scaled, self.faces, (fine * self.size, fine * self.size), cull=True)
        if fine > 1:
            picture = interpolate(values, self.faces, seen).movedim(-1, 0)
            return torch.nn.functional.avg_pool2d(picture[None], fine)[0]
        picture = interpolate(values, self.faces, seen, points=points)
        return antialias(picture, points, self.faces, seen).movedim(-1, 0)


def smooth(picture: Tensor, sigma: float = 3.0) -> Tensor:
    """Blurred, so that squares of single edge pixels do not depend on where in a pixel an edge happens to lie."""
    ramp = torch.arange(-9, 10, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (ramp / sigma) ** 2)
    kernel = kernel / kernel.sum()
    planes = picture.double()[:, None]
    planes = torch.nn.functional.conv2d(planes, kernel[None, None, :, None], padding=(9, 0))
    return torch.nn.functional.conv2d(planes, kernel[None, None, None], padding=(0, 9))[:, 0]


def test_gradients_are_those_of_a_finely_sampled_picture():
    """Mask and colour losses, for translations, rotations and a smooth offset of the vertices, at 16 x 16 samples."""
    scene = Scene(128)
    y, x = torch.meshgrid(torch.arange(128) / 128, torch.arange(128) / 128, indexing="ij")
    target = 0.5 + 0.25 * torch.sin(7 * x + 3 * y) * torch.cos(5 * y - 2 * x)
    values = torch.cat([torch.ones_like(scene.rest[:, :1]), 0.5 + 2 * scene.rest], dim=1)
    wave = 0.01 * torch.sin(18 * scene.rest.flip(1) + torch.tensor([0.3, 1.0, 2.0]))
    # Metres are counted in steps of 0.1, about a radian's effect on the picture.
    units = torch.tensor([1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 10.0])
    start = torch.tensor([0.1, 0.35, 0.05, 0.1, 0.05, 0.0, 0.0])

    def losses(parameters: Tensor, fine: int) -> Tensor:
        scaled = parameters * units
        points = scene.points(scaled[:3], scaled[3:6], scaled[6] * wave)
        picture = scene.draw(points, values, fine=fine)
        difference = smooth(picture) - target
        linear = (picture[0].double() * (x - 0.3 * y + target)).sum()
        return torch.stack([linear, difference[0].square().sum(), difference[1:].square().sum()])

    wanted = start.clone().requires_grad_()
    each = losses(wanted, 1)
    found = torch.stack([torch.autograd.grad(loss, wanted, retain_graph=True)[0] for loss in each]).double()
    slopes = []
    for n in range(7):
        step = torch.zeros(7)
        step[n] = 0.004
        with torch.no_grad():
            slopes.append((losses(start + step, FINE) - losses(start - step, FINE)) / 0.008)
    exact = torch.stack(slopes, dim=1)
    error = (found - exact).norm(dim=1) / exact.norm(dim=1)
    assert (error < 0.05).all(), f"{error.tolist()}\n{found}\n{exact}"


@pytest.mark.parametrize("size", [256, 512, 1024])
@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.1, 0.5, 0.1), (0.5, -0.8, 0.0)])
def test_nearly_all_crossed_pairs_receive_a_gradient(size, turn):
    """Crossed pairs are counted without edges: depth jumps by 4 mm between neighbouring ones of 16 samples."""
    scene = Scene(size)
    points = scene.points(torch.tensor(turn), torch.zeros(3))
    seen = rasterize(points, scene.faces, (size, size))
    (pairs,) = silhouette_pairs(points, edges_of(scene.faces), seen)
    hits = total = 0
    for axis in (0, 1):
        line, cell = crossed(scene, points, axis).nonzero(as_tuple=True)
        pixels = line * size + cell if axis == 0 else cell * size + line
        known = np.isin(pixels.numpy(), pairs.numbers[pairs.numbers[:, 2] == axis, 0])
        hits, total = hits + int(known.sum()), total + len(known)
    assert total > 3 * size and hits / total > 0.985


def crossed(scene: Scene, points: Tensor, axis: int) -> Tensor:
    """(line, A): whether some surface ends between the centres of pixels A and A + 1 along an axis."""
    size, half = scene.size, FINE // 2
    scale = torch.ones(3)
    scale[axis] = FINE
    seen = rasterize(points * scale, scene.faces, (FINE * size, size) if axis == 0 else (size, FINE * size))
    depth = torch.nan_to_num(seen.depth, posinf=100.0)
    depth = depth if axis == 0 else depth.mT
    jump = torch.nn.functional.pad(depth.diff(dim=1).abs() > 0.004, (0, 1)).reshape(size, size, FINE)
    return jump[:, :-1, half:].any(-1) | jump[:, 1:, : half - 1].any(-1)


def test_gradients_point_the_way_a_border_must_move():
    """Every vertex of the outline is pushed outwards by a loss that wants more to be covered."""
    scene = Scene(128)
    points = scene.points(torch.zeros(3), torch.zeros(3)).requires_grad_()
    covered = scene.draw(points, torch.ones(len(scene.rest), 1)).sum()
    (slope,) = torch.autograd.grad(covered, points)
    middle = torch.tensor([64.0, 64.0])
    outward = (slope[:, :2] * (points.detach()[:, :2] - middle)).sum(1)
    assert (slope[:, :2].norm(dim=1) > 0.1).sum() > 100
    # Growing by a factor grows the area by its square; chin and ears turn inwards here and there.
    assert float(outward.sum()) == pytest.approx(2 * float(covered.detach()), rel=0.03)
    assert float(outward.clamp(max=0).sum()) > -0.1 * float(outward.sum())


@pytest.mark.parametrize("seed", range(2))
def test_a_mask_alone_finds_the_pose(seed):
    """10 degrees and 2 cm off in any direction. With the focal length known, a head's outline fixes all six numbers."""
    generator = torch.Generator().manual_seed(seed)
    turn, shift, offset = torch.randn(3, 3, generator=generator)
    turn, shift = np.deg2rad(10.0) * turn / turn.norm(), 0.02 * shift / shift.norm()
    scene, truth = Scene(128), (0.2 * offset, torch.tensor([0.01, -0.01, 0.02]))
    ones = torch.ones(len(scene.rest), 1)
    with torch.no_grad():
        target = scene.draw(scene.points(*truth), ones, fine=8)
    rotation, place = ((a + b).requires_grad_() for a, b in zip(truth, (turn, shift), strict=True))
    minimize(lambda: (scene.draw(scene.points(rotation, place), ones) - target).square().mean(), rotation, place)
    relative = exp(rotation.detach().double()).mT @ exp(truth[0].double())
    angle = np.rad2deg(np.arccos(np.clip((float(relative.trace()) - 1) / 2, -1, 1)))
    assert angle < 0.5 and float((place.detach() - truth[1]).abs().max()) < 0.0005


def minimize(loss: Callable[[], Tensor], rotation: Tensor, place: Tensor, steps: int = 120) -> None:
    """Adam with a shrinking step."""
    solver = torch.optim.Adam([{"params": [rotation], "lr": 0.02}, {"params": [place], "lr": 0.003}], betas=(0.8, 0.95))
    shrink = torch.optim.lr_scheduler.ExponentialLR(solver, 0.01 ** (1 / steps))
    for _ in range(steps):
        solver.zero_grad()
        loss().backward()
        solver.step()
        shrink.step()
