import numpy as np
import pytest

from flamehead.data import Observation
from flamehead.errors import InputError
from flamehead.fit import landmark_error_percent
from flamehead.fit._correspondence import OUTER_EYE_CORNERS, mesh_ids, rows_of

SIZES = {"mediapipe478": 478, "mediapipe468": 468, "mediapipe105": 105, "ibug68": 68}


def observation(scheme, seed=0):
    points = np.random.default_rng(seed).uniform(0, 100, (SIZES[scheme], 2))
    points[rows_of(scheme, OUTER_EYE_CORNERS)] = [[10.0, 50.0], [90.0, 50.0]]
    return Observation(points, scheme, (100, 100))


@pytest.mark.parametrize("scheme", SIZES)
def test_a_shift_counts_by_its_length_whatever_the_contour_does(scheme):
    seen = observation(scheme)
    fitted = seen.points + np.array([3.0, 4.0])
    outside = [8] if scheme == "ibug68" else rows_of(scheme, np.array([152])).tolist()
    if outside[0] >= 0:
        fitted[outside] += 1e4
    assert landmark_error_percent(seen, fitted) == pytest.approx(100 * 5.0 / 80.0)
    assert landmark_error_percent(seen, seen.points) == 0.0


@pytest.mark.parametrize("scheme", SIZES)
def test_points_that_either_side_lacks_are_left_out(scheme):
    seen = observation(scheme)
    fitted = seen.points + np.array([0.0, 8.0])
    rows = rows_of(scheme, np.array([4, 13]))
    fitted[rows[0]] = np.nan
    seen.points[rows[1]] = np.nan
    assert landmark_error_percent(seen, fitted) == pytest.approx(10.0)


def test_no_eye_distance_is_an_error():
    seen = observation("mediapipe478")
    seen.points[33] = np.nan
    with pytest.raises(InputError, match="outer eye corner"):
        landmark_error_percent(seen, seen.points)
    with pytest.raises(InputError, match="every fitted point"):
        landmark_error_percent(observation("ibug68"), np.full((68, 2), np.nan))
    assert len(mesh_ids("ibug68")) == 68
