"""`flamehead export --to obj|ply`: every frame as a mesh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flamehead.cli._export_opened import Opened, Written, surface_of

if TYPE_CHECKING:
    from flamehead.cli.export import Export

__all__ = ["write_obj", "write_ply"]


def write_obj(command: Export, found: Opened, out: Path) -> Written:
    """A folder of OBJ files with texture coordinates."""
    return _write(command, found, out, "obj")


def write_ply(command: Export, found: Opened, out: Path) -> Written:
    """A folder of PLY files with vertex colours."""
    return _write(command, found, out, "ply")


def _write(command: Export, found: Opened, out: Path, kind: Literal["obj", "ply"]) -> Written:
    from flamehead.export import write_sequence

    count = write_sequence(
        out,
        found.flame,
        found.params,
        kind=kind,
        times=found.times,
        eyelids=found.eyelids,
        offsets=found.offsets,
        uv_map=surface_of(command, found) if kind == "obj" else None,
    )
    return Written(out, count=count)
