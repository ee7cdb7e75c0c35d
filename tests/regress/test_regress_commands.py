"""`flamehead identity` and `flamehead encode` on recipe-made checkpoints: all files, or one sentence and nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

import flamehead.cli
from flamehead.io import load_params, write_image

PORTRAIT = Path(flamehead.cli.__file__).parent / "demo_data" / "astronaut.jpg"
FILES = {
    "identity": "arcface.jpg arcface.npy identity.npy kpt68.npy kpt7.npy mesh.obj mesh.ply params.npz portrait.png",
    "encode": "p.mat p.mtl p.obj p.png p_depth.jpg p_detail.obj p_inputs.jpg p_kpt2d.txt p_kpt3d.txt p_landmarks2d.jpg "
    "p_normals.png p_rendered_images.jpg p_shape_detail_images.jpg p_shape_images.jpg p_vis.jpg codes.npz params.npz "
    "p_vis_original_size.jpg orig_p_inputs.jpg orig_p_landmarks2d.jpg orig_p_rendered_images.jpg "
    "orig_p_shape_images.jpg orig_p_shape_detail_images.jpg",
}


@pytest.fixture
def run(capsys):
    """A function that runs `flamehead ARGUMENTS` and gives its status and what it printed."""

    def run(*arguments):
        capsys.readouterr()
        try:
            code = flamehead.cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def photos(tmp_path):
    """A folder with two pictures, and landmarks for either."""
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = np.random.default_rng(0).random((60, 80, 3)).astype(np.float32)
    write_image(folder / "p.png", picture)
    write_image(folder / "q.png", picture)
    points = np.random.default_rng(1).uniform((10, 10), (70, 50), (68, 2))
    points[36:42], points[42:48], points[30] = (25, 20), (55, 20), (40, 30)
    points[48], points[54] = (30, 42), (50, 42)
    np.save(tmp_path / "marks.npy", points)
    return folder


@pytest.fixture
def files(mica_file, deca_file):
    return {"identity": mica_file, "encode": deca_file}


def _failed(result, *words):
    code, out, err = result
    assert code == 1 and err.count("\n") == 1 and "Traceback" not in out + err
    for word in words:
        assert word in err, err


@pytest.mark.parametrize("command", FILES)
def test_one_photo_gives_every_file(run, photos, files, tmp_path, command):
    arguments = (command, photos / "p.png", "--checkpoint", files[command], "--landmarks", tmp_path / "marks.npy")
    code, out, err = run(*arguments, "--out", tmp_path / "out")
    assert code == 0 and not err and "p.png: largest coefficient" in out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*FILES[command].split(), "report.json"}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    saved = load_params(tmp_path / "out" / "params.npz")
    assert report["fingerprint"] == saved.fingerprint and report["warnings"] and report["image"].endswith("p.png")
    assert run(*arguments, "--out", tmp_path / "out", "--quiet") == (0, "", "")


@pytest.mark.slow
@pytest.mark.detect
@pytest.mark.parametrize("command", FILES)
def test_a_bad_photo_does_not_stop_the_others(run, photos, files, tmp_path, command):
    code, out, err = run(
        *(command, photos, PORTRAIT, tmp_path / "absent.jpg"),
        *("--checkpoint", files[command], "--out", tmp_path / "out"),
    )
    assert code == 1 and "astronaut.jpg: largest" in out
    assert err.count("\n") == 4 and "3 of 4 photos failed" in err and "No face found" in err and "absent.jpg" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["astronaut"]


@pytest.mark.slow
@pytest.mark.detect
def test_the_median_of_several_photos(run, files, tmp_path):
    out = tmp_path / "out"
    code, _, _ = run("identity", PORTRAIT, PORTRAIT, "--checkpoint", files["identity"], "--out", out, "--median")
    assert code == 0
    inside = {path.name for path in out.iterdir()}
    assert {
        "astronaut",
        "astronaut_2",
        "identity.npy",
        "mesh.obj",
        "report.json",
    } < inside and "arcface.npy" not in inside
    np.testing.assert_array_equal(np.load(out / "identity.npy"), np.load(out / "astronaut" / "identity.npy"))
    assert json.loads((out / "report.json").read_text())["photos"] == 2


@pytest.mark.slow
@pytest.mark.detect
def test_another_face_lends_its_expression(run, photos, files, tmp_path):
    arguments = ("encode", photos / "p.png", "--checkpoint", files["encode"], "--landmarks", tmp_path / "marks.npy")
    assert run(*arguments, "--out", tmp_path / "own")[0] == 0
    assert run(*arguments, "--out", tmp_path / "lent", "--transfer", PORTRAIT)[0] == 0
    own, lent = (load_params(tmp_path / name / "params.npz").params for name in ("own", "lent"))
    assert (own.shape == lent.shape).all() and (own.root == lent.root).all()
    assert (own.jaw != lent.jaw).any() and (own.expression != lent.expression).any()


def test_wrong_words_and_files_leave_nothing_behind(run, photos, files, tmp_path):
    out = tmp_path / "out"
    for command, other in (("identity", "encode"), ("encode", "identity")):
        photo = photos / "p.png"
        _failed(run(command, photo, "--checkpoint", files[other], "--out", out), "checkpoint", "pass the")
        _failed(run(command, photo, "--checkpoint", tmp_path / "no.tar", "--out", out), "There is no file", "licence")
        empty = tmp_path / "empty"
        empty.mkdir(exist_ok=True)
        _failed(run(command, empty, "--checkpoint", files[command], "--out", out), "holds no photos")
        marks = ("--landmarks", tmp_path / "marks.npy")
        _failed(run(command, photos, "--checkpoint", files[command], "--out", out, *marks), "cannot serve 2 photos")
        assert run(command, "--checkpoint", files[command], "--out", out)[0] == 2
    identity = ("identity", photos / "p.png", "--checkpoint", files["identity"], "--out", out)
    _failed(run(*identity, "--detector", tmp_path), "no detector of insightface")
    _failed(run(*identity, "--detector", tmp_path, *marks), "give one of them")
    _failed(
        run("encode", photos / "p.png", "--checkpoint", files["encode"], "--out", out, "--model", "x.pkl"), "--data"
    )
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", FILES)
def test_a_disk_that_fails_leaves_nothing_behind(run, photos, files, tmp_path, command, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flamehead.regress.mica_files.save_params", full)
    monkeypatch.setattr("flamehead.regress.deca_files.save_params", full)
    out = tmp_path / "out"
    before = set(tmp_path.iterdir())
    arguments = ("--checkpoint", files[command], "--landmarks", tmp_path / "marks.npy", "--out", out)
    _failed(run(command, photos / "p.png", *arguments), "No space left")
    assert set(tmp_path.iterdir()) == before
