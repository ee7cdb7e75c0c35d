import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from flamehead.errors import InputError
from flamehead.geometry.intersections import self_intersections
from flamehead.geometry.similarity import align_points


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
def test_a_similarity_is_undone(seed, scale):
    rng = np.random.default_rng(seed)
    x, shift = rng.normal(size=(10, 3)), rng.normal(size=3)
    turn = Rotation.from_rotvec(2.0 * rng.normal(size=3)).as_matrix()
    found = align_points(x, scale * x @ turn.T + shift)
    assert found.scale == pytest.approx(scale)
    np.testing.assert_allclose(found.rotation, turn, atol=1e-9)
    np.testing.assert_allclose(found.apply(x), scale * x @ turn.T + shift, atol=1e-9 * scale + 1e-12)


def test_a_mirror_image_is_never_answered_by_a_reflection():
    x = np.random.default_rng(0).normal(size=(20, 3))
    assert np.linalg.det(align_points(x, x * [-1, 1, 1]).rotation) == pytest.approx(1.0)


def test_a_robust_similarity_forgets_outliers():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 3))
    y = 2.0 * x + 1.0
    y[:10] += 5.0 * rng.normal(size=(10, 3))
    plain, robust = align_points(x, y), align_points(x, y, robust=True)
    assert abs(robust.scale - 2.0) < 1e-3 < abs(plain.scale - 2.0)


@pytest.mark.parametrize("points", [np.zeros((5, 3)), np.arange(5.0)[:, None] * np.ones(3), np.eye(3)[:2]])
def test_points_without_an_orientation_are_refused(points):
    with pytest.raises(InputError, match="give"):
        align_points(points, points)


def test_a_sphere_does_not_cut_itself_and_two_do():
    import trimesh

    ball = trimesh.creation.icosphere(2)
    v, f = np.asarray(ball.vertices), np.asarray(ball.faces)
    assert len(self_intersections(v, f)) == 0
    both = np.concatenate([v, v + np.array([0.9, 0.1, 0.2])]), np.concatenate([f, f + len(v)])
    pairs = self_intersections(*both)
    assert len(pairs) > 20
    # Only faces of different balls cut each other.
    assert ((pairs < len(f)).sum(axis=1) == 1).all()
    assert len(self_intersections(np.concatenate([v, v + np.array([2.5, 0.0, 0.0])]), both[1])) == 0
