"""The rendered sequence moves as it promises, and the evaluation finds nothing wrong with its own truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from scipy.spatial.transform import Rotation

from _sequence import SequenceSettings, frames, load_truth, make_sequence, save_truth
from _track_evaluate import against_detections, against_truth, curves, head_rotations, pixels, rows_of
from flamehead import load_flame
from flamehead.data import FrameStatus, Track

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def flame():
    return load_flame()


@pytest.fixture(scope="module", params=[0, 1, 2])
def sequence(request, flame):
    return make_sequence(SequenceSettings(seed=request.param), flame=flame)


def part(track, rows):
    """Some rows of a track."""
    params, camera, _ = rows_of(track, rows)
    return Track(
        params, camera, track.frames[rows], track.times[rows], track.status[rows], track.fingerprint,
        landmarks=None if track.landmarks is None else track.landmarks[rows],
    )  # fmt: skip


def test_the_head_turns_nods_and_leans(sequence):
    flip = np.diag([1.0, -1.0, -1.0])
    yaw, pitch, roll = np.stack(
        [Rotation.from_matrix(flip @ turn).as_euler("YXZ", degrees=True) for turn in head_rotations(sequence.track)]
    ).T
    for angle, limit in ((yaw, 30), (pitch, 15)):
        assert abs(angle.max() - limit) < 1.5 and abs(angle.min() + limit) < 1.5
    assert 8 < np.abs(roll).max() < 12
    # No frame moves the face faster than people do, some 250 degrees a second.
    steps = np.degrees(np.linalg.norm(np.diff(head_rotations(sequence.track), axis=0), axis=(1, 2)) / np.sqrt(2))
    assert steps.max() < 10


def test_depth_changes_enough_to_tell_the_focal_length(sequence):
    depth = -sequence.track.params.translation[:, 2].numpy()
    assert depth.max() / depth.min() > 1.3


def test_the_face_stays_in_the_picture(flame, sequence):
    points = pixels(flame, sequence.track, "mediapipe478")
    assert points.min() > 10 and points.max() < 502
    assert 100 < np.ptp(points[..., 0], axis=1).mean() < 300


def test_speech_blinks_and_the_hand_are_as_told(flame, sequence):
    assert 0.1 < sequence.jaw.max() <= 0.2 and sequence.jaw.min() >= 0
    runs, count = label(sequence.blink > 0)  # pyright: ignore[reportGeneralTypeIssues, reportAssignmentType]
    assert 4 <= count <= 6
    assert set(np.bincount(runs)[1:]) <= {5, 6, 7}
    assert sequence.occluded.sum() == 10
    found = curves(flame, sequence.track)
    shut = sequence.blink > 0.95 * sequence.blink.max()
    for eye in ("left_eye", "right_eye"):
        assert found[eye][shut].max() < 0.5 * np.median(found[eye])
    assert np.corrcoef(found["lips"], sequence.jaw)[0, 1] > 0.5


def test_equal_settings_make_equal_pictures(flame):
    small = SequenceSettings(5, 96, seed=3)
    first, second = (list(frames(make_sequence(small, flame=flame), flame=flame)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert len(first) == 5 and first[0].shape == (96, 96, 3) and first[0].dtype == np.float32
    other = next(frames(make_sequence(replace(small, seed=4), flame=flame), flame=flame))
    assert np.abs(other - first[0]).mean() > 0.02


def test_the_hand_hides_the_mouth(flame):
    """Without noise, the picture changes around the mouth and not at the eyes when the hand is taken away."""
    covered = make_sequence(SequenceSettings(4, 128, noise=0.0), flame=flame)
    covered = replace(covered, occluded=np.array([True, True, True, False]))
    with_hand, without = (
        list(frames(each, flame=flame)) for each in (covered, replace(covered, occluded=np.zeros(4, dtype=bool)))
    )
    points = pixels(flame, covered.track, "mediapipe478").astype(int)
    changed = np.abs(with_hand[1] - without[1]).max(-1) > 0.03
    around = [changed[y - 2 : y + 3, x - 2 : x + 3].mean() for x, y in points[1, [61, 13, 291]]]
    assert max(around) > 0.5
    np.testing.assert_array_equal(with_hand[3], without[3])


def test_truth_survives_the_disk(tmp_path, flame):
    made = make_sequence(SequenceSettings(7, 96), flame=flame)
    save_truth(tmp_path / "truth.npz", made)
    read = load_truth(tmp_path / "truth.npz")
    assert read.settings == made.settings
    for name in ("blink", "jaw", "occluded", "albedo"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    torch.testing.assert_close(read.track.params.root, made.track.params.root, rtol=0, atol=0)


@pytest.fixture(scope="module")
def short(flame):
    track = make_sequence(SequenceSettings(), flame=flame).track
    return part(track, np.arange(40, 200, 8))


def test_the_truth_is_without_error(flame, short):
    figures = against_truth(flame, short, short)
    for name, value in figures.items():
        wanted = 1.0 if name.endswith("correlation") else 0.0
        assert value == pytest.approx(wanted, abs=1e-6), name


def test_a_turned_head_is_off_by_its_turn(flame, short):
    turn = Rotation.from_rotvec(np.radians([0.0, 3.0, 0.0])).as_matrix()
    root = Rotation.from_matrix(Rotation.from_rotvec(short.params.root.numpy()).as_matrix() @ turn).as_rotvec()
    turned = replace(short, params=replace(short.params, root=torch.as_tensor(root, dtype=torch.float32)))
    figures = against_truth(flame, turned, short)
    assert figures["rotation_degrees_mean"] == pytest.approx(3.0, abs=0.01)
    assert figures["vertex_percent_mean"] > 1.0
    assert figures["left_eye_correlation"] == pytest.approx(1.0, abs=1e-4)


def test_who_carries_the_motion_does_not_matter(flame, short):
    """The head may stand still before a camera that moves: figures are those of the picture."""
    turn = torch.as_tensor(
        Rotation.from_quat(np.random.default_rng(0).normal(size=(len(short), 4))).as_matrix(), dtype=torch.float32
    )
    zero = torch.zeros_like(short.params.translation)
    still = replace(short.params, root=zero, translation=zero)
    camera, root = short.camera, torch.as_tensor(Rotation.from_rotvec(short.params.root.numpy()).as_matrix()).float()
    with torch.no_grad():
        joint = flame(still).joints[:, 0]
    # x -> R (x - j) + j + t of the root becomes a part of the camera.
    rotation = camera.rotation @ root
    moved = (camera.rotation @ (joint + short.params.translation - (root @ joint[..., None])[..., 0])[..., None])[
        ..., 0
    ]
    carried = replace(
        short, params=still, camera=replace(camera, rotation=rotation, translation=moved + camera.translation)
    )
    figures = against_truth(flame, carried, short)
    assert figures["rotation_degrees_worst"] < 1e-3
    assert figures["vertex_percent_worst"] < 1e-2
    # Another world, the same picture.
    world = replace(carried.camera, rotation=carried.camera.rotation @ turn)
    assert against_truth(flame, replace(carried, camera=world), short)["rotation_degrees_mean"] > 10


def test_detections_are_compared_with_the_fitted_points(flame, short):
    seen = pixels(flame, short, "mediapipe478")
    noise = np.random.default_rng(0).normal(0, 0.5, seen.shape)
    track = replace(short, landmarks=seen + noise)
    track.status[3] = FrameStatus.LOST
    figures = against_detections(flame, track)
    eye = np.linalg.norm(seen[:, 33] - seen[:, 263], axis=1)
    assert figures["landmark_percent_mean"] == pytest.approx((100 * 0.5 * np.sqrt(np.pi / 2) / eye).mean(), rel=0.05)
    assert figures["frames_lost"] == 1
    track.status[3] = FrameStatus.TRACKED
