"""Alignment for ArcFace, against OpenCV where it is at hand, and insightface's detector on outputs made by hand."""

import numpy as np
import pytest

from flamehead.data import Observation
from flamehead.errors import AssetNotFound, InputError
from flamehead.geometry.landmark_sets import IBUG68_IN_MEDIAPIPE
from flamehead.regress import Scrfd
from flamehead.regress._align import TEMPLATE, blob_of, similarity, warp
from flamehead.regress._five_points import five_points
from flamehead.regress._scrfd import Faces, decode, find_detector, letterbox, most_central


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


def test_a_similarity_is_found_again():
    rng = np.random.default_rng(1)
    for _ in range(20):
        angle, scale, shift = rng.uniform(-3, 3), rng.uniform(0.2, 5), rng.normal(0, 50, 2)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        found = similarity(TEMPLATE, TEMPLATE @ turn.T + shift)
        np.testing.assert_allclose(found, np.column_stack([turn, shift]), atol=1e-10)


def test_it_is_the_least_squares_one_and_never_mirrors():
    rng = np.random.default_rng(2)
    source, target = rng.normal(size=(5, 2)), rng.normal(size=(5, 2)) * (-1, 1)
    a, b, x = similarity(source, target)[0]
    rows = np.concatenate([np.array([[p[0], -p[1], 1, 0], [p[1], p[0], 0, 1]]) for p in source])
    wanted = np.linalg.lstsq(rows, target.ravel(), rcond=None)[0]
    np.testing.assert_allclose([a, -b, x], wanted[:3], atol=1e-12)
    assert np.linalg.det(similarity(source, target)[:, :2]) > 0


def test_whole_pixel_shifts_are_exact_and_black_outside(noise):
    shifted = warp(noise, np.array([[1.0, 0, 5], [0, 1.0, -3]]), 112)
    np.testing.assert_array_equal(shifted[:109, 5:], noise[3:112, :107])
    assert not shifted[:, :5].any()


def test_a_sample_half_outside_is_half_black():
    white = np.full((50, 50, 3), 200, dtype=np.uint8)
    shifted = warp(white, np.array([[1.0, 0, 10.5], [0, 1.0, 0]]), 112)
    assert shifted[20, 10, 0] == 100 and shifted[20, 11, 0] == 200 and shifted[20, 9, 0] == 0


def test_opencv_gives_the_same_crop(noise):
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(3)
    for _ in range(20):
        points = TEMPLATE * rng.uniform(0.3, 3) + rng.normal(0, 3, (5, 2)) + rng.uniform(-30, 60, 2)
        matrix = similarity(points, TEMPLATE)
        wanted = cv2.warpAffine(noise, matrix, (112, 112)).astype(int)
        assert np.abs(warp(noise, matrix, 112) - wanted).max() <= 1


def test_the_blob_keeps_rgb_and_spans_one():
    crop = np.zeros((112, 112, 3), dtype=np.uint8)
    crop[..., 0] = 255
    blob = blob_of(crop)
    assert blob.dtype == np.float32 and blob.shape == (3, 112, 112)
    assert (blob[0] == 1).all() and (blob[1:] == -1).all()


def test_five_points_of_each_scheme_agree():
    rng = np.random.default_rng(4)
    full = rng.uniform(0, 100, (478, 2))
    small = full[IBUG68_IN_MEDIAPIPE]
    for seen in (
        Observation(full, "mediapipe478", (100, 100)),
        Observation(full[:468], "mediapipe468", (100, 100)),
        Observation(small, "ibug68", (100, 100)),
    ):
        np.testing.assert_allclose(five_points(seen)[3:], full[[61, 291]] - 0.5)
    holes = small.copy()
    holes[30] = np.nan
    with pytest.raises(InputError, match="was not seen"):
        five_points(Observation(holes, "ibug68", (100, 100)))
    with pytest.raises(InputError, match="mediapipe105"):
        five_points(Observation(full[:105], "mediapipe105", (100, 100)))


def _outputs():
    """What the network says of an image without faces."""
    counts = [2 * (224 // stride) ** 2 for stride in (8, 16, 32)]
    return [np.zeros((count, width), dtype=np.float32) for width in (1, 4, 10) for count in counts]


def test_anchors_distances_and_points_become_pixels():
    outputs = _outputs()
    # Stride 16, row 3, column 5, second anchor: its corner lies at (80, 48).
    row = 2 * (3 * 14 + 5) + 1
    outputs[1][row], outputs[4][row] = 0.9, (1, 2, 3, 4)
    outputs[7][row] = np.arange(10) / 4
    faces = decode(outputs, 0.5)
    np.testing.assert_allclose(faces.boxes, [[128, 32, 256, 224]])
    np.testing.assert_allclose(faces.points[0], (np.arange(10).reshape(5, 2) * 4 + (80, 48)) * 2)
    np.testing.assert_allclose(faces.scores, [0.9], rtol=1e-6)
    batched = decode([output[None] for output in outputs], 0.5)
    np.testing.assert_array_equal(batched.boxes, faces.boxes)


def test_the_surest_of_overlapping_faces_stays():
    outputs = _outputs()
    for row, score, reach in ((0, 0.6, 3), (1, 0.8, 3.2), (2 * (28 * 20 + 20), 0.7, 3), (5, 0.49, 3)):
        outputs[0][row], outputs[3][row] = score, reach
    faces = decode(outputs, 1.0)
    np.testing.assert_allclose(faces.scores, [0.8, 0.7], rtol=1e-6)


def test_the_most_central_face_is_chosen_whatever_its_size():
    boxes = np.array([[0, 0, 90, 90], [48, 48, 54, 54], [47, 47, 53, 53.0]])
    assert most_central(Faces(boxes, np.ones(3), np.zeros((3, 5, 2))), (100, 101)) == 2
    assert most_central(Faces(boxes[[1, 1]], np.ones(2), np.zeros((2, 5, 2))), (100, 101)) == 0


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (224, 224), (1, 500), (500, 1)])
def test_the_letterbox_keeps_the_scale(shape):
    image = np.full((*shape, 3), 77, dtype=np.uint8)
    canvas, scale = letterbox(image)
    covered = canvas[..., 0] > 0
    height, width = covered.any(axis=1).sum(), covered.any(axis=0).sum()
    assert canvas.shape == (224, 224, 3) and max(height, width) == 224 and set(np.unique(canvas)) <= {0, 77}
    assert scale == height / shape[0]


def test_a_pack_is_found_in_both_layouts(tmp_path):
    with pytest.raises(AssetNotFound, match=r"antelopev2\.zip"):
        find_detector(tmp_path)
    nested = tmp_path / "antelopev2" / "antelopev2"
    nested.mkdir(parents=True)
    (nested / "glintr100.onnx").write_bytes(b"x")
    file = nested / "scrfd_10g_bnkps.onnx"
    file.write_bytes(b"x")
    for place in (tmp_path, tmp_path / "antelopev2", nested, file):
        assert find_detector(place) == file


def test_bad_detectors_are_refused(tmp_path, constant_onnx):
    pytest.importorskip("onnxruntime")
    file = tmp_path / "scrfd_10g_bnkps.onnx"
    file.write_bytes(b"no network")
    with pytest.raises(InputError, match="not a whole ONNX file"):
        Scrfd(file)
    file.write_bytes(constant_onnx(_outputs()[:2]))
    with pytest.raises(InputError, match="2 outputs"):
        Scrfd(file)
    file.write_bytes(constant_onnx(_outputs()[::-1]))
    with pytest.raises(InputError, match="stride 8"):
        Scrfd(file)(np.zeros((50, 50, 3), dtype=np.uint8))
