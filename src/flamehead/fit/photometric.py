"""Fit a head to a photo by its pixels, from a landmark fit: coarse to fine, geometry, albedo and light together."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float

from flamehead._srgb import decode
from flamehead.data import Fit, FlameParams, Observation
from flamehead.errors import InputError
from flamehead.fit._beliefs import appearance_prior, pixels_worth
from flamehead.fit._prepare import Prepared, prepare
from flamehead.fit._so3 import exp, log
from flamehead.fit.landmark_model import Columns, HeadState
from flamehead.fit.landmarks import (
    LandmarkFitSettings,
    fit_of,
    landmark_losses,
    landmark_residuals,
    moved,
    start_pose,
)
from flamehead.fit.painted import PixelError, even_light, paint_shown, pixel_error
from flamehead.fit.pixels import (
    FaceSurface,
    PixelState,
    PixelTerm,
    Shown,
    TextureSpace,
    face_surface,
    image_level,
    linear_about,
    pixel_equations,
    see,
)
from flamehead.solve import NormalEquations, Solution, Status, minimize_normal_equations, robust_cost

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["PhotometricFit", "PhotometricSettings", "fit_photometric", "head_state"]


@dataclass(frozen=True)
class PhotometricSettings:
    """What a photometric fit believes, and how long it looks."""

    sizes: tuple[int, ...] = (64, 128, 256)
    """Longer side of the face in the picture at each step, pixels; a photo with fewer is not enlarged."""
    iterations: tuple[int, ...] = (4, 4, 4)
    """Gauss-Newton steps at each."""
    sigma: float = 0.05
    """Noise of a channel, sRGB in [0, 1]; what the model cannot paint is part of it."""
    outlier: float = 3.0
    """Distance in sigmas at which a pixel loses its say (Geman-McClure): glasses, hair, highlights."""
    worth: float = 6000.0
    """Most independent observations that the pixels are worth together; fewer, the more their errors hang together."""
    trust: float = 1.5
    """Weight of pixels that are worth the most, against landmarks and beliefs about heads; falls with their worth."""
    albedo_sigma: float = 1.0
    """Spread of the albedo's coefficients."""
    light_level: float = 0.8
    """Brightness of the light that is believed, as a white surface shows it; photos are exposed for faces."""
    light_level_sigma: float = 0.3
    light_sigma: float = 0.5
    """Spread of the light about even light."""
    light_tint_sigma: float = 0.07
    """Spread of the colours of the light about white."""
    landmarks: LandmarkFitSettings = field(default_factory=LandmarkFitSettings)
    """Weights of the landmarks, and beliefs about the head."""


@dataclass(frozen=True)
class PhotometricFit:
    """A head fitted to a photo's pixels."""

    fit: Fit
    albedo: Float[np.ndarray, "K"]
    """Coefficients of the texture space, in standard deviations."""
    light: Float[np.ndarray, "9 3"]
    """Spherical harmonics in the camera's frame (x right, y down, z forward), linear RGB."""
    start: PixelState
    """The landmark fit, with the best albedo and light for it."""
    end: PixelState
    before: PixelError
    """Of `start`, in the finest picture, where both it and `end` show the face."""
    after: PixelError
    """Of `end`, at the same pixels."""


def fit_photometric(
    flame: Flame,
    photo: Float[np.ndarray, "H W 3"],
    seen: Observation,
    start: Fit,
    texture: TextureSpace,
    *,
    mask: Bool[np.ndarray, "H W"] | None = None,
    settings: PhotometricSettings | None = None,
) -> PhotometricFit:
    """Refine a landmark fit by all pixels of the face.

    Args:
        flame: The model of `start`.
        photo: sRGB in [0, 1].
        seen: Its landmarks.
        start: Where to begin.
        texture: The colours that a face may have.
        mask: Pixels that may count; None lets the robust loss find hair, glasses and hands by itself.
        settings: Weights and steps.

    Raises:
        InputError: Photo, landmarks, mask, start and model do not belong together, or the face is hardly seen.

    Example:
        >>> found = fit_photometric(flame, photo, seen, fit_landmarks(flame, seen), texture)  # doctest: +SKIP
        >>> found.after.psnr - found.before.psnr  # doctest: +SKIP
        6.9
    """
    settings = settings or PhotometricSettings()
    problem, head = pixel_problem(flame, photo, seen, start, texture, mask=mask, settings=settings)
    terms = [problem.term(photo, head, size, mask) for size in settings.sizes]
    middle = terms[min(1, len(terms) - 1)]
    first = PixelState(head, np.zeros(texture.basis.shape[3]), problem.even_light(terms[0], head))
    first = problem.solve(first, middle, geometry=False, iterations=4).state
    problem = replace(problem, texture=linear_about(texture, first.albedo))
    first = problem.solve(first, problem.weighed(middle, first), geometry=False, iterations=4).state
    state, solution = first, None
    for term, iterations in zip(terms, settings.iterations, strict=True):
        solution = problem.solve(state, problem.weighed(term, state), geometry=True, iterations=iterations)
        state = solution.state
    status = Status("iterations", 0) if solution is None else solution.status
    cost = math.nan if solution is None else solution.cost
    return problem.result(first, state, terms[-1], status, cost)


