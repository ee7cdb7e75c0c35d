"""The door of this room: find the faces of an image, however they lie in it, and place their points accurately."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from flamehead.data import LandmarkScheme, Observation
from flamehead.detect._window import Window, cut, to_picture
from flamehead.detect.mediapipe import SOURCE, find_meshes
from flamehead.detect.schemes import select
from flamehead.errors import InputError, NoFaceFound
from flamehead.geometry.landmark_sets import MEDIAPIPE_MIRROR

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["detect_face", "detect_faces", "upright_window"]

_log = logging.getLogger(__name__)

_FINE = 512
"""Canvas of the accurate pass; the face fills about half of it, more pixels change nothing (the network sees 192)."""

_SURE = 0.016
"""A doubt below this needs no second opinion; clear faces have 0.004-0.013, faces on their head 0.02-0.15."""

_TOO_SMALL = 16
"""Pixels; no network sees a face in less."""


@dataclass(frozen=True)
class _Face:
    points: Float[np.ndarray, "478 2"]
    doubt: float
    """Mean distance between the points found in the picture and in its mirror image, by the size of the face."""

    @property
    def center(self) -> Float[np.ndarray, "2"]:
        return (self.points.min(axis=0) + self.points.max(axis=0)) / 2

    @property
    def extent(self) -> float:
        return float(np.ptp(self.points, axis=0).max())


def detect_faces(image: Float[np.ndarray, "H W 3"], *, scheme: LandmarkScheme = "mediapipe478") -> list[Observation]:
    """Find the faces of an image, the largest first; an empty list when there is none.

    The whole image is searched first; then, until something is found, with a border around it (a face that fills the
    frame), in overlapping parts (small faces), turned (a picture that lies on its side), and all that again with the
    shadows lifted. Each face is then seen again in an upright crop and in its mirror image, and the two are averaged:
    this halves the scatter of the points. Profiles beyond about 60 degrees are not found.

    Args:
        image: Float RGB in [0, 1].
        scheme: Which points to return; `mediapipe478` holds all others.

    Returns:
        Observations whose `score` tells how well the crop and its mirror image agree: about 0.9 for a clear face,
        below 0.5 for a doubtful one.

    Raises:
        MissingExtra: MediaPipe is not installed.
        InputError: `image` is not a float RGB image.
    """
    _check_image(image)
    size = (image.shape[1], image.shape[0])
    faces = sorted(_search(image), key=lambda face: -face.extent)
    return [
        Observation(select(face.points, "mediapipe478", scheme), scheme, size, _score(face), SOURCE) for face in faces
    ]


def detect_face(
    image: Float[np.ndarray, "H W 3"], *, face: int = 0, scheme: LandmarkScheme = "mediapipe478"
) -> Observation:
    """Find one face: number `face` counted from the largest, see `detect_faces`.

    Raises:
        NoFaceFound: There is no face in the image.
        InputError: There are fewer faces than asked for, or `image` is not a float RGB image.
        MissingExtra: MediaPipe is not installed.
    """
    faces = detect_faces(image, scheme=scheme)
    if not faces:
        raise NoFaceFound(
            f"No face found in the image of {image.shape[1]} x {image.shape[0]} pixels; crop it to the head, "
            "use a picture with better light, or give the landmarks in a file with --landmarks."
        )
    if not 0 <= face < len(faces):
        count = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
        raise InputError(
            f"Asked for face {face}, but the image shows {count}; "
            f"give a number from 0 (the largest) to {len(faces) - 1}."
        )
    return faces[face]


def _check_image(image: Float[np.ndarray, "H W 3"]) -> None:
    shape, dtype = np.shape(image), getattr(image, "dtype", type(image).__name__)
    if len(shape) != 3 or shape[2] != 3 or 0 in shape or getattr(dtype, "kind", "") != "f":
        raise InputError(
            f"Got an image of shape {shape} and type {dtype}; wanted float RGB of shape (height, width, 3) in [0, 1]."
        )
    if not np.isfinite(image).all():
        raise InputError("The image holds NaN or infinite values; replace them first.")


def _score(face: _Face) -> float:
    """1 for perfect agreement, 1/2 where crop and mirror image differ by 4 % of the face's size."""
    return 1.0 / (1.0 + (face.doubt / 0.04) ** 2)


def _search(image: Float[np.ndarray, "H W 3"]) -> list[_Face]:
    """The faces of the first stage that shows any, and those that finer grids add to them."""
    if max(image.shape[:2]) < _TOO_SMALL:
        return []
    for stretch in (False, True):
        picture = to_picture(image, stretch=stretch)
        for stage in _stages(picture.size):
            faces = _look(picture, stage)
            if faces:
                _log.debug("%d face(s) in stage %r, shadows lifted: %s", len(faces), stage.name, stretch)
                return faces if stage.name in ("border", "turned") else _complete(picture, stage, faces)
        # The finest grid costs seconds: not again for the lifted shadows.
        if not stretch and (faces := _look(picture, _grid(picture.size, 3))):
            return faces
    return []


def _complete(picture: Image.Image, stage: _Stage, faces: list[_Face]) -> list[_Face]:
    """Add whoever in a group was too small to be seen, as long as finer grids find someone."""
    for level in range(stage.level + 1, 4):
        more = _look(picture, _grid(picture.size, level), known=faces)
        if len(more) == len(faces):
            break
        faces = more
    return faces


