"""Five points of a face out of larger sets, where insightface's detector is not at hand."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from flamehead.data import LandmarkScheme, Observation
from flamehead.errors import InputError

__all__ = ["five_points"]

_MESH = ((33, 133, 159, 145), (362, 263, 386, 374), (4,), (61,), (291,))
_IBUG = (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,))
_ROWS: dict[LandmarkScheme, tuple[tuple[int, ...], ...]] = {
    "mediapipe478": _MESH,
    "mediapipe468": _MESH,
    "ibug68": _IBUG,
}


def five_points(seen: Observation) -> Float[np.ndarray, "5 2"]:
    """Eye, eye, nose tip, mouth corner, mouth corner, the subject's right one first.

    An eye is the mean of its lids and corners. The points differ a little from the detector's that MICA was trained
    with. Pixel centres lie at whole numbers here, as that detector has them, and not at +0.5.

    Raises:
        InputError: the landmarks are of a scheme without these points, or one of them was not seen.
    """
    if seen.scheme not in _ROWS:
        raise InputError(
            f"The landmarks are of the scheme {seen.scheme!r}, which lacks the nose tip or the mouth corners of the "
            "alignment; give 68, 468 or 478 points."
        )
    points = np.stack([np.asarray(seen.points, float)[list(rows)].mean(axis=0) for rows in _ROWS[seen.scheme]])
    if not np.isfinite(points).all():
        raise InputError("An eye, the nose or a mouth corner was not seen; give landmarks of a face that shows them.")
    return points - 0.5
