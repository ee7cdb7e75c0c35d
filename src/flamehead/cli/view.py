"""`flamehead view`: heads, fits, tracks and scans in a browser."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from flamehead.cli._usage import FlameVariant, UsageError, check_variant
from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.fit import Appearance
    from flamehead.model import Flame
    from flamehead.view import Result, Viewer

__all__ = ["View"]


@dataclass(frozen=True)
class View:
    """Show a head in the browser: with sliders, over its photo, through its video, or beside its scan.

    Prints the address and serves until Ctrl-C. `flamehead view` alone opens the model; RESULT is a folder that `fit`,
    `track` or `scan` wrote, or an .npz file from one.
    """

    result: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="RESULT")]] = None
    """A folder of results, a params.npz or a track.npz; by default the model alone."""
    port: int = 8080
    """Of the address; 0 takes a free one."""
    host: str = "127.0.0.1"
    """Who may look: 127.0.0.1 is this computer alone, 0.0.0.0 everybody on its network."""
    photo: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The photo, video or scan of RESULT, where it is no longer at its old place."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A licensed FLAME file; by default the built-in head."""
    flame_variant: FlameVariant = "unknown"
    """The release of the model, where its file does not say it."""
    texture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """FLAME_texture.npz, an albedo of AlbedoMM or BFM, for a licensed model; the built-in head has its own."""
    uv: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """An OBJ mesh with the texture coordinates of a licensed model, for a texture without."""
    components: int = 16
    """How many components without a name get a slider."""
    open: bool = False
    """Open the page in this computer's browser."""
    quiet: bool = False
    """Print nothing but the address and errors."""

    def run(self) -> int:
        _check(self)
        from flamehead.cli._heads import open_flame
        from flamehead.view import Viewer, open_result
        from flamehead.view.viewer import free_port

        # Said before the model is loaded, which takes seconds.
        port = free_port(self.host, self.port)
        flame = open_flame(self.model, variant=self.flame_variant, quiet=self.quiet)
        result = None if self.result is None else open_result(self.result, flame, photo=self.photo)
        appearance = _appearance(self, flame)
        # A visitor that is no browser, such as `curl -I`, is no error of ours; it would be told with a traceback.
        logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
        viewer = Viewer(flame, result, appearance=appearance, host=self.host, port=port, components=self.components)
        with viewer, _stopped_by_signals(viewer):
            _say(self, viewer, flame, result)
            if self.open:
                import webbrowser

                webbrowser.open(viewer.url)
            viewer.wait()
        return 0


def _check(command: View) -> None:
    """What can be known to be wrong before anything is imported or computed."""
    check_variant(command.flame_variant, command.model)
    if command.photo is not None and command.result is None:
        raise UsageError("--photo belongs to a result; name its folder, or leave --photo out.")
    if command.uv is not None and command.texture is None:
        raise UsageError("--uv says where a texture lies; name one with --texture, or leave --uv out.")
    if not 0 <= command.components <= 400:
        raise UsageError(f"--components is {command.components}; give a number from 0 to 400.")
    if command.result is not None and not command.result.exists():
        raise InputError(f"There is no result {command.result}; give a folder or an .npz file that flamehead wrote.")
    for path in (command.photo, command.texture, command.uv):
        if path is not None and not path.exists():
            raise InputError(f"There is no file {path}; check the name.")


def _appearance(command: View, flame: Flame) -> Appearance | None:
    from flamehead.fit import load_appearance
    from flamehead.model import is_builtin

    if command.texture is None and not is_builtin(flame):
        return None
    return load_appearance(flame, command.texture, uv=command.uv, n_components=16)


@contextlib.contextmanager
def _stopped_by_signals(viewer: Viewer) -> Iterator[None]:
    """Ctrl-C and the signal that services are ended with close the window; the command then ends with status 0."""

    def stop(number: int, frame: Any) -> None:
        viewer.end()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(command: View, viewer: Viewer, flame: Flame, result: Result | None) -> None:
    if not command.quiet:
        if command.model is None:
            print("Model: the built-in head (no licence needed); --model PATH selects a FLAME file.")
        for sentence in () if result is None else result.notes:
            print(f"flamehead: warning: {sentence}", file=sys.stderr)
        if command.host not in ("127.0.0.1", "localhost", "::1"):
            print("Anybody who can reach this computer can look and move sliders; there is no password.")
    print(f"Look at {viewer.url} (Ctrl-C stops).", flush=True)