@dataclass(frozen=True)
class _Stage:
    name: str
    windows: list[Window]
    size: int
    """Of the canvas that each window is sampled into."""
    limit: float
    """Largest doubt: the more windows, the more chance finds."""
    level: int = 0
    """Of a grid: its windows have 1 / 2**level of the longer side."""


def _stages(size: tuple[int, int]) -> Iterator[_Stage]:
    """Where to look, in this order."""
    middle, long = (size[0] / 2, size[1] / 2), float(max(size))
    yield _Stage("whole", [Window(middle, long)], min(max(int(long), 256), 1280), 0.08)
    yield _Stage("border", [Window(middle, long * 1.5), Window(middle, long * 2.5)], 512, 0.08)
    yield _grid(size, 1)
    quarter = math.pi / 2
    turned = [Window(middle, long * zoom, angle) for zoom in (1.0, 1.6) for angle in (quarter, -quarter, 2 * quarter)]
    yield _Stage("turned", turned, 640, 0.04)
    yield _grid(size, 2)


def _grid(size: tuple[int, int], level: int) -> _Stage:
    """Windows of 1 / 2**level of the longer side that overlap by half, from the top down; none below 128 pixels."""
    side = max(size) / 2**level

    def middles(length: int) -> Float[np.ndarray, "N"]:
        count = max(1, math.ceil((length - side) / (side / 2)) + 1)
        margin = min(side, length) / 2
        return np.linspace(margin, length - margin, count)

    places = [(float(x), float(y)) for y in middles(size[1]) for x in middles(size[0])] if side >= 128 else []
    return _Stage(f"grid {level}", [Window(place, side) for place in places], 384, 0.04, level)


def _look(picture: Image.Image, stage: _Stage, *, known: list[_Face] | None = None) -> list[_Face]:
    """The known faces and those seen in the windows of a stage, each of them confirmed and refined."""
    faces = list(known or [])
    for window in stage.windows:
        for points in find_meshes(cut(picture, window, size=stage.size)):
            rough = _Face(window.canvas_to_picture(points, stage.size), math.inf)
            if _is_known(rough, faces):
                continue
            face = _refine(picture, rough)
            if face is not None and face.doubt < stage.limit and not _is_known(face, faces):
                faces.append(face)
    return faces


def _is_known(face: _Face, faces: list[_Face]) -> bool:
    return any(np.linalg.norm(face.center - other.center) < max(face.extent, other.extent) / 2 for other in faces)


def _refine(picture: Image.Image, rough: _Face) -> _Face | None:
    """See a face again, upright and in the middle of a crop; None if it is not there any more or not credible.

    On a face that lies on its side or stands on its head the network often sees an upright face all the same, with
    every point wrong. The mirror image shows this: then the other ways up are tried and must agree clearly better.
    """
    best = _settle(picture, rough)
    if best is not None and best.doubt < _SURE:
        return best
    for turn in (math.pi, math.pi / 2, -math.pi / 2):
        other = _settle(picture, rough, turn=turn)
        if other is not None and (best is None or other.doubt < 0.7 * best.doubt):
            best = other
    return best


def _settle(picture: Image.Image, rough: _Face, *, turn: float = 0.0) -> _Face | None:
    """Repeat the accurate look until the crop is right; a first look is rough at a border or on a small face."""
    face = rough
    for _ in range(3):
        windows = [upright_window(face.points, zoom, turn=turn) for zoom in (2.0, 2.6)]
        seen = _see(picture, windows[0]) or _see(picture, windows[1])
        if seen is None:
            return None
        moved = np.linalg.norm(seen.center - face.center) + abs(seen.extent - face.extent)
        face, turn = seen, 0.0
        if moved < 0.08 * face.extent:
            break
    return face


def _see(picture: Image.Image, window: Window) -> _Face | None:
    """The face in the middle of a window: the average of what is seen in it and in its mirror image."""
    canvas = cut(picture, window, size=_FINE)
    plain, mirrored = _central(find_meshes(canvas)), _central(find_meshes(canvas[:, ::-1]))
    if plain is None or mirrored is None:
        return None
    back = mirrored[MEDIAPIPE_MIRROR] * (-1.0, 1.0) + (_FINE, 0.0)
    doubt = np.linalg.norm(plain - back, axis=1).mean() / np.ptp(plain, axis=0).max()
    return _Face(window.canvas_to_picture((plain + back) / 2, _FINE), float(doubt))


def _central(meshes: list[Float[np.ndarray, "478 2"]]) -> Float[np.ndarray, "478 2"] | None:
    """The mesh nearest to the middle of the canvas, if it lies there at all: others are neighbours."""

    def distance(points: Float[np.ndarray, "478 2"]) -> float:
        return float(np.linalg.norm((points.min(axis=0) + points.max(axis=0)) / 2 - _FINE / 2))

    best = min(meshes, key=distance, default=None)
    return best if best is not None and distance(best) < _FINE / 5 else None


def upright_window(points: Float[np.ndarray, "478 2"], zoom: float, *, turn: float = 0.0) -> Window:
    """A window around a face whose x axis runs from the right eye to the left one."""
    across = points[[263, 362]].mean(axis=0) - points[[33, 133]].mean(axis=0)
    angle = math.atan2(across[1], across[0])
    axes = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    upright = points @ axes
    low, high = upright.min(axis=0), upright.max(axis=0)
    x, y = axes @ ((low + high) / 2)
    return Window((float(x), float(y)), max(float((high - low).max()) * zoom, 1.0), angle + turn)
