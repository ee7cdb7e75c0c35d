"""The measures of a track have the values that follow from their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from _track_measures import (
    aspect_ratio,
    correlation,
    eye_openings,
    focal_error_percent,
    jitter,
    landmark_errors_percent,
    lip_opening,
    outer_eye_distance,
    projected_errors_percent,
    rotation_errors,
    still_frames,
    summary,
)
from flamehead import Observation, landmark_error_percent
from flamehead.geometry.landmark_sets import LEFT_EYE_RING, LIPS_INNER, MEDIAPIPE_105, RIGHT_EYE_RING


def face(frames=5, seed=0, dimensions=3):
    return np.random.default_rng(seed).normal(size=(frames, 478, dimensions))


@given(st.floats(0.0, np.pi), st.integers(0, 1000))
def test_a_turn_by_an_angle_is_that_many_degrees(angle, seed):
    random = np.random.default_rng(seed)
    axis = random.normal(size=3)
    base = Rotation.from_quat(random.normal(size=4)).as_matrix()
    turned = base @ Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    # asin is flat at its end: half a turn is known to some 1e-8 of its square root.
    assert rotation_errors(turned[None], base[None])[0] == pytest.approx(np.degrees(angle), abs=1e-5)


def test_tiny_turns_are_not_lost_in_rounding():
    turn = Rotation.from_rotvec([0.0, 1e-7, 0.0]).as_matrix()
    assert rotation_errors(turn[None], np.eye(3)[None])[0] == pytest.approx(np.degrees(1e-7), rel=1e-5)


def test_projected_error_counts_visible_vertices_only():
    truth = np.random.default_rng(0).uniform(0, 500, (4, 30, 2))
    visible = np.random.default_rng(1).random((4, 30)) < 0.5
    found = truth + np.where(visible[..., None], [3.0, 4.0], 100.0)
    np.testing.assert_allclose(projected_errors_percent(found, truth, visible, np.full(4, 200.0)), 2.5)
    assert np.isnan(projected_errors_percent(found, truth, np.zeros_like(visible), np.full(4, 200.0))).all()


def test_landmark_error_is_that_of_the_package():
    detected, noise = face(dimensions=2), np.random.default_rng(3).normal(size=(5, 478, 2))
    detected[2] = np.nan
    found = landmark_errors_percent(detected, (detected + noise)[:, MEDIAPIPE_105], MEDIAPIPE_105)
    for t in (0, 1, 3, 4):
        seen = Observation(detected[t], "mediapipe478", (1, 1))
        assert found[t] == pytest.approx(landmark_error_percent(seen, detected[t] + noise[t]))
    assert np.isnan(found[2])


@pytest.mark.parametrize("ring", [LEFT_EYE_RING, RIGHT_EYE_RING, LIPS_INNER], ids=["left eye", "right eye", "lips"])
def test_aspect_ratio_of_an_ellipse(ring):
    """Points at equal x on both edges, so that each pair is a chord of the ellipse."""
    half = len(ring) // 2
    angle = np.pi * np.arange(len(ring)) / half
    points = np.zeros((3, 478, 3))
    for t, height in enumerate((0.0, 0.3, 1.0)):
        points[t, ring] = np.stack([np.cos(angle), height * np.sin(angle), 0 * angle], 1)
    want = np.sin(np.pi * np.arange(1, half) / half).mean() * np.array([0.0, 0.3, 1.0])
    np.testing.assert_allclose(aspect_ratio(points, ring), want, atol=1e-12)


@given(st.integers(0, 100), st.floats(0.1, 10.0))
def test_openings_do_not_change_with_pose_and_scale(seed, scale):
    points = face(seed=seed)
    quaternion = np.random.default_rng(seed).normal(size=4)
    moved = scale * points @ Rotation.from_quat(quaternion).as_matrix().T + [1.0, 2.0, 3.0]
    np.testing.assert_allclose(eye_openings(moved), eye_openings(points), rtol=1e-9)
    np.testing.assert_allclose(lip_opening(moved), lip_opening(points), rtol=1e-9)
    np.testing.assert_allclose(outer_eye_distance(moved), scale * outer_eye_distance(points), rtol=1e-9)


@given(st.floats(0.01, 100.0), st.floats(-10.0, 10.0))
def test_correlation_ignores_scale_and_offset(scale, offset):
    curve = np.sin(np.arange(50.0))
    assert correlation(scale * curve + offset, curve) == pytest.approx(1.0)
    assert correlation(-scale * curve + offset, curve) == pytest.approx(-1.0)


def test_correlation_leaves_out_what_is_missing():
    curve = np.sin(np.arange(50.0))
    holes = np.where(np.arange(50) % 7 == 0, np.nan, curve)
    assert correlation(holes, curve) == pytest.approx(1.0)
    assert np.isnan(correlation(np.ones(50), curve))
    assert np.isnan(correlation(np.full(50, np.nan), curve))


def test_focal_error_has_a_sign():
    truth = np.full((9, 2), 800.0)
    assert focal_error_percent(1.1 * truth, truth) == pytest.approx(10.0)
    assert focal_error_percent(0.7 * truth, truth) == pytest.approx(-30.0)


def test_still_frames_did_not_move():
    detected = np.zeros((8, 478, 2))
    detected[4:] += 1.0
    detected[6, 0] = np.nan
    # Frame 4 has jumped; 6 is unknown, so that 5 and 7 lack a neighbour, as the ends do.
    assert still_frames(detected).tolist() == [False, True, True, True, False, False, False, False]


def test_jitter_of_noise_and_of_steady_motion():
    t = np.arange(2000.0)[:, None, None]
    steady = np.concatenate([0.1 * t, -0.2 * t], axis=2) * np.ones((1, 5, 1))
    still = np.ones(2000, dtype=bool)
    assert jitter(steady, still) == pytest.approx(0.0, abs=1e-9)
    noisy = steady + np.random.default_rng(0).normal(0, 0.3, steady.shape)
    # The second difference of white noise has six times its variance; lengths in the plane are Rayleigh.
    assert jitter(noisy, still) == pytest.approx(0.3 * np.sqrt(6) * np.sqrt(np.pi / 2), rel=0.05)
    assert np.isnan(jitter(noisy, ~still))


def test_summary_skips_nan():
    values = np.concatenate([np.arange(101.0), [np.nan]])
    assert summary("x", values) == {"x_mean": 50.0, "x_p95": 95.0, "x_worst": 100.0}
    assert all(np.isnan(value) for value in summary("x", np.full(3, np.nan)).values())
