"""`flamehead fit` when all is well: what it writes, where, and what it says."""

import json
import os
import pickle
import sys

import numpy as np
import pytest
import scipy.sparse

from flamehead import load_flame
from flamehead.builtin import builtin_head
from flamehead.geometry.landmark_sets import MEDIAPIPE_105

FILES = {"params.npz", "mesh.obj", "mesh.ply", "overlay.png", "landmarks.npz", "report.json"}


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def licensed(tmp_path_factory):
    """The built-in head under the official keys, cut down to 40 components, and the MediaPipe embedding beside it."""
    folder, head = tmp_path_factory.mktemp("licensed"), builtin_head()
    arrays = head.arrays
    basis = np.concatenate([arrays.shape_basis[..., :20], arrays.expression_basis[..., :20]], axis=-1)
    entries = {
        "v_template": arrays.template,
        "f": arrays.faces.astype(np.uint32),
        "shapedirs": basis,
        "posedirs": arrays.pose_basis,
        "weights": arrays.skin_weights,
        "J_regressor": scipy.sparse.csc_matrix(arrays.joint_regressor),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
    }
    (folder / "generic_model.pkl").write_bytes(pickle.dumps(entries, 2))
    marks = head.embeddings["mediapipe105"]
    np.savez(
        folder / "mediapipe_landmark_embedding.npz",
        lmk_face_idx=marks.face_ids,
        lmk_b_coords=marks.barycentric,
        landmark_indices=np.asarray(MEDIAPIPE_105),
    )
    return folder


def test_one_photo_goes_into_the_folder_and_one_line_says_so(run, known, tmp_path):
    out = tmp_path / "missing" / "parents"
    done = run("fit", known.image, "--out", out, "--landmarks", known.landmarks, "--focal", 400)
    assert (done.code, done.err) == (0, "")
    assert names(out) == FILES and names(tmp_path) == {"missing"}
    assert "built-in head" in done.out.splitlines()[-2]
    last = done.out.splitlines()[-1]
    assert last.startswith("known.png: landmark error 0.") and last.endswith(f"-> {out}")


def test_again_into_the_same_folder(run, known, tmp_path):
    arguments = ("fit", known.image, "--out", tmp_path, "--landmarks", known.landmarks)
    (tmp_path / "notes.txt").write_text("mine")
    assert run(*arguments).code == 0
    before = (tmp_path / "mesh.obj").read_bytes()
    assert run(*arguments).code == 0
    assert names(tmp_path) == FILES | {"notes.txt"} and (tmp_path / "mesh.obj").read_bytes() == before


def test_quiet_says_nothing_at_all(run, known, tmp_path):
    done = run("fit", known.image, "--out", tmp_path / "out", "--landmarks", known.landmarks, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "") and names(tmp_path / "out") == FILES


def test_doubts_are_said_on_standard_error(run, known, tmp_path):
    np.save(tmp_path / "mirrored.npy", np.load(known.landmarks) * [-1, 1] + [240, 0])
    arguments = ("fit", known.image, "--out", tmp_path / "out", "--landmarks", tmp_path / "mirrored.npy")
    done = run(*arguments)
    sentence = "The landmarks do not look like a face seen from the front half; check the overlay."
    assert done.code == 0 and done.err == f"flamehead: warning: {known.image}: {sentence}\n"
    assert json.loads((tmp_path / "out" / "report.json").read_text())["warnings"] == [sentence]
    assert run(*arguments, "--quiet").err == ""


def test_quiet_mutes_warnings_too(run, known, tmp_path, monkeypatch, caplog):
    import logging

    def warn(*_arguments, **_options):
        logging.getLogger("flamehead.test").warning("odd")
        return load_flame()

    monkeypatch.setattr("flamehead.model.load_flame", warn)
    arguments = ("fit", known.image, "--out", tmp_path / "out", "--landmarks", known.landmarks)
    assert run(*arguments, "--quiet").code == 0 and caplog.messages == []
    assert run(*arguments).code == 0 and caplog.messages == ["odd"]


