"""Good pickles come back as plain data; bad ones are refused in one sentence, and none is executed."""

import builtins
import io
import os
import pickle
import struct
import subprocess
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._utils import _rebuild_tensor_v2

from flamehead.assets.safe_pickle import Holder, read_pickle, unpickle
from flamehead.errors import AssetNotFound, InputError, UnsafeFile

PROTOCOLS = range(6)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(min_size=1),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=12,
)


def _same(a, b):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype and a.shape == b.shape


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(deadline=None, max_examples=40)
@given(value=PLAIN)
def test_plain_values_come_back(protocol, value):
    assert unpickle(pickle.dumps(value, protocol), "test") == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("code", ["f8", "f4", "i8", "u4", "u1", "?", "S3", "U2", ">f8", ">i2"])
def test_arrays_come_back(protocol, code):
    base = np.arange(24).reshape(2, 3, 4) % 2 if code == "?" else np.arange(24).reshape(2, 3, 4)
    for array in (base.astype(code), np.asfortranarray(base.astype(code)), base.astype(code)[0, 0, 0]):
        found = unpickle(pickle.dumps({"a": array}, protocol), "test")["a"]
        _same(np.asarray(found), np.asarray(array).astype(np.asarray(array).dtype.newbyteorder("=")))
        assert not isinstance(found, np.ndarray) or found.flags.writeable


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_object_arrays_and_sparse_matrices_come_back(protocol):
    matrix = scipy.sparse.random(5, 9, 0.5, format="csc")
    value = {"m": matrix, "o": np.array([{"x": np.ones(2)}, "text", None], dtype=object), "s": {1, "a"}}
    found = unpickle(pickle.dumps(value, protocol), "test")
    _same(found["m"].toarray(), matrix.toarray())
    _same(found["o"][0]["x"], np.ones(2))
    assert found["o"][1:].tolist() == ["text", None] and found["s"] == {1, "a"}


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_python2_strings_are_latin1_and_arrays_keep_their_bytes(dump_python2, protocol):
    value = {"name": bytes(range(256)), "a": np.array([1.5, -2.25e-300]), "f": np.asfortranarray(np.eye(3)[:2])}
    found = unpickle(dump_python2(value, protocol), "test")
    assert found["name"] == bytes(range(256)).decode("latin-1")
    _same(found["a"], value["a"])
    _same(found["f"], value["f"])


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_chumpy_arrays_and_selections_become_numbers(dump_python2, chumpy, protocol):
    numbers = np.arange(12.0).reshape(3, 4)
    select, total = chumpy.Select(), chumpy.add()
    select.__dict__ |= {"a": chumpy.array(numbers), "idxs": np.array([5, 0, 7, 11]), "preferred_shape": (2, 2)}
    total.__dict__ |= {"a": chumpy.array(numbers), "b": select}
    found = unpickle(dump_python2({"c": chumpy.array(numbers), "s": select, "t": total}, protocol), "test")
    _same(found["c"], numbers)
    _same(found["s"], np.array([[5.0, 0.0], [7.0, 11.0]]))
    assert isinstance(found["t"], Holder) and found["t"].kind == "chumpy.ch_ops.add"


class _Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_torch_tensors_of_the_legacy_layout_become_arrays():
    tensors = {"i": torch.arange(6).reshape(2, 3), "f": torch.linspace(0, 1, 5)}

    def legacy(tensor):
        storage = _Call(torch.storage._load_from_bytes, _legacy_storage(tensor))
        size, stride = tuple(tensor.shape), tensor.stride()
        return _Call(_rebuild_tensor_v2, storage, 0, size, stride, False, OrderedDict())

    data = pickle.dumps({name: legacy(tensor) for name, tensor in tensors.items()}, 3)
    for name, found in unpickle(data, "test").items():
        _same(found, tensors[name].numpy())


def _legacy_storage(tensor):
    """A stream of the old `torch.save` for one typed storage."""
    kind = {torch.int64: "LongStorage", torch.float32: "FloatStorage"}[tensor.dtype]
    header = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    key = b"X\x07\x00\x00\x00storagectorch\n" + kind.encode() + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    described = b"\x80\x02(" + key + pickle.dumps(tensor.numel(), 2)[2:-1] + b"NtQ."
    data = tensor.contiguous().numpy().tobytes()
    return header + described + pickle.dumps(["0"], 2) + struct.pack("<q", tensor.numel()) + data


