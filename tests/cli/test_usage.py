"""Words that the command line does not understand, and the commands that fit nothing."""

import subprocess
import sys

import numpy as np
import pytest

import flamehead


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((), "demo"),
        (("fit",), "--out"),
        (("fit", "a.jpg"), "--out"),
        (("fit", "a.jpg", "--out", "x", "--nope"), "--nope"),
        (("fit", "a.jpg", "--out", "x", "--face", "two"), "--face"),
        (("paint",), "paint"),
        (("assets",), "doctor"),
    ],
)
def test_wrong_usage_ends_with_2(run, words, wanted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.code == 2 and done.out == "" and wanted in done.err and "Traceback" not in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "usage"), [(("fit", "--out", "x"), "fit IMAGE"), (("assets", "describe"), "FILE")])
def test_nothing_to_work_on_is_wrong_usage(run, words, usage):
    done = run(*words)
    assert done.code == 2 and done.err.startswith("flamehead: No ") and usage in done.err


@pytest.mark.parametrize("words", [("--help",), ("fit", "--help"), ("demo", "--help"), ("assets", "--help")])
def test_help(run, words):
    done = run(*words)
    assert done.code == 0 and done.err == "" and "usage: flamehead" in done.out


def test_version(run):
    done = run("--version")
    assert (done.code, done.out, done.err) == (0, f"flamehead {flamehead.__version__}\n", "")


def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "flamehead", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"flamehead {flamehead.__version__}\n" and done.stderr == ""


def test_warmup_says_where_the_head_is(run):
    from flamehead.builtin import cache_file

    done = run("warmup")
    assert done.code == 0 and str(cache_file()) in done.out and cache_file().is_file()
    assert run("warmup", "--quiet").out == ""


def test_warmup_compiles_the_kernels_that_pose_heads(run, monkeypatch):
    from flamehead.model import _cpu

    called = []
    monkeypatch.setattr(_cpu, "warmup", lambda: called.append(1))
    assert run("warmup", "--quiet").code == 0 and called


def test_the_doctor_lists_what_is_there_and_what_is_missing(run, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAMEHEAD_ASSETS", str(tmp_path))
    done = run("assets", "doctor")
    assert done.code == 0 and "Built-in head" in done.out and "flame2023_Open.pkl" in done.out
    (tmp_path / "broken.pkl").write_bytes(b"\x80\x04no")
    assert run("assets", "doctor").code == 0
    wrong = run("assets", "doctor", "--assets", tmp_path / "absent")
    assert wrong.complaint.startswith("There is no folder ")


def test_describe_says_what_a_file_is(run, tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    done = run("assets", "describe", tmp_path / "other.npz")
    assert done.code == 1 and "not a FLAME file" in done.out
    assert run("assets", "describe", tmp_path / "absent.pkl").complaint.endswith("absent.pkl; check the path.")
