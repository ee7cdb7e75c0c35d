from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from flamehead.data import Observation
from flamehead.errors import AssetNotFound, InputError
from flamehead.fit import (
    HeadState,
    LandmarkFitSettings,
    build_landmark_model,
    fit_landmarks,
    landmark_error_percent,
    landmark_positions,
    project,
)
from flamehead.geometry.landmark_sets import FACE_OVAL, IBUG68_IN_MEDIAPIPE, MEDIAPIPE_105

SIZE = (1000, 800)
EXACT = LandmarkFitSettings(
    landmark_sigma=1e-3,
    iris_sigma=1e-3,
    contour_sigma=1e-3,
    contour_slide_sigma=1e-3,
    expression_sigma=0.4,
    cost_tolerance=1e-6,
)


def scene(head, seed, *, yaw=0.0, roll=0.0, pitch=0.0, focal=1200.0):
    """A random head and its 478 landmarks in the image."""
    rng = np.random.default_rng(seed)
    sizes = {"n_shape": head.n_shape, "n_expression": head.n_expression}
    model = build_landmark_model(head.arrays, head.embeddings["mediapipe478"], **sizes)
    turn = Rotation.from_euler("zyx", [roll, yaw, pitch], degrees=True).as_matrix()
    state = HeadState(
        shape=rng.normal(size=head.n_shape),
        expression=0.4 * rng.normal(size=head.n_expression),
        neck=np.zeros(3),
        jaw=np.array([rng.uniform(0.0, 0.3), 0.0, 0.0]),
        eyes=np.tile(rng.uniform(-0.2, 0.2, 2), (2, 1)),
        root=turn,
        translation=rng.uniform([-0.1, -0.1, -1.0], [0.1, 0.1, -0.5]),
        log_focal=np.log(focal),
    )
    points = project(landmark_positions(model, state), focal, 0.5 * np.array(SIZE))
    return state, Observation(points, "mediapipe478", SIZE)


def turned_by(fit, state):
    """Angle between the fitted and the true root rotation, degrees."""
    found = Rotation.from_rotvec(fit.params.root.numpy())
    return float(np.rad2deg((found * Rotation.from_matrix(state.root).inv()).magnitude()))


def shape_error(head, fit, state):
    """RMS error of the unposed identity, relative to that of the mean head."""
    basis = head.arrays.shape_basis[:478].reshape(-1, head.n_shape)
    return np.linalg.norm(basis @ (fit.params.shape.numpy() - state.shape)) / np.linalg.norm(basis @ state.shape)


@pytest.mark.parametrize("seed", range(6))
def test_closed_loop_with_exact_landmarks(head, seed):
    state, seen = scene(head, seed, yaw=10.0 * seed - 30.0)
    fit = fit_landmarks(head, seen, focal=1200.0, settings=EXACT)
    assert fit.status.converged
    assert landmark_error_percent(seen, fit.fitted) < 0.05
    assert turned_by(fit, state) < 2.0
    assert shape_error(head, fit, state) < 0.55
    assert float(fit.params.jaw[0]) == pytest.approx(state.jaw[0], abs=0.08)
    np.testing.assert_allclose(fit.params.left_eye[:2], state.eyes[0], atol=0.08)
    assert float(fit.camera.focal[0]) == pytest.approx(1200.0)


@pytest.mark.parametrize("yaw", [-75.0, -40.0, 0.0, 60.0])
@pytest.mark.parametrize("roll", [0.0, 90.0, 180.0, -120.0])
def test_any_roll_and_large_yaw_are_found_from_the_landmarks_alone(head, yaw, roll):
    state, seen = scene(head, 1, yaw=yaw, roll=roll, pitch=10.0)
    fit = fit_landmarks(head, seen)
    assert fit.status.converged
    assert turned_by(fit, state) < 6.0
    assert landmark_error_percent(seen, fit.fitted) < 1.0