def _malicious(path):
    """Pickles that leave a file behind when anything executes them."""
    code = f"open({str(path)!r}, 'w').close()"
    shell = f"touch {path}"
    yield "system", _Call(os.system, shell)
    yield "eval", _Call(builtins.eval, code)
    yield "exec", _Call(builtins.exec, code)
    yield "open", _Call(builtins.open, str(path), "w")
    yield "getattr", _Call(builtins.getattr, _Call(builtins.__import__, "os"), "system")
    yield "Popen", _Call(subprocess.Popen, ["touch", str(path)])
    yield "loads", _Call(pickle.loads, pickle.dumps(_Call(os.system, shell)))
    yield "torch", _Call(torch.load, io.BytesIO)
    yield "nested", {"a": [np.ones(2), {"b": (_Call(os.system, shell),)}]}
    yield "object array", np.array([_Call(os.system, shell)], dtype=object)
    yield "set", {"a": _Call(builtins.set, _Call(builtins.map, os.system, [shell]))}
    yield "argument", _Call(np.dtype, _Call(builtins.eval, code))
    yield "ctypes", _Call(np.lib.format.open_memmap, str(path), "w+", "f8", (3,))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_malicious_is_executed_and_it_is_named(tmp_path, protocol):
    sentinel = tmp_path / "executed"
    names = "system|eval|exec|open|getattr|import|Popen|loads|load|map|memmap"
    for title, value in _malicious(sentinel):
        path = tmp_path / "model.pkl"
        path.write_bytes(pickle.dumps(value, protocol))
        with pytest.raises(
            UnsafeFile, match=rf"model.pkl asks for \w[\w.]*({names}).*nothing in it was executed"
        ) as caught:
            read_pickle(path)
        assert not sentinel.exists(), title
        assert str(caught.value).count("\n") == 0


HAND_MADE = {
    "inst": b"(S'touch executed'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'touch executed'\no.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0etouch executed\x85R.",
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0adtype.type\x93.",
    "newobj": b"\x80\x02cos\nsystem\n)\x81.",
    "newobj_ex": b"\x80\x04cos\nsystem\n)}\x92.",
    "numpy attribute": b"\x80\x02cnumpy\nload\n.",
    "scipy attribute": b"\x80\x02cscipy.sparse\nload_npz\n.",
    "chumpy attribute": b"\x80\x02cchumpy.utils\nos.system\n.",
    "persistent": b"S'x'\n.".replace(b".", b"") + b"Q.",
    "persistent text": b"Px\n.",
    "extension": b"\x80\x02\x82\x01.",
    "codec": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
    "structured type": b"\x80\x02cnumpy\ndtype\nU\x02V8K\x00K\x01\x87R.",
    "torch blob": b"\x80\x03ctorch.storage\n_load_from_bytes\nC\x11cos\nsystem\nU\x01x\x85R.\x85R.",
    "crlf": b"(S'touch executed'\r\nios\r\nsystem\r\n.",
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_instructions_that_reach_outside_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeFile):
        unpickle(HAND_MADE[name], name)
    assert list(tmp_path.iterdir()) == []


def test_a_state_cannot_smuggle_fields_into_a_type():
    data = pickle.dumps(np.zeros(2, dtype=[("a", "O"), ("b", "f8")]), 2)
    with pytest.raises(UnsafeFile, match=r"numpy\.dtype"):
        unpickle(data, "test")
    forged = pickle.dumps(np.zeros(1), 2).replace(b"NNN", b"NX\x01\x00\x00\x00a}")
    with pytest.raises(UnsafeFile, match="structured"):
        unpickle(forged, "test")


def test_bytes_are_never_taken_for_objects():
    data = pickle.dumps(np.arange(1.0, 3.0), 3)
    with pytest.raises(InputError, match="object array without its objects"):
        unpickle(data.replace(b"f8", b"O8"), "test")


