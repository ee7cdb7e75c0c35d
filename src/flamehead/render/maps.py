"""Everything that can be read off a mesh at the centre of each pixel, from one rasterization."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8, UInt16
from torch import Tensor

from flamehead.data import Camera
from flamehead.errors import InputError, check_choice
from flamehead.raster import gather
from flamehead.render._samples import Samples, average, sample, to_camera
from flamehead.render.picture import Colors, facing_normals, shade_samples
from flamehead.render.shade import STUDIO, Lighting, linear_to_srgb
from flamehead.render.texture import Texture, check_same_faces

__all__ = ["Kind", "Maps", "depth_to_millimetres", "face_regions", "maps", "normals_to_bytes"]

Kind = Literal["color", "alpha", "depth", "normals", "uv", "regions", "faces", "positions"]


@dataclass(frozen=True)
class Maps:
    """What was asked for; the rest is `None`. All maps of a pixel speak of the same point, the one at its centre."""

    color: Float[np.ndarray, "H W 3"] | None = None
    """sRGB in [0, 1]; 0 in the background."""
    alpha: Float[np.ndarray, "H W"] | None = None
    """1 where the mesh is seen, else 0."""
    depth: Float[np.ndarray, "H W"] | None = None
    """View depth z in metres; +inf in the background."""
    normals: Float[np.ndarray, "H W 3"] | None = None
    """Unit length, on the viewer's side of the face; 0 in the background."""
    uv: Float[np.ndarray, "H W 2"] | None = None
    """u to the right, v up; NaN in the background."""
    regions: Int[np.ndarray, "H W"] | None = None
    """Index into `region_names`; -1 in the background and on faces of no region."""
    faces: Int[np.ndarray, "H W"] | None = None
    """Row of the faces; -1 in the background."""
    positions: Float[np.ndarray, "H W 3"] | None = None
    """Metres; NaN in the background."""
    region_names: tuple[str, ...] = ()


def maps(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    camera: Camera,
    *,
    want: Collection[Kind],
    colors: Colors | None = None,
    lighting: Lighting = STUDIO,
    uv: Texture | tuple[Float[np.ndarray, "T 2"], Int[np.ndarray, "F 3"]] | None = None,
    regions: Mapping[str, Int[np.ndarray, "N"]] | None = None,
    frame: Literal["camera", "world"] = "camera",
    cull: bool = False,
) -> Maps:
    """Rasterize a mesh once, one sample per pixel, and read off what is wanted; no gradients.

    Args:
        vertices: World coordinates in metres.
        faces: Counter-clockwise seen from outside.
        camera: Sets the size.
        want: Names of fields of `Maps`.
        colors: As for `render`; a texture's uv serve the uv map as well.
        lighting: As for `render`.
        uv: Texture coordinates and their rows at the corners of each triangle, for the uv map.
        regions: Vertex ids by name, such as `Flame.regions`, for the region map; see `face_regions`.
        frame: Of normals and positions: the camera's (x right, y down, z away from the viewer) or the world's.
        cull: Leave out the backs of faces.

    Raises:
        InputError: An unknown map is wanted, or one whose input is missing.

    Example:
        >>> from flamehead import load_flame
        >>> from flamehead.render import side_view
        >>> flame = load_flame()
        >>> vertices = flame(flame.zeros()).vertices
        >>> found = maps(vertices, flame.faces, side_view(vertices, (64, 64)), want=["depth", "normals"])
        >>> found.normals.shape
        (64, 64, 3)
    """
    texture = uv if uv is not None else colors if isinstance(colors, Texture) else None
    _check(want, texture is not None, regions is not None)
    check_choice("frame", frame, ("camera", "world"))
    points = to_camera(vertices, camera)
    samples = sample(points, faces, camera, supersample=1, cull=cull)
    at = samples.face_ids, samples.barycentric
    found, names = {}, ()
    if "color" in want:
        rows, light, _ = average(samples, shade_samples(points, faces, samples, colors, lighting))
        found["color"] = _spread(rows, linear_to_srgb(light), camera, 0.0)
    if "alpha" in want:
        found["alpha"] = _spread(samples.pixels, samples.counts, camera, 0.0)
    if "depth" in want:
        found["depth"] = _spread(samples.pixels, gather(points[:, 2:], faces.cpu(), *at).numpy()[:, 0], camera, np.inf)
    if "normals" in want:
        found["normals"] = _spread(samples.pixels, _normals(points, faces, samples, camera, frame), camera, 0.0)
    if "uv" in want and texture is not None:
        places, corners = (texture.uv, texture.uv_faces) if isinstance(texture, Texture) else texture
        table = torch.as_tensor(places).detach().cpu().float(), torch.as_tensor(corners).cpu()
        check_same_faces(faces, table[1])
        found["uv"] = _spread(samples.pixels, gather(*table, *at).numpy(), camera, np.nan)
    if "regions" in want and regions is not None:
        _check_regions(regions, len(vertices))
        of_face, names = face_regions(faces, regions)
        found["regions"] = _spread(samples.pixels, of_face[samples.face_ids.numpy()], camera, -1)
    if "faces" in want:
        found["faces"] = _spread(samples.pixels, samples.face_ids.numpy(), camera, -1)
    if "positions" in want:
        where = points if frame == "camera" else vertices.detach().cpu().float()
        found["positions"] = _spread(samples.pixels, gather(where, faces.cpu(), *at).numpy(), camera, np.nan)
    return Maps(**found, region_names=names)


