"""Follow a head from frame to frame: pose, expression, jaw, gaze, eyelids and light, by Gauss-Newton.

Everything that a frame's result depends on is in the frame, its landmarks and the rows of the frames before it. A row
holds nothing but float64 numbers, so that a track can go on from rows on a disk and end with the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, UInt8

from flamehead.assets.model_file import LandmarkEmbedding
from flamehead.data import FrameStatus, Observation
from flamehead.fit._beliefs import appearance_prior, pixels_worth
from flamehead.fit._correspondence import OUTER_EYE_CORNERS
from flamehead.fit._so3 import exp, log
from flamehead.fit.landmark_model import (
    HeadState,
    LandmarkModel,
    bake,
    build_landmark_model,
    compiled_landmarks,
    landmark_positions,
)
from flamehead.fit.landmarks import moved, start_pose
from flamehead.fit.metrics import landmark_error_percent
from flamehead.fit.painted import paint_shown
from flamehead.fit.pixels import PixelState, PixelTerm, TextureSpace, pixel_equations, see
from flamehead.fit.residuals import project
from flamehead.geometry.landmark_sets import MEDIAPIPE_105
from flamehead.model import Flame
from flamehead.solve import NormalEquations, minimize_normal_equations, single_threaded_blas
from flamehead.track._evidence import HeadEvidence, steps_from
from flamehead.track.calibrate import Calibration
from flamehead.track.face import TrackedFace, baked_texture, head_vertices, personal, tracked_face
from flamehead.track.pictures import face_box, face_level
from flamehead.track.settings import TrackSettings

__all__ = ["FrameQuality", "Follower", "RowLayout"]

_N_LIGHT = 27
_FEWEST_POINTS = 20
"""Landmarks that a frame must show to be followed."""
_SMALLEST = 8.0
"""Extent of the landmarks of a face that can be followed, pixels."""
_MEANINGLESS = 0.5
"""Decrease of the negative log likelihood that one observation in its noise makes."""
_STRAYED = 15.0
"""Mean distance of landmarks above which head and landmarks are not of one face, percent of the outer-eye distance."""
_LEAST_TRUST = 0.05
"""In landmarks, however little the pixels look like the face: without any, a lost head is never found again."""


@dataclass(frozen=True)
class FrameQuality:
    """How well one frame is explained."""

    status: FrameStatus
    landmark_error: float = math.nan
    """Percent of the outer-eye distance."""
    photometric_error: float = math.nan
    """Mean absolute difference of sRGB over the visible pixels."""
    visible: float = math.nan
    """Share of the face's pixels that the model explains."""
    worth: float = math.nan
    """How many independent observations the pixels stand for, as the next frame begins with."""


_QUALITY = tuple(FrameQuality.__dataclass_fields__)


@dataclass(frozen=True)
class RowLayout:
    """Where the numbers of a frame stand in its row."""

    n_expression: int

    @property
    def width(self) -> int:
        return self.n_expression + 3 + 4 + 3 + 3 + _N_LIGHT + len(_QUALITY)

    def parts(self, rows: Float[np.ndarray, "*batch W"]) -> dict[str, Float[np.ndarray, "*batch _"]]:
        """Expression, jaw, eyes (left pitch, yaw, right pitch, yaw), root, translation, light and quality, by name."""
        names = ("expression", "jaw", "eyes", "root", "translation", "light", "quality")
        sizes = (self.n_expression, 3, 4, 3, 3, _N_LIGHT, len(_QUALITY))
        edges = np.cumsum((0, *sizes))
        return {name: rows[..., start:stop] for name, start, stop in zip(names, edges[:-1], edges[1:], strict=True)}

    def pack(self, state: PixelState, quality: FrameQuality) -> Float[np.ndarray, "W"]:
        """A row."""
        head = state.head
        numbers = [float(getattr(quality, name)) for name in _QUALITY]
        return np.concatenate(
            [
                head.expression,
                head.jaw,
                head.eyes.ravel(),
                log(head.root),
                head.translation,
                state.light.ravel(),
                numbers,
            ]
        )

    def unpack(self, row: Float[np.ndarray, "W"], log_focal: float) -> tuple[PixelState, FrameQuality]:
        """The state and the quality of a row."""
        # A copy: kernels are compiled anew for arrays that cannot be written, such as those of a journal.
        part = self.parts(np.array(row, dtype=np.float64))
        head = HeadState(
            np.zeros(0), part["expression"], np.zeros(3), part["jaw"], part["eyes"].reshape(2, 2), exp(part["root"]),
            part["translation"], log_focal,
        )  # fmt: skip
        numbers = dict(zip(_QUALITY, part["quality"].tolist(), strict=True))
        numbers["status"] = FrameStatus(int(numbers["status"]))
        return PixelState(head, np.zeros(0), part["light"].reshape(9, 3)), FrameQuality(**numbers)


