"""Keyframes of a known head tell its identity and its lens; what is given is kept; odd input gives no nonsense."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.errors import InputError
from flamehead.fit import IdentityPrior
from flamehead.model import Flame, load_flame
from flamehead.track import Calibration, TrackSettings, calibrate

SIZE = (320, 240)
ROOTS = [(0.0, 0.0, 0.0), (0.1, 0.5, 0.0), (-0.1, -0.5, 0.1), (0.3, 0.1, 0.0)]
DEPTHS = (0.4, 0.5, 0.6, 0.7)


@pytest.fixture(scope="module")
def exact():
    return load_flame(dtype=torch.float64)


def identity(seed, count=20):
    return np.append(np.random.default_rng(seed).normal(0, 0.8, count), np.zeros(300 - count))


def projected(flame, shape, focal, frames=range(4)):
    """Exact landmarks of one head, which turns and comes nearer with an opening mouth."""
    found = []
    for k in frames:
        jaw, place = torch.tensor([0.05 * k, 0.0, 0.0]), torch.tensor([0.01 * k, 0.0, -DEPTHS[k]])
        params = replace(
            flame.zeros(), shape=torch.tensor(shape), root=torch.tensor(ROOTS[k]).double(), jaw=jaw.double(),
            translation=place.double(),
        )  # fmt: skip
        x, y, z = flame.landmarks(flame(params).vertices, "mediapipe478").numpy().T
        found.append(np.stack([SIZE[0] / 2 - focal * x / z, SIZE[1] / 2 + focal * y / z], axis=1))
    return np.stack(found)


def difference(flame, a, b):
    """Mean distance of two faces at rest after an alignment with scale, metres."""
    ids = np.unique(flame.arrays.faces[flame.region_faces("face").numpy()])
    basis, template = flame.arrays.shape_basis[ids], flame.arrays.template[ids]
    a, b = (template + basis[..., : len(each)] @ each for each in (a, b))
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    return np.linalg.norm(s.sum() / (a**2).sum() * a @ (u @ vt).T - b, axis=1).mean()


@pytest.mark.parametrize("focal", [250.0, 400.0, 900.0])
@pytest.mark.parametrize("seed", range(3))
def test_identity_and_lens_are_found_from_landmarks(exact, seed, focal):
    truth = identity(seed)
    found = calibrate(exact, None, projected(exact, truth, focal), SIZE)
    # A belief about usual lenses, 384 pixels here, draws at both ends.
    assert abs(np.log(found.focal / focal)) < 1.3 * found.focal_deviation < 0.2
    assert difference(exact, found.shape, truth) < 0.35 * difference(exact, np.zeros(300), truth)
    assert found.landmark_error < 0.1 and np.abs(found.shift).max() < 3e-4
    assert found.size == SIZE and found.albedo.shape == (0,) and np.isnan(found.worth)


@pytest.mark.parametrize("focal", [250.0, 900.0])
def test_a_focal_length_that_is_given_is_kept(exact, focal):
    truth = identity(5)
    landmarks = projected(exact, truth, focal)
    found = calibrate(exact, None, landmarks, SIZE, focal=focal)
    assert found.focal == pytest.approx(focal, rel=1e-9) and found.focal_deviation == 0.0
    wrong = calibrate(exact, None, landmarks, SIZE, focal=1.5 * focal)
    assert wrong.focal == pytest.approx(1.5 * focal, rel=1e-9)
    assert wrong.landmark_error > found.landmark_error


def test_more_keyframes_tell_more_of_the_lens(exact):
    truth, few = identity(6), TrackSettings(focal_spread=1.0)
    deviations = [
        calibrate(exact, None, projected(exact, truth, 400.0, range(n)), SIZE, settings=few).focal_deviation
        for n in (1, 2, 4)
    ]
    assert deviations[0] > 1.2 * deviations[1] > 1.2 * deviations[2]


@pytest.mark.parametrize("count", [20, 150])
def test_an_identity_that_is_believed_is_kept(exact, count):
    """Also beyond the components that are otherwise asked for."""
    believed, truth = identity(7, count), identity(8)
    landmarks = projected(exact, truth, 400.0)
    sure = calibrate(exact, None, landmarks, SIZE, identity=IdentityPrior(torch.tensor(believed), weight=1e8))
    np.testing.assert_allclose(sure.shape, believed[: len(sure.shape)], rtol=0, atol=0.01)
    assert len(sure.shape) == max(100, count)
    right = calibrate(exact, None, landmarks, SIZE, identity=IdentityPrior(torch.tensor(truth), weight=10.0))
    none = calibrate(exact, None, landmarks, SIZE)
    assert difference(exact, right.shape, truth) < 0.6 * difference(exact, none.shape, truth)


def test_a_detector_that_errs_alike_in_all_frames_is_told_by_the_shift(exact):
    """It draws lower lids too low: that is this person's landmark, not her expression."""
    landmarks = projected(exact, identity(9), 400.0)
    lids = [145, 374]
    landmarks[:, lids, 1] += 4.0
    found = calibrate(exact, None, landmarks, SIZE)
    from flamehead.track.face import tracked_face

    pairs = tracked_face(exact, TrackSettings().photometric.landmarks, landmarks_only=True).prepared.pairs
    low = np.isin(pairs.mesh_ids, lids)
    assert found.shift[low, 1].max() < -2e-4 and np.abs(found.shift[~low]).max() < np.abs(found.shift[low]).max()


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a.values(), b.values(), strict=True))


