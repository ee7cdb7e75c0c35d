"""What fits say about themselves, against what is known."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from flamehead.data import Observation
from flamehead.errors import InputError
from flamehead.fit import (
    HeadState,
    LandmarkFitSettings,
    describe_uncertainty,
    expected_params,
    fit_landmarks,
    landmark_positions,
    project,
    vertex_deviation,
)
from flamehead.fit._prepare import prepare
from flamehead.fit.landmarks import landmark_system, moved, start_pose
from flamehead.fit.uncertainty import covariance_and_noise, natural_columns, natural_units, state_of

SIZE = (1000, 1000)
SETTINGS = LandmarkFitSettings(contour_slide_sigma=0.03)


def told(fit):
    """The posterior of a fit that has one."""
    assert fit.posterior is not None
    return fit.posterior


def drawn(head, seed, *, noise=1.0, focal=1200.0, settings=SETTINGS):
    """A head near the priors and its landmarks with `noise` times the assumed noise."""
    rng = np.random.default_rng(seed)
    sizes = {"n_shape": settings.n_shape, "n_expression": settings.n_expression}
    prepared = prepare(head, "mediapipe478", **sizes, with_other=False)
    state = HeadState(
        shape=np.clip(rng.normal(size=head.n_shape), -2.5, 2.5),
        expression=np.clip(rng.normal(size=head.n_expression), -2.5, 2.5),
        neck=np.zeros(3),
        jaw=np.append(np.abs(0.2 * rng.normal()), [0.02, 0.03] * rng.normal(size=2)),
        eyes=np.tile(rng.uniform(-0.2, 0.2, 2), (2, 1)),
        root=Rotation.from_euler("yx", rng.uniform(-20, 20, 2), degrees=True).as_matrix(),
        translation=rng.uniform([-0.05, -0.05, -0.9], [0.05, 0.05, -0.5]),
        log_focal=np.log(focal),
    )
    points = project(landmark_positions(prepared.everything, state), focal, 0.5 * np.array(SIZE))
    seen = Observation(points, "mediapipe478", SIZE)
    targets, _ = start_pose(prepared, seen, settings, focal=focal)
    moves = np.linalg.solve(targets.whitening, noise * rng.normal(size=(len(targets.seen), 2, 1)))[..., 0]
    noisy = points.copy()
    noisy[prepared.pairs.seen_rows] += moves
    return prepared, state, replace(seen, points=noisy)


def test_intervals_hold_the_truth_as_often_as_they_say(head):
    """Pose and vertices of 40 fits; the limits are wider than those of the 200 in benchmarks/calibration.py."""
    pose, form = [], []
    ids = np.arange(0, 478, 25)
    for seed in range(40):
        prepared, state, seen = drawn(head, seed)
        fit = fit_landmarks(head, seen, focal=1200.0, settings=SETTINGS)
        mean = state_of(expected_params(fit), told(fit).columns)
        turned = Rotation.from_matrix(mean.root @ state.root.T).as_rotvec()
        pose.append(turned / told(fit).deviation["root"])
        spread = vertex_deviation(head, fit, vertices=ids, frame="world")
        apart = [landmark_positions(prepared.everything, s)[ids] for s in (mean, state)]
        form.append((1000 * (apart[0] - apart[1]) / spread).ravel())
    for scores in (np.abs(np.concatenate(pose)), np.abs(np.concatenate(form))):
        assert 0.56 < np.mean(scores < 1.0) < 0.80
        assert 0.88 < np.mean(scores < 1.96) <= 0.995


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_the_noise_is_estimated(head, noise):
    plain = replace(SETTINGS, loss="squared")
    fits = [fit_landmarks(head, drawn(head, seed, noise=noise)[2], focal=1200.0, settings=plain) for seed in range(8)]
    found = np.mean([told(fit).noise for fit in fits])
    assert found == pytest.approx(noise, rel=0.25)


def test_sandwich_is_the_inverse_hessian_where_the_noise_is_as_assumed():
    rng = np.random.default_rng(0)
    jacobian, prior = rng.normal(size=(30, 6)), np.diag(rng.uniform(0.5, 2.0, 6))
    data = jacobian.T @ jacobian
    freedom = 30 - np.trace(np.linalg.solve(data + prior, data))
    covariance, noise = covariance_and_noise(data, prior, squares=freedom, count=30)
    assert noise == pytest.approx(1.0)
    np.testing.assert_allclose(covariance, np.linalg.inv(data + prior), atol=1e-12)


def test_linear_gaussian_errors_have_the_predicted_covariance():
    rng = np.random.default_rng(1)
    jacobian, prior = rng.normal(size=(12, 4)), np.diag([0.5, 1.0, 2.0, 4.0])
    data = jacobian.T @ jacobian
    truth = rng.normal(size=(40000, 4)) / np.sqrt(prior.diagonal())
    seen = truth @ jacobian.T + 3.0 * rng.normal(size=(40000, 12))
    errors = np.linalg.solve(data + prior, jacobian.T @ seen.T).T - truth
    freedom = 12 - np.trace(np.linalg.solve(data + prior, data))
    wanted, noise = covariance_and_noise(data, prior, squares=9.0 * freedom, count=12)
    assert noise == pytest.approx(3.0)
    np.testing.assert_allclose(np.cov(errors.T), wanted, atol=0.05 * wanted.max())


def test_residuals_add_up_to_the_loss(head):
    fit = fit_landmarks(head, drawn(head, 3)[2], settings=replace(SETTINGS, loss="squared"))
    terms = told(fit).residuals
    assert {"features", "outline", "pupils", "shape", "expression", "jaw", "gaze", "focal length"} <= set(terms)
    assert sum(term.cost for term in terms.values()) == pytest.approx(fit.loss)
    assert terms["pupils"].count == 20 and terms["shape"].count == head.n_shape


def test_units_are_those_of_the_parameters(head):
    """A step of the solver moves the parameters by `natural_units`, to first order."""
    prepared, state, _ = drawn(head, 2)
    columns = natural_columns(prepared.model.columns, free_focal=True)
    step = 1e-6 * np.random.default_rng(0).normal(size=max(c.stop for c in columns.values()))
    after, natural = moved(state, step, prepared.model.columns), natural_units(state, columns) @ step
    np.testing.assert_allclose(after.translation - state.translation, natural[columns["translation"]], atol=1e-11)
    assert after.log_focal - state.log_focal == pytest.approx(natural[columns["log_focal"]][0])


def test_vertex_deviation_of_the_head_ignores_the_pose(head):
    fit = fit_landmarks(head, drawn(head, 4)[2], settings=SETTINGS)
    ids = np.array([1, 33, 263, 152, 600])
    form, world = (vertex_deviation(head, fit, vertices=ids, frame=frame) for frame in ("head", "world"))
    assert form.shape == (5, 3) and (form > 0).all()
    # Without a known focal length, the distance is known to some centimetres only.
    assert world[:, 2].min() > 20.0 > form.max()
    np.testing.assert_allclose(vertex_deviation(head, fit)[ids], form, rtol=1e-6)


def test_more_noise_makes_wider_intervals(head):
    low, high = (fit_landmarks(head, drawn(head, 5, noise=n)[2], focal=1200.0, settings=SETTINGS) for n in (0.5, 2.0))
    ids = np.arange(0, 478, 50)
    assert vertex_deviation(head, low, vertices=ids).mean() < vertex_deviation(head, high, vertices=ids).mean()


def test_what_a_photo_does_not_tell_is_said_in_words(head):
    seen = drawn(head, 6)[2]
    words = " ".join(told(fit_landmarks(head, seen)).warnings)
    assert "focal length is not observable" in words and "out of the frame" not in words
    assert "focal length" not in " ".join(told(fit_landmarks(head, seen, focal=1200.0)).warnings)
    middle = float(np.median(seen.points[:, 0]))
    # The camera's centre stays that of the whole picture, so only the frame's right border moves.
    points = seen.points + np.array([SIZE[0] - middle, 0.0])
    points[points[:, 0] > SIZE[0]] = np.nan
    half = fit_landmarks(head, replace(seen, points=points), focal=1200.0)
    assert "out of the frame" in told(half).warnings[0]


def test_an_expression_that_opens_the_mouth_like_the_jaw_is_ambiguous(head):
    """The first expression component is made the jaw's own motion."""
    from flamehead.fit import build_landmark_model, landmark_points

    arrays = head.arrays
    ids = np.arange(478)
    model = build_landmark_model(arrays, head.embeddings["mediapipe478"], n_shape=1, n_expression=1)
    opening = landmark_points(model, HeadState.zeros(1, 1))[1][..., model.columns.jaw.start]
    basis = arrays.expression_basis.copy()
    basis[ids, :, 0] = 0.2 * opening
    twin = replace(head, arrays=replace(arrays, expression_basis=basis), fingerprint="twin")
    fit = fit_landmarks(twin, drawn(twin, 7)[2], focal=1200.0)
    assert any("Jaw and expression are ambiguous" in sentence for sentence in told(fit).warnings)


