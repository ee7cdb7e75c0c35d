"""Pickles for old environments: every value comes back, under the names and instructions that these know."""

import pickle
import pickletools
import warnings

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flamehead.assets import read_npy, read_pickle
from flamehead.assets.legacy_pickle import TorchTensor, legacy_pickle, write_legacy_npy, write_legacy_pickle
from flamehead.errors import InputError

LATIN = st.text(st.characters(max_codepoint=255), max_size=300)
KEYS = st.text(st.characters(max_codepoint=127), max_size=12)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | LATIN,
    lambda inner: (
        st.lists(inner, max_size=5) | st.lists(inner, max_size=5).map(tuple) | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)
NUMPY_NAMES = {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}


def load(data):
    with warnings.catch_warnings():
        # scipy has moved csc_matrix and says so.
        warnings.simplefilter("ignore", DeprecationWarning)
        return pickle.loads(data, encoding="latin1")


def names_in(data):
    """The names as they are spelled, from the instructions and not from what they load."""
    return {str(argument) for code, argument, _ in pickletools.genops(data) if code.name == "GLOBAL"}


def protocol_of(data):
    return max(code.proto for code, _, _ in pickletools.genops(data))


@pytest.mark.parametrize("protocol", [0, 2, 3])
@settings(deadline=None)
@given(value=PLAIN)
def test_plain_values_come_back(protocol, value):
    data = legacy_pickle(value, protocol)
    assert load(data) == value
    assert protocol_of(legacy_pickle(["text", 1], protocol)) <= protocol


@pytest.mark.parametrize("protocol", [0, 2, 3])
@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i8", "<i4", "<u4", ">f8"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4), (2, 3, 4)])
def test_arrays_come_back_with_their_order(protocol, dtype, shape, tmp_path):
    array = np.random.default_rng(0).integers(0, 99, np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    for ordered in (array, array.copy(order="F")):
        data = legacy_pickle({"a": ordered}, protocol)
        write_legacy_pickle(tmp_path / "a.pkl", {"a": ordered}, protocol=protocol)
        for found in (load(data)["a"], read_pickle(tmp_path / "a.pkl")["a"]):
            np.testing.assert_array_equal(found, ordered)
            assert found.dtype == array.dtype.newbyteorder("<")
        assert load(data)["a"].flags.f_contiguous == ordered.flags.f_contiguous


def test_strided_arrays_come_back():
    array = np.arange(24.0).reshape(4, 6)[:, ::2]
    np.testing.assert_array_equal(load(legacy_pickle(array, 2)), array)


def test_text_pickles_are_pure_ascii_without_carriage_returns():
    data = legacy_pickle({"ids": np.arange(3000), "text": "a\r\n'\"\\\xff"}, 0)
    assert data.isascii() and b"\r" not in data
    assert load(data)["text"] == "a\r\n'\"\\\xff"


def test_names_are_those_of_old_environments():
    matrix = scipy.sparse.csc_matrix(np.eye(3, 5))
    data = legacy_pickle({"m": matrix, "a": np.zeros(3)}, 2)
    assert names_in(data) == NUMPY_NAMES | {"scipy.sparse.csc csc_matrix"}
    assert protocol_of(data) == 2
    found = load(data)["m"]
    assert isinstance(found, scipy.sparse.csc_matrix)
    np.testing.assert_array_equal(found.toarray(), matrix.toarray())
    np.testing.assert_array_equal(found @ np.arange(5.0), matrix @ np.arange(5.0))
    assert found.indices.dtype == found.indptr.dtype == np.int32


def test_python_2_finds_byte_strings_only():
    codes = {code.name for code, _, _ in pickletools.genops(legacy_pickle({"a": np.zeros(99), "b": "lbs"}, 2))}
    assert {"SHORT_BINSTRING", "BINSTRING"} <= codes
    assert not codes & {"BINUNICODE", "BINBYTES", "SHORT_BINBYTES"}


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32, torch.float64])
def test_tensors_come_back_as_tensors(dtype):
    values = torch.arange(24).reshape(2, 3, 4).to(dtype)
    data = legacy_pickle({"t": TorchTensor(values.numpy())}, 3)
    found = load(data)["t"]
    assert found.dtype == dtype and torch.equal(found, values)
    assert names_in(data) == {
        "torch._utils _rebuild_tensor_v2",
        "torch.storage _load_from_bytes",
        "collections OrderedDict",
    }


def test_our_reader_opens_tensors_without_torch(tmp_path):
    values = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    write_legacy_npy(tmp_path / "t.npy", {"t": TorchTensor(values)}, protocol=3)
    np.testing.assert_array_equal(read_npy(tmp_path / "t.npy")["t"], values)


@pytest.mark.parametrize("protocol", [2, 3])
def test_npy_files_open_with_numpy(tmp_path, protocol):
    value = {"rows": [np.arange(3), np.ones((2, 2))], "n": 7}
    write_legacy_npy(tmp_path / "v.npy", value, protocol=protocol)
    with (tmp_path / "v.npy").open("rb") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        assert np.lib.format.read_array_header_1_0(file) == ((), False, np.dtype(object))
        assert file.tell() % 16 == 0
    found = np.load(tmp_path / "v.npy", allow_pickle=True, encoding="latin1")
    assert found.shape == () and found[()]["n"] == 7
    np.testing.assert_array_equal(found[()]["rows"][1], np.ones((2, 2)))


def test_bytes_do_not_depend_on_how_the_value_is_stored():
    a, b = np.arange(12.0).reshape(3, 4), np.arange(24.0).reshape(3, 8)[:, :4].copy()
    b[:] = a
    assert legacy_pickle([a, a], 2) == legacy_pickle([a, b], 2)


@pytest.mark.parametrize(
    ("value", "protocol"),
    [
        (1.5, 2),
        ({1, 2}, 2),
        (object(), 3),
        (TorchTensor(np.zeros(2)), 2),
        (scipy.sparse.csc_matrix((2, 2)), 0),
        (np.array(["a"]), 2),
        (np.zeros(2, dtype=[("a", "f8")]), 2),
    ],
)
def test_what_cannot_be_written_is_refused(value, protocol):
    with pytest.raises(TypeError, match="cannot be written into a legacy pickle; give"):
        legacy_pickle(value, protocol)


def test_a_failed_write_leaves_nothing(tmp_path):
    target = tmp_path / "a.pkl"
    target.write_bytes(b"before")
    with pytest.raises(TypeError):
        write_legacy_pickle(target, {"good": np.zeros(9), "bad": 1.5}, protocol=2)
    assert target.read_bytes() == b"before" and list(tmp_path.iterdir()) == [target]
    with pytest.raises(InputError, match="does not exist"):
        write_legacy_pickle(tmp_path / "absent" / "a.pkl", {}, protocol=2)


def test_the_safe_reader_and_python_agree(tmp_path):
    value = {"a": np.arange(6).reshape(2, 3), "m": scipy.sparse.csc_matrix(np.eye(3)), "s": "lbs", "t": (1, None)}
    write_legacy_pickle(tmp_path / "v.pkl", value, protocol=2)
    ours = read_pickle(tmp_path / "v.pkl")
    theirs = load((tmp_path / "v.pkl").read_bytes())
    assert ours.keys() == theirs.keys() == value.keys() and ours["t"] == theirs["t"] == (1, None)
    np.testing.assert_array_equal(ours["m"].toarray(), theirs["m"].toarray())