@settings(deadline=None, max_examples=80)
@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_give_a_value_or_one_sentence(data):
    try:
        unpickle(data, "test")
    except InputError as error:
        assert str(error).startswith("test ") and "\n" not in str(error)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_damage_gives_a_value_or_one_sentence(data):
    whole = pickle.dumps({"a": np.arange(6.0), "m": scipy.sparse.eye(3, format="csc"), "l": [1, (2.0, "x")]}, 2)
    at = data.draw(st.integers(0, len(whole) - 1))
    with_byte = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    for damaged in (with_byte, whole[:at]):
        try:
            unpickle(damaged or b"\x80", "test")
        except InputError:
            pass


HUGE = {
    "bytes": b"\x80\x03B\xff\xff\xff\x7f.",
    "bytes8": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "text": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
    "integer": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "memo": b"\x80\x02Nr\xff\xff\xff\xff0.",
    "array": pickle.dumps(np.zeros(3), 2).replace(b"K\x01K\x03\x85", b"K\x01J\xff\xff\xff\x7f\x85"),
    "copies": b"\x80\x02U\xff"
    + b"x" * 255
    + b"q\x000"
    + b"c_codecs\nencode\nq\x010"
    + b"h\x01h\x00\x85R" * 20000
    + b".",
    "itself": b"]q\x00" + b"h\x00a" * 1000 + b".",
    "web of tuples": b")" + b"2\x86" * 500 + b".",
    "deep lists": b"]" * 100_000 + b"a" * 99_999 + b".",
    "too many instructions": b"}" * 600_000 + b".",
    "keys": b"\x80\x02}N" + b"2\x86" * 60 + b"Ns.",
}


@pytest.mark.parametrize("name", HUGE)
def test_claims_of_size_cost_no_memory(name):
    tracemalloc.start()
    try:
        unpickle(HUGE[name], "test")
    except InputError as error:
        assert "\n" not in str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 96 * len(HUGE[name]) + 2**20


@pytest.mark.parametrize("protocol", [2, 4])
def test_every_cut_is_noticed(protocol):
    whole = pickle.dumps({"a": np.arange(6.0)}, protocol)
    for stop in range(1, len(whole)):
        with pytest.raises(InputError, match=r"is not a whole pickle.*download it again"):
            unpickle(whole[:stop], "test")


@pytest.mark.parametrize("ends", [b"\r\n", b"\r\r\n", b"\r"])
def test_text_pickles_with_changed_line_ends_are_repaired(dump_python2, ends):
    value = {"a": np.arange(300, dtype=np.int64), "b\r\n": "x"}
    data = dump_python2(value, 0)
    assert b"\r" not in data
    found = unpickle(data.replace(b"\n", ends), "test")
    _same(found["a"], value["a"])
    assert list(found) == ["a", "b\r\n"]


def test_binary_pickles_with_changed_line_ends_are_explained():
    data = pickle.dumps({"a": np.arange(3000)}, 2)
    with pytest.raises(InputError, match=r"line ends were changed.*cannot be undone.*download it again"):
        unpickle(data.replace(b"\n", b"\r\n"), "test")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html>", "is a web page"),
        (b"PK\x03\x04rest", "is a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"\x93NUMPY\x01\x00", "is a NumPy file"),
        (b"hello", "is not a whole pickle"),
        (b"\xff\xd8\xff\xe0", "is not a whole pickle"),
    ],
)
def test_other_files_are_recognised(data, words):
    with pytest.raises(InputError, match=words):
        unpickle(data, "test")


def test_files_that_are_not_there_empty_or_folders(tmp_path):
    with pytest.raises(AssetNotFound, match="no file"):
        read_pickle(tmp_path / "absent.pkl")
    with pytest.raises(InputError, match="not a file"):
        read_pickle(tmp_path)
    (tmp_path / "empty.pkl").touch()
    with pytest.raises(InputError, match="is empty"):
        read_pickle(tmp_path / "empty.pkl")


def test_chumpy_is_not_needed(dump_python2, chumpy, monkeypatch):
    data = dump_python2({"a": chumpy.array(np.ones(3))})
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering", "chumpy.ch_ops"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    _same(unpickle(data, "test")["a"], np.ones(3))


@pytest.mark.assets
def test_real_masks_and_their_damaged_copy_agree(flame_files):
    intact, damaged = (read_pickle(flame_files / name) for name in ("FLAME_masks.pkl", "FLAME_masks_crlf.pkl"))
    assert intact.keys() == damaged.keys() and len(intact["lips"]) == 254
    for name, ids in intact.items():
        _same(damaged[name], ids)
