"""Cameras made from other things: a view of a head from the side, and a part of a picture at another size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.geometry.camera import project, world_to_camera
from flamehead.raster._checks import check_size

__all__ = ["Crop", "check_extent", "side_view"]


def side_view(
    vertices: Float[Tensor, "V 3"],
    size: tuple[int, int],
    *,
    rotation: Float[Tensor, "3 3"] | None = None,
    angle: float = math.radians(80),
    fill: float = 0.88,
) -> Camera:
    """A camera that looks at a head from its left side, upright in the head's own frame and framed on it.

    Args:
        vertices: World coordinates in metres.
        size: (width, height) of the picture in pixels.
        rotation: Head to world: its columns are the head's left, up and forward axes in the world; `None` is identity.
        angle: How far the camera is turned from the front about the head's vertical axis, radians.
        fill: Share of the picture's width or height that the head takes, whichever it meets first.
    """
    check_size("side_view()", size)
    points = vertices.detach().cpu().double()
    check_extent("side_view()", points)
    head = torch.eye(3).double() if rotation is None else rotation.detach().cpu().double()
    backward = head @ torch.tensor([math.sin(angle), 0.0, math.cos(angle)], dtype=torch.float64)
    up = head[:, 1]
    # Rows are the camera's axes in the world: x right = y down x z forward.
    turn = torch.stack([torch.linalg.cross(up, backward), -up, -backward])
    turned = points @ turn.mT
    low, high = turned.amin(0), turned.amax(0)
    # From three times the head's size away, perspective is that of a portrait.
    away = torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64) * (high - low).max()
    translation = away - (low + high) / 2
    flat = project(world_to_camera(points, turn, translation), torch.ones(2).double(), torch.zeros(2).double())
    box, middle = flat.amax(0) - flat.amin(0), (flat.amax(0) + flat.amin(0)) / 2
    pixels = torch.tensor(size, dtype=torch.float64)
    focal = (fill * pixels / box).min().expand(2)
    views = turn, translation, focal.clone(), pixels / 2 - focal * middle
    return Camera(*(value.to(vertices.dtype) for value in views), size=size)


def check_extent(who: str, points: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """The least and the greatest coordinates; refuses points that no camera can be framed on."""
    if not len(points):
        raise InputError(f"{who} got no vertices; give at least one.")
    low, high = points.amin(0), points.amax(0)
    if not bool((low.isfinite() & high.isfinite()).all()):
        raise InputError(f"{who} got vertices that are not finite; leave them out, or mend what made them.")
    return low, high


@dataclass(frozen=True)
class Crop:
    """A rectangle of a picture, shown at another size: `x_crop = scale * (x - corner)`; it may leave the picture."""

    corner: tuple[float, float]
    """(left, top) in pixels of the whole picture; need not be whole."""
    extent: tuple[float, float]
    """(width, height) in pixels of the whole picture."""
    size: tuple[int, int]
    """(width, height) at which it is shown."""

    @property
    def scale(self) -> Float[np.ndarray, "2"]:
        """Shown pixels per pixel, along x and y."""
        return np.array(self.size) / np.array(self.extent)

    def points(self, points: Float[np.ndarray, "L 2"]) -> Float[np.ndarray, "L 2"]:
        """Where points of the whole picture lie in this one."""
        return (np.asarray(points, dtype=np.float64) - np.array(self.corner)) * self.scale

    def camera(self, camera: Camera) -> Camera:
        """The camera of the whole picture, for this one."""
        scale = torch.as_tensor(self.scale).to(camera.focal)
        center = (camera.center - torch.tensor(self.corner, dtype=torch.float64).to(camera.center)) * scale
        return replace(camera, focal=camera.focal * scale, center=center, size=self.size)

    def image(self, image: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w 3"]:
        """The pixels of the rectangle, resampled; enlarged smoothly, or averaged when made smaller; black outside."""
        from PIL import Image

        (left, top), (width, height) = self.corner, self.extent
        pixels = np.asarray(image)
        x0, y0, x1, y1 = math.floor(left), math.floor(top), math.ceil(left + width), math.ceil(top + height)
        part = np.zeros((y1 - y0, x1 - x0, 3), dtype=np.uint8)
        rows, columns = (
            slice(max(y0, 0), max(min(y1, len(pixels)), 0)),
            slice(max(x0, 0), max(min(x1, pixels.shape[1]), 0)),
        )
        inside = np.rint(np.clip(pixels[rows, columns], 0.0, 1.0) * 255).astype(np.uint8)
        top_row, left_column = rows.start - y0, columns.start - x0
        part[top_row : top_row + len(inside), left_column : left_column + inside.shape[1]] = inside
        box = (left - x0, top - y0, left - x0 + width, top - y0 + height)
        shown = Image.fromarray(part).resize(self.size, Image.Resampling.LANCZOS, box=box)
        return np.asarray(shown, dtype=np.float32) / np.float32(255)
