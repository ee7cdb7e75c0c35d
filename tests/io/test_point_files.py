import json

import numpy as np
import pytest

from flamehead.errors import InputError
from flamehead.io import load_params, read_points, read_scan, write_obj

POINTS = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize("kind", ["npy", "npz", "one.npz", "json", "points.json", "txt", "csv", "pp"])
def test_landmarks_come_back_from_every_kind_of_file(kind, tmp_path):
    path = tmp_path / f"marks.{kind}"
    rows = POINTS.tolist()
    match kind:
        case "npy":
            np.save(path, POINTS[None])
        case "npz":
            np.savez(path, points=POINTS, other=1)
        case "one.npz":
            np.savez(path, anything=POINTS)
        case "json":
            path.write_text(json.dumps(rows))
        case "points.json":
            path.write_text(json.dumps({"points": rows}))
        case "txt":
            path.write_text("# x y z\n" + "\n".join("  ".join(map(str, row)) for row in rows) + "\n\n")
        case "csv":
            path.write_text("x,y,z\n" + "\n".join(",".join(map(str, row)) for row in rows))
        case _:
            lines = [f'<point name="{i}" z="{z}" active="1" x="{x}" y="{y}"/>' for i, (x, y, z) in enumerate(rows)]
            path.write_text("<!DOCTYPE PickedPoints><PickedPoints>" + "".join(lines) + "</PickedPoints>")
    np.testing.assert_array_equal(read_points(path), POINTS)


def test_a_point_that_is_switched_off_is_not_seen(tmp_path):
    path = tmp_path / "a.pp"
    path.write_text('<P><point x="1" y="2" z="3" active="0"/><point x="4" y="5" z="6"/></P>')
    np.testing.assert_array_equal(read_points(path), [[np.nan] * 3, [4, 5, 6]])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.npy", b"nonsense", "Cannot read landmarks"),
        ("a.npz", b"PK", "Cannot read landmarks"),
        ("a.json", b"{}", "Cannot read landmarks"),
        ("a.txt", b"1 2\n3 4\n", "shape"),
        ("a.txt", b"", "shape"),
        ("a.pp", b"<point", "Cannot read landmarks"),
        ("a.pp", b'<!DOCTYPE x [<!ENTITY a "b">]><x/>', "entities"),
        ("a.xyz", b"1 2 3", "suffix"),
    ],
)
def test_a_bad_landmark_file_gets_a_sentence(name, content, sentence, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_points(tmp_path / name)
    with pytest.raises(InputError, match="not found"):
        read_points(tmp_path / "absent.npy")


def test_a_scan_is_read_from_npz_as_from_obj(tmp_path):
    faces = np.array([[0, 1, 2], [1, 2, 3]])
    np.savez(tmp_path / "a.npz", vertices=POINTS, faces=faces, colors=np.full((4, 3), 255))
    write_obj(tmp_path / "a.obj", POINTS, faces)
    ours, theirs = read_scan(tmp_path / "a.npz"), read_scan(tmp_path / "a.obj")
    np.testing.assert_allclose(ours.vertices, theirs.vertices)
    np.testing.assert_array_equal(ours.faces, theirs.faces)
    assert ours.colors is not None and ours.colors.max() == 1.0
    np.savez(tmp_path / "cloud.npz", points=POINTS)
    assert len(read_scan(tmp_path / "cloud.npz").faces) == 0


@pytest.mark.parametrize(
    "arrays", [{}, {"vertices": np.full((3, 3), np.nan)}, {"vertices": POINTS, "faces": [[0, 1, 9]]}, {"v": [["a"]]}]
)
def test_a_bad_npz_scan_gets_a_sentence(arrays, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError):
        read_scan(tmp_path / "a.npz")
    with pytest.raises(InputError, match="saved fit"):
        load_params(tmp_path / "a.npz")
