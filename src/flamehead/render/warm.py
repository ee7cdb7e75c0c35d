"""Every kernel of this room, compiled once and kept on disk."""

from __future__ import annotations

import math

import torch

from flamehead.data import Camera
from flamehead.raster._threads import patience
from flamehead.render.draw import draw
from flamehead.render.harmonics import constant_light, harmonic_light
from flamehead.render.picture import render
from flamehead.render.sampling import build_pyramid, sample_image
from flamehead.render.shade import Lighting, PointLight
from flamehead.render.srgb import encode_srgb
from flamehead.render.texture import Texture

__all__ = ["warmup"]

_PIXELS = 30_000
"""More than `draw` asks for before it takes one more thread."""


def warmup() -> None:
    """Compile and cache every kernel that a picture needs, with and without gradients, once per machine."""
    corners = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    faces = torch.tensor([[0, 1, 2]])
    camera = Camera(torch.eye(3), torch.zeros(3), torch.ones(2), torch.zeros(2), (2, 2))
    render(corners, faces, camera, colors=torch.ones(3, 3))
    lamp = Lighting((PointLight((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    render(corners, faces, camera, colors=Texture(torch.ones(3, 4, 3), corners[:, :2], faces), lighting=lamp)
    with patience():
        _gradients()


def _gradients() -> None:
    # One side odd, then both even, and those of the half as well: halving has a kernel for each.
    for image in (torch.ones(3, 4, 3, requires_grad=True), torch.ones(4, 4, 3, requires_grad=True)):
        uv, light = torch.full((1, 2), 0.5, requires_grad=True), constant_light(torch.ones(3)).requires_grad_()
        looked_up = sample_image(build_pyramid(encode_srgb(image)), uv, level=torch.zeros(1))
        (looked_up * harmonic_light(torch.ones(1, 3, requires_grad=True), light)).sum().backward()
        corners, faces = torch.tensor([[0.0, 0.0, 1.0], [0.0, 2.0, 1.0], [2.0, 0.0, 1.0]]), torch.tensor([[0, 1, 2]])
        # A picture that one thread draws, and one that is worth all that torch has, which have kernels of their own.
        for side in (2, 1 + math.isqrt(_PIXELS * torch.get_num_threads())):
            camera = Camera(torch.eye(3), torch.zeros(3), torch.ones(2), torch.zeros(2), (side, side))
            painted = Texture(image, corners[:, :2], faces)
            draw(corners.requires_grad_(), faces, camera, albedo=painted, light=light).image.sum().backward()
