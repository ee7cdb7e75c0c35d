"""The NoW protocol: how far a scan lies from a head that was reconstructed from one image, in millimetres.

Sanyal, Bolkart, Feng, Black, "Learning to Regress 3D Face Shape and Expression from an Image without 3D Supervision"
(2019); the metrical variant is that of Zielonka, Bolkart, Thies, "Towards Metrical Reconstruction of Human Faces"
(2022). Distances go from the scan to the prediction, never the other way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from flamehead.errors import InputError
from flamehead.evaluate._surface_fit import distances_to_moved_mesh, move_mesh_onto_points
from flamehead.evaluate.summary import MILLIMETRES, Unit
from flamehead.geometry.nearest import build_surface_tree
from flamehead.geometry.similarity import Similarity, align_points
from flamehead.solve import Status

__all__ = ["NOW_LANDMARKS", "NowError", "check_landmarks", "now_crop", "now_error", "seven_of"]

NOW_LANDMARKS = (
    "right eye outer corner",
    "right eye inner corner",
    "left eye inner corner",
    "left eye outer corner",
    "nose bottom",
    "right mouth corner",
    "left mouth corner",
)
"""The seven landmarks in the order of the protocol; left and right are the subject's."""

_IN_IBUG68 = (36, 39, 42, 45, 33, 48, 54)


@dataclass(frozen=True)
class NowError:
    """The error of one prediction."""

    distances: Float[np.ndarray, "N"]
    """From each vertex of the cropped scan to the aligned prediction, millimetres."""
    vertex_ids: Int[np.ndarray, "N"]
    """The vertices of the scan that were measured."""
    placed: Similarity
    """From the prediction, in its own unit, to the scan in millimetres."""
    status: Status
    """How the alignment ended; `str(status)` is a sentence."""


def now_error(
    scan: Float[np.ndarray, "N 3"],
    scan_landmarks: Float[np.ndarray, "7 3"],
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    landmarks: Float[np.ndarray, "7 3"],
    *,
    metrical: bool = False,
    unit: Unit = "mm",
    scan_unit: Unit = "mm",
) -> NowError:
    """Crop the scan, align the prediction by seven landmarks and then by its surface, and measure scan to mesh.

    Args:
        scan: Vertices of the scan.
        scan_landmarks: On the scan, in the order of `NOW_LANDMARKS`.
        vertices: Of the predicted mesh.
        faces: Of the predicted mesh.
        landmarks: On the prediction, in the same order.
        metrical: Keep the prediction's size; otherwise the scale is found, too.
        unit: Of the prediction; decides nothing unless metrical.
        scan_unit: Of the scan and its landmarks; the official ones are millimetres.

    Raises:
        InputError: Landmarks are missing or lie on one line, a mesh is empty or not finite, or the landmarks do not
            belong to the scan.
    """
    scan_landmarks = MILLIMETRES[scan_unit] * check_landmarks(scan_landmarks, "the scan")
    landmarks = MILLIMETRES[unit] * check_landmarks(landmarks, "the prediction")
    scan = MILLIMETRES[scan_unit] * np.asarray(scan, dtype=np.float64)
    rows = now_crop(scan, scan_landmarks)
    if len(rows) < 100:
        raise InputError(
            f"Only {len(rows)} vertices of the scan lie near its landmarks, wanted 100 or more; give landmarks in the "
            "unit and frame of the scan."
        )
    tree = build_surface_tree(MILLIMETRES[unit] * np.asarray(vertices, dtype=np.float64), faces)
    start = align_points(landmarks, scan_landmarks, scaled=not metrical)
    solution = move_mesh_onto_points(scan[rows], tree, start, scaled=not metrical)
    placed = solution.state
    in_its_unit = Similarity(MILLIMETRES[unit] * placed.scale, placed.rotation, placed.translation)
    return NowError(distances_to_moved_mesh(scan[rows], tree, placed), rows, in_its_unit, solution.status)


def now_crop(scan: Float[np.ndarray, "N 3"], landmarks: Float[np.ndarray, "7 3"]) -> Int[np.ndarray, "K"]:
    """The vertices of a scan that the protocol measures: those in a sphere around the face.

    With e the middle of the inner eye corners and n the bottom of the nose, the centre is `n + 0.3 (e - n)` and the
    radius `1.4 (|outer eye corners| + |e - n|) / 2`.

    Args:
        scan: In any unit.
        landmarks: In the unit of the scan and the order of `NOW_LANDMARKS`.
    """
    outer_right, inner_right, inner_left, outer_left, nose = landmarks[:5]
    up = 0.5 * (inner_right + inner_left) - nose
    radius = 1.4 * (np.linalg.norm(outer_left - outer_right) + np.linalg.norm(up)) / 2.0
    return np.flatnonzero(((scan - (nose + 0.3 * up)) ** 2).sum(axis=1) <= radius**2)


def check_landmarks(points: Float[np.ndarray, "7 3"], where: str) -> Float[np.ndarray, "7 3"]:
    """The seven landmarks as float64.

    Args:
        points: A row of NaN is a landmark that is missing.
        where: Whose they are, for the message.

    Raises:
        InputError: There are not seven, or some are missing; the message names them.
    """
    table = np.asarray(points, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != 3 or len(table) > 7:
        raise InputError(
            f"The landmarks of {where} have shape {table.shape}, wanted (7, 3): {', '.join(NOW_LANDMARKS)}."
        )
    table = np.vstack([table, np.full((7 - len(table), 3), np.nan)])
    missing = [name for name, row in zip(NOW_LANDMARKS, table, strict=True) if not np.isfinite(row).all()]
    if missing:
        raise InputError(
            f"The landmarks of {where} lack {', '.join(missing)}; give all seven, in the order: "
            f"{', '.join(NOW_LANDMARKS)}."
        )
    return table


def seven_of(points: Float[np.ndarray, "L 3"]) -> Float[np.ndarray, "7 3"]:
    """The seven landmarks among 68 or 51 iBUG points; seven or fewer are passed through.

    Example:
        >>> seven_of(np.zeros((68, 3))).shape
        (7, 3)
    """
    table = np.asarray(points)
    return table[np.array(_IN_IBUG68) - (68 - len(table))] if len(table) in (51, 68) else table