class Follower:
    """A calibrated person, ready to be found in one frame after the other; `step` depends on its arguments only."""

    def __init__(
        self,
        flame: Flame,
        calibration: Calibration,
        settings: TrackSettings | None = None,
        texture: TextureSpace | None = None,
    ) -> None:
        """Build the identity in.

        Args:
            flame: The model of the calibration.
            calibration: Identity, lens and colours.
            settings: Weights and steps.
            texture: The texture space of the calibration's albedo; None follows landmarks only.
        """
        settings = settings or TrackSettings()
        self.settings, self.calibration = settings, calibration
        self.pixels = texture is not None and not settings.landmarks_only
        believed = replace(settings.photometric.landmarks, n_shape=len(calibration.shape))
        face = tracked_face(flame, believed, landmarks_only=not self.pixels)
        self.n_lids = face.n_lids
        self.face, self.head = personal(face, calibration.shape, calibration.shift)
        self.texture = baked_texture(texture, calibration.albedo) if texture is not None and self.pixels else None
        self._feature_rows, self._features = _features(self.face, calibration.shape)
        self.layout = RowLayout(self.face.columns.n_expression)
        self.log_focal = math.log(calibration.focal)
        self._evidence = HeadEvidence(self.face, focal=calibration.focal)

    @property
    def _colors(self) -> TextureSpace:
        assert self.texture is not None, "a follower of landmarks has no colours"
        return self.texture

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return self.layout.width

    @single_threaded_blas()
    def step(
        self,
        pixels: UInt8[np.ndarray, "H W 3"] | None,
        points: Float[np.ndarray, "478 2"],
        before: Sequence[Float[np.ndarray, "W"]] = (),
        *,
        elapsed: float = 0.04,
    ) -> Float[np.ndarray, "W"]:
        """Find the head in one frame.

        Args:
            pixels: The frame, sRGB bytes; None follows the landmarks alone.
            points: Its landmarks, pixels; NaN where they were not seen.
            before: Rows of the frames before it in the same shot, the last one last; empty at a shot's first frame.
            elapsed: Seconds since the last of them.
        """
        last = self.layout.unpack(before[-1], self.log_focal) if len(before) else None
        seen = Observation(np.asarray(points, dtype=np.float64), "mediapipe478", self.calibration.size)
        if not _is_face(seen.points[self.face.prepared.pairs.seen_rows]):
            return self._lost(last)
        known = last is not None and np.isfinite(last[0].head.translation).all()
        start = self._begun(seen) if last is None or not known else last[0]
        prior = _Steps(self, start, elapsed) if known else None
        # Where the pixels do not look like the face, a hand may cover it, and its landmarks are guesses.
        trust = self._trust(last[1].worth) if last is not None else 1.0
        state = self._by_landmarks(seen, start, prior, trust)
        quality = FrameQuality(FrameStatus.TRACKED)
        if pixels is not None and self.pixels:
            state, quality = self._by_pixels(pixels, seen, state, prior, trust)
        placed = self._placed(state.head)
        status = FrameStatus.LOST if self._strayed(seen, placed, state.head) else FrameStatus.TRACKED
        error = self._error(seen, placed)
        return self.layout.pack(state, replace(quality, status=status, landmark_error=error))

    def _trust(self, worth: float) -> float:
        """In landmarks, from what the pixels are worth against those of the keyframes."""
        ratio = worth / self.calibration.worth
        return min(max(ratio, _LEAST_TRUST), 1.0) if math.isfinite(ratio) else 1.0

    def _lost(self, last: tuple[PixelState, FrameQuality] | None) -> Float[np.ndarray, "W"]:
        """The head stays where it was last seen."""
        quality = FrameQuality(FrameStatus.LOST)
        if last is None:
            rest = HeadState.zeros(0, self.face.columns.n_expression)
            nowhere = replace(rest, translation=np.full(3, np.nan))
            return self.layout.pack(PixelState(nowhere, np.zeros(0), self.calibration.light), quality)
        return self.layout.pack(last[0], replace(quality, worth=last[1].worth))

    def _begun(self, seen: Observation) -> PixelState:
        """A state from the landmarks alone."""
        _, head = start_pose(self.face.prepared, seen, self.face.believed, focal=self.calibration.focal)
        return PixelState(replace(head, shape=np.zeros(0)), np.zeros(0), self.calibration.light)

    def _evidence_of(
        self, seen: Observation, near: HeadState, prior: _Steps | None, trust: float
    ) -> Callable[[HeadState], NormalEquations]:
        """Normal equations of landmarks and beliefs."""
        steps = None if prior is None else prior.head
        return self._evidence.of(seen, depth=-float(near.translation[2]), trust=trust, steps=steps)

    def _by_landmarks(self, seen: Observation, start: PixelState, prior: _Steps | None, trust: float) -> PixelState:
        columns = self.face.columns
        solution = minimize_normal_equations(
            self._evidence_of(seen, start.head, prior, trust), start.head,
            retract=lambda state, step: moved(state, step, columns), cost_tolerance=1e-3,
            unseen_decrease=_MEANINGLESS, max_iterations=15 if prior is None else 4,
        )  # fmt: skip
        return replace(start, head=solution.state)

    def _term(self, pixels: UInt8[np.ndarray, "H W 3"], head: HeadState, size: int) -> PixelTerm | None:
        calibration = self.calibration
        vertices = head_vertices(self.head, head)[self.face.compared.vertex_ids]
        box = face_box(vertices, focal=calibration.focal, center=calibration.center, size=calibration.size)
        if box is None:
            return None
        return face_level(pixels, box, size, center=calibration.center, settings=self.settings.photometric)

    def _by_pixels(
        self,
        pixels: UInt8[np.ndarray, "H W 3"],
        seen: Observation,
        state: PixelState,
        prior: _Steps | None,
        trust: float,
    ) -> tuple[PixelState, FrameQuality]:
        """Refine by the pixels, from coarse to fine; the state stays where the frame hardly shows the face."""
        settings, lost = self.settings, FrameQuality(FrameStatus.TRACKED)
        term, worth = None, settings.photometric.worth
        for level, (size, iterations) in enumerate(zip(settings.sizes, settings.iterations, strict=True)):
            term = self._term(pixels, state.head, size)
            if term is None:
                return state, lost
            if not level:
                if prior is None:
                    state = self._solve(state, term, seen, None, iterations=4, geometry=False, trust=trust)
                worth = self._measured(state, term).worth
                trust = min(trust, self._trust(worth))
            term = replace(term, worth=worth)
            more = 2 if prior is None else 0
            state = self._solve(state, term, seen, prior, iterations=iterations + more, geometry=True, trust=trust)
        assert term is not None, "settings without sizes are refused"
        return state, self._measured(state, term)

    def _solve(
        self,
        start: PixelState,
        term: PixelTerm,
        seen: Observation,
        prior: _Steps | None,
        *,
        iterations: int,
        geometry: bool,
        trust: float,
    ) -> PixelState:
        columns, settings = self.face.columns, self.settings.photometric
        surface, texture = self.face.compared, self._colors
        n = columns.eyes.stop if geometry else 0
        evidence = self._evidence_of(seen, start.head, prior, trust / self.settings.landmark_doubt**2)
        precision, mean = appearance_prior(
            0, albedo_sigma=1.0, level=settings.light_level, level_sigma=settings.light_level_sigma,
            light_sigma=settings.light_sigma, tint_sigma=settings.light_tint_sigma,
        )  # fmt: skip
        share = settings.trust * term.worth / settings.worth
        frozen = head_vertices(self.head, start.head)

        def equations(state: PixelState) -> NormalEquations:
            vertices = head_vertices(self.head, state.head) if geometry else frozen
            found, _ = pixel_equations(state, vertices, surface, texture, term, n_geometry=n)
            off = state.light.T.ravel() - mean
            pull = precision @ off
            found.hessian[n:, n:] += precision
            found.gradient[n:] += pull
            cost = share * (found.cost + 0.5 * float(off @ pull))
            hessian, gradient = share * found.hessian, share * found.gradient
            if geometry:
                own = evidence(state.head)
                hessian[:n, :n] += own.hessian
                gradient[:n] += own.gradient
                cost += own.cost
            if prior is not None:
                cost += prior.add_light(hessian[n:, n:], gradient[n:], state)
            return NormalEquations(cost, hessian, gradient)

        def retract(state: PixelState, step: Float[np.ndarray, "N"]) -> PixelState:
            head = moved(state.head, step[:n], columns) if geometry else state.head
            return PixelState(head, state.albedo, state.light + step[n:].reshape(3, 9).T)

        return minimize_normal_equations(
            equations, start, retract=retract, cost_tolerance=1e-3, unseen_decrease=_MEANINGLESS,
            max_iterations=iterations,
        ).state  # fmt: skip

    def _measured(self, state: PixelState, term: PixelTerm) -> FrameQuality:
        """How well the pixels of a picture are explained."""
        surface, texture, settings = self.face.compared, self._colors, self.settings.photometric
        shown = see(head_vertices(self.head, state.head), surface, term, focal=self.calibration.focal)
        painted = paint_shown(shown, shown.inside, surface.faces, texture, state.albedo, state.light)
        residual = term.image - painted
        total = (residual**2).sum(-1) / (term.sigma * term.outlier) ** 2
        explained = shown.inside & (total < 1.0)
        count = np.count_nonzero(shown.inside)
        worth = pixels_worth(residual / (1 + total[..., None]), shown.inside, sigma=term.sigma, most=settings.worth)
        if not explained.any():
            return FrameQuality(FrameStatus.TRACKED, visible=0.0, worth=worth)
        return FrameQuality(
            FrameStatus.TRACKED,
            photometric_error=float(np.abs(residual[explained]).mean()),
            visible=float(np.count_nonzero(explained) / count),
            worth=float(worth),
        )

    @property
    def joint(self) -> Float[np.ndarray, "3"]:
        """The root joint of the person, about which the head turns, metres."""
        return self.face.prepared.model.joints_template[0]

    @property
    def middle(self) -> Float[np.ndarray, "3"]:
        """Of the person's face at rest, metres."""
        rest = HeadState.zeros(0, self.face.columns.n_expression)
        return landmark_positions(self.face.prepared.everything, rest).mean(0)

    def fitted(self, head: HeadState) -> Float[np.ndarray, "478 2"]:
        """The model's own landmarks in the frame, pixels; NaN where it has none."""
        prepared = self.face.prepared
        placed = project(landmark_positions(prepared.everything, head), self.calibration.focal, self.calibration.center)
        fitted = np.full((478, 2), np.nan)
        fitted[prepared.all_pairs.seen_rows] = placed[prepared.all_pairs.model_rows]
        return fitted

    def _placed(self, head: HeadState) -> Float[np.ndarray, "K 2"]:
        """Where the model has the face's features, pixels."""
        return project(landmark_positions(self._features, head), self.calibration.focal, self.calibration.center)

    def _error(self, seen: Observation, placed: Float[np.ndarray, "K 2"]) -> float:
        """Of the face's features alone; NaN where an outer eye corner, whose distance is the unit, was not seen."""
        corners = seen.points[list(OUTER_EYE_CORNERS)]
        if not np.isfinite(corners).all() or not np.ptp(corners, axis=0).any():
            return math.nan
        fitted = np.full((478, 2), np.nan)
        fitted[self._feature_rows] = placed
        return landmark_error_percent(seen, fitted)

    def _strayed(self, seen: Observation, placed: Float[np.ndarray, "K 2"], head: HeadState) -> bool:
        """Whether the landmarks are a detector's guesses at a face that is hidden or elsewhere.

        The unit is the eyes' distance as a face at the head's depth shows it from the front: the one that is seen
        vanishes in profiles, which are followed well.
        """
        distance = np.linalg.norm(seen.points[self._feature_rows] - placed, axis=1)
        distance = distance[np.isfinite(distance)]
        depth = max(-float(head.translation[2]), 1e-6)
        eyes = self.calibration.focal * self.face.prepared.eye_distance / depth
        return bool(distance.size) and 100.0 * float(distance.mean()) > _STRAYED * eyes


