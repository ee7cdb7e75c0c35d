"""DECA's codes to a head, its details and its pictures, through our model and our rasterizer.

Images are `C H W`, as in DECA's own files: 224 pixels for pictures, 256 texels for textures. Normals and light are in
model space.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from flamehead.errors import InputError
from flamehead.formats import DecaCodes, deca_to_params
from flamehead.geometry.rotation import exp
from flamehead.model import Flame, head_turn
from flamehead.raster import Fragments, gather, interpolate, rasterize
from flamehead.regress._deca_crop import SIDE
from flamehead.regress._harmonics import flip, harmonic_shading, weak_projection
from flamehead.regress._texels import area_normals, dense_table, detail_normals, sample_image, under_texels
from flamehead.regress.deca import Deca
from flamehead.regress.deca_assets import UV_SIDE, DecaAssets, builtin_deca_assets

__all__ = ["Decoded", "DenseMesh", "decode", "render_shape"]

_GREY = 180 / 255
_PAPER = 0.7
_INTENSITY = 1.7
_LIGHTS = ((-1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (-1.0, -1.0, 1.0), (1.0, -1.0, 1.0), (0.0, 0.0, 1.0))
_SEEN_POINT = 0.1
_SEEN_SHAPE = 0.15
_BEHIND = 100.0
"""Units of depth in front of the head, so far that the rasterizer's perspective vanishes."""


@dataclass(frozen=True)
class DenseMesh:
    """The coarse mesh refined by the displacement map, one vertex for each texel."""

    vertices: Float[Tensor, "N 3"]
    """Metres."""
    faces: Int[np.ndarray, "D 3"]
    colors: Float[Tensor, "N 3"]
    """sRGB in [0, 1], of the photo's texture."""


@dataclass(frozen=True)
class Decoded:
    """All that DECA's decoder gives, names as in its dictionary, one face without batch axis."""

    verts: Float[Tensor, "V 3"]
    """Posed, metres."""
    trans_verts: Float[Tensor, "V 3"]
    """In the crop: x right, y down, in [-1, 1]; smaller z is nearer."""
    landmarks2d: Float[Tensor, "68 2"]
    """The jaw line slides with the view; as `trans_verts`."""
    landmarks3d: Float[Tensor, "68 4"]
    """The fixed 68 points, as `trans_verts`, and whether they are seen."""
    landmarks3d_world: Float[Tensor, "68 3"]
    normals: Float[Tensor, "V 3"]
    uv_detail_normals: Float[Tensor, "3 256 256"]
    displacement_map: Float[Tensor, "1 256 256"]
    """The decoder's map and the fixed one, metres; not masked."""
    shading: Float[Tensor, "3 256 256"]
    """Light on each texel."""
    albedo: Float[Tensor, "3 256 256"]
    """sRGB; zero without a texture model."""
    uv_texture: Float[Tensor, "3 256 256"]
    """Albedo times shading."""
    uv_texture_gt: Float[Tensor, "3 256 256"]
    """The photo's colours inside the mask; what is hidden gets what lies before it."""
    grid: Float[Tensor, "224 224 2"]
    """Where in the texture each pixel lies, in [-1, 1]."""
    alpha_images: Float[Tensor, "1 224 224"]
    normal_images: Float[Tensor, "3 224 224"]
    rendered_images: Float[Tensor, "3 224 224"]
    """Albedo without light, over black, as DECA's demo has it."""
    shape_images: Float[Tensor, "3 224 224"]
    shape_detail_images: Float[Tensor, "3 224 224"]
    depth_images: Float[Tensor, "1 224 224"]
    """1 for the nearest point of the mesh, 0 for the farthest and behind it."""
    dense: DenseMesh


def decode(
    deca: Deca,
    codes: DecaCodes,
    *,
    crop: Float[np.ndarray, "3 224 224"] | None = None,
    assets: DecaAssets | None = None,
    detail_codes: DecaCodes | None = None,
) -> Decoded:
    """Everything that follows from a set of codes.

    Args:
        deca: the networks and the model.
        codes: of one face, without batch axis.
        crop: the photo's crop, for texture and background; grey without it.
        assets: DECA's tables; by default those of the built-in head, which fit no other model.
        detail_codes: whose jaw, expression and detail the wrinkles follow, if not those of `codes`.

    Raises:
        InputError: there are several faces, the codes hold no detail, or the tables are another model's.
    """
    assets = _checked(deca.flame, codes, assets)
    with torch.no_grad():
        return _decode(deca, codes, crop, assets, detail_codes or codes)


