"""What DECA's decoder needs besides the networks: a texture layout, a mask, a fixed displacement, the dense mesh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from flamehead._types import StrPath
from flamehead.assets import (
    BfmAlbedo,
    DisplacementMap,
    TexelTable,
    TextureSpace,
    UvMaskImage,
    open_asset,
    read_template,
)
from flamehead.builtin import builtin_head
from flamehead.errors import AssetNotFound, InputError

__all__ = ["UV_SIDE", "DecaAssets", "builtin_deca_assets", "read_deca_assets"]

UV_SIDE = 256
_TEXTURES = ("FLAME_albedo_from_BFM.npz", "FLAME_texture.npz")
_N_TEX = 50
_FACE = ("face", "eye_region", "lips", "nose", "forehead", "left_eyeball", "right_eyeball")
_SOFT = 3.0
"""Texels over which the built-in mask fades out."""


@dataclass(frozen=True)
class DecaAssets:
    """Tables on the texture of 256 x 256 texels; row 0 at v = 1."""

    uv: Float[np.ndarray, "T 2"]
    uv_faces: Int[np.ndarray, "F 3"]
    mask: Float[np.ndarray, "256 256"]
    """Face and eyes, 0..1: where details and the photo's texture are used."""
    displacement: Float[np.ndarray, "256 256"]
    """Added everywhere, metres."""
    dense: TexelTable | None = None
    """DECA's own table of the dense mesh; without it one is made from the layout."""
    albedo: BfmAlbedo | TextureSpace | None = None
    source: str = ""
    """Where the tables came from."""


def builtin_deca_assets() -> DecaAssets:
    """The built-in head's layout and face, no fixed displacement and no albedo."""
    from scipy.ndimage import gaussian_filter

    from flamehead.builtin.uv_masks import find_texels

    head = builtin_head()
    texels = find_texels(head.uv, head.uv_faces, UV_SIDE)
    chosen = np.zeros(len(head.arrays.template), dtype=bool)
    for name in _FACE:
        chosen[head.regions[name]] = True
    inside = np.append(chosen[head.arrays.faces].all(axis=1), False)[texels.face_ids]
    return DecaAssets(
        head.uv,
        head.uv_faces,
        gaussian_filter(inside.astype(np.float64), _SOFT),
        np.zeros((UV_SIDE, UV_SIDE)),
        source=head.arrays.source,
    )


def read_deca_assets(folder: StrPath) -> DecaAssets:
    """The files of DECA's `data` folder: `head_template.obj`, `uv_face_eye_mask.png`, `fixed_displacement_256.npy`, and
    where they are there `texture_data_256.npy` and `FLAME_albedo_from_BFM.npz` or `FLAME_texture.npz`.

    Raises:
        AssetNotFound: one of the first three is missing.
        InputError: one is damaged or something else.
    """
    base = Path(folder)
    template = read_template(_needed(base, "head_template.obj"))
    if template.uv is None or template.uv_faces is None:
        raise InputError(
            f"{base / 'head_template.obj'} has no texture coordinates; MICA's file of this name has none: use DECA's."
        )
    mask = open_asset(_needed(base, "uv_face_eye_mask.png"))
    displacement = open_asset(_needed(base, "fixed_displacement_256.npy"))
    if not isinstance(mask, UvMaskImage) or mask.mask.shape != (UV_SIDE, UV_SIDE):
        raise InputError(f"{base / 'uv_face_eye_mask.png'} is no mask of 256 x 256 texels; use DECA's.")
    if not isinstance(displacement, DisplacementMap) or displacement.offsets.shape != (UV_SIDE, UV_SIDE):
        raise InputError(f"{base / 'fixed_displacement_256.npy'} is no map of 256 x 256 texels; use DECA's.")
    return DecaAssets(
        template.uv,
        template.uv_faces,
        np.asarray(mask.mask, dtype=np.float64),
        np.asarray(displacement.offsets, dtype=np.float64),
        dense=_dense(base / "texture_data_256.npy"),
        albedo=_albedo(base),
        source=str(base),
    )


def _needed(base: Path, name: str) -> Path:
    if not (base / name).is_file():
        raise AssetNotFound(
            f"There is no {name} in {base}; pass DECA's folder `data` (https://github.com/yfeng95/DECA), or leave it "
            "out to use the built-in head's layout."
        )
    return base / name


def _dense(path: Path) -> TexelTable | None:
    if not path.is_file():
        return None
    table = open_asset(path)
    if not isinstance(table, TexelTable) or table.size != UV_SIDE or table.dense_faces is None:
        raise InputError(f"{path} is no table of DECA's dense mesh; use DECA's, or remove it to have one made.")
    return table


def _albedo(base: Path) -> BfmAlbedo | TextureSpace | None:
    path = next((base / name for name in _TEXTURES if (base / name).is_file()), None)
    found = None if path is None else open_asset(path, n_components=_N_TEX)
    if found is not None and not isinstance(found, BfmAlbedo | TextureSpace):
        raise InputError(f"{path} is no texture model; use the one that its name promises, or remove it.")
    return found
