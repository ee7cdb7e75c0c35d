"""What a frame's landmarks, and what is believed about heads and their moves, say of a head: normal equations.

The same as `fit.landmarks.landmark_residuals` with a robust loss, but for one person whose head is looked for in
thousands of frames: landmarks are compiled, and a belief about one number is added to the diagonal instead of being a
row of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from flamehead.data import Observation
from flamehead.fit._so3 import log, skew
from flamehead.fit._whitening import landmark_whitening
from flamehead.fit.landmark_model import Columns, HeadState, landmark_points
from flamehead.fit.landmarks import LandmarkFitSettings, landmark_losses, weighed_landmarks
from flamehead.fit.residuals import ImageTargets
from flamehead.solve import NormalEquations, RobustBlock, robust_cost
from flamehead.track.face import TrackedFace
from flamehead.track.settings import TrackSettings

__all__ = ["HeadBeliefs", "HeadEvidence", "HeadSteps", "head_values", "steps_from"]


def head_values(state: HeadState, columns: Columns) -> Float[np.ndarray, "N"]:
    """The numbers of a head by the columns of `moved`; zeros for the root's rotation, which has no plain numbers."""
    values = np.zeros(columns.eyes.stop)
    values[columns.expression] = state.expression
    values[columns.translation] = state.translation
    values[columns.jaw] = state.jaw
    values[columns.eyes] = state.eyes.ravel()
    return values


@dataclass(frozen=True)
class HeadBeliefs:
    """What is believed of a head before it is looked at: a Gaussian and soft limits for each number."""

    precision: Float[np.ndarray, "N"]
    """1 / variance; 0 for place and turn."""
    low: Float[np.ndarray, "N"]
    high: Float[np.ndarray, "N"]
    excess_precision: Float[np.ndarray, "N"]
    """Of what exceeds the limits."""
    eyes: Float[np.ndarray, "4 4"]
    """Hessian of the belief that both eyes look alike."""
    columns: Columns

    @staticmethod
    def of(columns: Columns, settings: LandmarkFitSettings) -> HeadBeliefs:
        """As a landmark fit with these settings believes of somebody whose identity is known."""
        n, expression, jaw, eyes = columns.eyes.stop, columns.expression, columns.jaw, columns.eyes
        sigma, low, high = np.full(n, np.inf), np.full(n, -np.inf), np.full(n, np.inf)
        sigma[expression], sigma[jaw], sigma[eyes] = settings.expression_sigma, settings.jaw_sigma, settings.eye_sigma
        low[expression], high[expression] = -settings.coefficient_limit, settings.coefficient_limit
        low[jaw.start], high[jaw.start] = settings.jaw_limits
        low[eyes], high[eyes] = -settings.eye_limit, settings.eye_limit
        excess = np.full(n, settings.angle_excess_sigma)
        excess[expression] = settings.coefficient_excess_sigma
        alike = np.kron([[1.0, -1.0], [-1.0, 1.0]], np.eye(2)) / settings.eye_difference_sigma**2
        return HeadBeliefs(1.0 / sigma**2, low, high, 1.0 / excess**2, alike, columns)

    def add(self, hessian: np.ndarray, gradient: np.ndarray, values: Float[np.ndarray, "N"]) -> float:
        """Add to normal equations in place; their cost."""
        excess = values - np.minimum(np.maximum(values, self.low), self.high)
        pull, push = self.precision * values, self.excess_precision * excess
        eyes = self.columns.eyes
        turned = self.eyes @ values[eyes]
        hessian.flat[:: len(hessian) + 1] += self.precision + np.where(excess != 0.0, self.excess_precision, 0.0)
        hessian[eyes, eyes] += self.eyes
        gradient += pull + push
        gradient[eyes] += turned
        return 0.5 * float(pull @ values + push @ excess + turned @ values[eyes])


