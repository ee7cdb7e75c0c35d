"""Cameras without perspective, and vertices on the picture of either kind of camera."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.data import Camera
from flamehead.geometry.camera import project, world_to_camera

__all__ = ["ParallelCamera", "to_screen"]


@dataclass(frozen=True)
class ParallelCamera:
    """A camera far away, as weak perspective has it: `x_pixel = scale * (x, y)_camera + center`.

    The frame is OpenCV's, `x_camera = rotation @ x_world + translation`; depth only says what lies before what and may
    have any sign.
    """

    rotation: Float[Tensor, "*batch 3 3"]
    """World to camera."""
    translation: Float[Tensor, "*batch 3"]
    """Metres."""
    scale: Float[Tensor, "*batch 2"]
    """Pixels per metre along x and y."""
    center: Float[Tensor, "*batch 2"]
    """Where the camera's axis meets the picture, pixels."""
    size: tuple[int, int]
    """Image size in pixels, (width, height)."""


def to_screen(vertices: Float[Tensor, "*#batch V 3"], camera: Camera | ParallelCamera) -> Float[Tensor, "*batch V 3"]:
    """World vertices as `rasterize` wants them: x, y in pixels and view depth in metres; differentiable."""
    points = world_to_camera(vertices, camera.rotation, camera.translation)
    if isinstance(camera, Camera):
        flat = project(points, camera.focal, camera.center)
    else:
        flat = camera.scale[..., None, :] * points[..., :2] + camera.center[..., None, :]
    return torch.cat([flat, points[..., 2:].expand(*flat.shape[:-1], 1)], dim=-1)
