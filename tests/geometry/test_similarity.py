"""Closed-form alignment: it finds a known motion, and no other motion is better."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flamehead.errors import InputError
from flamehead.geometry.similarity import Similarity, align_points, inverted, moved


def random_similarity(rng, *, scaled=True):
    return Similarity(
        float(np.exp(rng.normal())) if scaled else 1.0,
        Rotation.from_quat(rng.normal(size=4)).as_matrix(),
        rng.normal(size=3),
    )


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("count", [3, 4, 50])
def test_finds_a_known_motion(scaled, count):
    rng = np.random.default_rng(count)
    for _ in range(20):
        known, x = random_similarity(rng, scaled=scaled), rng.normal(size=(count, 3))
        found = align_points(x, moved(x, known), weights=rng.uniform(0.1, 1.0, count), scaled=scaled)
        np.testing.assert_allclose(found.scale, known.scale, rtol=1e-9)
        np.testing.assert_allclose(found.rotation, known.rotation, atol=1e-7)
        np.testing.assert_allclose(found.translation, known.translation, atol=1e-7)
        np.testing.assert_allclose(moved(moved(x, known), inverted(known)), x, atol=1e-12)


@pytest.mark.parametrize("scaled", [True, False])
def test_no_near_motion_is_better_and_mirrored_points_stay_unmirrored(scaled):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(30, 3)), rng.uniform(size=30)
    for y in (x + 0.3 * rng.normal(size=x.shape), x * [-1, 1, 1]):
        best = align_points(x, y, weights=w, scaled=scaled)
        assert np.linalg.det(best.rotation) == pytest.approx(1.0)
        cost = w @ ((moved(x, best) - y) ** 2).sum(axis=1)
        for _ in range(200):
            step = 1e-3 * rng.normal(size=7)
            other = Similarity(
                best.scale * (np.exp(step[6]) if scaled else 1.0),
                Rotation.from_rotvec(step[:3]).as_matrix() @ best.rotation,
                best.translation + step[3:6],
            )
            assert w @ ((moved(x, other) - y) ** 2).sum(axis=1) >= cost - 1e-12


@pytest.mark.parametrize(
    "x, y, says",
    [
        (np.zeros((2, 3)), np.zeros((2, 3)), "three or more"),
        (np.eye(3), np.zeros((4, 3)), "Cannot align points"),
        (np.arange(12.0).reshape(4, 3), np.random.default_rng(0).normal(size=(4, 3)), "one line"),
        (np.full((4, 3), np.nan), np.zeros((4, 3)), "NaN"),
    ],
)
def test_what_cannot_be_aligned_is_named(x, y, says):
    with pytest.raises(InputError, match=says):
        align_points(x, y)


def test_a_robust_similarity_forgets_outliers():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 3))
    y = 2.0 * x + 1.0
    y[:10] += 5.0 * rng.normal(size=(10, 3))
    plain, robust = align_points(x, y), align_points(x, y, robust=True)
    assert abs(robust.scale - 2.0) < 1e-3 < abs(plain.scale - 2.0)
