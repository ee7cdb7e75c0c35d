"""The edges of a mesh as thin lines, only where they are seen."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.render._samples import Samples, average, sample, to_camera
from flamehead.render.picture import blend

__all__ = ["wireframe"]


def wireframe(
    image: Float[np.ndarray, "H W 3"],
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    camera: Camera,
    *,
    color: tuple[float, float, float] = (1.0, 1.0, 1.0),
    width: float = 1.0,
    alpha: float = 1.0,
) -> Float[np.ndarray, "H W 3"]:
    """Draw the visible edges of a mesh over an image.

    A point's distance to the nearest edge of its triangle decides how much of a line covers it, so lines have smooth
    sides and hidden ones cannot show. Where triangles are hardly wider than a line, the lines fade: a tint
    tells more than a blot.

    Args:
        image: sRGB, of the camera's size; pixels without a line keep it bit for bit.
        vertices: World coordinates in metres.
        faces: Corners of each triangle.
        camera: Where the mesh is seen from.
        color: sRGB.
        width: Of a line in pixels.
        alpha: Opacity of a line in [0, 1].
    """
    if np.shape(image) != (camera.size[1], camera.size[0], 3):
        raise InputError(f"The image has shape {np.shape(image)}, the camera {camera.size}; make them equal.")
    samples = sample(to_camera(vertices, camera), faces, camera, supersample=2, cull=False)
    heights = _heights(samples.points, faces.cpu())
    distance = _edge_distance(samples, faces.cpu(), heights)
    line = np.clip(0.5 * width + 0.5 - distance, 0.0, min(width, 1.0))
    line *= np.clip(heights.min(axis=1) / (4.0 * width), 0.25, 1.0)[samples.face_ids.numpy()]
    rows, mean, coverage = average(samples, line[:, None])
    opacity = np.zeros_like(coverage)
    opacity.reshape(-1)[rows] = alpha * coverage.reshape(-1)[rows] * mean[:, 0]
    ink = np.broadcast_to(np.asarray(color, dtype=np.float32), image.shape)
    return blend(image, ink, opacity)


def _heights(points: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[np.ndarray, "F 3"]:
    """Distance in pixels of each corner of a triangle from the edge across it."""
    corners = points[faces.long(), :2].numpy()
    edges = corners[:, [2, 0, 1]] - corners[:, [1, 2, 0]]
    area = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
    return area[:, None] / np.maximum(np.linalg.norm(edges, axis=2), np.float32(1e-6))


def _edge_distance(
    samples: Samples, faces: Int[Tensor, "F 3"], heights: Float[np.ndarray, "F 3"]
) -> Float[np.ndarray, "N"]:
    """Distance in pixels from each sample to the nearest edge of its triangle."""
    ids = samples.face_ids.numpy()
    screen = samples.barycentric.numpy().copy()
    # Multiplying by depth takes the perspective out again.
    if not samples.orthographic:
        screen *= torch.take(samples.points[:, 2], faces.long()).numpy()[ids]
    screen *= heights[ids] / screen.sum(axis=1, keepdims=True)
    return screen.min(axis=1)
