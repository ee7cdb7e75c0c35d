"""One person in several photos, fitted by all their pixels at once: one identity, one albedo.

Every photo has its own pose, expression, jaw, gaze and light, and keeps the focal length of its start. The normal
equations of each photo (`flamehead.fit.photometric`) see what is shared and what is its own; together they are an arrow
(`flamehead.solve.arrow`), whose solution costs little more than those of the photos one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from flamehead.data import Fit, FlameParams, Observation
from flamehead.errors import InputError
from flamehead.fit.landmark_model import HeadState
from flamehead.fit.photometric import PhotometricFit, PhotometricSettings, PixelProblem, pixel_problem
from flamehead.fit.pixels import PixelState, PixelTerm, TextureSpace, linear_about
from flamehead.solve import (
    ArrowEquations,
    ArrowMatrix,
    Solution,
    Status,
    arrow_slices,
    minimize_normal_equations,
)

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["PersonFit", "fit_person"]

_N_LIGHT = 27
_States = tuple[PixelState, ...]


@dataclass(frozen=True)
class PersonFit:
    """One person fitted to the pixels of several photos."""

    photos: tuple[PhotometricFit, ...]
    """All with the same `shape` and `albedo`; the loss of each is that of all photos together."""
    neutral: FlameParams
    """The person without expression, in the rest pose."""
    albedo: Float[np.ndarray, "K"]
    """Coefficients of the texture space, in standard deviations."""
    status: Status
    loss: float


def fit_person(
    flame: Flame,
    photos: Sequence[Float[np.ndarray, "H W 3"]],
    seen: Sequence[Observation],
    starts: Sequence[Fit],
    texture: TextureSpace,
    *,
    masks: Sequence[Bool[np.ndarray, "H W"] | None] | None = None,
    settings: PhotometricSettings | None = None,
) -> PersonFit:
    """Refine `fit_same_person` by all pixels of the face in all photos; the arguments are those of `fit_photometric`.

    Args:
        flame: The model of the starts.
        photos: sRGB in [0, 1], of any sizes.
        seen: Their landmarks.
        starts: The head in each, with one identity for all: `fit_same_person(...).fits`.
        texture: The colours that a face may have.
        masks: Pixels that may count, by photo.
        settings: Weights and steps.

    Raises:
        InputError: As of `fit_photometric`; or the numbers of photos, landmarks, starts and masks differ, or the starts
            show several identities.

    Example:
        >>> shared = fit_same_person(flame, [seen_a, seen_b])  # doctest: +SKIP
        >>> found = fit_person(flame, [a, b], [seen_a, seen_b], shared.fits, texture)  # doctest: +SKIP
        >>> [photo.after.psnr - photo.before.psnr for photo in found.photos]  # doctest: +SKIP
        [5.8, 6.3]
    """
    settings = settings or PhotometricSettings()
    masks = [None] * len(photos) if masks is None else list(masks)
    _check(photos, seen, starts, masks)
    group, heads = _group(flame, photos, seen, starts, texture, masks, settings)
    terms = [
        [problem.term(photo, head, size, mask) for size in settings.sizes]
        for problem, photo, head, mask in zip(group.problems, photos, heads, masks, strict=True)
    ]
    group, first = _coloured(group, heads, terms, texture)
    states, solution = first, None
    for level, iterations in enumerate(settings.iterations):
        pictures = group.weighed([pyramid[level] for pyramid in terms], states)
        solution = group.solve(states, pictures, geometry=True, iterations=iterations)
        states = solution.state
    status = Status("iterations", 0) if solution is None else solution.status
    cost = math.nan if solution is None else solution.cost
    found = tuple(
        problem.result(before, after, pyramid[-1], status, cost)
        for problem, before, after, pyramid in zip(group.problems, first, states, terms, strict=True)
    )
    like = found[0].fit.params
    zeros = FlameParams.zeros(flame.n_shape, flame.n_expression, dtype=like.shape.dtype, device=like.shape.device)
    return PersonFit(found, replace(zeros, shape=like.shape), states[0].albedo, status, cost)


def _check(
    photos: Sequence[np.ndarray], seen: Sequence[Observation], starts: Sequence[Fit], masks: Sequence[np.ndarray | None]
) -> None:
    """Refuse what is no set of photos of one person."""
    if not photos or not len(photos) == len(seen) == len(starts) == len(masks):
        raise InputError(
            f"Got {len(photos)} photos, {len(seen)} sets of landmarks, {len(starts)} starts and {len(masks)} masks; "
            "give one or more photos, and as many of the rest."
        )
    if any(not start.params.shape.equal(starts[0].params.shape) for start in starts):
        raise InputError("The starts show several identities; start from the fits of `fit_same_person`.")


def _group(
    flame: Flame,
    photos: Sequence[np.ndarray],
    seen: Sequence[Observation],
    starts: Sequence[Fit],
    texture: TextureSpace,
    masks: Sequence[np.ndarray | None],
    settings: PhotometricSettings,
) -> tuple[_Group, list[HeadState]]:
    pairs = [
        pixel_problem(flame, photo, one, start, texture, mask=mask, settings=settings)
        for photo, one, start, mask in zip(photos, seen, starts, masks, strict=True)
    ]
    return _Group(tuple(problem for problem, _ in pairs)), [head for _, head in pairs]


def _coloured(
    group: _Group, heads: Sequence[HeadState], terms: Sequence[Sequence[PixelTerm]], texture: TextureSpace
) -> tuple[_Group, _States]:
    """The heads as they are, with the best albedo and lights; and the texture about that albedo."""
    middle = [pyramid[min(1, len(pyramid) - 1)] for pyramid in terms]
    none = np.zeros(texture.basis.shape[3])
    states = tuple(
        PixelState(head, none, problem.even_light(pyramid[0], head))
        for problem, head, pyramid in zip(group.problems, heads, terms, strict=True)
    )
    states = group.solve(states, middle, geometry=False, iterations=4).state
    colors = linear_about(texture, states[0].albedo)
    group = _Group(tuple(replace(problem, texture=colors) for problem in group.problems))
    return group, group.solve(states, group.weighed(middle, states), geometry=False, iterations=4).state


@dataclass(frozen=True)
class _Group:
    """The photos' problems, which share their first unknowns."""

    problems: tuple[PixelProblem, ...]

    def weighed(self, terms: Sequence[PixelTerm], states: _States) -> list[PixelTerm]:
        """Each photo's picture with what its pixels are worth."""
        return [problem.weighed(term, state) for problem, term, state in zip(self.problems, terms, states, strict=True)]

    def solve(
        self, start: _States, terms: Sequence[PixelTerm], *, geometry: bool, iterations: int
    ) -> Solution[_States]:
        """Some steps at one size of each photo."""
        parts = [_places(problem, len(start[0].albedo), geometry=geometry) for problem in self.problems]
        where = arrow_slices(len(parts[0][0]), [len(own) for _, own in parts])
        # The identity is believed once. The albedo is believed once for each photo: what the light model lacks, such as
        # gloss, pulls it the same way in all of them, so that more photos do not make it as much surer.
        single = [
            problem.equations(state, term, geometry=geometry, shape_share=1 / len(self.problems))
            for problem, state, term in zip(self.problems, start, terms, strict=True)
        ]

        def equations(states: _States) -> ArrowEquations:
            found = [of(state) for of, state in zip(single, states, strict=True)]
            pairs = list(zip(found, parts, strict=True))
            matrix = ArrowMatrix(
                np.sum([each.hessian[np.ix_(shared, shared)] for each, (shared, _) in pairs], axis=0),
                tuple(each.hessian[np.ix_(shared, own)] for each, (shared, own) in pairs),
                tuple(each.hessian[np.ix_(own, own)] for each, (_, own) in pairs),
            )
            shared_gradient = np.sum([each.gradient[shared] for each, (shared, _) in pairs], axis=0)
            gradient = np.concatenate([shared_gradient, *(each.gradient[own] for each, (_, own) in pairs)])
            return ArrowEquations(sum(each.cost for each in found), matrix, gradient)

        def retract(states: _States, step: Float[np.ndarray, "N"]) -> _States:
            moved = []
            for problem, state, (shared, own), place in zip(self.problems, states, parts, where[1:], strict=True):
                whole = np.empty(len(shared) + len(own))
                whole[shared], whole[own] = step[where[0]], step[place]
                moved.append(problem.moved(state, whole, geometry=geometry))
            return tuple(moved)

        return minimize_normal_equations(
            equations, start, retract=retract, cost_tolerance=1e-4, max_iterations=iterations
        )


def _places(
    problem: PixelProblem, n_albedo: int, *, geometry: bool
) -> tuple[Int[np.ndarray, "S"], Int[np.ndarray, "n"]]:
    """Which columns of a photo's equations are shared, and which are its own."""
    n_head, n_shape = (problem.columns.eyes.stop, problem.columns.n_shape) if geometry else (0, 0)
    after = n_head + n_albedo
    return np.r_[0:n_shape, n_head:after], np.r_[n_shape:n_head, after : after + _N_LIGHT]
