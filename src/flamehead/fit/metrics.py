"""How well a fit explains what was seen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from flamehead.data import Observation
from flamehead.errors import InputError
from flamehead.fit._correspondence import OUTER_EYE_CORNERS, rows_of
from flamehead.geometry.landmark_sets import MEDIAPIPE_105

__all__ = ["landmark_error_percent"]


def landmark_error_percent(seen: Observation, fitted: Float[np.ndarray, "L 2"]) -> float:
    """Mean distance between seen and fitted face features, in percent of the seen outer-eye distance.

    Face features are the 105 MediaPipe points without contour and irises, or the 51 inner iBUG points; points that
    either side lacks are left out.

    Args:
        seen: The landmarks.
        fitted: The model's landmarks in pixels, in the same order; NaN where there is none.

    Raises:
        InputError: An outer eye corner was not seen, or no point is on both sides.
    """
    rows = np.arange(17, 68) if seen.scheme == "ibug68" else rows_of(seen.scheme, MEDIAPIPE_105)
    corners = seen.points[rows_of(seen.scheme, OUTER_EYE_CORNERS)]
    eye_distance = float(np.linalg.norm(corners[0] - corners[1]))
    distance = np.linalg.norm(seen.points[rows] - np.asarray(fitted)[rows], axis=1)
    distance = distance[np.isfinite(distance)]
    if not eye_distance > 0.0 or distance.size == 0:
        raise InputError(
            f"The error of these {seen.scheme} landmarks is undefined, because an outer eye corner or every fitted "
            "point is missing; give landmarks with both outer eye corners and the `fitted` of their fit."
        )
    return 100.0 * float(distance.mean()) / eye_distance
