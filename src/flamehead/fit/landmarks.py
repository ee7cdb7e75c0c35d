"""Fit a head to the landmarks of one image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from flamehead.data import Camera, Fit, FlameParams, Observation, Posterior
from flamehead.errors import InputError
from flamehead.fit._correspondence import Kind, mesh_ids
from flamehead.fit._prepare import Prepared, prepare
from flamehead.fit._so3 import exp, log
from flamehead.fit._start import pose_rigid_head, weak_perspective
from flamehead.fit._whitening import LandmarkWhitening, landmark_whitening
from flamehead.fit.identity_prior import IdentityPrior, begun, coefficients_used
from flamehead.fit.landmark_model import Columns, HeadState, LandmarkModel, landmark_points, landmark_positions
from flamehead.fit.residuals import (
    CAMERA_FROM_MODEL,
    ImageTargets,
    gaussian_prior,
    project,
    project_residuals,
    soft_limits,
)
from flamehead.fit.uncertainty import System, doubts, linearize, natural_columns, natural_units, posterior_of
from flamehead.solve import LOSSES, LossName, RobustBlock, Solution, levenberg_marquardt, single_threaded_blas

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["LandmarkFitSettings", "fit_landmarks"]

_FEWEST_POINTS = 6
_NAMES: dict[Kind, str] = {"inner": "features", "contour": "outline", "iris": "pupils", "other": "skin"}
"""Kinds of landmarks in words."""
_STILL = 1e-4
"""Spread of a jaw that a model is not made to turn, radians."""


@dataclass(frozen=True)
class LandmarkFitSettings:
    """What a landmark fit believes before it looks.

    Standard deviations of landmarks are fractions of the outer-eye distance that the mean head would show facing the
    camera at the same distance; 0.01 is about one pixel when the face is 250 pixels wide.
    """

    n_shape: int = 100
    """Identity components; a model with fewer gives all it has."""
    n_expression: int = 60
    """Expression components."""
    landmark_sigma: float = 0.015
    """Of brows, eyes, nose and lips."""
    iris_sigma: float = 0.02
    """Of the pupils."""
    contour_sigma: float = 0.03
    """Of the face's outline, across it."""
    contour_slide_sigma: float = 0.1
    """Of the face's outline, along it: its points have no fixed place there."""
    other_sigma: float | None = None
    """Of the face-mesh points on smooth skin; None leaves them out."""
    loss: LossName = "huber"
    """How landmarks that do not fit are weighted down."""
    outlier: float = 3.0
    """Distance in standard deviations from which a landmark counts as an outlier."""
    shape_sigma: float = 1.0
    """Spread of the identity coefficients; 1 is the model's own statistics."""
    expression_sigma: float = 1.0
    """Spread of the expression coefficients."""
    coefficient_limit: float = 2.5
    """Coefficients beyond this are penalised more than the Gaussian does."""
    coefficient_excess_sigma: float = 0.2
    """Standard deviation of what exceeds the limit."""
    jaw_sigma: tuple[float, float, float] = (0.2, 0.02, 0.03)
    """Spread of the jaw's axis-angle components, radians: opening, sideways turn, roll."""
    jaw_limits: tuple[float, float] = (-0.05, 0.5)
    """Soft limits of the opening, radians."""
    eye_sigma: float = 0.3
    """Spread of the gaze, radians."""
    eye_limit: float = 0.6
    """Soft limit of pitch and yaw, radians."""
    angle_excess_sigma: float = 0.025
    """Standard deviation of what exceeds the limits of jaw and gaze, radians."""
    eye_difference_sigma: float = 0.1
    """Spread of the difference between both eyes, radians."""
    focal_ratio: float = 1.2
    """Expected focal length over the larger image side, when the focal length is not given."""
    focal_spread: float = 0.2
    """Standard deviation of the logarithm of the focal length."""
    cost_tolerance: float = 1e-4
    """Stop when a step lowers the cost by less than this fraction."""
    max_iterations: int = 50


