"""Bad input gets one sentence, a status that is not zero, and nothing half-written."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import flamehead.pipeline
from flamehead.io import write_image


class Command:
    """What a hostile pickle would run."""

    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, and a working folder of its own, where a hostile pickle would leave its mark."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _text(path, _known):
    path.write_text("I am not a picture.\n")


def _truncated(path, _known):
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:5000])


BAD_PHOTOS = {
    "missing": (lambda path, known: None, "not found"),
    "folder": (lambda path, known: path.mkdir(), "it is a folder; name image files"),
    "empty": (lambda path, known: path.touch(), "the file is empty"),
    "text": (_text, "text, not a picture; give JPEG"),
    "truncated": (_truncated, "incomplete or damaged"),
    "array": (lambda path, known: path.write_bytes(known.landmarks.read_bytes()), "a NumPy array"),
    "tiny": (lambda path, known: write_image(path, np.full((1, 1, 3), 0.5)), "No face found in the image of 1 x 1"),
}


@pytest.mark.parametrize("kind", BAD_PHOTOS)
def test_bad_photos(run, known, folder, kind, monkeypatch):
    make, wanted = BAD_PHOTOS[kind]
    make(folder / "photo.jpg", known)
    before = sorted(folder.rglob("*"))
    monkeypatch.setattr("flamehead.cli._prepare.compile_kernels", lambda: pytest.fail("compiled for nothing"))
    done = run("fit", "photo.jpg", "--out", folder / "out" / "deep")
    assert wanted in done.complaint and done.out == "" and sorted(folder.rglob("*")) == before


def test_no_scan_is_begun_where_nothing_can_be_written(run, folder, monkeypatch):
    (folder / "scan.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (folder / "out").touch()
    monkeypatch.setattr("flamehead.cli._prepare.compile_kernels", lambda: pytest.fail("compiled for nothing"))
    assert "out is a file; name a folder" in run("scan", "scan.obj", "--out", folder / "out").complaint


@pytest.mark.detect
def test_a_photo_without_a_face(run, known, folder):
    done = run("fit", known.image, "--out", folder / "out")
    assert done.complaint.startswith("No face found in the image of 240 x 300 pixels; crop it to the head")
    assert "--landmarks" in done.complaint and not list(folder.iterdir())


@pytest.mark.detect
def test_a_face_that_is_not_there(run, portrait, folder):
    done = run("fit", portrait, "--out", folder / "out", "--face", 7)
    assert done.complaint == "Asked for face 7, but the image shows 1 face; give a number from 0 (the largest) to 0."
    assert not list(folder.iterdir())


BAD_LANDMARKS = {
    "missing.npy": (None, "Landmark file not found"),
    "shape.npy": (lambda points: points[:67], "shape (67, 2); give 68 (iBUG), 105, 468 or 478 (MediaPipe) points"),
    "nan.npy": (lambda points: np.where(np.arange(478)[:, None] == 7, np.nan, points), "NaN"),
    "infinite.npy": (lambda points: points + np.inf, "infinite"),
    "objects.npy": (lambda points: np.array([Command()] * 68, dtype=object), "give a whole .npy file"),
    "normalised.npy": (lambda points: points / 300, "multiply x by the width 240"),
    "elsewhere.npy": (lambda points: points + 5000, "far outside the image"),
    "spot.npy": (lambda points: points * 0.02 + 100, "one pixel"),
    "points.txt": (lambda points: points, "is none of|is not .npz, .npy or .json"),
}


def test_an_unseen_eye_corner_costs_the_error_figure_and_not_the_results(run, known, folder):
    np.save(folder / "holes.npy", np.where(np.isin(np.arange(478), [33, 263])[:, None], 0.0, known.points))
    done = run("fit", known.image, "--out", folder / "out", "--landmarks", "holes.npy")
    assert done.code == 0 and "the landmark error is unknown" in done.err
    assert json.loads((folder / "out" / "report.json").read_text())["landmark_error_percent"] is None


@pytest.mark.parametrize("name", BAD_LANDMARKS)
def test_bad_landmarks(run, known, folder, name):
    make, wanted = BAD_LANDMARKS[name]
    if make is not None:
        with (folder / name).open("wb") as file:
            np.save(file, make(known.points), allow_pickle=True)
    before = sorted(folder.iterdir())
    done = run("fit", known.image, "--out", folder / "out", "--landmarks", name)
    assert any(part in done.complaint for part in wanted.split("|")) and sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--focal", "-3"), "The focal length is -3.0; give a positive number"),
        (("--focal", "0"), "The focal length is 0.0; give a positive number"),
        (("--focal", "nan"), "The focal length is nan"),
        (("--focal", "inf"), "The focal length is inf"),
        (("--focal", "50"), "give it in pixels, not in millimetres: from 60 to 30000 for an image of 240 x 300"),
        (("--face", "-1"), "Asked for face -1; give 0 for the largest"),
        (("--face", "1", "--landmarks", "x.npy"), "--face chooses among detected faces"),
    ],
)
def test_bad_numbers(run, known, folder, options, wanted):
    if "--landmarks" not in options:
        options = (*options, "--landmarks", known.landmarks)
    done = run("fit", known.image, "--out", folder / "out", *options)
    assert wanted in done.complaint and not list(folder.iterdir())


def _write_model(path, kind):
    content = {
        "list": [1, 2, 3],
        "other": {"weights": np.zeros(3), "bias": np.zeros(3)},
        "command": {"v_template": Command()},
        "bare command": Command(),
    }
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("version https://example.org/pointer\n")
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else pickle.dumps(content[kind]))


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("missing", "There is no FLAME model at model.pkl"),
        ("folder", "model.pkl"),
        ("empty", "model.pkl"),
        ("text", "model.pkl"),
        ("list", "not a FLAME model"),
        ("other", "not a FLAME model"),
        ("command", "system"),
        ("bare command", "system"),
    ],
)
def test_a_model_that_is_none(run, known, folder, kind, wanted, monkeypatch):
    _write_model(folder / "model.pkl", kind)
    before = sorted(folder.iterdir())
    monkeypatch.setattr("flamehead.pipeline.read_image", lambda path: pytest.fail("a photo was read for nothing"))
    done = run("fit", known.image, "--out", "out", "--landmarks", known.landmarks, "--model", "model.pkl")
    assert wanted in done.complaint and sorted(folder.iterdir()) == before
    assert not (folder / "executed").exists()


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/flamehead/out", "/dev/null", "x" * 300])
def test_an_output_folder_that_cannot_be_written(run, known, folder, out, monkeypatch):
    if out.startswith("/proc") and sys.platform != "linux":
        pytest.skip("only Linux has /proc")
    (folder / "file").write_text("mine")
    monkeypatch.setattr("flamehead.pipeline.read_image", lambda path: pytest.fail("work was done for nothing"))
    done = run("fit", known.image, "--out", out, "--landmarks", known.landmarks)
    assert done.complaint.startswith("Cannot write into ") and "--out" in done.complaint
    assert [path.name for path in folder.iterdir()] == ["file"] and (folder / "file").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions bind neither root nor Windows")
def test_an_output_folder_without_permission(run, known, folder):
    (folder / "locked").mkdir(mode=0o500)
    done = run("fit", known.image, "--out", "locked/out", "--landmarks", known.landmarks)
    assert done.complaint.startswith("Cannot write into locked/out (Permission denied)")


@pytest.mark.parametrize("existing", [False, True])
def test_a_disk_that_fills_up(run, known, folder, monkeypatch, existing):
    if existing:
        (folder / "out").mkdir()
        (folder / "out" / "mesh.obj").write_text("old")
    before = sorted(folder.rglob("*"))

    def full(path, *_arguments, **_options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flamehead.pipeline.write_ply", full)
    done = run("fit", known.image, "--out", "out", "--landmarks", known.landmarks)
    assert done.complaint.startswith("Cannot write the results into out (No space left on device)")
    assert sorted(folder.rglob("*")) == before and (not existing or (folder / "out/mesh.obj").read_text() == "old")


@pytest.mark.parametrize("where", ["read_image", "fit_landmarks", "overlay_sheet", "write_ply"])
def test_ctrl_c_leaves_nothing(run, known, folder, monkeypatch, where):
    def stop(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"flamehead.pipeline.{where}", stop)
    done = run("fit", known.image, "--out", "out", "--landmarks", known.landmarks)
    assert (done.code, done.err) == (130, "flamehead: Stopped.\n") and not list(folder.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are sent otherwise on Windows")
def test_a_real_ctrl_c_during_writing(known, folder):
    # A shell starts its background jobs with the signal ignored, and the tests may be one.
    code = """
