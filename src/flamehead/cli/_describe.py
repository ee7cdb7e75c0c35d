"""What `flamehead assets describe` says of a file: FLAME's files, flamehead's own, and meshes."""

from __future__ import annotations

import math
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.cli._usage import FlameVariant

__all__ = ["describe_file"]

_MESHES = (".ply", ".glb", ".stl", ".off")
"""OBJ is not among them: templates of FLAME are such files, and go first."""
_UNKNOWN = "not a FLAME file, nor a mesh or parameters that flamehead knows"
_PICKLED = (".pkl", ".npy", ".npz", ".tar", ".pth", ".pt", ".mat", ".h5", ".safetensors")
"""Where a file that cannot be opened is worth a reason: it was meant to be one of FLAME's."""


def describe_file(path: Path, *, variant: FlameVariant) -> tuple[str, bool]:
    """What a file is in a few words, and whether it can be used."""
    # Not from the room itself, where `identify` is the file of that name.
    from flamehead.assets.identify import identify

    suffix = path.suffix.lower()
    try:
        if suffix in _MESHES:
            return _mesh(path), True
        asset = identify(path, any_name=True, variant=variant)
        if asset is None and suffix == ".npz":
            return _own(path)
    except InputError as error:
        return str(error), False
    if suffix == ".obj" and (asset is None or asset.problem):
        try:
            return _mesh(path), True
        except InputError as error:
            return str(error), False
    if asset is not None and asset.problem and suffix == ".npz" and not zipfile.is_zipfile(path):
        return f"{path} is no npz file, or a damaged one; download or write it again.", False
    if asset is None or (asset.problem and suffix not in _PICKLED and _first_byte(path) != b"\x80"):
        return _UNKNOWN, False
    return asset.problem or asset.description, not asset.problem


def _first_byte(path: Path) -> bytes:
    """0x80 in every pickle of protocol 2 or later."""
    with path.open("rb") as file:
        return file.read(1)


def _mesh(path: Path) -> str:
    from flamehead.io import read_mesh

    mesh = read_mesh(path, texture=True)
    kind = "a mesh" if len(mesh.faces) else "a point cloud"
    said = f"{kind}: {len(mesh.vertices)} vertices, {len(mesh.faces)} faces"
    if mesh.uv_map is not None:
        size = None if mesh.uv_map.picture is None else mesh.uv_map.picture.shape
        return f"{said}, texture coordinates" + ("" if size is None else f", a texture of {size[1]} x {size[0]} pixels")
    return said + ("" if mesh.colors is None else ", a colour for each vertex")


def _own(path: Path) -> tuple[str, bool]:
    """Parameters or landmarks that flamehead wrote."""
    import torch

    from flamehead.io import load_params

    with zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
    if {"points", "fitted", "scheme"} <= names:
        return "flamehead landmarks of a photo", True
    if not {"format", "fingerprint", "shape"} <= names:
        return _UNKNOWN, False
    saved = load_params(path)
    values = (getattr(saved.params, field.name) for field in fields(saved.params))
    batch = torch.broadcast_shapes(*(value.shape[:-1] for value in values))
    heads = f"{math.prod(batch)} heads, " if batch else ""
    source = f" of {saved.model_source}" if saved.model_source else ""
    return f"flamehead parameters ({heads}fingerprint {saved.fingerprint}{source})", True
