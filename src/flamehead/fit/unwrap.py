"""A photo laid out on the texture of the head that was fitted to it, and completed where it shows nothing.

Each texel is a point of the surface. Where the photo sees it, it has the photo's colour, with its light. Elsewhere it
has the colour of the mirrored point, if the photo sees that one, else the model's albedo; both are put under the
light that the fit found, so that the parts go together. Linear light is blended over soft borders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.spatial import KDTree

from flamehead.data import Fit
from flamehead.fit.appearance import Appearance
from flamehead.geometry.normals import vertex_normals
from flamehead.raster import rasterize
from flamehead.render import decode_srgb, encode_srgb, harmonic_light

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["PhotoTexture", "merge_photos", "unwrap_photo"]

_LEAST_FACING, _FULL_FACING = 0.15, 0.5
"""Cosines between the surface's normal and the way to the camera: colours are smeared below, and good above."""
_DEPTH_STEP = 0.004
"""Metres by which a point may lie behind what the photo sees."""
_MIRROR_REACH = 0.003
"""Metres from a mirrored point of the mean head to its counterpart."""
_ALIKE = 0.16
"""Difference of sRGB up to which a colour on the neck is taken for skin."""
_SHADES = (0.6, 1.3)
"""Limits of the light on completed parts, relative to its mean on what is seen: harmonics know nothing of the back."""


@dataclass(frozen=True)
class PhotoTexture:
    """A photo as a texture of the fitted head."""

    image: Float[np.ndarray, "H W 3"]
    """sRGB in [0, 1], row 0 at v = 1, float32; the photo's light is in it."""
    photo: Float[np.ndarray, "H W"]
    """Share of the photo in a texel."""
    mirror: Float[np.ndarray, "H W"]
    """Share of the mirrored photo; the rest is the model's albedo."""


@dataclass(frozen=True)
class _Texels:
    """The texels that lie on the surface."""

    rows: Int[np.ndarray, "N"]
    """In the flat picture."""
    faces: Int[np.ndarray, "N"]
    barycentric: Float[np.ndarray, "N 3"]

    def values(self, corners: Int[np.ndarray, "F 3"], values: Float[np.ndarray, "V C"]) -> Float[np.ndarray, "N C"]:
        """Interpolate what is given at vertices."""
        return np.einsum("nk,nkc->nc", self.barycentric, values[corners[self.faces]])


def unwrap_photo(
    flame: Flame,
    photo: Float[np.ndarray, "H W 3"],
    fit: Fit,
    appearance: Appearance,
    albedo: Float[np.ndarray, "K"],
    light: Float[np.ndarray, "9 3"],
    *,
    mask: Bool[np.ndarray, "H W"] | None = None,
    size: int = 1024,
    feather: float = 0.012,
) -> PhotoTexture:
    """Lay a photo out on a head's texture.

    Args:
        flame: The model.
        photo: sRGB in [0, 1], of the fitted camera's size.
        fit: The head in it.
        appearance: Colours and layout.
        albedo: Fitted coefficients.
        light: Fitted harmonics in the camera's frame.
        mask: Pixels that show skin; None takes all that the head covers.
        size: Of the texture, texels.
        feather: Width of soft borders, relative to the texture.
    """
    texels = _texels(appearance, size)
    own = _sample_albedo(appearance, albedo, texels, size)
    laid = _laid_out(flame, photo, fit, texels, own, light, mask)
    share = _feathered(texels, laid.share, size, feather)
    return _completed(flame, texels, laid.color, share, own * laid.light, laid.light, size)


def merge_photos(
    flame: Flame,
    photos: Sequence[Float[np.ndarray, "H W 3"]],
    fits: Sequence[Fit],
    appearance: Appearance,
    albedo: Float[np.ndarray, "K"],
    lights: Sequence[Float[np.ndarray, "9 3"]],
    *,
    masks: Sequence[Bool[np.ndarray, "H W"] | None] | None = None,
    size: int = 1024,
    feather: float = 0.012,
) -> PhotoTexture:
    """Lay several photos of one person out on one texture, without their light.

    Each photo is divided by the light that its fit found; where several see a point, they are mixed by how squarely
    they see it. Cast shadows and highlights, which that light does not know, stay.

    Args:
        flame: The model.
        photos: sRGB in [0, 1], each of its camera's size.
        fits: The head in each.
        appearance: Colours and layout.
        albedo: Fitted coefficients, of all photos.
        lights: Fitted harmonics of each in the camera's frame.
        masks: Pixels that show skin, by photo.
        size: Of the texture, texels.
        feather: Width of soft borders, relative to the texture.

    Returns:
        Colours under even light; `photo` is the share of all photos together.
    """
    texels = _texels(appearance, size)
    own = _sample_albedo(appearance, albedo, texels, size)
    total, weight, missing = np.zeros_like(own), np.full(len(own), 1e-9), np.ones(len(own))
    for photo, fit, light, mask in zip(photos, fits, lights, masks or [None] * len(photos), strict=True):
        laid = _laid_out(flame, photo, fit, texels, own, light, mask)
        share = _feathered(texels, laid.share, size, feather)
        total += share[:, None] * laid.color / laid.light
        weight += share
        missing *= 1 - share
    return _completed(flame, texels, total / weight[:, None], 1 - missing, own, np.ones_like(own), size)


