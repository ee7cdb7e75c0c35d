"""A track in the window: a timeline that plays, errors by frame, the path of the head, and the video beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from flamehead.data import FlameParams, FrameStatus, Track
from flamehead.model import Flame
from flamehead.view.film import Film
from flamehead.view.panel import listen
from flamehead.view.photo import look_through, photo_depth, report_lines, view_through
from flamehead.view.results import TrackResult
from flamehead.view.stage import Stage

if TYPE_CHECKING:
    import viser

__all__ = ["TrackTab", "error_curves", "head_path", "next_row"]

_CHUNK = 64
"""Heads that are posed at once."""
_PLOT_EVERY = 0.25
"""Seconds between two looks of the plot while the track plays; the whole curve is sent each time."""
_SPEEDS = {"1/4 speed": 0.25, "1/2 speed": 0.5, "full speed": 1.0, "2 x speed": 2.0}
_COLORS = {"landmarks, %": "#2e608c", "pixels, %": "#c0562c"}


class TrackTab:
    """The tab of a track, its video, and the thread that plays it."""

    def __init__(
        self,
        server: viser.ViserServer,
        stage: Stage,
        tabs: viser.GuiTabGroupHandle,
        result: TrackResult,
        flame: Flame,
        pose: Callable[[FlameParams, Float[torch.Tensor, "2"] | None], None],
        opacity: Callable[[float], None],
    ) -> None:
        self._server, self._stage, self._track, self._send = server, stage, result.track, pose
        track = result.track
        self._row, self._shown_frame, self._plotted = 0, -1, 0.0
        self._playing, self._stopping, self._speed = threading.Event(), threading.Event(), 1.0
        self._curves = error_curves(track)
        path, vertices = head_path(track, flame), _some_heads(track, flame)
        self._opacity = opacity
        camera = track.camera.row(0)
        self._depth = max(photo_depth(heads, track.camera.row(row)) for row, heads in vertices.items())
        self._film = None if result.video is None else Film(result.video, track.frames)
        with tabs.add_tab("Track"):
            self._inputs(result, camera)
        self._line(path)
        stage.photo(None, camera, self._depth)
        view_through(server, camera, self._depth, np.concatenate(list(vertices.values())))
        self._jump(0)
        self._player = threading.Thread(target=self._play, name="flamehead-player", daemon=True)
        self._player.start()

    @property
    def row(self) -> int:
        """That is shown."""
        return self._row

    def stop(self) -> None:
        """Play no further."""
        self._stopping.set()
        self._playing.set()
        if self._film is not None:
            self._film.stop()
        self._player.join(timeout=2.0)

    def _inputs(self, result: TrackResult, camera: Any) -> None:
        gui, track = self._server.gui, self._track
        self._play_button = gui.add_button("Play")
        self._play_button.on_click(lambda event: self._toggle())
        self._slider = gui.add_slider("Frame", 0, max(1, len(track) - 1), 1, 0)
        listen(self._slider, lambda row: self._jump(min(int(row), len(track) - 1)))
        self._words = gui.add_markdown("")
        self._plot = _add_plot(gui, track, self._curves)
        self._image = None
        if self._film is not None:
            self._image = gui.add_image(np.full((90, 160, 3), 225, np.uint8), label="Input", format="jpeg")
        with gui.add_folder("Playing"):
            speed = gui.add_dropdown("Speed", tuple(_SPEEDS), initial_value="full speed")
            listen(speed, lambda name: setattr(self, "_speed", _SPEEDS[name]))
        with gui.add_folder("Scene"):
            button = gui.add_button("Look through the camera")
            button.on_click(
                lambda event: (
                    look_through(event.client, track.camera.row(self._row), self._depth) if event.client else None
                )
            )
            if self._film is not None:
                listen(gui.add_checkbox("Video behind the head", True), lambda on: self._stage.visible("photo", on))
            listen(gui.add_checkbox("Head", True), lambda on: self._stage.hide_head(not on))
            listen(gui.add_slider("Head opacity", 0.0, 1.0, 0.01, 1.0), self._opacity)
            listen(gui.add_checkbox("Path", True), lambda on: self._stage.visible("path", on))
            listen(gui.add_checkbox("Camera", True), lambda on: self._stage.visible("camera", on))
        with gui.add_folder("About", expand_by_default=False):
            gui.add_markdown(_about(result))

    def _line(self, path: Float[np.ndarray, "T 3"]) -> None:
        self._stage.line("path", path, (46, 96, 140))

    def _toggle(self) -> None:
        if self._playing.is_set():
            self._playing.clear()
        else:
            if self._row >= len(self._track) - 1:
                self._jump(0)
            self._playing.set()
        self._play_button.label = "Pause" if self._playing.is_set() else "Play"

    def _jump(self, row: int) -> None:
        self._row = row
        lids = self._track.eyelids
        own = None if lids is None else torch.as_tensor(lids[row]).to(self._track.params.shape)
        self._send(self._track.params.row(row), own)
        self._words.content = frame_words(self._track, row)
        self._show_input(row)
        if not self._playing.is_set() or time.monotonic() - self._plotted > _PLOT_EVERY:
            self._plotted = time.monotonic()
            if self._plot is not None:
                self._plot.data = (*self._curves.values(), _cursor(self._curves, row))

    def _show_input(self, row: int) -> None:
        """The frame of the video, beside the head and behind it; nothing where it is not read yet."""
        if self._film is None or self._image is None:
            return
        picture = self._film.picture(int(self._track.frames[row]))
        if picture is not None:
            self._shown_frame = row
            self._image.image = picture
            self._stage.photo(picture, self._track.camera.row(row), self._depth)
        elif len(self._track) and not torch.equal(
            self._track.camera.translation[row], self._track.camera.translation[0]
        ):
            self._stage.photo(None, self._track.camera.row(row), self._depth)

    def _play(self) -> None:
        """Show the frame that is due; those that cannot be shown in time are left out."""
        while not self._stopping.is_set():
            if not self._playing.wait(0.2):
                if self._shown_frame != self._row and self._film is not None:
                    # The film may have reached the frame by now.
                    self._show_input(self._row)
                continue
            started, first = time.monotonic(), self._row
            while self._playing.is_set() and not self._stopping.is_set():
                row = next_row(self._track.times, first, self._speed * (time.monotonic() - started))
                if row != self._row:
                    self._jump(row)
                    self._slider.value = row
                if row >= len(self._track) - 1:
                    self._playing.clear()
                    self._play_button.label = "Play"
                    self._jump(row)
                time.sleep(0.005)


def next_row(times: Float[np.ndarray, "T"], first: int, elapsed: float) -> int:
    """The row that is due some seconds after another was shown."""
    return int(np.clip(np.searchsorted(times, times[first] + elapsed, side="right") - 1, first, len(times) - 1))


def error_curves(track: Track) -> dict[str, Float[np.ndarray, "T"]]:
    """By name: the frames' times in seconds first, then each error that was measured; NaN where it was not."""
    curves = {"seconds": np.asarray(track.times, dtype=np.float64)}
    if track.landmark_error is not None:
        curves["landmarks, %"] = np.asarray(track.landmark_error, dtype=np.float64)
    if track.photometric_error is not None:
        curves["pixels, %"] = 100.0 * np.asarray(track.photometric_error, dtype=np.float64)
    return curves


