"""Triangle meshes on disk: OBJ and PLY are written here, and more formats are read through trimesh."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from flamehead._atomic import atomic_path
from flamehead._srgb import encode
from flamehead._types import StrPath
from flamehead.errors import InputError
from flamehead.io.uv_maps import UvMap, obj_uv_map, trimesh_uv_map

__all__ = ["Mesh", "check_mesh", "read_mesh", "write_obj", "write_ply"]


@dataclass(frozen=True)
class Mesh:
    """What a mesh file holds, in the file's order and unit."""

    vertices: Float[np.ndarray, "V 3"]
    """float64."""
    faces: Int[np.ndarray, "F 3"]
    """int64; empty for a point cloud."""
    colors: Float[np.ndarray, "V 3"] | None = None
    """sRGB in [0, 1], where the file has a colour for each vertex."""
    uv_map: UvMap | None = None
    """Texture coordinates, with the picture where there is one; only with `texture=True`."""


def write_obj(
    path: StrPath,
    vertices: Float[Tensor, "V 3"] | Float[np.ndarray, "V 3"],
    faces: Int[Tensor, "F 3"] | Int[np.ndarray, "F 3"],
    *,
    colors: Float[Tensor, "V 3"] | Float[np.ndarray, "V 3"] | None = None,
) -> None:
    """Write a mesh as Wavefront OBJ; colours go behind the coordinates as `v x y z r g b`, which most viewers read.

    Args:
        path: Where to; written whole or not at all.
        vertices: Metres.
        faces: Counter-clockwise seen from outside, counted from 0; the file counts from 1.
        colors: sRGB in [0, 1] for each vertex.

    Raises:
        InputError: Shapes that do not fit together, or a folder that cannot be written.
    """
    vertices, faces, colors = check_mesh(path, vertices, faces, colors)
    columns = vertices if colors is None else np.concatenate([vertices, colors], axis=1)
    # Eight significant digits hold every float32 coordinate of a head to well under a micrometre.
    row = " ".join(["v", *["%.8g"] * 3, *["%.4g"] * (columns.shape[1] - 3)])
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        np.savetxt(file, columns, fmt=row)
        np.savetxt(file, faces + 1, fmt="f %d %d %d")


def write_ply(
    path: StrPath,
    vertices: Float[Tensor, "V 3"] | Float[np.ndarray, "V 3"],
    faces: Int[Tensor, "F 3"] | Int[np.ndarray, "F 3"],
    *,
    colors: Float[Tensor, "V 3"] | Float[np.ndarray, "V 3"] | None = None,
) -> None:
    """Write a mesh as binary little-endian PLY: float32 coordinates, 8-bit colours. Arguments as for `write_obj`."""
    vertices, faces, colors = check_mesh(path, vertices, faces, colors)
    names = [(axis, "<f4") for axis in "xyz"] + (
        [] if colors is None else [(c, "u1") for c in ("red", "green", "blue")]
    )
    points = np.empty(len(vertices), dtype=names)
    points["x"], points["y"], points["z"] = vertices.T
    if colors is not None:
        points["red"], points["green"], points["blue"] = _to_bytes(colors).T
    triangles = np.empty(len(faces), dtype=[("count", "u1"), ("corners", "<i4", (3,))])
    triangles["count"], triangles["corners"] = 3, faces
    kinds = {"<f4": "float", "u1": "uchar"}
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(points)}",
        *(f"property {kinds[kind]} {name}" for name, kind in names),
        f"element face {len(triangles)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    with atomic_path(path) as temporary:
        temporary.write_bytes("\n".join(header).encode("ascii") + points.tobytes() + triangles.tobytes())


