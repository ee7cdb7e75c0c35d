"""Official model files: every layout gives the same arrays; every defect one sentence."""

import pickle
import sys

import numpy as np
import pytest
import scipy.sparse

from flamehead.assets import read_model
from flamehead.errors import AssetNotFound, InputError, UnsafeFile


@pytest.fixture
def write(tmp_path):
    """A function that writes entries as a pickle of Python 3 and returns the path."""

    def write(entries, name="model.pkl", protocol=4):
        path = tmp_path / name
        path.write_bytes(entries if isinstance(entries, bytes) else pickle.dumps(entries, protocol))
        return path

    return write


def _dense(entries):
    return entries | {"J_regressor": entries["J_regressor"].toarray()}


def test_the_official_python2_layout_opens_without_chumpy(official, dump_python2, chumpy, write):
    entries = official()
    data = dump_python2(entries | {"shapedirs": chumpy.array(entries["shapedirs"])})
    assert b"chumpy.ch\nCh\n" in data and b"scipy.sparse.csc\ncsc_matrix\n" in data and b"numpy.core" in data
    for name in [name for name in sys.modules if name.startswith("chumpy")]:
        del sys.modules[name]
    model = read_model(write(data, "generic_model.pkl"))
    np.testing.assert_array_equal(model.template, entries["v_template"])
    np.testing.assert_array_equal(model.faces, entries["f"])
    np.testing.assert_array_equal(model.shape_basis, entries["shapedirs"][..., :300])
    np.testing.assert_array_equal(model.expression_basis, entries["shapedirs"][..., 300:])
    np.testing.assert_array_equal(model.pose_basis, entries["posedirs"])
    np.testing.assert_array_equal(model.skin_weights, entries["weights"])
    np.testing.assert_array_equal(model.joint_regressor, entries["J_regressor"].toarray())
    assert model.parents == (-1, 0, 1, 1, 1) and model.source.endswith("generic_model.pkl")
    assert not [name for name in sys.modules if name.startswith("chumpy")]


def test_all_layouts_of_one_model_agree(official, dump_python2, chumpy, write, tmp_path):
    entries = official()
    wrapped = {key: chumpy.array(entries[key]) for key in ("v_template", "shapedirs", "posedirs", "weights", "J")}
    np.savez(tmp_path / "model.npz", **_dense(entries))
    np.savez_compressed(tmp_path / "objects.npz", **entries)
    files = [tmp_path / "model.npz", tmp_path / "objects.npz"]
    files += [write(entries, f"{protocol}.pkl", protocol) for protocol in range(6)]
    files += [write(dump_python2(entries | wrapped, protocol), f"py2_{protocol}.pkl") for protocol in range(3)]
    files += [write(files[0].read_bytes(), "npz_named.pkl")]
    models = [read_model(path) for path in files]
    assert len({model.fingerprint for model in models}) == 1 and len(models[0].fingerprint) == 16
    for model in models:
        assert model.template.dtype == model.shape_basis.dtype == np.float64 and model.faces.dtype == np.int64
        np.testing.assert_array_equal(model.expression_basis, models[0].expression_basis)


def test_the_fingerprint_sees_every_number(official, write):
    base = read_model(write(official())).fingerprint
    assert read_model(write(official())).fingerprint == base
    for key in ("v_template", "shapedirs", "posedirs", "f"):
        changed = official()
        changed[key] = np.roll(changed[key], 1, axis=0)
        assert read_model(write(changed)).fingerprint != base, key


@pytest.mark.parametrize(
    ("columns", "n_shape", "split"),
    [(400, None, (300, 100)), (300, None, (300, 0)), (20, None, (10, 10)), (150, 100, (100, 50)), (7, 4, (4, 3))],
)
def test_shapedirs_are_split(official, write, columns, n_shape, split):
    model = read_model(write(official(columns=columns)), n_shape=n_shape)
    assert (model.shape_basis.shape[-1], model.expression_basis.shape[-1]) == split


def test_a_split_that_cannot_be_guessed_or_made_is_an_error(official, write):
    path = write(official(columns=7))
    with pytest.raises(InputError, match=r"7 columns.*n_shape="):
        read_model(path)
    with pytest.raises(InputError, match=r"n_shape is 8.*0\.\.7"):
        read_model(path, n_shape=8)


def test_old_names_and_extra_keys_are_tolerated(official, write):
    entries = official()
    base = read_model(write(entries))
    renames = {"v_template": "default_v", "J_regressor": "joint_regressor", "posedirs": "blendshapes", "J": "joints"}
    old = {renames.get(key, key): value for key, value in entries.items()}
    extra = {"pose": np.zeros(15), "betas": [0.0], "supr_expression_metadata": {"n_expr": 100}}
    assert read_model(write(old | extra)).fingerprint == base.fingerprint


