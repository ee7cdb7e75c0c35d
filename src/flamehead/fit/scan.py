"""Register a head to the surface of a scan.

The distance of each scan point to the head's surface is minimised (not the other way round: holes and borders of a scan
then ask for nothing), with the nearest points found anew at every evaluation. The normal of a surface point does not
depend on its foot point to first order, so Gauss-Newton on signed distances converges like point-to-plane ICP.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.fit._belief import HeadBelief, head_prior
from flamehead.fit._scan_match import match_samples, near_head, skin_surface
from flamehead.fit._states import Placed, moved_placed, resized, to_params, to_state
from flamehead.fit.points import PlacedLandmarks, PointFit, lip_line, paired_landmarks
from flamehead.fit.scan_samples import Samples, Scan, choose_samples
from flamehead.fit.surface_model import PosedSurface, SurfaceModel, build_surface_model, pose_surface, surface_rows
from flamehead.solve import LOSSES, RobustBlock, Solution, Status, levenberg_marquardt, single_threaded_blas

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["ScanFitSettings", "ScanRegistration", "ScanStage", "register_scan"]

_FACE_RADIUS = 0.11
"""Around the landmarks, metres: where samples are dense."""
_LIP_SIGMA = 1e-4
"""How far lips may pass through each other, metres."""
_LIP_MARGIN = 1.5e-4
"""Distance that lips keep if they do so on the mean head, metres."""
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
    """Lips whose landmarks are less than this apart are likely to touch: they are usually marked too far apart."""
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
    vertices = pose_surface(model, placed.head).vertices
    matched = match_samples(
        vertices, targets.samples, skin_surface(flame), scale=placed.scale, cosine=settings.normal_cosine
    )
    near = matched.valid & (np.abs(matched.distance) < settings.stages[-1].width)
    return ScanRegistration(
        to_params(flame, placed.head),
        placed.scale if free_scale else start.scale,
        solution.status,
        solution.cost,
        float(near.mean()),
    )


def _targets(
    flame: Flame, scan: Scan, start: PointFit, landmarks: Float[np.ndarray, "L 3"], settings: ScanFitSettings
) -> _Targets:
    placed = paired_landmarks(flame, landmarks)
    model = _model(flame, settings.stages[0])
    vertices = pose_surface(model, resized(to_state(start.params), model.columns)).vertices / start.scale
    near = near_head(
        scan, vertices, skin_surface(flame), reach=settings.reach / start.scale, most=10 * settings.samples
    )
    in_face = np.linalg.norm(scan.vertices[near] - placed.seen.mean(axis=0), axis=1) < _FACE_RADIUS / start.scale
    weights = np.zeros(len(scan.vertices))
    weights[near] = np.where(in_face, settings.face_density, 1.0)
    samples = choose_samples(scan, weights, settings.samples)
    return _Targets(samples, placed)


def _model(flame: Flame, stage: ScanStage) -> SurfaceModel:
    return build_surface_model(flame.arrays, n_shape=stage.n_shape, n_expression=stage.n_expression)


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
    surface, lips = skin_surface(flame), _lips(flame)
    count, n, pivot = len(samples.points), len(columns), targets.pivot
    unit = np.sqrt(settings.independent / count) / settings.noise

    def residuals(placed: Placed) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M N"]]:
        posed = pose_surface(model, placed.head)
        match = match_samples(posed.vertices, samples, surface, scale=placed.scale, cosine=settings.normal_cosine)
        missed, mark_rows = _landmark_residuals(model, posed, targets, placed.scale, stage.landmark_sigma, settings)
        believed, prior_rows = prior(placed.head)
        crossed, lip_rows = _crossed_lips(model, posed, lips, placed.head.root[:, 1])
        believed, prior_rows = np.append(believed, crossed), np.concatenate([prior_rows, lip_rows])
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


@dataclass(frozen=True)
class _Lips:
    """Pairs of places where the lips meet."""

    upper: tuple[Int[np.ndarray, "G 3"], Float[np.ndarray, "G 3"]]
    """Vertex ids and barycentric weights."""
    lower: tuple[Int[np.ndarray, "G 3"], Float[np.ndarray, "G 3"]]
    least: Float[np.ndarray, "G"]
    """Least distance along the head's up axis, metres."""


def _lips(flame: Flame) -> _Lips:
    corners, barycentric = lip_line(flame)
    upper, lower = ((corners[:, k], barycentric[:, k]) for k in range(2))
    at_rest = np.einsum("gck,gcka->gca", barycentric, flame.arrays.template[corners])
    return _Lips(upper, lower, np.minimum(at_rest[:, 0, 1] - at_rest[:, 1, 1], _LIP_MARGIN))


def _crossed_lips(
    model: SurfaceModel, posed: PosedSurface, lips: _Lips, up: Float[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "G"], Float[np.ndarray, "G N"]]:
    """How far the upper lip passes below the lower one, and the derivative by `Columns`; zero for lips that do not."""
    along = np.tile(up, (len(lips.least), 1))
    heights = [np.einsum("gk,gka,ga->g", b, posed.vertices[c], along) for c, b in (lips.upper, lips.lower)]
    excess = np.minimum(heights[0] - heights[1] - lips.least, 0.0) / _LIP_SIGMA
    rows = np.zeros((len(excess), len(model.columns)))
    crossed = np.flatnonzero(excess)
    if crossed.size:
        scaled = along[crossed] / _LIP_SIGMA
        above, below = (surface_rows(model, posed, c[crossed], b[crossed], scaled) for c, b in (lips.upper, lips.lower))
        rows[crossed] = above - below
    return excess, rows
