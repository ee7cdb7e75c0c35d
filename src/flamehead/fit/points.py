"""Fit a head to landmarks in space."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from flamehead.assets.model_file import LandmarkEmbedding
from flamehead.data import FlameParams, LandmarkScheme
from flamehead.errors import InputError
from flamehead.fit._belief import HeadBelief, head_prior
from flamehead.fit._correspondence import Correspondence, correspond, mesh_ids, rows_of
from flamehead.fit._states import Placed, moved_placed, to_params
from flamehead.fit.landmark_model import (
    HeadState,
    LandmarkModel,
    build_landmark_model,
    landmark_points,
    landmark_positions,
)
from flamehead.geometry.similarity import align_points
from flamehead.solve import LOSSES, LossName, RobustBlock, Solution, Status, levenberg_marquardt, single_threaded_blas

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = [
    "PointFit",
    "PointFitSettings",
    "PlacedLandmarks",
    "PointScheme",
    "fit_points",
    "lip_line",
    "mesh_points",
    "paired_landmarks",
    "point_scheme",
]

PointScheme: TypeAlias = LandmarkScheme | Literal["ibug51"]
"""Which points a set of landmarks in space holds: those of `LandmarkScheme`, or the 68 without the jaw line."""

_COUNTS: dict[int, PointScheme] = {
    51: "ibug51",
    68: "ibug68",
    105: "mediapipe105",
    468: "mediapipe468",
    478: "mediapipe478",
}
_FEWEST_POINTS = 6
_GAPS = ((80, 88), (81, 178), (82, 87), (13, 14), (312, 317), (311, 402), (310, 318))
"""Face-mesh points of upper and lower lip that face each other."""


@dataclass(frozen=True)
class PointFitSettings:
    """What a fit to landmarks in space believes before it looks. Lengths are metres."""

    n_shape: int = 100
    """Identity components; more than 100 are not seen in landmarks."""
    n_expression: int = 50
    """Expression components."""
    landmark_sigma: float = 1.5e-3
    """Of eyes, nose and lips: how well people or detectors place them."""
    contour_sigma: float = 8e-3
    """Of the jaw line, whose points have no fixed place."""
    iris_sigma: float = 4e-3
    """Of the pupils."""
    other_sigma: float = 4e-3
    """Of points on smooth skin."""
    loss: LossName = "huber"
    """How landmarks that do not fit are weighted down."""
    outlier: float = 3.0
    """Distance in standard deviations from which a landmark counts as an outlier."""
    belief: HeadBelief = field(default_factory=lambda: HeadBelief(neck_sigma=1e-3))
    """About the head; the neck stays straight, as landmarks do not show it."""
    cost_tolerance: float = 1e-4
    """Stop when a step lowers the cost by less than this fraction."""
    max_iterations: int = 30


@dataclass(frozen=True)
class PointFit:
    """A head fitted to points in space."""

    params: FlameParams
    """In metres: `flame(params).vertices / scale` lie in the frame of the points."""
    scale: float
    """Metres per unit of the points."""
    status: Status
    """Why the solver stopped; `str(status)` is a sentence."""
    loss: float
    """Final cost, 0.5 * sum of squared weighted residuals, priors included."""
    fitted: Float[np.ndarray, "L 3"]
    """The model's landmarks in the frame and unit of the points; NaN where the model has no such point."""
    fingerprint: str
    """Fingerprint of the model that `params` belong to."""


@dataclass(frozen=True)
class PlacedLandmarks:
    """Landmarks in space and where they lie on the head."""

    seen: Float[np.ndarray, "K 3"]
    """In the frame and unit of the scan."""
    corners: Int[np.ndarray, "K 3"]
    """Vertex ids."""
    barycentric: Float[np.ndarray, "K 3"]
    gaps: Int[np.ndarray, "G 2"]
    """Rows of points of upper and lower lip that face each other: how far the mouth is open."""


def point_scheme(points: Float[np.ndarray, "L 3"]) -> PointScheme:
    """Which landmarks these are, told by their number.

    Raises:
        InputError: No set of landmarks has so many points.
    """
    if points.ndim != 2 or points.shape[1] != 3 or len(points) not in _COUNTS:
        wanted = ", ".join(map(str, _COUNTS))
        raise InputError(f"The landmarks have shape {points.shape}; give {wanted} points with x, y and z.")
    return _COUNTS[len(points)]


