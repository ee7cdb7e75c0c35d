"""What is smooth stays, noise goes, edges keep; gaps are bridged or held; nothing crosses a cut."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flamehead.data import FrameStatus
from flamehead.track.follow import RowLayout
from flamehead.track.settings import TrackSettings
from flamehead.track.smooth import bridged, noise_of, reliability, smooth, whittaker

LAYOUT = RowLayout(4)
JOINT, MIDDLE = np.array([0.0, -0.12, 0.0]), np.array([0.0, -0.02, 0.06])
NAMES = ("expression", "jaw", "eyes", "root", "translation", "light")


def track(count, **parts):
    """Rows of a head that stands still, but for what is given; all tracked, all pixels worth the same."""
    rows = np.zeros((count, LAYOUT.width))
    found = LAYOUT.parts(rows)
    found["translation"][:] = [0.0, 0.0, -0.6]
    found["quality"][:, 1:] = [1.0, 0.02, 0.9, 1000.0]
    for name, values in parts.items():
        found[name][:] = values
    return rows


def smoothed(rows, *, times=None, scene=None, **settings):
    count = len(rows)
    times = np.arange(count) / 25 if times is None else times
    scene = np.zeros(count, dtype=int) if scene is None else scene
    return smooth(
        rows, LAYOUT, times=times, scene=scene, settings=TrackSettings(**settings), joint=JOINT, middle=MIDDLE
    )


def lose(rows, where):
    quality = LAYOUT.parts(rows)["quality"]
    quality[where, 0], quality[where, 1:] = FrameStatus.LOST, np.nan


def noise(seed, count, width, sigma):
    return sigma * np.random.default_rng(seed).normal(size=(count, width))


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_a_head_that_stands_still_is_left_alone(count):
    rows = track(count, root=[0.1, -0.3, 0.05], jaw=[0.1, 0, 0], expression=0.7, eyes=0.2, light=1.5)
    np.testing.assert_allclose(smoothed(rows), rows, rtol=0, atol=1e-9)


def test_steady_movements_stay():
    t = np.linspace(-1, 1, 60)[:, None]
    rows = track(60, expression=0.5 * t, jaw=0.2 * t, eyes=0.1 * t, root=0.3 * t * [0.2, 1.0, 0.1], light=1 + 0.3 * t)
    found = smoothed(rows)
    for name in NAMES:
        before, after = LAYOUT.parts(rows)[name], LAYOUT.parts(found)[name]
        # The tie holds back a line's ends a little.
        np.testing.assert_allclose(after, before, rtol=0, atol=2e-3)
        np.testing.assert_allclose(after[10:-10], before[10:-10], rtol=0, atol=2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_reduced(seed):
    t = np.linspace(0, 3, 150)[:, None]
    clean = track(150, expression=0.3 * np.sin(t), root=0.2 * np.sin(t) * [0.3, 1.0, 0.0], jaw=0.05 * np.cos(t))
    rows = clean.copy()
    for k, (name, sigma) in enumerate({"expression": 0.1, "jaw": 0.01, "eyes": 0.02, "root": 0.01}.items()):
        part = LAYOUT.parts(rows)[name]
        part += noise(10 * seed + k, len(part), part.shape[1], sigma)
    found = smoothed(rows)
    for name, share in {"expression": 0.85, "jaw": 0.85, "eyes": 0.85, "root": 0.6}.items():
        wanted, before, after = (LAYOUT.parts(x)[name] for x in (clean, rows, found))
        assert np.std(after - wanted) < share * np.std(before - wanted)
        bends = [np.std(np.diff(x, n=2, axis=0)) for x in (before, after)]
        assert bends[1] < (0.3 if name == "root" else 0.6) * bends[0]


def test_a_noisy_turn_does_not_move_the_face_in_the_picture():
    """The head turns about its neck: noise of the turn and of the place hang together, and go together."""
    turn = noise(0, 100, 3, 0.02)
    rows = track(100, root=turn)
    place = [0.01, 0.02, -0.6] - Rotation.from_rotvec(turn).apply(MIDDLE - JOINT) - JOINT
    LAYOUT.parts(rows)["translation"][:] = place
    parts = LAYOUT.parts(smoothed(rows))
    point = Rotation.from_rotvec(parts["root"]).apply(MIDDLE - JOINT) + JOINT + parts["translation"]
    np.testing.assert_allclose(point, np.tile([0.01, 0.02, -0.6], (100, 1)), atol=1e-9)


@pytest.mark.parametrize("name", ["expression", "eyes"])
def test_steps_and_blinks_keep_their_edges(name):
    values = np.zeros((120, 4))
    values[60:] = 1.0
    values[20:23] = [[0.6], [1.0], [0.5]]
    rows = track(120, **{name: values + noise(1, 120, 4, 0.01)})
    found = LAYOUT.parts(smoothed(rows))[name]
    np.testing.assert_allclose(found, values, rtol=0, atol=0.05)
    assert (found[60] - found[59]).min() > 0.93


def test_gaps_are_bridged_up_to_a_length_and_held_beyond():
    t = np.arange(100.0)[:, None]
    rows = track(100, root=0.005 * t * [0, 1.0, 0], expression=np.where(t < 70, 0.0, 1.0))
    lose(rows, np.r_[0:5, 20:30, 60:90])
    LAYOUT.parts(rows)["root"][np.r_[0:5, 20:30, 60:90]] = 9.0
    LAYOUT.parts(rows)["translation"][:5] = np.nan
    parts = LAYOUT.parts(smoothed(rows, bridge_seconds=1.0))
    status = parts["quality"][:, 0]
    assert (status[20:30] == FrameStatus.BRIDGED).all()
    assert (status[np.r_[0:5, 60:90]] == FrameStatus.LOST).all()
    assert (status[np.r_[5:20, 30:60, 90:100]] == FrameStatus.TRACKED).all()
    np.testing.assert_allclose(parts["root"][20:30, 1], 0.005 * np.arange(20, 30), atol=1e-3)
    for name in NAMES:
        np.testing.assert_array_equal(parts[name][:5], np.tile(parts[name][5], (5, 1)))
        np.testing.assert_array_equal(parts[name][60:75], np.tile(parts[name][59], (15, 1)))
        np.testing.assert_array_equal(parts[name][76:90], np.tile(parts[name][90], (14, 1)))
        assert np.isfinite(parts[name]).all()
    # Measures of frames without a face are not invented.
    assert np.isnan(parts["quality"][np.r_[0:5, 20:30, 60:90], 1:]).all()


@pytest.mark.parametrize("smooth_it", [True, False])
def test_a_bridge_is_built_whether_or_not_frames_are_smoothed(smooth_it):
    rows = track(30, jaw=noise(2, 30, 3, 0.05), light=1.0)
    lose(rows, [10, 11])
    found = smoothed(rows, smooth=smooth_it)
    kept = np.r_[0:10, 12:30]
    jaw, before = LAYOUT.parts(found)["jaw"], LAYOUT.parts(rows)["jaw"]
    assert (LAYOUT.parts(found)["quality"][10:12, 0] == FrameStatus.BRIDGED).all()
    assert np.allclose(jaw[kept], before[kept], atol=1e-5) != smooth_it
    if not smooth_it:
        straight = before[9] + np.array([[1], [2]]) / 3 * (before[12] - before[9])
        np.testing.assert_allclose(jaw[10:12], straight, atol=1e-3)


def test_nothing_crosses_a_cut():
    scene = np.repeat([0, 1], 30)
    rows = track(60, root=np.repeat([[0.0], [0.4]], 30, axis=0), expression=noise(3, 60, 4, 0.1))
    lose(rows, np.r_[26:33])
    found = smoothed(rows, scene=scene)
    alone = [smoothed(rows[scene == k], scene=scene[scene == k]) for k in (0, 1)]
    np.testing.assert_array_equal(found, np.concatenate(alone))
    parts = LAYOUT.parts(found)
    assert (parts["quality"][26:33, 0] == FrameStatus.LOST).all()
    np.testing.assert_allclose(parts["root"][:30], 0.0, atol=1e-9)
    np.testing.assert_allclose(parts["root"][30:], 0.4, atol=1e-9)


def test_a_shot_without_a_face_stays_as_it_is():
    rows = track(20)
    lose(rows, slice(10, 20))
    LAYOUT.parts(rows)["translation"][10:] = np.nan
    found = smoothed(rows, scene=np.repeat([0, 1], 10))
    assert (LAYOUT.parts(found)["quality"][10:, 0] == FrameStatus.LOST).all()
    np.testing.assert_allclose(found[:10], rows[:10], atol=1e-9)


def test_turns_near_a_half_turn_do_not_jump():
    angle = np.linspace(np.pi - 0.3, np.pi + 0.3, 60)
    true = Rotation.from_rotvec(angle[:, None] * [0.1, 0.0, np.sqrt(0.99)])
    rows = track(60, root=true.as_rotvec())
    assert np.abs(np.diff(LAYOUT.parts(rows)["root"], axis=0)).max() > 6.0
    found = Rotation.from_rotvec(LAYOUT.parts(smoothed(rows))["root"])
    assert (found * true.inv()).magnitude().max() < 1e-3


def test_frames_whose_pixels_are_worth_little_are_passed_by():
    jaw = np.zeros((80, 3))
    jaw[40:46] = 0.3
    rows = track(80, jaw=jaw + noise(4, 80, 3, 0.002))
    trusted = LAYOUT.parts(smoothed(rows))["jaw"]
    LAYOUT.parts(rows)["quality"][40:46, 4] = 50.0
    doubted = LAYOUT.parts(smoothed(rows))["jaw"]
    assert np.abs(trusted[42] - 0.3).max() < 0.03 and np.abs(doubted[40:46]).max() < 0.03


def test_a_hand_that_hides_a_third_of_the_worth_does_not_turn_the_head():
    root = np.zeros((80, 3))
    root[40:48, 1] = 0.2
    rows = track(80, root=root + noise(5, 80, 3, 0.002))
    worth = LAYOUT.parts(rows)["quality"][:, 4]
    LAYOUT.parts(rows)["quality"][39:49, 4] = 0.2 * np.median(worth)
    assert np.abs(LAYOUT.parts(smoothed(rows))["root"]).max() < 0.02


def test_frames_that_are_worth_a_little_less_keep_their_turn():
    root = np.zeros((80, 3))
    root[:, 1] = 0.5 * np.sin(np.arange(80) / 6.0)
    rows = track(80, root=root)
    worth = LAYOUT.parts(rows)["quality"][:, 4]
    LAYOUT.parts(rows)["quality"][30:60, 4] = 0.45 * np.median(worth)
    assert np.abs(LAYOUT.parts(smoothed(rows))["root"] - root).max() < 0.02


def test_reliability_is_relative_to_the_usual_frame():
    quality = LAYOUT.parts(track(20))["quality"].copy()
    np.testing.assert_array_equal(reliability(quality), 1.0)
    quality[10, 4] = 60.0
    found = reliability(quality)
    np.testing.assert_allclose(found[9:12], 0.1)
    np.testing.assert_array_equal(np.delete(found, [9, 10, 11]), 1.0)
    np.testing.assert_allclose(reliability(quality * [1, 1, 1, 1, 7.0]), found)
    quality[:, 4] = np.nan
    np.testing.assert_array_equal(reliability(quality), 1.0)


@pytest.mark.parametrize("sigma", [1e-3, 1.0, 50.0])
def test_noise_is_measured_below_movements(sigma):
    t = np.arange(2000.0)[:, None]
    values = noise(5, 2000, 3, sigma) + 40 * sigma * np.sin(t / 30)
    values[::40] += 30 * sigma
    np.testing.assert_allclose(noise_of(values), sigma, rtol=0.3)


def test_bridges_stand_on_both_sides_only():
    times = np.array([0, 1, 2, 3, 10, 11, 12, 13.0])
    seen = np.array([0, 1, 0, 1, 0, 1, 1, 0], dtype=bool)
    assert bridged(seen, times, 2.0).tolist() == [False, False, True, False, False, False, False, False]
    assert bridged(seen, times, 8.0).tolist() == [False, False, True, False, True, False, False, False]
    assert not bridged(np.zeros(5, dtype=bool), times[:5], 9.0).any()


@pytest.mark.parametrize("seed", range(3))
def test_whittaker_minimises_its_cost(seed):
    rng = np.random.default_rng(seed)
    x, w, r = rng.normal(size=30), rng.uniform(0, 1, 30), rng.uniform(0, 1, 28)

    def cost(y):
        bends, steps = np.diff(y, n=2), np.diff(y)
        return w @ (y - x) ** 2 + 2.5 * r @ bends**2 + 0.1 * steps @ steps

    y = whittaker(x, w, r, stiffness=2.5, tie=0.1)
    for _ in range(20):
        assert cost(y) < cost(y + 1e-4 * rng.normal(size=30))
