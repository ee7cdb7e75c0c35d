"""The 3D side of the window: the head's meshes, landmarks, light, and what else stands in the scene."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from flamehead.geometry.rotation import to_quaternion
from flamehead.view.lights import LIGHTS
from flamehead.view.surface import Part

if TYPE_CHECKING:
    import viser

    from flamehead.data import Camera

__all__ = ["Stage", "camera_pose", "field_of_view", "portrait_view"]

_TOP, _BOTTOM = (0.985, 0.985, 0.99), (0.80, 0.82, 0.85)
"""The background from above to below, sRGB."""
_OPEN = 0.12
"""Share of the way to the picture at which the lines of a camera begin."""
_FAR = 10.0
"""Metres from the origin at which lamps stand: only their direction counts."""


class Stage:
    """Owns what stands in a window's scene; every change is sent to all browsers."""

    def __init__(self, server: viser.ViserServer, *, light: str = "studio") -> None:
        self._server, self._scene = server, server.scene
        self._parts: list[tuple[Part, viser.MeshHandle]] = []
        self._painted: viser.GlbHandle | None = None
        self._others: dict[str, viser.SceneNodeHandle] = {}
        self._landmarks: viser.PointCloudHandle | None = None
        self._lamps: list[viser.SceneNodeHandle] = []
        self._opacity: float | None = None
        self._hidden = False
        self._photo_key: Any = None
        self._lock = threading.RLock()
        self._root = self._scene.add_frame("/shown", show_axes=False)
        self._scene.set_up_direction("+y")
        self._scene.world_axes.visible = False
        self._scene.configure_default_lights(False)
        self._scene.configure_environment_map(None)
        self._scene.set_background_image(_gradient(_TOP, _BOTTOM), format="png")
        self.light(light, 1.0)

    def dress(self, parts: tuple[Part, ...], vertices: Float[np.ndarray, "V 3"], *, wireframe: bool = False) -> None:
        """Show the head as these parts."""
        with self._lock, self._server.atomic():
            for _, handle in self._parts:
                handle.remove()
            self._parts = [
                (
                    part,
                    self._scene.add_mesh_simple(
                        f"/shown/head/{k}",
                        vertices[part.rows],
                        part.faces,
                        color=_bytes(part.color),
                        wireframe=wireframe,
                        opacity=self._opacity,
                        side=_side(self._opacity),
                        cast_shadow=False,
                        receive_shadow=False,
                        visible=not self._hidden,
                    ),
                )
                for k, part in enumerate(parts)
            ]

    def move(self, vertices: Float[np.ndarray, "V 3"]) -> None:
        """Put the vertices elsewhere at once: the plain parts are shown, and the paint goes until it is renewed."""
        with self._lock, self._server.atomic():
            for part, handle in self._parts:
                handle.vertices = vertices[part.rows]
                handle.visible = not self._hidden
            if self._painted is not None:
                self._painted.remove()
                self._painted = None
        # Otherwise changes wait for up to a sixtieth of a second.
        self._server.flush()

    def paint(self, glb: bytes) -> None:
        """Lay a painted mesh over the plain parts, which stay until `cover`: browsers need a moment to load it."""
        with self._lock:
            if self._painted is not None:
                self._painted.remove()
            self._painted = self._scene.add_glb(
                "/shown/painted", glb, cast_shadow=False, receive_shadow=False, visible=not self._hidden
            )

    def cover(self) -> None:
        """Hide the plain parts behind the painted mesh."""
        with self._lock, self._server.atomic():
            if self._painted is not None:
                for _, handle in self._parts:
                    handle.visible = False

    def hide_head(self, hidden: bool) -> None:
        """Take the head away, or bring it back."""
        with self._lock, self._server.atomic():
            self._hidden = hidden
            for _, handle in self._parts:
                handle.visible = not hidden and self._painted is None
            if self._painted is not None:
                self._painted.visible = not hidden

    def opacity(self, opacity: float) -> None:
        """Of the plain parts, in [0, 1]."""
        with self._lock, self._server.atomic():
            self._opacity = None if opacity >= 1.0 else float(opacity)
            for _, handle in self._parts:
                handle.opacity = self._opacity
                handle.side = _side(self._opacity)

    def landmarks(self, points: Float[np.ndarray, "L 3"] | None) -> None:
        """Show points on the face, or none."""
        with self._lock:
            if points is None or not len(points):
                if self._landmarks is not None:
                    self._landmarks.remove()
                self._landmarks = None
            elif self._landmarks is not None and len(self._landmarks.points) == len(points):
                self._landmarks.points = points.astype(np.float32)
            else:
                self._landmarks = self._scene.add_point_cloud(
                    "/shown/landmarks",
                    points.astype(np.float32),
                    (214, 39, 40),
                    point_size=0.0016,
                    point_shape="circle",
                    precision="float32",
                )

    def light(self, name: str, brightness: float) -> None:
        """Light of `LIGHTS`, brighter or darker."""
        chosen = LIGHTS[name]
        with self._lock, self._server.atomic():
            for lamp in self._lamps:
                lamp.remove()
            self._lamps = [
                self._scene.add_light_ambient("/light/ambient", intensity=brightness * chosen.ambient),
                *(
                    self._scene.add_light_directional(
                        f"/light/{k}",
                        color=lamp.color,
                        intensity=brightness * lamp.intensity,
                        position=_scaled(lamp.towards),
                    )
                    for k, lamp in enumerate(chosen.lamps)
                ),
            ]

    def mesh(
        self,
        name: str,
        glb: bytes | None,
        *,
        points: Float[np.ndarray, "N 3"] | None = None,
        colors: UInt8[np.ndarray, "N 3"] | None = None,
        point_size: float = 0.001,
    ) -> None:
        """Another mesh beside the head, or a cloud of points where there is no mesh."""
        if glb is not None:
            self._put(name, self._scene.add_glb(f"/{name}", glb, cast_shadow=False, receive_shadow=False))
        elif points is not None and colors is not None:
            self._put(
                name, self._scene.add_point_cloud(f"/{name}", points.astype(np.float32), colors, point_size=point_size)
            )

    def photo(self, image: UInt8[np.ndarray, "H W 3"] | None, camera: Camera, depth: float) -> None:
        """A photo behind the head, where its camera saw it, so that from the camera's place both lie on each other.

        Args:
            image: None moves the camera's lines alone.
            camera: That took it, one.
            depth: View depth of the picture, metres; behind the head.
        """
        import viser

        wxyz, position = camera_pose(camera)
        (width, height), focal, center = camera.size, camera.focal.double().numpy(), camera.center.double().numpy()
        turn = camera.rotation.double().numpy()
        with self._lock, self._server.atomic():
            before = self._others.get("photo")
            same = self._photo_key == (pose := (camera.size, depth, *wxyz, *position, *focal, *center))
            self._photo_key = pose
            if same and image is not None and isinstance(before, viser.ImageHandle):
                before.image = image
                return
            if image is not None:
                middle = np.array([*((np.array([width, height]) / 2 - center) / focal * depth), depth])
                place = position + middle @ turn
                extent = np.array([width, height]) / focal * depth
                self._put(
                    "photo",
                    self._scene.add_image(
                        "/photo", image, float(extent[0]), float(extent[1]), format="jpeg", jpeg_quality=90,
                        wxyz=wxyz, position=place, cast_shadow=False, receive_shadow=False,
                    ),
                )  # fmt: skip
            corners = np.array([[0, 0], [width, 0], [width, height], [0, height]])
            rays = np.concatenate([(corners - center) / focal, np.ones((4, 1))], axis=1) @ turn
            self._put("camera", self._frustum(position, position + depth * rays))

    def _frustum(self, apex: Float[np.ndarray, "3"], corners: Float[np.ndarray, "4 3"]) -> viser.LineSegmentsHandle:
        """What a camera sees, up to its picture; open near the eye, which would otherwise look along the lines."""
        rim = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
        edges = np.stack([apex + _OPEN * (corners - apex), corners], axis=1)
        near = np.stack([edges[:, 0], np.roll(edges[:, 0], -1, axis=0)], axis=1)
        lines = np.concatenate([rim, edges, near]).astype(np.float32)
        return self._scene.add_line_segments("/camera", lines, (70, 80, 95), thickness=1.5, thickness_units="screen")

    def line(self, name: str, points: Float[np.ndarray, "N 3"], color: tuple[int, int, int]) -> None:
        """A path through the scene."""
        if len(points) > 1:
            segments = np.stack([points[:-1], points[1:]], axis=1).astype(np.float32)
            self._put(name, self._scene.add_line_segments(f"/{name}", segments, color, thickness=0.0012))

    def shift(self, offset: Float[np.ndarray, "3"], *, name: str | None = None) -> None:
        """Put the head, or one of the other things, beside its place; metres."""
        with self._lock:
            node = self._root if name is None else self._others.get(name)
            if node is not None:
                node.position = offset

    def visible(self, name: str, visible: bool) -> None:
        """Show or hide one of the other things by its name."""
        with self._lock:
            if name in self._others:
                self._others[name].visible = visible

    def drop(self, name: str) -> None:
        """Take one of the other things away."""
        with self._lock:
            if name in self._others:
                self._others.pop(name).remove()

    def _put(self, name: str, handle: viser.SceneNodeHandle) -> None:
        # A node that is added under the name of another takes its place.
        with self._lock:
            before = self._others.get(name)
            if before is not None:
                handle.visible = before.visible
            self._others[name] = handle


