"""Meshes with a texture of their own, drawn by `flamehead render`."""

from dataclasses import replace

import numpy as np
import pytest

from flamehead import load_flame, read_image
from flamehead.cli._subjects import _rows_of_model
from flamehead.io import Mesh

SIZE = ("--size", 96)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One posed head as parameters, as GLB and as OBJ with the texture of the built-in head."""
    from flamehead.cli import main

    folder = tmp_path_factory.mktemp("textured")
    words = ["pose", "--set", "smile=1", "--texture", "mean", "--quiet", "--out"]
    assert main([*words, *(str(folder / name) for name in ("t.npz", "t.glb", "t.obj"))]) == 0
    return folder


@pytest.fixture(scope="module")
def flame():
    return load_flame()


def drawn(run, out, *words):
    assert run("render", *words, *SIZE, "--out", out).code == 0
    return read_image(out)


@pytest.mark.parametrize("name", ["t.glb", "t.obj"])
def test_a_mesh_is_drawn_with_its_texture(run, folder, tmp_path, name):
    out = tmp_path / "p.png"
    wanted = drawn(run, out, folder / "t.npz", "--texture", "mean")
    assert np.abs(drawn(run, out, folder / name) - wanted).mean() < 0.002
    assert np.abs(drawn(run, out, folder / name, "--map", "clay") - wanted).mean() > 0.02
    # What the model knows is known of a file that repeats vertices at seams, too.
    assert np.abs(drawn(run, out, folder / name, "--texture", "mean") - wanted).mean() < 0.002
    for what in ("uv", "regions"):
        of_model = drawn(run, out, folder / "t.npz", "--map", what)
        assert np.abs(drawn(run, out, folder / name, "--map", what) - of_model).mean() < 0.005


def test_colours_follow_vertices_that_a_file_repeats(flame):
    from flamehead.builtin import builtin_head

    head, faces = builtin_head(), flame.faces.numpy()
    pairs = np.stack([faces.reshape(-1), head.uv_faces.reshape(-1)], axis=1)
    split, corners = np.unique(pairs, axis=0, return_inverse=True)
    points = flame.template.numpy().astype(float)
    mesh = Mesh(points[split[:, 0]], corners.reshape(-1, 3))
    assert len(split) > len(points)
    rows = _rows_of_model(mesh, flame)
    assert rows is not None
    np.testing.assert_array_equal(mesh.vertices[rows][faces], points[faces])
    # Triangles that hang together in another way are another mesh.
    assert _rows_of_model(replace(mesh, faces=mesh.faces[::-1].copy()), flame) is None
    torn = mesh.vertices.copy()
    torn[np.flatnonzero(np.bincount(split[:, 0])[split[:, 0]] > 1)[0]] += 1.0
    assert _rows_of_model(replace(mesh, vertices=torn), flame) is None


def test_no_input_is_written_over(run, folder, tmp_path):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    done = run("render", folder / "t.obj", *SIZE, "--out", folder / "t.png")
    assert "would replace the texture of" in done.complaint
    for words in ((folder / "t.npz", "--map", "depth"), ("--uv", folder / "t.obj", folder / "t.npz", "--map", "depth")):
        assert "one of its inputs" in run("render", *words, *SIZE, "--out", folder / "t.npz").complaint
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_folders_and_false_names_are_said(run, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("a.glb", "a.npz"):
        (tmp_path / name).write_text("some words\n")
    for name, wanted in (("empty", "it is a folder"), ("a.glb", "is no GLB file"), ("a.npz", "is no npz file")):
        assert wanted in run("render", tmp_path / name, "--out", tmp_path / "p.png").complaint
