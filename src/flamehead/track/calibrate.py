"""What stays the same through a video, found once from some keyframes together: identity, colours and lens.

One Gauss-Newton problem over all keyframes, first of their landmarks, then of their pixels from coarse to fine. Each
keyframe has its own pose, expression and light; identity, albedo and focal length are shared, so that the normal
equations are an arrow (`flamehead.solve.arrow`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from flamehead._srgb import decode
from flamehead.data import Observation
from flamehead.errors import InputError
from flamehead.fit._beliefs import appearance_prior, pixels_worth
from flamehead.fit.identity_prior import IdentityPrior, coefficients_used
from flamehead.fit.landmark_model import HeadState, landmark_points, landmark_positions, pose_joints
from flamehead.fit.landmarks import landmark_losses, landmark_residuals, moved, start_pose, weighed_landmarks
from flamehead.fit.painted import even_light, paint_shown
from flamehead.fit.photometric import PhotometricSettings
from flamehead.fit.pixels import PixelState, PixelTerm, TextureSpace, linear_about, pixel_equations, see
from flamehead.fit.residuals import ImageTargets, project
from flamehead.model import Flame
from flamehead.solve import (
    ArrowEquations,
    ArrowMatrix,
    NormalEquations,
    arrow_slices,
    minimize_normal_equations,
    robust_cost,
    single_threaded_blas,
)
from flamehead.track.face import TrackedFace, head_params, tracked_face
from flamehead.track.pictures import face_box, face_level
from flamehead.track.settings import TrackSettings

__all__ = ["Calibration", "calibrate"]

_N_LIGHT = 27
_FOCAL_KNOWN = 1e-6
"""Spread of the logarithm of a focal length that the user gave."""


@dataclass(frozen=True)
class Calibration:
    """What stays the same through a video."""

    shape: Float[np.ndarray, "S"]
    """Identity, leading components."""
    focal: float
    """Pixels."""
    focal_deviation: float
    """Standard deviation of its logarithm; 0 for a focal length that was given."""
    size: tuple[int, int]
    """Of the frames, (width, height)."""
    albedo: Float[np.ndarray, "K"]
    """Coefficients of the texture space; empty if only landmarks are followed."""
    light: Float[np.ndarray, "9 3"]
    """Mean of the keyframes', in the camera's frame."""
    shift: Float[np.ndarray, "L 3"]
    """How far this person's landmarks, as the detector sees them, lie from the model's, in the head at rest, metres."""
    landmark_error: float
    """Mean distance of landmarks in the keyframes over the outer-eye distance, without `shift`, percent."""
    worth: float
    """How many independent observations the pixels of a keyframe stand for, the median; NaN without pixels."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """For an npz."""
        return {name: np.asarray(getattr(self, name)) for name in self.__dataclass_fields__}

    @staticmethod
    def from_arrays(arrays: dict[str, np.ndarray]) -> Calibration:
        """From what `to_arrays` gave; keys of others are ignored."""
        values: dict[str, Any] = {name: arrays[name] for name in Calibration.__dataclass_fields__}
        for name in ("focal", "focal_deviation", "landmark_error", "worth"):
            values[name] = float(values[name])
        values["size"] = (int(values["size"][0]), int(values["size"][1]))
        return Calibration(**values)

    @property
    def center(self) -> Float[np.ndarray, "2"]:
        """Principal point, pixels: the middle of the picture."""
        return 0.5 * np.array(self.size, dtype=np.float64)


@single_threaded_blas()
def calibrate(
    flame: Flame,
    images: Sequence[UInt8[np.ndarray, "H W 3"]] | None,
    landmarks: Float[np.ndarray, "K 478 2"],
    size: tuple[int, int],
    *,
    settings: TrackSettings | None = None,
    identity: IdentityPrior | None = None,
    focal: float | None = None,
    texture: TextureSpace | None = None,
) -> Calibration:
    """Find identity, colours and lens from keyframes.

    Args:
        flame: The model.
        images: The keyframes, sRGB bytes; None follows landmarks only.
        landmarks: Seen in them, pixels.
        size: (width, height) of the frames.
        settings: Weights and steps.
        identity: What is believed of the identity, such as MICA's; None believes in the mean head.
        focal: Pixels, kept as it is; None estimates it around a usual lens.
        texture: The colours that a face may have; needed with `images`.

    Raises:
        InputError: No keyframes, or landmarks that cannot be used.
        AssetNotFound: The model has no landmarks that match.
    """
    settings = settings or TrackSettings()
    if not len(landmarks):
        raise InputError("No keyframe shows a face; give a video in which one is seen.")
    pixels = images is not None and texture is not None and not settings.landmarks_only
    believed = settings.photometric.landmarks
    if identity is not None:
        # What were cut off would be lost from the result.
        believed = replace(believed, n_shape=max(believed.n_shape, coefficients_used([identity.mean])))
    face = tracked_face(flame, believed, landmarks_only=not pixels)
    frames = [Observation(np.asarray(points, dtype=np.float64), "mediapipe478", size) for points in landmarks]
    problem = _Problem.of(face, frames, settings, identity=identity, focal=focal)
    states = problem.by_landmarks()
    albedo = np.zeros(0)
    light, worth = np.zeros((9, 3)), math.nan
    if pixels:
        assert images is not None and texture is not None, "`pixels` says so"
        found, worth = problem.by_pixels(states, images, texture)
        states = [state.head for state in found]
        albedo, light = found[0].albedo, np.mean([state.light for state in found], axis=0)
    return Calibration(
        shape=states[0].shape, focal=math.exp(states[0].log_focal), focal_deviation=problem.focal_deviation(states),
        size=size, albedo=albedo, light=light, shift=problem.shift(states), landmark_error=problem.error(states),
        worth=worth,
    )  # fmt: skip


@dataclass(frozen=True)
class _Layout:
    """Which unknowns of one keyframe (head, albedo, light and lens, in this order) all keyframes share."""

    n_shape: int
    n_head: int
    """Columns of the head, identity included."""
    n_albedo: int
    n_light: int

    @property
    def shared(self) -> Int[np.ndarray, "s"]:
        """Identity, albedo, and last the lens."""
        albedo = self.n_head + self.n_albedo
        return np.r_[0 : self.n_shape, self.n_head : albedo, albedo + self.n_light]

    @property
    def own(self) -> Int[np.ndarray, "o"]:
        """The rest of the head, and light."""
        albedo = self.n_head + self.n_albedo
        return np.r_[self.n_shape : self.n_head, albedo : albedo + self.n_light]

    def joined(self, parts: Sequence[NormalEquations]) -> ArrowEquations:
        """The equations of all keyframes as one; unknowns that nothing depends on stay where they are."""
        shared, own = self.shared, self.own
        corner = np.sum([part.hessian[np.ix_(shared, shared)] for part in parts], axis=0)
        blocks = tuple(part.hessian[np.ix_(own, own)] for part in parts)
        for matrix in (corner, *blocks):
            idle = np.flatnonzero(matrix.diagonal() == 0.0)
            matrix[idle, idle] = 1.0
        sides = tuple(part.hessian[np.ix_(own, shared)].T for part in parts)
        gradient = [np.sum([part.gradient[shared] for part in parts], axis=0), *(part.gradient[own] for part in parts)]
        cost = sum(part.cost for part in parts)
        return ArrowEquations(cost, ArrowMatrix(corner, sides, blocks), np.concatenate(gradient))

    def split(self, step: Float[np.ndarray, "N"], count: int) -> list[Float[np.ndarray, "n"]]:
        """The step of each keyframe."""
        shared, own = self.shared, self.own
        places = arrow_slices(len(shared), [len(own)] * count)
        steps = np.empty((count, len(shared) + len(own)))
        for one, place in zip(steps, places[1:], strict=True):
            one[shared], one[own] = step[places[0]], step[place]
        return list(steps)


@dataclass(frozen=True)
class _Problem:
    """The keyframes and what is believed of them."""

    face: TrackedFace
    frames: list[Observation]
    targets: list[ImageTargets]
    starts: list[HeadState]
    settings: TrackSettings
    identity: IdentityPrior | None
    prior_focal: float
    known_focal: bool

    @staticmethod
    def of(
        face: TrackedFace,
        frames: list[Observation],
        settings: TrackSettings,
        *,
        identity: IdentityPrior | None,
        focal: float | None,
    ) -> _Problem:
        believed = face.believed
        prior_focal = focal or believed.focal_ratio * max(frames[0].size)
        pairs = [start_pose(face.prepared, frame, believed, focal=prior_focal) for frame in frames]
        targets, starts = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return _Problem(face, frames, targets, starts, settings, identity, prior_focal, focal is not None)

    def layout(self, n_albedo: int = 0, n_light: int = 0) -> _Layout:
        columns = self.face.columns
        return _Layout(columns.n_shape, columns.eyes.stop, n_albedo, n_light)

    def by_landmarks(self) -> list[HeadState]:
        """All keyframes by their landmarks."""
        layout, heads = self.layout(), self._heads()

        def equations(states: tuple[HeadState, ...]) -> ArrowEquations:
            return layout.joined([heads(k, state) for k, state in enumerate(states)])

        def retract(states: tuple[HeadState, ...], step: Float[np.ndarray, "N"]) -> tuple[HeadState, ...]:
            return tuple(map(self._moved, states, layout.split(step, len(states))))

        solution = minimize_normal_equations(
            equations, tuple(self.starts), retract=retract, cost_tolerance=1e-4, max_iterations=40
        )
        return list(solution.state)

    def _moved(self, state: HeadState, step: Float[np.ndarray, "n"]) -> HeadState:
        """By a local step, whose last entry is the lens's."""
        columns = self.face.columns
        return moved(state, np.append(step[: columns.eyes.stop], step[-1]), columns)

    def _heads(self, *, doubt: float = 1.0) -> Callable[[int, HeadState], NormalEquations]:
        """Normal equations of a keyframe's landmarks and beliefs, by head and lens."""
        targets = [replace(target, whitening=target.whitening / doubt) for target in self.targets]
        believed = replace(self.face.believed, focal_spread=self._focal_spread)
        problems = [
            landmark_residuals(
                self.face.prepared.model, target, believed, free_focal=True, prior_focal=self.prior_focal,
                identity_prior=self.identity,
            )
            for target in targets
        ]  # fmt: skip
        n = self.face.columns.n_shape

        def equations(k: int, state: HeadState) -> NormalEquations:
            r, rows = problems[k](state)
            if k:
                # Identity and lens are believed once.
                start = 2 * len(targets[k].seen)
                silent = start + np.flatnonzero(rows[start:, :n].any(axis=1) | (rows[start:, -1] != 0.0))
                r[silent], rows[silent] = 0.0, 0.0
            cost, weights = robust_cost(r, landmark_losses(targets[k], believed))
            weighted = rows if weights is None else rows * weights[:, None]
            return NormalEquations(cost, weighted.T @ rows, weighted.T @ r)

        return equations

    @property
    def _focal_spread(self) -> float:
        return _FOCAL_KNOWN if self.known_focal else self.settings.focal_spread

    def by_pixels(
        self, heads: list[HeadState], images: Sequence[UInt8[np.ndarray, "H W 3"]], texture: TextureSpace
    ) -> tuple[list[PixelState], float]:
        """All keyframes by their pixels, from their landmark fit; and what the pixels of one are worth."""
        n_albedo = texture.basis.shape[3]
        colors = linear_about(texture, np.zeros(n_albedo))
        states = tuple(PixelState(head, np.zeros(n_albedo), even_light()) for head in heads)
        settings = self.settings
        solve = partial(self._solve_pixels, images=images)
        middle = settings.calibration_sizes[min(1, len(settings.calibration_sizes) - 1)]
        states = self._lit(states, images, colors)
        states = solve(states, texture=colors, size=middle, iterations=4, geometry=False)
        colors = linear_about(texture, states[0].albedo)
        states = solve(states, texture=colors, size=middle, iterations=3, geometry=False)
        for size, iterations in zip(settings.calibration_sizes, settings.calibration_iterations, strict=True):
            states = solve(states, texture=colors, size=size, iterations=iterations, geometry=True)
            colors = linear_about(texture, states[0].albedo)
        worth = [
            self._weighed(self._term(state.head, image, settings.sizes[-1], settings.photometric), state, colors).worth
            for state, image in zip(states, images, strict=True)
        ]
        return list(states), float(np.median(worth))

    def _vertices(self, head: HeadState) -> Float[np.ndarray, "V 3"]:
        import torch

        flame = self.face.flame
        with torch.no_grad():
            return flame(head_params(head, flame.template), backend="numba").vertices.double().numpy()

    def _term(
        self, head: HeadState, image: UInt8[np.ndarray, "H W 3"], size: int, settings: PhotometricSettings
    ) -> PixelTerm:
        surface = self.face.compared
        center = 0.5 * np.array(self.frames[0].size, dtype=np.float64)
        points = self._vertices(head)[surface.vertex_ids]
        box = face_box(points, focal=math.exp(head.log_focal), center=center, size=self.frames[0].size)
        if box is None:
            raise InputError(
                f"A keyframe hardly shows the face as a lens of {math.exp(head.log_focal):.3g} pixels sees it; give a "
                "video in which the face is seen, another focal length or none, or follow landmarks only."
            )
        return face_level(image, box, size, center=center, settings=settings)

    def _lit(
        self, states: tuple[PixelState, ...], images: Sequence[np.ndarray], texture: TextureSpace
    ) -> tuple[PixelState, ...]:
        """White light under which the mean colours come out as bright as each picture."""
        surface = self.face.compared
        lit = []
        for state, image in zip(states, images, strict=True):
            term = self._term(state.head, image, 64, self.settings.calibration)
            shown = see(self._vertices(state.head), surface, term, focal=math.exp(state.head.log_focal))
            painted = paint_shown(shown, shown.inside, surface.faces, texture, state.albedo, even_light())
            if not shown.inside.any():
                raise InputError("No pixel of a keyframe shows the face; follow landmarks only.")
            ratio = decode(term.image[shown.inside]).mean() / max(float(decode(painted[shown.inside]).mean()), 1e-3)
            lit.append(replace(state, light=even_light(ratio)))
        return tuple(lit)

    def _solve_pixels(
        self,
        states: tuple[PixelState, ...],
        *,
        images: Sequence[np.ndarray],
        texture: TextureSpace,
        size: int,
        iterations: int,
        geometry: bool,
    ) -> tuple[PixelState, ...]:
        """Some steps at one size."""
        columns, settings = self.face.columns, self.settings.calibration
        n = columns.eyes.stop
        layout = self.layout(texture.basis.shape[3], _N_LIGHT)
        terms = [
            self._weighed(self._term(state.head, image, size, settings), state, texture)
            for state, image in zip(states, images, strict=True)
        ]
        heads = self._heads(doubt=self.settings.calibration_doubt)
        posed = [self._vertices(state.head) for state in states]
        surface = self.face.compared

        def one(k: int, state: PixelState) -> NormalEquations:
            vertices = self._vertices(state.head) if geometry else posed[k]
            found, _ = pixel_equations(
                state, vertices, surface, texture, terms[k], n_geometry=n if geometry else 0, with_focal=geometry
            )
            if not geometry:
                found = _padded(found, n)
            else:
                _zoom_in_place(found, float(state.head.translation[2]), columns.translation.start + 2)
            found = self._with_beliefs(state, found, n, first=k == 0)
            trust = settings.trust * terms[k].worth / settings.worth
            hessian, gradient, cost = trust * found.hessian, trust * found.gradient, trust * found.cost
            if geometry:
                own = heads(k, state.head)
                at = np.append(np.arange(n), len(gradient) - 1)
                hessian[np.ix_(at, at)] += own.hessian
                gradient[at] += own.gradient
                cost += own.cost
            return NormalEquations(cost, hessian, gradient)

        def retract(all_states: tuple[PixelState, ...], step: Float[np.ndarray, "N"]) -> tuple[PixelState, ...]:
            return tuple(map(self._stepped, all_states, layout.split(step, len(all_states))))

        with ThreadPoolExecutor(2) as pool:

            def equations(all_states: tuple[PixelState, ...]) -> ArrowEquations:
                return layout.joined(list(pool.map(one, range(len(all_states)), all_states)))

            return minimize_normal_equations(
                equations, states, retract=retract, cost_tolerance=1e-4, max_iterations=iterations
            ).state

    def _stepped(self, state: PixelState, step: Float[np.ndarray, "n"]) -> PixelState:
        n, k = self.face.columns.eyes.stop, len(state.albedo)
        light = state.light + step[n + k : n + k + _N_LIGHT].reshape(3, 9).T
        return PixelState(self._moved(state.head, step), state.albedo + step[n : n + k], light)

    def _weighed(self, term: PixelTerm, state: PixelState, texture: TextureSpace) -> PixelTerm:
        """The term with what its pixels are worth, as well as this state explains them."""
        surface, most = self.face.compared, self.settings.photometric.worth
        shown = see(self._vertices(state.head), surface, term, focal=math.exp(state.head.log_focal))
        residual = term.image - paint_shown(shown, shown.inside, surface.faces, texture, state.albedo, state.light)
        total = (residual**2).sum(-1, keepdims=True) / (term.sigma * term.outlier) ** 2
        worth = pixels_worth(residual / (1 + total), shown.inside, sigma=term.sigma, most=most)
        return replace(term, worth=worth)

    def _with_beliefs(self, state: PixelState, equations: NormalEquations, n: int, *, first: bool) -> NormalEquations:
        """With what is believed of light, and once of albedo."""
        settings = self.settings.calibration
        k = len(state.albedo)
        precision, mean = appearance_prior(
            k, albedo_sigma=settings.albedo_sigma, level=settings.light_level, level_sigma=settings.light_level_sigma,
            light_sigma=settings.light_sigma, tint_sigma=settings.light_tint_sigma,
        )  # fmt: skip
        if not first:
            precision[:k] = 0.0
        off = np.concatenate([state.albedo, state.light.T.ravel()]) - mean
        pull = precision @ off
        own = slice(n, n + k + _N_LIGHT)
        hessian, gradient = equations.hessian.copy(), equations.gradient.copy()
        hessian[own, own] += precision
        gradient[own] += pull
        return NormalEquations(equations.cost + 0.5 * float(off @ pull), hessian, gradient)

    def focal_deviation(self, states: list[HeadState]) -> float:
        """Of the logarithm of the focal length, as the landmarks tell it."""
        if self.known_focal:
            return 0.0
        heads, layout = self._heads(), self.layout()
        found = layout.joined([heads(k, state) for k, state in enumerate(states)])
        unit, lens = np.zeros(len(found.gradient)), len(layout.shared) - 1
        unit[lens] = 1.0
        variances = found.hessian.solve(np.full(len(unit), 1e-9 * found.hessian.diagonal().max()), unit)
        return self._focal_spread if variances is None else math.sqrt(max(float(variances[lens]), 0.0))

    def error(self, states: list[HeadState]) -> float:
        """Mean landmark error of the keyframes, percent."""
        from flamehead.fit.metrics import landmark_error_percent

        prepared, found = self.face.prepared, []
        for frame, state, target in zip(self.frames, states, self.targets, strict=True):
            placed = project(landmark_positions(prepared.everything, state), math.exp(state.log_focal), target.center)
            fitted = np.full(frame.points.shape, np.nan)
            fitted[prepared.all_pairs.seen_rows] = placed[prepared.all_pairs.model_rows]
            found.append(landmark_error_percent(frame, fitted))
        return float(np.mean(found))

    def shift(self, states: list[HeadState]) -> Float[np.ndarray, "L 3"]:
        """Where the detector sees this person's landmarks on the head at rest, by ridge regression over the keyframes.

        The detector draws every face towards those it has learnt from; what it gets wrong in all keyframes alike is
        not to be blamed on pose and expression of each frame.
        """
        model, believed = self.face.prepared.model, self.face.believed
        normal = np.zeros((model.n_landmarks, 3, 3))
        right = np.zeros((model.n_landmarks, 3))
        for frame, state in zip(self.frames, states, strict=True):
            focal = math.exp(state.log_focal)
            target = weighed_landmarks(self.face.prepared, frame, believed, scale=focal / -float(state.translation[2]))
            points, _ = landmark_points(model, state)
            posed = pose_joints(model, state)
            turns = np.einsum("lj,jab->lab", model.weights, posed.rotations)
            placed = project(points, focal, target.center)
            by_point = np.zeros((len(points), 2, 3))
            by_point[:, 0, 0], by_point[:, 1, 1] = focal, -focal
            by_point[:, :, 2] = placed - target.center
            by_point /= -points[:, 2, None, None]
            rows = target.whitening @ by_point @ turns
            r = np.einsum("lab,lb->la", target.whitening, target.seen - placed)
            weight = 1.0 / np.maximum(np.linalg.norm(r, axis=1) / believed.outlier, 1.0)
            normal += np.einsum("l,lia,lib->lab", weight, rows, rows)
            right += np.einsum("l,lia,li->la", weight, rows, r)
        prior = np.eye(3) / (_SHIFT_SIGMA * self.face.prepared.eye_distance) ** 2
        return np.linalg.solve(normal + prior, right[..., None])[..., 0]


_SHIFT_SIGMA = 0.015
"""Spread of a landmark's personal shift, of the outer-eye distance."""


def _padded(equations: NormalEquations, n: int) -> NormalEquations:
    """With rows of a head before, and of a lens after, that nothing depends on."""
    size = n + len(equations.gradient) + 1
    hessian, gradient = np.zeros((size, size)), np.zeros(size)
    hessian[n:-1, n:-1], gradient[n:-1] = equations.hessian, equations.gradient
    return NormalEquations(equations.cost, hessian, gradient)


def _zoom_in_place(equations: NormalEquations, depth: float, column: int) -> None:
    """Let the lens, the last unknown, take the head's distance along, as `moved` does."""
    hessian, gradient = equations.hessian, equations.gradient
    hessian[-1] += depth * hessian[column]
    hessian[:, -1] += depth * hessian[:, column]
    gradient[-1] += depth * gradient[column]
