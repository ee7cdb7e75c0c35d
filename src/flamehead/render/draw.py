"""A mesh drawn so that gradients reach everything it was made of: for fitting by photographs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.data import Camera
from flamehead.errors import InputError, check_choice
from flamehead.geometry.normals import vertex_normals
from flamehead.raster import Fragments, antialias, interpolate, rasterize
from flamehead.raster._checks import check_faces
from flamehead.render._deferred import paint
from flamehead.render._screen import place, place_with_normals
from flamehead.render._seams import cut_mesh
from flamehead.render._split import split
from flamehead.render.harmonics import harmonic_light
from flamehead.render.sampling import build_pyramid, sample_image
from flamehead.render.srgb import decode_srgb, encode_srgb
from flamehead.render.texture import Encoding, Texture, texture_level

__all__ = ["Drawing", "draw"]


@dataclass(frozen=True)
class Drawing:
    """A picture with gradients."""

    image: Float[Tensor, "*batch H W 3"]
    """Times alpha: a background adds as `image + (1 - alpha) * background`; one that was given is in it already."""
    alpha: Float[Tensor, "*batch H W"]
    """How much of a pixel the mesh covers: 0 or 1 inside and outside, between along outlines."""
    fragments: Fragments
    """What is seen where."""


def draw(
    vertices: Float[Tensor, "*batch V 3"],
    faces: Int[Tensor, "F 3"],
    camera: Camera,
    *,
    albedo: Texture | Float[Tensor, "*#batch V 3"],
    light: Float[Tensor, "*#batch 9 3"] | None = None,
    background: Float[Tensor, "*#batch H W 3"] | None = None,
    encoding: Encoding = "srgb",
    shading: Literal["pixel", "vertex"] = "pixel",
    smooth_edges: bool = True,
    cull: bool = False,
) -> Drawing:
    """Draw meshes under spherical-harmonics light, differentiable with respect to every tensor given.

    Vertices are projected, rasterized and interpolated; albedo is decoded to linear light and multiplied by
    `harmonic_light` of the smooth normals in the world's frame; the result is encoded, and outlines are blended, which
    is where gradients of visibility come from. Nothing is clipped.

    With `encoding="linear"` nothing is decoded or encoded: albedo times light on the values as they are, whatever
    the texture's own encoding, which is the model of the usual FLAME trackers.

    Args:
        vertices: World coordinates, metres.
        faces: Counter-clockwise seen from outside.
        camera: One for all meshes or one for each; sets the size.
        albedo: A texture for all meshes, or colours at vertices in `encoding`.
        light: Coefficients as in `harmonic_light`, linear; `None` shows the albedo itself.
        background: An image in `encoding`.
        encoding: Of colours at vertices, of the background and of the result.
        shading: Light at every pixel, or at vertices, which is cheaper and looks the same on a fine mesh.
        smooth_edges: Blend outlines; without it positions get no gradient from what appears or disappears.
        cull: Leave out the backs of faces.

    Raises:
        InputError: Anything that is of another kind, shape or dtype than the vertices need, or a texture of another
            mesh.
    """
    check_choice("encoding", encoding, get_args(Encoding))
    check_choice("shading", shading, ("pixel", "vertex"))
    _check_kinds(vertices, camera, albedo, light, background)
    check_faces(faces)
    points, normals = (place(vertices, camera), None) if light is None else place_with_normals(vertices, faces, camera)
    _check_given(points, camera, light, background)
    perspective = not camera.orthographic
    fragments = rasterize(points, faces, camera.size, cull=cull, perspective=perspective)
    light_of = None
    if light is not None:
        light_of = vertex_normals(vertices, faces, backend="numba") if normals is None else normals, light, shading
    how = points, faces, fragments, perspective
    if isinstance(albedo, Texture):
        albedo.check_rows()
    if isinstance(albedo, Texture) and light_of is not None and _is_fast(points, albedo, light_of):
        normals, known, _ = light_of
        options = {"perspective": perspective, "encode": encoding == "srgb", "smooth_edges": smooth_edges}
        image, alpha = paint(points, normals.expand(points.shape), known, faces, fragments, albedo, **options)
    else:
        color = (
            _textured(*how, albedo, light_of, encoding)
            if isinstance(albedo, Texture)
            else _colored(*how, albedo, light_of, encoding)
        )
        both = _finished(color, fragments, encoding)
        image, alpha = split(antialias(both, *how[:3], perspective=perspective) if smooth_edges else both)
    if background is not None:
        image = image + (1.0 - alpha[..., None]) * background
    return Drawing(image, alpha, fragments)


def _check_kinds(
    vertices: Tensor, camera: Camera, albedo: Texture | Tensor, light: Tensor | None, background: Tensor | None
) -> None:
    if not isinstance(vertices, Tensor) or vertices.dtype not in (torch.float32, torch.float64):
        found = vertices.dtype if isinstance(vertices, Tensor) else type(vertices).__name__
        raise InputError(
            f"draw() needs vertices as a tensor of float32 or float64, got {found}; convert them with "
            "torch.as_tensor(vertices).float()."
        )
    if vertices.ndim < 2 or vertices.shape[-1] != 3:
        raise InputError(f"draw() needs vertices of shape (*batch, V, 3), got {tuple(vertices.shape)}.")
    if not isinstance(camera, Camera):
        raise InputError(
            f"draw() needs a Camera, got {type(camera).__name__}; `side_view` and `orbit_camera` make one for a mesh."
        )
    for what, value in (("albedo", albedo), ("light", light), ("background", background)):
        if not isinstance(value, Tensor) and not (what == "albedo" and isinstance(value, Texture)):
            if value is None and what != "albedo":
                continue
            kinds = "a Texture or a tensor of colours at vertices" if what == "albedo" else "a tensor"
            raise InputError(f"draw() needs {what} as {kinds}, got {type(value).__name__}; see torch.as_tensor().")
    colors = albedo.image if isinstance(albedo, Texture) else albedo
    if colors.dtype != vertices.dtype:
        raise InputError(
            f"The albedo is {colors.dtype}, the vertices are {vertices.dtype}; convert one of them, with .float() or "
            ".double()."
        )
    if camera.rotation.dtype != vertices.dtype:
        raise InputError(
            f"The camera is {camera.rotation.dtype}, the vertices are {vertices.dtype}; call "
            "camera.to(dtype=vertices.dtype)."
        )


def _check_given(points: Tensor, camera: Camera, light: Tensor | None, background: Tensor | None) -> None:
    batch, (width, height) = points.shape[:-2], camera.size
    for what, value, wanted in (("light", light, (9, 3)), ("background", background, (height, width, 3))):
        if value is None:
            continue
        own, rest = value.shape[: -len(wanted)], value.shape[-len(wanted) :]
        lines_up = len(own) <= len(batch) and all(a in (1, b) for a, b in zip(own[::-1], batch[::-1], strict=False))
        if rest != wanted or not lines_up:
            raise InputError(
                f"{what} has shape {tuple(value.shape)}, wanted {wanted}, for all of {tuple(batch)} meshes or for each."
            )
    if light is not None and light.dtype != points.dtype:
        raise InputError(f"light is {light.dtype}, the vertices are {points.dtype}; call light.to(vertices.dtype).")


_LightOf = tuple[Tensor, Tensor, Literal["pixel", "vertex"]] | None
"""Normals at vertices, coefficients, and where light is worked out."""


def _colored(
    points: Tensor,
    faces: Tensor,
    fragments: Fragments,
    perspective: bool,
    albedo: Float[Tensor, "*#batch V 3"],
    light_of: _LightOf,
    encoding: Encoding,
) -> Float[Tensor, "*batch H W 3"]:
    """Linear colour at pixels, from colours at vertices."""
    if albedo.shape[-2:] != points.shape[-2:]:
        raise InputError(
            f"albedo has shape {tuple(albedo.shape)}; give one RGB row for each of the {points.shape[-2]} vertices."
        )
    # Decoded before interpolation: an average of code values is not that of light.
    linear = (decode_srgb(albedo) if encoding == "srgb" else albedo).expand(points.shape)
    if light_of is None:
        return interpolate(linear, faces, fragments, points=points, perspective=perspective)
    normals, light, shading = light_of
    normals = normals.expand(points.shape)
    if shading == "vertex":
        lit = linear * harmonic_light(normals, light)
        return interpolate(lit, faces, fragments, points=points, perspective=perspective)
    seen = interpolate(torch.cat([normals, linear], dim=-1), faces, fragments, points=points, perspective=perspective)
    return seen[..., 3:] * _light_at_pixels(seen[..., :3], light)


def _finished(color: Float[Tensor, "*batch H W 3"], fragments: Fragments, encoding: Encoding) -> Tensor:
    """Encoded colour, and 1 where something is seen."""
    color = encode_srgb(color) if encoding == "srgb" else color
    return torch.cat([color, fragments.covered[..., None].to(color.dtype)], dim=-1)


def _textured(
    points: Tensor,
    faces: Tensor,
    fragments: Fragments,
    perspective: bool,
    texture: Texture,
    light_of: _LightOf,
    encoding: Encoding,
) -> Float[Tensor, "*batch H W 3"]:
    """Linear colour at pixels, from a texture."""
    cut = cut_mesh(faces, texture.uv_faces)
    uv = texture.uv.to(points)[cut.uv_rows].expand(*points.shape[:-2], -1, -1)
    shown = [uv]
    if light_of is not None:
        normals, light, shading = light_of
        at_vertices = normals if shading == "pixel" else harmonic_light(normals, light)
        shown.insert(0, at_vertices.expand(points.shape)[..., cut.vertex_rows, :])
    placed = points[..., cut.vertex_rows, :]
    seen = interpolate(torch.cat(shown, dim=-1), cut.faces, fragments, points=placed, perspective=perspective)
    uv = seen[..., -2:]
    level = texture_level(texture, points, faces, fragments.face_ids, fragments.depth, uv, perspective=perspective)
    pyramid = build_pyramid(texture.linear().image if encoding == "srgb" else texture.image)
    if light_of is None:
        return sample_image(pyramid, uv.contiguous(), level=level)
    _, light, shading = light_of
    color = sample_image(pyramid, uv.contiguous(), level=level)
    shade = _light_at_pixels(seen[..., :3], light) if shading == "pixel" else seen[..., :3]
    return color * shade


def _is_fast(points: Tensor, texture: Texture, light_of: tuple[Tensor, Tensor, str]) -> bool:
    normals, light, shading = light_of
    values = points, normals, light, texture.image, texture.uv
    return shading == "pixel" and all(v.dtype == torch.float32 and v.device.type == "cpu" for v in values)


def _light_at_pixels(
    normals: Float[Tensor, "*batch H W 3"], light: Float[Tensor, "*#batch 9 3"]
) -> Float[Tensor, "*batch H W 3"]:
    return harmonic_light(normals.flatten(-3, -2), light).reshape(normals.shape)
