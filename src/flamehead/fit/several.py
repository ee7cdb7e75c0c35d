"""Fit one person to several photos at once: one identity; pose, expression, jaw, gaze and lens of each photo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from flamehead.data import Fit, FlameParams, Observation, Posterior
from flamehead.errors import InputError
from flamehead.fit._prepare import Prepared, prepare
from flamehead.fit.landmark_model import HeadState, landmark_positions
from flamehead.fit.landmarks import (
    LandmarkFitSettings,
    fit_landmarks,
    fit_of,
    landmark_losses,
    landmark_residuals,
    landmark_system,
    moved,
    start_pose,
)
from flamehead.fit.metrics import landmark_error_percent
from flamehead.fit.residuals import ImageTargets, project
from flamehead.fit.uncertainty import System, bending, doubts, natural_columns, natural_units, posterior_of
from flamehead.solve import (
    NormalEquations,
    Solution,
    Status,
    minimize_normal_equations,
    robust_cost,
    single_threaded_blas,
)

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["SharedFit", "fit_same_person"]

_EXPLODED, _LEAST_RISE = 1.5, 0.5
"""A photo whose landmark error rises by this factor, and by so many percent of the eye distance, shows someone else."""

_States = tuple[HeadState, ...]


@dataclass(frozen=True)
class SharedFit:
    """One person in several photos."""

    fits: tuple[Fit, ...]
    """One per photo, all with the same `shape`; the loss of each is that of all photos together."""
    neutral: FlameParams
    """The person without expression, in the rest pose."""
    status: Status
    loss: float
    alone: tuple[float, ...]
    """Landmark error in percent of each photo when it is fitted alone; NaN where it is undefined."""
    warnings: tuple[str, ...]
    """One sentence for each photo that the shared identity does not explain."""


@dataclass(frozen=True)
class _Photo:
    """One image's part in the problem."""

    prepared: Prepared
    targets: ImageTargets
    free_focal: bool
    prior_focal: float
    size: tuple[int, int]
    first: int
    """Where its own unknowns begin; the shared ones come before those of all photos."""
    lens: int | None
    """Where the focal length of all photos stands, if they share one."""
    brings_identity: bool
    """Whether what is believed of the identity comes with this photo: it counts once, however many there are."""
    brings_lens: bool
    """The same of the focal length; true if it is its own."""

    @property
    def own(self) -> Int[np.ndarray, "n"]:
        """Places of its columns among those of all photos."""
        lens = [] if self.lens is None else [self.lens]
        return np.r_[self.prepared.model.columns.shape, self.first : self.stop, lens].astype(np.int64)

    @property
    def stop(self) -> int:
        """Where its own unknowns end."""
        columns = self.prepared.model.columns
        return self.first + columns.eyes.stop - columns.n_shape + (self.free_focal and self.lens is None)

    def system(self, state: HeadState, settings: LandmarkFitSettings) -> System:
        """Around a state."""
        found = landmark_system(
            self.prepared, self.targets, state, settings, free_focal=self.free_focal, prior_focal=self.prior_focal
        )
        shape = self.prepared.model.columns.shape
        if not self.brings_identity:
            found.prior[shape, shape] = 0.0
        if not self.brings_lens:
            found.prior[-1, -1] = 0.0
        return found


@dataclass(frozen=True)
class _Shared:
    """The joint problem at its solution; computes its posterior once for all photos."""

    photos: tuple[_Photo, ...]
    states: _States
    settings: LandmarkFitSettings

    @cached_property
    def posterior(self) -> Posterior:
        """In the solver's steps, as one column."""
        parts = [p.system(s, self.settings) for p, s in self._pairs]
        size = self.photos[-1].stop

        def near(step: Float[np.ndarray, "N"]) -> System:
            # Steps move one photo's pose at a time, so that the systems of the others stay.
            changed = [
                p.system(moved(s, step[p.own], p.prepared.model.columns), self.settings) if step[p.own].any() else part
                for (p, s), part in zip(self._pairs, parts, strict=True)
            ]
            return self._sum(changed, size)

        bends = [
            p.own[bending(natural_columns(p.prepared.model.columns, free_focal=p.free_focal))] for p in self.photos
        ]
        whole = {"all": slice(0, size)}
        return posterior_of(self._sum(parts, size), near, np.eye(size), whole, bends=np.unique(np.concatenate(bends)))

    @property
    def _pairs(self) -> list[tuple[_Photo, HeadState]]:
        return list(zip(self.photos, self.states, strict=True))

    def _sum(self, parts: Sequence[System], size: int) -> System:
        data, prior = np.zeros((size, size)), np.zeros((size, size))
        for photo, part in zip(self.photos, parts, strict=True):
            block = np.ix_(photo.own, photo.own)
            data[block] += part.data
            prior[block] += part.prior
        return System(data, prior, sum(p.squares for p in parts), sum(p.count for p in parts), parts[0].residuals)


