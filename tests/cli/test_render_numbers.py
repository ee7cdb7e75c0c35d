"""Numbers of maps in files, and heads over the photo that they were fitted to."""

import numpy as np
import pytest
from PIL import Image

from flamehead import read_image, write_image
from flamehead.errors import InputError


@pytest.fixture
def posed(run, tmp_path):
    """A params.npz."""
    assert run("pose", "--random", 3, "-o", tmp_path / "posed.npz").code == 0
    return tmp_path / "posed.npz"


def test_depth_as_metres_and_as_millimetres(run, tmp_path):
    metres, whole = tmp_path / "d.npy", tmp_path / "d.png"
    assert "float32 of shape (80, 60)" in run("render", "--map", "depth", "--size", 60, 80, "-o", metres).out
    assert run("render", "--map", "depth-mm", "--size", 60, 80, "-o", whole, "--quiet").code == 0
    depth = np.load(metres)
    seen = np.isfinite(depth)
    assert 0.2 < seen.mean() < 0.9 and 0.3 < np.ptp(depth[seen]) / 0.3 < 2
    with Image.open(whole) as image:
        millimetres = np.asarray(image)
        assert image.mode.startswith("I;16") and millimetres.dtype == np.uint16
    assert not millimetres[~seen].any()
    assert np.abs(millimetres[seen] - 1000 * depth[seen]).max() <= 1
    tif = tmp_path / "d.tif"
    assert run("render", "--map", "depth-mm", "--size", 60, 80, "-o", tif).code == 0
    with Image.open(tif) as image:
        np.testing.assert_array_equal(np.asarray(image), millimetres)


@pytest.mark.parametrize(("what", "shape"), [("normals", (40, 40, 3)), ("uv", (40, 40, 2)), ("regions", (40, 40))])
def test_other_numbers_with_their_camera(run, tmp_path, what, shape):
    out = tmp_path / "m.npz"
    assert run("render", "--map", what, "--size", 40, "-o", out).code == 0
    with np.load(out) as found:
        assert found[what].shape == shape and found["alpha"].shape == (40, 40)
        assert found["camera_rotation"].shape == (3, 3) and found["camera_focal"].shape == (2,)
        seen = found["alpha"] > 0
        if what == "normals":
            np.testing.assert_allclose(np.linalg.norm(found[what][seen], axis=-1), 1, atol=1e-5)
        if what == "uv":
            assert np.isnan(found[what][~seen]).all() and found[what][seen].min() >= 0
        if what == "regions":
            assert found[what].max() < len(found["region_names"]) and "nose" in found["region_names"]


def test_numbers_of_several_heads_stand_behind_each_other(run, tmp_path):
    out = tmp_path / "d.npy"
    assert run("render", "--turntable", "--frames", 3, "--map", "depth", "--size", 32, "-o", out).code == 0
    assert np.load(out).shape == (3, 32, 32)
    done = run("render", "--turntable", "--map", "depth-mm", "--size", 32, "-o", tmp_path / "d.png")
    assert done.code == 1 and "one depth map, not 8" in done.complaint


def test_a_map_shows_the_numbers(run, tmp_path):
    for name in ("n.npy", "n.png"):
        done = run("render", "--map", "normals", "--size", 120, "-o", tmp_path / name, "--background", "#000000")
        assert done.code == 0
    numbers, picture = np.load(tmp_path / "n.npy"), read_image(tmp_path / "n.png")
    seen = (numbers != 0).any(-1)
    wanted = 0.5 + 0.5 * numbers * [1, -1, -1]
    assert np.median(np.abs(picture - wanted)[seen]) < 0.01 and not picture[:5].any()
    # It looks at the viewer, and its left side, right in the picture, to the right.
    assert (numbers[seen][:, 2] < 0.02).mean() > 0.98 and wanted[60, seen[60].nonzero()[0][-5], 0] > 0.6