import signal, sys, time, flamehead.pipeline
signal.signal(signal.SIGINT, signal.default_int_handler)
def wait(path, *_, **__):
    path.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
flamehead.pipeline.write_ply = wait
from flamehead.cli import main
sys.exit(main(sys.argv[1:]))
"""
    words = ["fit", known.image, "--out", "out", "--landmarks", known.landmarks, "--quiet"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        assert list(folder.iterdir())
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "flamehead: Stopped.\n") and not list(folder.iterdir())
    assert time.monotonic() - start < 20


def test_without_mediapipe_the_install_line_is_given(spawn, portrait, folder):
    block = "sys.modules['mediapipe'] = None"
    done = spawn("fit", portrait, "--out", "out", before=block, after="assert 'numba' not in sys.modules", cwd=folder)
    assert 'pip install "flamehead[detect]", or give the landmarks in a file.' in done.complaint
    assert done.out == "" and not list(folder.iterdir())


def test_without_mediapipe_several_photos_are_told_once(run, portrait, folder, monkeypatch):
    # Other tests may have started the detector in this process.
    monkeypatch.setattr("flamehead.detect.mediapipe._running", [])
    monkeypatch.setattr("flamehead.detect.mediapipe._FACE_MESH", "mediapipe_that_is_absent.face_mesh")
    done = run("fit", portrait, portrait, "--out", "out")
    assert "flamehead[detect]" in done.complaint and not list(folder.iterdir())


def test_a_missing_file_is_refused_without_importing_torch(spawn, folder):
    check = "assert not {'torch', 'numpy', 'numba', 'PIL'} & set(sys.modules)"
    done = spawn("fit", "no.jpg", "--out", "out", after=check, cwd=folder)
    assert done.complaint == "Image file not found: no.jpg; check the path." and not list(folder.iterdir())


def test_when_all_are_missing_each_is_listed(run, folder):
    done = run("fit", "a.jpg", "b.jpg", "--out", "out")
    assert done.code == 1 and done.err.splitlines() == [
        "flamehead: Image file not found: a.jpg; check the path.",
        "flamehead: Image file not found: b.jpg; check the path.",
        "flamehead: 2 of 2 photos failed, see above; nothing was written into out.",
    ]
    assert not list(folder.iterdir())


@pytest.mark.detect
def test_good_photos_are_done_and_bad_ones_listed(run, known, portrait, folder):
    (folder / "text.jpg").write_text("no picture")
    done = run("fit", "missing.jpg", portrait, "text.jpg", known.image, "--out", "out")
    lines = done.err.splitlines()
    assert done.code == 1 and all(line.startswith("flamehead: ") for line in lines) and len(lines) == 4
    for line, part in zip(lines, ("missing.jpg", "text.jpg", "known.png", "3 of 4 photos failed"), strict=True):
        assert part in line
    assert [path.name for path in (folder / "out").iterdir()] == ["astronaut"]
    assert len(list((folder / "out" / "astronaut").iterdir())) == 6
    assert {path.name for path in folder.iterdir()} == {"text.jpg", "out"}


def test_one_landmark_file_for_two_photos(run, known, folder):
    done = run("fit", known.image, known.image, "--out", "out", "--landmarks", known.landmarks)
    assert done.complaint == "One landmark file cannot serve 2 photos; fit them one by one."


def test_an_unforeseen_refusal_of_the_system_is_a_sentence(run, known, folder, monkeypatch):
    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied", "/some/cache")

    monkeypatch.setattr(flamehead.pipeline, "read_image", refuse)
    done = run("fit", known.image, "--out", "out")
    assert done.complaint.startswith("The system refused ([Errno 13] Permission denied: '/some/cache')")
