"""Write texture spaces and UV masks in the official layouts. Every file is written whole or not at all.

Colours come in as RGB in [0, 1] and are stored as the official files have them: channels reversed, and the texture
space in 0..255. Programs assume the official number of components, so that a smaller basis is filled up with zeros,
which compression takes out again; blocks of rows keep the memory small.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.assets.legacy_pickle import write_legacy_npy
from flamehead.errors import InputError

__all__ = ["write_albedo_space", "write_texels", "write_texture_space", "write_uv_masks"]

_TEXTURE_COLUMNS = 200
_ALBEDO_COLUMNS = 145
_ROWS = 16
"""Rows of texels that are in memory at a time."""


def write_texture_space(
    path: StrPath,
    mean: Float[np.ndarray, "H W 3"],
    basis: Float[np.ndarray, "H W 3 K"],
    *,
    uv: Float[np.ndarray, "T 2"],
    uv_faces: Int[np.ndarray, "F 3"],
    names: Sequence[str] = (),
) -> None:
    """Write a display (gamma) sRGB texture space like `FLAME_texture.npz`: texture = mean + tex_dir * c.

    Args:
        path: the file, ending in `.npz`.
        mean: sRGB, row 0 at v = 1.
        basis: change of sRGB per standard deviation.
        uv: v up.
        uv_faces: UV corners of each triangle.
        names: of the components, stored beside the official entries.
    """
    with _archive(path) as archive:
        _add(archive, "mean", 255.0 * mean[..., ::-1].astype(np.float64))
        _add_basis(archive, "tex_dir", basis, _TEXTURE_COLUMNS, 255.0)
        _add_layout(archive, uv, uv_faces, names)


def write_albedo_space(
    path: StrPath,
    diffuse: tuple[Float[np.ndarray, "H W 3"], Float[np.ndarray, "H W 3 K"]],
    specular: tuple[Float[np.ndarray, "H W 3"], Float[np.ndarray, "H W 3 K"]],
    *,
    uv: Float[np.ndarray, "T 2"],
    uv_faces: Int[np.ndarray, "F 3"],
    names: Sequence[str] = (),
) -> None:
    """Write a linear albedo space like AlbedoMM's: diffuse = MU + PC * c, specular = specMU + specPC * c.

    Args:
        path: the file, ending in `.npz`.
        diffuse: mean and basis, linear RGB, row 0 at v = 1.
        specular: likewise, of the same coefficients.
        uv: v up.
        uv_faces: UV corners of each triangle.
        names: of the components, stored beside the official entries.
    """
    with _archive(path) as archive:
        for prefix, (mean, basis) in (("", diffuse), ("spec", specular)):
            _add(archive, f"{prefix}MU", mean[..., ::-1].astype(np.float64))
            _add_basis(archive, f"{prefix}PC", basis, _ALBEDO_COLUMNS, 1.0)
        _add_layout(archive, uv, uv_faces, names)


def write_uv_masks(path: StrPath, masks: Mapping[str, Bool[np.ndarray, "H W"]]) -> None:
    """Write boolean images of the texture's regions, row 0 at v = 1, like `uv_masks.npz`."""
    with _archive(path) as archive:
        for name, mask in masks.items():
            _add(archive, name, mask.astype(bool))


def write_texels(
    path: StrPath,
    face_ids: Int[np.ndarray, "R R"],
    barycentric: Float[np.ndarray, "R R 3"],
    *,
    faces: Int[np.ndarray, "F 3"],
    uv: Float[np.ndarray, "T 2"],
    uv_faces: Int[np.ndarray, "F 3"],
) -> None:
    """Write what lies under each texel like `texture_data_256.npy`.

    Args:
        path: the file.
        face_ids: triangle under the texel in each row and column; -1 for none.
        barycentric: where in it.
        faces: triangles of the mesh.
        uv: v up.
        uv_faces: UV corners of each triangle.
    """
    size = len(face_ids)
    # Texels are listed column by column: x is the slow index.
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(size), np.arange(size), indexing="ij"))
    under = face_ids[y, x]
    valid = np.flatnonzero(under >= 0)
    entries: dict[str, object] = {
        "img_size": size,
        "x_coords": x + 0.5,
        "y_coords": y + 0.5,
        "valid_pixel_ids": valid,
        "valid_pixel_3d_faces": faces[under[valid]].astype(np.int64),
        "valid_pixel_b_coords": barycentric[y, x][valid].astype(np.float64),
        "vt": uv.astype(np.float64),
        "ft": uv_faces.astype(np.int64),
    }
    write_legacy_npy(path, entries, protocol=2)


@contextmanager
def _archive(path: StrPath) -> Iterator[zipfile.ZipFile]:
    if Path(path).suffix.lower() != ".npz":
        raise InputError(f"Cannot write {path}: the suffix is {Path(path).suffix!r}, wanted '.npz'.")
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        yield archive


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def _add_basis(
    archive: zipfile.ZipFile, name: str, basis: Float[np.ndarray, "H W 3 K"], columns: int, scale: float
) -> None:
    """Channels reversed, scaled, filled up with zeros to `columns`, float32."""
    *size, count = basis.shape
    if count > columns:
        raise InputError(f"Cannot write {name!r}: the basis has {count} components, wanted at most {columns}; cut it.")
    shape = (*size, columns)
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for row in range(0, size[0], _ROWS):
            part = basis[row : row + _ROWS, :, ::-1]
            block = np.zeros((*part.shape[:-1], columns), dtype="<f4")
            np.multiply(part, scale, out=block[..., :count], casting="same_kind")
            file.write(block.data)


def _add_layout(
    archive: zipfile.ZipFile, uv: Float[np.ndarray, "T 2"], uv_faces: Int[np.ndarray, "F 3"], names: Sequence[str]
) -> None:
    _add(archive, "vt", uv.astype(np.float64))
    _add(archive, "ft", uv_faces.astype(np.int32))
    if names:
        _add(archive, "names", np.array(names, dtype=np.str_))
