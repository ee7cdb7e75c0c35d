"""The window: a server for browsers, the head's state, and the thread that brings the one to the other."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from flamehead.data import FlameParams
from flamehead.errors import FlameheadError, InputError, MissingExtra
from flamehead.io import UvMap
from flamehead.model import Flame, is_builtin
from flamehead.view import state as states
from flamehead.view.controls import all_directions, controls
from flamehead.view.panel import head_tabs, look_tab, save_tab, show_state
from flamehead.view.photo import PhotoTab
from flamehead.view.results import PhotoResult, Result, ScanResult, TrackResult
from flamehead.view.save import mesh_file, params_file, picture_file, png_bytes, view_camera
from flamehead.view.scan import ScanTab
from flamehead.view.stage import Stage, portrait_view
from flamehead.view.surface import Surface, glb_bytes, plain_parts, region_parts, texture_picture
from flamehead.view.track import TrackTab

if TYPE_CHECKING:
    import viser

    from flamehead.fit import Appearance

__all__ = ["Viewer", "free_port"]

_log = logging.getLogger(__name__)

_REST = 0.25
"""Seconds without a change after which the paint, the text and the history are renewed."""
_LOADING = 0.5
"""Seconds that browsers get to load a painted mesh before the plain one below it is hidden."""
_TINTS = 8
"""Components of the texture that have a slider."""


class Viewer:
    """A window in the browser on one head; serves from construction until `stop`.

    Example:
        >>> with Viewer(load_flame(), port=8090) as viewer:  # doctest: +SKIP
        ...     viewer.wait()
    """

    def __init__(
        self,
        flame: Flame,
        result: Result | None = None,
        *,
        appearance: Appearance | None = None,
        host: str = "127.0.0.1",
        port: int = 8080,
        components: int = 16,
    ) -> None:
        """Open the window.

        Args:
            flame: The model.
            result: From `open_result`; None shows the mean head.
            appearance: A texture space; None leaves the head in plain colours.
            host: Address to listen at; `127.0.0.1` is for this computer alone, `0.0.0.0` for the whole network.
            port: To listen at; 0 takes a free one.
            components: How many components without a name get a slider.

        Raises:
            InputError: The port is taken, or the address is not one of this computer's.
            MissingExtra: viser is not installed.
        """
        self.flame, self.result, self.appearance = flame, result, appearance
        self._known = all_directions(flame, components=components)
        self._base = flame.zeros() if result is None or isinstance(result, TrackResult) else result.params
        self._frame_lids: Float[torch.Tensor, "2"] | None = None
        self._offsets = result.offsets if isinstance(result, ScanResult) else None
        self._start = states.HeadState(albedo=() if result is None else getattr(result, "albedo", ()))
        self._history = states.History(self._start)
        self._state = self._start
        self._surface: Surface = "plain"
        self._scheme: str | None = None
        self._wireframe, self._opacity = False, 1.0
        self._redress = False
        self._moved_at: float | None = None
        self._seed = 0
        self._faces = flame.faces.cpu().numpy()
        self.latencies: deque[float] = deque(maxlen=1000)
        """Seconds from a slider's news to the vertices being handed to the network, newest last."""
        self._lock, self._wake, self._stopping = threading.RLock(), threading.Event(), threading.Event()
        self._ending = threading.Event()
        self._vertices = self._pose()
        self._server = _serve(host, free_port(host, port))
        try:
            self._stage = Stage(self._server)
            self._build(controls(flame, self._known, components=components))
        except BaseException:
            self._server.stop()
            raise
        self._worker = threading.Thread(target=self._work, name="flamehead-viewer", daemon=True)
        self._worker.start()
        self._change()

    @property
    def url(self) -> str:
        """Where a browser on this computer finds the window."""
        host = self._server.get_host()
        return f"http://{'localhost' if host in ('0.0.0.0', '::') else host}:{self._server.get_port()}"

    @property
    def state(self) -> states.HeadState:
        """What the sliders say."""
        return self._state

    @property
    def vertices(self) -> Float[np.ndarray, "V 3"]:
        """The head as it was sent last, metres."""
        return self._vertices

    def wait(self) -> None:
        """Return once `end` was called, from another thread or a signal handler."""
        # Waiting in small steps lets signals through on every platform.
        while not self._ending.wait(0.5):
            pass

    def end(self) -> None:
        """Let `wait` return; takes no lock, so that a signal handler may call it."""
        self._ending.set()

    def stop(self) -> None:
        """Close the window; a second call does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake.set()
        if self._tab is not None:
            self._tab.stop()
        if threading.current_thread() is not self._worker:
            self._worker.join(timeout=5.0)
        # viser says that it stopped, whatever it was told about being quiet.
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.stop()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    # What the panel calls.

    def slide(self, name: str, amount: float) -> None:
        """Move along a direction."""
        with self._lock:
            self._state = states.moved(self._state, name, amount)
            self._change()

    def tint(self, row: int, amount: float) -> None:
        """Set a coefficient of the texture."""
        with self._lock:
            codes = [*self._state.albedo, *[0.0] * (row + 1 - len(self._state.albedo))]
            codes[row] = float(amount)
            self._state = replace(self._state, albedo=tuple(codes))
            self._change()

    def choose_preset(self, name: str) -> None:
        """Put on a prepared expression."""
        self._set(states.preset(self._state, name, self._known))

    def draw_person(self) -> None:
        """Become somebody else; every draw gives another person, the same ones in every session."""
        self._seed += 1
        self._set(states.random_person(self._state, self._seed, self.flame, self._known))

    def reset(self) -> None:
        """Back to what was loaded."""
        self._set(self._start)

    def undo(self) -> None:
        """One step back."""
        with self._lock:
            self._history = states.undone(states.pushed(self._history, self._state))
            self._set(self._history.now)

    def redo(self) -> None:
        """One step forward."""
        with self._lock:
            self._history = states.redone(states.pushed(self._history, self._state))
            self._set(self._history.now)

    def apply_text(self, text: str, client: viser.ClientHandle) -> None:
        """Set the sliders from JSON; what is wrong with it is told to the browser."""
        try:
            self._set(states.from_text(text, self.flame.fingerprint, self._known))
        except InputError as error:
            client.add_notification("Not applied", str(error), color="red")

    def choose_surface(self, name: str) -> None:
        """Change the head's looks."""
        self._look(_surface=name)

    def choose_wireframe(self, shown: bool) -> None:
        """Show the edges of the triangles alone."""
        self._look(_wireframe=shown)

    def choose_landmarks(self, scheme: str | None) -> None:
        """Show the landmarks of a scheme, or none."""
        self._look(_scheme=scheme)

    def choose_light(self, name: str, brightness: float) -> None:
        """Change the light."""
        self._stage.light(name, brightness)

    def choose_opacity(self, opacity: float) -> None:
        """How much of what lies behind the head is hidden."""
        self._stage.opacity(opacity)
        self._look(_opacity=float(opacity))

    def pose(self, params: FlameParams, eyelids: Float[torch.Tensor, "2"] | None) -> None:
        """Stand on other parameters, such as those of another frame; the sliders are added to them."""
        with self._lock:
            self._base, self._frame_lids = params, eyelids
            self._change()

    def save(self, kind: str, client: viser.ClientHandle) -> None:
        """Send a file to a browser: glb, obj, ply, npz, json, png (our renderer) or screen (the browser's own)."""
        try:
            name, content = self._file(kind, client)
        except FlameheadError as error:
            client.add_notification("Not saved", str(error), color="red")
            return
        client.send_file_download(name, content, save_immediately=True)

    # What follows.

    def _build(self, shown: tuple[Any, ...]) -> None:
        gui = self._server.gui
        gui.configure_theme(control_width="medium", show_logo=False, show_share_button=False, brand_color=(46, 96, 140))
        gui.set_panel_label("flamehead")
        gui.main_panel.dock_right()
        gui.main_panel.set_width(340)
        surfaces, schemes = self._surfaces(), tuple(self.flame.embeddings)
        self._surface = surfaces[0]
        gui.add_markdown(_heading(self.flame))
        tabs = gui.add_tab_group()
        self._tab = self._result_tab(tabs)
        tints = 0 if self.appearance is None else min(_TINTS, self.appearance.texture.n_components)
        self._panel = head_tabs(gui, tabs, shown, tints, self)
        with tabs.add_tab("Look"):
            # Fits and tracks have the opacity beside the photo.
            behind = isinstance(self.result, PhotoResult | TrackResult)
            look_tab(gui, surfaces, schemes, None if behind else self._opacity, self)
        with tabs.add_tab("Save"):
            save_tab(gui, self._panel, self)
        show_state(self._panel, self._state)
        self._dress()
        if self._tab is None:
            portrait_view(self._server, self._vertices)

    def _result_tab(self, tabs: viser.GuiTabGroupHandle) -> PhotoTab | ScanTab | TrackTab | None:
        result = self.result
        if isinstance(result, PhotoResult):
            return PhotoTab(self._server, self._stage, tabs, result, self._vertices, self.choose_opacity)
        if isinstance(result, ScanResult):
            return ScanTab(self._server, self._stage, tabs, result, self._vertices)
        if isinstance(result, TrackResult):
            return TrackTab(self._server, self._stage, tabs, result, self.flame, self.pose, self.choose_opacity)
        return None

    def _surfaces(self) -> tuple[Surface, ...]:
        made: list[Surface] = []
        unwrapped = isinstance(self.result, PhotoResult) and self.result.texture is not None
        if self.appearance is not None:
            made = ["photo", "texture"] if unwrapped else ["texture"]
        return (*made, "plain", "clay", "regions") if self.flame.regions else (*made, "clay")

    def _set(self, state: states.HeadState) -> None:
        with self._lock:
            self._state = state
            self._change()
        show_state(self._panel, state)

    def _look(self, **changes: Any) -> None:
        with self._lock:
            for name, value in changes.items():
                setattr(self, name, value)
            self._redress = True
            self._change()

    def _change(self) -> None:
        with self._lock:
            if self._moved_at is None:
                self._moved_at = time.perf_counter()
        self._wake.set()

    def _pose(self) -> Float[np.ndarray, "V 3"]:
        with self._lock:
            state, base, lids = self._state, self._base, self._frame_lids
        own = states.eyelids_of(state, self.flame)
        if own is not None:
            lids = own if lids is None else lids + own
        with torch.no_grad():
            params = states.params_of(state, self.flame, self._known, base)
            # Plain torch poses one head in two milliseconds; loading the kernels would stop a slider for a second.
            posed = self.flame(params, eyelids=lids, frame_offsets=self._offsets, backend="reference")
            return posed.vertices.cpu().numpy()

    def _work(self) -> None:
        """Draw the latest state, however many changes it took; when all is still, finish it."""
        todo: deque[tuple[float, Callable[[], None]]] = deque()
        while not self._stopping.is_set():
            woken = self._wake.wait(todo[0][0] if todo else None)
            if self._stopping.is_set():
                return
            try:
                if woken:
                    self._wake.clear()
                    self._draw()
                    todo = deque([(_REST, self._settle), (_LOADING, self._stage.cover)])
                else:
                    todo.popleft()[1]()
            except Exception:
                # The window stays open: the next change may well be drawn.
                _log.exception("The head could not be drawn.")
                todo.clear()

    def _draw(self) -> None:
        with self._lock:
            started, self._moved_at = self._moved_at, None
            redress, self._redress = self._redress, False
        self._vertices = self._pose()
        if redress:
            self._dress()
        self._stage.move(self._vertices)
        if started is not None:
            self.latencies.append(time.perf_counter() - started)
        self._mark()

    def _dress(self) -> None:
        if self._surface == "regions":
            parts = region_parts(self.flame)
        else:
            parts = plain_parts(self.flame, colored=self._surface != "clay")
        self._stage.dress(parts, self._vertices, wireframe=self._wireframe)

    def _mark(self) -> None:
        points = None
        if self._scheme is not None:
            points = self.flame.landmarks(torch.from_numpy(self._vertices), self._scheme).numpy()
        self._stage.landmarks(points)

    def _settle(self) -> None:
        with self._lock:
            self._history = states.pushed(self._history, self._state)
            state, base = self._state, self._base
        if self._panel.text is not None:
            params = states.params_of(state, self.flame, self._known, base)
            self._panel.text.value = states.to_text(state, params, self.flame.fingerprint)
        uv_map = self._uv_map()
        if uv_map is not None and not self._wireframe and self._opacity >= 1.0:
            self._stage.paint(glb_bytes(self._vertices, self._faces, uv_map=uv_map))

    def _uv_map(self) -> UvMap | None:
        """What the head is painted with, where it is."""
        if self.appearance is None or self._surface not in ("texture", "photo"):
            return None
        if self._surface == "photo":
            assert isinstance(self.result, PhotoResult) and self.result.texture is not None
            from flamehead.io import read_image

            picture = read_image(self.result.texture)
        else:
            picture = texture_picture(self.appearance.texture, self._state.albedo)
        return UvMap(self.appearance.uv, self.appearance.uv_faces, picture)

    def _file(self, kind: str, client: viser.ClientHandle) -> tuple[str, bytes]:
        params = states.params_of(self._state, self.flame, self._known, self._base)
        if kind == "json":
            return "head.json", states.to_text(self._state, params, self.flame.fingerprint).encode()
        if kind == "npz":
            return "params.npz", params_file(params, self._vertices, self.flame)
        if kind == "png":
            camera = view_camera(client.camera)
            return "head.png", png_bytes(picture_file(self._vertices, self.flame, camera, self._uv_map()))
        if kind == "screen":
            try:
                seen = client.get_render(client.camera.image_height, client.camera.image_width, timeout=30.0)
            except (RuntimeError, TimeoutError) as error:
                raise InputError("The browser sent no picture; keep its page in front and try again.") from error
            return "view.png", png_bytes(np.asarray(seen, dtype=np.uint8))
        return mesh_file(kind, self._vertices, self.flame, self._uv_map())


