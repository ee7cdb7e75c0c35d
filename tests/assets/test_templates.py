"""OBJ in every dialect gives the same mesh; what is no mesh gets one sentence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flamehead.assets import read_template
from flamehead.assets.read_templates import parse_template
from flamehead.errors import InputError

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.5e-3]])
UV = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.9]])
FACES = np.array([[0, 1, 2], [1, 3, 2]])
UV_FACES = np.array([[0, 1, 2], [2, 1, 0]])


def _text(corner, *, end="\n", noise=False):
    """The mesh above, with corners written by `corner(vertex, uv)`, both from 0."""
    lines = ["# a comment", "mtllib a.mtl", "o head", "g skin", "usemtl none", "s off"] if noise else []
    lines += [f"v {x} {y} {z}" + (" 0.5 0.5 0.5" if noise else "") for x, y, z in VERTICES]
    lines += [f"vt {u} {v}" + (" 0.0" if noise else "") for u, v in UV] + ["vn 0 0 1"] * 4
    for row, uv_row in zip(FACES, UV_FACES, strict=True):
        lines.append(
            "f " + " ".join(corner(v, t) for v, t in zip(row, uv_row, strict=True)) + ("  # end" if noise else "")
        )
        lines += ["", "s 1"] if noise else []
    return (end.join(lines) + end).encode()


CORNERS = {
    "v": lambda v, t: f"{v + 1}",
    "v/vt": lambda v, t: f"{v + 1}/{t + 1}",
    "v/vt/vn": lambda v, t: f"{v + 1}/{t + 1}/1",
    "v//vn": lambda v, t: f"{v + 1}//1",
    "negative v": lambda v, t: f"{v - 4}",
    "negative v/vt/vn": lambda v, t: f"{v - 4}/{t - 3}/-1",
}


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("dialect", CORNERS)
def test_all_dialects_give_the_same_mesh(tmp_path, dialect, end, noise):
    (tmp_path / "mesh.obj").write_bytes(_text(CORNERS[dialect], end=end, noise=noise))
    mesh = read_template(tmp_path / "mesh.obj")
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    if "vt" in dialect:
        assert mesh.uv is not None and mesh.uv_faces is not None
        np.testing.assert_array_equal(mesh.uv, UV)
        np.testing.assert_array_equal(mesh.uv_faces, UV_FACES)
    else:
        assert mesh.uv is None and mesh.uv_faces is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("f 1 2 3", "f 1 2 9", "'f' has ids 0..8, wanted 0..3"),
        ("f 1 2 3", "f 1 2 0", "line 13"),
        ("f 1 2 3", "f 1 2 -9", "'f' has ids -5"),
        ("f 1 2 3", "f 1 2 3 4", r"corners, wanted triangles"),
        ("f 1 2 3", "f 1 2 x", "line 13"),
        ("f 1 2 3", f"f 1 2 {10**30}", "wanted 0..3"),
        ("v 1.0 0.0 0.0", "v 1.0 0.0", "'v' line has too few numbers, wanted 3"),
        ("v 1.0 0.0 0.0", "v nan 0 0", "'v' has values that are not finite"),
        ("f ", "l ", "4 vertices and 0 triangles"),
    ],
)
def test_what_is_no_mesh_gets_one_sentence(old, new, words):
    text = b"# head\n" + _text(CORNERS["v"]).replace(old.encode(), new.encode())
    with pytest.raises(InputError) as caught:
        parse_template(text, "head.obj")
    assert "head.obj" in str(caught.value) and words.replace("line 13", "line") in str(caught.value)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(["v 1 2 3", "vt 0 1", "f 1 1 1", "f -1 -1 -1", "f 1/1 1/1 1/1", "f 1//1", "v", "\\", "#"]))
)
def test_any_lines_give_a_mesh_or_one_sentence(lines):
    try:
        parse_template("\n".join(lines).encode(), "x.obj")
    except InputError as error:
        assert "\n" not in str(error)
