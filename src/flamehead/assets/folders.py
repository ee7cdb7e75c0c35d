"""Where files of the user live on this machine."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from flamehead._types import StrPath

__all__ = ["asset_folders", "user_cache_folder", "user_data_folder"]


def user_data_folder() -> Path:
    """Where licensed files are looked for: `$FLAMEHEAD_ASSETS`, else `flamehead` in the platform's data folder.

    Linux: `$XDG_DATA_HOME` or `~/.local/share`; macOS: `~/Library/Application Support`; Windows: `%LOCALAPPDATA%`. The
    folder need not exist.
    """
    return _folder("FLAMEHEAD_ASSETS", xdg="XDG_DATA_HOME", unix=".local/share", mac="Application Support")


def user_cache_folder() -> Path:
    """Where things that can be made again are kept: `$FLAMEHEAD_CACHE`, else the platform's cache folder.

    Linux: `$XDG_CACHE_HOME` or `~/.cache`; macOS: `~/Library/Caches`; Windows: `%LOCALAPPDATA%`, in `Cache`. The folder
    need not exist.
    """
    return _folder("FLAMEHEAD_CACHE", xdg="XDG_CACHE_HOME", unix=".cache", mac="Caches", windows="Cache")


def asset_folders(extra: StrPath | None = None) -> list[Path]:
    """The existing folders in which licensed files are looked for, the most specific first.

    Args:
        extra: a folder that the user named, such as the value of `--assets`.
    """
    wanted = [Path(extra)] if extra is not None else []
    if named := os.environ.get("FLAMEHEAD_ASSETS"):
        wanted.append(Path(named))
    wanted.append(_platform_folder(xdg="XDG_DATA_HOME", unix=".local/share", mac="Application Support"))
    return list(dict.fromkeys(folder.expanduser() for folder in wanted if folder.expanduser().is_dir()))


def _folder(variable: str, *, xdg: str, unix: str, mac: str, windows: str = "") -> Path:
    if named := os.environ.get(variable):
        return Path(named).expanduser()
    return _platform_folder(xdg=xdg, unix=unix, mac=mac, windows=windows)


def _platform_folder(*, xdg: str, unix: str, mac: str, windows: str = "") -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else _home() / "AppData" / "Local") / "flamehead" / windows
    if sys.platform == "darwin":
        return _home() / "Library" / mac / "flamehead"
    base = os.environ.get(xdg, "")
    # The XDG specification says that relative paths count as unset.
    return (Path(base) if Path(base).is_absolute() else _home() / unix) / "flamehead"


def _home() -> Path:
    """The user's home folder, or one among the temporary files for a user without: a container's, for example."""
    try:
        return Path.home()
    except RuntimeError:
        user = os.getuid() if hasattr(os, "getuid") else "user"
        return Path(tempfile.gettempdir()) / f"flamehead-{user}"
