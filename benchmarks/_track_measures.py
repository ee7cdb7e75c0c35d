"""How far a track is from the truth, or from what was detected: numbers from arrays, no model and no pictures.

Row t of every array is frame t. Frames that hold NaN are left out of means, and a figure without frames is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from flamehead.geometry.landmark_sets import LEFT_EYE_RING, LIPS_INNER, RIGHT_EYE_RING

__all__ = [
    "aspect_ratio",
    "correlation",
    "eye_openings",
    "focal_error_percent",
    "jitter",
    "landmark_errors_percent",
    "lip_opening",
    "outer_eye_distance",
    "projected_errors_percent",
    "rotation_errors",
    "still_frames",
    "summary",
]

_OUTER_EYE_CORNERS = [33, 263]


def rotation_errors(found: Float[np.ndarray, "T 3 3"], truth: Float[np.ndarray, "T 3 3"]) -> Float[np.ndarray, "T"]:
    """Degrees of the rotation between two, `2 asin(|A - B|_F / (2 sqrt 2))`, exact for small angles too.

    Give the rotation of the skull as the camera sees it, `camera @ root @ neck`: a turn counts alike whether a tracker
    puts it in the camera, the root or the neck. Nothing is aligned before.
    """
    chord = np.linalg.norm(found - truth, axis=(-2, -1)) / (2 * np.sqrt(2))
    return np.degrees(2 * np.arcsin(np.clip(chord, 0.0, 1.0)))


def outer_eye_distance(points: Float[np.ndarray, "T 478 d"]) -> Float[np.ndarray, "T"]:
    """Distance between the outer corners of the eyes, in the unit of the points."""
    a, b = _OUTER_EYE_CORNERS
    return np.linalg.norm(points[:, a] - points[:, b], axis=-1)


def projected_errors_percent(
    found: Float[np.ndarray, "T V 2"],
    truth: Float[np.ndarray, "T V 2"],
    visible: Bool[np.ndarray, "T V"],
    eye_distance: Float[np.ndarray, "T"],
) -> Float[np.ndarray, "T"]:
    """Mean distance of the visible vertices in each frame, percent of the true outer-eye distance in that frame.

    Args:
        found: Pixels, projected by the found camera.
        truth: Pixels, projected by the true camera.
        visible: Vertices that the true camera sees.
        eye_distance: Pixels.
    """
    distance = np.where(visible, np.linalg.norm(found - truth, axis=-1), 0.0)
    count = visible.sum(1)
    mean = np.divide(distance.sum(1), count, out=np.full(len(count), np.nan), where=count > 0)
    return 100.0 * mean / eye_distance


def landmark_errors_percent(
    detected: Float[np.ndarray, "T 478 2"], fitted: Float[np.ndarray, "T L 2"], rows: np.ndarray
) -> Float[np.ndarray, "T"]:
    """Mean distance of fitted and detected features, percent of the detected outer-eye distance.

    As `flamehead.landmark_error_percent` measures one image.

    Args:
        detected: Pixels; NaN where the face was not found.
        fitted: The same points as `detected[:, rows]`.
        rows: Which points those are.
    """
    distance = np.linalg.norm(detected[:, rows] - fitted, axis=-1).mean(-1)
    return 100.0 * distance / outer_eye_distance(detected)


def aspect_ratio(points: Float[np.ndarray, "T N d"], ring: np.ndarray) -> Float[np.ndarray, "T"]:
    """Height over width of a closed ring that begins in one corner and has the other half-way round.

    The height is the mean distance between opposite points of the upper and the lower edge. Unposed or posed points in
    space give the same, for a rotation does not change distances.
    """
    half = len(ring) // 2
    upper, lower = ring[1:half], ring[:half:-1]
    height = np.linalg.norm(points[:, upper] - points[:, lower], axis=-1).mean(-1)
    return height / np.linalg.norm(points[:, ring[0]] - points[:, ring[half]], axis=-1)


def eye_openings(points: Float[np.ndarray, "T 478 3"]) -> Float[np.ndarray, "T 2"]:
    """Height over width of the left and the right eye, from the mesh: whatever coefficients close it."""
    return np.stack([aspect_ratio(points, LEFT_EYE_RING), aspect_ratio(points, RIGHT_EYE_RING)], axis=1)


def lip_opening(points: Float[np.ndarray, "T 478 3"]) -> Float[np.ndarray, "T"]:
    """Mean height of the opening between the lips, over the outer-eye distance, which no word changes."""
    half = len(LIPS_INNER) // 2
    upper, lower = LIPS_INNER[1:half], LIPS_INNER[:half:-1]
    return np.linalg.norm(points[:, upper] - points[:, lower], axis=-1).mean(-1) / outer_eye_distance(points)


def correlation(found: Float[np.ndarray, "T"], truth: Float[np.ndarray, "T"]) -> float:
    """Pearson's; NaN for a curve that does not move."""
    keep = np.isfinite(found) & np.isfinite(truth)
    a, b = found[keep], truth[keep]
    if not keep.any():
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else float("nan")


def focal_error_percent(found: Float[np.ndarray, "T 2"], truth: Float[np.ndarray, "T 2"]) -> float:
    """Signed error of the median focal length, percent; positive is too long."""
    return 100.0 * (float(np.median(found)) / float(np.median(truth)) - 1.0)


def still_frames(detected: Float[np.ndarray, "T L 2"], *, limit: float = 0.2) -> Bool[np.ndarray, "T"]:
    """Frames whose centroid of detected points lies within `limit` pixels of that of the frame before.

    The first and the last frame lack a neighbour and do not count, nor do frames in which, or beside which, a point
    was not detected.
    """
    center = detected.mean(axis=1)
    step = np.linalg.norm(np.diff(center, axis=0), axis=1)
    return np.concatenate([[False], (step[:-1] < limit) & np.isfinite(step[1:]), [False]])


def jitter(points: Float[np.ndarray, "T L 2"], still: Bool[np.ndarray, "T"]) -> float:
    """Mean length of the second difference `p[t-1] - 2 p[t] + p[t+1]` over all points of the still frames, pixels."""
    second = np.full(points.shape, np.nan)
    second[1:-1] = points[:-2] - 2 * points[1:-1] + points[2:]
    length = np.linalg.norm(second, axis=-1)[still]
    return float(np.nanmean(length)) if np.isfinite(length).any() else float("nan")


def summary(name: str, values: Float[np.ndarray, "T"]) -> Mapping[str, float]:
    """Mean, 95th percentile and worst of a figure by frame, as `name_mean` and so on."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {f"{name}_{kind}": float("nan") for kind in ("mean", "p95", "worst")}
    return {
        f"{name}_mean": float(finite.mean()),
        f"{name}_p95": float(np.percentile(finite, 95)),
        f"{name}_worst": float(finite.max()),
    }