@single_threaded_blas()
def fit_points(
    flame: Flame,
    points: Float[np.ndarray, "L 3"],
    *,
    scale: float | None = 1.0,
    settings: PointFitSettings | None = None,
) -> PointFit:
    """Find the head that explains landmarks in space: identity, expression, jaw, gaze, pose and perhaps their unit.

    Maximum a posteriori estimate: robust similarity in closed form, then Levenberg-Marquardt over everything at once.

    Args:
        flame: The model.
        points: 51 (iBUG without jaw line), 68, 105, 468 or 478 landmarks; rows of NaN were not seen.
        scale: Metres per unit of the points; None finds it, which landmarks tell to a few percent only.
        settings: Priors and tolerances.

    Raises:
        InputError: Too few landmarks, or they are not a face's, or the scale is not positive.
        AssetNotFound: The model has no landmarks that match.

    Example:
        >>> fit = fit_points(load_flame(), np.load("scan_lmks.npy"))  # doctest: +SKIP
        >>> vertices = load_flame()(fit.params).vertices / fit.scale  # doctest: +SKIP
    """
    settings = settings or PointFitSettings()
    if scale is not None and not (math.isfinite(scale) and scale > 0.0):
        raise InputError(f"The scale is {scale}; give the metres per unit, 0.001 for mm, or None to find it.")
    points = np.asarray(points, dtype=np.float64)
    pairs = _pairs(flame, points)
    embedding = flame.embeddings[pairs.scheme]
    rows = LandmarkEmbedding(embedding.face_ids[pairs.model_rows], embedding.barycentric[pairs.model_rows])
    model = build_landmark_model(flame.arrays, rows, n_shape=settings.n_shape, n_expression=settings.n_expression)
    targets = points[pairs.seen_rows]
    start = _start(model, targets, scale)
    solution = _solve(model, targets, _weights(pairs, settings), start, settings, free_scale=scale is None)
    placed = solution.state
    fitted = np.full(points.shape, np.nan)
    fitted[pairs.seen_rows] = landmark_positions(model, placed.head) / placed.scale
    # The logarithm would cost the last digit.
    return PointFit(
        to_params(flame, placed.head),
        placed.scale if scale is None else scale,
        solution.status,
        solution.cost,
        fitted,
        flame.fingerprint,
    )


def paired_landmarks(flame: Flame, points: Float[np.ndarray, "L 3"]) -> PlacedLandmarks:
    """Seen landmarks that have a fixed place on the face, and that place; without the jaw line and smooth skin.

    Raises:
        InputError: Too few landmarks, or they are not a face's.
        AssetNotFound: The model has no landmarks that match.
    """
    points = np.asarray(points, dtype=np.float64)
    pairs = _pairs(flame, points)
    firm = pairs.is_kind("inner") & np.isfinite(points[pairs.seen_rows]).all(axis=1)
    embedding, rows = flame.embeddings[pairs.scheme], pairs.model_rows[firm]
    row = np.full(478, -1)
    row[pairs.mesh_ids[firm]] = np.arange(int(firm.sum()))
    gaps = row[np.array(_GAPS)]
    return PlacedLandmarks(
        points[pairs.seen_rows[firm]],
        flame.arrays.faces[embedding.face_ids[rows]],
        embedding.barycentric[rows],
        gaps[(gaps >= 0).all(axis=1)],
    )


def mesh_points(flame: Flame, vertices: Float[np.ndarray, "V 3"], ids: tuple[int, ...]) -> Float[np.ndarray, "K 3"]:
    """Where some face-mesh points lie on a head.

    Raises:
        AssetNotFound: The model has no landmarks.
    """
    scheme = correspond("mediapipe478", tuple(flame.embeddings), source=flame.arrays.source).scheme
    embedding, rows = flame.embeddings[scheme], rows_of(scheme, np.array(ids))
    if (rows < 0).any():
        raise InputError(f"The {scheme} landmarks of {flame.arrays.source} lack face-mesh points {ids}; name others.")
    corners = vertices[flame.arrays.faces[embedding.face_ids[rows]]]
    return np.einsum("lk,lka->la", embedding.barycentric[rows], corners)