def frame_words(track: Track, row: int) -> str:
    """What is known of one frame, as markdown."""
    status = FrameStatus(int(track.status[row]))
    known = {
        FrameStatus.TRACKED: "tracked",
        FrameStatus.BRIDGED: "not seen, bridged",
        FrameStatus.LOST: "not seen, held",
    }
    words = [f"Frame {int(track.frames[row])}", f"{float(track.times[row]):.2f} s", f"**{known[status]}**"]
    for values, text in ((track.landmark_error, "landmarks {:.2f} %"), (track.photometric_error, "pixels {:.4f}")):
        if values is not None and np.isfinite(values[row]):
            words.append(text.format(float(values[row])))
    return ", ".join(words)


def head_path(track: Track, flame: Flame) -> Float[np.ndarray, "T 3"]:
    """Where the neck's joint is in each frame, metres."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(track), _CHUNK):
            params = FlameParams(*(value[start : start + _CHUNK] for value in vars(track.params).values()))
            parts.append(flame(params).joints[:, 1].cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, 3))


def _some_heads(track: Track, flame: Flame) -> dict[int, Float[np.ndarray, "V 3"]]:
    """Heads of some frames by row, to know how far back the video must stand."""
    rows = np.unique(np.linspace(0, len(track) - 1, min(24, len(track))).astype(int))
    with torch.no_grad():
        return {int(row): flame(track.params.row(int(row))).vertices.cpu().numpy() for row in rows}


def _cursor(curves: dict[str, Float[np.ndarray, "T"]], row: int) -> Float[np.ndarray, "T"]:
    """A series with one point, at the frame that is shown."""
    out = np.full(len(curves["seconds"]), np.nan)
    first = next(values for name, values in curves.items() if name != "seconds")
    out[row] = first[row] if np.isfinite(first[row]) else 0.0
    return out


def _add_plot(gui: viser.GuiApi, track: Track, curves: dict[str, Float[np.ndarray, "T"]]) -> Any:
    """The errors over time; None where none were measured."""
    if len(curves) < 2 or len(track) < 2:
        return None
    import viser.uplot as uplot

    lines = [
        uplot.Series(label=name, stroke=_COLORS[name], width=1.5, spanGaps=False) for name in curves if name in _COLORS
    ]
    point = uplot.Series(label="now", stroke="#b01020", points=uplot.Series_Points(show=True, size=9, fill="#b01020"))
    return gui.add_uplot(
        (*curves.values(), _cursor(curves, 0)),
        (uplot.Series(label="seconds"), *lines, point),
        # A series with gaps has no range of its own.
        scales={"x": uplot.Scale(time=False), "y": uplot.Scale(auto=False, range=(0.0, _highest(curves)))},
        legend=uplot.Legend(show=True),
        height=170,
    )


def _highest(curves: dict[str, Float[np.ndarray, "T"]]) -> float:
    found = [float(np.nanmax(v)) for k, v in curves.items() if k != "seconds" and np.isfinite(v).any()]
    return 1.1 * max(found, default=1.0) or 1.0


def _about(result: TrackResult) -> str:
    track = result.track
    counts = [f"{int((track.status == status).sum())} {status.name.lower()}" for status in FrameStatus]
    lines = [f"{len(track)} frames at {track.fps:.2f} per second: {', '.join(counts)}."]
    if track.landmark_error is not None and np.isfinite(track.landmark_error).any():
        lines.append(f"Landmarks: median {float(np.nanmedian(track.landmark_error)):.2f} %.")
    return "\n\n".join([report_lines(result.name, {}, result.notes), *lines])