def _checked(flame: Flame, codes: DecaCodes, assets: DecaAssets | None) -> DecaAssets:
    if codes.shape.ndim != 1:
        raise InputError(f"decode() takes one face, got a batch of {tuple(codes.shape[:-1])}; decode them one by one.")
    chosen = builtin_deca_assets() if assets is None else assets
    if len(chosen.uv_faces) != len(flame.faces):
        raise InputError(
            f"The texture layout of {chosen.source} has {len(chosen.uv_faces)} triangles, {flame.arrays.source} has "
            f"{len(flame.faces)}; use files of one model."
        )
    return chosen


def _decode(deca: Deca, codes: DecaCodes, crop: np.ndarray | None, assets: DecaAssets, wrinkles: DecaCodes) -> Decoded:
    flame = deca.flame
    params = deca_to_params(codes).to(dtype=flame.template.dtype, device=flame.template.device)
    verts = flame(params).vertices
    turn = head_turn(exp(params.pose))
    marks3d = flame.landmarks(verts, "ibug68")
    inner = flame.landmarks(verts, "ibug51") if "ibug51" in flame.embeddings else marks3d[17:]
    # The row of the sliding jaw line: DECA's sign is plus, FLAME_PyTorch's minus.
    marks2d = torch.cat([flame.contour(verts, turn, sign=1), inner])
    uv_z = deca.displacement(_batched(wrinkles, next(deca.decoder.parameters())))[0, 0]
    verts, marks2d, marks3d, uv_z = (value.float().cpu() for value in (verts, marks2d, marks3d, uv_z))
    faces, cam = flame.faces.cpu(), codes.cam.float().cpu()
    projected = flip(weak_projection(verts, cam))
    fixed, mask = (torch.from_numpy(np.asarray(value, np.float32)) for value in (assets.displacement, assets.mask))
    texels = under_texels(assets)
    normals = area_normals(verts, faces)
    fine = detail_normals(verts, normals, faces, texels, uv_z, mask, fixed)
    light = harmonic_shading(fine, codes.light.float().cpu())
    albedo = _albedo(assets, codes.tex.float().cpu())
    texture = albedo * light
    photo = None if crop is None else torch.from_numpy(np.asarray(crop, np.float32))
    gathered = _photo_texture(photo, projected, faces, texels, mask, texture if assets.albedo is not None else None)
    picture = draw_projected(projected, in_crop(projected), faces, assets, (SIDE, SIDE))
    normal_images = interpolate(normals, faces, picture.fragments).permute(2, 0, 1)
    alpha = picture.fragments.covered[None].float()
    shade = shaded(picture, normal_images, photo)
    fine_normals = sample_image(fine, picture.grid, where=picture.fragments.covered)
    displacement = (uv_z + fixed)[None]
    return Decoded(
        verts=verts,
        trans_verts=projected,
        landmarks2d=flip(weak_projection(marks2d, cam))[:, :2],
        landmarks3d=_seen(flip(weak_projection(marks3d, cam)), flame, picture.normals),
        landmarks3d_world=marks3d,
        normals=normals,
        uv_detail_normals=fine,
        displacement_map=displacement,
        shading=light,
        albedo=albedo,
        uv_texture=texture,
        uv_texture_gt=gathered,
        grid=picture.grid,
        alpha_images=alpha,
        normal_images=normal_images * alpha,
        rendered_images=sample_image(albedo, picture.grid) * alpha,
        shape_images=shade,
        shape_detail_images=shaded(picture, fine_normals, photo),
        depth_images=_depth(picture.fragments, projected),
        dense=_dense(verts, normals, faces, displacement[0], gathered, assets, texels),
    )


@dataclass(frozen=True)
class Picture:
    """The head in a picture."""

    fragments: Fragments
    grid: Float[Tensor, "H W 2"]
    normals: Float[Tensor, "V 3"]
    """Of the projected mesh: towards the camera z is negative."""
    facing: Float[Tensor, "H W"]
    """z of these normals at each pixel."""


def in_crop(projected: Float[Tensor, "N 3"]) -> Float[Tensor, "N 2"]:
    """Pixels of the crop, its corner at (0, 0)."""
    return (projected[:, :2] + 1) * (SIDE / 2)


