"""One identity in several photos."""

import pickle

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from flamehead.data import Observation
from flamehead.errors import InputError
from flamehead.fit import LandmarkFitSettings, fit_landmarks, fit_same_person, landmark_positions, project
from flamehead.fit._prepare import prepare
from flamehead.fit.landmark_model import HeadState

SIZE, FOCAL = (1000, 1000), 1200.0


def told(fit):
    """The posterior of a fit that has one."""
    assert fit.posterior is not None
    return fit.posterior


def photos(head, yaws, *, seed=0, noise=0.5, same=True):
    """Landmarks of one head (or of several) in photos with expressions of their own, and the identities."""
    rng = np.random.default_rng(seed)
    prepared = prepare(head, "mediapipe478", n_shape=100, n_expression=60, with_other=False)
    shape, seen, shapes = np.clip(rng.normal(size=head.n_shape), -2, 2), [], []
    for yaw in yaws:
        shapes.append(shape if same or not seen else np.clip(2 * rng.normal(size=head.n_shape), -3, 3))
        state = HeadState(
            shape=shapes[-1],
            expression=0.4 * rng.normal(size=head.n_expression),
            neck=np.zeros(3),
            jaw=np.array([rng.uniform(0.0, 0.2), 0.0, 0.0]),
            eyes=np.zeros((2, 2)),
            root=Rotation.from_euler("y", yaw, degrees=True).as_matrix(),
            translation=np.append(rng.uniform(-0.05, 0.05, 2), -0.7),
            log_focal=np.log(FOCAL),
        )
        points = project(landmark_positions(prepared.everything, state), FOCAL, 0.5 * np.array(SIZE))
        seen.append(Observation(points + noise * rng.normal(size=points.shape), "mediapipe478", SIZE))
    return seen, shapes


def form_error(head, shape, truth):
    """RMS distance of the neutral faces after the best shift, millimetres."""
    difference = head.arrays.shape_basis[:478] @ (np.asarray(shape) - truth)
    return 1000 * np.linalg.norm(difference - difference.mean(axis=0), axis=1).mean()


def test_the_identity_is_shared_and_better_than_that_of_one_photo(head):
    gain = []
    for seed in range(4):
        seen, shapes = photos(head, [-35.0, 0.0, 35.0], seed=seed)
        shared = fit_same_person(head, seen, focals=[FOCAL] * 3)
        assert shared.status.converged and not shared.warnings and len(shared.fits) == 3
        assert all(torch.equal(fit.params.shape, shared.neutral.shape) for fit in shared.fits)
        assert not shared.neutral.expression.any()
        alone = [fit_landmarks(head, one, focal=FOCAL).params.shape for one in seen]
        errors = [form_error(head, shape, shapes[0]) for shape in (shared.neutral.shape, *alone)]
        gain.append(errors[0] / np.mean(errors[1:]))
    assert np.mean(gain) < 0.85


def test_one_photo_is_the_plain_fit(head):
    seen, _ = photos(head, [15.0])
    settings = LandmarkFitSettings(cost_tolerance=1e-9)
    shared, plain = fit_same_person(head, seen, settings=settings), fit_landmarks(head, seen[0], settings=settings)
    assert shared.loss == pytest.approx(plain.loss, rel=1e-6)
    torch.testing.assert_close(shared.fits[0].params.shape, plain.params.shape, atol=2e-3, rtol=0)
    ours, theirs = told(shared.fits[0]), told(plain)
    np.testing.assert_allclose(ours.deviation["shape"], theirs.deviation["shape"], rtol=1e-2)
    assert ours.residuals.keys() == theirs.residuals.keys() and ours.warnings == theirs.warnings


def test_more_photos_tell_more(head):
    seen, _ = photos(head, [-30.0, 0.0, 30.0])
    one, three = fit_landmarks(head, seen[1]), fit_same_person(head, seen).fits[1]
    assert told(three).deviation["shape"].mean() < told(one).deviation["shape"].mean()
    again = pickle.loads(pickle.dumps(three))
    np.testing.assert_allclose(told(again).covariance, told(three).covariance)


def test_each_photo_keeps_its_own_lens(head):
    seen, _ = photos(head, [-20.0, 20.0])
    fits = fit_same_person(head, seen, focals=[FOCAL, None]).fits
    assert float(fits[0].camera.focal[0]) == pytest.approx(FOCAL)
    assert "log_focal" not in told(fits[0]).columns and "log_focal" in told(fits[1]).columns


def test_one_lens_is_better_known(head):
    seen, _ = photos(head, [-25.0, 0.0, 25.0], seed=2)
    tight = LandmarkFitSettings(cost_tolerance=1e-9)
    own, one = (fit_same_person(head, seen, one_lens=lens, settings=tight).fits for lens in (False, True))
    focals = [float(fit.camera.focal[0]) for fit in one]
    assert focals == pytest.approx([focals[0]] * 3) and len({float(fit.camera.focal[0]) for fit in own}) == 3
    assert told(one[0]).deviation["log_focal"] < told(own[0]).deviation["log_focal"]
    assert told(one[0]).deviation["log_focal"] == pytest.approx(told(one[2]).deviation["log_focal"])
    # The order of the photos does not matter, and one that is known stays as it is.
    back = fit_same_person(head, seen[::-1], one_lens=True, settings=tight).fits
    assert float(back[0].camera.focal[0]) == pytest.approx(focals[0], rel=1e-3)
    mixed = fit_same_person(head, seen, focals=[FOCAL, None, None], one_lens=True, settings=tight).fits
    focals = [float(fit.camera.focal[0]) for fit in mixed]
    assert focals[0] == pytest.approx(FOCAL) and focals[1] == pytest.approx(focals[2])
    assert told(mixed[1]).deviation["log_focal"] > 0


def test_another_person_is_noticed(head):
    seen, _ = photos(head, [0.0, 5.0, -10.0], same=False, noise=0.2)
    tight = LandmarkFitSettings(expression_sigma=0.4)
    shared = fit_same_person(head, seen, focals=[FOCAL] * 3, settings=tight)
    assert shared.warnings and all("may show another person" in sentence for sentence in shared.warnings)


def test_numbers_must_match(head):
    seen, _ = photos(head, [0.0])
    for photo_list, focals in (([], []), (seen, [1.0, 2.0])):
        with pytest.raises(InputError, match="focal lengths; give one or more"):
            fit_same_person(head, photo_list, focals=focals)
