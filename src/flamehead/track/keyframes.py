"""Which frames of a video tell most about a head: looking straight ahead at rest first, then as different as can be."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from flamehead.geometry.landmark_sets import LIPS_INNER

__all__ = ["choose_keyframes"]

_RIGHT_CORNERS, _LEFT_CORNERS = (33, 133), (263, 362)
_UPPER_LIP, _LOWER_LIP = LIPS_INNER[5], LIPS_INNER[15]
_BLINK_POINTS = ((159, 145, 33, 133), (386, 374, 263, 362))
"""Upper lid, lower lid, outer and inner corner of the right and the left eye."""
_SHUT = 0.12
"""Opening of an eye by its width below which it tells nothing about the gaze."""
_MOST = 4000
"""Frames that are compared: more are thinned out evenly."""


def choose_keyframes(
    landmarks: Float[np.ndarray, "T 478 2"], *, count: int = 8, usable: Bool[np.ndarray, "T"] | None = None
) -> list[int]:
    """Rows of frames that show the face from different sides, the one that looks straight ahead at rest first.

    Each next frame is the one farthest from those already chosen (Gonzalez, 1985) in yaw, pitch, distance and opening
    of the mouth, measured on the landmarks. Frames with shut eyes are left out as long as there are others.

    Args:
        landmarks: Pixels; NaN where no face was seen.
        count: How many are wanted; fewer come back when fewer frames show a face, or all look the same.
        usable: Frames that may be chosen.
    """
    seen = np.isfinite(landmarks).all(axis=(1, 2))
    rows = np.flatnonzero(seen if usable is None else seen & usable)
    if not rows.size:
        return []
    rows = rows[:: max(1, len(rows) // _MOST)]
    with np.errstate(invalid="ignore", divide="ignore"):
        features = _features(landmarks[rows].astype(np.float64))
    # Points that lie on one spot are no face.
    faces = np.isfinite(features).all(axis=1)
    rows, features = rows[faces], features[faces]
    if not rows.size:
        return []
    open_eyes = features[:, -1] > _SHUT
    if open_eyes.any():
        rows, features = rows[open_eyes], features[open_eyes]
    features = features[:, :-1]
    # Yaw and pitch say most about shape and lens; extreme views are seen badly, hence the bounds.
    views = np.clip(features / [0.12, 0.08, 0.15, 0.3], -3.0, 3.0)
    rest = (
        np.abs(features[:, 0]) / 0.05 + features[:, 3] / 0.1 + np.abs(features[:, 1] - np.median(features[:, 1])) / 0.05
    )
    chosen = [int(rest.argmin())]
    distance = np.linalg.norm(views - views[chosen[0]], axis=1)
    while len(chosen) < count and distance.max() > 0.02:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(views - views[chosen[-1]], axis=1))
    return [int(rows[k]) for k in chosen]


def _features(points: Float[np.ndarray, "N 478 2"]) -> Float[np.ndarray, "N 5"]:
    """Yaw, pitch, logarithm of the size, opening of the mouth, and of the eyes, without units."""
    right, left = points[:, _RIGHT_CORNERS].mean(1), points[:, _LEFT_CORNERS].mean(1)
    middle, across = (right + left) / 2, left - right
    mouth = (points[:, LIPS_INNER[0]] + points[:, LIPS_INNER[10]]) / 2
    down = mouth - middle
    # Neither foreshortens under both yaw and pitch, so that their larger one is the size.
    size = np.maximum(np.linalg.norm(across, axis=1), np.linalg.norm(down, axis=1))[:, None]
    nose = points[:, 4] - middle
    x, y = across / np.linalg.norm(across, axis=1, keepdims=True), down / np.linalg.norm(down, axis=1, keepdims=True)
    yaw, pitch = (nose * x).sum(1) / size[:, 0], (nose * y).sum(1) / size[:, 0]
    lips = np.linalg.norm(points[:, _UPPER_LIP] - points[:, _LOWER_LIP], axis=1) / size[:, 0]
    eyes = np.mean(
        [
            np.linalg.norm(points[:, up] - points[:, low], axis=1) / np.linalg.norm(points[:, a] - points[:, b], axis=1)
            for up, low, a, b in _BLINK_POINTS
        ],
        axis=0,
    )
    return np.stack([yaw, pitch, np.log(size[:, 0]), lips, eyes], axis=1)