def pixel_problem(
    flame: Flame, photo: Float[np.ndarray, "H W 3"], seen: Observation, start: Fit, texture: TextureSpace, *,
    mask: Bool[np.ndarray, "H W"] | None, settings: PhotometricSettings,
) -> tuple[PixelProblem, HeadState]:  # fmt: skip
    """Check what belongs to one photo, reduce the model to what the photo can show, and say where the head begins."""
    _check(flame, photo, seen, start, mask, settings)
    believed = settings.landmarks
    if flame.arrays.variant == "2023-no-jaw":
        believed = replace(believed, jaw_sigma=(1e-6, 1e-6, 1e-6))
        settings = replace(settings, landmarks=believed)
    prepared = prepare(
        flame, seen.scheme, n_shape=believed.n_shape, n_expression=believed.n_expression,
        with_other=believed.other_sigma is not None,
    )  # fmt: skip
    columns = prepared.model.columns
    surface = _surface(flame, columns.n_shape, columns.n_expression)
    head = head_state(start, columns.n_shape, columns.n_expression)
    colors = linear_about(texture, np.zeros(texture.basis.shape[3]))
    return PixelProblem(flame, prepared, surface, colors, settings, seen, math.exp(head.log_focal)), head


def _check(
    flame: Flame,
    photo: np.ndarray,
    seen: Observation,
    start: Fit,
    mask: np.ndarray | None,
    settings: PhotometricSettings,
) -> None:
    """Refuse what does not belong together."""
    width, height = seen.size
    if photo.shape != (height, width, 3) or photo.dtype.kind != "f":
        raise InputError(
            f"The photo has shape {photo.shape} and type {photo.dtype}, but its landmarks are of {width} x {height} "
            "pixels; give float RGB in [0, 1] of that size."
        )
    if mask is not None and (mask.shape != (height, width) or mask.dtype != np.bool_):
        raise InputError(
            f"The mask has shape {mask.shape} and type {mask.dtype}; give booleans of shape {(height, width)}, the "
            "photo's, true where pixels count."
        )
    if start.fingerprint != flame.fingerprint:
        raise InputError(
            f"The start belongs to the model {start.fingerprint}, but {flame.arrays.source} is {flame.fingerprint}; "
            "start from a fit of this model."
        )
    if not settings.sizes or len(settings.sizes) != len(settings.iterations) or min(settings.sizes) < 16:
        raise InputError(
            f"The sizes {settings.sizes} and iterations {settings.iterations} of a photometric fit do not go together; "
            "give as many of one as of the other, at least one, and sizes of 16 pixels or more."
        )


_MAX_HELD = 2
# Reducing a model to a face takes a fifth of a fit, and the next photo asks for the same one.
_HELD: dict[tuple[int, int, int], tuple[weakref.ref, FaceSurface]] = {}


def _surface(flame: Flame, n_shape: int, n_expression: int) -> FaceSurface:
    """The model's face; the last few are kept."""
    arrays = flame.arrays
    key = (id(arrays), n_shape, n_expression)
    held = _HELD.get(key)
    # An id can be that of a newer object once the older one is gone; the weak reference tells.
    if held is not None and held[0]() is arrays:
        return held[1]
    faces = flame.region_faces("face").cpu().numpy()
    surface = face_surface(arrays, faces, n_shape=n_shape, n_expression=n_expression)
    while len(_HELD) >= _MAX_HELD:
        _HELD.pop(next(iter(_HELD)), None)
    _HELD[key] = (weakref.ref(arrays), surface)
    return surface


def head_state(fit: Fit, n_shape: int, n_expression: int) -> HeadState:
    """A landmark fit as the solver's state."""

    def array(value: torch.Tensor) -> np.ndarray:
        return value.detach().cpu().double().numpy()

    params = fit.params
    eyes = np.stack([array(params.left_eye)[:2], array(params.right_eye)[:2]])
    return HeadState(
        array(params.shape)[:n_shape], array(params.expression)[:n_expression], array(params.neck), array(params.jaw),
        eyes, exp(array(params.root)), array(params.translation), math.log(float(fit.camera.focal[0])),
    )  # fmt: skip