def test_the_model_really_lies_where_the_fit_says(head):
    _, seen = scene(head, 3, yaw=20.0)
    fit = fit_landmarks(head, seen)
    params, camera = fit.params, fit.camera
    state = HeadState(
        shape=params.shape.numpy(),
        expression=params.expression.numpy(),
        neck=params.neck.numpy(),
        jaw=params.jaw.numpy(),
        eyes=np.stack([params.left_eye[:2], params.right_eye[:2]]),
        root=Rotation.from_rotvec(params.root.numpy()).as_matrix(),
        translation=params.translation.numpy(),
        log_focal=0.0,
    )
    sizes = {"n_shape": head.n_shape, "n_expression": head.n_expression}
    x_world = landmark_positions(build_landmark_model(head.arrays, head.embeddings["mediapipe478"], **sizes), state)
    x_camera = torch.tensor(x_world) @ camera.rotation.mT + camera.translation
    pixels = camera.focal * x_camera[:, :2] / x_camera[:, 2:] + camera.center
    np.testing.assert_allclose(pixels, fit.fitted, atol=1e-6)
    assert camera.size == SIZE
    assert fit.observation is seen
    assert fit.fingerprint == head.fingerprint


def test_a_frontal_head_hardly_turns_its_root(head):
    _, seen = scene(head, 2)
    assert float(fit_landmarks(head, seen).params.root.norm()) < np.deg2rad(8.0)


def test_outliers_hardly_move_a_robust_fit(head):
    state, seen = scene(head, 4, yaw=15.0)
    rng = np.random.default_rng(0)
    points = seen.points.copy()
    wrong = rng.choice(MEDIAPIPE_105, 12, replace=False)
    points[wrong] += rng.normal(size=(12, 2)) * 60.0
    spoiled = replace(seen, points=points)
    robust = fit_landmarks(head, spoiled, focal=1200.0, settings=LandmarkFitSettings(loss="geman_mcclure"))
    huber = fit_landmarks(head, spoiled, focal=1200.0)
    plain = fit_landmarks(head, spoiled, focal=1200.0, settings=LandmarkFitSettings(loss="squared"))
    clean = fit_landmarks(head, seen, focal=1200.0)
    errors = [landmark_error_percent(seen, fit.fitted) for fit in (clean, robust, huber, plain)]
    assert errors[1] < 2.0 * errors[0] < errors[3]
    assert errors[2] < 0.5 * errors[3]
    assert turned_by(robust, state) < 4.0


@pytest.mark.parametrize("missing", ["left half", "irises", "contour", "scattered"])
def test_missing_points_are_ignored(head, missing):
    state, seen = scene(head, 5, yaw=-20.0)
    points = seen.points.copy()
    rows = {
        "left half": np.flatnonzero(head.arrays.template[:478, 0] > 0.01),
        "irises": np.arange(468, 478),
        "contour": FACE_OVAL,
        "scattered": np.random.default_rng(0).choice(478, 200, replace=False),
    }[missing]
    points[rows] = np.nan
    fit = fit_landmarks(head, replace(seen, points=points), focal=1200.0)
    assert fit.status.converged
    assert np.isfinite(fit.fitted).all()
    assert turned_by(fit, state) < 6.0


@pytest.mark.parametrize(
    ("scheme", "rows"),
    [
        ("mediapipe468", np.arange(468)),
        ("mediapipe105", MEDIAPIPE_105),
        ("ibug68", IBUG68_IN_MEDIAPIPE),
    ],
)
@pytest.mark.parametrize("model", ["mediapipe478", "mediapipe105", "ibug68"])
def test_every_scheme_is_fitted_with_whatever_the_model_has(head, scheme, rows, model):
    state, seen = scene(head, 6, yaw=15.0)
    part = Observation(seen.points[rows], scheme, SIZE)
    fit = fit_landmarks(replace(head, embeddings={model: head.embeddings[model]}), part, focal=1200.0)
    assert fit.fitted.shape == part.points.shape
    ids = {"mediapipe478": np.arange(478), "mediapipe105": MEDIAPIPE_105, "ibug68": IBUG68_IN_MEDIAPIPE}[model]
    np.testing.assert_array_equal(np.isfinite(fit.fitted).all(axis=1), np.isin(rows, ids))
    assert landmark_error_percent(part, fit.fitted) < 1.0
    assert turned_by(fit, state) < 6.0


