"""Detected landmarks as trackers store them: pixels of the cut-out picture, all zeros where nothing was seen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from flamehead.data import Track
from flamehead.detect.schemes import select
from flamehead.errors import InputError

__all__ = ["landmark_arrays", "seen_points"]

_DENSE = 478


def landmark_arrays(track: Track, row: int) -> tuple[Float[np.ndarray, "68 2"], Float[np.ndarray, "478 2"]]:
    """`kpt` and `kpt_dense` of one frame, float64; of MediaPipe's 468 points the irises stay zero."""
    sparse, dense = seen_points(track, row), np.zeros((_DENSE, 2))
    if track.landmarks is not None and track.scheme in ("mediapipe478", "mediapipe468"):
        points = np.asarray(track.landmarks[row], dtype=np.float64)
        dense[: len(points)] = points
    sparse = np.zeros((68, 2)) if sparse is None else sparse
    return _zeroed(sparse), _zeroed(dense)


def seen_points(track: Track, row: int) -> Float[np.ndarray, "68 2"] | None:
    """The 68 points of one frame, NaN where they were not seen; None where the detector's points do not hold them."""
    if track.landmarks is None:
        return None
    try:
        return np.asarray(select(np.asarray(track.landmarks[row], dtype=np.float64), track.scheme, "ibug68"))
    except InputError:
        return None


def _zeroed(points: Float[np.ndarray, "L 2"]) -> Float[np.ndarray, "L 2"]:
    """A reader takes a point for missing iff x + y is zero."""
    return np.where(np.isfinite(points).all(axis=-1, keepdims=True), points, 0.0)
