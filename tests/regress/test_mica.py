"""The whole of MICA, on random weights in the official layout around the built-in head."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from flamehead import load_flame, load_params
from flamehead.data import Observation
from flamehead.errors import InputError, NoFaceFound
from flamehead.formats import read_mica
from flamehead.io import read_image, read_mesh
from flamehead.regress import KPT7, Scrfd, identify, load_mica, median_identity, save_identity
from flamehead.regress._align import TEMPLATE, similarity

FILES = {"identity.npy", "mesh.obj", "mesh.ply", "kpt68.npy", "kpt7.npy", "params.npz", "portrait.png", "report.json"}
FILES |= {"arcface.npy", "arcface.jpg"}


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(5)
    return np.kron(rng.random((15, 20, 3)), np.ones((16, 16, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def seen():
    points = np.zeros((68, 2))
    five = TEMPLATE * 1.4 + (40.0, 20.0)
    for rows, point in zip((range(36, 42), range(42, 48), [30], [48], [54]), five, strict=True):
        points[list(rows)] = point
    return Observation(points, "ibug68", (320, 240), source="a test")


@pytest.fixture(scope="module")
def identity(mica, photo, seen):
    return identify(mica, photo, seen=seen)


def test_the_model_in_the_checkpoint_makes_the_mesh(mica, identity):
    flame = load_flame()
    wanted = flame(dataclasses.replace(flame.zeros(), shape=torch.from_numpy(identity.shape[: flame.n_shape])))
    np.testing.assert_allclose(identity.vertices, wanted.vertices, atol=2e-6)
    assert identity.shape.shape == (300,) and identity.shape.dtype == np.float32 and np.abs(identity.shape).max() > 0.1
    assert identity.points_source == "a test"


def test_the_blob_is_what_the_network_saw(mica, identity):
    again = mica(torch.from_numpy(identity.blob)[None])[0]
    np.testing.assert_allclose(again, identity.shape, atol=1e-5)
    middle = identity.crop.reshape(112, 2, 112, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1) / 127.5 - 1
    assert np.corrcoef(middle.ravel(), identity.blob.ravel())[0, 1] > 0.97


@pytest.mark.assets
def test_vertices_and_landmarks_match_the_original(parity, mica_input, tmp_path, recipe, random_generator):
    expected = parity("mica_expected.npz")
    parts = recipe("MICA")
    parts["flameModel"] |= random_generator(7)
    torch.save(parts, tmp_path / "mica.tar")
    mica = load_mica(tmp_path / "mica.tar", engine="torch")
    codes = mica(torch.from_numpy(mica_input))
    with torch.no_grad():
        vertices = mica.flame(dataclasses.replace(mica.flame.zeros(batch=(2,)), shape=codes)).vertices
    marks = mica.flame.landmarks(vertices, "ibug68")
    np.testing.assert_allclose(vertices[:, expected["vertex_ids"]], expected["vertices_f32"], rtol=0, atol=2e-6)
    np.testing.assert_allclose(marks, expected["landmarks68_full_f32"], rtol=0, atol=2e-6)


def test_every_file_of_mica_is_there_in_its_unit(identity, tmp_path):
    for _ in range(2):  # The second time over the files of the first.
        save_identity(identity, tmp_path / "out", report={"image": "ann.jpg"})
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == FILES
    np.testing.assert_array_equal(read_mica(out / "identity.npy"), identity.shape)
    for name in ("mesh.obj", "mesh.ply"):
        mesh = read_mesh(out / name)
        assert mesh.vertices.shape == (5023, 3) and mesh.faces.shape == (9976, 3)
        np.testing.assert_allclose(mesh.vertices, 1000 * identity.vertices, atol=1e-3)
    kpt68, kpt7 = np.load(out / "kpt68.npy"), np.load(out / "kpt7.npy")
    assert kpt68.shape == (1, 68, 3) and kpt7.shape == (7, 3) and kpt68.dtype == kpt7.dtype == np.float32
    np.testing.assert_allclose(kpt68[0], 1000 * identity.landmarks, atol=1e-3)
    blob = np.load(out / "arcface.npy")
    assert blob.shape == (3, 112, 112) and blob.dtype == np.float32 and np.abs(blob).max() <= 1
    assert read_image(out / "arcface.jpg").shape == (224, 224, 3)
    saved = load_params(out / "params.npz")
    assert saved.fingerprint == identity.fingerprint and "MICA" in saved.status and "a test" in saved.status
    np.testing.assert_array_equal(saved.params.shape, identity.shape)


def test_the_seven_points_are_in_the_order_of_now(identity, tmp_path):
    """Right eye outer and inner, left eye inner and outer, nose, right and left mouth corner; x is the subject's left.

    The wrong ways that come to mind: rows counted in the 51 points, or the eyes from outside to outside.
    """
    save_identity(identity, tmp_path / "out")
    x, y, _ = np.load(tmp_path / "out" / "kpt7.npy").T
    assert x[0] < x[1] < 0 < x[2] < x[3] and x[5] < x[4] < x[6]
    assert min(y[:4]) > y[4] > max(y[5:])
    assert KPT7 == tuple(17 + row for row in (19, 22, 25, 28, 16, 31, 37))
    wrong = identity.landmarks[[19, 22, 25, 28, 16, 31, 37]]
    assert not np.allclose(wrong, 1e-3 * np.load(tmp_path / "out" / "kpt7.npy"), atol=5e-3)


def test_the_median_of_several_photos(identity):
    shapes = [identity.shape, identity.shape + 1, identity.shape + 5]
    middle = median_identity([dataclasses.replace(identity, shape=shape) for shape in shapes])
    np.testing.assert_array_equal(middle.shape, shapes[1])
    assert middle.blob is None and np.abs(middle.vertices - identity.vertices).max() > 1e-4
    with pytest.raises(InputError, match="at least one"):
        median_identity([])


def test_another_model_is_refused_unless_forced(mica_file):
    own = load_flame()
    assert load_mica(mica_file, flame=own, engine="torch").flame is own
    arrays = dataclasses.replace(
        own.arrays, shape_basis=own.arrays.shape_basis[..., ::-1].copy(), source="flame2023.pkl"
    )
    other = type(own)(arrays, embeddings=own.embeddings)
    with pytest.raises(InputError, match=r"FLAME 2020 and carries it, but flame2023\.pkl is another"):
        load_mica(mica_file, flame=other, engine="torch")
    assert load_mica(mica_file, flame=other, force=True, engine="torch").flame is other


def test_insightfaces_detector_chooses_the_central_face(mica, photo, constant_onnx, tmp_path):
    pytest.importorskip("onnxruntime")
    counts = [2 * (224 // stride) ** 2 for stride in (8, 16, 32)]
    outputs = [np.zeros((count, width), dtype=np.float32) for width in (1, 4, 10) for count in counts]
    five = (TEMPLATE * 0.6 - (50, 40)) / 8
    for column, score in ((4, 0.95), (14, 0.6)):
        row = 2 * (10 * 28 + column)
        outputs[0][row], outputs[3][row], outputs[6][row] = score, 4.0, five.ravel()
    (tmp_path / "antelopev2").mkdir()
    (tmp_path / "antelopev2" / "scrfd_10g_bnkps.onnx").write_bytes(constant_onnx(outputs))
    found = identify(mica, photo, detector=Scrfd(tmp_path))
    scale = 224 / 320
    assert found.points is not None
    np.testing.assert_allclose(found.points, (five * 8 + (14 * 8, 10 * 8)) / scale, rtol=1e-5)
    assert found.points_source == "insightface scrfd_10g_bnkps.onnx"
    for output in outputs:
        output[:] = 0
    (tmp_path / "antelopev2" / "scrfd_10g_bnkps.onnx").write_bytes(constant_onnx(outputs))
    with pytest.raises(NoFaceFound, match="sees no face"):
        identify(mica, photo, detector=Scrfd(tmp_path))


@pytest.mark.detect
def test_without_a_pack_mediapipe_aligns_the_face(mica):
    import flamehead.cli

    photo = read_image(Path(flamehead.cli.__file__).parent / "demo_data" / "astronaut.jpg")
    found = identify(mica, photo)
    assert found.points_source.startswith("mediapipe") and found.points is not None
    # The template's own eyes and mouth are hit within a few pixels of 112.
    matrix = np.column_stack([found.points, np.ones(5)])
    assert np.abs(matrix @ similarity(found.points, TEMPLATE).T - TEMPLATE).max() < 6
