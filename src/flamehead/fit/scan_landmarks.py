"""Find the landmarks of a scan by looking at it.

The scan is rendered from many sides, whichever way up it lies; where a face shows, it is rendered again upright from
the front and from both sides, its landmarks are detected, and each pixel is lifted to the surface under it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from flamehead.errors import InputError, NoFaceFound
from flamehead.fit.points import paired_landmarks
from flamehead.fit.scan_samples import Scan
from flamehead.geometry.camera import project, world_to_camera
from flamehead.geometry.landmark_sets import FACE_OVAL, LEFT_IRIS, MEDIAPIPE_MIRROR, RIGHT_IRIS
from flamehead.geometry.similarity import Similarity, align_points, moved
from flamehead.raster import interpolate, rasterize
from flamehead.render import CLAY, render, side_view

if TYPE_CHECKING:
    from flamehead.data import Camera
    from flamehead.model import Flame

__all__ = ["ScanLandmarks", "find_scan_landmarks"]

_log = logging.getLogger(__name__)

_EXTENT = 0.3
"""Metres to which a scan of unknown unit is brought for the camera."""
_SEARCH_SIZE, _FINE_SIZE = 320, 640
_SEARCH_CELLS, _FINE_CELLS = 128, 640
"""Cells along 0.3 m in which the vertices of a mesh of too many faces are merged."""
_MANY_SEARCH_FACES, _MANY_FINE_FACES = 40_000, 200_000
_DOUBT = 0.06
"""Largest distance between what is seen in a picture and in its mirror image, share of the face's size."""
_YAWS = (0.0, 0.45, -0.45)
"""Of the fine views, radians."""
_MISFIT = 0.16
"""Largest distance to the mean head's landmarks, share of their spread; faces stay below half of it."""
_JUMP = 0.01
"""Difference in depth of neighbouring pixels from which a point lies on an edge, metres of a head."""
_AGREE = 0.006
"""Distance from the median over the views within which a view takes part in the mean, metres of a head."""


@dataclass(frozen=True)
class ScanLandmarks:
    """Landmarks found on a scan."""

    points: Float[np.ndarray, "478 3"]
    """In the scan's frame and unit; NaN where no view saw the point, for pupils and for the face's outline."""
    views: int
    """How many views took part."""
    misfit: float
    """Median distance to the mean head's landmarks, share of their spread."""


@dataclass(frozen=True)
class _Drawn:
    """What is rendered: a mesh of about a head's size about the origin."""

    vertices: Float[torch.Tensor, "V 3"]
    faces: Int[torch.Tensor, "F 3"]
    colors: Float[np.ndarray, "V 3"] | tuple[float, float, float]


def find_scan_landmarks(flame: Flame, scan: Scan, *, colors: Float[np.ndarray, "V 3"] | None = None) -> ScanLandmarks:
    """Find the face of a scan, however it lies, and its landmarks.

    Args:
        flame: The model, whose mean landmarks judge what was found.
        scan: From `clean_scan`.
        colors: sRGB of the scan's vertices, where known: a photo-like scan is seen better.

    Raises:
        NoFaceFound: No view shows a face.
        InputError: The scan is a point cloud, which cannot be rendered.
        MissingExtra: There is no detector.
    """
    if not len(scan.faces):
        raise InputError(
            "The scan is a point cloud, in which no landmarks can be found; give them with --landmarks FILE, or a mesh."
        )
    used = scan.vertices[scan.areas > 0.0]
    low, high = np.percentile(used, [0.5, 99.5], axis=0)
    middle, scale = (low + high) / 2, _EXTENT / max(float((high - low).max()), 1e-30)
    whole = _Drawn(
        torch.as_tensor((scan.vertices - middle) * scale).float(),
        torch.as_tensor(scan.faces),
        CLAY if colors is None else colors,
    )
    whole = _coarse(whole, cells=_FINE_CELLS, most=_MANY_FINE_FACES)
    best: tuple[float, Float[np.ndarray, "478 3"], int] | None = None
    for rough in _rough_faces(_coarse(whole, cells=_SEARCH_CELLS, most=_MANY_SEARCH_FACES)):
        points, views = _fine_landmarks(flame, whole, rough)
        misfit = _misfit(flame, points)
        _log.debug("A face in %d views, misfit %.3f", views, misfit)
        if best is None or misfit < best[0]:
            best = misfit, points, views
        if misfit < 0.5 * _MISFIT:
            break
    if best is None or best[0] > _MISFIT:
        raise NoFaceFound(
            "No face was found on the scan from any side; give its landmarks with --landmarks FILE (51 or 68 points)."
        )
    return ScanLandmarks(best[1] / scale + middle, best[2], best[0])


