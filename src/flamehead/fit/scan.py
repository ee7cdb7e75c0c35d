"""Register a head to the surface of a scan.

The distance of each scan point to the head's surface is minimised (not the other way round: holes and borders of a scan
then ask for nothing), with the nearest points found anew at every evaluation. The normal of a surface point does not
depend on its foot point to first order, so Gauss-Newton on signed distances converges like point-to-plane ICP.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.fit._belief import HeadBelief, head_prior
from flamehead.fit._scan_samples import Samples, Scan, choose_samples
from flamehead.fit._states import Placed, moved_placed, resized, to_params, to_state
from flamehead.fit.points import PlacedLandmarks, PointFit, paired_landmarks
from flamehead.fit.surface_model import PosedSurface, SurfaceModel, build_surface_model, pose_surface, surface_rows
from flamehead.geometry.nearest import build_surface_tree, nearest_in_tree
from flamehead.solve import LOSSES, RobustBlock, Solution, Status, levenberg_marquardt, single_threaded_blas

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["ScanFitSettings", "ScanRegistration", "ScanStage", "register_scan", "skin_faces"]

_HIDDEN_REGIONS = ("lip_inside",)
"""What no scanner sees; without a table of regions, normals keep the scan from lying on it."""
_FACE_RADIUS = 0.11
"""Around the landmarks, metres: where samples are dense."""
_SATURATED = 30.0
"""Residual, in widths of the robust loss, of points that must not pull."""


@dataclass(frozen=True)
class ScanStage:
    """One step from coarse to fine."""

    n_shape: int
    n_expression: int
    width: float
    """Distance at which a scan point starts to look like an outlier, metres."""
    landmark_sigma: float
    """How well the landmarks are believed, metres."""
    iterations: int


_STAGES = (
    ScanStage(20, 10, 0.020, 2e-3, 6),
    ScanStage(80, 40, 0.010, 3e-3, 6),
    ScanStage(300, 100, 0.005, 4e-3, 12),
)


@dataclass(frozen=True)
class ScanFitSettings:
    """How a scan is registered. Lengths are metres."""

    stages: tuple[ScanStage, ...] = _STAGES
    """From few components and a wide robust loss to many and a narrow one."""
    samples: int = 6000
    """Scan points that take part, denser in the face."""
    face_density: float = 4.0
    """Samples per area in the face over that elsewhere."""
    reach: float = 0.04
    """Scan points farther from the head than this after the landmark fit are not the head's."""
    noise: float = 1e-3
    """Standard deviation of what the model cannot explain."""
    independent: float = 500.0
    """How many independent measurements all samples together count as: neighbours err alike."""
    gap_sigma: float = 1e-3
    """How well the landmarks tell how far the lips are apart."""
    closed_gap: float = 4e-3
    """Lips whose landmarks are less than this apart are likely to touch: people and detectors mark them too far apart."""
    normal_cosine: float = 0.5
    """Least cosine between the normals of a scan point and of the head where it lies."""
    belief: HeadBelief = field(default_factory=HeadBelief)
    cost_tolerance: float = 2e-3
    """A stage ends when a step lowers the cost by less than this fraction."""


@dataclass(frozen=True)
class ScanRegistration:
    """A head registered to a scan."""

    params: FlameParams
    """In metres: `flame(params).vertices / scale` lie in the scan's frame."""
    scale: float
    """Metres per unit of the scan."""
    status: Status
    """Of the last stage."""
    loss: float
    explained: float
    """Share of the samples that lie on the head: compatible normals, nearer than the last stage's width."""


@dataclass(frozen=True)
class _Targets:
    """Scan samples and landmarks in the scan's unit, and what they are compared with."""

    samples: Samples
    landmarks: PlacedLandmarks

    @property
    def pivot(self) -> Float[np.ndarray, "3"]:
        return self.landmarks.seen.mean(axis=0)


@single_threaded_blas()
def register_scan(
    flame: Flame,
    scan: Scan,
    start: PointFit,
    landmarks: Float[np.ndarray, "L 3"],
    *,
    free_scale: bool = False,
    settings: ScanFitSettings | None = None,
) -> ScanRegistration:
    """Move a head from where its landmarks are to where the scan's surface is.

    Args:
        flame: The model.
        scan: From `clean_scan`.
        start: Of `fit_points` to the same landmarks.
        landmarks: In the scan's frame and unit.
        free_scale: The scan's unit is unknown; it is refined together with the head.
        settings: Stages and priors.

    Raises:
        InputError: No part of the scan lies near the head that the landmarks show.
    """
    settings = settings or ScanFitSettings()
    targets = _targets(flame, scan, start, landmarks, settings)
    placed = Placed(to_state(start.params), float(np.log(start.scale)))
    solution: Solution[Placed] | None = None
    for stage in settings.stages:
        solution = _solve_stage(flame, targets, placed, stage, settings, free_scale)
        placed = solution.state
    if solution is None:
        raise InputError("The settings name no stages; give at least one `ScanStage`.")
    model = _model(flame, settings.stages[-1])
    placed = replace(placed, head=resized(placed.head, model.columns))
    matched = _match(model, pose_surface(model, placed.head).vertices, targets.samples, placed.scale, settings, flame)
    near = matched.valid & (np.abs(matched.distance) < settings.stages[-1].width)
    return ScanRegistration(
        to_params(flame, placed.head), placed.scale, solution.status, solution.cost, float(near.mean())
    )


