"""Calibrated cameras from JSON and from COLMAP's text files."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flamehead.errors import InputError
from flamehead.formats import CalibratedCamera, read_camera_rig, undistort, undistort_image

R = Rotation.from_rotvec([0.2, -0.4, 0.1]).as_matrix()
T, K = np.array([0.1, -0.2, 1.5]), np.array([[500.0, 0, 320], [0, 510.0, 240], [0, 0, 1]])
FLIP = np.diag([1.0, -1.0, -1.0])


def written(folder, entry=None, **content):
    one = {"image": "a.jpg", "K": K.tolist(), "R": R.tolist(), "t": T.tolist()} | (entry or {})
    path = folder / "cameras.json"
    path.write_text(json.dumps({"cameras": [one]} | content))
    return path


def test_every_json_convention_is_the_same_camera(tmp_path):
    turn, place = FLIP @ R, FLIP @ T
    cases = [
        ({}, {}),
        ({"t": (1000 * T).tolist()}, {"unit": "mm"}),
        ({"R": R.T.tolist(), "t": (-R.T @ T).tolist()}, {"direction": "camera_to_world"}),
        ({"R": turn.tolist(), "t": place.tolist()}, {"convention": "opengl"}),
        (
            {"R": turn.T.tolist(), "t": (-turn.T @ place).tolist()},
            {"convention": "opengl", "direction": "camera_to_world"},
        ),
    ]
    for entry, content in cases:
        rig = read_camera_rig(written(tmp_path, entry, **content))
        camera = rig.of("photos/a.jpg")
        assert rig.metric and camera.size is None
        np.testing.assert_allclose(camera.rotation, R, atol=1e-12)
        np.testing.assert_allclose(camera.translation, T, atol=1e-12)
    assert not read_camera_rig(written(tmp_path, unit=None)).metric
    assert read_camera_rig(written(tmp_path, {"size": [640, 480]})).of("a.jpg").size == (640, 480)


@pytest.mark.parametrize(
    ("entry", "content", "sentence"),
    [
        ({"R": (2 * R).tolist()}, {}, "rotation of camera 1"),
        ({"R": np.diag([1, 1, -1]).tolist()}, {}, "a mirror"),
        ({"K": [500, 500]}, {}, 'lacks a "K" of 3 x 3'),
        ({"K": K.T.tolist()}, {}, "The K of camera 1"),
        ({"t": [0, 0, float("nan")]}, {}, 'lacks a "t" of 3 finite'),
        ({"image": 3}, {}, 'no "image"'),
        ({}, {"unit": "furlong"}, "unit .* 'furlong'"),
        ({}, {"convention": "blender"}, 'The "convention"'),
        ({}, {"cameras": []}, 'no list "cameras"'),
    ],
)
def test_broken_json_is_one_sentence(tmp_path, entry, content, sentence):
    with pytest.raises(InputError, match=sentence):
        read_camera_rig(written(tmp_path, entry, **content))


def colmap(folder, lens, name="a b.jpg"):
    x, y, z, w = Rotation.from_matrix(R).as_quat()
    (folder / "cameras.txt").write_text(f"# Camera list\n\n3 {lens}\n")
    place = " ".join(map(str, T))
    points = "10.5 20.5 -1 30.0 40.0 7"
    (folder / "images.txt").write_text(
        f"# Image list\n1 {w} {x} {y} {z} {place} 3 {name}\n{points}\n2 {w} {x} {y} {z} {place} 3 sub/c.jpg\n\n"
    )
    return folder


@pytest.mark.parametrize(
    ("lens", "matrix", "distortion"),
    [
        ("PINHOLE 640 480 500 510 320 240", K, (0.0, 0.0)),
        ("SIMPLE_PINHOLE 640 480 500 320 240", [[500, 0, 320], [0, 500, 240], [0, 0, 1]], (0.0, 0.0)),
        ("SIMPLE_RADIAL 640 480 500 320 240 0.1", [[500, 0, 320], [0, 500, 240], [0, 0, 1]], (0.1, 0.0)),
        ("RADIAL 640 480 500 320 240 -0.1 0.02", [[500, 0, 320], [0, 500, 240], [0, 0, 1]], (-0.1, 0.02)),
    ],
)
def test_colmap_models(tmp_path, lens, matrix, distortion):
    rig = read_camera_rig(colmap(tmp_path, lens))
    assert set(rig.cameras) == {"a b.jpg", "sub/c.jpg"} and not rig.metric
    for image in ("elsewhere/a b.jpg", "c.jpg"):
        camera = rig.of(image)
        np.testing.assert_allclose(camera.rotation, R, atol=1e-12)
        np.testing.assert_allclose(camera.matrix, matrix)
        assert camera.size == (640, 480) and camera.distortion == distortion


def test_colmap_faults_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="camera model 'OPENCV', wanted SIMPLE_PINHOLE"):
        read_camera_rig(colmap(tmp_path, "OPENCV 640 480 500 510 320 240 0 0 0 0"))
    with pytest.raises(InputError, match="wrong numbers"):
        read_camera_rig(colmap(tmp_path, "PINHOLE 640 480 500"))
    (tmp_path / "images.txt").write_text("1 0 0\n\n")
    (tmp_path / "cameras.txt").write_text("")
    with pytest.raises(InputError, match="a line that is no image"):
        read_camera_rig(tmp_path)
    with pytest.raises(InputError, match="Camera file not found"):
        read_camera_rig(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"has no camera for b\.jpg \(it has: a\.jpg\)"):
        read_camera_rig(written(tmp_path)).of("b.jpg")


@pytest.mark.parametrize("distortion", [(0.1, 0.0), (-0.2, 0.05), (0.0, 0.0)])
def test_undistorting_undoes_the_lens(distortion):
    camera = CalibratedCamera(R, T, K, (640, 480), distortion)
    pixels = np.random.default_rng(0).uniform([0, 0], [640, 480], (50, 2))
    rays = (pixels - K[:2, 2]) / K[[0, 1], [0, 1]]
    r2 = (rays**2).sum(axis=1, keepdims=True)
    bent = rays * (1 + distortion[0] * r2 + distortion[1] * r2**2) * K[[0, 1], [0, 1]] + K[:2, 2]
    np.testing.assert_allclose(undistort(bent, camera), pixels, atol=1e-6)
    assert np.isnan(undistort(np.full((2, 2), np.nan), camera)).all()


def test_a_straightened_photo_shows_things_where_straightened_points_are():
    camera = CalibratedCamera(R, T, K, (640, 480), (-0.25, 0.0))
    y, x = np.mgrid[:480, :640] + 0.5
    spot = np.array([560.0, 400.0])
    photo = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / 50)[..., None] * np.ones(3)
    straight = undistort_image(photo, camera)[..., 0]
    found = np.array([(straight * x).sum(), (straight * y).sum()]) / straight.sum()
    np.testing.assert_allclose(found, undistort(spot[None], camera)[0], atol=0.3)
    plain = CalibratedCamera(R, T, K)
    assert undistort_image(photo, plain) is photo
