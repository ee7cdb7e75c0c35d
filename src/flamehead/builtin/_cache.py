"""Tables that are built once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from flamehead._atomic import atomic_path
from flamehead.assets.folders import user_cache_folder
from flamehead.errors import FlameheadError

__all__ = ["cache_path", "cached"]

_NOT_RECIPE = ("export.py", "export_readme.txt", "teeth.py", "uv_masks.py")
"""Files that use the built tables and do not make them."""
_log = logging.getLogger(__name__)


def cached(path: Path, build: Callable[[], Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    """The tables in a file, or built and kept there; without a writable folder they are built at every start."""
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        pass
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("The cached file %s is damaged (%s) and is built again.", path, error)
    tables = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            np.savez(temporary, **tables)  # pyright: ignore[reportArgumentType]
    except (OSError, FlameheadError) as error:
        _log.warning(
            "%s cannot be kept in %s (%s) and is built at every start; set FLAMEHEAD_CACHE to a folder that can be "
            "written.",
            path.name,
            path.parent,
            error,
        )
    return tables


def cache_path(name: str) -> Path:
    """`name` in the user's cache folder, marked with a hash of the recipe, so that an upgrade builds anew."""
    return user_cache_folder() / f"{name}_{_recipe_hash()}.npz"


@cache
def _recipe_hash() -> str:
    """Hash of everything the head is made of: the sources of this room and of the landmark tables."""
    digest = hashlib.sha256(np.__version__.split(".")[0].encode())
    files = [item for item in resources.files("flamehead.builtin").iterdir() if item.name not in _NOT_RECIPE]
    files.append(resources.files("flamehead.geometry") / "landmark_sets.py")
    for item in sorted(files, key=lambda item: item.name):
        if item.is_file() and not item.name.endswith(".pyc"):
            digest.update(item.name.encode() + item.read_bytes())
    return digest.hexdigest()[:16]
