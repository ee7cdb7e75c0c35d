"""`flamehead evaluate` on folders in the official layout, made here from heads whose errors are known."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from flamehead.evaluate import now_error, seven_of
from flamehead.io import write_obj, write_ply

SUBJECTS = ("FaMoS_180424_03335_TA", "FaMoS_180426_03336.x_TA")
CHALLENGES = ("multiview_neutral", "selfie")


def pick(path, points):
    rows = "".join(
        f' <point y="{y!r}" x="{x!r}" name="{k}" z="{z!r}" active="1"/>\n'
        for k, (x, y, z) in enumerate(points.tolist())
    )
    path.write_text(f"<!DOCTYPE PickedPoints>\n<PickedPoints>\n{rows}</PickedPoints>\n")


@pytest.fixture(scope="session")
def heads():
    """Two heads of different shape in millimetres, their faces and seven landmarks."""
    import torch

    from flamehead import load_flame

    flame = load_flame(dtype=torch.float64)
    found = []
    for k in range(2):
        shape = torch.randn(flame.n_shape, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
        vertices = flame(replace(flame.zeros(), shape=shape)).vertices
        points = flame.landmarks(vertices, "ibug68").numpy()
        found.append((1000.0 * vertices.numpy(), 1000.0 * points))
    return found, flame.faces.numpy()


@pytest.fixture
def now(tmp_path, heads):
    """The folders of the benchmark: the scan of each subject, and the other head as its prediction."""
    (people, faces), turn = heads, np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    lines = []
    for k, subject in enumerate(SUBJECTS):
        for folder in ("scans", "lmks"):
            (tmp_path / folder / subject).mkdir(parents=True)
        vertices, marks = people[k]
        write_obj(tmp_path / "scans" / subject / "natural_head_rotation.000001.obj", vertices, faces)
        pick(tmp_path / "lmks" / subject / "natural_head_rotation.000001_picked_points.pp", seven_of(marks))
        for challenge in CHALLENGES:
            folder = tmp_path / "predictions" / subject / challenge
            folder.mkdir(parents=True)
            vertices, marks = people[1 - k] if challenge == "selfie" else people[k]
            write_obj(folder / "IMG_01.obj", 0.001 * vertices @ turn, faces)
            np.save(folder / "IMG_01.npy", 0.001 * seven_of(marks) @ turn)
            lines.append(f"{subject}/{challenge}/IMG_01.jpg")
    (tmp_path / "images.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def command(folder, *more, verb="now", out="out"):
    return [
        *("evaluate", verb, "--predictions", folder / "predictions", "--scans", folder / "scans"),
        *("--landmarks", folder / "lmks", "--images", folder / "images.txt", "--out", folder / out, *more),
    ]


def result(folder, out="out"):
    return json.loads((folder / out / "results.json").read_text())


@pytest.mark.parametrize("metrical", [False, True])
def test_the_benchmark_is_measured_as_by_the_function(run, now, heads, metrical):
    (people, faces), more = heads, ("--metrical", "--unit", "m") if metrical else ()
    done = run(*command(now, "--jobs", 1, *more))
    assert done.code == 0 and done.err == "" and "4 of 4 images" in done.out
    found = result(now)
    expected = []
    for k in range(2):
        (scan, marks), (other, other_marks) = people[k], people[1 - k]
        error = now_error(scan, seven_of(marks), other, faces, seven_of(other_marks), metrical=metrical)
        expected += [error.distances, np.zeros(len(error.distances))]
    joined = np.concatenate(expected)
    assert found["total"]["all"]["count"] == len(joined)
    for name, value in (("median", np.median(joined)), ("mean", joined.mean()), ("std", joined.std())):
        assert found["total"]["all"][name] == pytest.approx(value, abs=2e-4)
    assert set(found["by_image"]) == {f"{s}/{c}/IMG_01" for s in SUBJECTS for c in CHALLENGES}
    assert found["curve"]["all"][0] < 0.6 and found["curve"]["all"][-1] == pytest.approx(1.0, abs=0.05)
    assert (now / "out" / "curve.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_second_run_measures_only_what_changed(run, now):
    assert run(*command(now, "--jobs", 1)).code == 0
    before = result(now)
    stamps = {file: file.stat().st_mtime_ns for file in (now / "out" / "subjects").iterdir()}
    again = run(*command(now, "--jobs", 1))
    assert again.code == 0 and "2 of 2 subjects were measured before" in again.out and result(now) == before
    assert stamps == {file: file.stat().st_mtime_ns for file in (now / "out" / "subjects").iterdir()}
    marks = now / "predictions" / SUBJECTS[0] / "selfie" / "IMG_01.npy"
    np.save(marks, np.load(marks))
    os.utime(marks, ns=(1, 1))
    assert "1 of 2 subjects" in run(*command(now, "--jobs", 1)).out
    (now / "out" / "subjects" / f"{SUBJECTS[1]}.npz").write_bytes(b"cut short")
    assert "1 of 2 subjects" in run(*command(now, "--jobs", 1)).out
    assert result(now) == before
    assert "measured before" not in run(*command(now, "--jobs", 1, "--metrical")).out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups to kill")
def test_a_killed_run_goes_on_in_several_processes(now, run):
    """Killed as soon as one subject is stored; the next run keeps it and gives what an undisturbed run gives."""
    words = [str(word) for word in command(now, "--jobs", 2)]
    process = subprocess.Popen(
        [sys.executable, "-m", "flamehead", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    stored = now / "out" / "subjects"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and not list(stored.glob("*.json")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(stored.glob("*.json"))
    done = run(*command(now, "--jobs", 2))
    assert done.code == 0 and "measured before" in done.out
    assert run(*command(now, "--jobs", 1, out="other")).code == 0
    assert result(now)["total"] == result(now, "other")["total"]


def test_what_is_wrong_is_one_sentence(run, now):
    for change, says in (
        (lambda: (now / "images.txt").write_text("nobody/selfie/IMG_01.jpg\n"), "1 of 1 listed images have no mesh"),
        (lambda: (now / "images.txt").unlink(), "Cannot read the list"),
    ):
        change()
        assert says in run(*command(now)).complaint
    base = [word for word in command(now) if word not in ("--images", now / "images.txt")]
    assert "check the folder" not in run(*base, "--jobs", -1).complaint
    (now / "lmks" / SUBJECTS[0] / "second.pp").write_text("")
    assert "2 files that could be its file of landmarks" in run(*base).complaint
    for file in (now / "scans" / SUBJECTS[0]).iterdir():
        file.unlink()
    assert f"no scan of the subject {SUBJECTS[0]}" in run(*base).complaint


def test_a_flaw_in_one_image_spares_the_others_and_names_the_missing_landmark(run, now):
    folder = now / "predictions" / SUBJECTS[0]
    marks = np.load(folder / "selfie" / "IMG_01.npy")
    marks[3] = np.nan
    np.save(folder / "selfie" / "IMG_01.npy", marks)
    (folder / "multiview_neutral" / "IMG_01.obj").write_text("v 1 2\n")
    done = run(*command(now, "--jobs", 1))
    assert done.code == 1 and "lack left eye outer corner" in done.err and "Cannot read" in done.err
    assert "2 of 4 images could not be measured" in done.err and result(now)["images"] == 2
    assert set(result(now)["failures"]) == {f"{SUBJECTS[0]}/{challenge}/IMG_01" for challenge in CHALLENGES}


def test_flame_vertices_need_neither_faces_nor_landmarks(run, now, heads):
    (people, _), folder = heads, now / "flat"
    folder.mkdir()
    np.save(folder / f"{SUBJECTS[0]}.npy", people[0][0].astype(np.float32))
    np.savez(folder / f"{SUBJECTS[1]}.npz", vertices=people[1][0][None])
    done = run(
        *("evaluate", "now", "--predictions", folder, "--scans", now / "scans", "--landmarks", now / "lmks"),
        *("--out", now / "flat_out", "--jobs", 1, "--metrical"),
    )
    assert done.code == 0 and result(now, "flat_out")["total"]["all"]["largest"] < 1e-3


def test_regions_of_scans(run, now):
    done = run(*command(now, "--jobs", 1, "--quiet", verb="regions"))
    assert (done.code, done.out, done.err) == (0, "", "")
    found = result(now)
    assert list(found["total"]) == ["nose", "mouth", "forehead", "cheek"]
    same, other = (f"{SUBJECTS[0]}/{challenge}/IMG_01" for challenge in CHALLENGES)
    for part in found["total"]:
        assert found["by_image"][same][part]["mean"] < 1e-3 < 0.05 < found["by_image"][other][part]["mean"]


def test_vertices_and_landmarks(run, tmp_path, heads):
    (people, faces), rng = heads, np.random.default_rng(0)
    for name in ("p", "t", "pl", "tl"):
        (tmp_path / name).mkdir()
    for k, (vertices, marks) in enumerate(people):
        write_ply(tmp_path / "t" / f"{k}.ply", 0.001 * vertices, faces)
        np.save(tmp_path / "p" / f"{k}.npy", 0.001 * vertices + np.array([0.0, 0.003, 0.004]))
        np.save(tmp_path / "tl" / f"{k}.npy", marks[:, :2])
        np.savetxt(tmp_path / "pl" / f"{k}.txt", marks[:, :2] + 0.01 * rng.normal(size=(68, 2)))
    base = ("evaluate", "vertices", "--predictions", tmp_path / "p", "--truths", tmp_path / "t", "--jobs", 1)
    assert run(*base, "--out", tmp_path / "v").code == 0
    assert result(tmp_path, "v")["total"]["all"]["mean"] == pytest.approx(5.0, abs=1e-4)
    assert run(*base, "--out", tmp_path / "r", "--align", "rigid", "--region", "face").code == 0
    assert result(tmp_path, "r")["total"]["all"]["largest"] < 1e-3
    wrong = run(*base, "--out", tmp_path / "w", "--region", "tail")
    assert wrong.code == 1 and "no region 'tail'" in wrong.err
    hole = np.load(tmp_path / "p" / "1.npy")
    hole[7] = np.nan
    np.save(tmp_path / "p" / "1.npy", hole)
    torn = run(*base, "--out", tmp_path / "h")
    assert torn.code == 1 and "holds NaN" in torn.err and result(tmp_path, "h")["images"] == 1
    lands = ("evaluate", "landmarks", "--predictions", tmp_path / "pl", "--truths", tmp_path / "tl")
    done = run(*lands, "--out", tmp_path / "l")
    assert done.code == 0 and "%" in done.out
    eyes = np.linalg.norm(people[0][1][36, :2] - people[0][1][45, :2])
    assert result(tmp_path, "l")["total"]["all"]["mean"] == pytest.approx(100 * 0.0125 / eyes, rel=0.2)
    (tmp_path / "pl" / "1.txt").unlink()
    assert "1 of 2 files" in run(*lands, "--out", tmp_path / "l").complaint