def portrait_view(
    server: viser.ViserServer, vertices: Float[np.ndarray, "V 3"], *, turn: Float[np.ndarray, "3 3"] | None = None
) -> None:
    """Let new browsers see a head from the front, a little from the side, with the lens of a portrait.

    Args:
        server: Whose browsers.
        vertices: World coordinates, metres.
        turn: Head to world: its columns are the head's left, up and forward; None is identity.
    """
    axes = np.eye(3) if turn is None else turn
    low, high = (vertices @ axes).min(axis=0), (vertices @ axes).max(axis=0)
    middle, size = axes @ ((low + high) / 2), float((high - low).max())
    server.initial_camera.fov = 0.5
    server.initial_camera.near = 0.005
    server.initial_camera.up = axes[:, 1]
    server.initial_camera.look_at = middle
    server.initial_camera.position = middle + 2.35 * size * (axes @ np.array([0.17, 0.05, 0.98]))


def camera_pose(camera: Camera) -> tuple[Float[np.ndarray, "4"], Float[np.ndarray, "3"]]:
    """A camera's axes in the world as (w, x, y, z), x right, y down, z forward, and its place."""
    turn = camera.rotation.double()
    wxyz = to_quaternion(turn.mT.contiguous())
    return wxyz.numpy(), -(turn.mT @ camera.translation.double()).numpy()


def field_of_view(camera: Camera) -> float:
    """Between the picture's upper and lower edge, radians."""
    return 2.0 * float(np.arctan2(camera.size[1] / 2, float(camera.focal[1])))


def _side(opacity: float | None) -> Literal["front", "double"]:
    """Through a transparent head its back would be seen, and spoil the face."""
    return "double" if opacity is None else "front"


def _scaled(towards: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = (_FAR * value for value in towards)
    return x, y, z


def _gradient(top: tuple[float, float, float], bottom: tuple[float, float, float]) -> UInt8[np.ndarray, "h w 3"]:
    share = np.linspace(0.0, 1.0, 128)[:, None, None] ** 1.5
    image = np.array(top) * (1.0 - share) + np.array(bottom) * share
    return np.rint(255.0 * np.broadcast_to(image, (128, 8, 3))).astype(np.uint8)


def _bytes(color: tuple[float, float, float]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * channel) for channel in color)
    return red, green, blue