def read_mesh(path: StrPath, *, texture: bool = False) -> Mesh:
    """Read a mesh or a point cloud (OBJ, PLY, STL, OFF, GLB, ...) with its vertices in the file's own order.

    Normals are dropped; an OBJ vertex that a texture seam splits stays one vertex. Polygons become triangles. A file
    with several objects is read as one.

    Args:
        path: The file.
        texture: Read the texture coordinates and the picture too: `map_Kd` of an OBJ's material, the base colour of
            a GLB's. A picture that an OBJ names but that cannot be read is a logged warning.

    Raises:
        InputError: The file is missing, is no mesh, or holds coordinates that are not finite.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"Cannot read {path} as a mesh, it is a folder; name a mesh file in it.")
    if not path.is_file():
        raise InputError(f"There is no mesh file {path}; check the name.")
    _check_glb(path)
    try:
        read = _read_obj if path.suffix.lower() == ".obj" else _read_with_trimesh
        mesh = read(path, texture=texture)
    # Parsers fail on broken files in every way that Python knows.
    except Exception as error:
        raise InputError(
            f"Cannot read {path} as a mesh ({_reason(error)}); give an OBJ, PLY, STL or GLB file."
        ) from error
    vertices, faces = mesh.vertices, mesh.faces
    if not len(vertices):
        raise InputError(f"The mesh file {path} holds no vertices; export it again from the program that made it.")
    if not np.isfinite(vertices).all():
        raise InputError(f"The mesh file {path} holds NaN or infinite coordinates; repair or export it again.")
    if len(faces) and not (0 <= faces.min() and faces.max() < len(vertices)):
        raise InputError(f"The faces of {path} name vertices that it does not have; export it again.")
    return mesh


def _check_glb(path: Path) -> None:
    """trimesh takes the first bytes of any file for a header."""
    if path.suffix.lower() != ".glb":
        return
    with path.open("rb") as file:
        if file.read(4) != b"glTF":
            raise InputError(f"{path} is no GLB file, although its name says so; give an OBJ, PLY, STL or GLB file.")


def _read_obj(path: Path, *, texture: bool) -> Mesh:
    """Vertices and faces as they stand; trimesh would split vertices at texture seams and drop those without a face."""
    rows: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    lines = path.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ").splitlines()
    for line in lines:
        kind, *words = line.partition("#")[0].split() or [""]
        if kind == "v":
            rows.append([float(word) for word in words])
        elif kind == "f":
            named = [int(word.partition("/")[0]) for word in words]
            # Counted from 1, or backwards from the last vertex so far. A polygon becomes a fan.
            first, *rest = (index - 1 if index > 0 else len(rows) + index for index in named)
            faces.extend((first, a, b) for a, b in pairwise(rest))
    table = np.array(rows or np.empty((0, 3)), dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 3:
        raise ValueError("its vertices have fewer than three numbers")
    colors = np.clip(table[:, 3:], 0.0, 1.0) if table.shape[1] == 6 else None
    # A fourth number is a weight, which meshes do not use.
    uv_map = obj_uv_map(path, lines) if texture else None
    return Mesh(table[:, :3].copy(), np.array(faces, dtype=np.int64).reshape(-1, 3), colors, uv_map)


def _read_with_trimesh(path: Path, *, texture: bool) -> Mesh:
    # Imported here: writing needs no trimesh, and it is slow to load.
    import trimesh

    loaded: Any = trimesh.load(io.BytesIO(path.read_bytes()), file_type=path.suffix.lower().lstrip("."), process=False)
    mesh: Any = loaded.to_geometry() if isinstance(loaded, trimesh.Scene) else loaded
    vertices = np.array(mesh.vertices, dtype=np.float64).reshape(-1, 3)
    faces = np.array(getattr(mesh, "faces", ()), dtype=np.int64).reshape(-1, 3)
    # trimesh loses colours that stand beside a material when it brings a scene together; one part needs no bringing.
    parts = list(loaded.geometry.values()) if isinstance(loaded, trimesh.Scene) else []
    colors = _vertex_colors(parts[0] if len(parts) == 1 else mesh, len(vertices))
    if colors is not None and path.suffix.lower() in (".glb", ".gltf"):
        # Vertex colours of glTF are linear light.
        colors = encode(colors)
    return Mesh(vertices, faces, colors, trimesh_uv_map(path, mesh, parts) if texture else None)


def _vertex_colors(mesh: Any, n_vertices: int) -> Float[np.ndarray, "V 3"] | None:
    """Colours that the file itself gives to vertices; trimesh invents grey where there are none."""
    visual = getattr(mesh, "visual", None)
    beside = getattr(visual, "vertex_attributes", {}).get("color")
    if beside is not None and len(beside) == n_vertices:
        # Where a file has a material as well, trimesh leaves the colours as they are stored.
        scale = np.iinfo(beside.dtype).max if beside.dtype.kind == "u" else 1.0
        return np.clip(np.asarray(beside, dtype=np.float64)[:, :3] / scale, 0.0, 1.0)
    if visual is not None and getattr(visual, "kind", None) != "vertex":
        return None
    colors = getattr(mesh if visual is None else visual, "colors" if visual is None else "vertex_colors", None)
    if colors is None or len(colors) != n_vertices:
        return None
    return np.asarray(colors, dtype=np.float64)[:, :3] / 255.0


def check_mesh(
    path: StrPath,
    vertices: Tensor | np.ndarray,
    faces: Tensor | np.ndarray,
    colors: Tensor | np.ndarray | None,
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"], Float[np.ndarray, "V 3"] | None]:
    """One mesh as arrays that belong together, colours clipped to [0, 1]; `path` is named in messages.

    Raises:
        InputError: They do not belong together, or hold values that are not finite.
    """
    vertices, faces = _array(vertices), _array(faces)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise InputError(
            f"Cannot write {path}: got vertices {vertices.shape} and faces {faces.shape}; "
            "give one mesh, (V, 3) and (F, 3)."
        )
    if not np.isfinite(vertices).all():
        raise InputError(
            f"Cannot write {path}: the vertices hold NaN or infinite values; the fit that made them failed."
        )
    if len(faces) and not (0 <= faces.min() and faces.max() < len(vertices)):
        raise InputError(
            f"Cannot write {path}: faces name vertices {faces.min()} to {faces.max()} of {len(vertices)}; "
            "the faces belong to another mesh."
        )
    if colors is not None and (colors := _array(colors)).shape != vertices.shape:
        raise InputError(f"Cannot write {path}: colors has shape {colors.shape}; give one RGB row for each vertex.")
    return vertices, faces, None if colors is None else np.clip(colors, 0.0, 1.0)


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _to_bytes(colors: Float[np.ndarray, "V 3"]) -> UInt8[np.ndarray, "V 3"]:
    return np.rint(colors * 255.0).astype(np.uint8)


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(".;")
