"""A mesh, a camera and light become a picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.geometry.normals import vertex_normals
from flamehead.raster import gather
from flamehead.render._samples import Samples, average, sample, to_camera
from flamehead.render.shade import STUDIO, Lighting, linear_to_srgb, shade, srgb_to_linear
from flamehead.render.texture import Texture, check_same_faces, sample_texture, texture_level

__all__ = ["CLAY", "Background", "Colors", "Picture", "blend", "facing_normals", "render", "shade_samples"]

Colors: TypeAlias = (
    Texture
    | Float[Tensor, "V 3"]
    | Float[np.ndarray, "V 3"]
    | tuple[float, float, float]
    | Callable[[Int[np.ndarray, "N"], Float[np.ndarray, "N 3"]], Float[np.ndarray, "N 3"]]
)
"""A texture, sRGB per vertex, one sRGB colour, or a function of `(face_ids, barycentric)` of seen points."""

Background: TypeAlias = Float[np.ndarray, "H W 3"] | tuple[float, float, float]
"""An sRGB image of the camera's size, or one sRGB colour."""

CLAY = (0.80, 0.77, 0.74)
"""The sRGB colour of a head that has none."""


@dataclass(frozen=True)
class Picture:
    """A rendered image."""

    image: Float[np.ndarray, "H W 3"]
    """sRGB in [0, 1], over the background; without one the mesh's own colour, and black where it is not seen."""
    alpha: Float[np.ndarray, "H W"]
    """Share of each pixel that the mesh covers, times its opacity."""


def render(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    camera: Camera,
    *,
    colors: Colors | None = None,
    background: Background | None = None,
    lighting: Lighting = STUDIO,
    cull: bool = False,
    supersample: int = 2,
    alpha: float = 1.0,
) -> Picture:
    """Draw a mesh with soft light and smooth edges; no gradients.

    Args:
        vertices: World coordinates in metres.
        faces: Counter-clockwise seen from outside.
        camera: Sets the size of the picture.
        colors: Of the surface; `None` is `CLAY`.
        background: What lies behind the mesh; pixels that the mesh does not touch keep it bit for bit.
        lighting: In the camera's frame, so that the default lights any view alike.
        cull: Leave out the backs of faces; otherwise they are lit as the insides they are.
        supersample: Samples per pixel along each axis.
        alpha: Opacity of the mesh in [0, 1].

    Raises:
        InputError: The background's size is not the camera's, or the colours do not match the vertices.
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; give an opacity from 0 to 1.")
    points = to_camera(vertices, camera)
    samples = sample(points, faces, camera, supersample=supersample, cull=cull)
    light = shade_samples(points, faces, samples, colors, lighting)
    # Light is averaged before it is encoded: an average of encoded values would darken edges and small highlights.
    rows, light, coverage = average(samples, light)
    image = np.zeros((*coverage.shape, 3), dtype=np.float32)
    image.reshape(-1, 3)[rows] = linear_to_srgb(light)
    opacity = coverage * np.float32(alpha)
    return Picture(image if background is None else blend(background, image, opacity), opacity)


def blend(
    background: Background, image: Float[np.ndarray, "H W 3"], alpha: Float[np.ndarray, "H W"]
) -> Float[np.ndarray, "H W 3"]:
    """Lay an image over a background: `background + alpha * (image - background)`, on sRGB values as editors do."""
    behind = _checked("background", background)
    if behind.shape not in ((3,), image.shape):
        raise InputError(
            f"The background has shape {behind.shape}, the picture {image.shape}; "
            "resize the background, or give the camera its size."
        )
    out = np.broadcast_to(behind, image.shape).copy()
    flat, seen = out.reshape(-1, 3), np.flatnonzero(alpha)
    before = flat[seen]
    flat[seen] = before + alpha.reshape(-1)[seen, None] * (image.reshape(-1, 3)[seen] - before)
    return out


def shade_samples(
    points: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], samples: Samples, colors: Colors | None, lighting: Lighting
) -> Float[np.ndarray, "N 3"]:
    """Linear light from each sample, as `render` shows it; points in the camera's frame."""
    albedo = _albedo(colors, faces, samples, len(points))
    seen = gather(points, faces.cpu(), samples.face_ids, samples.barycentric).numpy() if lighting.needs_points else None
    return shade(
        facing_normals(points, faces, samples), albedo, lighting, points=seen, orthographic=samples.orthographic
    )


