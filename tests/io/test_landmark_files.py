"""Landmark files of every accepted kind give the same observation; every fault has its own sentence."""

import json

import numpy as np
import pytest

from flamehead.errors import InputError
from flamehead.io import read_landmarks, write_landmarks
from flamehead.io.landmarks import SCHEME_SIZES

SIZE = (640, 480)


def _points(count: int) -> np.ndarray:
    return np.random.default_rng(count).uniform(10.0, 470.0, (count, 2))


@pytest.mark.parametrize("scheme", list(SCHEME_SIZES))
@pytest.mark.parametrize("depth", [2, 3])
def test_the_number_of_points_tells_the_scheme(tmp_path, scheme, depth):
    points = _points(SCHEME_SIZES[scheme])
    rows = np.concatenate([points, np.ones((len(points), depth - 2))], axis=1)
    np.save(tmp_path / "a.npy", rows)
    np.savez(tmp_path / "a.npz", points=rows)
    (tmp_path / "list.json").write_text(json.dumps(rows.tolist()))
    (tmp_path / "named.json").write_text(json.dumps({"points": rows.tolist(), "scheme": scheme}))
    for name in ("a.npy", "a.npz", "list.json", "named.json"):
        seen = read_landmarks(tmp_path / name, size=SIZE)
        assert (seen.scheme, seen.size, seen.score, seen.source) == (scheme, SIZE, 1.0, "file")
        np.testing.assert_allclose(seen.points, points)


def test_written_landmarks_come_back_with_their_holes(tmp_path):
    points = _points(68)
    points[3] = np.nan
    path = tmp_path / "landmarks.npz"
    write_landmarks(path, detected=points, fitted=points + 1, scheme="ibug68", size=SIZE, source="someone")
    np.testing.assert_array_equal(read_landmarks(path, size=SIZE).points, points)
    with np.load(path, allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["fitted"], points + 1)
        assert str(stored["source"]) == "someone"
    assert [p.name for p in tmp_path.iterdir()] == ["landmarks.npz"]
    with pytest.raises(InputError, match="640 x 480"):
        read_landmarks(path, size=(480, 640))


def test_a_point_at_the_origin_counts_as_not_seen(tmp_path):
    points = _points(68)
    points[5] = 0
    np.save(tmp_path / "a.npy", points)
    seen = read_landmarks(tmp_path / "a.npy", size=SIZE).points
    assert np.isnan(seen[5]).all() and np.isfinite(np.delete(seen, 5, axis=0)).all()


def test_a_leading_axis_of_one_is_dropped_but_two_faces_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", _points(68)[None])
    assert read_landmarks(tmp_path / "a.npy", size=SIZE).points.shape == (68, 2)
    np.save(tmp_path / "a.npy", np.stack([_points(68)] * 2))
    with pytest.raises(InputError, match="2 faces"):
        read_landmarks(tmp_path / "a.npy", size=SIZE)


BAD = _points(68)
FAULTS = {
    "count": (BAD[:67], "shape"),
    "columns": (BAD[:, :1], "shape"),
    "scalar": (np.array(3.0), "shape"),
    "nan": (np.where(np.arange(68)[:, None] == 3, np.nan, BAD), "NaN or infinite"),
    "infinite": (np.where(np.arange(68)[:, None] == 3, np.inf, BAD), "NaN or infinite"),
    "text": (BAD.astype(str), "plain numbers"),
    "complex": (BAD + 1j, "plain numbers"),
    "far": (BAD * 10, "far outside"),
    "normalised": (BAD / 480, "multiply x by the width 640 and y by the height 480"),
    "same": (np.full((68, 2), 100.0), "one spot"),
    "zeros": (np.zeros((68, 2)), "0 seen points"),
    "object": (BAD.astype(object), "plain numbers"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize("suffix", ["npy", "npz", "json"])
def test_each_fault_has_its_sentence(tmp_path, fault, suffix):
    array, wanted = FAULTS[fault]
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, array)
    elif suffix == "npz":
        np.savez(path, points=array)
    elif fault in ("complex", "object"):
        pytest.skip("JSON has no such values")
    else:
        path.write_text(json.dumps(array.tolist()))
    if suffix == "npz" and fault == "nan":
        return
    with pytest.raises(InputError) as caught:
        read_landmarks(path, size=SIZE)
    text = str(caught.value)
    assert wanted in text and str(path) in text and "\n" not in text and text.endswith(".")


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.npy", b"", "Cannot read"),
        ("a.npy", b"\x93NUMPY\x01\x00", "Cannot read"),
        ("a.npy", b"text", "Cannot read"),
        ("a.npz", b"PK\x03\x04 broken", "Cannot read"),
        ("a.json", b"{", "Cannot read"),
        ("a.json", b"\xff\xfe\x00", "Cannot read"),
        ("a.json", b'{"landmarks": []}', 'no "points"'),
        ("a.json", b"[[1, 2], [3]]", "different lengths"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.json", b"3", "shape"),
        ("a.txt", b"1 2", "suffix"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, content, wanted):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=wanted):
        read_landmarks(tmp_path / name, size=SIZE)


def test_a_wrong_name_a_foreign_npz_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"points": BAD.tolist(), "scheme": "mediapipe478"}))
    np.savez(tmp_path / "a.npz", vertices=BAD)
    for name, wanted in [("a.json", "'ibug68'"), ("a.npz", "'vertices'"), ("absent.npy", "not found")]:
        with pytest.raises(InputError, match=wanted):
            read_landmarks(tmp_path / name, size=SIZE)


def test_a_header_that_claims_a_huge_array_reserves_nothing(tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 2)})
    with pytest.raises(InputError, match="1000000000000"):
        read_landmarks(path, size=SIZE)


def test_landmarks_of_the_wrong_shape_are_not_written(tmp_path):
    with pytest.raises(InputError, match="105 x 2"):
        write_landmarks(tmp_path / "a.npz", detected=BAD, scheme="mediapipe105", size=SIZE)
    with pytest.raises(InputError, match="fitted"):
        write_landmarks(tmp_path / "a.npz", detected=BAD, fitted=BAD[:3], scheme="ibug68", size=SIZE)
    assert not list(tmp_path.iterdir())
