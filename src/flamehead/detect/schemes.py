"""From one landmark set to another: a plain choice of rows where the wanted points are among those given."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from flamehead.data import LandmarkScheme
from flamehead.errors import InputError
from flamehead.geometry.landmark_sets import IBUG68_IN_MEDIAPIPE, MEDIAPIPE_105

__all__ = ["select"]

_FULL: dict[LandmarkScheme, int] = {"mediapipe478": 478, "mediapipe468": 468}


def select(
    points: Float[np.ndarray, "*batch L D"], scheme_from: LandmarkScheme, scheme_to: LandmarkScheme
) -> Float[np.ndarray, "*batch K D"]:
    """Take the points of one scheme out of another.

    MediaPipe's full sets hold all others; `ibug68` taken from them is an approximation (see `IBUG68_IN_MEDIAPIPE`).

    Raises:
        InputError: `points` is not of `scheme_from`, or that scheme does not hold the points of `scheme_to`.

    Example:
        >>> select(np.zeros((478, 2)), "mediapipe478", "mediapipe105").shape
        (105, 2)
    """
    counts = _FULL | {"mediapipe105": 105, "ibug68": 68}
    if points.ndim < 2 or points.shape[-2] != counts[scheme_from]:
        raise InputError(
            f"Got landmarks of shape {points.shape} for the scheme {scheme_from!r}; wanted {counts[scheme_from]} rows."
        )
    if scheme_from == scheme_to:
        return points
    if scheme_from not in _FULL or counts[scheme_to] > counts[scheme_from]:
        raise InputError(
            f"The scheme {scheme_from!r} does not hold the points of {scheme_to!r}; detect 'mediapipe478' landmarks."
        )
    return points[..., _rows(scheme_to), :]


def _rows(scheme: LandmarkScheme) -> Int[np.ndarray, "K"]:
    if scheme == "mediapipe105":
        return MEDIAPIPE_105
    return IBUG68_IN_MEDIAPIPE if scheme == "ibug68" else np.arange(_FULL[scheme])