def face_regions(
    faces: Int[Tensor, "F 3"], regions: Mapping[str, Int[np.ndarray, "N"]]
) -> tuple[Int[np.ndarray, "F"], tuple[str, ...]]:
    """The region of each face, -1 for none, and the names.

    A face belongs to a region when its three corners do. Where regions overlap, the one with the fewest vertices wins:
    lips show within the face.
    """
    _check_regions(regions, None)
    corners, names = faces.cpu().numpy(), tuple(regions)
    out = np.full(len(corners), -1, dtype=np.int32)
    for name in sorted(names, key=lambda name: -len(np.unique(regions[name]))):
        out[np.isin(corners, regions[name]).all(axis=1)] = names.index(name)
    return out, names


def depth_to_millimetres(depth: Float[np.ndarray, "*shape"]) -> UInt16[np.ndarray, "*shape"]:
    """Depth as trackers store it in 16-bit PNG: whole millimetres, rounded down; 0 is nothing or beyond 65 m."""
    millimetres = 1000.0 * np.asarray(depth, dtype=np.float64)
    # A float32 depth of a whole millimetre may lie a rounding error below.
    whole = np.floor(np.where(np.isfinite(millimetres), millimetres, 0.0) + 1e-4)
    return np.where((whole >= 0) & (whole <= 65535), whole, 0).astype(np.uint16)


def normals_to_bytes(
    normals: Float[np.ndarray, "H W 3"], *, frame: Literal["camera", "world"] = "camera"
) -> UInt8[np.ndarray, "H W 3"]:
    """The usual picture of normals: red to the right, green up, blue towards the viewer; the background is black.

    `round(255 (0.5 + 0.5 n))` of (x, -y, -z) in the camera's frame, where y is down and z away, and of (x, y, z) in the
    world's.
    """
    check_choice("frame", frame, ("camera", "world"))
    turned = normals * np.array([1.0, -1.0, -1.0] if frame == "camera" else [1.0, 1.0, 1.0], dtype=np.float32)
    seen = (normals != 0).any(axis=-1, keepdims=True)
    return np.where(seen, np.rint(255.0 * (0.5 + 0.5 * turned)), 0.0).astype(np.uint8)


def _check(want: Collection[Kind], has_uv: bool, has_regions: bool) -> None:
    unknown = sorted(set(want) - set(get_args(Kind)))
    if unknown or isinstance(want, str):
        raise InputError(f"There are no maps {unknown or want!r}; give a list of {', '.join(get_args(Kind))}.")
    if "uv" in want and not has_uv:
        raise InputError("The uv map needs texture coordinates; pass uv=(uv, uv_faces) or a texture.")
    if "regions" in want and not has_regions:
        raise InputError("The region map needs regions; pass vertex ids by name, such as regions=flame.regions.")


def _check_regions(regions: Mapping[str, Int[np.ndarray, "N"]], n_vertices: int | None) -> None:
    for name, ids in regions.items():
        rows = np.asarray(ids)
        if rows.size and rows.dtype.kind not in "iu":
            raise InputError(f"Region {name!r} holds {rows.dtype}, wanted vertex ids; np.flatnonzero(mask) gives them.")
        if rows.size and (rows.min() < 0 or (n_vertices is not None and rows.max() >= n_vertices)):
            raise InputError(
                f"Region {name!r} holds vertices {rows.min()} to {rows.max()}, but the mesh has "
                f"{'ids from 0 on' if n_vertices is None else n_vertices}; give the regions of this mesh."
            )


def _normals(
    points: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    samples: Samples,
    camera: Camera,
    frame: Literal["camera", "world"],
) -> Float[np.ndarray, "N 3"]:
    normals = facing_normals(points, faces, samples)
    if frame == "world":
        normals = normals @ camera.rotation.detach().cpu().float().reshape(3, 3).numpy()
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.float32(1e-20))


def _spread(rows: Int[np.ndarray, "N"], values: np.ndarray, camera: Camera, empty: float) -> np.ndarray:
    """Values at some pixels as a picture."""
    width, height = camera.size
    out = np.full((height * width, *values.shape[1:]), empty, dtype=values.dtype)
    out[rows] = values
    return out.reshape(height, width, *values.shape[1:])
