"""Meshes survive the round trip in order and value; broken files get one sentence."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flamehead.errors import InputError
from flamehead.io.meshes import read_mesh, write_obj, write_ply

WRITERS = {"obj": write_obj, "ply": write_ply}


def random_mesh(seed: int, n_vertices: int = 30, n_faces: int = 40):
    rng = np.random.default_rng(seed)
    vertices = rng.normal(scale=0.1, size=(n_vertices, 3)).astype(np.float32)
    return vertices, rng.integers(0, n_vertices, (n_faces, 3)), rng.uniform(size=(n_vertices, 3))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_round_trip(tmp_path, kind, as_tensor):
    vertices, faces, colors = random_mesh(0)
    given_ = tuple(map(torch.tensor, (vertices, faces, colors))) if as_tensor else (vertices, faces, colors)
    for color in (None, given_[2]):
        WRITERS[kind](tmp_path / f"a.{kind}", given_[0], given_[1], colors=color)
        mesh = read_mesh(tmp_path / f"a.{kind}")
        np.testing.assert_allclose(mesh.vertices, vertices, rtol=1e-7, atol=1e-9)
        np.testing.assert_array_equal(mesh.faces, faces)
        if color is None:
            assert mesh.colors is None
        else:
            assert mesh.colors is not None
            np.testing.assert_allclose(mesh.colors, colors, atol=0.5 / 255 + 1e-6)
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{kind}"]


@given(
    st.lists(st.tuples(*[st.floats(-1e3, 1e3, width=32)] * 3), min_size=1, max_size=12),
    st.lists(st.tuples(*[st.integers(0, 11)] * 3), max_size=12),
)
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("kind", WRITERS)
def test_any_mesh_keeps_its_order(tmp_path_factory, kind, rows, corners):
    # Vertices that no face names, equal vertices and faces without area all stay.
    path = tmp_path_factory.mktemp("mesh") / f"a.{kind}"
    vertices = np.array(rows, dtype=np.float32)
    faces = np.array(corners, dtype=np.int64).reshape(-1, 3) % len(vertices)
    WRITERS[kind](path, vertices, faces)
    mesh = read_mesh(path)
    np.testing.assert_allclose(mesh.vertices, vertices, rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(mesh.faces, faces)


def test_an_obj_from_elsewhere(tmp_path):
    head = (
        "# a comment\nmtllib none.mtl\no thing\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 9 9 9\nvt 0 0\nvt 1 1\nvn 0 0 1\n"
    )
    body = "g face\nusemtl skin\nf 1/1/1 2/2/1 3/1/1 4/2/1  # a square\nf -5//1 -4//1 \\\n -3//1\nl 1 2\n"
    (tmp_path / "a.obj").write_text(head + body)
    mesh = read_mesh(tmp_path / "a.obj")
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [9, 9, 9]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [0, 1, 2]])
    assert mesh.colors is None


def test_a_point_cloud(tmp_path):
    header = (
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    (tmp_path / "a.ply").write_text(header + "0 0 1\n0 1 2\n")
    mesh = read_mesh(tmp_path / "a.ply")
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 1], [0, 1, 2]])
    assert mesh.faces.shape == (0, 3) and mesh.colors is None


BROKEN = {
    "text.ply": b"no mesh at all",
    "text.obj": b"no mesh at all",
    "empty.obj": b"",
    "empty.stl": b"",
    "cut.glb": b"glTF\x02\x00\x00\x00",
    "what.foo": b"x",
    "short.obj": b"v 1 2\n",
    "ragged.obj": b"v 1 2 3\nv 1 2\n",
    "words.obj": b"v one two three\n",
    "outside.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n",
    "zero.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf -9 1 2\n",
    "nan.obj": b"v 0 0 0\nv 1 nan 0\nv 0 1 0\nf 1 2 3\n",
    "cut.ply": b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nend_header\n1234",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_get_one_sentence(tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(InputError) as caught:
        read_mesh(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files_get_one_sentence(tmp_path):
    with pytest.raises(InputError, match="check the name"):
        read_mesh(tmp_path / "none.obj")


@pytest.mark.parametrize("kind", WRITERS)
def test_bad_meshes_are_not_written(tmp_path, kind):
    vertices, faces, colors = random_mesh(1)
    path = tmp_path / f"a.{kind}"
    bad = vertices.copy()
    bad[3, 1] = np.nan
    for arguments, word in (
        ((bad, faces, None), "NaN"),
        ((vertices, faces + 5, None), "another mesh"),
        ((vertices[None], faces, None), "one mesh"),
        ((vertices, faces, colors[:4]), "RGB row"),
    ):
        with pytest.raises(InputError, match=word):
            WRITERS[kind](path, *arguments[:2], colors=arguments[2])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_rooms_load_no_optional_package():
    """Importing the rooms and writing a mesh needs none of the slow or optional packages."""
    code = (
        "import sys, flamehead.raster, flamehead.render, flamehead.io.meshes as m;"
        "assert not {'numba', 'trimesh', 'PIL', 'mediapipe'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
