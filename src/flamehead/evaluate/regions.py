"""Errors of parts of the face, each aligned by itself: nose, mouth, forehead and cheeks.

In the manner of REALY: Chai, Zhang, Ren, Kang, Xu, Zhe, Yuan, Bao, "REALY: Rethinking the Evaluation of 3D Face
Reconstruction" (2022). One global alignment lets a wrong forehead tilt a right nose; here every part of the scan is
compared with the prediction after an alignment of its own. REALY's own scans and masks are not needed: the parts come
from a labelled head, and distances are to the surface, so the numbers are not those of its leaderboard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from flamehead.errors import InputError
from flamehead.evaluate._surface_fit import distances_to_moved_mesh, move_mesh_onto_points
from flamehead.evaluate.now import check_landmarks, now_crop
from flamehead.evaluate.summary import MILLIMETRES, Unit
from flamehead.geometry.nearest import build_surface_tree, nearest_on_mesh
from flamehead.geometry.similarity import Similarity, align_points, inverted, moved
from flamehead.solve import Status

__all__ = ["REGIONS", "RegionError", "face_regions", "label_points", "region_errors", "regions_of_scan"]

REGIONS = ("nose", "mouth", "forehead", "cheek")
"""The parts of the face that are measured, in the order of REALY's tables."""

_AROUND_LIPS = 0.012
"""Metres: skin this near to the lips counts as the mouth."""
_CONTEXT = 0.05
"""Weight of the distances outside a part in its alignment: a forehead alone could slide in its own surface."""
_FEWEST = 30
_FARTHEST = 15.0
"""Millimetres from the labelled head beyond which a point of the scan has no label."""


@dataclass(frozen=True)
class RegionError:
    """The error of one part of the face."""

    distances: Float[np.ndarray, "N"]
    """From each vertex of the part to the prediction aligned to this part, millimetres."""
    vertex_ids: Int[np.ndarray, "N"]
    """The vertices of the scan that were measured."""
    placed: Similarity
    """From the prediction, in its own unit, to the scan in millimetres."""
    status: Status


def region_errors(
    scan: Float[np.ndarray, "N 3"],
    scan_landmarks: Float[np.ndarray, "7 3"],
    regions: Mapping[str, Int[np.ndarray, "_"]],
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    landmarks: Float[np.ndarray, "7 3"],
    *,
    metrical: bool = False,
    unit: Unit = "mm",
    scan_unit: Unit = "mm",
) -> dict[str, RegionError]:
    """Align the prediction to each part of the scan, and measure that part, scan to mesh.

    The start is the alignment of the seven landmarks, then of all parts together.

    Args:
        scan: Vertices of the scan.
        scan_landmarks: On the scan, in the order of `NOW_LANDMARKS`.
        regions: Vertices of the scan in each part, from `regions_of_scan` for example.
        vertices: Of the predicted mesh, as are `faces` and `landmarks`.
        metrical: Keep the prediction's size.
        unit: Of the prediction; decides nothing unless metrical.
        scan_unit: Of the scan and its landmarks.

    Raises:
        InputError: Landmarks are missing, a part has fewer than 30 vertices, or a mesh cannot be measured.
    """
    scan_landmarks = MILLIMETRES[scan_unit] * check_landmarks(scan_landmarks, "the scan")
    landmarks = MILLIMETRES[unit] * check_landmarks(landmarks, "the prediction")
    scan = MILLIMETRES[scan_unit] * np.asarray(scan, dtype=np.float64)
    small = [name for name, ids in regions.items() if len(ids) < _FEWEST]
    if small or not regions:
        raise InputError(
            f"The scan has fewer than {_FEWEST} vertices in {', '.join(small) or 'any part of the face'}; give a scan "
            "of the whole face and landmarks in its frame."
        )
    tree = build_surface_tree(MILLIMETRES[unit] * np.asarray(vertices, dtype=np.float64), faces)
    everything = np.unique(np.concatenate([np.asarray(ids) for ids in regions.values()]))
    points = scan[everything]
    start = align_points(landmarks, scan_landmarks, scaled=not metrical)
    whole = move_mesh_onto_points(points, tree, start, scaled=not metrical).state
    errors = {}
    for name, ids in regions.items():
        weights = np.where(np.isin(everything, ids), 1.0, _CONTEXT)
        fit = move_mesh_onto_points(points, tree, whole, scaled=not metrical, weights=weights)
        in_its_unit = Similarity(MILLIMETRES[unit] * fit.state.scale, fit.state.rotation, fit.state.translation)
        rows = np.asarray(ids)
        errors[name] = RegionError(distances_to_moved_mesh(scan[rows], tree, fit.state), rows, in_its_unit, fit.status)
    return errors


