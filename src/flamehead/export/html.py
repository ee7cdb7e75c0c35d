"""One file that shows a head in any browser: no server, no network, no library.

The page carries the model's fields as 16-bit integers and poses the head itself, pose correctives and skinning
included; see `page/head.js`.
"""

from __future__ import annotations

import html
import json
import logging
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.data import FlameParams, Track
from flamehead.errors import InputError
from flamehead.export.html_head import HeadChoice, head_data
from flamehead.export.html_motion import motion_data
from flamehead.io import UvMap

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from flamehead.model import Flame

__all__ = ["write_html"]

_SCRIPTS = ("head.js", "view.js", "player.js", "panel.js", "main.js")
_LARGE = 12_000_000

_log = logging.getLogger(__name__)


def write_html(
    path: StrPath,
    flame: Flame,
    head: FlameParams | Track | None = None,
    *,
    eyelids: Float[np.ndarray, "2"] | None = None,
    uv_map: UvMap | None = None,
    title: str = "flamehead",
    n_shape: int = 22,
    n_expression: int = 44,
) -> None:
    """Write a page that shows a head with sliders, or plays a track.

    Args:
        path: of the page, ending in `.html`.
        flame: the model.
        head: one head, a track, or None for the mean head.
        eyelids: of one head, how far the left and the right eye are closed; a track has its own.
        uv_map: a texture. Without one the built-in head wears its own, and other models are clay.
        title: shown on the page.
        n_shape: identity components with a slider; the others are built into the head.
        n_expression: expression components with a slider; those that the head or the track uses are there besides.

    Raises:
        InputError: Another suffix, several heads that are no track, a track of another model, numbers that are not
            finite, or a folder that cannot be written.

    Example:
        >>> import tempfile
        >>> from flamehead import load_flame
        >>> page = Path(tempfile.mkdtemp()) / "head.html"
        >>> write_html(page, load_flame(), title="The mean head")
        >>> page.stat().st_size < 12_000_000
        True
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"Cannot write {path}: the suffix is {path.suffix!r}, wanted '.html'.")
    if isinstance(head, Track) and head.fingerprint != flame.fingerprint:
        raise InputError(
            f"The track belongs to the model {head.fingerprint or 'unknown'}, but {flame.source} is "
            f"{flame.fingerprint}; load the model that it was made with."
        )
    choice = HeadChoice.of(flame, head, eyelids, n_shape=n_shape, n_expression=n_expression)
    data = head_data(flame, choice, uv_map, head)
    if isinstance(head, Track):
        data["track"] = motion_data(flame, head, choice)
    page = _page(data, title, flame.source).encode()
    if len(page) > _LARGE:
        _log.warning(
            "%s is %.1f MB, which browsers open slowly; choose fewer components or a smaller texture.",
            path,
            len(page) / 1e6,
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(page)


def _page(data: dict[str, Any], title: str, source: str) -> str:
    """The template with everything in it."""
    folder = files("flamehead.export") / "page"

    def part(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    # A closing tag inside of the text would end the script.
    plain = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    parts = {
        "title": html.escape(title),
        "source": html.escape(source),
        "style": part("style.css"),
        "script": '"use strict";\n' + "\n".join(part(name) for name in _SCRIPTS),
    }
    out = part("index.html")
    for name, text in parts.items():
        out = out.replace("{{" + name + "}}", text)
    # Last, so that nothing in it is taken for a place to fill.
    before, after = out.split("{{data}}")
    return before + plain + after