def draw_projected(
    projected: Float[Tensor, "V 3"],
    pixels: Float[Tensor, "V 2"],
    faces: Int[Tensor, "F 3"],
    assets: DecaAssets,
    size: tuple[int, int],
) -> Picture:
    """What of the head is seen where.

    Args:
        projected: in the crop, see `Decoded.trans_verts`.
        pixels: where in the picture.
        faces: of the model.
        assets: its texture layout.
        size: of the picture, (width, height).
    """
    fragments = rasterize(torch.cat([pixels, projected[:, 2:] + _BEHIND], dim=1), faces, size)
    uv = torch.from_numpy(np.asarray(assets.uv, np.float32))
    uv_faces = torch.from_numpy(np.asarray(assets.uv_faces, dtype=np.int64))
    # u to the right and v up become x to the right and y down over the texture.
    grid = interpolate((uv * 2 - 1) * torch.tensor([1.0, -1.0]), uv_faces, fragments)
    normals = area_normals(projected, faces)
    return Picture(fragments, grid, normals, interpolate(normals, faces, fragments)[..., 2])


def shaded(
    picture: Picture, normals: Float[Tensor, "3 H W"], background: Float[Tensor, "3 H W"] | None
) -> Float[Tensor, "3 H W"]:
    """Grey clay under five lights, cut where it turns away."""
    shown = (picture.fragments.covered & (picture.facing < _SEEN_SHAPE)).float()
    clay = render_shape(normals) * shown
    return clay if background is None else clay + background * (1 - shown)


def render_shape(normals: Float[Tensor, "3 H W"]) -> Float[Tensor, "3 H W"]:
    """DECA's grey picture of a shape: the mean of five directional lights of intensity 1.7 on grey 180."""
    lights = functional.normalize(torch.tensor(_LIGHTS, dtype=normals.dtype), dim=1)
    shading = torch.einsum("lc,chw->lhw", lights, normals).clamp(0, 1).mean(dim=0) * _INTENSITY
    return (_GREY * shading).expand(3, -1, -1)


def _seen(points: Float[Tensor, "68 3"], flame: Flame, normals: Float[Tensor, "V 3"]) -> Float[Tensor, "68 4"]:
    """The points, and 1 where the projected surface below them looks to the camera, else 0."""
    embedding = flame.embeddings["ibug68"]
    weights = torch.from_numpy(np.asarray(embedding.barycentric, np.float32))
    facing = gather(normals, flame.faces.cpu(), torch.from_numpy(np.asarray(embedding.face_ids)), weights)[:, 2]
    return torch.cat([points, (facing < _SEEN_POINT).to(points)[:, None]], dim=1)


def _photo_texture(
    photo: Tensor | None,
    projected: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    texels: Fragments,
    mask: Float[Tensor, "256 256"],
    rest: Float[Tensor, "3 256 256"] | None,
) -> Float[Tensor, "3 256 256"]:
    paper = torch.full((3, UV_SIDE, UV_SIDE), _PAPER) if rest is None else rest
    if photo is None:
        return paper
    return sample_image(photo, interpolate(projected, faces, texels)[..., :2]) * mask + paper * (1 - mask)


def _albedo(assets: DecaAssets, tex: Float[Tensor, "50"]) -> Float[Tensor, "3 256 256"]:
    """The texture model's colours, every other texel of its 512; DECA does not clip them."""
    if assets.albedo is None:
        return torch.zeros(3, UV_SIDE, UV_SIDE)
    space = assets.albedo
    image = space.mean + space.basis @ tex.numpy()[: space.basis.shape[-1]]
    step = image.shape[0] // UV_SIDE
    return torch.from_numpy(np.ascontiguousarray(image[::step, ::step].transpose(2, 0, 1), dtype=np.float32))


def _depth(fragments: Fragments, projected: Float[Tensor, "V 3"]) -> Float[Tensor, "1 H W"]:
    near, far = (projected[:, 2] + _BEHIND).aminmax()
    depth = (far - fragments.depth) / (far - near)
    return torch.where(fragments.covered, depth.clamp(0, 1), torch.zeros(()))[None]


def _dense(
    verts: Float[Tensor, "V 3"],
    normals: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    displacement: Float[Tensor, "256 256"],
    texture: Float[Tensor, "3 256 256"],
    assets: DecaAssets,
    texels: Fragments,
) -> DenseMesh:
    table = dense_table(assets, faces.numpy(), texels)
    weights = table.barycentric.float()[..., None]
    points, directions = ((value[table.vertex_ids] * weights).sum(1) for value in (verts, normals))
    directions = functional.normalize(directions, dim=-1)
    moved = points + displacement[table.rows, table.columns][:, None] * directions
    return DenseMesh(moved, table.faces, texture[:, table.rows, table.columns].T.clamp(0, 1))


def _batched(codes: DecaCodes, like: Tensor) -> DecaCodes:
    """One face as a batch of one, in the networks' type."""
    detail = None if codes.detail is None else codes.detail[None].to(like)
    return dataclasses.replace(codes, pose=codes.pose[None].to(like), exp=codes.exp[None].to(like), detail=detail)