def _coarse(drawn: _Drawn, *, cells: int, most: int) -> _Drawn:
    """A mesh of fewer triangles that looks the same from afar, where there are many."""
    if len(drawn.faces) <= most:
        return drawn
    places = torch.round(drawn.vertices * (cells / _EXTENT)).long() + (1 << 20)
    keys = (places[:, 0] << 42) | (places[:, 1] << 21) | places[:, 2]
    _, first, merged = np.unique(keys.numpy(), return_index=True, return_inverse=True)
    faces = merged.reshape(-1)[drawn.faces.numpy()]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    colors = drawn.colors if isinstance(drawn.colors, tuple) else drawn.colors[first]
    return _Drawn(drawn.vertices[torch.as_tensor(first)], torch.as_tensor(faces), colors)


def _rough_faces(drawn: _Drawn) -> Iterator[Float[np.ndarray, "478 3"]]:
    """Landmarks lifted from single views in which a face was seen, the usual way up first."""
    from flamehead.detect.mediapipe import find_meshes

    x, y, z = np.eye(3)
    ways = [(y, z), (z, -y), (-z, y), (-y, -z), (x, z), (-x, z)]
    for up, forward in ways:
        found = []
        for yaw in np.linspace(0.0, 2.0 * np.pi, 8, endpoint=False):
            view = _camera(drawn, np.stack([np.cross(up, forward), up, forward], axis=1), yaw, _SEARCH_SIZE)
            picture = _picture(drawn, view)
            for pixels in find_meshes(np.rint(picture * 255.0).astype(np.uint8))[:1]:
                if _is_upright(pixels):
                    lifted = _lift(drawn, view, pixels)
                    found.append((np.isfinite(lifted).all(axis=1).sum(), len(found), lifted))
        # The view that sees most of the face is the most frontal one.
        yield from (lifted for seen, _, lifted in sorted(found, key=lambda one: -one[0])[:2] if seen > 200)


def _is_upright(pixels: Float[np.ndarray, "478 2"]) -> bool:
    """Whether the eyes lie above the mouth; on a head that lies down the network sees faces that are not there."""
    eyes, mouth = pixels[[33, 263]].mean(axis=0), pixels[[61, 291]].mean(axis=0)
    down = mouth - eyes
    return bool(down[1] > abs(down[0]))


def _fine_landmarks(
    flame: Flame, drawn: _Drawn, rough: Float[np.ndarray, "478 3"]
) -> tuple[Float[np.ndarray, "478 3"], int]:
    """Look again from the front and from both sides of the face, twice, as the first look may be oblique."""
    points, views = rough, 0
    for yaws in ((0.0,), (0.0,), _YAWS):
        head = _head_frame(flame, points)
        if head is None:
            return np.full((478, 3), np.nan), 0
        near = _cut(drawn, points)
        seen = []
        for yaw in yaws:
            view = _camera(near, head.rotation, yaw, _FINE_SIZE)
            pixels = _see(_picture(near, view))
            if pixels is not None:
                seen.append(_lift(near, view, pixels))
        if not seen:
            return np.full((478, 3), np.nan), 0
        size = head.scale
        points, views = _merged(np.stack(seen), size), len(seen)
    points[np.concatenate([FACE_OVAL, LEFT_IRIS, RIGHT_IRIS])] = np.nan
    return points, views


def _see(picture: Float[np.ndarray, "N N 3"]) -> Float[np.ndarray, "478 2"] | None:
    """The face of a picture that it fills upright: the average of what is seen in it and in its mirror image."""
    from flamehead.detect.mediapipe import find_meshes

    canvas = np.rint(picture * 255.0).astype(np.uint8)
    plain, mirrored = find_meshes(canvas)[:1], find_meshes(canvas[:, ::-1])[:1]
    if not plain or not mirrored:
        return None
    back = mirrored[0][MEDIAPIPE_MIRROR] * (-1.0, 1.0) + (len(canvas), 0.0)
    doubt = np.linalg.norm(plain[0] - back, axis=1).mean() / np.ptp(plain[0], axis=0).max()
    return (plain[0] + back) / 2 if doubt < _DOUBT else None


