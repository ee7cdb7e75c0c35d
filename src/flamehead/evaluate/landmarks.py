"""Errors of landmarks, on heads in millimetres and in images relative to the size of the face."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float

from flamehead.errors import InputError
from flamehead.evaluate.vertices import Alignment, PairedError, paired_error

__all__ = ["Normalization", "landmark_error_2d", "landmark_error_3d"]

Normalization = Literal["none", "box", "eyes"]
"""What 2D errors are divided by: nothing; the root of the area of the truth's bounding box; the distance between the
truth's outer eye corners."""

_OUTER_CORNERS = {68: (36, 45), 51: (19, 28), 468: (33, 263), 478: (33, 263)}
"""Rows of the right and the left outer eye corner by the number of points: iBUG and MediaPipe."""


def landmark_error_3d(
    predicted: Float[np.ndarray, "L 3"], truth: Float[np.ndarray, "L 3"], *, align: Alignment = "none"
) -> PairedError:
    """Distance of each landmark from its partner, in their common unit; rows of NaN are landmarks that are missing.

    Raises:
        InputError: The shapes differ, or fewer landmarks are on both sides than the alignment needs.
    """
    x, y = _pair(predicted, truth, 3)
    return paired_error(x, y, align=align)


def landmark_error_2d(
    predicted: Float[np.ndarray, "L 2"], truth: Float[np.ndarray, "L 2"], *, divide_by: Normalization = "eyes"
) -> Float[np.ndarray, "L"]:
    """Distance of each landmark from its partner in the image, as a share of the face's size; NaN where one is missing.

    Args:
        predicted: Pixels.
        truth: Pixels.
        divide_by: See `Normalization`; `"none"` gives pixels.

    Raises:
        InputError: The shapes differ, nothing is on both sides, or the truth lacks what the errors are divided by.

    Example:
        >>> square = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2]])
        >>> landmark_error_2d(square + [1, 0], square, divide_by="box")
        array([0.5, 0.5, 0.5, 0.5])
    """
    x, y = _pair(predicted, truth, 2)
    distances = np.linalg.norm(x - y, axis=1)
    if not np.isfinite(distances).any():
        raise InputError("No landmark is on both sides; give a prediction and a truth that overlap.")
    return distances / _face_size(y, divide_by)


def _face_size(truth: Float[np.ndarray, "L 2"], divide_by: Normalization) -> float:
    if divide_by == "none":
        return 1.0
    if divide_by == "box":
        size = float(np.sqrt(np.prod(np.nanmax(truth, axis=0) - np.nanmin(truth, axis=0))))
    elif divide_by == "eyes":
        rows = _OUTER_CORNERS.get(len(truth))
        if rows is None:
            raise InputError(
                f"It is not known which of {len(truth)} landmarks are eye corners; give 68, 51, 468 or 478, or divide "
                "by 'box'."
            )
        size = float(np.linalg.norm(truth[rows[0]] - truth[rows[1]]))
    else:
        raise InputError(f"There is no normalization {divide_by!r}; choose 'none', 'box' or 'eyes'.")
    if not size > 0.0:
        raise InputError(
            f"The size of the face, by which errors are divided ({divide_by}), is {size} pixels; give a truth with "
            "both outer eye corners, or another normalization."
        )
    return size


def _pair(predicted: np.ndarray, truth: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.asarray(points, dtype=np.float64) for points in (predicted, truth))
    if x.shape != y.shape or x.ndim != 2 or x.shape[1] != columns:
        raise InputError(
            f"The predicted landmarks have shape {x.shape} and the true ones {y.shape}; give as many of one kind, with "
            f"{columns} coordinates each."
        )
    return x, y
