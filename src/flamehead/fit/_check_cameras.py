"""What is wrong with the cameras of several photos, found before anything is fitted.

The landmarks of one head are triangulated with the cameras as they are given, and as they would be if they were meant
otherwise: camera to world, OpenGL's axes, photos of another resolution. The right reading makes the rays of each
landmark meet in front of all cameras, and the distance of the eyes then tells the unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Float

from flamehead.errors import InputError
from flamehead.formats import CalibratedCamera

__all__ = ["check_cameras", "triangulate"]

_LOOSE = 0.08
"""Median reprojection error over the eye distance up to which cameras are right; detectors stay below 0.04."""
_CLEARLY = 0.4
"""Another reading must have less than this share of the error."""
_IN_FRONT = 0.9
_UNITS = {"millimetres": 1000.0, "centimetres": 100.0, "inches": 1.0 / 0.0254, "feet": 1.0 / 0.3048}
_FLIP = np.diag([1.0, -1.0, -1.0])
_POSES = {
    (False, False): "",
    (True, False): "camera to world instead of world to camera",
    (False, True): "with OpenGL's axes (y up, z backward) instead of OpenCV's",
    (True, True): "camera to world with OpenGL's axes (y up, z backward) instead of world to camera with OpenCV's",
}


@dataclass(frozen=True)
class _Reading:
    """One way to understand cameras, and how well landmarks agree with it."""

    inverse: bool
    opengl: bool
    zoom: float
    error: float
    """Median distance of seen and triangulated landmarks in the photos, pixels; infinite if they lie behind."""
    points: Float[np.ndarray, "L 3"]


def triangulate(
    cameras: Sequence[CalibratedCamera], seen: Float[np.ndarray, "K L 2"]
) -> tuple[Float[np.ndarray, "L 3"], Float[np.ndarray, "K L"], float]:
    """World points whose rays meet best, in the cameras' unit, by the direct linear transform.

    Args:
        cameras: One per photo.
        seen: Pixels without distortion; NaN where a landmark was not seen. Landmarks in fewer than two photos are NaN.

    Returns:
        The points, their distances from the seen ones in pixels, and the share of views in which they lie in front.
    """
    # The size of the world does not matter to the result, but to rounding it does.
    size = float(np.mean([np.linalg.norm(c.translation) for c in cameras])) or 1.0
    rows = []
    for camera, pixels in zip(cameras, seen, strict=True):
        pose = np.column_stack([camera.rotation, camera.translation / size])
        rays = (pixels - camera.matrix[:2, 2]) / camera.matrix[[0, 1], [0, 1]]
        row = rays[:, :, None] * pose[2] - pose[:2]
        rows.append(np.where(np.isfinite(row), row, 0.0))
    system = np.concatenate(rows, axis=1)
    null = np.linalg.svd(system)[2][:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        points = size * null[:, :3] / null[:, 3:]
    points[np.isfinite(seen).all(axis=2).sum(axis=0) < 2] = np.nan
    errors, front = np.full(seen.shape[:2], np.nan), []
    for k, camera in enumerate(cameras):
        x = points @ camera.rotation.T + camera.translation
        with np.errstate(divide="ignore", invalid="ignore"):
            placed = camera.matrix[[0, 1], [0, 1]] * x[:, :2] / x[:, 2:] + camera.matrix[:2, 2]
        errors[k] = np.linalg.norm(placed - seen[k], axis=1)
        known = np.isfinite(errors[k])
        front.append(float((x[known, 2] > 0).mean()) if known.any() else 0.0)
    return points, errors, float(np.mean(front))


def check_cameras(
    cameras: Sequence[CalibratedCamera],
    seen: Float[np.ndarray, "K L 2"],
    *,
    sizes: Sequence[tuple[int, int]],
    eyes: tuple[int, int],
    eye_distance: float,
    metric: bool,
) -> Float[np.ndarray, "L 3"]:
    """Make sure that cameras and landmarks belong together.

    Args:
        cameras: One per photo.
        seen: Pixels without distortion.
        sizes: Of the photos, pixels.
        eyes: Rows of the outer eye corners.
        eye_distance: Between them on the mean head, metres.
        metric: Whether the cameras should be in metres.

    Returns:
        The landmarks in the world, in the cameras' unit.

    Raises:
        InputError: They do not; the sentence says which mistake explains it.
    """
    for camera, size in zip(cameras, sizes, strict=True):
        if camera.size is not None and camera.size != tuple(size):
            raise InputError(
                f"The cameras have the wrong resolution: K is for photos of {camera.size[0]} x {camera.size[1]} "
                f"pixels, but this one has {size[0]} x {size[1]}; scale K by {size[0] / camera.size[0]:.4g} or give "
                "the photos that were calibrated."
            )
    tolerance = _LOOSE * float(np.nanmedian(np.linalg.norm(seen[:, eyes[0]] - seen[:, eyes[1]], axis=1)))
    given = _read(cameras, seen, inverse=False, opengl=False, zoom=1.0)
    zooms = {2.0, 0.5, 4.0, 0.25, _centering(cameras, sizes)} - {1.0}
    others = [
        _read(cameras, seen, inverse=inverse, opengl=opengl, zoom=zoom)
        for (inverse, opengl), zoom in product(_POSES, (1.0, *sorted(zooms)))
        if inverse or opengl or zoom != 1.0
    ]
    # Of readings that explain the landmarks alike, the one that changes least is meant.
    best = min(others, key=lambda r: r.error * (1.0 + 0.5 * (r.zoom != 1.0) + 0.2 * (r.inverse + r.opengl)))
    if not given.error <= tolerance or (best.error < 0.1 * given.error and given.error > 0.25 * tolerance):
        raise InputError(_mistake(given, best, tolerance))
    if metric:
        _check_unit(given.points, eyes, eye_distance)
    return given.points


def _centering(cameras: Sequence[CalibratedCamera], sizes: Sequence[tuple[int, int]]) -> float:
    """By how much K must shrink for the principal points to lie in the middle of the photos; 1 if they nearly do."""
    ratios = [size[0] / (2.0 * camera.matrix[0, 2]) for camera, size in zip(cameras, sizes, strict=True)]
    zoom = float(np.median(ratios))
    return 1.0 if not 0.01 < zoom < 100.0 or abs(np.log(zoom)) < 0.1 else zoom


def _read(
    cameras: Sequence[CalibratedCamera],
    seen: Float[np.ndarray, "K L 2"],
    *,
    inverse: bool,
    opengl: bool,
    zoom: float,
) -> _Reading:
    meant = []
    for camera in cameras:
        rotation, translation = camera.rotation, camera.translation
        if inverse:
            rotation, translation = rotation.T, -rotation.T @ translation
        if opengl:
            rotation, translation = _FLIP @ rotation, _FLIP @ translation
        matrix = camera.matrix * np.array([[zoom], [zoom], [1.0]])
        meant.append(replace(camera, rotation=rotation, translation=translation, matrix=matrix))
    points, errors, front = triangulate(meant, seen)
    known = errors[np.isfinite(errors)]
    error = float(np.median(known)) if known.size and front >= _IN_FRONT else np.inf
    return _Reading(inverse, opengl, zoom, error, points)


def _mistake(given: _Reading, best: _Reading, tolerance: float) -> str:
    how = "lie behind the cameras" if not np.isfinite(given.error) else f"miss the photos by {given.error:.1f} pixels"
    if not (best.error <= tolerance and best.error < _CLEARLY * given.error):
        return (
            f"The cameras do not fit the photos: triangulated landmarks {how}, and neither camera to world, OpenGL's "
            "axes nor another resolution explains it; check that each photo has its own camera."
        )
    pose = _POSES[best.inverse, best.opengl]
    meant = [f"written {pose}"] if pose else []
    if best.zoom != 1.0:
        meant.append(f"of the wrong resolution (K is for photos {1.0 / best.zoom:.4g} times as large)")
    remedies = ['set "direction" to "camera_to_world"'] if best.inverse else []
    remedies += ['set "convention" to "opengl"'] if best.opengl else []
    remedies += [f"scale K by {best.zoom:.4g}"] if best.zoom != 1.0 else []
    return (
        f"The cameras seem to be {' and '.join(meant)}: triangulated landmarks {how} as it is, and by "
        f"{best.error:.1f} pixels if so; {' and '.join(remedies)}, or convert the cameras."
    )


def _check_unit(points: Float[np.ndarray, "L 3"], eyes: tuple[int, int], eye_distance: float) -> None:
    found = float(np.linalg.norm(points[eyes[0]] - points[eyes[1]]))
    ratio = found / eye_distance
    if not np.isfinite(ratio) or 0.7 < ratio < 1.45:
        return
    for name, per_metre in _UNITS.items():
        if 0.7 < ratio / per_metre < 1.45:
            raise InputError(
                f"The cameras are in {name}, not in metres: the outer eye corners lie {found:.4g} apart, wanted about "
                f"{eye_distance:.2f}; set the unit, or divide t by {per_metre:.4g}."
            )
    raise InputError(
        f"The cameras are not in metres: the outer eye corners lie {found:.4g} apart, wanted about {eye_distance:.2f}; "
        'set "unit" to null (or leave the scale free), so that the scale is estimated.'
    )