def _features(face: TrackedFace, shape: Float[np.ndarray, "S"]) -> tuple[Int[np.ndarray, "K"], LandmarkModel]:
    """The face's features of a person, and their rows among all that are seen."""
    pairs, flame = face.prepared.all_pairs, face.flame
    kept = np.isin(pairs.seen_rows, MEDIAPIPE_105)
    rows = pairs.seen_rows[kept]
    embedding = flame.embeddings[pairs.scheme]
    places = pairs.model_rows[kept]
    chosen = LandmarkEmbedding(embedding.face_ids[places], embedding.barycentric[places])
    model = build_landmark_model(flame.arrays, chosen, n_shape=len(shape), n_expression=face.columns.n_expression)
    return rows, compiled_landmarks(bake(model, shape=shape))


def _is_face(points: Float[np.ndarray, "K 2"]) -> bool:
    """Whether enough landmarks were seen, and they do not lie on one spot as those of a detector that is lost."""
    seen = points[np.isfinite(points).all(axis=1)]
    return len(seen) >= _FEWEST_POINTS and bool(np.ptp(seen, axis=0).max() >= _SMALLEST)


class _Steps:
    """What is believed of the way from one frame to the next: little moves of the head, and of the light."""

    def __init__(self, follower: Follower, last: PixelState, elapsed: float) -> None:
        settings = follower.settings
        self.head = steps_from(last.head, follower.face.columns, settings, elapsed)
        self.last_light = last.light
        self.light = 1.0 / (settings.light_step**2 * max(elapsed, 1e-3) * 25.0)

    def add_light(self, hessian: np.ndarray, gradient: np.ndarray, state: PixelState) -> float:
        """Add the beliefs of the light in place; their cost."""
        off = (state.light - self.last_light).T.ravel()
        hessian[range(_N_LIGHT), range(_N_LIGHT)] += self.light
        gradient += self.light * off
        return 0.5 * self.light * float(off @ off)
