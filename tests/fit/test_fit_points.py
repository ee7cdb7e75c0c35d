from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from flamehead.errors import InputError
from flamehead.fit import (
    HeadState,
    PointFitSettings,
    build_landmark_model,
    fit_points,
    landmark_points,
    landmark_positions,
)
from flamehead.fit._belief import HeadBelief, head_prior
from flamehead.fit._states import to_state
from flamehead.geometry.landmark_sets import IBUG68_IN_MEDIAPIPE, MEDIAPIPE_105

EXACT = PointFitSettings(landmark_sigma=1e-5, iris_sigma=1e-5, contour_sigma=1e-5, other_sigma=1e-5, max_iterations=60)


def seen(head, seed, rows=slice(None)):
    """Landmarks of a random head, metres, in any position and orientation."""
    rng = np.random.default_rng(seed)
    state = HeadState(
        shape=rng.normal(size=head.n_shape),
        expression=0.5 * rng.normal(size=head.n_expression),
        neck=np.zeros(3),
        jaw=np.array([rng.uniform(0.0, 0.3), 0.0, 0.0]),
        eyes=np.zeros((2, 2)),
        root=Rotation.from_rotvec(2.0 * rng.normal(size=3)).as_matrix(),
        translation=rng.normal(size=3),
        log_focal=0.0,
    )
    sizes = {"n_shape": head.n_shape, "n_expression": head.n_expression}
    model = build_landmark_model(head.arrays, head.embeddings["mediapipe478"], **sizes)
    return landmark_positions(model, state)[rows]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("unit", [1.0, 0.001])
def test_exact_landmarks_are_reached_wherever_the_head_is(head, seed, unit):
    points = seen(head, seed) / unit
    fit = fit_points(head, points, scale=unit, settings=EXACT)
    assert np.linalg.norm(fit.fitted - points, axis=1).mean() * unit < 1e-4
    assert fit.scale == pytest.approx(unit)


@pytest.mark.parametrize("rows", [IBUG68_IN_MEDIAPIPE[17:], IBUG68_IN_MEDIAPIPE, MEDIAPIPE_105, np.arange(468)])
def test_every_set_of_landmarks_is_understood(head, rows):
    points = seen(head, 7, rows)
    fit = fit_points(head, points)
    assert fit.status.converged
    assert np.linalg.norm(fit.fitted - points, axis=1).mean() < 2e-3


@pytest.mark.parametrize("unit", [1.0, 0.01, 0.3])
def test_an_unknown_unit_is_found_to_some_percent(head, unit):
    points = seen(head, 3)
    fit = fit_points(head, points / unit, scale=None)
    assert fit.scale == pytest.approx(unit, rel=0.25)
    assert np.linalg.norm(fit.fitted - points / unit, axis=1).mean() * unit < 2e-3


def test_outliers_and_gaps_do_little_harm(head):
    points = seen(head, 5)
    clean = fit_points(head, points)
    spoiled = points.copy()
    spoiled[[33, 61, 13, 4]] += 0.05
    spoiled[100:140] = np.nan
    fit = fit_points(head, spoiled, settings=PointFitSettings(loss="geman_mcclure"))
    assert np.nanmedian(np.linalg.norm(fit.fitted - clean.fitted, axis=1)) < 2e-3


def test_the_fitted_landmarks_are_those_of_the_parameters(head):
    points = 1000.0 * seen(head, 6)
    fit = fit_points(head, points, scale=0.001)
    sizes = {"n_shape": head.n_shape, "n_expression": head.n_expression}
    model = build_landmark_model(head.arrays, head.embeddings["mediapipe478"], **sizes)
    again = landmark_positions(model, to_state(fit.params)) / fit.scale
    np.testing.assert_allclose(again, fit.fitted, atol=1e-9)


def test_the_prior_has_the_derivative_it_claims(head):
    sizes = {"n_shape": head.n_shape, "n_expression": head.n_expression}
    model = build_landmark_model(head.arrays, head.embeddings["ibug68"], **sizes)
    prior, state = head_prior(model.columns, HeadBelief(coefficient_limit=0.5)), HeadState.zeros(*sizes.values())
    rng = np.random.default_rng(0)
    state = replace(state, shape=rng.normal(size=len(state.shape)), jaw=np.array([0.7, 0.1, -0.1]))
    r, rows = prior(state)
    step = 1e-6 * rng.normal(size=len(state.shape))
    moved, _ = prior(replace(state, shape=state.shape + step))
    np.testing.assert_allclose(moved - r, rows[:, model.columns.shape] @ step, atol=1e-9)
    assert landmark_points(model, state)[1].shape[2] == rows.shape[1]


@pytest.mark.parametrize(
    ("points", "scale", "sentence"),
    [
        (np.zeros((50, 3)), 1.0, r"shape \(50, 3\)"),
        (np.zeros((68, 2)), 1.0, r"shape \(68, 2\)"),
        (np.full((68, 3), np.nan), 1.0, "Only 0 of 68"),
        (np.ones((68, 3)), 1.0, "one line or spot"),
        (np.random.default_rng(0).normal(size=(68, 3)), -1.0, "metres per unit"),
    ],
)
def test_what_cannot_be_landmarks_is_refused_in_a_sentence(head, points, scale, sentence):
    with pytest.raises(InputError, match=sentence):
        fit_points(head, points, scale=scale)


def test_dtype_and_padding_follow_the_model(head):
    fit = fit_points(head, seen(head, 8), settings=PointFitSettings(n_shape=5, n_expression=3))
    assert fit.params.shape.dtype == torch.float64 and fit.params.shape.shape == (head.n_shape,)
    assert not fit.params.shape[5:].any() and not fit.params.expression[3:].any()
