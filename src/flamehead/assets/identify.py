"""Say what an asset file is, by its content and cheaply; names and suffixes only decide whether to look."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from flamehead.assets.embeddings import embeddings_in
from flamehead.assets.fingerprint import BUILTIN
from flamehead.assets.masks import masks_in
from flamehead.assets.read_model import is_model, read_model
from flamehead.assets.safe_numpy import is_npy, is_zip, npz_headers, parse_npy, read_npz
from flamehead.assets.safe_pickle import read_bytes, unpickle
from flamehead.errors import FlameheadError

__all__ = ["AssetKind", "FoundAsset", "identify"]

AssetKind = Literal[
    "model",
    "landmarks",
    "contour",
    "masks",
    "texture",
    "uv masks",
    "eyelid",
    "template",
    "bfm conversion",
    "unreadable",
]

_LOOKED_AT = (".pkl", ".npz", ".npy", ".obj")
_LARGEST = 2**28
"""Larger files are only identified when their directory of contents suffices (`.npz`)."""
_N_VERTICES = 5023

_RELEASES = {
    "efcd14cc4a69f3a3": "FLAME 2020, generic",
    "8fb1af0db1abb510": "FLAME 2023",
    "e75a0990728ba038": "FLAME 2023 Open (CC-BY-4.0)",
}
"""Starts of the SHA-256 of published files; for the description only."""


@dataclass(frozen=True)
class FoundAsset:
    """A file of the FLAME world on this machine."""

    path: Path
    kind: AssetKind
    description: str
    """What the file is, in a few words."""
    enables: str
    """What becomes possible with it."""
    problem: str = ""
    """Why it cannot be used, one sentence; empty when it can."""
    built_in: bool = False
    """Whether it is our own head in an official format, which stands in for no licensed file."""


def identify(path: Path) -> FoundAsset | None:
    """What a file is; None when it is nothing we know. Never raises for a bad file: the problem is in the result."""
    if path.suffix.lower() not in _LOOKED_AT or not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
        if is_zip(start):
            return _identify_npz(path)
        if path.stat().st_size > _LARGEST:
            return None
        if path.suffix.lower() == ".obj":
            return _identify_mesh(path)
        data = read_bytes(path)
        return _identify_entries(path, parse_npy(data, str(path)) if is_npy(start) else unpickle(data, str(path)))
    except (FlameheadError, OSError) as error:
        return FoundAsset(path, "unreadable", "file that cannot be opened", "nothing", str(error))


def _identify_npz(path: Path) -> FoundAsset | None:
    headers = npz_headers(path)
    keys = headers.keys()
    if is_model(headers):
        return _model(path)
    if {"lmk_face_idx", "landmark_indices"} <= keys:
        return _identify_entries(path, read_npz(path, most=2**22))
    if ({"mean", "tex_dir"} <= keys or {"MU", "PC"} <= keys) and "names" in keys:
        kind = "texture" if "tex_dir" in keys else "albedo"
        name = f"{kind} space of flamehead's built-in head (MIT licence)"
        return FoundAsset(path, "texture", name, "colours of the built-in head in other programs", built_in=True)
    if {"mean", "tex_dir"} <= keys:
        return FoundAsset(
            path, "texture", "FLAME texture space (CC-BY-NC-SA-4.0)", "a face texture in photometric fits"
        )
    if {"MU", "PC"} <= keys:
        name = "AlbedoMM albedo space (academic use only)" if "specMU" in keys else "albedo space converted from BFM"
        return FoundAsset(path, "texture", name, "a face albedo in photometric fits")
    if "BFM2017_corr" in keys:
        return FoundAsset(path, "bfm conversion", "BFM to FLAME correspondence", "converting Basel Face Model meshes")
    if {"scalp", "face", "neck"} <= keys:
        return FoundAsset(path, "uv masks", f"{len(keys)} UV masks", "regions in texture space")
    return None


def _identify_entries(path: Path, content: object) -> FoundAsset | None:
    for look in (_as_model, _as_landmarks, _as_masks, _as_contour, _as_eyelid):
        if (found := look(path, content)) is not None:
            return found
    return None


def _as_model(path: Path, content: object) -> FoundAsset | None:
    return _model(path) if is_model(content) else None


def _model(path: Path) -> FoundAsset:
    try:
        arrays = read_model(path)
    except FlameheadError as error:
        return FoundAsset(path, "model", "FLAME model", "nothing", str(error))
    sizes = f"{arrays.shape_basis.shape[-1]} shape and {arrays.expression_basis.shape[-1]} expression coefficients"
    if arrays.fingerprint.startswith(BUILTIN):
        name = f"flamehead's built-in head (MIT licence); {sizes}; fingerprint {arrays.fingerprint}"
        return FoundAsset(path, "model", name, "the built-in head in other programs", built_in=True)
    release = _RELEASES.get(_hash_start(path), "FLAME model; licence depends on the release, do not redistribute")
    description = f"{release}; {sizes}; fingerprint {arrays.fingerprint}"
    return FoundAsset(path, "model", description, "`--model` with licensed FLAME geometry")


def _as_landmarks(path: Path, content: object) -> FoundAsset | None:
    sets = embeddings_in(content, str(path))
    if not sets:
        return None
    names = " and ".join(sorted(sets))
    return FoundAsset(path, "landmarks", f"landmark embedding {names}", f"fits to {names} landmarks")


def _as_masks(path: Path, content: object) -> FoundAsset | None:
    masks = masks_in(content, str(path))
    if not masks:
        return None
    return FoundAsset(path, "masks", f"{len(masks)} vertex masks", "named regions of the official mesh")


def _as_contour(path: Path, content: object) -> FoundAsset | None:
    if not isinstance(content, dict) or not isinstance(content.get("lmk_face_idx"), list):
        return None
    rows = len(content["lmk_face_idx"])
    problem = "" if rows == 79 else f"{path} has {rows} rows, wanted 79; download it again."
    return FoundAsset(path, "contour", "table of the sliding jaw contour", "the view-dependent jaw line", problem)


def _as_eyelid(path: Path, content: object) -> FoundAsset | None:
    if not isinstance(content, np.ndarray) or content.shape != (_N_VERTICES, 3) or content.dtype.kind != "f":
        return None
    return FoundAsset(path, "eyelid", "vertex offsets, such as an eyelid of metrical-tracker", "closing the eyelids")


def _identify_mesh(path: Path) -> FoundAsset | None:
    lines = read_bytes(path, most=2**24).splitlines()

    def count(start: bytes) -> int:
        return sum(line.startswith(start) for line in lines)

    if count(b"v ") != _N_VERTICES or count(b"f ") != 9976:
        return None
    name = "FLAME template with UV coordinates" if count(b"vt ") else "FLAME template without UV coordinates"
    return FoundAsset(path, "template", name, "official UV coordinates" if count(b"vt ") else "a reference mesh")


def _hash_start(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
