"""A fitted photo in the window: the head over it, the camera that took it, and how well the fit went."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from flamehead.data import Camera
from flamehead.geometry.camera import world_to_camera
from flamehead.render import marks
from flamehead.view.panel import listen
from flamehead.view.results import PhotoResult
from flamehead.view.stage import Stage, camera_pose, field_of_view

if TYPE_CHECKING:
    import viser

__all__ = ["PhotoTab", "look_through", "photo_depth", "report_lines", "view_through"]

_BEHIND = 0.03
"""Metres from the back of the head to the photo."""
_MARGIN = 1.08
"""Of the photo's height that the window shows."""


class PhotoTab:
    """The tab of a fit, and the photo in the scene."""

    def __init__(
        self,
        server: viser.ViserServer,
        stage: Stage,
        tabs: viser.GuiTabGroupHandle,
        result: PhotoResult,
        vertices: Float[np.ndarray, "V 3"],
        opacity: Callable[[float], None],
    ) -> None:
        self._stage, self._result, self._opacity = stage, result, opacity
        camera = result.camera
        with tabs.add_tab("Fit"):
            server.gui.add_markdown(report_lines(result.name, result.report, result.notes))
            if camera is not None:
                self._inputs(server, camera)
        if camera is None:
            return
        self._camera, self._depth = camera, photo_depth(vertices, camera)
        stage.photo(self._picture(False), camera, self._depth)
        view_through(server, camera, self._depth, vertices)

    def stop(self) -> None:
        """Nothing runs."""

    def _inputs(self, server: viser.ViserServer, camera: Camera) -> None:
        gui, stage = server.gui, self._stage
        with gui.add_folder("Photo"):
            button = gui.add_button("Look through the camera")
            button.on_click(lambda event: look_through(event.client, camera, self._depth) if event.client else None)
            listen(gui.add_checkbox("Head", True), lambda shown: stage.hide_head(not shown))
            listen(gui.add_slider("Head opacity", 0.0, 1.0, 0.01, 1.0), self._opacity)
            if self._result.photo is not None:
                listen(gui.add_checkbox("Photo", True), lambda shown: stage.visible("photo", shown))
            if self._result.photo is not None and self._result.detected is not None:
                listen(
                    gui.add_checkbox("Landmarks", False, hint="Detected red, fitted green."),
                    lambda shown: stage.photo(self._picture(shown), camera, self._depth),
                )
            listen(gui.add_checkbox("Camera", True), lambda shown: stage.visible("camera", shown))

    def _picture(self, marked: bool) -> UInt8[np.ndarray, "H W 3"] | None:
        image, result = self._result.photo, self._result
        if image is None:
            return None
        if marked and result.detected is not None and result.fitted is not None:
            radius = max(1.5, min(image.shape[:2]) / 250)
            image = marks(image, result.detected, (0.85, 0.1, 0.1), radius=radius)
            image = marks(image, result.fitted, (0.1, 0.75, 0.2), radius=radius)
        return np.rint(255.0 * np.clip(image, 0.0, 1.0)).astype(np.uint8)


def photo_depth(vertices: Float[np.ndarray, "*batch V 3"], camera: Camera) -> float:
    """View depth at which a photo stands behind a head, metres."""
    points = torch.from_numpy(np.asarray(vertices)).double()
    seen = world_to_camera(points, camera.rotation.double(), camera.translation.double())
    return float(seen[..., 2].max()) + _BEHIND


def view_through(server: viser.ViserServer, camera: Camera, depth: float, vertices: Float[np.ndarray, "N 3"]) -> None:
    """Let new browsers start at a camera's place and look at the head from there, which then lies on the photo."""
    wxyz, position = camera_pose(camera)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    middle, size = (low + high) / 2, float((high - low).max())
    whole = math.tan(field_of_view(camera) / 2)
    near = size / float(np.linalg.norm(middle - position))
    server.initial_camera.fov = 2 * math.atan(min(_MARGIN * whole, near))
    server.initial_camera.near = 0.005
    server.initial_camera.up = -_axes(wxyz)[:, 1]
    server.initial_camera.look_at = middle if near < whole else position + (depth - 0.1) * _axes(wxyz)[:, 2]
    server.initial_camera.position = position


def look_through(client: viser.ClientHandle, camera: Camera, depth: float) -> None:
    """Put one browser at a camera's place."""
    wxyz, position = camera_pose(camera)
    with client.atomic():
        client.camera.fov = 2 * math.atan(_MARGIN * math.tan(field_of_view(camera) / 2))
        client.camera.up_direction = -_axes(wxyz)[:, 1]
        client.camera.position = position
        client.camera.look_at = position + (depth - 0.1) * _axes(wxyz)[:, 2]


def report_lines(name: str, report: Mapping[str, Any], notes: tuple[str, ...]) -> str:
    """What a report says, as markdown."""
    lines = [f"`{name}`"]
    error = report.get("landmark_error_percent")
    if isinstance(error, int | float):
        lines.append(f"Landmarks **{error:.2f} %** of the distance between the eyes")
    if isinstance(largest := report.get("largest_coefficient"), int | float):
        lines.append(f"Largest coefficient **{largest:.1f}**")
    if isinstance(pixels := report.get("photometric"), Mapping) and isinstance(pixels.get("psnr_after"), float):
        lines.append(f"Pixels **{pixels['psnr_after']:.1f} dB**")
    if isinstance(report.get("status"), str):
        lines.append(report["status"])
    lines += [f"*{sentence}*" for sentence in (*report.get("warnings", ()), *notes)]
    return "\n\n".join(lines)


def _axes(wxyz: Float[np.ndarray, "4"]) -> Float[np.ndarray, "3 3"]:
    """Columns are the camera's axes in the world."""
    from flamehead.geometry.rotation import from_quaternion

    return from_quaternion(torch.tensor(wxyz, dtype=torch.float64)).numpy()
