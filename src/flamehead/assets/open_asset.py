"""The one door to every file of the FLAME world: what it is, by its content, and what it holds."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from flamehead._types import StrPath
from flamehead.assets._mat5 import is_mat5
from flamehead.assets.embeddings import contour_in, embeddings_in, eyes_in
from flamehead.assets.kinds import Asset, LandmarkFile, Regions
from flamehead.assets.masks import masks_in
from flamehead.assets.points_and_maps import is_picked_points, points_in, read_picked_points
from flamehead.assets.read_bfm import is_bfm2009, is_bfm2017, read_bfm, read_bfm_correspondence
from flamehead.assets.read_checkpoint import is_checkpoint_zip, is_legacy_checkpoint, read_checkpoint
from flamehead.assets.read_model import is_model, model_in, read_model
from flamehead.assets.read_templates import is_obj, read_template
from flamehead.assets.read_texels import bfm_texels_in, offsets_in, read_mask_image, read_uv_masks, texels_in
from flamehead.assets.read_textures import is_texture, read_albedo, read_bfm_albedo, read_texture
from flamehead.assets.safe_numpy import is_npy, is_zip, npz_headers, opened_npz, parse_npy, read_npz
from flamehead.assets.safe_pickle import read_bytes, unpickle
from flamehead.assets.safetensors import is_safetensors
from flamehead.errors import InputError

__all__ = ["BigKind", "Sniffed", "open_asset", "sniff"]

BigKind = Literal[
    "model",
    "texture",
    "albedo",
    "bfm albedo",
    "uv masks",
    "bfm correspondence",
    "bfm",
    "checkpoint",
    "template",
    "mask image",
    "picked points",
]
"""Kinds that show in the first bytes or in a directory, so that a big file need not be read to be recognised."""

_BFM_KEYS = frozenset({"BFM2017_corr", "BFM2009_corr", "BFM2009_cropped_corr"})
_MOST_SMALL = 2**22


class Sniffed(NamedTuple):
    """What a file is, before it is opened as that."""

    kind: BigKind | Literal["entries", "nothing"]
    content: object = None
    """The value in a small file, for `entries`."""


def open_asset(path: StrPath, *, n_components: int = 50, variant: str = "unknown") -> Asset:
    """Open any file that FLAME's programs use; the content decides what it is, never the name.

    Nothing in a file is executed. What is returned is one frozen dataclass for each kind of file, in one convention:
    metres, RGB in [0, 1], ids from 0; `docs/assets.md` lists the kinds.

    Args:
        path: the file.
        n_components: how many components of a texture space to keep.
        variant: the release of a model, for files that do not say it; see `read_model`.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that a FLAME file never needs.
        MissingExtra: it is an HDF5 file and h5py is not installed.
        InputError: it is damaged or nothing that we know; the message names file, key, found and wanted.

    Example:
        >>> import tempfile, numpy as np
        >>> file = tempfile.mkdtemp() + "/l_eyelid.npy"
        >>> np.save(file, np.zeros((5023, 3)))
        >>> open_asset(file).side
        'left'
    """
    seen = sniff(path)
    if seen.kind == "model":
        return read_model(path, variant=variant)
    if seen.kind in ("texture", "albedo", "bfm albedo"):
        read = {"texture": read_texture, "albedo": read_albedo, "bfm albedo": read_bfm_albedo}[seen.kind]
        return read(path, n_components=n_components)
    if seen.kind in _READERS:
        return _READERS[seen.kind](path)
    found = entries_asset(seen.content, path, variant=variant) if seen.kind == "entries" else None
    if found is None:
        raise InputError(f"{path} is no file of the FLAME world that we know; see docs/assets.md for those that are.")
    return found


def sniff(path: StrPath) -> Sniffed:
    """What a file is, by its first bytes, its directory, or for small files its content.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that a FLAME file never needs.
        InputError: it is damaged.
    """
    file = Path(path)
    if not file.is_file() or file.stat().st_size == 0:
        read_bytes(file)  # Says what is wrong.
    with file.open("rb") as stream:
        start = stream.read(256)
    if is_zip(start):
        return _sniff_zip(file)
    if is_safetensors(start):
        return Sniffed("model")
    if start.startswith(b"\x89HDF"):
        return Sniffed("bfm" if is_bfm2017(file) else "nothing")
    if start.startswith(b"\x89PNG"):
        return Sniffed("mask image" if _is_square(start) else "nothing")
    if is_mat5(start):
        return Sniffed("bfm" if is_bfm2009(file) else "nothing")
    if is_picked_points(start):
        return Sniffed("picked points")
    if is_legacy_checkpoint(start):
        return Sniffed("checkpoint")
    if is_obj(start):
        return Sniffed("template")
    data = read_bytes(file)
    return Sniffed("entries", parse_npy(data, str(path)) if is_npy(start) else unpickle(data, str(path)))


def entries_asset(content: object, path: StrPath, *, variant: str = "unknown") -> Asset | None:
    """What the value in a pickle or in an `.npy` file is; None when it is nothing we know."""
    name = str(path)
    if isinstance(content, Mapping) and is_model(content):
        return model_in(content, name, variant=variant)
    if sets := embeddings_in(content, name):
        return LandmarkFile(sets, contour_in(content, name), eyes_in(content, name))
    if masks := masks_in(content, name):
        return Regions(masks)
    looks: tuple[Callable[[object, str], Asset | None], ...] = (contour_in, texels_in, bfm_texels_in)
    for look in (*looks, offsets_in, points_in):
        if (found := look(content, name)) is not None:
            return found
    return None


def _sniff_zip(path: Path) -> Sniffed:
    with opened_npz(path) as archive:
        if is_checkpoint_zip(archive.namelist()):
            return Sniffed("checkpoint")
    headers = npz_headers(path)
    keys = headers.keys()
    if is_model(headers):
        return Sniffed("model")
    if is_texture(headers):
        return Sniffed("texture" if "tex_dir" in keys else "albedo" if "specMU" in keys else "bfm albedo")
    if _BFM_KEYS & keys:
        return Sniffed("bfm correspondence")
    if {"scalp", "face", "neck"} <= keys:
        return Sniffed("uv masks")
    if {"lmk_face_idx", "landmark_indices"} <= keys:
        return Sniffed("entries", read_npz(path, most=_MOST_SMALL))
    return Sniffed("nothing")


def _is_square(start: bytes) -> bool:
    width, height = struct.unpack(">II", start[16:24]) if len(start) >= 24 else (0, 1)
    return width == height


_READERS: dict[str, Callable[[StrPath], Asset]] = {
    "uv masks": read_uv_masks,
    "bfm correspondence": read_bfm_correspondence,
    "bfm": read_bfm,
    "checkpoint": read_checkpoint,
    "template": read_template,
    "mask image": read_mask_image,
    "picked points": read_picked_points,
}