def test_any_root_parent_is_overwritten(official, write):
    for first in (-1, 0, 2**32 - 1):
        table = np.array([[first, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.int64)
        assert read_model(write(official() | {"kintree_table": table})).parents[0] == -1


def _without(entries, key):
    return {name: value for name, value in entries.items() if name != key}


def _broken(entries, key, change):
    value = np.array(entries[key])
    change(value)
    return entries | {key: value}


def _set(index, value):
    return lambda array: array.__setitem__(index, value)


DEFECTS = {
    "no key": (lambda e: _without(e, "posedirs"), ["'posedirs'", "v_template"]),
    "template shape": (lambda e: e | {"v_template": np.zeros((40, 2))}, ["'v_template'", "(40, 2)", "(any, 3)"]),
    "basis rows": (
        lambda e: e | {"shapedirs": np.zeros((39, 3, 400))},
        ["'shapedirs'", "(39, 3, 400)", "(40, 3, any)"],
    ),
    "joints": (lambda e: e | {"weights": np.ones((40, 24)) / 24}, ["'weights'", "(40, 24)", "(40, 5)"]),
    "pose": (lambda e: e | {"posedirs": np.zeros((40, 3, 207))}, ["'posedirs'", "(40, 3, 36)"]),
    "not finite": (lambda e: _broken(e, "v_template", _set((3, 1), np.nan)), ["'v_template'", "1 values", "finite"]),
    "face id": (lambda e: _broken(e, "f", _set((0, 0), 40)), ["'f'", "0..39"]),
    "face type": (lambda e: e | {"f": np.zeros((50, 3))}, ["'f'", "float64", "integers"]),
    "weights": (lambda e: _broken(e, "weights", _set((0, 0), 0.9)), ["'weights'", "row sums"]),
    "negative": (lambda e: e | {"weights": np.tile([1.1, -0.1, 0, 0, 0], (40, 1))}, ["'weights'", "-0.1"]),
    "parents": (lambda e: _broken(e, "kintree_table", _set((0, 4), 2)), ["'kintree_table'", "(-1, 0, 1, 1, 2)"]),
    "text": (lambda e: e | {"v_template": "hello"}, ["'v_template'", "a str"]),
    "names": (lambda e: e | {"v_template": np.full((40, 3), "x")}, ["'v_template'", "numbers"]),
    "huge sparse": (
        lambda e: e | {"J_regressor": scipy.sparse.csc_matrix((10**12, 40))},
        ["'J_regressor'", "(1000000000000, 40)", "(5, 40)"],
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_names_file_key_found_and_wanted(official, write, name):
    spoil, words = DEFECTS[name]
    with pytest.raises(InputError) as caught:
        read_model(write(spoil(official()), "bad.pkl"))
    assert all(word in str(caught.value) for word in ["bad.pkl", *words])
    assert "\n" not in str(caught.value)


def test_expressions_of_chumpy_cannot_be_a_needed_key(official, dump_python2, chumpy, write):
    total = chumpy.add()
    total.__dict__ |= {"a": np.ones(3), "b": np.ones(3)}
    with pytest.raises(InputError, match=r"'v_template' has a chumpy.ch_ops.add"):
        read_model(write(dump_python2(official() | {"v_template": total})))
    assert read_model(write(dump_python2(official() | {"v_shaped": total})))


def test_odd_joints_are_only_worth_a_warning(official, write, caplog):
    entries = official()
    read_model(write(entries))
    assert not caplog.records
    read_model(write(entries | {"J": entries["J"] + 0.1, "J_regressor": entries["J_regressor"] * 1.01}))
    assert ["sum to 1" in record.message or "J differs" in record.message for record in caplog.records] == [True, True]


def test_files_that_are_no_models(official, write, tmp_path):
    with pytest.raises(AssetNotFound, match="no file"):
        read_model(tmp_path / "absent.pkl")
    with pytest.raises(InputError, match="holds a list"):
        read_model(write([1, 2]))
    with pytest.raises(InputError, match="not a FLAME model"):
        read_model(write({"face": np.arange(3)}))
    with pytest.raises(InputError, match=r"not a FLAME model|not a whole"):
        read_model(write(b"PK\x03\x04 truncated"))
    with pytest.raises(UnsafeFile, match="eval"):
        read_model(write(b"\x80\x02cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R."))


@pytest.mark.assets
def test_a_file_of_masks_is_not_a_model(flame_files):
    with pytest.raises(InputError, match="not a FLAME model"):
        read_model(flame_files / "FLAME_masks.pkl")
