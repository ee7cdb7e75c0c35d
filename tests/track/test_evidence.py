"""What landmarks and beliefs say of a head is what the fitter of photos says, and its gradient is the cost's."""

import math
from dataclasses import replace

import numpy as np
import pytest

from flamehead.data import Observation
from flamehead.fit._so3 import exp, log
from flamehead.fit.landmark_model import HeadState
from flamehead.fit.landmarks import LandmarkFitSettings, landmark_losses, landmark_residuals, moved, weighed_landmarks
from flamehead.solve import robust_cost
from flamehead.track import TrackSettings
from flamehead.track._evidence import HeadEvidence, steps_from
from flamehead.track.face import personal, tracked_face

FOCAL, SIZE = 600.0, (320, 240)


@pytest.fixture(scope="module", params=["huber", "squared", "geman_mcclure"])
def face(shot, request):
    settings = LandmarkFitSettings(n_shape=6, n_expression=9, loss=request.param)
    whole = tracked_face(shot.flame, settings, landmarks_only=True)
    return personal(whole, np.linspace(-1.0, 1.0, 6), np.zeros((len(whole.prepared.pairs.seen_rows), 3)))[0]


def random_state(face, seed, spread=1.0):
    rng, n = np.random.default_rng(seed), face.columns.n_expression
    return HeadState(
        np.zeros(0), spread * rng.normal(size=n), np.zeros(3), rng.normal(0.0, 0.1 * spread, 3),
        rng.normal(0.0, 0.3 * spread, (2, 2)), exp(rng.normal(0.0, 0.2, 3)), np.array([0.01, 0.02, -0.7]),
        math.log(FOCAL),
    )  # fmt: skip


def random_points(seed, unseen=5):
    rng = np.random.default_rng(seed)
    points = rng.uniform([60.0, 20.0], [260.0, 220.0], (478, 2))
    points[rng.choice(478, unseen, replace=False)] = np.nan
    return Observation(points, "mediapipe478", SIZE)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_equals_the_fitter_of_photos(face, seed, spread):
    seen, state = random_points(seed), random_state(face, seed, spread)
    found = HeadEvidence(face, focal=FOCAL).of(seen, depth=0.7, trust=1.0, steps=None)(state)
    targets = weighed_landmarks(face.prepared, seen, face.believed, scale=FOCAL / 0.7)
    r, rows = landmark_residuals(face.prepared.model, targets, face.believed, free_focal=False, prior_focal=FOCAL)(
        state
    )
    cost, weights = robust_cost(r, landmark_losses(targets, face.believed))
    weights = np.ones(len(r)) if weights is None else weights
    np.testing.assert_allclose(found.cost, cost, rtol=1e-10)
    hessian, gradient = rows.T @ (weights[:, None] * rows), rows.T @ (weights * r)
    np.testing.assert_allclose(found.hessian, hessian, atol=1e-10 * np.abs(hessian).max())
    np.testing.assert_allclose(found.gradient, gradient, atol=1e-10 * np.abs(gradient).max())


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_is_the_costs(face, seed):
    seen, state, last = random_points(seed), random_state(face, seed), random_state(face, seed + 100)
    last = replace(last, root=exp(np.array([0.02, -0.03, 0.05])) @ state.root)
    steps = steps_from(last, face.columns, TrackSettings(), elapsed=0.08)
    equations = HeadEvidence(face, focal=FOCAL).of(seen, depth=0.7, trust=0.3, steps=steps)
    gradient, n = equations(state).gradient, face.columns.eyes.stop
    step = 1e-6
    sides = [
        [equations(moved(state, sign * step * unit, face.columns)).cost for sign in (1.0, -1.0)] for unit in np.eye(n)
    ]
    numeric = (np.array(sides)[:, 0] - np.array(sides)[:, 1]) / (2 * step)
    np.testing.assert_allclose(gradient, numeric, atol=1e-5 * np.abs(numeric).max())


def test_trust_weighs_landmarks_against_beliefs(face):
    state, seen = random_state(face, 1, 0.1), random_points(1)
    evidence = HeadEvidence(face, focal=FOCAL)
    costs = [evidence.of(seen, depth=0.7, trust=trust, steps=None)(state).cost for trust in (0.05, 0.3, 1.0)]
    assert costs == sorted(costs)


def test_a_head_behind_the_camera_has_no_cost(face):
    state = replace(random_state(face, 2), translation=np.array([0.0, 0.0, 0.5]))
    equations = HeadEvidence(face, focal=FOCAL).of(random_points(2), depth=0.7, trust=1.0, steps=None)(state)
    assert not np.isfinite(equations.cost)


def test_longer_pauses_allow_larger_steps(face):
    last = random_state(face, 3)
    assert np.abs(log(last.root)).max() > 0.0
    short, long = (steps_from(last, face.columns, TrackSettings(), elapsed) for elapsed in (0.04, 0.4))
    np.testing.assert_allclose(short.precision, 10.0 * long.precision)
