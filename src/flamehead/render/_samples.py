"""The surface points behind a picture: one for each face seen in each pixel, and back to pixels again.

Visibility is found at several samples per pixel, which makes edges smooth; colour and light are worked out once for
each face and pixel, which is all that a smooth surface needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.geometry.camera import project, world_to_camera
from flamehead.raster import rasterize

__all__ = ["Samples", "average", "sample", "to_camera"]


@dataclass(frozen=True)
class Samples:
    """Every face seen in every pixel, ordered by pixel."""

    pixels: Int[np.ndarray, "N"]
    """Rows of the flattened picture."""
    counts: Float[np.ndarray, "N"]
    """How many of the pixel's `supersample**2` samples see the face; whole numbers."""
    face_ids: Int[Tensor, "N"]
    barycentric: Float[Tensor, "N 3"]
    """Mean over that part."""
    points: Float[Tensor, "V 3"]
    """The vertices on the picture: x, y in pixels, and view depth."""
    size: tuple[int, int]
    """Of the picture in pixels, (width, height)."""
    supersample: int
    orthographic: bool
    """Of the camera."""


def to_camera(vertices: Float[Tensor, "V 3"], camera: Camera) -> Float[Tensor, "V 3"]:
    """Vertices in the camera's frame, float32 on the CPU; a camera of one picture, not of a batch.

    Raises:
        InputError: There is a batch.
    """
    if vertices.ndim != 2 or vertices.shape[1] != 3 or camera.rotation.numel() != 9 or camera.focal.numel() != 2:
        raise InputError(
            f"A picture is made of vertices (V, 3) and one camera, got {tuple(vertices.shape)} and a camera of batch "
            f"{tuple(camera.rotation.shape[:-2])}; call it once for each, or use `draw`."
        )
    # Float64 up to here, because a world's origin may lie far from the camera.
    rotation, translation = camera.rotation.reshape(3, 3), camera.translation.reshape(3)
    points, rotation, translation = (value.detach().cpu().double() for value in (vertices, rotation, translation))
    return world_to_camera(points, rotation, translation).float()


def sample(
    points_camera: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    camera: Camera,
    *,
    supersample: int,
    cull: bool,
) -> Samples:
    """Find what is seen at every sample."""
    # Imported here: numba costs a second.
    from flamehead.render._cpu import samples as kernels

    focal, center = (value.detach().cpu().float().reshape(2) for value in (camera.focal, camera.center))
    flat = project(points_camera, focal, center, orthographic=camera.orthographic)
    points = torch.cat([flat, points_camera[:, 2:]], dim=1)
    fine = points * torch.tensor([supersample, supersample, 1.0])
    width, height = camera.size
    extent = (width * supersample, height * supersample)
    fragments = rasterize(fine, faces.cpu(), extent, cull=cull, perspective=not camera.orthographic)
    ids = fragments.face_ids.numpy()
    room = int(np.count_nonzero(ids >= 0))
    pixels, face_ids = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int32)
    barycentric, counts = np.empty((room, 3), dtype=np.float32), np.empty(room, dtype=np.float32)
    n = kernels.merge(ids, fragments.barycentric.numpy(), supersample, pixels, face_ids, barycentric, counts)
    surface = torch.from_numpy(face_ids[:n]), torch.from_numpy(barycentric[:n])
    return Samples(pixels[:n], counts[:n], *surface, points, camera.size, supersample, camera.orthographic)


def average(
    samples: Samples, values: Float[np.ndarray, "N C"]
) -> tuple[Int[np.ndarray, "K"], Float[np.ndarray, "K C"], Float[np.ndarray, "H W"]]:
    """The rows of the flattened picture where anything is seen, the mean there, and how much of each pixel is covered.

    The mean is over the covered part of a pixel, and values above 1 are cut off before it is taken.
    """
    width, height = samples.size
    # Samples are ordered by pixel, so a new pixel is one that differs from the one before.
    starts = np.flatnonzero(np.diff(samples.pixels, prepend=-1))
    rows, count = samples.pixels[starts], np.add.reduceat(samples.counts, starts)
    total = np.add.reduceat(np.minimum(values, np.float32(1)) * samples.counts[:, None], starts, axis=0)
    coverage = np.zeros(height * width, dtype=np.float32)
    coverage[rows] = count / np.float32(samples.supersample**2)
    return rows, total / count[:, None], coverage.reshape(height, width)
