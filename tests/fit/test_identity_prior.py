"""Fits that begin with somebody's codes, and fits that believe in an identity."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from flamehead.data import FlameParams, Observation
from flamehead.errors import InputError
from flamehead.fit import (
    HeadState,
    IdentityPrior,
    ImageTargets,
    LandmarkFitSettings,
    build_landmark_model,
    fit_landmarks,
    landmark_positions,
    project,
)
from flamehead.fit.landmarks import landmark_residuals

SIZE = (1000, 800)
FOCAL = 1200.0


def scene(head, seed, *, yaw=0.0, noise=1.0):
    """A random head, and its landmarks with an error of a pixel."""
    rng = np.random.default_rng(seed)
    sizes = {"n_shape": head.n_shape, "n_expression": head.n_expression}
    model = build_landmark_model(head.arrays, head.embeddings["mediapipe478"], **sizes)
    state = replace(
        HeadState.zeros(head.n_shape, head.n_expression),
        shape=rng.normal(size=head.n_shape),
        expression=0.4 * rng.normal(size=head.n_expression),
        jaw=np.array([rng.uniform(0.0, 0.3), 0.0, 0.0]),
        root=Rotation.from_euler("y", yaw, degrees=True).as_matrix(),
        translation=rng.uniform([-0.1, -0.1, -1.0], [0.1, 0.1, -0.5]),
    )
    points = project(landmark_positions(model, state), FOCAL, 0.5 * np.array(SIZE))
    return state, Observation(points + rng.normal(scale=noise, size=points.shape), "mediapipe478", SIZE)


def of(state):
    """A state's parameters, float64."""
    rest = FlameParams.zeros(0, 0, dtype=torch.float64)
    return replace(
        rest,
        shape=torch.from_numpy(state.shape),
        expression=torch.from_numpy(state.expression),
        jaw=torch.from_numpy(state.jaw),
    )


def shape_error(head, fit, state):
    """RMS error of the unposed identity, relative to that of the mean head."""
    basis = head.arrays.shape_basis[:478].reshape(-1, head.n_shape)
    return np.linalg.norm(basis @ (fit.params.shape.numpy() - state.shape)) / np.linalg.norm(basis @ state.shape)


@pytest.mark.parametrize("seed", range(4))
def test_a_known_identity_makes_the_fit_better_and_more_weight_better_still(head, seed):
    state, seen = scene(head, seed, yaw=10.0 * seed)
    errors = [shape_error(head, fit_landmarks(head, seen, focal=FOCAL), state)]
    for weight in (1.0, 10.0, 1000.0):
        prior = IdentityPrior(torch.from_numpy(state.shape), weight=weight)
        errors.append(shape_error(head, fit_landmarks(head, seen, focal=FOCAL, identity_prior=prior), state))
    assert errors[0] > errors[1] > errors[2] > errors[3] and errors[3] < 0.05


@pytest.mark.parametrize("seed", range(4))
def test_a_start_near_the_truth_needs_no_more_steps_and_ends_no_worse(head, seed):
    state, seen = scene(head, seed, yaw=20.0)
    plain = fit_landmarks(head, seen, focal=FOCAL)
    begun = fit_landmarks(head, seen, focal=FOCAL, start=of(state))
    assert begun.status.converged and begun.status.iterations <= plain.status.iterations
    assert begun.loss <= plain.loss * 1.01


def test_zeros_as_start_and_a_mean_of_zero_change_nothing(head):
    _, seen = scene(head, 3)
    plain = fit_landmarks(head, seen)
    same = fit_landmarks(
        head,
        seen,
        start=FlameParams.zeros(head.n_shape, head.n_expression),
        identity_prior=IdentityPrior(torch.zeros(300), weight=1.0),
    )
    assert same.loss == pytest.approx(plain.loss, rel=1e-9)
    torch.testing.assert_close(same.params.shape, plain.params.shape, rtol=0, atol=1e-6)


def test_coefficients_beyond_those_of_the_settings_are_kept(head):
    state, seen = scene(head, 5)
    few = LandmarkFitSettings(n_shape=10, n_expression=5)
    mean = torch.from_numpy(np.append(state.shape, np.zeros(260)))
    fit = fit_landmarks(head, seen, settings=few, identity_prior=IdentityPrior(mean, weight=1e6))
    np.testing.assert_allclose(fit.params.shape, state.shape, atol=0.02)
    assert bool((fit.params.expression[5:] == 0).all())


def test_an_identity_beyond_the_limits_is_believed(head):
    _, seen = scene(head, 6)
    mean = torch.zeros(head.n_shape, dtype=torch.float64)
    mean[3], mean[4] = 4.0, -4.0
    fit = fit_landmarks(head, seen, identity_prior=IdentityPrior(mean, weight=1e6))
    np.testing.assert_allclose(fit.params.shape[3:5], [4.0, -4.0], atol=0.02)


def test_the_jacobian_holds_with_a_prior(head):
    rng = np.random.default_rng(1)
    model = build_landmark_model(head.arrays, head.embeddings["mediapipe105"], n_shape=6, n_expression=4)
    targets = ImageTargets(np.zeros((105, 2)), np.tile(0.1 * np.eye(2), (105, 1, 1)), np.zeros(2))
    prior = IdentityPrior(torch.from_numpy(rng.normal(size=6)), weight=7.0)
    residuals = landmark_residuals(
        model, targets, LandmarkFitSettings(), free_focal=False, prior_focal=FOCAL, identity_prior=prior
    )
    state = replace(HeadState.zeros(6, 4), translation=np.array([0.0, 0.0, -1.0]), log_focal=np.log(FOCAL))
    _, rows = residuals(state)
    for index in range(6):
        step = 1e-6 * np.eye(6)[index]
        up, down = (residuals(replace(state, shape=state.shape + sign * step))[0] for sign in (1, -1))
        np.testing.assert_allclose(rows[:, model.columns.shape][:, index], (up - down) / 2e-6, rtol=1e-5, atol=1e-4)


def test_what_is_no_prior_and_no_start_is_one_sentence(head):
    _, seen = scene(head, 0)
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="give a positive number"):
            IdentityPrior(torch.zeros(3), weight=weight)
    for mean in (torch.zeros(2, 3), torch.tensor([float("nan")])):
        with pytest.raises(InputError, match="coefficients of one person"):
            IdentityPrior(mean)
    with pytest.raises(InputError, match="one head of finite numbers"):
        fit_landmarks(head, seen, start=FlameParams.zeros(3, 3, batch=(2,)))
