"""`flamehead export --to html`: one page that shows the head, or plays the track, in any browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flamehead.cli._export_opened import Opened, Written, surface_of

if TYPE_CHECKING:
    from flamehead.cli.export import Export

__all__ = ["write_html"]


def write_html(command: Export, found: Opened, out: Path) -> Written:
    """The page, with the head's texture in it."""
    from flamehead import export

    title = command.html.title or _title(command.result)
    export.write_html(out, found.flame, found.head, uv_map=surface_of(command, found), title=title)
    return Written(out)


def _title(result: Path | None) -> str:
    """The name of a result; of its folder, where the file is called as all are."""
    if result is None:
        return "flamehead"
    path = result.resolve()
    if path.is_dir():
        return path.name
    return path.parent.name if path.name in ("params.npz", "track.npz") else path.stem
