"""Meshes with texture coordinates: GLB (glTF 2.0 in one file) and OBJ with its material and picture.

glTF counts v from the top of the picture and gives each vertex one uv, so vertices on texture seams are repeated;
vertex colours in it are linear light. OBJ counts v from the bottom, as we do, and has uv per corner.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead._atomic import atomic_path
from flamehead._srgb import decode
from flamehead._types import StrPath
from flamehead.errors import InputError
from flamehead.geometry.normals import vertex_normals
from flamehead.io.glb import GlbBuffer, glb_bytes, split_seams
from flamehead.io.meshes import check_mesh
from flamehead.io.uv_maps import UvMap

__all__ = ["embedded_picture", "png_bytes", "write_glb", "write_textured_obj"]

Points: TypeAlias = Float[Tensor, "V 3"] | Float[np.ndarray, "V 3"]
Triangles: TypeAlias = Int[Tensor, "F 3"] | Int[np.ndarray, "F 3"]

CLAY = [0.6, 0.55, 0.5, 1.0]
"""Linear colour of a head that has no other."""


def write_glb(
    path: StrPath,
    vertices: Points,
    faces: Triangles,
    *,
    colors: Points | None = None,
    uv_map: UvMap | None = None,
) -> None:
    """Write a mesh as GLB, with smooth normals and either vertex colours or a picture, which is embedded as PNG.

    Args:
        path: Where to; written whole or not at all.
        vertices: Metres, y up, which is glTF's own convention.
        faces: Counter-clockwise seen from outside.
        colors: sRGB in [0, 1] for each vertex; left out when `uv_map` has a picture, as viewers multiply the two.
        uv_map: Texture coordinates, with or without a picture.

    Raises:
        InputError: Shapes that do not fit together, or a folder that cannot be written.
    """
    points, triangles, paint = check_mesh(path, vertices, faces, colors)
    picture = None if uv_map is None else uv_map.picture
    normals = vertex_normals(torch.from_numpy(points).double(), torch.from_numpy(triangles)).numpy()
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    # glTF wants unit normals, also at vertices that no triangle has.
    normals = np.where(length > 0, normals / np.maximum(length, 1e-30), [0.0, 1.0, 0.0])
    columns = {"POSITION": points, "NORMAL": normals}
    if paint is not None and picture is None:
        # Colours of glTF are linear light.
        columns["COLOR_0"] = decode(paint)
    if uv_map is not None:
        _check_uv(path, uv_map, triangles)
        rows, uv_rows, triangles = split_seams(triangles, uv_map.faces)
        columns = {name: column[rows] for name, column in columns.items()}
        columns["TEXCOORD_0"] = uv_map.uv[uv_rows] * [1.0, -1.0] + [0.0, 1.0]
    chunks = [np.ascontiguousarray(column, dtype="<f4") for column in columns.values()]
    chunks.append(np.ascontiguousarray(triangles, dtype="<u4").reshape(-1))
    data = _glb(list(columns), chunks, None if picture is None else png_bytes(path, picture))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_textured_obj(
    path: StrPath,
    vertices: Points,
    faces: Triangles,
    *,
    uv_map: UvMap,
    colors: Points | None = None,
    picture_name: str | None = None,
) -> list[Path]:
    """Write a mesh as OBJ with uv per corner and, for a map with a picture, NAME.mtl and NAME.png beside it.

    Vertices keep their number and order. The OBJ comes last, so it never names files that are not there. Colours go
    behind the coordinates, as in `write_obj`, unless there is a picture.

    Args:
        path: Where to; metres.
        vertices: Of the mesh.
        faces: Counter-clockwise seen from outside.
        uv_map: Texture coordinates, with or without a picture.
        colors: sRGB in [0, 1] for each vertex.
        picture_name: Of the picture's file, instead of NAME.png.

    Returns:
        The files written.

    Raises:
        InputError: As for `write_glb`.
    """
    path = Path(path)
    points, triangles, paint = check_mesh(path, vertices, faces, colors)
    _check_uv(path, uv_map, triangles)
    written: list[Path] = []
    header = ""
    if uv_map.picture is not None:
        picture, material = path.with_name(picture_name or f"{path.stem}.png"), path.with_suffix(".mtl")
        with atomic_path(picture) as temporary:
            temporary.write_bytes(png_bytes(path, uv_map.picture))
        with atomic_path(material) as temporary:
            temporary.write_text(f"newmtl head\nKd 1 1 1\nKs 0 0 0\nmap_Kd {picture.name}\n", encoding="utf-8")
        header = f"mtllib {material.name}\nusemtl head\n"
        written += [picture, material]
    corners = np.stack([triangles, uv_map.faces], axis=-1).reshape(-1, 6) + 1
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(header)
        if paint is None or uv_map.picture is not None:
            np.savetxt(file, points, fmt="v %.8g %.8g %.8g")
        else:
            np.savetxt(file, np.concatenate([points, paint], axis=1), fmt="v %.8g %.8g %.8g %.4g %.4g %.4g")
        np.savetxt(file, uv_map.uv, fmt="vt %.8g %.8g")
        np.savetxt(file, corners, fmt="f %d/%d %d/%d %d/%d")
    return [*written, path]


def _check_uv(path: StrPath, uv_map: UvMap, triangles: Int[np.ndarray, "F 3"]) -> None:
    faces, uv = uv_map.faces, uv_map.uv
    inside = faces.shape == triangles.shape and (not faces.size or (0 <= faces.min() and faces.max() < len(uv)))
    if not inside or uv.ndim != 2 or uv.shape[1] != 2 or not np.isfinite(uv).all():
        raise InputError(
            f"Cannot write {path}: the texture coordinates {uv.shape} with faces {faces.shape} do not belong to a mesh "
            f"of {len(triangles)} triangles; give the UV layout of this mesh."
        )


def png_bytes(path: StrPath, picture: Float[np.ndarray, "H W 3"]) -> bytes:
    """A picture, sRGB in [0, 1], as a PNG file; `path` is what an error names."""
    from PIL import Image

    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype.kind != "f" or not np.isfinite(picture).all():
        raise InputError(
            f"Cannot write {path}: the texture has shape {picture.shape} and type {picture.dtype}, wanted float RGB."
        )
    buffer = io.BytesIO()
    Image.fromarray(np.rint(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def _glb(names: list[str], chunks: list[np.ndarray], png: bytes | None) -> bytes:
    buffer = GlbBuffer()
    attributes = {
        name: buffer.add(chunk, use="vertices", bounds=name == "POSITION")
        for name, chunk in zip(names, chunks[:-1], strict=True)
    }
    base: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.8}
    if png is not None:
        base["baseColorTexture"] = {"index": 0}
    elif "COLOR_0" not in names:
        base["baseColorFactor"] = CLAY
    primitive = {"attributes": attributes, "indices": buffer.add(chunks[-1], use="triangles"), "material": 0}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "flamehead"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "head"}],
        "meshes": [{"primitives": [primitive], "name": "head"}],
        "materials": [{"pbrMetallicRoughness": base, "doubleSided": True}],
    }
    if png is not None:
        document |= embedded_picture(buffer, png)
    return glb_bytes(document, buffer)


def embedded_picture(buffer: GlbBuffer, png: bytes) -> dict[str, Any]:
    """The parts of a document that make a PNG texture number 0, with mip levels."""
    return {
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"magFilter": 9729, "minFilter": 9987}],
        "images": [{"bufferView": buffer.add_file(png), "mimeType": "image/png"}],
    }
