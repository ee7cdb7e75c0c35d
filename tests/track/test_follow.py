"""A frame's row depends on its arguments only; pixels mend what the detector gets wrong; what is hidden is noticed."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from flamehead.data import FrameStatus
from flamehead.fit.landmark_model import HeadState
from flamehead.fit.pixels import PixelState
from flamehead.model import Flame, load_flame
from flamehead.track import TrackSettings, calibrate
from flamehead.track.face import LID_UNIT, tracked_face
from flamehead.track.follow import Follower, FrameQuality, RowLayout

ONLY = TrackSettings(landmarks_only=True)


@pytest.fixture(scope="module")
def follower(shot, calibrated, small_settings, look):
    return Follower(shot.flame, calibrated, small_settings, look)


@pytest.fixture(scope="module")
def by_landmarks(shot, calibrated):
    return Follower(shot.flame, calibrated, ONLY)


def poses(count=4):
    return [{"root": (0.0, 0.05 * k, 0.0), "jaw": (0.03 * k, 0.0, 0.0)} for k in range(count)]


@pytest.fixture(scope="module")
def frames(shot):
    """Pictures and exact landmarks of a head that turns and opens its mouth."""
    return [(shot.picture(20 + k, **pose), shot.points(**pose)) for k, pose in enumerate(poses())]


def followed(follower, frames):
    rows = []
    for picture, points in frames:
        rows.append(follower.step(picture, points, rows[-2:]))
    return np.stack(rows)


def quality(follower, row):
    return FrameQuality(*follower.layout.parts(row)["quality"].tolist())


def off(follower, row, points):
    """Mean distance of the model's landmarks from the truth, pixels."""
    head = follower.layout.unpack(row, follower.log_focal)[0].head
    return np.nanmean(np.linalg.norm(follower.fitted(head) - points, axis=1))


@pytest.mark.parametrize("n_expression", [0, 3, 62])
@pytest.mark.parametrize("seed", range(3))
def test_rows_and_states(n_expression, seed):
    rng, layout = np.random.default_rng(seed), RowLayout(n_expression)
    head = HeadState(
        np.zeros(0), rng.normal(size=n_expression), np.zeros(3), rng.normal(size=3), rng.normal(size=(2, 2)),
        Rotation.from_rotvec(rng.normal(size=3)).as_matrix(), rng.normal(size=3), 6.0,
    )  # fmt: skip
    status = FrameStatus(seed % len(FrameStatus))
    before = FrameQuality(status, *rng.uniform(size=len(fields(FrameQuality)) - 1).tolist())
    row = layout.pack(PixelState(head, np.zeros(0), rng.normal(size=(9, 3))), before)
    assert row.shape == (layout.width,) and row.dtype == np.float64
    state, after = layout.unpack(row, 6.0)
    assert after == before and state.head.log_focal == 6.0
    for name in ("expression", "jaw", "eyes", "translation"):
        np.testing.assert_array_equal(getattr(state.head, name), getattr(head, name))
    np.testing.assert_allclose(state.head.root, head.root, rtol=0, atol=1e-14)
    np.testing.assert_allclose(layout.pack(state, after), row, rtol=0, atol=1e-14)
    parts = layout.parts(np.tile(row, (2, 5, 1)))
    assert sum(part.shape[-1] for part in parts.values()) == layout.width
    assert all(part.shape[:-1] == (2, 5) for part in parts.values())


def test_the_pose_is_recovered(follower, frames):
    rows = followed(follower, frames)
    for pose, row, (_, points) in zip(poses(), rows, frames, strict=True):
        parts, found = follower.layout.parts(row), quality(follower, row)
        assert found.status == FrameStatus.TRACKED
        assert np.rad2deg(np.linalg.norm(parts["root"] - pose["root"])) < 2.0
        assert abs(parts["jaw"][0] - pose["jaw"][0]) < 0.05
        assert off(follower, row, points) < 1.0 and found.landmark_error < 1.5
        assert found.photometric_error < 0.03 and found.visible > 0.95 and found.worth > 3000.0


@pytest.mark.parametrize("bias", [(1.5, -1.0), (-1.0, 1.5)])
def test_pixels_mend_a_detector_that_errs(follower, by_landmarks, frames, bias):
    moved = [(picture, points + np.array(bias) * (k > 0)) for k, (picture, points) in enumerate(frames)]
    for k, (a, b) in enumerate(zip(followed(follower, moved), followed(by_landmarks, moved), strict=True)):
        exact = frames[k][1]
        assert not k or off(follower, a, exact) < 0.6 * off(by_landmarks, b, exact)


@pytest.mark.parametrize("only", [False, True])
def test_a_step_is_a_pure_function(follower, by_landmarks, shot, calibrated, look, frames, only):
    one = by_landmarks if only else follower
    rows = followed(one, frames)
    np.testing.assert_array_equal(followed(one, frames), rows)
    # From rows as a journal gives them back, by a follower that has seen nothing else.
    read = np.frombuffer(rows.tobytes(), dtype="<f8").reshape(rows.shape)
    fresh = Follower(shot.flame, calibrated, one.settings, None if only else look)
    picture, points = frames[3][0].copy(), frames[3][1].copy()
    np.testing.assert_array_equal(fresh.step(picture, points, [*read[1:3]]), rows[3])
    np.testing.assert_array_equal(picture, frames[3][0])
    np.testing.assert_array_equal(points, frames[3][1])
    assert rows.shape[1] == one.width