def test_the_posterior_is_lazy_and_travels_with_the_fit(head):
    fit = fit_landmarks(head, drawn(head, 8)[2], focal=1200.0)
    assert "posterior" not in vars(fit)
    assert fit.posterior is fit.posterior
    again = pickle.loads(pickle.dumps(replace(fit)))
    np.testing.assert_array_equal(told(again).covariance, told(fit).covariance)


def test_fits_without_evidence_say_so(head):
    fit = replace(fit_landmarks(head, drawn(head, 9)[2]), evidence=None)
    assert fit.posterior is None
    for ask in (lambda: vertex_deviation(head, fit), lambda: expected_params(fit)):
        with pytest.raises(InputError, match=r"holds no posterior .* fit again\."):
            ask()
    with pytest.raises(InputError, match="belongs to the model tiny"):
        vertex_deviation(replace(head, fingerprint="other"), fit_landmarks(head, drawn(head, 9)[2]))


def test_the_expected_head_keeps_dtype_and_padding(head):
    single = replace(head, template=torch.zeros(1))
    fit = fit_landmarks(single, drawn(head, 10)[2], settings=replace(SETTINGS, n_shape=5, n_expression=3))
    mean = expected_params(fit)
    assert mean.shape.dtype == torch.float32 and not mean.shape[5:].any()
    assert float(mean.translation[2]) < float(fit.params.translation[2])


def test_the_system_is_that_of_the_fit(head):
    prepared, _, seen = drawn(head, 11)
    targets, start = start_pose(prepared, seen, SETTINGS, focal=1200.0)
    system = landmark_system(prepared, targets, start, SETTINGS, free_focal=False, prior_focal=1200.0)
    assert np.linalg.eigvalsh(system.data + system.prior).min() > 0 and system.count == 2 * len(targets.seen)


def test_the_summary_is_short_and_plain(head):
    known, estimated = (fit_landmarks(head, drawn(head, 12)[2], focal=focal) for focal in (1200.0, None))
    summary = describe_uncertainty(head, estimated, vertices=np.arange(478))
    assert summary["warnings"] == list(told(estimated).warnings)
    assert 0.1 < summary["vertex_mm"] < 10.0 and 0.0 < summary["pose_degrees"] < 10.0
    assert summary["residuals"]["features"] == pytest.approx(told(estimated).residuals["features"].rms)
    assert describe_uncertainty(head, known)["focal_percent"] is None
    assert describe_uncertainty(head, replace(known, evidence=None)) == {}