@dataclass(frozen=True)
class _Laid:
    """What a photo says of each texel, linear RGB."""

    color: Float[np.ndarray, "N 3"]
    share: Float[np.ndarray, "N"]
    """How well the photo shows it; borders are still hard."""
    light: Float[np.ndarray, "N 3"]


def _laid_out(
    flame: Flame, photo: Float[np.ndarray, "H W 3"], fit: Fit, texels: _Texels, own: Float[np.ndarray, "N 3"],
    light: Float[np.ndarray, "9 3"], mask: Bool[np.ndarray, "H W"] | None,
) -> _Laid:  # fmt: skip
    """Find every texel in the photo; `own` is the fitted albedo there."""
    with torch.no_grad():
        points = fit.camera.rotation @ flame(fit.params).vertices.T + fit.camera.translation[:, None]
    points = points.T.cpu().float()
    faces = flame.faces.cpu().numpy()
    normals = vertex_normals(points, flame.faces.cpu()).numpy()
    place, normal = texels.values(faces, points.numpy()), texels.values(faces, normals)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    pixel = fit.camera.focal.cpu().numpy() * place[:, :2] / place[:, 2:] + fit.camera.center.cpu().numpy()
    facing = -np.einsum("nk,nk->n", normal, place) / np.linalg.norm(place, axis=1)
    seen = _seen(points, flame, fit, pixel, place[:, 2], mask)
    share = seen * _smooth((facing - _LEAST_FACING) / (_FULL_FACING - _LEAST_FACING))
    lit = np.maximum(harmonic_light(torch.from_numpy(normal).double(), torch.from_numpy(light)).numpy(), 0.0)
    usual = np.maximum(np.average(lit, axis=0, weights=share + 1e-9), 1e-3)
    lit = np.clip(lit, _SHADES[0] * usual, _SHADES[1] * usual)
    color = _decoded(_sample(photo, pixel))
    return _Laid(color, share * _skin(flame, texels, color, own * lit), lit)


def _completed(
    flame: Flame, texels: _Texels, color: Float[np.ndarray, "N 3"], share: Float[np.ndarray, "N"],
    filled: Float[np.ndarray, "N 3"], lit: Float[np.ndarray, "N 3"], size: int,
) -> PhotoTexture:  # fmt: skip
    """Colours where there are any, those of the mirrored point or `filled` elsewhere, all under the light `lit`."""
    other, found = _mirrored(flame, texels, flame.faces.cpu().numpy(), share)
    borrowed = np.zeros(len(share))
    borrowed[found] = _smooth(share[other])
    # Brightness only: where little of a colour arrives, its ratio says more of the model's light than of the photo's.
    ratio = np.clip(lit[found].sum(1) / lit[other].sum(1), 0.5, 2.0)
    filled[found] += borrowed[found, None] * (color[other] * ratio[:, None] - filled[found])
    mixed = filled + share[:, None] * (color - filled)
    picture = _picture(texels, _encoded(mixed), size)
    flat = np.zeros((2, size * size), np.float32)
    flat[0, texels.rows], flat[1, texels.rows] = share, (1 - share) * borrowed
    return PhotoTexture(picture, *flat.reshape(2, size, size))


def _texels(appearance: Appearance, size: int) -> _Texels:
    """Which triangle covers a texel's centre."""
    flat = appearance.uv * [size, -size] + [0, size]
    points = torch.from_numpy(np.concatenate([flat, np.ones((len(flat), 1))], axis=1)).float()
    faces = torch.from_numpy(np.ascontiguousarray(appearance.uv_faces, dtype=np.int32))
    found = rasterize(points, faces, (size, size), perspective=False)
    rows = np.flatnonzero(found.face_ids.numpy().ravel() >= 0)
    barycentric = found.barycentric.reshape(-1, 3).numpy()[rows].astype(np.float64)
    return _Texels(rows, found.face_ids.numpy().ravel()[rows].astype(np.int64), barycentric)