def test_frames_without_a_face_are_lost_and_found_again(follower, frames):
    (picture, points), nothing = frames[0], np.full((478, 2), np.nan)
    first = follower.step(picture, points)
    gone = follower.step(picture, nothing, [first])
    assert quality(follower, gone).status == FrameStatus.LOST and np.isnan(quality(follower, gone).landmark_error)
    for name in ("expression", "jaw", "eyes", "root", "translation", "light"):
        np.testing.assert_allclose(
            follower.layout.parts(gone)[name], follower.layout.parts(first)[name], rtol=0, atol=1e-14
        )
    again = follower.step(picture, points, [first, gone], elapsed=1.0)
    assert quality(follower, again).status == FrameStatus.TRACKED and off(follower, again, points) < 1.0


def test_a_shot_may_begin_without_a_face(follower, frames):
    picture, points = frames[0]
    none = follower.step(picture, np.full((478, 2), np.nan))
    assert quality(follower, none).status == FrameStatus.LOST
    assert np.isnan(follower.layout.parts(none)["translation"]).all()
    still = follower.step(picture, np.full((478, 2), np.nan), [none])
    found = follower.step(picture, points, [none, still])
    assert quality(follower, found).status == FrameStatus.TRACKED
    # As if it were the first frame, as far as the trust in it goes.
    np.testing.assert_allclose(found, follower.step(picture, points), rtol=0, atol=1e-12)


@pytest.mark.parametrize("points", [np.zeros((478, 2)), np.full((478, 2), 60.0)])
def test_landmarks_on_one_spot_are_no_face(follower, frames, points):
    first = follower.step(*frames[0])
    for before in ([], [first]):
        assert quality(follower, follower.step(frames[0][0], points, before)).status == FrameStatus.LOST


@pytest.mark.parametrize("only", [False, True])
def test_landmarks_that_no_head_explains_are_no_face(follower, by_landmarks, frames, only):
    """A detector that guesses: its points are those of a face, but a third of the eyes' distance is left over."""
    one = by_landmarks if only else follower
    picture, points = frames[0]
    first = one.step(picture, points)
    unit = np.linalg.norm(points[33] - points[263])
    guess = points + np.random.default_rng(0).normal(0.0, 0.35 * unit, points.shape)
    for before in ([], [first]):
        lost = quality(one, one.step(picture, guess, before))
        assert lost.status == FrameStatus.LOST and lost.landmark_error > 15.0
    again = one.step(picture, points, [first, one.step(picture, guess, [first])])
    assert quality(one, again).status == FrameStatus.TRACKED and off(one, again, points) < 2.0


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_profiles_are_faces(by_landmarks, shot, side):
    """Their eyes lie close together in the picture, so that little makes a large error by that distance."""
    rows = []
    for k in range(8):
        points = shot.points(root=(0.0, side * 0.2 * k, 0.0))
        points += np.random.default_rng(k).normal(0.0, 1.0, points.shape)
        rows.append(by_landmarks.step(None, points, rows[-2:]))
        assert quality(by_landmarks, rows[-1]).status == FrameStatus.TRACKED


def test_a_hidden_eye_corner_leaves_the_error_open(by_landmarks, frames):
    points = frames[0][1].copy()
    points[33] = np.nan
    row = by_landmarks.step(None, points)
    assert quality(by_landmarks, row).status == FrameStatus.TRACKED
    assert np.isnan(quality(by_landmarks, row).landmark_error) and off(by_landmarks, row, frames[0][1]) < 1.0


def test_a_hand_before_the_face_is_noticed(follower, frames):
    first = follower.step(*frames[0])
    picture, points = frames[1]
    covered = picture.copy()
    x, y = points[4].astype(int)
    covered[y - 5 : y + 45, x - 40 : x + 35] = (224, 172, 150)
    free, hidden = (quality(follower, follower.step(image, points, [first])) for image in (picture, covered))
    assert hidden.visible < free.visible - 0.1 and hidden.worth < 0.4 * free.worth
    assert follower._trust(hidden.worth) < 0.4


def test_trust_follows_what_pixels_are_worth(follower, calibrated):
    worth = calibrated.worth
    values = [follower._trust(x * worth) for x in (0.0, 0.2, 0.5, 1.0, 4.0)]
    assert values == sorted(values) and values[0] > 0.0 and values[2] == pytest.approx(0.5) and values[-2:] == [1, 1]
    assert follower._trust(np.nan) == 1.0


