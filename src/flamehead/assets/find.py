"""Look for official files: beside a model, and in the folders of the user."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import numpy as np
from jaxtyping import Float, Int

from flamehead._types import StrPath
from flamehead.assets.embeddings import contour_in, embeddings_in
from flamehead.assets.identify import FoundAsset, identify
from flamehead.assets.masks import masks_in
from flamehead.assets.model_file import ContourEmbedding, LandmarkEmbedding
from flamehead.assets.read_texels import offsets_in
from flamehead.assets.safe_numpy import is_npy, is_zip, parse_npy, read_npz
from flamehead.assets.safe_pickle import read_bytes, unpickle
from flamehead.assets.wanted import LAYOUTS, WANTED, WantedAsset
from flamehead.errors import FlameheadError

__all__ = ["Beside", "doctor", "find_beside", "missing"]

_LARGEST_BESIDE = 2**22
_MOST_BESIDE = 1000
_DEEPEST = 4
_MOST_FILES = 5000
_MOST_IN_LAYOUT = 500
_MOST_CLONES = 200
_SKIPPED = frozenset({".git", "__pycache__", "node_modules", "site-packages", ".venv", "venv"})
_TELLING = {
    sub: name for name, subs in LAYOUTS for sub in subs if "/" in sub and sum(sub in other for _, other in LAYOUTS) == 1
}
"""Folders that only one program has."""


class Beside(TypedDict):
    """What was found in a model's folder."""

    embeddings: dict[str, LandmarkEmbedding]
    regions: dict[str, Int[np.ndarray, "N"]]
    contour: ContourEmbedding | None
    eyelids: Float[np.ndarray, "2 V 3"] | None
    """Left and right, where both are there under names that say which is which."""


def find_beside(model_path: StrPath) -> Beside:
    """Landmark embeddings, contour, eyelids and masks in the folder of a model; the content of small files decides.

    Files that cannot be opened are passed over: `doctor` tells about them. Two official files hold the 51 fixed points,
    differently; the one that holds the 68 as well goes first, so that both sets agree. Otherwise the first by name.
    """
    beside = Beside(embeddings={}, regions={}, contour=None, eyelids=None)
    sets: list[dict[str, LandmarkEmbedding]] = []
    lids: dict[str, np.ndarray] = {}
    for path in sorted(Path(model_path).absolute().parent.iterdir())[:_MOST_BESIDE]:
        small = path.is_file() and path.stat().st_size <= _LARGEST_BESIDE
        if not small or path.suffix.lower() not in (".pkl", ".npy", ".npz"):
            continue
        try:
            content = _open_small(path)
            embeddings, regions = embeddings_in(content, str(path)), masks_in(content, str(path))
            contour = contour_in(content, str(path))
            if (lid := offsets_in(content, path)) is not None:
                lids.setdefault(lid.side, lid.offsets)
        except (FlameheadError, OSError):
            continue
        sets.append(embeddings)
        beside["contour"] = beside["contour"] or contour
        beside["regions"] = regions | beside["regions"]
    for embeddings in sorted(reversed(sets), key=len):
        beside["embeddings"] |= embeddings
    if {"left", "right"} <= lids.keys():
        beside["eyelids"] = np.stack([lids["left"], lids["right"]])
    return beside


def doctor(folders: Iterable[StrPath], *, variant: str = "unknown") -> list[FoundAsset]:
    """Every file of the FLAME world below some folders, with what it enables or what is wrong with it.

    Looks first where known programs keep their files, then at most four folders deep and at five thousand files; opens
    nothing unsafe. Photos' landmarks and the like, which are a user's own, are left out.

    Args:
        folders: where to look.
        variant: the release of models that do not say it.
    """
    found, seen = [], set()
    for top in (Path(folder).expanduser() for folder in folders):
        for path in _files(top):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                asset = identify(path, variant=variant)
                if asset is not None and asset.kind != "points":
                    found.append(replace(asset, place=_program(path) or str(top)))
    return found


def missing(found: Iterable[FoundAsset]) -> list[WantedAsset]:
    """What the user could still get. A usable file of another name serves when it enables the same."""
    usable = [asset for asset in found if not asset.problem and not asset.built_in]

    def served(wanted: WantedAsset) -> bool:
        alike = [asset for asset in usable if asset.kind == wanted.kind]
        if wanted.kind == "landmarks":
            scheme = "mediapipe105" if "mediapipe" in wanted.name else "ibug68"
            return any(scheme in asset.description for asset in alike)
        if wanted.kind in ("texture", "checkpoint"):
            return any(asset.enables == wanted.enables for asset in alike)
        if wanted.kind == "template":
            return any("UV" in asset.enables for asset in alike)
        return bool(alike)

    return [wanted for wanted in WANTED if not served(wanted)]


def _files(top: Path) -> Iterator[Path]:
    """Files in the layouts of known programs, then all others; some come twice."""
    clones = [top, *(item for item in _sorted(top)[:_MOST_CLONES] if item.is_dir())]
    for clone in clones:
        for _, subs in LAYOUTS:
            for sub in subs:
                yield from (item for item in _sorted(clone / sub)[:_MOST_IN_LAYOUT] if item.is_file())
    count = 0
    for place, inner, names in os.walk(top):
        if len(Path(place).relative_to(top).parts) >= _DEEPEST:
            inner.clear()
        inner[:] = sorted(name for name in inner if name not in _SKIPPED)
        for name in sorted(names):
            count += 1
            if count > _MOST_FILES:
                return
            yield Path(place) / name


def _sorted(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _program(path: Path) -> str:
    """The program in whose layout a file lies; empty when it is none that we know."""
    for folder in path.parents[:5]:
        for name, _ in LAYOUTS:
            if _plain(folder.name).startswith(_plain(name)):
                return name
    return next((name for sub, name in _TELLING.items() if path.parent.as_posix().endswith(f"/{sub}")), "")


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _open_small(path: Path) -> object:
    with path.open("rb") as stream:
        start = stream.read(8)
    if is_zip(start):
        return read_npz(path, most=_LARGEST_BESIDE)
    data = read_bytes(path, most=_LARGEST_BESIDE)
    return parse_npy(data, str(path)) if is_npy(start) else unpickle(data, str(path))
