"""A result folder that appears whole, without anything left of an earlier one; and what each exporter hands back."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flamehead._types import StrPath
from flamehead.errors import InputError
from flamehead.export.prepared import Prepared
from flamehead.io import atomic_folder, write_json
from flamehead.model import Flame

__all__ = ["REPORT", "Exported", "fresh_folder", "link_or_copy", "write_report"]

REPORT = "export.json"
"""The file that tells an export of ours."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    count: int
    """Frames."""
    first: int
    """Row of the track that became frame 0."""
    notes: tuple[str, ...] = ()
    """What a user should know, one sentence each."""


@contextmanager
def fresh_folder(folder: StrPath, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder that becomes `folder` on success and vanishes on any failure.

    Readers of these formats count files, so that one left from an earlier run does harm: a folder that holds something
    is refused, or replaced as a whole.

    Args:
        folder: Where to; parents are made.
        overwrite: Replace an earlier export, after the new one is complete; no other folder is ever replaced.

    Raises:
        InputError: The folder holds something that is not to be replaced, or cannot be written.
    """
    target = Path(folder)
    if not target.is_dir() or not any(target.iterdir()):
        if target.is_dir():
            target.rmdir()
        with atomic_folder(target) as stage:
            yield stage
        return
    if not overwrite or not (target / REPORT).is_file():
        remedy = (
            "--overwrite, in Python overwrite=True, replaces it"
            if (target / REPORT).is_file()
            else "it is none of flamehead's exports"
        )
        raise InputError(
            f"The folder {target} is not empty, and readers of this format count its files; name a new one ({remedy})."
        )
    fresh, old = (target.with_name(f".{target.name[:40]}-{secrets.token_hex(4)}") for _ in range(2))
    with atomic_folder(fresh) as stage:
        yield stage
    try:
        target.rename(old)
        fresh.rename(target)
    except OSError as error:
        if old.exists() and not target.exists():
            old.rename(target)
        reason = error.strerror or str(error)
        raise InputError(f"Cannot replace {target} ({reason}); close programs that use it and try again.") from error
    finally:
        for left in (fresh, old):
            if left.exists():
                shutil.rmtree(left)


def write_report(folder: Path, prepared: Prepared, flame: Flame, format_name: str, notes: tuple[str, ...]) -> None:
    """`export.json`: what was exported from what, and how the pictures were cut, so that results can be taken back."""
    crop = prepared.crop
    content = {
        "program": "flamehead",
        "format": format_name,
        "frames": len(prepared),
        "first_row": prepared.rows.start,
        "source": prepared.track.source,
        "source_frames": [int(frame) for frame in prepared.track.frames],
        "status": [int(value) for value in prepared.track.status],
        "fps": prepared.track.fps,
        "model": {"source": flame.arrays.source, "fingerprint": flame.fingerprint},
        "crop": {"corner": list(crop.corner), "extent": list(crop.extent), "size": list(crop.size)},
        "notes": list(notes),
    }
    write_json(folder / REPORT, content)


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file system has no such links."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