@single_threaded_blas()
def fit_landmarks(
    flame: Flame,
    seen: Observation,
    *,
    focal: float | None = None,
    settings: LandmarkFitSettings | None = None,
    start: FlameParams | None = None,
    identity_prior: IdentityPrior | None = None,
) -> Fit:
    """Find the head and the camera that explain landmarks: identity, expression, jaw, gaze, pose and focal length.

    Maximum a posteriori estimate: weak-perspective start, then Levenberg-Marquardt over the pose alone, then over
    everything at once. The camera stands in the origin and looks at the face, so `root` is small when the face looks at
    the camera; the neck stays straight. One image does not tell the head's size, and tells identity only roughly.

    Args:
        flame: The model.
        seen: Landmarks of one face; rows of NaN were not seen.
        focal: Focal length in pixels, kept as it is; None estimates it around a usual portrait lens.
        settings: Priors and tolerances.
        start: Shape, expression, jaw and gaze to begin with, such as DECA's, instead of the mean head's; the pose is
            found from the landmarks in any case. Where it ends depends on it only if the cost has several minima.
        identity_prior: The identity that is believed, such as MICA's, instead of the mean head's. Where it or `start`
            has more coefficients than `settings`, the fit takes as many.

    Returns:
        Parameters in the model's dtype, padded to its number of coefficients.

    Raises:
        InputError: Too few landmarks, or they are not a face's, or the focal length is not positive.
        AssetNotFound: The model has no landmarks that match.

    Example:
        >>> fit = fit_landmarks(load_flame(), seen)  # doctest: +SKIP
        >>> print(fit.status)  # doctest: +SKIP
        Converged: the cost fell by less than the tolerance after 7 iterations.
    """
    settings = settings or LandmarkFitSettings()
    if flame.arrays.variant == "2023-no-jaw":
        settings = replace(settings, jaw_sigma=(_STILL, _STILL, _STILL))
    if focal is not None and not (math.isfinite(focal) and focal > 0.0):
        raise InputError(f"The focal length is {focal}; give a positive number of pixels, or none to estimate it.")
    _check(seen)
    settings = _widened(settings, start, identity_prior)
    prepared = prepare(
        flame,
        seen.scheme,
        n_shape=settings.n_shape,
        n_expression=settings.n_expression,
        with_other=settings.other_sigma is not None,
    )
    start_focal = focal or settings.focal_ratio * max(seen.size)
    targets, state = start_pose(prepared, seen, settings, focal=start_focal, start=start)
    solution = _solve(
        prepared.model,
        targets,
        state,
        settings,
        free_focal=focal is None,
        prior_focal=start_focal,
        identity_prior=identity_prior,
    )
    fit = fit_of(flame, seen, prepared, solution)
    given = {
        "free_focal": focal is None,
        "prior_focal": start_focal,
        "size": seen.size,
        "identity_prior": identity_prior,
    }
    return replace(fit, evidence=partial(landmark_posterior, prepared, targets, solution.state, settings, **given))


@single_threaded_blas()
def landmark_posterior(
    prepared: Prepared,
    targets: ImageTargets,
    state: HeadState,
    settings: LandmarkFitSettings,
    *,
    free_focal: bool,
    prior_focal: float,
    size: tuple[int, int],
    identity_prior: IdentityPrior | None = None,
) -> Posterior:
    """What a landmark fit knows at its solution; see `flamehead.fit.uncertainty`.

    Args:
        prepared: The model.
        targets: What was seen.
        state: The solution.
        settings: That it was found with.
        free_focal: Whether the focal length was estimated.
        prior_focal: Pixels.
        size: Of the image, pixels.
        identity_prior: That it was found with.
    """
    lens = {"free_focal": free_focal, "prior_focal": prior_focal, "identity_prior": identity_prior}

    def near(step: Float[np.ndarray, "N"]) -> System:
        return landmark_system(prepared, targets, moved(state, step, prepared.model.columns), settings, **lens)

    columns = natural_columns(prepared.model.columns, free_focal=free_focal)
    system = landmark_system(prepared, targets, state, settings, **lens)
    found = posterior_of(system, near, natural_units(state, columns), columns)
    placed = project(landmark_positions(prepared.everything, state), math.exp(state.log_focal), targets.center)
    spreads = {"jaw": settings.jaw_sigma[0], "log_focal": settings.focal_spread}
    return replace(found, warnings=doubts(found, placed, targets, size=size, believed=spreads))


