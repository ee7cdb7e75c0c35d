"""How far a scan lies from a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from flamehead.fit.points import mesh_points
from flamehead.geometry.nearest import nearest_on_mesh

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["ScanDistances", "face_sphere", "scan_distances"]

_EYE_CORNERS, _NOSE_BOTTOM = (33, 133, 362, 263), 2


@dataclass(frozen=True)
class ScanDistances:
    """From each scan vertex to the nearest place on the head's surface."""

    distances: Float[np.ndarray, "N"]
    """Metres."""
    in_face: Bool[np.ndarray, "N"]
    """Inside the sphere of `face_sphere`."""


def scan_distances(
    flame: Flame, head: Float[np.ndarray, "V 3"], scan: Float[np.ndarray, "N 3"], *, scale: float
) -> ScanDistances:
    """Measure a scan's vertices against a head in the same frame.

    Args:
        flame: The model.
        head: Vertices of the head, in the scan's unit.
        scan: Vertices of the scan.
        scale: Metres per unit.
    """
    middle, radius = face_sphere(flame, head)
    in_face = np.linalg.norm(scan - middle, axis=1) < radius
    return ScanDistances(scale * nearest_on_mesh(scan, head, flame.arrays.faces).distances, in_face)


def face_sphere(flame: Flame, head: Float[np.ndarray, "V 3"]) -> tuple[Float[np.ndarray, "3"], float]:
    """Centre and radius of the sphere in which the NoW benchmark measures, from the head's own landmarks.

    Centre: nose bottom + 0.3 (middle of the inner eye corners - nose bottom); radius: 1.4 times the mean of the
    distance of the outer corners and that of the inner corners' middle from the nose bottom (Sanyal et al. 2019).
    """
    outer, inner, inner_left, outer_left = mesh_points(flame, head, _EYE_CORNERS)
    (nose,) = mesh_points(flame, head, (_NOSE_BOTTOM,))
    up = (inner + inner_left) / 2 - nose
    return nose + 0.3 * up, 1.4 * float(np.linalg.norm(outer - outer_left) + np.linalg.norm(up)) / 2