@dataclass(frozen=True)
class HeadSteps:
    """What is believed of the way from one frame to the next: little moves."""

    last: HeadState
    values: Float[np.ndarray, "N"]
    """Of the last frame's head."""
    precision: Float[np.ndarray, "N"]
    columns: Columns

    def add(
        self, hessian: np.ndarray, gradient: np.ndarray, values: Float[np.ndarray, "N"], root: Float[np.ndarray, "3 3"]
    ) -> float:
        """Add to normal equations in place; their cost."""
        own, turn = self.columns.root, log(root @ self.last.root.T)
        off = values - self.values
        off[own] = turn
        pull = self.precision * off
        hessian.flat[:: len(hessian) + 1] += self.precision
        # A small rotation from the left changes the axis-angle vector by the inverse of its left Jacobian, here
        # to second order: heads hardly turn between frames.
        k = skew(turn)
        square = k @ k
        inverse = np.eye(3) - 0.5 * k + square / 12.0
        hessian[own, own] += self.precision[own.start] * (inverse.T @ inverse - np.eye(3))
        gradient += pull
        gradient[own] += inverse.T @ pull[own] - pull[own]
        return 0.5 * float(off @ pull)


def steps_from(last: HeadState, columns: Columns, settings: TrackSettings, elapsed: float) -> HeadSteps:
    """What is believed of the head `elapsed` seconds later."""
    wider = math.sqrt(max(elapsed, 1e-3) * 25.0)
    sigma = np.empty(columns.eyes.stop)
    sigma[columns.expression] = settings.expression_step
    sigma[columns.translation] = settings.shift_step
    sigma[columns.root] = settings.turn_step
    sigma[columns.jaw] = settings.jaw_step
    sigma[columns.eyes] = settings.gaze_step
    return HeadSteps(last, head_values(last, columns), 1.0 / (sigma * wider) ** 2, columns)


class HeadEvidence:
    """Normal equations of one person's head, frame after frame."""

    def __init__(self, face: TrackedFace, *, focal: float) -> None:
        """Prepare what no frame changes.

        Args:
            face: Of one person, with compiled landmarks; see `personal`.
            focal: Of the camera, pixels.
        """
        self.face, self.focal = face, focal
        self._beliefs = HeadBeliefs.of(face.columns, face.believed)
        self._whitening = landmark_whitening(face.prepared.pairs, face.believed)

    def of(
        self, seen: Observation, *, depth: float, trust: float, steps: HeadSteps | None
    ) -> Callable[[HeadState], NormalEquations]:
        """Normal equations of landmarks and beliefs, by the columns of `moved`.

        Args:
            seen: The landmarks.
            depth: Of the head, metres: how large the face is, which the landmarks' trust is measured by.
            trust: In the landmarks, at most 1.
            steps: From the frame before; None at the first.
        """
        face, columns = self.face, self.face.columns
        scale = self.focal / max(depth, 1e-3)
        targets = weighed_landmarks(face.prepared, seen, face.believed, scale=scale, whitening=self._whitening)
        targets = replace(targets, whitening=math.sqrt(trust) * targets.whitening)
        losses = landmark_losses(targets, face.believed)

        def equations(state: HeadState) -> NormalEquations:
            r, rows, cost = _weighted(face, targets, state, self.focal, losses)
            hessian, gradient = rows.T @ rows, rows.T @ r
            values = head_values(state, columns)
            cost += self._beliefs.add(hessian, gradient, values)
            if steps is not None:
                cost += steps.add(hessian, gradient, values, state.root)
            return NormalEquations(cost, hessian, gradient)

        return equations


def _weighted(
    face: TrackedFace, targets: ImageTargets, state: HeadState, focal: float, losses: tuple[RobustBlock, ...]
) -> tuple[Float[np.ndarray, "2*L"], Float[np.ndarray, "2*L N"], float]:
    """Whitened distances and their derivative, times the roots of their robust weights, and the robust cost."""
    from flamehead.fit._cpu_landmarks import whitened_distances, whitened_rows

    points, jacobian = landmark_points(face.prepared.model, state)
    distances = np.empty((len(points), 2))
    whitened_distances(points, targets.seen, targets.whitening, focal, targets.center, distances)
    r = distances.reshape(-1)
    cost, weights = robust_cost(r, losses)
    roots = np.ones(len(points)) if weights is None else np.sqrt(weights[::2])
    rows = np.empty((len(points), 2, face.columns.eyes.stop))
    whitened_rows(points, jacobian, targets.whitening, roots, focal, rows)
    distances *= roots[:, None]
    return r, rows.reshape(len(r), -1), cost