@single_threaded_blas()
def fit_same_person(
    flame: Flame,
    seen: Sequence[Observation],
    *,
    focals: Sequence[float | None] | None = None,
    one_lens: bool = False,
    settings: LandmarkFitSettings | None = None,
) -> SharedFit:
    """Find one identity, and the pose, expression and lens of each photo, that explain the landmarks of all photos.

    One Levenberg-Marquardt solve over everything. The normal equations are dense: meant for up to some thirty photos.

    Args:
        flame: The model.
        seen: Landmarks of the same person, one set per photo.
        focals: Focal length of each photo in pixels; None where it is not known.
        one_lens: Photos of unknown focal length were taken by the same lens at the same zoom: one focal length, in
            lengths of the image's longer side.
        settings: Priors and tolerances.

    Raises:
        InputError: No photos, another number of focal lengths, or landmarks that cannot be used.
        AssetNotFound: The model has no landmarks that match.

    Example:
        >>> shared = fit_same_person(flame, [seen_a, seen_b])  # doctest: +SKIP
        >>> torch.equal(shared.fits[0].params.shape, shared.fits[1].params.shape)  # doctest: +SKIP
        True
    """
    focals = [None] * len(seen) if focals is None else list(focals)
    if not seen or len(focals) != len(seen):
        raise InputError(f"Got {len(seen)} photos and {len(focals)} focal lengths; give one or more, and as many each.")
    settings = settings or LandmarkFitSettings()
    # Alone first: this checks every photo, and tells afterwards whether sharing an identity made one much worse.
    alone = [fit_landmarks(flame, one, focal=focal, settings=settings) for one, focal in zip(seen, focals, strict=True)]
    photos, starts = _start(flame, seen, focals, settings, one_lens=one_lens)
    solution = _solve(photos, starts, settings)
    shared = _Shared(photos, solution.state, settings)
    fits = []
    for k, (photo, one, state) in enumerate(zip(photos, seen, solution.state, strict=True)):
        own = Solution(state, solution.status, solution.cost, solution.cost_history)
        fits.append(replace(fit_of(flame, one, photo.prepared, own), evidence=partial(_share, shared, k)))
    zeros = FlameParams.zeros(
        flame.n_shape, flame.n_expression, dtype=flame.template.dtype, device=flame.template.device
    )
    errors = tuple(_error(fit) for fit in alone)
    together = [_error(fit) for fit in fits]
    return SharedFit(
        tuple(fits),
        replace(zeros, shape=fits[0].params.shape),
        solution.status,
        solution.cost,
        errors,
        _strangers(errors, together),
    )


def _start(
    flame: Flame, seen: Sequence[Observation], focals: Sequence[float | None], settings: LandmarkFitSettings, *,
    one_lens: bool,
) -> tuple[tuple[_Photo, ...], _States]:  # fmt: skip
    photos, states, first = [], [], 0
    one_lens = one_lens and None in focals
    for one, focal in zip(seen, focals, strict=True):
        prepared = prepare(
            flame,
            one.scheme,
            n_shape=settings.n_shape,
            n_expression=settings.n_expression,
            with_other=settings.other_sigma is not None,
        )
        prior_focal = focal or settings.focal_ratio * max(one.size)
        targets, state = start_pose(prepared, one, settings, focal=prior_focal)
        n_shape = prepared.model.columns.n_shape
        lens = n_shape if one_lens and focal is None else None
        known = lens is not None and any(before.lens is not None for before in photos)
        photo = _Photo(
            prepared, targets, focal is None, prior_focal, one.size, first or n_shape + one_lens, lens, not photos,
            not known,
        )  # fmt: skip
        first = photo.stop
        photos.append(photo)
        states.append(state)
    return tuple(photos), tuple(states)


