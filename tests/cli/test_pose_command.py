"""Numbers in, heads out; a wrong number is one sentence and leaves nothing behind."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from flamehead import load_flame, load_params
from flamehead.builtin import builtin_head
from flamehead.io import read_mesh


@pytest.fixture(scope="module")
def flame():
    return load_flame()


def test_every_format_holds_the_same_head(run, flame, tmp_path):
    files = [tmp_path / f"head.{kind}" for kind in ("obj", "ply", "glb", "npz")]
    numbers = ("--shape", 1.5, -0.3, "--expression", 0.5, "--jaw", 12, "--neck", 0, -10, 5, "--eyes", 3, -20)
    done = run("pose", *numbers, "--out", *files)
    assert done.code == 0 and done.err == "" and all(f"Wrote {file}" in done.out for file in files)
    saved = load_params(files[3])
    params = saved.params
    assert params.shape[:3].tolist() == pytest.approx([1.5, -0.3, 0]) and float(params.expression[0]) == 0.5
    assert params.jaw.tolist() == pytest.approx([math.radians(12), 0, 0])
    assert params.neck.tolist() == pytest.approx([0, math.radians(-10), math.radians(5)])
    for eye in (params.left_eye, params.right_eye):
        assert eye.tolist() == pytest.approx([math.radians(3), math.radians(-20), 0])
    assert saved.fingerprint == flame.fingerprint and saved.model_source == "built-in head"
    vertices = flame(params).vertices.numpy()
    for file in files[:3]:
        mesh = read_mesh(file)
        np.testing.assert_allclose(mesh.vertices, vertices, atol=1e-6)
        np.testing.assert_array_equal(mesh.faces, flame.faces.numpy())
        assert mesh.colors is not None
        np.testing.assert_allclose(mesh.colors, flame.colors, atol=0.004)
    pixels = saved.camera.project(torch.from_numpy(vertices))
    assert float(pixels.min()) > 0 and float(pixels.max()) < 512
    assert len(list(tmp_path.iterdir())) == 4


def test_names_move_what_they_say(run, flame, tmp_path):
    out = tmp_path / "a.npz"
    assert run("pose", "--set", "smile=1.2", "nose_width=-2", "jaw_open=0.5", "blink_left=1", "-o", out).code == 0
    params, head = load_params(out).params, builtin_head()
    for name, amount in (("smile_left", 1.2), ("smile_right", 1.2), ("blink_left", 1.0), ("blink_right", 0.0)):
        assert float(params.expression[head.expression_names.index(name)]) == pytest.approx(amount)
    assert float(params.shape[head.shape_names.index("nose_width")]) == -2
    assert float(params.jaw[0]) == pytest.approx(math.radians(10))


@pytest.mark.parametrize(
    ("name", "landmark", "axis", "sign"),
    [("jaw_open", 8, 1, -1), ("turn_left", 30, 0, 1), ("nod", 30, 1, -1), ("tilt_left", 27, 0, 1)],
)
def test_turns_go_where_their_names_say(run, flame, tmp_path, name, landmark, axis, sign):
    assert run("pose", "--set", f"{name}=1", "-o", tmp_path / "a.npz", "--quiet").out == ""
    moved, rest = (
        flame.landmarks(flame(params).vertices, "ibug68")[landmark, axis]
        for params in (load_params(tmp_path / "a.npz").params, flame.zeros())
    )
    assert sign * float(moved - rest) > 0.005


@pytest.mark.parametrize(("name", "axis"), [("look_left", 0), ("look_up", 1)])
def test_gaze_goes_where_its_name_says(run, flame, tmp_path, name, axis):
    assert run("pose", "--set", f"{name}=1", "-o", tmp_path / "a.npz").code == 0
    moved, rest = (
        flame.landmarks(flame(params).vertices, "mediapipe478")[[468, 473], axis]
        for params in (load_params(tmp_path / "a.npz").params, flame.zeros())
    )
    assert bool((moved - rest > 0.002).all())


def test_a_random_person_is_the_same_again_and_another_with_another_seed(run, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert run("pose", "--random", seed, "-o", tmp_path / f"{name}.npz").code == 0
    a, b, c = (load_params(tmp_path / f"{name}.npz").params.shape for name in "abc")
    assert a.equal(b) and not a.equal(c) and float(a.std()) == pytest.approx(1, abs=0.15)


def test_parameters_of_a_file_are_the_start(run, tmp_path):
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    run("pose", "--shape", 1, 2, 3, "--jaw", 5, "-o", first)
    assert run("pose", first, "--shape", 9, "--set", "jaw_open=1", "-o", second).code == 0
    params = load_params(second).params
    assert params.shape[:3].tolist() == [9, 2, 3] and float(params.jaw[0]) == pytest.approx(math.radians(25))


def test_one_of_several_heads(run, tmp_path):
    run("pose", "-o", tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as stored:
        arrays = dict(stored)
    arrays["jaw"] = np.linspace(0, 0.3, 12, dtype=np.float32).reshape(4, 3)
    np.savez(tmp_path / "four.npz", **arrays)
    out = tmp_path / "b.npz"
    assert "holds 4 heads; choose one with --frame 0..3" in run("pose", tmp_path / "four.npz", "-o", out).complaint
    assert ", not 4" in run("pose", tmp_path / "four.npz", "--frame", 4, "-o", out).complaint
    assert run("pose", tmp_path / "four.npz", "--frame", 2, "-o", out).code == 0
    np.testing.assert_array_equal(load_params(out).params.jaw.numpy(), arrays["jaw"][2])


def test_textures(run, flame, tmp_path):
    from flamehead.io import read_image, write_image

    write_image(tmp_path / "red.png", np.full((8, 8, 3), [1.0, 0.0, 0.0]))
    done = run("pose", "--texture", tmp_path / "red.png", "-o", tmp_path / "a.obj", tmp_path / "a.glb")
    assert done.code == 0 and (tmp_path / "a.mtl").is_file() and "a.png" in done.out
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0, 0], [1, 0, 0])
    assert b"image/png" in (tmp_path / "a.glb").read_bytes()
    assert len(read_mesh(tmp_path / "a.obj").vertices) == 5023


def test_the_names_are_listed(run):
    done = run("pose", "--list")
    assert done.code == 0 and all(name in done.out for name in ("jaw_open", "smile", "nose_width", "viseme_ee"))
    # 14 movements of both sides at once and 15 pairs are the 44 components that have names.
    assert "    blink (or blink_left, blink_right)\n" in done.out and done.out.count("_left, ") == 15


def test_where_nothing_can_be_written_is_said_before_the_work(run, tmp_path, monkeypatch):
    (tmp_path / "a.glb").mkdir()
    monkeypatch.setattr("flamehead.cli._heads.open_flame", lambda *_, **__: pytest.fail("opened for nothing"))
    assert "it is a folder" in run("pose", "--out", tmp_path / "a.glb").complaint
    if (nowhere := Path("/proc")).is_dir():
        assert "Cannot write /proc/a.glb" in run("pose", "--out", nowhere / "a.glb").complaint


@pytest.mark.parametrize(
    ("words", "code", "wanted"),
    [
        (("--jaw", 3), 2, "--out head.glb"),
        (("--set", "smile", "--out", "a.obj"), 2, "'smile'"),
        (("--set", "smile=x", "--out", "a.obj"), 2, "NAME=NUMBER"),
        (("--jaw", 1, 2, "--out", "a.obj"), 2, "1 or 3 angles"),
        (("--eyes", 1, "--out", "a.obj"), 2, "2 angles"),
        (("--jaw", "nan", "--out", "a.obj"), 2, "not finite"),
        (("--random", 1, "--shape", 1, "--out", "a.obj"), 2, "leave out --shape"),
        (("--set", "smil=1", "--out", "a.obj"), 1, "The built-in head has no direction 'smil'; did you mean smile?"),
        (("--set", "xyzzy=1", "--out", "a.obj"), 1, "--list"),
        (("--out", "a.fbx"), 1, "'.fbx'"),
        (("--out", "no/a.obj"), 1, "does not exist"),
        (("no.npz", "--out", "a.obj"), 1, "no.npz"),
        (("--model", "no.pkl", "--out", "a.obj"), 1, "no.pkl"),
        (("--texture", "no.png", "--out", "a.obj"), 1, "no.png"),
        (("--uv", "no.obj", "--out", "a.obj"), 1, "no.obj"),
        (("--shape", *[0.1] * 301, "--out", "a.obj"), 1, "301 shape"),
    ],
)
def test_what_cannot_be_is_one_sentence(run, tmp_path, monkeypatch, words, code, wanted):
    monkeypatch.chdir(tmp_path)
    done = run("pose", *words)
    assert done.code == code and wanted in done.err and "Traceback" not in done.err
    assert done.err.startswith("flamehead: ") and done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_parameters_of_another_model_are_refused(run, tmp_path):
    run("pose", "-o", tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as stored:
        arrays = dict(stored) | {"fingerprint": np.array("other")}
    np.savez(tmp_path / "b.npz", **arrays)
    assert "name theirs with --model" in run("pose", tmp_path / "b.npz", "-o", tmp_path / "c.obj").complaint
    assert not (tmp_path / "c.obj").exists()


def test_textures_and_layouts_of_other_meshes_are_refused(run, tmp_path):
    done = run("pose", "--texture", tmp_path / "FLAME_texture.npz", "-o", tmp_path / "a.glb")
    assert "laid out for FLAME's mesh" in done.complaint
    lines = ["v 0 0 0", "v 1 0 0", "v 0 1 0", "vt 0 0", "f 1/1 2/1 3/1"]
    (tmp_path / "other.obj").write_text("\n".join(lines))
    assert "other triangles" in run("pose", "--uv", tmp_path / "other.obj", "-o", tmp_path / "b.obj").complaint
    assert [path.name for path in tmp_path.iterdir()] == ["other.obj"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The built-in head as files, which stand in for a licensed model."""
    from flamehead.builtin.export import export_builtin

    folder = tmp_path_factory.mktemp("export")
    export_builtin(folder)
    return folder / "generic_model.pkl", folder / "head_template_mesh.obj"


@pytest.mark.slow
def test_a_model_file_with_its_template(run, exported, tmp_path):
    model, template = exported
    out = tmp_path / "a.obj"
    done = run("pose", "--model", model, "--uv", template, "--set", "jaw_open=1", "-o", out, tmp_path / "a.npz")
    assert done.code == 0 and "vt " in out.read_text()
    assert load_params(tmp_path / "a.npz").model_source == str(model)
    assert (
        run(
            "render", tmp_path / "a.npz", "--model", model, "--uv", template, "--map", "uv", "-o", tmp_path / "a.png"
        ).code
        == 0
    )
