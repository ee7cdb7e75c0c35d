"""`flamehead fit --same-person` and `--cameras`: what is written, and what is refused."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from flamehead import load_flame, load_params, write_image
from flamehead.io import read_mesh

EACH = {"params.npz", "mesh.obj", "mesh.ply", "overlay.png", "landmarks.npz", "report.json"}
SIZE, FOCAL = (240, 240), 400.0
FLIP = np.diag([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def shoot(tmp_path_factory):
    """One built-in head, rendered from three sides, with its landmarks and cameras."""
    from dataclasses import replace

    from flamehead.data import Camera
    from flamehead.render import render

    folder = tmp_path_factory.mktemp("shoot")
    (folder / "marks").mkdir()
    flame = load_flame(dtype=torch.float64)
    shape = torch.randn(flame.n_shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    vertices = flame(replace(flame.zeros(), shape=shape)).vertices
    marks, entries, photos = flame.landmarks(vertices, "mediapipe478").numpy(), [], []
    for name, yaw in (("a", -25.0), ("b", 5.0), ("c", 30.0)):
        turn = FLIP @ Rotation.from_euler("yx", [yaw, 4.0], degrees=True).as_matrix().T
        place = np.array([0.02, -0.01, 0.65])
        matrix = np.array([[FOCAL, 0, 120], [0, FOCAL, 120], [0, 0, 1]])
        lens = torch.tensor([[FOCAL, FOCAL], [120.0, 120.0]], dtype=torch.float64)
        camera = Camera(torch.tensor(turn), torch.tensor(place), lens[0], lens[1], SIZE)
        photos.append(folder / f"{name}.png")
        write_image(photos[-1], np.asarray(render(vertices, flame.faces, camera).image)[..., :3])
        x = marks @ turn.T + place
        np.save(folder / "marks" / f"{name}.npy", FOCAL * x[:, :2] / x[:, 2:] + 120.0)
        entries.append({"image": f"{name}.png", "K": matrix.tolist(), "R": turn.tolist(), "t": place.tolist()})
    (folder / "cameras.json").write_text(json.dumps({"cameras": entries}))
    return folder, photos, vertices.numpy()


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_one_person(run, shoot, tmp_path):
    folder, photos, _ = shoot
    options = ("--landmarks", folder / "marks", "--focal", FOCAL)
    done = run("fit", *photos, "--same-person", "--out", tmp_path / "out", *options)
    assert (done.code, done.err) == (0, "")
    assert names(tmp_path / "out") == {
        "a",
        "b",
        "c",
        "params.npz",
        "neutral.obj",
        "neutral.ply",
        "sheet.png",
        "report.json",
    }
    shapes = [load_params(tmp_path / "out" / name / "params.npz").params.shape for name in "abc"]
    shared = load_params(tmp_path / "out" / "params.npz").params
    assert all(torch.equal(shape, shared.shape) for shape in shapes) and not shared.expression.any()
    assert all(names(tmp_path / "out" / name) == EACH for name in "abc")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(report["photos"]) == 3 and report["converged"] and report["warnings"] == []
    assert done.out.splitlines()[-1].startswith("One identity for 3 photos: Converged")


@pytest.mark.slow
def test_one_person_by_pixels(run, shoot, tmp_path):
    folder, photos, _ = shoot
    (tmp_path / "masks").mkdir()
    half = np.zeros((*SIZE, 3), np.float32)
    half[:, :130] = 1.0
    write_image(tmp_path / "masks" / "a.png", half)
    options = ("--landmarks", folder / "marks", "--focal", FOCAL, "--photometric", "--mask", tmp_path / "masks")
    done = run("fit", *photos, "--same-person", "--out", tmp_path / "out", *options)
    assert (done.code, done.err) == (0, "") and "PSNR" in done.out
    last = done.out.splitlines()[-1]
    assert last.startswith("One identity and one albedo for 3 photos") and "limit" not in last
    more = {"texture.png", "photo_texture.png"}
    assert (
        names(tmp_path / "out")
        == {*"abc", "params.npz", "neutral.obj", "neutral.mtl", "neutral.ply", "sheet.png"} | {"report.json"} | more
    )
    assert all(names(tmp_path / "out" / name) == EACH | more | {"mesh.mtl"} for name in "abc")
    shared = load_params(tmp_path / "out" / "params.npz")
    each = [load_params(tmp_path / "out" / name / "params.npz") for name in "abc"]
    assert shared.albedo is not None
    lights = []
    for one in each:
        assert one.albedo is not None and one.light is not None
        assert torch.equal(one.params.shape, shared.params.shape) and torch.equal(one.albedo, shared.albedo)
        lights.append(one.light)
    assert not torch.allclose(lights[0], lights[2])
    assert "map_Kd photo_texture.png" in (tmp_path / "out" / "neutral.mtl").read_text()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert all(one["photometric"]["psnr_after"] > one["photometric"]["psnr_before"] for one in report["photos"])
    # Photo a is half hidden by its mask.
    seen = [one["photometric"]["pixels"] for one in report["photos"]]
    assert seen[0] < 0.8 * seen[2]


@pytest.mark.slow
def test_one_lens(run, shoot, tmp_path):
    folder, photos, _ = shoot
    options = ("--landmarks", folder / "marks", "--one-lens", "--out", tmp_path / "out")
    assert run("fit", *photos, "--same-person", *options).code == 0
    focals = [float(load_params(tmp_path / "out" / name / "params.npz").camera.focal[0]) for name in "abc"]
    assert focals == pytest.approx([focals[0]] * 3)
    assert "add --same-person" in run("fit", photos[0], "--one-lens", "--out", tmp_path / "out").complaint


def test_masks_of_several_photos(run, shoot, tmp_path):
    folder, photos, _ = shoot
    arguments = ("fit", *photos, "--same-person", "--photometric", "--landmarks", folder / "marks")
    arguments = (*arguments, "--out", tmp_path / "out", "--mask")
    assert "needs a folder with a mask" in run(*arguments, photos[0]).complaint
    assert "No mask for any of the photos" in run(*arguments, folder / "marks").complaint


def test_known_cameras(run, shoot, tmp_path):
    folder, photos, vertices = shoot
    options = ("--landmarks", folder / "marks", "--cameras", folder / "cameras.json")
    done = run("fit", *photos, "--out", tmp_path / "out", *options)
    assert (done.code, done.err) == (0, "")
    found = read_mesh(tmp_path / "out" / "mesh.obj").vertices
    face = load_flame().regions["face"]
    assert 1000 * np.linalg.norm(found - vertices, axis=1)[face].mean() < 3.0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["metres_per_unit"] == 1.0


@pytest.mark.slow
def test_a_colmap_folder(run, shoot, tmp_path):
    folder, photos, _ = shoot
    (tmp_path / "cameras.txt").write_text("# cameras\n1 SIMPLE_RADIAL 240 240 400 120 120 0.0\n")
    lines = ["# images"]
    for i, entry in enumerate(json.loads((folder / "cameras.json").read_text())["cameras"]):
        x, y, z, w = Rotation.from_matrix(entry["R"]).as_quat()
        place = " ".join(str(5.0 * n) for n in entry["t"])
        lines += [f"{i + 1} {w} {x} {y} {z} {place} 1 {entry['image']}", ""]
    (tmp_path / "images.txt").write_text("\n".join(lines) + "\n")
    options = ("--landmarks", folder / "marks", "--cameras", tmp_path, "--quiet")
    done = run("fit", *photos, "--out", tmp_path / "out", *options)
    assert (done.code, done.out, done.err) == (0, "", "")
    scale = json.loads((tmp_path / "out" / "report.json").read_text())["metres_per_unit"]
    assert scale == pytest.approx(0.2, rel=0.1)


def test_mistakes_of_the_cameras_are_one_sentence(run, shoot, tmp_path):
    folder, photos, _ = shoot
    content = json.loads((folder / "cameras.json").read_text())
    (tmp_path / "gl.json").write_text(json.dumps(content | {"convention": "opengl"}))
    arguments = ("fit", *photos, "--out", tmp_path / "out", "--landmarks", folder / "marks", "--cameras")
    assert "OpenGL's axes" in run(*arguments, tmp_path / "gl.json").complaint
    assert "in millimetres" not in run(*arguments, tmp_path / "missing.json").complaint
    (tmp_path / "few.json").write_text(json.dumps({"cameras": content["cameras"][:2]}))
    assert "has no camera for c.png" in run(*arguments, tmp_path / "few.json").complaint
    assert not (tmp_path / "out").exists()


def test_wrong_usage(run, shoot, tmp_path):
    folder, photos, _ = shoot
    for options, sentence in (
        ((photos[0], "--same-person"), "needs two or more photos"),
        ((*photos, "--same-person", "--cameras", folder), "leave out --same-person"),
        ((*photos, "--cameras", folder, "--focal", 400), "leave out --focal"),
    ):
        done = run("fit", *options, "--out", tmp_path)
        assert done.code == 2 and sentence in done.err
    one = ("--same-person", "--landmarks", folder / "marks" / "a.npy", "--out", tmp_path)
    assert "needs a folder" in run("fit", *photos, *one).complaint
