"""The same face is found, with the same points, however the picture is turned, scaled, framed or lit."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flamehead.detect import detect_face, detect_faces, select
from flamehead.errors import InputError, NoFaceFound
from flamehead.io import read_image

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("FLAMEHEAD_DEV_DATA", ROOT.parent / "shared" / "data"))

pytestmark = [
    pytest.mark.detect,
    pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None, reason="mediapipe is not installed"),
]


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return read_image(ROOT / "src/flamehead/cli/demo_data/astronaut.jpg")


@pytest.fixture(scope="module")
def points(astronaut) -> np.ndarray:
    return detect_face(astronaut).points


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    picture = Image.fromarray(np.rint(image * 255).astype(np.uint8)).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture).astype(np.float32) / 255


def _error(found: np.ndarray, points: np.ndarray) -> float:
    """Mean distance in per cent of the outer eye distance."""
    return float(np.linalg.norm(found - points, axis=1).mean() / np.linalg.norm(points[33] - points[263]) * 100)


def test_the_points_lie_on_the_face(astronaut, points):
    seen = detect_face(astronaut)
    assert (seen.scheme, seen.size, seen.source) == ("mediapipe478", (512, 512), "mediapipe-0.10.21")
    assert 0.9 < seen.score <= 1.0
    # Read off an enlargement by eye: irises, nose tip, mouth corners, chin; the subject's left is on the right.
    by_eye = {468: (203.5, 101), 473: (247, 103), 1: (224, 128), 61: (203, 140), 291: (244, 141), 152: (223, 178)}
    for row, place in by_eye.items():
        np.testing.assert_allclose(points[row], place, atol=3.5)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_picture_gives_the_turned_points(astronaut, points, turns):
    found = detect_face(np.ascontiguousarray(np.rot90(astronaut, turns))).points
    for _ in range(turns):
        found = np.stack([512 - found[:, 1], found[:, 0]], axis=1)
    assert _error(found, points) < 1.5


@pytest.mark.parametrize(
    ("side", "limit"), [(128, 4.0), (224, 2.0), (1500, 1.0), pytest.param(6000, 1.0, marks=pytest.mark.slow)]
)
def test_size_does_not_matter(astronaut, points, side, limit):
    found = detect_face(_resized(astronaut, side, side)).points * (512 / side)
    assert _error(found, points) < limit


@pytest.mark.parametrize(
    ("change", "limit"),
    [
        (lambda image: image * 0.15, 2.5),
        (lambda image: image * 0.02, 2.5),
        (lambda image: 0.7 + 0.3 * image, 1.5),
        (lambda image: image.mean(axis=-1, keepdims=True).repeat(3, axis=-1), 1.5),
        (lambda image: image.astype(np.float64), 0.2),
    ],
    ids=["dark", "black", "pale", "grey", "float64"],
)
def test_light_does_not_matter(astronaut, points, change, limit):
    assert _error(detect_face(change(astronaut)).points, points) < limit


@pytest.mark.parametrize("border", [-0.05, 0.0, 0.2])
def test_a_face_that_fills_the_frame_is_found(astronaut, points, border):
    low, high = points.min(axis=0), points.max(axis=0)
    margin = border * (high - low).max()
    (left, top), (right, bottom) = (low - margin).astype(int), (high + margin).astype(int)
    found = detect_face(astronaut[top:bottom, left:right]).points + np.array([left, top])
    assert _error(found, points) < 2.5


def test_a_small_face_in_a_corner_of_a_large_picture_is_found(astronaut, points):
    scene = np.full((3000, 4000, 3), 0.6, dtype=np.float32)
    scene[2400:2912, 3400:3912] = astronaut
    assert _error(detect_face(scene).points - (3400, 2400), points) < 1.5


def test_two_faces_come_largest_first(astronaut, points):
    scene = np.full((700, 1300, 3), 0.5, dtype=np.float32)
    scene[100:484, 50:434] = _resized(astronaut, 384, 384)
    scene[50:650, 600:1200] = _resized(astronaut, 600, 600)
    first, second = detect_faces(scene)
    assert _error((first.points - (600, 50)) * (512 / 600), points) < 1.5
    assert _error((second.points - (50, 100)) * (512 / 384), points) < 1.5
    np.testing.assert_array_equal(detect_face(scene, face=1).points, second.points)
    with pytest.raises(InputError, match=r"shows 2 faces; give a number from 0 \(the largest\) to 1"):
        detect_face(scene, face=2)
    with pytest.raises(InputError, match="Asked for face -1"):
        detect_face(scene, face=-1)


def test_a_group_of_twelve_is_complete(astronaut):
    scene = np.full((1000, 2000, 3), 0.5, dtype=np.float32)
    portrait = _resized(astronaut[:330, 60:390], 300, 300)
    for row in range(3):
        for column in range(4):
            scene[10 + 330 * row : 310 + 330 * row, 100 + 470 * column : 400 + 470 * column] = portrait
    assert len(detect_faces(scene)) == 12


def test_the_wanted_scheme_is_returned(astronaut, points):
    seen = detect_face(astronaut, scheme="mediapipe105")
    assert seen.scheme == "mediapipe105"
    np.testing.assert_array_equal(seen.points, select(points, "mediapipe478", "mediapipe105"))


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (15, 15), (40, 60), (300, 400)])
def test_where_there_is_no_face_none_is_found(shape):
    for image in (np.zeros((*shape, 3)), np.random.default_rng(0).uniform(size=(*shape, 3))):
        assert detect_faces(image) == []
    with pytest.raises(NoFaceFound, match=rf"image of {shape[1]} x {shape[0]} pixels; crop .*--landmarks\.$"):
        detect_face(np.zeros((*shape, 3)))


def test_a_photo_without_people_gives_none(astronaut):
    assert detect_faces(astronaut[250:]) == []


def test_what_is_no_image_is_refused():
    for image in (np.zeros((4, 4)), np.zeros((4, 4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4, 3))):
        with pytest.raises(InputError, match="wanted float RGB"):
            detect_faces(image)
    with pytest.raises(InputError, match="NaN"):
        detect_faces(np.full((4, 4, 3), np.nan))


def test_jitter_of_the_frame_hardly_moves_the_points(astronaut, points):
    """A crop that is shifted and scaled by a few per cent must give the same points: below 0.7 % on average."""
    random = np.random.default_rng(0)
    errors = []
    for _ in range(6):
        left, top = random.integers(0, 40, 2)
        right, bottom = 512 - random.integers(0, 60, 2)
        scale = random.uniform(0.9, 1.3)
        width, height = round((right - left) * scale), round((bottom - top) * scale)
        found = detect_face(_resized(astronaut[top:bottom, left:right], width, height)).points
        found = found * np.array([(right - left) / width, (bottom - top) / height]) + np.array([left, top])
        errors.append(_error(found, points))
    assert np.mean(errors) < 0.7 and max(errors) < 1.2


@pytest.mark.assets
def test_every_development_photo_has_its_face():
    if not DATA.is_dir():
        pytest.skip("the development data folder is absent")
    photos = [p for folder in ("photos", "ffhq") for p in sorted((DATA / folder).iterdir()) if p.suffix != ".npy"]
    assert len(photos) >= 16
    for path in photos:
        faces = detect_faces(read_image(path))
        assert len(faces) == 1 and faces[0].score > 0.7, path.name
        landmarks = path.with_name(f"{path.stem}_lmk68.npy")
        if landmarks.exists():
            seen = select(faces[0].points, "mediapipe478", "ibug68")[17:]
            reference = np.load(landmarks, allow_pickle=False)[17:]
            eyes = np.linalg.norm(reference[19] - reference[28])
            assert np.linalg.norm(seen - reference, axis=1).mean() / eyes < 0.045, path.name