def face_regions(
    template: Float[np.ndarray, "V 3"], regions: Mapping[str, Int[np.ndarray, "_"]]
) -> dict[str, Int[np.ndarray, "_"]]:
    """Nose, mouth, forehead and cheeks of a FLAME head as vertex ids that do not overlap.

    The mouth is the lips and the skin within 12 mm of them; the cheeks are what is left of the face below the top of
    the nose, chin included, without eyes and their surroundings.

    Args:
        template: Vertices of the head, metres.
        regions: The model's, as in `FLAME_masks.pkl`: `face`, `nose`, `lips`, `forehead` and `eye_region`.

    Raises:
        InputError: A region is missing.
    """
    wanted = ("face", "nose", "lips", "forehead", "eye_region")
    missing = [name for name in wanted if name not in regions]
    if missing:
        raise InputError(f"The model has no region {', '.join(missing)}; put FLAME_masks.pkl beside the model file.")
    face, nose, lips, forehead, eyes = (_mask(regions[name], len(template)) for name in wanted)
    for name in ("left_eyeball", "right_eyeball"):
        eyes |= _mask(regions.get(name, np.empty(0, dtype=np.int64)), len(template))
    from_lips = np.sqrt(((template[:, None] - template[lips][None]) ** 2).sum(axis=-1)).min(axis=1)
    forehead &= ~nose
    mouth = (lips | (face & (from_lips <= _AROUND_LIPS))) & ~nose & ~forehead
    # FLAME's nose begins below the eyes; the bridge above it is no cheek.
    cheek = face & ~(nose | mouth | forehead | eyes) & (template[:, 1] <= template[nose, 1].max())
    return {name: np.flatnonzero(mask) for name, mask in zip(REGIONS, (nose, mouth, forehead, cheek), strict=True)}


def regions_of_scan(
    scan: Float[np.ndarray, "N 3"],
    scan_landmarks: Float[np.ndarray, "7 3"],
    template: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    template_landmarks: Float[np.ndarray, "7 3"],
    regions: Mapping[str, Int[np.ndarray, "_"]],
    *,
    scan_unit: Unit = "mm",
) -> dict[str, Int[np.ndarray, "_"]]:
    """Which vertices of a scan belong to each part of the face: a labelled head is laid on the scan and asked.

    The head is aligned like a prediction in the NoW protocol, without being bent.

    Args:
        scan: Vertices of the scan, as is the unit of `scan_landmarks`, in the order of `NOW_LANDMARKS`.
        template: Vertices of the labelled head, in any unit, as are `faces` and `template_landmarks`.
        regions: Vertex ids of the head by name, from `face_regions`.
        scan_unit: Of the scan and its landmarks.
    """
    scan_landmarks = MILLIMETRES[scan_unit] * check_landmarks(scan_landmarks, "the scan")
    scan = MILLIMETRES[scan_unit] * np.asarray(scan, dtype=np.float64)
    start = align_points(check_landmarks(template_landmarks, "the labelled head"), scan_landmarks)
    near = now_crop(scan, scan_landmarks)
    placed = start
    if len(near) >= _FEWEST:
        placed = move_mesh_onto_points(scan[near], build_surface_tree(template, faces), start, scaled=True).state
    points = moved(scan, inverted(placed))
    return label_points(points, template, faces, regions, farthest=_FARTHEST / placed.scale)


def label_points(
    points: Float[np.ndarray, "N 3"],
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    regions: Mapping[str, Int[np.ndarray, "_"]],
    *,
    farthest: float = np.inf,
) -> dict[str, Int[np.ndarray, "_"]]:
    """The points that belong to each region of a mesh: each asks the vertex nearest to its nearest surface point.

    Args:
        points: In the frame and unit of the mesh.
        vertices: Of the mesh, as are `faces`.
        regions: Vertex ids by name.
        farthest: Points farther from the mesh belong to no region.
    """
    found = nearest_on_mesh(points, vertices, faces)
    owner = faces[found.face_ids, found.barycentric.argmax(axis=1)]
    near = found.distances <= farthest
    return {name: np.flatnonzero(near & _mask(ids, len(vertices))[owner]) for name, ids in regions.items()}


def _mask(ids: Int[np.ndarray, "_"], count: int) -> Bool[np.ndarray, "V"]:
    mask = np.zeros(count, dtype=bool)
    mask[np.asarray(ids, dtype=np.int64)] = True
    return mask
