"""`flamehead assets doctor`, `convert` and `describe`: what they find, write and say."""

import pickle

import numpy as np
import pytest
import scipy.sparse

from flamehead.assets import read_model


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A small FLAME-shaped model in the layout of MICA, and no other folder to look in."""
    monkeypatch.delenv("FLAMEHEAD_ASSETS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setenv("COLUMNS", "300")
    random, n = np.random.default_rng(0), 12
    entries = {
        "v_template": random.normal(size=(n, 3)),
        "f": random.integers(0, n, (9, 3)).astype(np.uint32),
        "shapedirs": random.normal(size=(n, 3, 400)),
        "posedirs": random.normal(size=(n, 3, 36)),
        "weights": np.full((n, 5), 0.2),
        "J_regressor": scipy.sparse.csc_matrix(np.full((5, n), 1 / n)),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
    }
    path = tmp_path / "code" / "MICA-master" / "data" / "FLAME2020" / "generic_model.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(entries, 2))
    return path


def test_the_doctor_looks_into_checkouts_of_known_programs(run, model, tmp_path):
    done = run("assets", "doctor", "--assets", tmp_path / "code")
    assert done.code == 0 and done.err == ""
    assert str(model) in done.out.splitlines()
    row = done.out[done.out.index(str(model)) :].split("\n/")[0]
    assert "MICA" in row and "not redistributable" in row
    assert "unknown (2017-2023 layout), its name suggests FLAME 2020, generic" in " ".join(done.out.split())
    assert "mica.tar" in done.out and "sign-up" in done.out and "flame2023_Open.pkl" not in done.out


def test_the_doctor_takes_the_users_word_for_the_release(run, model, tmp_path):
    done = run("assets", "doctor", "--assets", tmp_path / "code", "--flame-variant", "2023-no-jaw")
    assert "FLAME 2023 without jaw rotation" in " ".join(done.out.split())


def test_a_checkout_itself_may_be_named(run, model, tmp_path):
    done = run("assets", "doctor", "--assets", model.parents[2])
    assert "unknown (2017-2023 layout)" in " ".join(done.out.split()) and "MICA" in done.out


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_convert_keeps_the_model_and_remembers_the_variant(run, model, tmp_path, suffix):
    out = tmp_path / f"model.{suffix}"
    done = run("assets", "convert", model, "--to", out, "--flame-variant", "2020")
    before, after = read_model(model), read_model(out)
    assert done.code == 0 and before.fingerprint in done.out and "licence" in done.out
    assert after.fingerprint == before.fingerprint and after.variant == "2020"
    assert "exists already" in run("assets", "convert", model, "--to", out).complaint
    again = run("assets", "convert", out, "--to", out, "--overwrite", "--quiet")
    assert (again.code, again.out) == (0, "") and read_model(out).variant == "2020"


def test_convert_complains_in_one_sentence(run, model, tmp_path):
    assert "wanted '.npz' or '.safetensors'" in run("assets", "convert", model, "--to", tmp_path / "m.pt").complaint
    assert "no file" in run("assets", "convert", tmp_path / "x.pkl", "--to", tmp_path / "m.npz").complaint
    assert "does not exist" in run("assets", "convert", model, "--to", tmp_path / "a" / "m.npz").complaint


def test_describe_goes_by_content(run, model, tmp_path):
    (tmp_path / "file.txt").write_bytes(model.read_bytes())
    done = run("assets", "describe", tmp_path / "file.txt", "--flame-variant", "2019")
    assert done.code == 0 and "FLAME 2019" in done.out and "300 shape and 100 expression" in done.out


def test_describe_knows_our_own_files(run, tmp_path):
    names = [tmp_path / name for name in ("a.npz", "a.glb", "a.ply", "broken.glb", "broken.npz", "words.txt")]
    assert run("pose", "--texture", "mean", "--out", *names[:3]).code == 0
    for path in names[3:]:
        path.write_text("some words\n")
    done = run("assets", "describe", *names)
    lines = [line.split(": ", 1)[1] for line in done.out.splitlines()]
    assert done.code == 1 and "pickle" not in done.out
    assert lines[0] == "flamehead parameters (fingerprint builtin-1 of built-in head)"
    assert lines[1].startswith("a mesh: 5229 vertices, 9976 faces, texture coordinates, a texture of ")
    assert lines[2] == "a mesh: 5023 vertices, 9976 faces, a colour for each vertex"
    assert "is no GLB file" in lines[3] and "is no npz file" in lines[4] and "not a FLAME file" in lines[5]
    assert run("assets", "describe", *names[:3]).code == 0
