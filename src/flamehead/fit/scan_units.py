"""Which unit a scan is in, told by the size of the face on it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from flamehead.errors import InputError
from flamehead.fit.points import paired_landmarks
from flamehead.geometry.similarity import align_points

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["METRES", "UNITS", "ScanUnit", "check_landmarks_on_scan", "guess_unit", "nearest_unit"]

ScanUnit = Literal["m", "cm", "mm", "unknown"]
UNITS: tuple[ScanUnit, ...] = get_args(ScanUnit)
METRES: dict[ScanUnit, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001}

_TOLERANCE = 1.5
"""Faces, from a child's to a giant's, are within this factor of the mean head's size."""
_FAR = 0.35
"""Median distance of landmarks from the scan, share of their own spread, from which they do not belong to it."""


def guess_unit(flame: Flame, landmarks: Float[np.ndarray, "L 3"]) -> tuple[ScanUnit, float]:
    """The unit in which the landmarks make a face of human size, and the metres per unit.

    Args:
        flame: The model; its mean head is the measure.
        landmarks: In space, 51, 68, 105, 468 or 478 of them.

    Returns:
        `"unknown"` and the scale of the mean head when no usual unit fits.

    Raises:
        InputError: Too few landmarks, or they are not a face's.
    """
    marks = paired_landmarks(flame, landmarks)
    own = np.einsum("kc,kca->ka", marks.barycentric, flame.arrays.template[marks.corners])
    return nearest_unit(1.0 / align_points(own, marks.seen, robust=True).scale)


def nearest_unit(metres: float) -> tuple[ScanUnit, float]:
    """The usual unit that makes a head of the mean head's size one of human size, and its metres.

    Args:
        metres: Metres per unit if the head had the mean head's size.
    """
    for unit, size in METRES.items():
        if abs(math.log(metres / size)) < math.log(_TOLERANCE):
            return unit, size
    return "unknown", metres


def check_landmarks_on_scan(landmarks: Float[np.ndarray, "L 3"], vertices: Float[np.ndarray, "V 3"]) -> None:
    """Refuse landmarks that lie far from the scan, naming the unit if that is the reason.

    Raises:
        InputError: They do not lie on this scan.
    """
    seen = landmarks[np.isfinite(landmarks).all(axis=1)]
    if not len(seen):
        raise InputError("The landmarks are all NaN; give the places of landmarks of a face.")
    tree = KDTree(vertices[:: max(1, len(vertices) // 100_000)])

    def misses(factor: float) -> bool:
        moved = factor * seen
        spread = max(float(np.sqrt(moved.var(axis=0).sum())), 1e-30)
        return float(np.median(tree.query(moved)[0])) > _FAR * spread

    if not misses(1.0):
        return
    for factor in (1000.0, 0.001, 100.0, 0.01, 10.0, 0.1):
        if not misses(factor):
            raise InputError(
                f"The landmarks are in another unit than the scan; multiply them by {factor:g}, or leave them out to "
                "find them."
            )
    raise InputError(
        "The landmarks do not lie on the scan; give those of this very scan in its own frame, or none to find them."
    )