def skin_faces(flame: Flame) -> Int[np.ndarray, "F"]:
    """Rows of the model's faces that a scanner can see: without the inside of the mouth, where the model names it."""
    faces = flame.arrays.faces
    hidden = np.zeros(len(flame.arrays.template), dtype=bool)
    for name in _HIDDEN_REGIONS:
        hidden[np.asarray(flame.regions.get(name, ()), dtype=np.int64)] = True
    return np.flatnonzero(~hidden[faces].all(axis=1))


def _targets(
    flame: Flame, scan: Scan, start: PointFit, landmarks: Float[np.ndarray, "L 3"], settings: ScanFitSettings
) -> _Targets:
    placed = paired_landmarks(flame, landmarks)
    model = _model(flame, settings.stages[0])
    vertices = pose_surface(model, resized(to_state(start.params), model.columns)).vertices / start.scale
    weights = _sample_weights(scan, vertices, model.faces[skin_faces(flame)], placed.seen, start.scale, settings)
    samples = choose_samples(scan, weights, settings.samples)
    return _Targets(samples, placed)


def _sample_weights(
    scan: Scan,
    head: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    landmarks: Float[np.ndarray, "K 3"],
    scale: float,
    settings: ScanFitSettings,
) -> Float[np.ndarray, "N"]:
    """How dense samples should be at each vertex of the scan: nowhere far from the head, most in the face."""
    reach = settings.reach / scale
    low, high = head.min(axis=0) - reach, head.max(axis=0) + reach
    inside = np.flatnonzero(((scan.vertices > low) & (scan.vertices < high)).all(axis=1) & (scan.areas > 0.0))
    # Distances of some tens of thousands of points tell as much as those of a million.
    inside = inside[:: max(1, len(inside) // (10 * settings.samples))]
    near = np.zeros(0) if not len(inside) else nearest_in_tree(scan.vertices[inside], build_surface_tree(head, faces)).distances
    kept = inside[near < reach]
    if len(kept) < 100:
        raise InputError(
            f"Only {len(kept)} points of the scan lie near the head that the landmarks show; give landmarks in the "
            "frame and unit of this scan, or none to find them."
        )
    in_face = np.linalg.norm(scan.vertices[kept] - landmarks.mean(axis=0), axis=1) < _FACE_RADIUS / scale
    weights = np.zeros(len(scan.vertices))
    weights[kept] = np.where(in_face, settings.face_density, 1.0)
    return weights


def _model(flame: Flame, stage: ScanStage) -> SurfaceModel:
    return build_surface_model(flame.arrays, n_shape=stage.n_shape, n_expression=stage.n_expression)


@dataclass(frozen=True)
class _Match:
    """Where each sample lies on the head."""

    corners: Int[np.ndarray, "N 3"]
    barycentric: Float[np.ndarray, "N 3"]
    directions: Float[np.ndarray, "N 3"]
    """Unit vectors along which the distances are measured."""
    distance: Float[np.ndarray, "N"]
    """Metres, `directions . (point on the head - sample)`."""
    valid: Bool[np.ndarray, "N"]
    """Not on a border of the head, normals compatible."""


def _match(
    model: SurfaceModel,
    vertices: Float[np.ndarray, "V 3"],
    samples: Samples,
    scale: float,
    settings: ScanFitSettings,
    flame: Flame,
) -> _Match:
    faces, border = _searched(flame)
    points = scale * samples.points
    found = nearest_in_tree(points, build_surface_tree(vertices, faces))
    corners = faces[found.face_ids]
    a, b, c = np.moveaxis(vertices[corners], 1, 0)
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    offset = found.points - points
    inside = found.barycentric.min(axis=1) > 1e-9
    apart = np.linalg.norm(offset, axis=1)
    steep = ~inside & (apart > 1e-9)
    directions = np.where(steep[:, None], offset / np.maximum(apart, 1e-30)[:, None], normals)
    cosine = np.einsum("na,na->n", normals, samples.normals)
    compatible = (cosine if samples.oriented else np.abs(cosine)) > settings.normal_cosine
    on_border = ((found.barycentric < 1e-9) & border[found.face_ids]).any(axis=1)
    distance = np.einsum("na,na->n", directions, offset)
    return _Match(corners, found.barycentric, directions, distance, compatible & ~on_border)


def _solve_stage(
    flame: Flame,
    targets: _Targets,
    start: Placed,
    stage: ScanStage,
    settings: ScanFitSettings,
    free_scale: bool,
) -> Solution[Placed]:
    model = _model(flame, stage)
    columns, prior, samples = model.columns, head_prior(model.columns, settings.belief), targets.samples
    count, n, pivot = len(samples.points), len(columns), targets.pivot
    unit = np.sqrt(settings.independent / count) / settings.noise

    def residuals(placed: Placed) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M N"]]:
        posed = pose_surface(model, placed.head)
        match = _match(model, posed.vertices, samples, placed.scale, settings, flame)
        missed, mark_rows = _landmark_residuals(model, posed, targets, placed.scale, stage.landmark_sigma, settings)
        believed, prior_rows = prior(placed.head)
        rows = np.zeros((count + len(missed) + len(believed), n + 1))
        valid = np.flatnonzero(match.valid)
        rows[valid, :n] = surface_rows(
            model, posed, match.corners[valid], match.barycentric[valid], unit * match.directions[valid]
        )
        lever = placed.scale * (samples.points[valid] - pivot)
        rows[valid, n] = -unit * np.einsum("na,na->n", match.directions[valid], lever)
        rows[count : count + len(missed)] = mark_rows
        rows[count + len(missed) :, :n] = prior_rows
        distance = np.where(match.valid, match.distance, _SATURATED * stage.width)
        if not free_scale:
            rows[:, n] = 0.0
        return np.concatenate([unit * distance, missed, believed]), rows

    marks = len(targets.landmarks.seen)
    robust = (
        RobustBlock(slice(0, count), 1, LOSSES["geman_mcclure"], unit * stage.width),
        RobustBlock(slice(count, count + 3 * marks), 3, LOSSES["huber"], 3.0),
    )
    return levenberg_marquardt(
        residuals,
        replace(start, head=resized(start.head, columns)),
        retract=lambda placed, step: moved_placed(placed, step, columns, targets.pivot),
        robust=robust,
        cost_tolerance=settings.cost_tolerance,
        max_iterations=stage.iterations,
    )


def _landmark_residuals(
    model: SurfaceModel,
    posed: PosedSurface,
    targets: _Targets,
    scale: float,
    sigma: float,
    settings: ScanFitSettings,
) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M N"]]:
    """Landmarks by axis, then how far the lips are apart, and the derivative by `Columns` and the log of the scale.

    A scan hardly shows where the lips meet: the surface alone would part them.
    """
    marks, n = targets.landmarks, len(model.columns)
    k, (upper, lower) = len(marks.seen), marks.gaps.T
    places = np.einsum("kc,kca->ka", marks.barycentric, posed.vertices[marks.corners])
    axes = np.tile(np.eye(3), (k, 1))
    by_axis = surface_rows(model, posed, np.repeat(marks.corners, 3, 0), np.repeat(marks.barycentric, 3, 0), axes)
    rows = np.concatenate([by_axis, -scale * (marks.seen - targets.pivot).reshape(-1, 1)], axis=1).reshape(k, 3, n + 1)
    missed = places - scale * marks.seen
    seen_gaps = scale * (marks.seen[upper] - marks.seen[lower])
    squares = (seen_gaps**2).sum(axis=1, keepdims=True)
    gaps = places[upper] - places[lower] - seen_gaps * squares / (squares + settings.closed_gap**2)
    r = np.concatenate([missed / sigma, gaps / settings.gap_sigma])
    jacobian = np.concatenate([rows / sigma, (rows[upper] - rows[lower]) / settings.gap_sigma])
    return r.reshape(-1), jacobian.reshape(-1, n + 1)


def _searched(flame: Flame) -> tuple[Int[np.ndarray, "F 3"], Bool[np.ndarray, "F 3"]]:
    """Faces that a scan point may lie on, and which of their corners face a border of them."""
    faces = flame.arrays.faces[skin_faces(flame)]
    edges = np.sort(faces[:, [[1, 2], [2, 0], [0, 1]]], axis=2)
    keys = edges[..., 0] * (int(faces.max()) + 1) + edges[..., 1]
    _, inverse, counts = np.unique(keys.reshape(-1), return_inverse=True, return_counts=True)
    return faces, (counts[inverse.reshape(-1)] == 1).reshape(-1, 3)
