"""NumPy files: what NumPy writes comes back; claims that do not hold are refused in one sentence."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flamehead.assets.safe_numpy import npz_headers, parse_npy, read_npy, read_npz
from flamehead.errors import AssetNotFound, InputError, UnsafeFile


def _saved(array, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("code", ["f8", ">f4", "i8", "u1", "?", "S3", "U2"])
def test_arrays_come_back(version, code):
    for array in (np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2).T, np.array(1), np.zeros((0, 4))):
        typed = array.astype(code)
        found = parse_npy(_saved(typed, version=version), "test")
        np.testing.assert_array_equal(found, typed)
        assert isinstance(found, np.ndarray) and found.dtype == typed.dtype.newbyteorder("=")


def test_headers_of_python2_are_understood():
    data = _saved(np.ones((2, 3))).replace(b"(2, 3), }  ", b"(2L, 3L), }")
    np.testing.assert_array_equal(parse_npy(data, "test"), np.ones((2, 3)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_saved(np.ones(9))[:-1], "is cut short"),
        (_saved(np.ones(9))[:40], "damaged NumPy header"),
        (_saved(np.ones(9)).replace(b"(9,)", b"(-9,)"), "damaged NumPy header"),
        (_saved(np.ones(9)).replace(b"(9,), }      ", b"(9,)*10**9, }"), "damaged NumPy header"),
        (_saved(np.ones(9)).replace(b"(9,), }        ", b"(99999999999,),}"), "is cut short"),
        (_saved(np.ones(9)).replace(b"(9,), }     ", b"(1e999,), } "), "damaged NumPy header"),
        (_saved(np.ones(9)).replace(b"<f8", b"|S0"), "shape that NumPy cannot make"),
        (_saved(np.ones(9)).replace(b"(9,), }" + 21 * b" ", b"(4611686018427387904,4,0), }"), "that NumPy cannot make"),
        (b"PK\x03\x04", "not a NumPy file"),
    ],
)
def test_damaged_files_get_one_sentence(data, words):
    with pytest.raises(InputError, match=f"^test .*{words}"):
        parse_npy(data, "test")


def test_structured_types_are_refused():
    with pytest.raises(UnsafeFile, match="array of type"):
        parse_npy(_saved(np.zeros(2, dtype=[("a", "f8"), ("b", "i4")])), "test")


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_any_damage_gives_a_value_or_one_sentence(data):
    whole = _saved(np.arange(4.0))
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    try:
        parse_npy(damaged, "test")
    except InputError as error:
        assert "\n" not in str(error)


def test_npz_files_come_back(tmp_path):
    arrays = {"a": np.arange(3), "b": np.ones((2, 2), np.float32), "o": np.array({"x": 1}, dtype=object)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        found = read_npz(tmp_path / "x.npz")
        np.testing.assert_array_equal(found["a"], arrays["a"])
        assert found["o"] == {"x": 1} and set(read_npz(tmp_path / "x.npz", keys=["b"])) == {"b"}
        headers = npz_headers(tmp_path / "x.npz")
        assert headers["b"].shape == (2, 2) and headers["b"].dtype == np.float32


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", _saved(np.zeros(3)) + bytes(2**25))
    tracemalloc.start()
    with pytest.raises(InputError, match="unpacks to far more"):
        read_npz(tmp_path / "bomb.npz", most=2**20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23


def test_files_that_are_no_archives(tmp_path):
    with pytest.raises(AssetNotFound):
        read_npz(tmp_path / "absent.npz")
    with pytest.raises(AssetNotFound):
        read_npy(tmp_path / "absent.npy")
    np.savez(tmp_path / "x.npz", a=np.arange(1000))
    whole = (tmp_path / "x.npz").read_bytes()
    for damaged in (whole[:200], whole[:-30], whole.replace(b"\x07\x00\x00", b"\x08\x00\x00")):
        (tmp_path / "x.npz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"not a whole .npz file"):
            read_npz(tmp_path / "x.npz")
