"""The camera on plain tensors, OpenCV convention: x right, y down, z forward; pixel centres at +0.5."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["project", "world_to_camera"]


def world_to_camera(
    points: Float[Tensor, "*#batch N 3"],
    rotation: Float[Tensor, "*#batch 3 3"],
    translation: Float[Tensor, "*#batch 3"],
) -> Float[Tensor, "*#batch N 3"]:
    """Bring world points into the camera's frame: `x_camera = rotation @ x_world + translation`."""
    return torch.einsum("...ij,...nj->...ni", rotation, points) + translation[..., None, :]


def project(
    points_camera: Float[Tensor, "*#batch N 3"],
    focal: Float[Tensor, "*#batch 2"],
    center: Float[Tensor, "*#batch 2"],
    *,
    orthographic: bool = False,
) -> Float[Tensor, "*#batch N 2"]:
    """Project camera points to pixels: `u = focal * (x, y) / z + center`; points behind the camera are not masked.

    Args:
        points_camera: Points in the camera's frame.
        focal: (fx, fy) in pixels; in pixels per metre for a parallel projection.
        center: Principal point (cx, cy) in pixels; the image's corner is (0, 0).
        orthographic: Parallel projection, `u = focal * (x, y) + center`.
    """
    flat = points_camera[..., :2] if orthographic else points_camera[..., :2] / points_camera[..., 2:]
    return focal[..., None, :] * flat + center[..., None, :]