def _cut(drawn: _Drawn, points: Float[np.ndarray, "478 3"]) -> _Drawn:
    """The part of the mesh around a face, so that the face fills the picture."""
    middle = np.nanmedian(points, axis=0)
    radius = 1.6 * float(np.nanmax(np.linalg.norm(points - middle, axis=1)))
    inside = (drawn.vertices - torch.as_tensor(middle).float()).norm(dim=1) < radius
    faces = drawn.faces[inside[drawn.faces].all(dim=1)]
    used, renamed = torch.unique(faces, return_inverse=True)
    colors = drawn.colors if isinstance(drawn.colors, tuple) else np.asarray(drawn.colors)[used.numpy()]
    return _Drawn(drawn.vertices[used], renamed.reshape(-1, 3), colors)


def _head_frame(flame: Flame, points: Float[np.ndarray, "478 3"]) -> Similarity | None:
    """The similarity from the mean head to what was seen."""
    try:
        marks = paired_landmarks(flame, points)
        own = np.einsum("kc,kca->ka", marks.barycentric, flame.arrays.template[marks.corners])
        return align_points(own, marks.seen, robust=True)
    except InputError:
        return None


def _misfit(flame: Flame, points: Float[np.ndarray, "478 3"]) -> float:
    """How far the landmarks are from a mean head's: median distance over root mean square spread."""
    head = _head_frame(flame, points)
    if head is None:
        return float("inf")
    marks = paired_landmarks(flame, points)
    own = moved(np.einsum("kc,kca->ka", marks.barycentric, flame.arrays.template[marks.corners]), head)
    spread = float(np.sqrt(((own - own.mean(axis=0)) ** 2).sum(axis=1).mean()))
    return float(np.median(np.linalg.norm(own - marks.seen, axis=1))) / max(spread, 1e-30)


def _camera(drawn: _Drawn, rotation: Float[np.ndarray, "3 3"], yaw: float, size: int) -> Camera:
    return side_view(
        drawn.vertices, (size, size), rotation=torch.as_tensor(np.ascontiguousarray(rotation)), angle=float(yaw)
    )


def _picture(drawn: _Drawn, view: Camera) -> Float[np.ndarray, "H W 3"]:
    return render(
        drawn.vertices, drawn.faces, view, colors=drawn.colors, background=(0.35, 0.38, 0.42), supersample=1
    ).image


def _lift(drawn: _Drawn, view: Camera, pixels: Float[np.ndarray, "L 2"]) -> Float[np.ndarray, "L 3"]:
    """The surface points under pixels; NaN beside the surface and at its edges."""
    in_camera = world_to_camera(drawn.vertices, view.rotation, view.translation)
    screen = torch.cat([project(in_camera, view.focal, view.center), in_camera[:, 2:]], dim=1)
    seen = rasterize(screen, drawn.faces, view.size)
    places = interpolate(drawn.vertices, drawn.faces, seen).numpy()
    width, height = view.size
    x, y = np.clip(np.floor(pixels).astype(int), 1, [width - 2, height - 2]).T
    depth = seen.depth.numpy()
    around = np.stack([depth[y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    with np.errstate(invalid="ignore"):
        edge = ~(around.max(axis=0) - around.min(axis=0) < _JUMP)
    outside = (pixels < 1.0).any(axis=1) | (pixels > np.array([width - 1, height - 1])).any(axis=1)
    lifted = places[y, x].astype(np.float64)
    lifted[edge | outside] = np.nan
    return lifted


def _merged(seen: Float[np.ndarray, "N L 3"], size: float) -> Float[np.ndarray, "L 3"]:
    """For each landmark the mean of the views that agree with their median; the first view is the frontal one."""
    counts = np.isfinite(seen[..., 0]).sum(axis=0)
    merged = np.full(seen.shape[1:], np.nan)
    some = counts > 0
    median = np.nanmedian(seen[:, some], axis=0)
    apart = np.linalg.norm(seen[:, some] - median, axis=2)
    agree = apart < _AGREE * size
    weight = np.where(agree, 1.0, 0.0)
    total = weight.sum(axis=0)
    mean = np.where(agree[..., None], seen[:, some], 0.0).sum(axis=0) / np.maximum(total, 1.0)[:, None]
    merged[some] = np.where(total[:, None] > 0, mean, np.nan)
    return merged
