"""Vertices on the picture of any camera."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.data import Camera
from flamehead.geometry.camera import project, world_to_camera

__all__ = ["to_screen"]


def to_screen(vertices: Float[Tensor, "*#batch V 3"], camera: Camera) -> Float[Tensor, "*batch V 3"]:
    """World vertices as `rasterize` wants them: x, y in pixels and view depth in metres; differentiable."""
    points = world_to_camera(vertices, camera.rotation, camera.translation)
    flat = project(points, camera.focal, camera.center, orthographic=camera.orthographic)
    return torch.cat([flat, points[..., 2:].expand(*flat.shape[:-1], 1)], dim=-1)