def landmark_system(
    prepared: Prepared,
    targets: ImageTargets,
    state: HeadState,
    settings: LandmarkFitSettings,
    *,
    free_focal: bool,
    prior_focal: float,
    identity_prior: IdentityPrior | None = None,
) -> System:
    """The least-squares problem of one image around a state."""
    lens = {"free_focal": free_focal, "prior_focal": prior_focal, "identity_prior": identity_prior}
    problem = landmark_residuals(prepared.model, targets, settings, **lens)
    residuals, jacobian = problem(state)
    seen, terms = landmark_terms(prepared, targets.whitening, len(residuals), free_focal=free_focal)
    return linearize(residuals, jacobian, seen, terms, landmark_losses(targets, settings))


def landmark_terms(
    prepared: Prepared, whitening: Float[np.ndarray, "L 2 2"], count: int, *, views: int = 1, free_focal: bool = False
) -> tuple[Bool[np.ndarray, "M"], dict[str, Int[np.ndarray, "_"]]]:
    """Which of `count` residuals hold landmarks that were seen, and the rows of each term by name.

    The landmarks of `views` images, one after the other, stand before the beliefs.
    """
    columns, pairs = prepared.model.columns, prepared.pairs
    seen = np.zeros(count, dtype=bool)
    start = 2 * len(whitening)
    seen[:start] = np.repeat(whitening.any(axis=(1, 2)), 2)
    kinds = {name: np.tile(np.repeat(pairs.is_kind(kind), 2), views) for kind, name in _NAMES.items()}
    terms = {name: np.flatnonzero(seen[:start] & mask) for name, mask in kinds.items()}
    return seen, terms | _prior_rows(columns, start, count, free_focal)


def _prior_rows(columns: Columns, start: int, stop: int, free_focal: bool) -> dict[str, Int[np.ndarray, "K"]]:
    """Which rows of `landmark_residuals` hold which belief."""
    sizes = {"shape": columns.n_shape, "expression": columns.n_expression, "jaw": 3, "gaze": 6}
    found = {}
    for name, size in sizes.items():
        found[name] = np.arange(start, start + size)
        start += size
    found["limits"] = np.arange(start, stop - free_focal)
    return found | ({"focal length": np.array([stop - 1])} if free_focal else {})


def _widened(
    settings: LandmarkFitSettings, start: FlameParams | None, identity_prior: IdentityPrior | None
) -> LandmarkFitSettings:
    """As many coefficients as the start and the prior use: what were cut off would be lost from the result."""
    believed = None if identity_prior is None else identity_prior.mean
    n_shape = coefficients_used([believed, None if start is None else start.shape])
    n_expression = coefficients_used([None if start is None else start.expression])
    return replace(
        settings,
        n_shape=max(settings.n_shape, n_shape),
        n_expression=max(settings.n_expression, n_expression),
    )


def _check(seen: Observation) -> None:
    wanted = (len(mesh_ids(seen.scheme)), 2)
    if seen.points.shape != wanted:
        raise InputError(
            f"{seen.scheme} landmarks have shape {seen.points.shape}, wanted {wanted}; give (x, y) in pixels."
        )


def start_pose(
    prepared: Prepared,
    seen: Observation,
    settings: LandmarkFitSettings,
    *,
    focal: float,
    start: FlameParams | None = None,
) -> tuple[ImageTargets, HeadState]:
    """The pose of the mean head, or of `start`, and the landmarks with the trust that its distance gives them."""
    pairs, points, pivot, model = prepared.pairs, prepared.mean_points, prepared.pivot, prepared.model
    observed = seen.points[pairs.seen_rows]
    visible = np.isfinite(observed).all(axis=1)
    if visible.sum() < _FEWEST_POINTS:
        raise InputError(
            f"Only {int(visible.sum())} of {len(visible)} usable {seen.scheme} landmarks were seen, wanted at least "
            f"{_FEWEST_POINTS}; give more landmarks of the face."
        )
    trust = np.where(pairs.is_kind("contour"), 0.1, 1.0)
    weak = weak_perspective(points[visible], observed[visible], trust[visible])
    targets = weighed_landmarks(prepared, seen, settings, scale=weak.scale)
    robust = landmark_losses(targets, settings)
    rest = HeadState.zeros(model.columns.n_shape, model.columns.n_expression)
    if start is not None:
        # The trust stays that of the mean head: a start must not change what is best.
        rest = begun(rest, start)
        points, pivot = landmark_positions(model, rest), pivot + model.joints_basis[0] @ rest.coefficients
        weak = weak_perspective(points[visible], observed[visible], trust[visible])
    rigid = pose_rigid_head(points, targets, weak, focal=focal, pivot=pivot, robust=robust)
    return targets, replace(rest, root=rigid.state[0], translation=rigid.state[1], log_focal=math.log(focal))