def free_port(host: str, port: int) -> int:
    """The port, if it can be listened at; a free one for 0.

    Raises:
        InputError: It is taken, or the address is not one of this computer's.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"The port is {port}; give one from 1024 to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do on these systems, so that the port of a window just closed can be used at once.
        if hasattr(socket, "SO_REUSEPORT"):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            return int(probe.getsockname()[1])
        except PermissionError as error:
            raise InputError(f"The port {port} is for administrators; choose one above 1023 with --port.") from error
        except socket.gaierror as error:
            raise InputError(f"There is no host {host!r}; use --host 127.0.0.1 or 0.0.0.0.") from error
        except OSError as error:
            raise InputError(
                f"Cannot listen at {host}:{port} ({error.strerror or error}); choose another with --port, such as "
                f"--port {port + 1 if port < 65535 else 8080}."
            ) from error


def _serve(host: str, port: int) -> viser.ViserServer:
    try:
        import viser
    except ImportError as error:
        raise MissingExtra('The viewer needs viser; install it with `pip install "flamehead[view]"`.') from error
    # viser prints a box with its own name; what the user should know is said by the command.
    with contextlib.redirect_stdout(io.StringIO()):
        server = viser.ViserServer(host=host, port=port, verbose=False)
    if server.get_port() != port:
        server.stop()
        raise InputError(f"The port {port} was taken a moment ago; choose another with --port.")
    # A browser could ask for a tunnel through somebody else's server; nothing leaves this computer.
    server.request_share_url = _no_tunnel  # pyright: ignore[reportAttributeAccessIssue]
    return server


def _no_tunnel(verbose: bool = True) -> None:
    _log.warning("A browser asked to share the window through a foreign server; that is switched off.")


def _heading(flame: Flame) -> str:
    name = "The built-in head" if is_builtin(flame) else f"`{flame.arrays.source}`"
    return f"**{name}**, {len(flame.template)} vertices"
