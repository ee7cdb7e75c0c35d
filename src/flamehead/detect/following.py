"""One face followed through a video, quickly and without memory: a result depends on its arguments alone.

MediaPipe's own tracking mode keeps state from picture to picture, so that a run that is stopped and continued would end
with other numbers. Here the landmarks of the frame before say where to look, and nothing else is carried over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

from flamehead.detect._window import Window, cut
from flamehead.detect.faces import detect_faces, upright_window
from flamehead.detect.mediapipe import SOURCE, find_meshes
from flamehead.geometry.landmark_sets import MEDIAPIPE_MIRROR

__all__ = ["SOURCE", "count_faces", "extent", "follow_face", "is_same_place", "search_face"]

_CANVAS = 256
"""Pixels of the window that is looked at; more change nothing, because the network sees 192 of them."""
_ZOOMS = (2.0, 3.0)
"""Sides of the windows by the size of the face; the wider one is for faces that moved fast."""
_CENTRAL = 0.3
"""A face counts that lies so near the middle of the window, by its side."""
_MOVED = 0.12
"""By its size; a face that moved farther is seen again in the middle of a window, where the network is accurate."""
_DOUBTFUL = 0.08
"""Largest mean distance between the points of a look and of its mirror image, by the size of the face."""
_GROWN = 1.6
"""Factor by which a face may grow or shrink between two frames."""
_SMALLEST = 12.0
"""Pixels; no face is seen in less."""
_SEARCHED = 1280
"""Longest side of the picture that is searched."""


@dataclass(frozen=True)
class _Seen:
    points: Float[np.ndarray, "478 2"]
    doubt: float


def follow_face(
    pixels: UInt8[np.ndarray, "H W 3"], near: Float[np.ndarray, "478 2"]
) -> tuple[Float32[np.ndarray, "478 2"], float]:
    """See a face again that was seen in the frame before; points are means of a look and of one in a mirror.

    Args:
        pixels: sRGB, upright.
        near: The landmarks in the frame before, pixels.

    Returns:
        Landmarks in pixels, NaN where the face is not there any more, and a score as that of `detect_face`, 0 then.

    Raises:
        MissingExtra: MediaPipe is not installed.

    Example:
        >>> points, score = follow_face(frame, points)  # doctest: +SKIP
    """
    near = np.asarray(near, dtype=np.float64)
    for zoom in _ZOOMS:
        seen = _look(pixels, near, zoom)
        if seen is not None and _plausible(seen.points, near):
            if _distance(seen.points, near) > _MOVED * extent(near):
                # Its own place decides the window now, so that a face that stops is seen as one that stood still.
                again = _look(pixels, seen.points, _ZOOMS[0])
                seen = again if again is not None and _plausible(again.points, near) else seen
            return seen.points.astype(np.float32), 1.0 / (1.0 + (seen.doubt / 0.04) ** 2)
    return np.full((478, 2), np.nan, dtype=np.float32), 0.0


def search_face(
    pixels: UInt8[np.ndarray, "H W 3"],
    *,
    like: Float[np.ndarray, "478 2"] | None = None,
    reach: float = math.inf,
    thorough: bool = False,
) -> tuple[Float32[np.ndarray, "478 2"], float]:
    """Look for a face all over a picture.

    Args:
        pixels: sRGB, upright.
        like: Where the wanted face was last; None takes the largest.
        reach: How far from there it may be, by its size; one within reach must be of similar size, too.
        thorough: Take seconds, if need be, to find small, turned and badly lit faces.

    Returns:
        As `follow_face`.
    """
    for points in sorted(_candidates(pixels, thorough), key=lambda points: _unlike(points, like)):
        near_enough = like is None or not math.isfinite(reach) or (
            _distance(points, like) < reach * extent(like) and _similar(points, like)
        )  # fmt: skip
        if near_enough:
            found, score = follow_face(pixels, points)
            if score > 0:
                return found, score
    return np.full((478, 2), np.nan, dtype=np.float32), 0.0


def count_faces(pixels: UInt8[np.ndarray, "H W 3"], known: Float[np.ndarray, "478 2"]) -> int:
    """How many faces a quick look over the whole picture shows beside a known one."""
    return sum(not is_same_place(points, known) for points in _candidates(pixels, thorough=False))


def extent(points: Float[np.ndarray, "478 2"]) -> float:
    """The longer side of the box around a face, pixels."""
    return float(np.ptp(points, axis=0).max())


def is_same_place(points: Float[np.ndarray, "478 2"], other: Float[np.ndarray, "478 2"]) -> bool:
    """Whether two sets of landmarks are of one face in one picture."""
    return _distance(points, other) < max(extent(points), extent(other)) / 2


def _look(pixels: UInt8[np.ndarray, "H W 3"], near: Float[np.ndarray, "478 2"], zoom: float) -> _Seen | None:
    window = upright_window(near, zoom)
    if window.side < _SMALLEST * zoom:
        return None
    canvas = _cut(pixels, window, _CANVAS)
    plain, mirrored = _central(find_meshes(canvas)), None
    if plain is not None:
        mirrored = _central(find_meshes(canvas[:, ::-1]))
    if plain is None or mirrored is None:
        return None
    back = mirrored[MEDIAPIPE_MIRROR] * (-1.0, 1.0) + (_CANVAS, 0.0)
    doubt = float(np.linalg.norm(plain - back, axis=1).mean() / np.ptp(plain, axis=0).max())
    return None if doubt > _DOUBTFUL else _Seen(window.canvas_to_picture((plain + back) / 2, _CANVAS), doubt)


def _cut(pixels: UInt8[np.ndarray, "H W 3"], window: Window, size: int) -> UInt8[np.ndarray, "N N 3"]:
    """`cut` of the part of a large picture that matters; converting all of it would take longer than the network."""
    from PIL import Image

    reach = window.side * 0.75 + 4.0 * max(1.0, window.side / size) + 4.0
    (x, y), (height, width) = window.center, pixels.shape[:2]
    left, top = (int(np.clip(v - reach, 0, end - 1)) for v, end in ((x, width), (y, height)))
    right, bottom = (int(np.clip(v + reach, first + 1, end)) for v, first, end in ((x, left, width), (y, top, height)))
    part = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    return cut(part, Window((x - left, y - top), window.side, window.angle), size=size)


def _central(meshes: list[Float[np.ndarray, "478 2"]]) -> Float[np.ndarray, "478 2"] | None:
    middle = np.array([_CANVAS / 2, _CANVAS / 2])
    best = min(meshes, key=lambda points: float(np.linalg.norm(_middle(points) - middle)), default=None)
    return best if best is not None and np.linalg.norm(_middle(best) - middle) < _CENTRAL * _CANVAS else None


def _candidates(pixels: UInt8[np.ndarray, "H W 3"], thorough: bool) -> list[Float[np.ndarray, "478 2"]]:
    height, width = pixels.shape[:2]
    if thorough:
        step = -(-max(height, width) // _SEARCHED)
        small = _reduced(pixels, step)
        found = detect_faces(small.astype(np.float32) / np.float32(255))
        return [face.points.astype(np.float64) * step for face in found]
    long = float(max(height, width))
    canvas_size = int(np.clip(long, 256, 640))
    window = Window((width / 2, height / 2), long)
    return [window.canvas_to_picture(points, canvas_size) for points in find_meshes(_cut(pixels, window, canvas_size))]


def _reduced(pixels: UInt8[np.ndarray, "H W 3"], step: int) -> UInt8[np.ndarray, "h w 3"]:
    from PIL import Image

    return pixels if step <= 1 else np.asarray(Image.fromarray(pixels).reduce(step))


def _middle(points: Float[np.ndarray, "478 2"]) -> Float[np.ndarray, "2"]:
    return (points.min(axis=0) + points.max(axis=0)) / 2


def _distance(points: Float[np.ndarray, "478 2"], other: Float[np.ndarray, "478 2"]) -> float:
    return float(np.linalg.norm(_middle(points) - _middle(other)))


def _similar(points: Float[np.ndarray, "478 2"], other: Float[np.ndarray, "478 2"]) -> bool:
    return abs(math.log(extent(points) / max(extent(other), 1e-6))) < math.log(_GROWN)


def _plausible(points: Float[np.ndarray, "478 2"], near: Float[np.ndarray, "478 2"]) -> bool:
    """Whether a face may have come from there within a frame."""
    return is_same_place(points, near) and _similar(points, near)


def _unlike(points: Float[np.ndarray, "478 2"], like: Float[np.ndarray, "478 2"] | None) -> float:
    if like is None:
        return -extent(points)
    return _distance(points, like) / extent(like) + 2.0 * abs(math.log(max(extent(points), 1e-6) / extent(like)))
