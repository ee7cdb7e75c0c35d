"""Converted models: the same numbers without a pickle, and a stamp that notices changes."""

import pickle

import numpy as np
import pytest

from flamehead.assets import read_model, write_converted
from flamehead.assets.converted import stamped_fingerprint
from flamehead.assets.identify import identify
from flamehead.assets.safetensors import read_safetensors, write_safetensors
from flamehead.errors import AssetNotFound, InputError

SUFFIXES = ["npz", "safetensors"]


@pytest.fixture
def model(official, tmp_path):
    """An official pickle."""
    (tmp_path / "generic_model.pkl").write_bytes(pickle.dumps(official()))
    return tmp_path / "generic_model.pkl"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_converted_model_has_the_same_numbers(model, tmp_path, suffix):
    before = read_model(model, variant="2023-no-jaw")
    out = tmp_path / f"model.{suffix}"
    write_converted(out, before)
    after = read_model(out)
    for name in (
        "template",
        "faces",
        "shape_basis",
        "expression_basis",
        "pose_basis",
        "skin_weights",
        "joint_regressor",
    ):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        assert getattr(after, name).flags.writeable and not isinstance(getattr(after, name), np.memmap)
        assert getattr(after, name).flags.c_contiguous and getattr(after, name).dtype == getattr(before, name).dtype
    assert after.fingerprint == before.fingerprint and after.variant == "2023-no-jaw"
    assert read_model(out, variant="2020").variant == "2020"
    assert b"cnumpy" not in out.read_bytes()
    found = identify(out)
    assert found and found.kind == "model" and found.release == "FLAME 2023 without jaw rotation"


def test_an_npz_opens_in_any_program(model, tmp_path):
    write_converted(tmp_path / "m.npz", read_model(model))
    raw = np.load(tmp_path / "m.npz", allow_pickle=False)
    assert raw["shapedirs"].shape == (40, 3, 400) and raw["kintree_table"][0].tolist() == [2**32 - 1, 0, 1, 1, 1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_file_remembers_where_identity_ends(official, tmp_path, suffix):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(official(columns=7)))
    before = read_model(tmp_path / "m.pkl", n_shape=4)
    write_converted(tmp_path / f"m.{suffix}", before)
    after = read_model(tmp_path / f"m.{suffix}")
    assert after.shape_basis.shape[-1] == 4 and after.fingerprint == before.fingerprint
    assert read_model(tmp_path / f"m.{suffix}", n_shape=3).fingerprint != before.fingerprint


@pytest.mark.parametrize("key", ["v_template", "shapedirs", "posedirs"])
def test_a_changed_file_loses_its_stamp(model, tmp_path, key):
    before = read_model(model)
    write_converted(tmp_path / "m.npz", before)
    entries = dict(np.load(tmp_path / "m.npz"))
    assert stamped_fingerprint(entries) == before.fingerprint
    np.savez(tmp_path / "changed.npz", **entries | {key: entries[key] + 1e-6})
    after = read_model(tmp_path / "changed.npz")
    assert after.fingerprint != before.fingerprint and len(after.fingerprint) == 16


def test_a_foreign_stamp_is_not_believed(official, tmp_path):
    entries = official() | {"flamehead_fingerprint": "mine", "flamehead_check": "0" * 32, "flamehead_n_shape": "300"}
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(entries))
    assert read_model(tmp_path / "m.pkl").fingerprint != "mine"


def test_another_suffix_is_an_error(model, tmp_path):
    with pytest.raises(InputError, match=r"'.pt', wanted '.npz' or '.safetensors'"):
        write_converted(tmp_path / "m.pt", read_model(model))
    assert not (tmp_path / "m.pt").exists()


def test_variants_are_checked_and_read(official, model, tmp_path):
    with pytest.raises(InputError, match="no FLAME variant '2021'; give one of unknown, 2017"):
        read_model(model, variant="2021")
    assert read_model(model).variant == "unknown"
    (tmp_path / "open.pkl").write_bytes(pickle.dumps(official() | {"supr_expression_metadata": {"n_expr": 100}}))
    assert read_model(tmp_path / "open.pkl").variant == "2023-open"
    found = identify(tmp_path / "open.pkl")
    assert found and found.release == "FLAME 2023 Open" and found.licence == "CC-BY-4.0"


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("FLAME2020/generic_model.pkl", "FLAME 2020, generic"),
        ("FLAME2019/female_model.pkl", "FLAME 2019, female"),
        ("models/flame/FLAME_NEUTRAL.pkl", "generic"),
        ("a/flame2023_no_jaw.pkl", "FLAME 2023, without jaw rotation"),
        ("a/x.pkl", ""),
    ],
)
def test_an_unknown_release_says_what_its_name_suggests(official, tmp_path, name, suggested):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(official()))
    found = identify(path)
    wanted = "unknown (2017-2023 layout)" + (f", its name suggests {suggested}" if suggested else "")
    assert found and found.release == wanted and "not redistributable" in found.licence
    said = identify(path, variant="2017")
    assert said and said.release == "FLAME 2017"


@pytest.mark.parametrize("code", ["f8", "f4", "i8", "u4", "u1", "?"])
def test_safetensors_come_back(tmp_path, code):
    arrays = {"a": np.arange(6).reshape(2, 3).astype(code), "b": np.zeros((2, 0), code), "c": np.array(1, code)}
    write_safetensors(tmp_path / "x.safetensors", arrays, {"note": "text"})
    found, metadata = read_safetensors(tmp_path / "x.safetensors")
    assert metadata == {"note": "text"}
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array)
        assert found[key].dtype == array.dtype and found[key].shape == array.shape


def test_safetensors_agree_with_the_reference_library(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(3)}
    write_safetensors(tmp_path / "ours.safetensors", arrays, {"k": "v"})
    theirs = library.load_file(tmp_path / "ours.safetensors")
    library.save_file(arrays, tmp_path / "theirs.safetensors", {"k": "v"})
    ours, metadata = read_safetensors(tmp_path / "theirs.safetensors")
    assert metadata == {"k": "v"}
    for key, array in arrays.items():
        np.testing.assert_array_equal(theirs[key], array)
        np.testing.assert_array_equal(ours[key], array)


def test_bad_safetensors_get_one_sentence(tmp_path):
    write_safetensors(tmp_path / "x", {"a": np.arange(6.0)}, {})
    whole = (tmp_path / "x").read_bytes()
    for old, new in (
        (b"[0,48]", b"[0,49]"),
        (b"[0,48]", b"[9,48]"),
        (b"[6]", b"[7]"),
        (b"F64", b"F99"),
        (b'"a"', b'"a'),
    ):
        (tmp_path / "y").write_bytes(whole.replace(old, new))
        with pytest.raises(InputError, match="damaged safetensors header"):
            read_safetensors(tmp_path / "y")
    for data in (whole[:-1], whole[:20], b"\xff" * 20):
        (tmp_path / "y").write_bytes(data)
        with pytest.raises(InputError, match="safetensors"):
            read_safetensors(tmp_path / "y")
    with pytest.raises(AssetNotFound):
        read_safetensors(tmp_path / "absent")