def _solve(photos: Sequence[_Photo], starts: _States, settings: LandmarkFitSettings) -> Solution[_States]:
    problems = [
        landmark_residuals(p.prepared.model, p.targets, settings, free_focal=p.free_focal, prior_focal=p.prior_focal)
        for p in photos
    ]
    losses = [landmark_losses(photo.targets, settings) for photo in photos]
    size = photos[-1].stop

    def equations(states: _States) -> NormalEquations:
        cost, hessian, gradient = 0.0, np.zeros((size, size)), np.zeros(size)
        for photo, problem, robust, state in zip(photos, problems, losses, states, strict=True):
            r, jacobian = problem(state)
            r, jacobian = _without_shared(r, jacobian, photo)
            part, weights = robust_cost(r, robust)
            root = np.ones(1) if weights is None else np.sqrt(weights)
            r, jacobian = r * root, jacobian * root[:, None]
            cost += part
            hessian[np.ix_(photo.own, photo.own)] += jacobian.T @ jacobian
            gradient[photo.own] += jacobian.T @ r
        return NormalEquations(cost, hessian, gradient)

    def retract(states: _States, step: Float[np.ndarray, "N"]) -> _States:
        pairs = zip(photos, states, strict=True)
        return tuple(moved(state, step[photo.own], photo.prepared.model.columns) for photo, state in pairs)

    return minimize_normal_equations(
        equations,
        starts,
        retract=retract,
        cost_tolerance=settings.cost_tolerance,
        max_iterations=settings.max_iterations,
    )


def _without_shared(
    r: Float[np.ndarray, "M"], jacobian: Float[np.ndarray, "M N"], photo: _Photo
) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M N"]]:
    """Leave out what is believed about the identity and a shared lens where another photo brings that."""
    if not photo.brings_identity:
        beliefs, n = jacobian[2 * len(photo.targets.seen) :], 2 * len(photo.targets.seen)
        silent = n + np.flatnonzero(beliefs[:, photo.prepared.model.columns.shape].any(axis=1))
        r[silent], jacobian[silent] = 0.0, 0.0
    if not photo.brings_lens:
        r[-1], jacobian[-1] = 0.0, 0.0
    return r, jacobian


def _share(shared: _Shared, k: int) -> Posterior:
    """The posterior of one photo's unknowns, the identity with them."""
    photo, state, whole = shared.photos[k], shared.states[k], shared.posterior
    columns = natural_columns(photo.prepared.model.columns, free_focal=photo.free_focal)
    units, own = natural_units(state, columns), photo.own
    residuals = photo.system(state, shared.settings).residuals
    covariance = units @ whole.covariance[np.ix_(own, own)] @ units.T
    found = Posterior(residuals, whole.noise, covariance, columns, units @ whole.shift[own])
    placed = project(
        landmark_positions(photo.prepared.everything, state), math.exp(state.log_focal), photo.targets.center
    )
    spreads = {"jaw": shared.settings.jaw_sigma[0], "log_focal": shared.settings.focal_spread}
    return replace(found, warnings=doubts(found, placed, photo.targets, size=photo.size, believed=spreads))


def _error(fit: Fit) -> float:
    try:
        return landmark_error_percent(fit.observation, fit.fitted)
    except InputError:
        return math.nan


def _strangers(alone: Sequence[float], together: Sequence[float]) -> tuple[str, ...]:
    return tuple(
        f"Photo {k + 1} fits much worse with the shared identity (landmark error {after:.2f} % instead of {before:.2f} "
        "% of the eye distance); it may show another person."
        for k, (before, after) in enumerate(zip(alone, together, strict=True))
        if after > _EXPLODED * before and after > before + _LEAST_RISE
    )