def _checked(what: str, values: object) -> Float[np.ndarray, "*shape"]:
    """Colours as float32; refuse what is none. The sum of squares is the fastest pass, and shows a NaN or a 255."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    try:
        plain = np.ascontiguousarray(values)
        flat = np.asarray(plain, dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError(f"{what} is {values!r}; give numbers, such as (1.0, 1.0, 1.0) for white.") from None
    with np.errstate(all="ignore"):
        square = float(np.dot(flat.reshape(-1), flat.reshape(-1)))
    if not math.isfinite(square):
        raise InputError(f"{what} hold numbers that are not finite; give sRGB from 0 to 1.")
    whole = plain.dtype.kind in "iu" and bool((plain > 1).any())
    if whole or square > 1.01 * flat.size:
        raise InputError(f"{what} ({plain.dtype}) reach beyond 1; give sRGB from 0 to 1, such as `image / 255`.")
    return flat


def _albedo(
    colors: Colors | None, faces: Int[Tensor, "F 3"], samples: Samples, n_vertices: int
) -> Float[np.ndarray, "N 3"]:
    """Linear surface colour at each sample, or one row for all; vertices are decoded before interpolation."""
    if isinstance(colors, Texture):
        return _textured(colors, faces.cpu(), samples)
    if callable(colors):
        found, wanted = colors(samples.face_ids.numpy(), samples.barycentric.numpy()), (len(samples.face_ids), 3)
        if np.shape(found) != wanted:
            raise InputError(
                f"The function of colors returned shape {np.shape(found)}, wanted {wanted}: RGB for each point."
            )
        return srgb_to_linear(_checked("colors", found))
    plain = _checked("colors", CLAY if colors is None else colors)
    if plain.shape == (3,):
        return srgb_to_linear(plain)[None]
    if plain.shape != (n_vertices, 3):
        raise InputError(f"colors has shape {plain.shape}; give one RGB row for each of the {n_vertices} vertices.")
    linear = torch.from_numpy(srgb_to_linear(plain))
    return gather(linear, faces.cpu(), samples.face_ids, samples.barycentric).numpy()


def _textured(texture: Texture, faces: Int[Tensor, "F 3"], samples: Samples) -> Float[np.ndarray, "N 3"]:
    """Linear colour of a texture at each sample; a sample stands for as much of it as a pixel covers."""
    check_same_faces(faces, texture.uv_faces)
    texture = Texture.of(
        texture.image.detach().cpu().float(),
        texture.uv.detach().cpu(),
        texture.uv_faces.cpu(),
        encoding=texture.encoding,
    )
    at = samples.face_ids, samples.barycentric
    uv, depth = gather(texture.uv, texture.uv_faces, *at), gather(samples.points[:, 2:], faces, *at)[:, 0]
    level = texture_level(
        texture, samples.points, faces, samples.face_ids, depth, uv, perspective=not samples.orthographic
    )
    return sample_texture(texture, uv, level=level).numpy()


def facing_normals(
    points: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], samples: Samples
) -> Float[np.ndarray, "N 3"]:
    """Normals in the camera's frame at each sample, turned to the viewer's side of the face they lie on."""
    faces = faces.cpu()
    normals = gather(vertex_normals(points, faces), faces, samples.face_ids, samples.barycentric).numpy()
    a, b, c = np.moveaxis(points.numpy()[faces.numpy()], 1, 0)
    outward = np.cross(b - a, c - a)
    # A face shows its back when its normal points along the ray from the camera to it.
    back = (outward[:, 2] if samples.orthographic else np.einsum("fk,fk->f", outward, a)) > 0
    if back.any():
        normals *= np.where(back, np.float32(-1), np.float32(1))[samples.face_ids.numpy()][:, None]
    return normals
