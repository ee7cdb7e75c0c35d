"""Heads on a turntable: a camera that circles them, and pictures one after the other for `write_video`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.raster._checks import check_size
from flamehead.render.views import check_extent

__all__ = ["orbit_camera", "swing", "tile", "turntable"]

_TURNS = 24
"""Directions in which the outline of a turning head is measured."""


def orbit_camera(
    vertices: Float[Tensor, "*batch V 3"],
    size: tuple[int, int],
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    fov: float = math.radians(20),
    fill: float = 0.9,
    steady: bool = True,
) -> Camera:
    """A camera that looks at the middle of a mesh from any side.

    Args:
        vertices: World coordinates, y up, in any unit; a batch is framed together, for sweeps and comparisons.
        size: (width, height) of the picture in pixels.
        yaw: How far the camera stands to the head's left of the front (+z), radians.
        pitch: How far it stands above, radians, less than a right angle.
        fov: Angle between the picture's upper and lower edge, radians; small angles flatten like a long lens.
        fill: Share of the picture's width or height that the mesh takes, whichever it meets first.
        steady: Frame what all yaws see, so that the head neither grows nor shifts when it turns; otherwise this one.

    Raises:
        InputError: An angle or a share that makes no picture.
    """
    if not (0 < fov < math.pi and 0 < fill <= 1 and abs(pitch) < math.pi / 2 and math.isfinite(yaw)):
        raise InputError(
            f"A camera with yaw {yaw:.3g}, pitch {pitch:.3g}, fov {fov:.3g} and fill {fill:.3g} sees no picture; "
            "give pitch within a quarter and fov within half a turn, and fill up to 1."
        )
    check_size("orbit_camera()", size)
    points = vertices.detach().cpu().double().reshape(-1, 3)
    low, high = check_extent("orbit_camera()", points)
    middle = (low + high) / 2
    width, height = size
    focal = height / 2 / math.tan(fov / 2)
    half = torch.tensor([width, height], dtype=torch.float64) * fill / 2
    rotation = _looking(yaw, pitch)
    angles = [2 * math.pi * k / _TURNS for k in range(_TURNS)] if steady else [yaw]
    turns = torch.cat([_looking(angle, pitch) for angle in angles])
    seen = ((points - middle) @ turns.mT).reshape(-1, 3)
    # A point at (x, y, z) of the turned mesh is within the frame from `focal |x| / half - z` away on.
    away = (focal * seen[:, :2].abs() / half - seen[:, 2:]).max().clamp(min=1e-9)
    translation = torch.stack([torch.zeros_like(away), torch.zeros_like(away), away]) - rotation @ middle
    values = rotation, translation, torch.full((2,), focal).double(), torch.tensor(size).double() / 2
    dtype = vertices.dtype if vertices.is_floating_point() else torch.float32
    return Camera(*(value.to(dtype) for value in values), size=size)


def turntable(
    vertices: Float[Tensor, "V 3"],
    size: tuple[int, int],
    *,
    frames: int = 72,
    pitch: float = 0.0,
    fov: float = math.radians(20),
    turn: float = 2 * math.pi,
) -> Iterator[Camera]:
    """Cameras that go once around a mesh, towards the head's left first; the first frame follows the last one.

    Args:
        vertices: World coordinates, y up.
        size: (width, height) in pixels.
        frames: How many.
        pitch: Radians above the horizon.
        fov: As for `orbit_camera`.
        turn: Radians; less than a whole turn swings from the right to the left and back.
    """
    if frames < 1:
        raise InputError(f"A turntable of {frames} frames was asked for; give at least one.")
    whole = abs(turn) >= 2 * math.pi - 1e-9
    for k in range(frames):
        yaw = turn * k / frames if whole else turn / 2 * math.sin(2 * math.pi * k / frames)
        yield orbit_camera(vertices, size, yaw=yaw, pitch=pitch, fov=fov)


def swing(
    base: Float[Tensor, "*batch C"], rows: Int[Tensor, "N"] | Sequence[int], *, frames: int, reach: float = 2.0
) -> Iterator[Float[Tensor, "*batch C"]]:
    """Coefficients that go from the base to `reach`, to `-reach` and back along some components, smoothly, in a loop.

    Args:
        base: Identity or expression coefficients.
        rows: The components that move together.
        frames: How many.
        reach: Standard deviations.
    """
    ids = torch.as_tensor(rows, dtype=torch.int64)
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < base.shape[-1]:
        raise InputError(f"swing() was asked for components {list(rows)}, but there are {base.shape[-1]} from 0 on.")
    for k in range(frames):
        moved = base.clone()
        moved[..., ids] += reach * math.sin(2 * math.pi * k / frames)
        yield moved


def tile(
    pictures: Iterable[Float[np.ndarray, "H W 3"]],
    *,
    columns: int | None = None,
    background: float | Sequence[float] = 1.0,
) -> Float[np.ndarray, "h w 3"]:
    """Pictures of one size side by side, in rows; a row that is not full ends in the background.

    Args:
        pictures: At least one.
        columns: Per row; `None` makes the whole about as wide as high, or a little wider.
        background: Grey or sRGB colour of empty places.

    Raises:
        InputError: No pictures, or of different sizes.
    """
    tiles = list(pictures)
    if not tiles or len({picture.shape for picture in tiles}) > 1:
        raise InputError(
            f"Cannot tile {len(tiles)} pictures of {len({p.shape for p in tiles})} sizes; make them equal."
        )
    if columns is not None and columns < 1:
        raise InputError(f"columns is {columns}; give 1 or more, or None.")
    if columns is None:
        height, width = tiles[0].shape[:2]
        columns = max(1, math.ceil(math.sqrt(len(tiles) * height / width) - 1e-9))
    columns = min(columns, len(tiles))
    empty = np.broadcast_to(np.asarray(background, dtype=tiles[0].dtype), tiles[0].shape)
    tiles += [empty] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[row : row + columns]) for row in range(0, len(tiles), columns)])


def _looking(yaw: float, pitch: float) -> Float[Tensor, "3 3"]:
    """World to camera for a camera at that yaw and pitch, its picture upright."""
    backward = torch.tensor(
        [math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)], dtype=torch.float64
    )
    right = torch.tensor([math.cos(yaw), 0.0, -math.sin(yaw)], dtype=torch.float64)
    # y down is z forward x x right.
    down = torch.linalg.cross(-backward, right)
    return torch.stack([right, down, -backward])
