"""What a fitted head looks like under its own albedo and light, and how far that is from the photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float

from flamehead.data import Camera, FlameParams
from flamehead.errors import InputError
from flamehead.fit.pixels import Shown, TextureSpace, linear_about
from flamehead.geometry.normals import vertex_normals
from flamehead.raster import rasterize

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["PaintedHead", "PixelError", "even_light", "paint_head", "paint_shown", "pixel_error"]

_CONSTANT = 0.28209479
"""The first harmonic: light of 1 everywhere has this reciprocal as its first coefficient."""


@dataclass(frozen=True)
class PixelError:
    """How far the model's colours are from the photo's, sRGB in [0, 1]."""

    l1: float
    """Mean absolute difference of a channel."""
    psnr: float
    """-10 log10 of the mean squared difference, decibels."""
    pixels: int
    """How many were compared."""


@dataclass(frozen=True)
class PaintedHead:
    """A picture of the fitted surface."""

    image: Float[np.ndarray, "H W 3"]
    """sRGB, float32; zero where nothing is painted."""
    inside: Bool[np.ndarray, "H W"]
    """Pixels that show the surface."""
    alpha: Float[np.ndarray, "H W"]
    """Share of a pixel that shows it, float32."""


def pixel_error(
    image: Float[np.ndarray, "H W 3"], painted: Float[np.ndarray, "H W 3"], inside: Bool[np.ndarray, "H W"]
) -> PixelError:
    """Compare the pixels inside; NaN when there are none."""
    count = int(np.count_nonzero(inside))
    if not count:
        return PixelError(float("nan"), float("nan"), 0)
    difference = np.clip(painted[inside], 0, 1).astype(np.float64) - image[inside]
    return PixelError(
        float(np.abs(difference).mean()), float(-10 * np.log10(max((difference**2).mean(), 1e-12))), count
    )


def even_light(color: Float[np.ndarray, "3"] | float = 1.0) -> Float[np.ndarray, "9 3"]:
    """Harmonics of light that is the same from everywhere, linear RGB: under 1 the albedo itself is seen."""
    light = np.zeros((9, 3))
    light[0] = np.asarray(color) / _CONSTANT
    return light


def paint_head(
    flame: Flame,
    params: FlameParams,
    camera: Camera,
    texture: TextureSpace,
    albedo: Float[np.ndarray, "K"],
    light: Float[np.ndarray, "9 3"] | None = None,
    *,
    region: str | None = "face",
    samples: int = 1,
    vertices: Float[torch.Tensor, "V 3"] | None = None,
) -> PaintedHead:
    """Draw a head as the photometric fit sees it, which is with one sample for each pixel; no gradients.

    Args:
        flame: The model.
        params: One head.
        camera: A pinhole.
        texture: The colours that a head may have.
        albedo: Coefficients of the texture.
        light: Harmonics in the camera's frame; None shows the albedo, "shading off".
        region: Part of the head that is painted; the rest hides what is behind it. None is all of it.
        samples: Along each axis of a pixel.
        vertices: The posed head, for one that more than `params` moves, such as eyelids.

    Raises:
        InputError: The model has no such region, or the camera has no perspective.
    """
    if camera.orthographic:
        raise InputError("A head can be painted by a pinhole camera only; give the camera of the photometric fit.")
    with torch.no_grad():
        world = (flame(params).vertices if vertices is None else vertices).cpu().float()
    points = world @ camera.rotation.cpu().float().mT + camera.translation.cpu().float()
    focal, center = samples * camera.focal.cpu().float(), samples * camera.center.cpu().float()
    size = (samples * camera.size[0], samples * camera.size[1])
    screen = torch.cat([focal * points[:, :2] / points[:, 2:] + center, points[:, 2:]], dim=1)
    faces = flame.faces.cpu().int()
    found = rasterize(screen, faces, size, cull=True)
    wanted = np.ones(len(faces), dtype=bool)
    if region is not None:
        wanted[:] = False
        wanted[flame.region_faces(region).cpu().numpy()] = True
    ids = found.face_ids.numpy()
    inside = (ids >= 0) & wanted[ids]
    planes = found.barycentric.movedim(-1, 0).numpy()
    shown = Shown(ids, planes, inside, points.numpy(), vertex_normals(points, faces).numpy(), float(focal[0]))
    light = even_light() if light is None else light
    texture = linear_about(texture, np.asarray(albedo))
    return _averaged(paint_shown(shown, inside, faces.numpy(), texture, albedo, light), inside, samples)


def _averaged(image: Float[np.ndarray, "H W 3"], inside: Bool[np.ndarray, "H W"], samples: int) -> PaintedHead:
    """Means over square blocks of samples."""
    height, width = inside.shape[0] // samples, inside.shape[1] // samples
    alpha = inside.reshape(height, samples, width, samples).mean((1, 3), dtype=np.float32)
    total = image.reshape(height, samples, width, samples, 3).mean((1, 3), dtype=np.float32)
    return PaintedHead(total / np.maximum(alpha, np.float32(1e-6))[..., None], alpha > 0, alpha)


def paint_shown(
    shown: Shown,
    inside: Bool[np.ndarray, "H W"],
    faces: np.ndarray,
    texture: TextureSpace,
    albedo: Float[np.ndarray, "K"],
    light: Float[np.ndarray, "9 3"],
) -> Float[np.ndarray, "H W 3"]:
    """The model's sRGB at the pixels inside, zero elsewhere."""
    from flamehead.fit import _cpu_pixels as kernels

    painted = np.zeros((*inside.shape, 3), np.float32)
    kernels.shade_pixels(
        shown.ids, shown.barycentric, inside, faces, shown.normals, texture.uv, texture.mean, texture.basis,
        np.asarray(albedo, dtype=np.float32), np.ascontiguousarray(light.T, dtype=np.float32), painted,
    )  # fmt: skip
    return painted