@pytest.mark.parametrize("elapsed", [0.04, 0.4])
def test_more_time_lets_more_happen(by_landmarks, shot, elapsed):
    """A jump is held back by what is believed of the way from frame to frame, less so after a longer time."""
    points = [shot.points(), shot.points(root=(0.0, 0.6, 0.0), jaw=(0.4, 0.0, 0.0))]
    first = by_landmarks.step(None, points[0])
    near, far = (by_landmarks.step(None, points[1], [first], elapsed=t) for t in (elapsed, 10 * elapsed))
    assert off(by_landmarks, far, points[1]) <= off(by_landmarks, near, points[1]) + 1e-3


def random_model(flame):
    """The built-in head with smooth random expressions, none of which shuts an eye."""
    rng, points = np.random.default_rng(2), flame.arrays.template
    wave = np.sin(np.einsum("vi,ik->vk", points, 20.0 * rng.normal(size=(3, 12)))[:, None] + rng.uniform(size=(3, 12)))
    arrays = replace(flame.arrays, expression_basis=1e-3 * wave * rng.normal(size=(3, 12)), fingerprint="random")
    lids = flame.eyelid_basis.numpy().reshape(2, -1, 3)
    return Flame(arrays, embeddings=flame.embeddings, regions=flame.regions, eyelids=lids)


def test_eyelids_are_followed_where_expressions_do_not_shut_the_eyes(shot):
    flame = load_flame()
    model = random_model(flame)
    landmarks = TrackSettings().photometric.landmarks
    assert tracked_face(flame, landmarks, landmarks_only=True).n_lids == 0
    face = tracked_face(model, landmarks, landmarks_only=True)
    assert face.n_lids == 2 and face.columns.n_expression == 14
    without = Flame(model.arrays, embeddings=flame.embeddings, regions=flame.regions)
    assert tracked_face(without, landmarks, landmarks_only=True).n_lids == 0
    calibration = calibrate(model, None, shot.points()[None], shot.size, settings=ONLY, focal=shot.focal)
    follower = Follower(model, replace(calibration, shift=0.0 * calibration.shift), ONLY)
    rest = follower.layout.unpack(follower.step(None, shot.points()), follower.log_focal)[0].head
    rows = []
    for left, right in ((0.0, 0.0), (0.5, 0.25), (1.0, 0.5), (1.0, 0.0), (0.0, 0.0)):
        shut = np.append(np.zeros(12), [left / LID_UNIT, right / LID_UNIT])
        rows.append(follower.step(None, follower.fitted(replace(rest, expression=shut)), rows[-2:]))
        found = LID_UNIT * follower.layout.parts(rows[-1])["expression"][-2:]
        np.testing.assert_allclose(found, [left, right], rtol=0, atol=0.3)
    lids = LID_UNIT * follower.layout.parts(np.stack(rows))["expression"][:, -2:]
    assert np.corrcoef(lids[:, 0], [0.0, 0.5, 1.0, 1.0, 0.0])[0, 1] > 0.95 and lids[3, 0] - lids[3, 1] > 0.5


@pytest.mark.parametrize("what", ["grey", "black", "border", "outside", "anywhere", "turned away", "mirrored"])
def test_odd_frames_give_rows(follower, frames, what):
    picture, points = frames[0]
    first = follower.step(picture, points)
    if what in ("grey", "black"):
        picture = np.full_like(picture, 128 * (what == "grey"))
    elif what in ("border", "outside"):
        points = points + np.array([60.0 if what == "border" else 140.0, 0.0])
    elif what == "anywhere":
        points = np.random.default_rng(0).uniform(0, 150, points.shape)
    elif what == "turned away":
        points = points.mean(0) + (points - points.mean(0)) * [0.15, 1.0]
    else:
        points = points * [-1.0, 1.0] + [160.0, 0.0]
    for before in ([], [first]):
        row = follower.step(picture, points, before)
        parts = follower.layout.parts(row)
        assert all(np.isfinite(part).all() for name, part in parts.items() if name != "quality")
        assert np.isfinite(quality(follower, row).landmark_error)


@pytest.mark.parametrize("focal", [1e-2, 5.0, 1e6])
def test_an_absurd_lens_gives_a_row(shot, calibrated, small_settings, look, frames, focal):
    follower = Follower(shot.flame, replace(calibrated, focal=focal), small_settings, look)
    row = follower.step(*frames[0])
    assert np.isfinite(follower.layout.parts(row)["translation"]).all()


def test_models_of_other_kinds(shot, calibrated, small_settings, look, frames, follower):
    """Double precision changes little; a jaw that is not made to turn does not."""
    exact = Follower(load_flame(dtype=torch.float64), calibrated, small_settings, look)
    wanted = follower.step(*frames[2])
    np.testing.assert_allclose(exact.step(*frames[2])[:-5], wanted[:-5], rtol=0, atol=1e-3)
    arrays = replace(shot.flame.arrays, variant="2023-no-jaw")
    model = Flame(arrays, embeddings=shot.flame.embeddings, regions=shot.flame.regions)
    still = Follower(model, calibrated, small_settings, look)
    assert np.abs(still.layout.parts(still.step(*frames[2]))["jaw"]).max() < 1e-6