def _seen(
    points: torch.Tensor,
    flame: Flame,
    fit: Fit,
    pixel: Float[np.ndarray, "N 2"],
    depth: Float[np.ndarray, "N"],
    mask: Bool[np.ndarray, "H W"] | None,
) -> Bool[np.ndarray, "N"]:
    """Points of the surface that nothing hides, inside the photo and its mask."""
    width, height = fit.camera.size
    # A depth map need not be larger than this for the steps that are looked for.
    zoom = min(1.0, 1024 / max(width, height))
    focal, center = zoom * fit.camera.focal.cpu().float(), zoom * fit.camera.center.cpu().float()
    screen = torch.cat([focal * points[:, :2] / points[:, 2:] + center, points[:, 2:]], dim=1)
    shape = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    found = rasterize(screen, flame.faces.cpu(), shape, cull=True)
    nearest = np.where(found.face_ids.numpy() >= 0, found.depth.numpy(), np.inf)
    inside = (pixel >= 1).all(1) & (pixel <= np.array([width, height]) - 1).all(1)
    column, row = (np.clip((pixel[:, k] * zoom).astype(int), 0, shape[k] - 1) for k in (0, 1))
    seen = inside & (depth < nearest[row, column] + _DEPTH_STEP)
    if mask is not None:
        left, top = (np.clip(pixel[:, k].astype(int), 0, (width, height)[k] - 1) for k in (0, 1))
        seen &= mask[top, left]
    return seen


def _skin(
    flame: Flame, texels: _Texels, color: Float[np.ndarray, "N 3"], wanted: Float[np.ndarray, "N 3"]
) -> Float[np.ndarray, "N"]:
    """Less than 1 on the neck, where the photo does not resemble the model: collars, scarves, long hair."""
    neck = np.zeros(len(flame.faces), dtype=bool)
    for region in {"neck", "boundary"} & flame.regions.keys():
        neck[flame.region_faces(region).cpu().numpy()] = True
    distance = np.abs(_encoded(color) - _encoded(wanted)).max(1)
    return np.where(neck[texels.faces], 1.0 - _smooth((distance - _ALIKE) / _ALIKE), 1.0)


def _feathered(texels: _Texels, share: Float[np.ndarray, "N"], size: int, feather: float) -> Float[np.ndarray, "N"]:
    """Let the share fall to zero at the borders of what is seen, but not at those of the layout."""
    hidden = np.zeros(size * size, dtype=bool)
    hidden[texels.rows] = share <= 0
    if not hidden.any():
        return share
    distance = np.asarray(distance_transform_edt(~hidden.reshape(size, size))).ravel()[texels.rows]
    return share * _smooth((distance - 1) / max(feather * size, 1.0))


def _mirrored(
    flame: Flame, texels: _Texels, faces: Int[np.ndarray, "F 3"], share: Float[np.ndarray, "N"]
) -> tuple[Int[np.ndarray, "K"], Int[np.ndarray, "K"]]:
    """Texels that are seen, and those that want the colour of their mirror image: pairs of rows."""
    rest = texels.values(faces, flame.template.detach().cpu().double().numpy())
    sources, wanting = np.flatnonzero(share > 0.3), np.flatnonzero(share < 1)
    if not (sources.size and wanting.size):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    distance, nearest = KDTree(rest[sources]).query(
        rest[wanting] * [-1, 1, 1], distance_upper_bound=_MIRROR_REACH, eps=0.2
    )
    good = np.isfinite(distance)
    return sources[np.asarray(nearest)[good]], wanting[good]


def _sample(image: Float[np.ndarray, "H W 3"], pixel: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 3"]:
    """Bilinear colours; pixel centres lie at +0.5."""
    at = [pixel[:, 1] - 0.5, pixel[:, 0] - 0.5]
    return np.stack([map_coordinates(image[..., c], at, order=1, mode="nearest") for c in range(3)], axis=1)


def _sample_albedo(
    appearance: Appearance, albedo: Float[np.ndarray, "K"], texels: _Texels, size: int
) -> Float[np.ndarray, "N 3"]:
    """The fitted albedo in linear light; where the space has no colours, the usual one of where it has."""
    picture = appearance.linear(albedo)
    # The Basel Face Model covers the face, ears and some of the neck; the rest of its texture is black.
    bare = ~picture.any(axis=-1)
    if bare.any() and not bare.all():
        picture[bare] = np.median(picture[~bare], axis=0)
    row, column = np.divmod(texels.rows, size)
    height, width = picture.shape[:2]
    return _sample(picture, np.stack([(column + 0.5) * width / size, (row + 0.5) * height / size], axis=1))


def _picture(texels: _Texels, color: Float[np.ndarray, "N 3"], size: int) -> Float[np.ndarray, "H W 3"]:
    """The colours in their places; around the charts the nearest of them, which filters and mip levels need."""
    covered = np.zeros(size * size, dtype=bool)
    covered[texels.rows] = True
    flat = np.zeros((size * size, 3), np.float32)
    flat[texels.rows] = color
    nearest = distance_transform_edt(~covered.reshape(size, size), return_distances=False, return_indices=True)
    row, column = np.asarray(nearest)
    return np.clip(flat.reshape(size, size, 3)[row, column], 0, 1)


def _smooth(x: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """0 below 0, 1 above 1, with level ends."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def _decoded(color: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    return decode_srgb(torch.from_numpy(np.clip(color, 0, 1).astype(np.float32))).double().numpy()


def _encoded(light: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    return encode_srgb(torch.from_numpy(np.clip(light, 0, 1).astype(np.float32))).numpy()