def test_arrays_and_back(exact, calibrated, tmp_path):
    for found in (calibrate(exact, None, projected(exact, identity(1), 400.0), SIZE), calibrated):
        np.savez(tmp_path / "one.npz", **found.to_arrays(), other=np.ones(3))
        with np.load(tmp_path / "one.npz", allow_pickle=False) as file:
            again = Calibration.from_arrays(dict(file))
        assert same(again.to_arrays(), found.to_arrays())
        assert type(again.focal) is float and again.size == found.size and type(again.size[0]) is int
        np.testing.assert_array_equal(again.center, 0.5 * np.array(found.size))


def test_pixels_tell_identity_and_colours(shot, keyframes, look, calibrated, small_settings):
    images, points = keyframes
    assert calibrated.focal == pytest.approx(shot.focal, rel=0.1)
    assert calibrated.landmark_error < 1.0 and calibrated.worth > 1000.0
    assert calibrated.albedo.shape == (look.basis.shape[3],) and calibrated.light[0].min() > 0.5
    plain = difference(shot.flame, np.zeros(300), shot.shape)
    assert difference(shot.flame, calibrated.shape, shot.shape) < 0.6 * plain
    again = calibrate(shot.flame, images, points, shot.size, settings=small_settings, texture=look)
    assert same(again.to_arrays(), calibrated.to_arrays())


def no_jaw(flame):
    arrays = replace(flame.arrays, variant="2023-no-jaw")
    return Flame(arrays, embeddings=flame.embeddings, regions=flame.regions)


@pytest.mark.parametrize(
    "what",
    [
        *("black", "anywhere", "no jaw", "lens 30"),
        *(pytest.param(other, marks=pytest.mark.slow) for other in ("grey", "border", "turned away", "lens 1e7")),
    ],
)
def test_odd_keyframes_give_finite_numbers(shot, keyframes, look, what):
    quick = TrackSettings(calibration_sizes=(48,), calibration_iterations=(2,), sizes=(48,), iterations=(1,))
    images, points, flame = list(keyframes[0]), keyframes[1].copy(), shot.flame
    focal = float(what[5:]) if what.startswith("lens") else None
    if what in ("grey", "black"):
        images = [np.full_like(image, 128 * (what == "grey")) for image in images]
    elif what == "border":
        points += [60.0, 0.0]
    elif what == "turned away":
        points[1] = points[1].mean(0) + (points[1] - points[1].mean(0)) * [0.15, 1.0]
    elif what == "anywhere":
        points = np.random.default_rng(0).uniform(0, 150, points.shape)
    elif what == "no jaw":
        flame = no_jaw(flame)
    found = calibrate(flame, images, points, shot.size, settings=quick, focal=focal, texture=look)
    for name in ("shape", "focal", "focal_deviation", "albedo", "light", "shift", "landmark_error", "worth"):
        assert np.isfinite(getattr(found, name)).all(), name


def test_what_cannot_be_used_is_told(shot, keyframes, look):
    images, points = keyframes
    with pytest.raises(InputError, match="No keyframe shows a face"):
        calibrate(shot.flame, None, np.zeros((0, 478, 2)), shot.size)
    with pytest.raises(InputError, match="usable mediapipe478 landmarks were seen"):
        calibrate(shot.flame, None, np.full((1, 478, 2), np.nan), shot.size)
    with pytest.raises(InputError, match="as a lens of 1 pixels sees it"):
        calibrate(shot.flame, images, points, shot.size, focal=1.0, texture=look)
    with pytest.raises(InputError, match=r"calibration_sizes \(64,\) and calibration_iterations \(1, 2\)"):
        TrackSettings(calibration_sizes=(64,), calibration_iterations=(1, 2))
    with pytest.raises(InputError, match="number of keyframes is 0"):
        TrackSettings(keyframes=0)