def weighed_landmarks(
    prepared: Prepared,
    seen: Observation,
    settings: LandmarkFitSettings,
    *,
    scale: float,
    whitening: LandmarkWhitening | None = None,
) -> ImageTargets:
    """The landmarks that the model shares, with their trust.

    Args:
        prepared: The model.
        seen: All that was seen.
        settings: How far each kind is trusted.
        scale: Pixels per metre at the head's distance.
        whitening: Of these settings; those who ask for every frame of a video keep it.
    """
    whitening = whitening or landmark_whitening(prepared.pairs, settings)
    observed = seen.points[prepared.pairs.seen_rows]
    visible = np.isfinite(observed).all(axis=1)
    trust = whitening.of(seen.points) / (scale * prepared.eye_distance)
    trust[~visible] = 0.0
    return ImageTargets(np.where(visible[:, None], observed, 0.0), trust, 0.5 * np.array(seen.size, np.float64))


def landmark_losses(targets: ImageTargets, settings: LandmarkFitSettings) -> tuple[RobustBlock, ...]:
    """How `landmark_residuals` are weighted down."""
    if settings.loss == "squared":
        return ()
    return (RobustBlock(slice(0, 2 * len(targets.seen)), 2, LOSSES[settings.loss], settings.outlier),)


def _solve(
    model: LandmarkModel,
    targets: ImageTargets,
    start: HeadState,
    settings: LandmarkFitSettings,
    *,
    free_focal: bool,
    prior_focal: float,
    identity_prior: IdentityPrior | None,
) -> Solution[HeadState]:
    """Move everything but the neck, which the root's rotation stands in for."""
    residuals = landmark_residuals(
        model, targets, settings, free_focal=free_focal, prior_focal=prior_focal, identity_prior=identity_prior
    )
    return levenberg_marquardt(
        residuals,
        start,
        retract=lambda state, step: moved(state, step, model.columns),
        robust=landmark_losses(targets, settings),
        cost_tolerance=settings.cost_tolerance,
        max_iterations=settings.max_iterations,
    )