@dataclass(frozen=True)
class PixelProblem:
    """Everything about one photo that stays the same during a fit."""

    flame: Flame
    prepared: Prepared
    surface: FaceSurface
    texture: TextureSpace
    settings: PhotometricSettings
    seen: Observation
    focal: float

    def vertices(self, head: HeadState) -> Float[np.ndarray, "V 3"]:
        """The posed head."""
        like = self.flame.template

        def tensor(value: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(value).to(like)

        left, right = (np.append(eye, 0.0) for eye in head.eyes)
        params = FlameParams(
            *map(
                tensor,
                (head.shape, head.expression, log(head.root), head.neck, head.jaw, left, right, head.translation),
            )
        )
        with torch.no_grad():
            return self.flame(params, backend="reference").vertices.cpu().double().numpy()

    def term(
        self, photo: Float[np.ndarray, "H W 3"], head: HeadState, size: int, mask: Bool[np.ndarray, "H W"] | None
    ) -> PixelTerm:
        """The part of the photo around the face, at a size."""
        from PIL import Image

        points = self.vertices(head)[self.surface.vertex_ids]
        center = 0.5 * np.array(self.seen.size, dtype=np.float64)
        flat = center + self.focal * points[:, :2] * [1.0, -1.0] / -points[:, 2:]
        low, high = flat.min(0), flat.max(0)
        margin = 0.12 * (high - low).max()
        low = np.maximum(np.floor(low - margin), 0.0)
        high = np.minimum(np.ceil(high + margin), self.seen.size)
        if not (high - low > 8).all():
            raise InputError("The face is hardly in the photo; a photometric fit needs at least 8 pixels of it.")
        zoom = min(1.0, size / float((high - low).max()))
        shape = np.maximum(np.floor((high - low) * zoom), 8).astype(int)
        # The box follows from the whole number of pixels, so that the zoom is exact.
        box = (0.0, 0.0, *(shape / zoom))
        part = slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
        bytes_ = np.rint(np.clip(photo[part], 0, 1) * 255).astype(np.uint8)
        picture = Image.fromarray(bytes_).resize((int(shape[0]), int(shape[1])), Image.Resampling.BOX, box=box)
        allowed = None
        if mask is not None:
            small = Image.fromarray(mask[part].astype(np.uint8) * 255)
            small = small.resize((int(shape[0]), int(shape[1])), Image.Resampling.BOX, box=box)
            allowed = np.asarray(small) > 250
        settings = self.settings
        return image_level(
            np.asarray(picture, dtype=np.float32) / np.float32(255), zoom=zoom, corner=low, center=center,
            sigma=settings.sigma, outlier=settings.outlier, worth=settings.worth, allowed=allowed,
        )  # fmt: skip

    def even_light(self, term: PixelTerm, head: HeadState) -> Float[np.ndarray, "9 3"]:
        """The white light under which the mean colours come out as bright as the picture."""
        seen = see(self.vertices(head), self.surface, term, focal=self.focal)
        if not seen.inside.any():
            raise InputError("No pixel shows the face; give landmarks of this photo, or a mask that leaves it free.")
        painted = self.paint(seen, seen.inside, np.zeros(self.texture.basis.shape[3]), even_light())
        light = decode(term.image[seen.inside]).mean() / max(float(decode(painted[seen.inside]).mean()), 1e-3)
        return even_light(light)

    def paint(self, seen: Shown, inside: Bool[np.ndarray, "H W"], albedo: np.ndarray, light: np.ndarray) -> np.ndarray:
        """The model's picture."""
        return paint_shown(seen, inside, self.surface.faces, self.texture, albedo, light)

    def errors(self, states: tuple[PixelState, ...], term: PixelTerm) -> list[PixelError]:
        """Of each state, at the pixels that show the face in all of them."""
        seen = [see(self.vertices(state.head), self.surface, term, focal=self.focal) for state in states]
        inside = np.logical_and.reduce([each.inside for each in seen])
        return [
            pixel_error(term.image, self.paint(each, inside, state.albedo, state.light), inside)
            for each, state in zip(seen, states, strict=True)
        ]

    def result(
        self, first: PixelState, state: PixelState, term: PixelTerm, status: Status, cost: float
    ) -> PhotometricFit:
        """The solution in the package's nouns, compared with where it began in the finest picture."""
        fit = fit_of(self.flame, self.seen, self.prepared, Solution(state.head, status, cost, ()))
        return PhotometricFit(fit, state.albedo, state.light, first, state, *self.errors((first, state), term))

    def weighed(self, term: PixelTerm, state: PixelState) -> PixelTerm:
        """The term with what its pixels are worth, as well as this state explains them."""
        seen = see(self.vertices(state.head), self.surface, term, focal=self.focal)
        residual = term.image - self.paint(seen, seen.inside, state.albedo, state.light)
        total = (residual**2).sum(-1, keepdims=True) / (term.sigma * term.outlier) ** 2
        settings = self.settings
        worth = pixels_worth(residual / (1 + total), seen.inside, sigma=term.sigma, most=settings.worth)
        return replace(term, worth=worth)

    def solve(self, start: PixelState, term: PixelTerm, *, geometry: bool, iterations: int) -> Solution[PixelState]:
        """Some steps at one size."""
        return minimize_normal_equations(
            self.equations(start, term, geometry=geometry),
            start,
            retract=lambda state, step: self.moved(state, step, geometry=geometry),
            cost_tolerance=1e-4,
            max_iterations=iterations,
        )

    def trust(self, term: PixelTerm) -> float:
        """Weight of the pixels, and of what is believed of their colours, against landmarks and beliefs about heads."""
        # What the model cannot paint, it would imitate by moving features that the landmarks know better.
        return self.settings.trust * term.worth / self.settings.worth

    def equations(
        self, start: PixelState, term: PixelTerm, *, geometry: bool, shape_share: float = 1.0
    ) -> Callable[[PixelState], NormalEquations]:
        """The problem at one size: by the head's columns up to the eyes, if it may move, then albedo, then light.

        Args:
            start: The head, if it must not move.
            term: The picture.
            geometry: Whether it may.
            shape_share: Part of the belief about the identity that this photo brings; several photos share one.
        """
        n = self.columns.eyes.stop if geometry else 0
        beside_pixels = self._landmarks(shape_share)
        frozen = self.vertices(start.head)
        trust = self.trust(term)

        def equations(state: PixelState) -> NormalEquations:
            vertices = self.vertices(state.head) if geometry else frozen
            pixels, _ = pixel_equations(state, vertices, self.surface, self.texture, term, n_geometry=n)
            pixels = self._with_beliefs(state, pixels, n)
            cost, hessian, gradient = trust * pixels.cost, trust * pixels.hessian, trust * pixels.gradient
            if geometry:
                head = beside_pixels(state.head)
                cost += head.cost
                hessian[:n, :n] += head.hessian
                gradient[:n] += head.gradient
            return NormalEquations(cost, hessian, gradient)

        return equations

    def moved(self, state: PixelState, step: Float[np.ndarray, "N"], *, geometry: bool) -> PixelState:
        """Apply a step over the columns of `equations`."""
        n = self.columns.eyes.stop if geometry else 0
        head = moved(state.head, step[:n], self.columns) if geometry else state.head
        k = len(state.albedo)
        light = state.light + step[n + k :].reshape(3, 9).T
        return PixelState(head, state.albedo + step[n : n + k], light)

    @property
    def columns(self) -> Columns:
        """Of the head."""
        return self.prepared.model.columns

    def _landmarks(self, shape_share: float) -> Callable[[HeadState], NormalEquations]:
        """Landmarks and beliefs about the head."""
        settings = self.settings.landmarks
        targets = start_pose(self.prepared, self.seen, settings, focal=self.focal)[0]
        residuals = landmark_residuals(self.prepared.model, targets, settings, free_focal=False, prior_focal=self.focal)
        losses, n_seen = landmark_losses(targets, settings), 2 * len(targets.seen)

        def equations(head: HeadState) -> NormalEquations:
            r, rows = residuals(head)
            about_shape = n_seen + np.flatnonzero(rows[n_seen:, self.columns.shape].any(axis=1))
            r[about_shape] *= math.sqrt(shape_share)
            rows[about_shape] *= math.sqrt(shape_share)
            cost, weights = robust_cost(r, losses)
            weighted = rows if weights is None else rows * weights[:, None]
            return NormalEquations(cost, weighted.T @ rows, weighted.T @ r)

        return equations

    def _with_beliefs(self, state: PixelState, equations: NormalEquations, n: int) -> NormalEquations:
        """Add what is believed of albedo and light."""
        settings = self.settings
        precision, mean = appearance_prior(
            len(state.albedo), albedo_sigma=settings.albedo_sigma, level=settings.light_level,
            level_sigma=settings.light_level_sigma, light_sigma=settings.light_sigma,
            tint_sigma=settings.light_tint_sigma,
        )  # fmt: skip
        off = np.concatenate([state.albedo, state.light.T.ravel()]) - mean
        pull = precision @ off
        equations.hessian[n:, n:] += precision
        equations.gradient[n:] += pull
        return replace(equations, cost=equations.cost + 0.5 * float(off @ pull))