def lip_line(flame: Flame) -> tuple[Int[np.ndarray, "G 2 3"], Float[np.ndarray, "G 2 3"]]:
    """Places on the upper and the lower lip that face each other where the lips meet: vertex ids, barycentric weights.

    Raises:
        AssetNotFound: The model has no landmarks.
    """
    scheme = correspond("mediapipe478", tuple(flame.embeddings), source=flame.arrays.source).scheme
    embedding, rows = flame.embeddings[scheme], rows_of(scheme, np.array(_GAPS).reshape(-1)).reshape(-1, 2)
    rows = rows[(rows >= 0).all(axis=1)]
    return flame.arrays.faces[embedding.face_ids[rows]], embedding.barycentric[rows]


def _pairs(flame: Flame, points: Float[np.ndarray, "L 3"]) -> Correspondence:
    scheme = point_scheme(points)
    pairs = correspond(scheme, tuple(flame.embeddings), source=flame.arrays.source)  # pyright: ignore[reportArgumentType]
    visible = np.isfinite(points[pairs.seen_rows]).all(axis=1).sum()
    if visible < _FEWEST_POINTS:
        raise InputError(
            f"Only {visible} of {len(mesh_ids(scheme))} landmarks were seen, wanted at least {_FEWEST_POINTS}; "
            "give more landmarks of the face."
        )
    return pairs


def _weights(pairs: Correspondence, settings: PointFitSettings) -> Float[np.ndarray, "K"]:
    """1 / standard deviation of each landmark, 1 / metres."""
    sigma = {
        "inner": settings.landmark_sigma,
        "contour": settings.contour_sigma,
        "iris": settings.iris_sigma,
        "other": settings.other_sigma,
    }
    return 1.0 / np.array([sigma[kind] for kind in pairs.kinds])


def _start(model: LandmarkModel, targets: Float[np.ndarray, "K 3"], scale: float | None) -> Placed:
    """The mean head where a similarity puts it."""
    zeros = HeadState.zeros(model.columns.n_shape, model.columns.n_expression)
    own, seen = landmark_positions(model, zeros), np.isfinite(targets).all(axis=1)
    units = 1.0 if scale is None else scale
    found = align_points(own[seen], units * targets[seen], scaled=scale is None, robust=True)
    # The points shrink onto the head, not the head onto the points.
    metres = units / found.scale
    turn, pivot = found.rotation, model.joints_template[0]
    # The root joint turns the head about itself: x -> R (x - pivot) + pivot + translation.
    translation = found.translation / found.scale + turn @ pivot - pivot
    return Placed(replace(zeros, root=turn, translation=translation), math.log(metres))


def _solve(
    model: LandmarkModel,
    targets: Float[np.ndarray, "K 3"],
    weights: Float[np.ndarray, "K"],
    start: Placed,
    settings: PointFitSettings,
    *,
    free_scale: bool,
) -> Solution[Placed]:
    columns, prior = model.columns, head_prior(model.columns, settings.belief)
    seen = np.isfinite(targets).all(axis=1)
    targets, weights = np.where(seen[:, None], targets, 0.0), np.where(seen, weights, 0.0)
    pivot = targets[seen].mean(axis=0)
    n, k = len(columns), 3 * len(targets)

    def residuals(placed: Placed) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M N"]]:
        points, jacobian = landmark_points(model, placed.head)
        believed, prior_rows = prior(placed.head)
        rows = np.zeros((k + len(believed), n + 1))
        np.multiply(jacobian, weights[:, None, None], out=rows[:k, :n].reshape(len(targets), 3, n))
        if free_scale:
            # The head moves with the pivot of the points, see `moved_placed`.
            rows[:k, n] = (-placed.scale * weights[:, None] * (targets - pivot)).reshape(-1)
        rows[k:, :n] = prior_rows
        r = weights[:, None] * (points - placed.scale * targets)
        return np.concatenate([r.reshape(-1), believed]), rows

    robust = (RobustBlock(slice(0, k), 3, LOSSES[settings.loss], settings.outlier),)
    return levenberg_marquardt(
        residuals,
        start,
        retract=lambda placed, step: moved_placed(placed, step, columns, pivot),
        robust=() if settings.loss == "squared" else robust,
        cost_tolerance=settings.cost_tolerance,
        max_iterations=settings.max_iterations,
    )