def test_a_head_over_its_photo(run, posed, tmp_path):
    with np.load(posed) as stored:
        width, height = (int(side) for side in stored["camera_size"])
    photo = np.random.default_rng(0).uniform(size=(height, width, 3))
    write_image(tmp_path / "photo.png", photo)
    photo = read_image(tmp_path / "photo.png")
    pictures = []
    for words in ((), ("--opacity", 0.5), ("--map", "normals"), (posed,)):
        out = tmp_path / "o.png"
        done = run("render", posed, *words, "--photo", tmp_path / "photo.png", "-o", out)
        assert done.code == 0, done.err
        pictures.append(read_image(out))
    alone = run("render", posed, "--saved-camera", "-o", tmp_path / "a.png", "--background", "#00ff00")
    assert alone.code == 0
    covered = (np.abs(read_image(tmp_path / "a.png") - [0, 1, 0]) > 0.02).any(-1)
    for picture in pictures:
        assert picture.shape == photo.shape
        np.testing.assert_array_equal(picture[~covered], photo[~covered])
        assert np.abs(picture - photo)[covered].mean() > 0.05
    # Half as much of the head is half of it and half of the photo; twice the same head is the head.
    np.testing.assert_allclose(pictures[1], (photo + pictures[0]) / 2, atol=0.005)
    assert np.abs(pictures[3] - pictures[0]).max() < 0.6 and np.abs(pictures[3] - pictures[0]).mean() < 1e-3


@pytest.mark.parametrize(
    ("words", "code", "wanted"),
    [
        (("--map", "clay", "-o", "a.npy"), 2, "without numbers"),
        (("--map", "depth-mm", "-o", "a.jpg"), 1, "depth-mm"),
        (("--opacity", 2, "-o", "a.png"), 2, "--opacity"),
        (("--opacity", "nan", "-o", "a.png"), 2, "--opacity"),
        (("--photo", "p.png", "-o", "a.png"), 2, "params.npz"),
        (("x.npz", "--photo", "p.png", "-o", "a.npy"), 2, "not blended"),
        (("x.npz", "--photo", "p.png", "--yaw", 3, "-o", "a.png"), 2, "--yaw"),
        (("--flame-variant", "2020", "-o", "a.png"), 1, "--model"),
    ],
)
def test_what_does_not_go_together(run, tmp_path, monkeypatch, words, code, wanted):
    monkeypatch.chdir(tmp_path)
    done = run("render", *words)
    assert done.code == code and wanted in done.err and done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_another_photo_is_refused(run, posed, tmp_path):
    write_image(tmp_path / "photo.png", np.zeros((20, 30, 3)))
    done = run("render", posed, "--photo", tmp_path / "photo.png", "-o", tmp_path / "o.png")
    assert done.code == 1 and "30 x 20" in done.complaint and not (tmp_path / "o.png").exists()


@pytest.mark.parametrize("command", ["render", "pose"])
def test_the_release_reaches_the_model(run, tmp_path, monkeypatch, command):
    asked = []

    def load_flame(path, *, variant):
        asked.append((path, variant))
        raise InputError("Opened.")

    monkeypatch.setattr("flamehead.model.load_flame", load_flame)
    model = tmp_path / "generic_model.pkl"
    words = ("--model", model, "--flame-variant", "2023-no-jaw")
    assert "Opened." in run(command, "-o", tmp_path / ("a.png" if command == "render" else "a.obj"), *words).complaint
    assert asked == [(model, "2023-no-jaw")]
    assert "--model" in run(command, "-o", tmp_path / "a.npz", "--flame-variant", "2020").complaint


def test_the_nearer_head_covers_the_farther(run, posed, tmp_path):
    with np.load(posed) as stored:
        arrays = dict(stored)
    width, height = (int(side) for side in arrays["camera_size"])
    write_image(tmp_path / "photo.png", np.zeros((height, width, 3)))
    # Behind the first head, and to its side; parameters of one type, the camera of another.
    arrays["translation"] = np.array([0.05, 0.0, -0.3], dtype=np.float32)
    arrays["camera_translation"] = arrays["camera_translation"].astype(np.float64)
    np.savez(tmp_path / "far.npz", **arrays)
    pictures = []
    for inputs in ([posed, tmp_path / "far.npz"], [tmp_path / "far.npz", posed], [posed]):
        out = tmp_path / "o.png"
        assert run("render", *inputs, "--photo", tmp_path / "photo.png", "-o", out).code == 0
        pictures.append(read_image(out))
    np.testing.assert_array_equal(pictures[0], pictures[1])
    alone = pictures[2].any(-1)
    assert np.abs(pictures[0] - pictures[2])[alone].mean() < 1e-3 and pictures[0][~alone].any()