def landmark_residuals(
    model: LandmarkModel,
    targets: ImageTargets,
    settings: LandmarkFitSettings,
    *,
    free_focal: bool,
    prior_focal: float,
    identity_prior: IdentityPrior | None = None,
) -> Callable[[HeadState], tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M N"]]]:
    """Residuals of landmarks and beliefs, by the columns of `moved`."""
    n, columns = model.columns.eyes.stop, model.columns
    prior = _prior(columns, settings, math.log(prior_focal), free_focal, identity_prior)

    def residuals(state: HeadState) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M N"]]:
        points, jacobian = landmark_points(model, state)
        r, rows = project_residuals(points, jacobian[..., :n], targets, log_focal=state.log_focal)
        # A longer lens and a farther head look alike: moving both at once makes the unknowns nearly independent.
        rows[:, -1] += state.translation[2] * rows[:, columns.translation.start + 2]
        believed, prior_rows = prior(state)
        return np.concatenate([r, believed]), np.concatenate([rows[:, : n + free_focal], prior_rows])

    return residuals


def moved(state: HeadState, step: Float[np.ndarray, "N"], columns: Columns) -> HeadState:
    """Apply a step over the columns of the model, without the neck's and with the focal length's last, if it is free.

    The focal length takes the head's distance along, so that the size in the image stays.
    """
    zoom = float(step[columns.eyes.stop :].sum())
    return HeadState(
        shape=state.shape + step[columns.shape],
        expression=state.expression + step[columns.expression],
        neck=state.neck,
        jaw=state.jaw + step[columns.jaw],
        eyes=state.eyes + step[columns.eyes].reshape(2, 2),
        root=exp(step[columns.root]) @ state.root,
        translation=state.translation * [1.0, 1.0, math.exp(zoom)] + step[columns.translation],
        log_focal=state.log_focal + zoom,
    )


def believed(
    columns: Columns, settings: LandmarkFitSettings
) -> Callable[[HeadState], tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K N"]]]:
    """Residuals of what is believed about a head, by the columns of `moved` without a focal length."""
    return _prior(columns, settings, 0.0, False, None)


def _prior(
    columns: Columns,
    settings: LandmarkFitSettings,
    log_focal: float,
    free_focal: bool,
    identity_prior: IdentityPrior | None,
) -> Callable[[HeadState], tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K N"]]]:
    """The residuals of what is believed, as a function of the state."""
    n = columns.eyes.stop + free_focal
    # Coefficients, jaw and eyes have a Gaussian and limits each; the columns of the latter two are neighbours.
    bounded = np.r_[columns.coefficients, columns.jaw.start : columns.eyes.stop]
    sizes = [columns.n_shape, columns.n_expression, 1, 1, 1, 4]
    sigma = np.repeat([settings.shape_sigma, settings.expression_sigma, *settings.jaw_sigma, settings.eye_sigma], sizes)
    limit, (closed, opened), gaze = settings.coefficient_limit, settings.jaw_limits, settings.eye_limit
    low = np.repeat([-limit, -limit, closed, -np.inf, -np.inf, -gaze], sizes)
    high = np.repeat([limit, limit, opened, np.inf, np.inf, gaze], sizes)
    mean = np.zeros(len(bounded))
    if identity_prior is not None:
        place = columns.shape
        mean[place], sigma[place] = identity_prior.believed(columns.n_shape, settings.shape_sigma)
        # An identity beyond the limits is believed all the same.
        low[place], high[place] = np.minimum(low[place], mean[place]), np.maximum(high[place], mean[place])
    excess_sigma = np.full(len(bounded), settings.angle_excess_sigma)
    excess_sigma[columns.coefficients] = settings.coefficient_excess_sigma
    difference = np.hstack([np.eye(2), -np.eye(2)]) / settings.eye_difference_sigma
    count, row = len(bounded), np.arange(len(bounded))

    def prior(state: HeadState) -> tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K N"]]:
        eyes = state.eyes.reshape(-1)
        values = np.concatenate([state.coefficients, state.jaw, eyes])
        believed, slope = gaussian_prior(values, mean=mean, sigma=sigma)
        limits, limits_slope = soft_limits(values, low=low, high=high, sigma=excess_sigma)
        # Few limits are exceeded at a time; leaving out the silent rows makes the normal equations a quarter cheaper.
        active = np.flatnonzero(limits_slope)
        rows = np.zeros((count + 2 + active.size + free_focal, n))
        rows[row, bounded] = slope
        rows[count : count + 2, columns.eyes] = difference
        rows[count + 2 + np.arange(active.size), bounded[active]] = limits_slope[active]
        r = [believed, difference @ eyes, limits[active]]
        if free_focal:
            lens, rows[-1, -1:] = gaussian_prior(
                np.array([state.log_focal]), mean=log_focal, sigma=settings.focal_spread
            )
            r.append(lens)
        return np.concatenate(r), rows

    return prior


def fit_of(flame: Flame, seen: Observation, prepared: Prepared, solution: Solution[HeadState]) -> Fit:
    """The state in the package's nouns."""
    state, like = solution.state, flame.template
    if flame.arrays.variant == "2023-no-jaw":
        state = replace(state, jaw=np.zeros(3))

    def tensor(value: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(value, dtype=np.float64)).to(dtype=like.dtype, device=like.device)

    def padded(values: Float[np.ndarray, "k"], size: int) -> torch.Tensor:
        return tensor(np.append(values, np.zeros(size - len(values))))

    focal, center = math.exp(state.log_focal), 0.5 * np.array(seen.size, dtype=np.float64)
    placed = project(landmark_positions(prepared.everything, state), focal, center)
    fitted = np.full(seen.points.shape, np.nan)
    fitted[prepared.all_pairs.seen_rows] = placed[prepared.all_pairs.model_rows]
    params = FlameParams(
        shape=padded(state.shape, flame.n_shape),
        expression=padded(state.expression, flame.n_expression),
        root=tensor(log(state.root)),
        neck=tensor(state.neck),
        jaw=tensor(state.jaw),
        left_eye=tensor(np.append(state.eyes[0], 0.0)),
        right_eye=tensor(np.append(state.eyes[1], 0.0)),
        translation=tensor(state.translation),
    )
    camera = Camera(
        tensor(CAMERA_FROM_MODEL), tensor(np.zeros(3)), tensor(np.array([focal, focal])), tensor(center), seen.size
    )
    return Fit(params, camera, solution.status, solution.cost, seen, fitted, flame.fingerprint)