@pytest.mark.parametrize("focal", [700.0, 1200.0, 2500.0])
def test_an_unknown_focal_length_is_estimated_near_a_usual_one(head, focal):
    _, seen = scene(head, 7, yaw=10.0, focal=focal)
    fit = fit_landmarks(head, seen)
    found = float(fit.camera.focal[0])
    assert 600.0 < found < 3000.0
    assert fit.status.converged
    known = fit_landmarks(head, seen, focal=focal)
    assert float(known.camera.focal[0]) == pytest.approx(focal)
    distances = [float(f.params.translation[2] / f.camera.focal[0]) for f in (fit, known)]
    assert distances[0] == pytest.approx(distances[1], rel=0.15)


def test_coefficients_stay_near_the_limit_even_for_an_impossible_face(head):
    _, seen = scene(head, 8)
    stretched = (seen.points - 400.0) * [1.35, 0.8] + 400.0
    fit = fit_landmarks(head, replace(seen, points=stretched))
    assert float(fit.params.shape.abs().max()) <= 3.5
    assert float(fit.params.expression.abs().max()) <= 3.5


def test_the_number_of_components_is_a_setting_and_the_result_is_padded(head):
    _, seen = scene(head, 9)
    fit = fit_landmarks(head, seen, settings=LandmarkFitSettings(n_shape=5, n_expression=3))
    assert fit.params.shape.shape == (head.n_shape,)
    assert fit.params.expression.shape == (head.n_expression,)
    assert fit.params.shape[:5].abs().min() > 0
    assert not fit.params.shape[5:].any()
    assert not fit.params.expression[3:].any()


def test_points_on_smooth_skin_help_when_asked(head):
    state, seen = scene(head, 10, yaw=25.0)
    few = fit_landmarks(head, seen, focal=1200.0, settings=EXACT)
    all_points = fit_landmarks(head, seen, focal=1200.0, settings=replace(EXACT, other_sigma=1e-3))
    assert shape_error(head, all_points, state) < shape_error(head, few, state)


def test_the_result_follows_the_dtype_of_the_model(head):
    _, seen = scene(head, 11)
    single = fit_landmarks(replace(head, template=torch.zeros(1)), seen)
    assert single.params.shape.dtype == single.camera.focal.dtype == torch.float32


def test_fits_are_deterministic(head):
    _, seen = scene(head, 12, yaw=-30.0)
    a, b = fit_landmarks(head, seen), fit_landmarks(head, seen)
    assert a.loss == b.loss
    np.testing.assert_array_equal(a.fitted, b.fitted)
    assert torch.equal(a.params.shape, b.params.shape)


def test_another_model_with_the_same_fingerprint_is_not_mistaken(head):
    _, seen = scene(head, 13)
    before = fit_landmarks(head, seen)
    bigger = replace(head, arrays=replace(head.arrays, template=1.3 * head.arrays.template))
    after = fit_landmarks(bigger, seen)
    assert float(after.params.translation[2]) < 1.15 * float(before.params.translation[2])


def test_the_iteration_limit_is_reported(head):
    _, seen = scene(head, 14, yaw=30.0)
    fit = fit_landmarks(head, seen, settings=replace(EXACT, max_iterations=2))
    assert fit.status.reason == "iterations"
    assert not fit.status.converged


def test_unusable_observations_get_one_sentence(head):
    _, seen = scene(head, 0)
    few = np.full((478, 2), np.nan)
    few[[33, 263, 1]] = seen.points[[33, 263, 1]]
    with pytest.raises(InputError, match="Only 2 of 151 usable mediapipe478 landmarks"):
        fit_landmarks(head, replace(seen, points=few))
    with pytest.raises(InputError, match="within one pixel"):
        fit_landmarks(head, replace(seen, points=np.full((478, 2), 7.0)))
    with pytest.raises(InputError, match=r"shape \(478, 2\), wanted \(68, 2\)"):
        fit_landmarks(head, replace(seen, scheme="ibug68"))
    for focal in (0.0, -3.0, float("nan")):
        with pytest.raises(InputError, match="focal length"):
            fit_landmarks(head, seen, focal=focal)
    with pytest.raises(AssetNotFound, match=r"mediapipe_landmark_embedding\.npz"):
        fit_landmarks(replace(head, embeddings={}), seen)
