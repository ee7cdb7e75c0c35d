"""Where meshes lie on their pictures: the texture coordinates and materials of OBJ files and of what trimesh reads."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from flamehead._srgb import decode, encode
from flamehead.errors import InputError
from flamehead.io.images import read_image

__all__ = ["UvMap", "obj_uv_map", "trimesh_uv_map"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UvMap:
    """Where a mesh lies on a picture."""

    uv: Float[np.ndarray, "T 2"]
    """u to the right, v up, in [0, 1] inside the picture."""
    faces: Int[np.ndarray, "F 3"]
    """Rows of `uv` at the corners of each triangle."""
    picture: Float[np.ndarray, "H W 3"] | None = None
    """sRGB in [0, 1], row 0 at the top (v = 1)."""
    file: Path | None = None
    """The picture's file, where it is one of its own."""


def obj_uv_map(path: Path, lines: list[str]) -> UvMap | None:
    """The texture coordinates of an OBJ file, and the picture that its material names (`map_Kd`).

    What the file names but cannot be had is logged as a warning, as the mesh itself is whole without it.

    Args:
        path: Of the OBJ file; materials and pictures are looked for beside it.
        lines: Its text, continued lines joined.

    Returns:
        None where a corner has no texture coordinates; polygons are fans, as in `read_mesh`.
    """
    uv: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    libraries: list[str] = []
    used: set[str] = set()
    material = ""
    for line in lines:
        kind, rest = _halves(line.partition("#")[0])
        if kind == "vt":
            uv.append([float(word) for word in rest.split()[:2]])
        elif kind == "mtllib":
            libraries.append(rest)
        elif kind == "usemtl":
            material = rest
        elif kind == "f":
            named = [word.split("/") for word in rest.split()]
            if any(len(word) < 2 or not word[1] for word in named):
                return None
            count = len(uv)
            # Counted from 1, or backwards from the last one so far.
            rows = (int(word[1]) for word in named)
            first, *others = (row - 1 if row > 0 else count + row for row in rows)
            faces.extend((first, a, b) for a, b in pairwise(others))
            used.add(material)
    places, corners = np.array(uv, dtype=np.float64), np.array(faces, dtype=np.int64)
    if not _fit_together(places, corners):
        return None
    file = _named_picture(path, libraries, used - {""})
    return _mapped(places, corners, None if file is None else _opened(path, file), file)


def trimesh_uv_map(path: Path, mesh: Any, parts: Sequence[Any]) -> UvMap | None:
    """The texture coordinates and the base colour of a mesh that trimesh has read; it counts v from the bottom.

    Args:
        path: Of the file, for warnings.
        mesh: Everything as one mesh; trimesh then sets the pictures of its parts side by side into one.
        parts: Of the scene; empty for formats without scenes.
    """
    visual = getattr(mesh, "visual", None)
    uv, corners = getattr(visual, "uv", None), getattr(mesh, "faces", None)
    if uv is None or corners is None or len(uv) != len(mesh.vertices):
        return None
    rows, corners = np.array(uv, dtype=np.float64)[:, :2], np.array(corners, dtype=np.int64)
    if not _fit_together(rows, corners):
        return None
    looks = [_picture_and_tint(part) for part in parts] if len(parts) > 1 else []
    # Beside pictures, trimesh (5.2) turns the colours of other parts, or those that tint a picture, into black.
    if any(image is None or tint is not None for image, tint in looks):
        if any(image is not None for image, _ in looks):
            _log.warning("%s: its parts differ in kind of colour, and are drawn without their textures.", path)
        return None
    image, tint = _picture_and_tint(mesh)
    if image is None:
        return _mapped(rows, corners, None, None)
    picture = np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)
    if tint is not None:
        # glTF multiplies the picture, in linear light, by a colour.
        picture = np.asarray(encode(decode(picture) * tint), dtype=np.float32)
    return _mapped(rows, corners, picture, None)


def _picture_and_tint(mesh: Any) -> tuple[Any, np.ndarray | None]:
    """The PIL image of a mesh's material, and the linear RGB that multiplies it where that is not white."""
    material = getattr(getattr(mesh, "visual", None), "material", None)
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    factor = getattr(material, "baseColorFactor", None)
    if factor is None:
        return image, None
    tint = np.asarray(factor)
    # trimesh keeps it as bytes.
    tint = (tint / 255.0 if tint.dtype.kind == "u" else tint.astype(np.float64))[:3]
    return image, None if np.allclose(tint, 1.0) else tint


def _fit_together(uv: np.ndarray, faces: np.ndarray) -> bool:
    shaped = uv.ndim == 2 and uv.shape[1:] == (2,) and faces.ndim == 2 and bool(len(faces))
    return shaped and bool(np.isfinite(uv).all()) and 0 <= faces.min() and faces.max() < len(uv)


def _mapped(uv: np.ndarray, faces: np.ndarray, picture: np.ndarray | None, file: Path | None) -> UvMap:
    """Triangles that lie on a repetition of the picture are moved onto the picture, which repeats without end."""
    if uv.min() >= 0.0 and uv.max() <= 1.0:
        return UvMap(uv, faces, picture, file)
    corners = uv[faces]
    corners = corners - np.floor(corners.mean(axis=1, keepdims=True))
    return UvMap(corners.reshape(-1, 2), np.arange(faces.size).reshape(-1, 3), picture, file)


def _named_picture(path: Path, libraries: list[str], used: set[str]) -> Path | None:
    """The one picture of the materials that the faces use."""
    if not used:
        return None
    pictures: dict[str, Path] = {}
    for name in libraries:
        library = path.parent / name.replace("\\", "/")
        if library.is_file():
            pictures |= _pictures_in(library)
        else:
            _log.warning("%s: its material file %s is not there; the mesh has no texture.", path, library)
    found = {pictures[name] for name in used if name in pictures}
    if len(found) > 1 or (found and not used <= pictures.keys()):
        _log.warning("%s: its faces use several materials, and only one picture for all is drawn.", path)
        return None
    return next(iter(found), None)


def _pictures_in(library: Path) -> dict[str, Path]:
    """`map_Kd` of each material in an .mtl file."""
    out: dict[str, Path] = {}
    material = ""
    for line in library.read_text(encoding="utf-8", errors="replace").splitlines():
        kind, rest = _halves(line)
        if kind == "newmtl":
            material = rest
        elif kind.lower() == "map_kd" and (name := _without_options(rest)):
            out[material] = library.parent / name.replace("\\", "/")
    return out


def _without_options(text: str) -> str:
    """The file name behind options such as `-s 1 1 1` or `-clamp on`; it may hold spaces."""
    while text.startswith("-"):
        text = _halves(text)[1]
        while _is_value(_halves(text)[0]):
            text = _halves(text)[1]
    return text


def _halves(line: str) -> tuple[str, str]:
    """The first word, and what follows it."""
    word, *rest = line.split(maxsplit=1) or [""]
    return word, "".join(rest).strip()


def _is_value(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return word in ("on", "off")
    return True


def _opened(path: Path, file: Path) -> np.ndarray | None:
    try:
        return np.asarray(read_image(file))
    except InputError as error:
        _log.warning("%s: its texture is left out. %s", path, error)
        return None