def test_a_licensed_model_works_with_its_embedding(run, known, licensed, tmp_path):
    model = licensed / "generic_model.pkl"
    done = run("fit", known.image, "--out", tmp_path / "out", "--landmarks", known.landmarks, "--model", model)
    assert (done.code, done.err) == (0, "") and "built-in" not in done.out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["model"] == str(model) and len(report["fingerprint"]) == 16
    assert names(tmp_path / "out") == FILES


def test_the_release_of_a_model_can_be_said(run, known, licensed, tmp_path):
    options = ("--landmarks", known.landmarks, "--out", tmp_path / "out", "--flame-variant", "2023-no-jaw")
    done = run("fit", known.image, *options, "--model", licensed / "generic_model.pkl")
    assert done.code == 0 and "without jaw rotation" not in done.err
    with np.load(tmp_path / "out" / "params.npz") as stored:
        assert not stored["jaw"].any()
    assert "name the model with --model" in run("fit", known.image, *options).complaint


def test_a_licensed_model_without_embedding_names_the_file(run, known, licensed, tmp_path):
    model = tmp_path / "alone" / "generic_model.pkl"
    model.parent.mkdir()
    model.symlink_to(licensed / "generic_model.pkl")
    done = run("fit", known.image, "--out", tmp_path / "out", "--landmarks", known.landmarks, "--model", model)
    assert "generic_model.pkl has no landmarks to fit" in done.complaint
    assert "mediapipe_landmark_embedding.npz" in done.complaint
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_name_that_is_no_text_does_no_harm(run, known, tmp_path):
    photo = tmp_path / os.fsdecode(b"\xff\xe9.png")
    photo.write_bytes(known.image.read_bytes())
    done = run("fit", photo, "--out", tmp_path / os.fsdecode(b"out\xff"), "--landmarks", known.landmarks)
    assert (done.code, done.err) == (0, "") and names(tmp_path / os.fsdecode(b"out\xff")) == FILES


@pytest.mark.slow
@pytest.mark.detect
def test_several_photos_get_a_folder_each_even_with_the_same_name(run, portrait, tmp_path):
    photos = [tmp_path / name for name in ("a.jpg", "b/a.jpg", "a_2.jpg", "A.jpg")]
    for photo in photos:
        photo.parent.mkdir(exist_ok=True)
        photo.write_bytes(portrait.read_bytes())
    done = run("fit", *photos, "--out", tmp_path / "out")
    assert (done.code, done.err) == (0, "") and len(done.out.splitlines()) == 5
    assert names(tmp_path / "out") == {"a", "a_2", "a_2_2", "A_3"}
    assert all(names(folder) == FILES for folder in (tmp_path / "out").iterdir())


@pytest.mark.slow
@pytest.mark.detect
def test_the_demo_is_quiet_when_told(spawn, tmp_path):
    done = spawn("demo", "--out", tmp_path / "demo", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "") and names(tmp_path / "demo") == FILES
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert report["landmark_error_percent"] < 1.2 and report["largest_coefficient"] < 3.5


@pytest.mark.detect
def test_the_demo_says_what_to_do_next(run, tmp_path):
    done = run("demo", "--out", tmp_path)
    assert done.code == 0 and done.out.splitlines()[-1].startswith(f"Look at {tmp_path / 'overlay.png'}")


@pytest.mark.slow
def test_the_first_run_builds_the_head_beside_the_rest(spawn, known, tmp_path):
    """With an empty cache the head is built by another process; a stand-in builds in no time."""
    before = f"""
import os, flamehead.cli._prepare as prepare
os.environ["FLAMEHEAD_CACHE"] = {str(tmp_path / "cache")!r}
from flamehead.builtin import builtin_head, cache_file
source = {str(tmp_path / "built.npz")!r}
cache_file().parent.mkdir()
prepare._BUILD = f"import shutil, time; time.sleep(1); shutil.copy({{source!r}}, {{str(cache_file())!r}})"
"""
    from flamehead.builtin import cache_file

    builtin_head()
    (tmp_path / "built.npz").write_bytes(cache_file().read_bytes())
    after = "assert cache_file().is_file()"
    done = spawn(
        "fit", known.image, "--out", tmp_path / "out", "--landmarks", known.landmarks, before=before, after=after
    )
    assert (done.code, done.err) == (0, "") and done.out.startswith("First run on this machine: building")
