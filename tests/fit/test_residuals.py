import numpy as np
import pytest

from flamehead.fit.residuals import (
    CAMERA_FROM_MODEL,
    ImageTargets,
    gaussian_prior,
    project,
    project_residuals,
    soft_limits,
)

CENTER = np.array([320.0, 240.0])


def scene(seed, n=20, unknowns=7):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3)) * 0.1 - [0.0, 0.0, 0.8]
    return rng, points, rng.normal(size=(n, 3, unknowns)) * 0.05


def test_a_camera_in_opencv_convention_sees_the_same_pixels():
    _, points, _ = scene(0)
    x = points @ CAMERA_FROM_MODEL.T
    np.testing.assert_allclose(project(points, 900.0, CENTER), CENTER + 900.0 * x[:, :2] / x[:, 2:])
    assert np.linalg.det(CAMERA_FROM_MODEL) == pytest.approx(1.0)


def test_points_behind_the_camera_are_nan_and_poison_the_residuals():
    points = np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.5], [0.1, 0.1, 0.0]])
    pixels = project(points, 500.0, CENTER)
    np.testing.assert_array_equal(np.isnan(pixels).all(axis=1), [False, True, True])


@pytest.mark.parametrize("seed", range(3))
def test_projection_jacobian_agrees_with_central_differences(seed):
    rng, points, jacobian = scene(seed)
    seen, whitening = rng.uniform(0, 400, (20, 2)), rng.normal(size=(20, 2, 2))
    targets = ImageTargets(seen, whitening, CENTER)

    def at(step):
        return project_residuals(points + jacobian @ step[:-1], jacobian, targets, log_focal=6.5 + step[-1])

    residuals, analytic = at(np.zeros(8))
    numeric = np.stack([(at(1e-6 * e)[0] - at(-1e-6 * e)[0]) / 2e-6 for e in np.eye(8)], axis=1)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())
    expected = np.einsum("lab,lb->la", whitening, project(points, np.exp(6.5), CENTER) - seen)
    np.testing.assert_allclose(residuals, expected.ravel())


def test_zero_whitening_ignores_a_point():
    _, points, jacobian = scene(0)
    whitening = np.tile(np.eye(2), (20, 1, 1))
    whitening[3] = 0.0
    targets = ImageTargets(np.zeros((20, 2)), whitening, CENTER)
    residuals, rows = project_residuals(points, jacobian, targets, log_focal=6.5)
    assert not residuals[6:8].any()
    assert not rows[6:8].any()


def test_prior_slopes_agree_with_central_differences():
    values = np.linspace(-4.0, 4.0, 33) + 0.01
    gaussian = {"mean": 0.3, "sigma": np.linspace(0.5, 2.0, 33)}
    limits = {"low": -1.5, "high": np.linspace(1.0, 2.5, 33), "sigma": 0.2}
    for prior, options in ((gaussian_prior, gaussian), (soft_limits, limits)):
        _, slope = prior(values, **options)
        numeric = (prior(values + 1e-6, **options)[0] - prior(values - 1e-6, **options)[0]) / 2e-6
        np.testing.assert_allclose(slope, numeric, rtol=1e-6)


def test_soft_limits_are_silent_inside():
    residuals, slope = soft_limits(np.array([-1.0, 0.5, 2.0]), low=-1.0, high=2.0, sigma=0.1)
    np.testing.assert_array_equal(residuals, 0.0)
    np.testing.assert_array_equal(slope, 0.0)
    outside, _ = soft_limits(np.array([-1.2, 2.4]), low=-1.0, high=2.0, sigma=0.1)
    np.testing.assert_allclose(outside, [-2.0, 4.0])
