"""Look for official files: beside a model, and in the folders of the user."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from jaxtyping import Int

from flamehead._types import StrPath
from flamehead.assets.embeddings import embeddings_in
from flamehead.assets.identify import AssetKind, FoundAsset, identify
from flamehead.assets.masks import masks_in
from flamehead.assets.model_file import LandmarkEmbedding
from flamehead.assets.safe_numpy import is_npy, is_zip, parse_npy, read_npz
from flamehead.assets.safe_pickle import read_bytes, unpickle
from flamehead.errors import FlameheadError

__all__ = ["WANTED", "Beside", "WantedAsset", "doctor", "find_beside", "missing"]

_LARGEST_BESIDE = 2**22
_MOST_BESIDE = 1000
_DEEPEST = 4
_MOST_FILES = 5000
_FLAME_SITE = "the FLAME site (free sign-up, accept its licence)"


class Beside(TypedDict):
    """What was found in a model's folder."""

    embeddings: dict[str, LandmarkEmbedding]
    regions: dict[str, Int[np.ndarray, "N"]]


@dataclass(frozen=True)
class WantedAsset:
    """A file that the user can get."""

    kind: AssetKind
    name: str
    """Name of the file or archive as published."""
    enables: str
    where: str
    """Who hands it out, and under which terms."""


WANTED = (
    WantedAsset(
        "model",
        "flame2023_Open.pkl",
        "licensed FLAME geometry, also for products",
        f"{_FLAME_SITE}: `FLAME 2023 Open`, the one release that is plainly CC-BY-4.0; treat every other one as "
        "non-commercial and not redistributable",
    ),
    WantedAsset(
        "landmarks",
        "landmark_embedding.npy",
        "fits to 68 landmarks with a licensed model",
        "the published code of DECA or of MICA (non-commercial licences)",
    ),
    WantedAsset(
        "landmarks",
        "mediapipe_landmark_embedding.npz",
        "fits to MediaPipe landmarks with a licensed model",
        f"{_FLAME_SITE}: `MediaPipe Landmark Embedding`",
    ),
    WantedAsset(
        "masks", "FLAME_masks.pkl", "named regions of the official mesh", f"{_FLAME_SITE}: `FLAME Vertex Masks`"
    ),
    WantedAsset(
        "texture",
        "FLAME_texture.npz",
        "a face texture in photometric fits",
        f"{_FLAME_SITE}: `FLAME texture space`, CC-BY-NC-SA-4.0, 1.3 GB",
    ),
    WantedAsset(
        "texture",
        "albedoModel2020_FLAME_albedoPart.npz",
        "a face albedo in photometric fits",
        "the releases of the AlbedoMM project (academic research only)",
    ),
)
"""What makes more possible than the built-in head alone; nothing of it is needed to begin."""


def find_beside(model_path: StrPath) -> Beside:
    """Landmark embeddings and vertex masks in the folder of a model; the content of small files decides.

    Files that cannot be opened are passed over: `doctor` tells about them. Two official files hold the 51 fixed points,
    differently; the one that holds the 68 as well goes first, so that both sets agree. Otherwise the first by name.
    """
    beside = Beside(embeddings={}, regions={})
    sets: list[dict[str, LandmarkEmbedding]] = []
    for path in sorted(Path(model_path).absolute().parent.iterdir())[:_MOST_BESIDE]:
        small = path.is_file() and path.stat().st_size <= _LARGEST_BESIDE
        if not small or path.suffix.lower() not in (".pkl", ".npy", ".npz"):
            continue
        try:
            content = _open_small(path)
            embeddings, regions = embeddings_in(content, str(path)), masks_in(content, str(path))
        except (FlameheadError, OSError):
            continue
        sets.append(embeddings)
        beside["regions"] = regions | beside["regions"]
    for embeddings in sorted(reversed(sets), key=len):
        beside["embeddings"] |= embeddings
    return beside


def doctor(folders: Iterable[StrPath]) -> list[FoundAsset]:
    """Every file of the FLAME world below some folders, with what it enables or what is wrong with it.

    Looks at most four folders deep and at five thousand files; opens nothing unsafe.
    """
    found, seen = [], set()
    for path in _files(folders):
        if path.resolve() not in seen:
            seen.add(path.resolve())
            if (asset := identify(path)) is not None:
                found.append(asset)
    return found


def missing(found: Iterable[FoundAsset]) -> list[WantedAsset]:
    """What the user could still get. A usable file of another name serves when it enables the same."""
    usable = [asset for asset in found if not asset.problem and not asset.built_in]

    def served(wanted: WantedAsset) -> bool:
        alike = [asset for asset in usable if asset.kind == wanted.kind]
        if wanted.kind == "landmarks":
            scheme = "mediapipe105" if "mediapipe" in wanted.name else "ibug68"
            return any(scheme in asset.description for asset in alike)
        if wanted.kind == "texture":
            return any(asset.enables == wanted.enables for asset in alike)
        return bool(alike)

    return [wanted for wanted in WANTED if not served(wanted)]


def _files(folders: Iterable[StrPath]) -> Iterator[Path]:
    count = 0
    for folder in folders:
        top = Path(folder).expanduser()
        for place, inner, names in os.walk(top):
            if len(Path(place).relative_to(top).parts) >= _DEEPEST:
                inner.clear()
            inner.sort()
            for name in sorted(names):
                count += 1
                if count > _MOST_FILES:
                    return
                yield Path(place) / name


def _open_small(path: Path) -> object:
    with path.open("rb") as stream:
        start = stream.read(8)
    if is_zip(start):
        return read_npz(path, most=_LARGEST_BESIDE)
    data = read_bytes(path, most=_LARGEST_BESIDE)
    return parse_npy(data, str(path)) if is_npy(start) else unpickle(data, str(path))
