"""Say what an asset file is, by its content and cheaply; names and suffixes only decide whether to look."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from flamehead.assets.fingerprint import BUILTIN
from flamehead.assets.kinds import (
    Asset,
    BfmTexels,
    Checkpoint,
    DisplacementMap,
    EyelidOffsets,
    ImageLandmarks,
    LandmarkFile,
    PickedPoints,
    Regions,
    ScanLandmarks,
    Segmentation,
    Template,
    TexelTable,
    UvMaskImage,
    UvMasks,
)
from flamehead.assets.model_file import ContourEmbedding, FlameArrays
from flamehead.assets.open_asset import BigKind, entries_asset, open_asset, sniff
from flamehead.assets.read_model import is_model
from flamehead.assets.read_textures import describe_texture, is_ours
from flamehead.assets.releases import UNCLEAR, recognise_release
from flamehead.errors import FlameheadError, MissingExtra

__all__ = ["AssetKind", "FoundAsset", "identify"]

AssetKind = Literal[
    "model",
    "landmarks",
    "contour",
    "masks",
    "texture",
    "texels",
    "uv masks",
    "mask image",
    "displacement",
    "eyelid",
    "template",
    "bfm",
    "bfm conversion",
    "checkpoint",
    "points",
    "unreadable",
]

_LOOKED_AT = (".pkl", ".npz", ".npy", ".obj", ".safetensors", ".mat", ".h5", ".tar", ".png", ".pp")
_OURS = (".pkl", ".npz", ".npy")
_N_VERTICES, _N_FACES = 5023, 9976
_NON_COMMERCIAL = "non-commercial research"
_BFM = "the Basel Face Model's: research only"


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
    release: str = ""
    """The release of a model, as far as it is known."""
    licence: str = ""
    """Under which terms it is handed out."""
    place: str = ""
    """The folder that was searched, or the repository whose layout it lies in."""
    built_in: bool = False
    """Whether it is our own head in an official format, which stands in for no licensed file."""


def identify(path: Path, *, any_name: bool = False, variant: str = "unknown") -> FoundAsset | None:
    """What a file is; None when it is nothing we know. Never raises for a bad file: the problem is in the result.

    Args:
        path: the file.
        any_name: look at files whose names say that they are something else, too.
        variant: the release of a model that does not say it.
    """
    if not path.is_file() or not (any_name or _worth_a_look(path)):
        return None
    try:
        seen = sniff(path)
        if seen.kind == "nothing":
            return None
        if seen.kind == "entries":
            return _identify_entries(path, seen.content, variant)
        return _identify_big(path, seen.kind, variant)
    except (FlameheadError, OSError) as error:
        # Other programs use some of these suffixes as well, so that what is in them is not a damaged FLAME file.
        if not any_name and path.suffix.lower() not in _OURS and not path.stem.lower().startswith(("mica", "deca")):
            return None
        return FoundAsset(path, "unreadable", "file that cannot be opened", "nothing", str(error))


def _worth_a_look(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in _LOOKED_AT and (suffix != ".png" or "mask" in path.stem.lower())


def _identify_entries(path: Path, content: object, variant: str) -> FoundAsset | None:
    try:
        asset = entries_asset(content, path, variant=variant)
    except FlameheadError as error:
        if not is_model(content):
            raise
        return FoundAsset(path, "model", "FLAME model", "nothing", str(error))
    return None if asset is None else _described(path, asset)


def _identify_big(path: Path, kind: BigKind, variant: str) -> FoundAsset | None:
    """Files that are known by their first bytes; what is too big to be read for a description is not."""
    if kind == "bfm":
        return FoundAsset(path, "bfm", "Basel Face Model", "converting Basel Face Model faces", licence=_BFM)
    if kind == "bfm correspondence":
        name, enables = "BFM to FLAME correspondence", "converting Basel Face Model meshes"
        return FoundAsset(path, "bfm conversion", name, enables, licence=_BFM)
    if kind in ("texture", "albedo", "bfm albedo"):
        return _texture(path, kind)
    try:
        return _described(path, open_asset(path, variant=variant))
    except MissingExtra:
        return None
    except FlameheadError as error:
        if kind in ("mask image", "template"):
            return None  # Some picture, some mesh.
        place: AssetKind = "model" if kind == "model" else "unreadable"
        what = "FLAME model" if kind == "model" else "file that cannot be opened"
        return FoundAsset(path, place, what, "nothing", str(error))


def _texture(path: Path, kind: str) -> FoundAsset:
    if is_ours(path):
        name = f"{kind} space of flamehead's built-in head (MIT licence)"
        enables = "colours of the built-in head in other programs"
        return FoundAsset(path, "texture", name, enables, built_in=True, licence="MIT")
    what, licence = {
        "texture": ("FLAME texture space", "CC-BY-NC-SA-4.0"),
        "albedo": ("AlbedoMM albedo space", "academic research only"),
        "bfm albedo": ("albedo space converted from BFM", _BFM),
    }[kind]
    enables = "a face texture in photometric fits" if kind == "texture" else "a face albedo in photometric fits"
    try:
        sizes = describe_texture(path)
    except FlameheadError as error:
        return FoundAsset(path, "texture", what, "nothing", str(error), licence=licence)
    if kind == "bfm albedo" and not sizes.startswith("512 "):
        return FoundAsset(path, "texture", f"inpainting space of BFM, {sizes}", "filling that albedo", licence=_BFM)
    return FoundAsset(path, "texture", f"{what} ({licence}), {sizes}", enables, licence=licence)


def _described(path: Path, asset: Asset) -> FoundAsset | None:
    """An opened file in words."""
    if isinstance(asset, FlameArrays):
        return _model(path, asset)
    if isinstance(asset, LandmarkFile):
        names = " and ".join(sorted(asset.sets))
        more = " with the sliding contour" if asset.contour else ""
        more += " and eye centres" if asset.eyes else ""
        return FoundAsset(path, "landmarks", f"landmark embedding {names}{more}", f"fits to {names} landmarks")
    if isinstance(asset, ContourEmbedding):
        return FoundAsset(path, "contour", "table of the sliding jaw contour", "the view-dependent jaw line")
    if isinstance(asset, Regions):
        found = FoundAsset(path, "masks", f"{len(asset.vertices)} vertex masks", "named regions of the official mesh")
        return replace(found, licence=UNCLEAR)
    if isinstance(asset, Template):
        return _template(path, asset)
    if isinstance(asset, Checkpoint):
        return _checkpoint(path, asset)
    return _small(path, asset)


def _model(path: Path, arrays: FlameArrays) -> FoundAsset:
    if arrays.fingerprint.startswith(BUILTIN):
        sizes = f"{arrays.shape_basis.shape[-1]} shape and {arrays.expression_basis.shape[-1]} expression coefficients"
        name = f"flamehead's built-in head (MIT licence); {sizes}; fingerprint {arrays.fingerprint}"
        return FoundAsset(path, "model", name, "the built-in head in other programs", built_in=True, licence="MIT")
    with path.open("rb") as stream:
        release = recognise_release(path, arrays.variant, digest=hashlib.file_digest(stream, "sha256").hexdigest())
    sizes = f"{arrays.shape_basis.shape[-1]} shape and {arrays.expression_basis.shape[-1]} expression coefficients"
    return FoundAsset(
        path,
        "model",
        f"FLAME model, release: {release.name}; licence: {release.licence}; {sizes}; fingerprint {arrays.fingerprint}",
        "`--model` with licensed FLAME geometry",
        release=release.name,
        licence=release.licence,
    )


def _template(path: Path, template: Template) -> FoundAsset | None:
    if (len(template.vertices), len(template.faces)) != (_N_VERTICES, _N_FACES):
        return None
    if template.uv is None:
        return FoundAsset(path, "template", "FLAME template without UV coordinates", "a reference mesh")
    return FoundAsset(path, "template", "FLAME template with UV coordinates", "official UV coordinates")


def _checkpoint(path: Path, checkpoint: Checkpoint) -> FoundAsset | None:
    if checkpoint.network == "unknown":
        return None
    parts = ", ".join(f"{name} ({count} tensors)" for name, count in checkpoint.parts.items())
    enables = "a face shape from one photo" if checkpoint.network == "MICA" else "a head with expression from one photo"
    description = f"checkpoint of {checkpoint.network}: {parts}"
    return FoundAsset(path, "checkpoint", description, enables, licence=_NON_COMMERCIAL)


def _small(path: Path, asset: Asset) -> FoundAsset | None:
    kind: AssetKind = "points"
    if isinstance(asset, EyelidOffsets):
        words = "vertex offsets, such as an eyelid of metrical-tracker", "closing the eyelids"
        kind = "eyelid"
    elif isinstance(asset, TexelTable):
        words = f"points under the texels of a {asset.size} x {asset.size} texture", "dense meshes from textures"
        kind = "texels"
    elif isinstance(asset, BfmTexels):
        words = "points of BFM 2017 under the texels of FLAME", "converting Basel Face Model colours"
        kind = "bfm conversion"
    elif isinstance(asset, UvMasks):
        words, kind = (f"{len(asset.masks)} UV masks", "regions in texture space"), "uv masks"
    elif isinstance(asset, UvMaskImage):
        words, kind = ("mask in texture space", "a region in texture space"), "mask image"
    elif isinstance(asset, DisplacementMap):
        words, kind = ("displacements along the normals", "DECA's detailed meshes"), "displacement"
    elif isinstance(asset, PickedPoints):
        words = f"{len(asset.names)} points picked in MeshLab", "scan registration"
    elif isinstance(asset, ScanLandmarks):
        words = "51 landmarks of a scan", "scan registration"
    elif isinstance(asset, ImageLandmarks):
        words = "68 landmarks of a photo, pixels", "fits to landmarks from a file"
    elif isinstance(asset, Segmentation):
        words = "classes of a photo's pixels", "photometric fits"
    else:
        return None
    return FoundAsset(path, kind, *words)
