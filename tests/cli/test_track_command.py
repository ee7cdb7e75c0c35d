"""`flamehead track` says in one sentence what is wrong before it works, and ends with the numbers."""

import numpy as np
import pytest
from PIL import Image

from flamehead.cli import main


def failed(capsys, *arguments, code=1):
    assert main(["track", *map(str, arguments)]) == code
    said = capsys.readouterr()
    assert said.err.startswith("flamehead: ") and said.err.count("\n") == 1, said.err
    return said.err


def folder(path, sizes):
    path.mkdir()
    for k, size in enumerate(sizes):
        Image.new("RGB", size, (90, 80, 70)).save(path / f"{k}.png")
    return path


def test_sources_that_cannot_be_used(tmp_path, capsys):
    out = ("--out", tmp_path / "out")
    assert "no video or folder" in failed(capsys, tmp_path / "absent.mp4", *out)
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert "is empty" in failed(capsys, tmp_path / "empty.mp4", *out)
    assert "differ in size" in failed(capsys, folder(tmp_path / "mixed", [(64, 48), (48, 64)]), *out)
    assert "holds no pictures" in failed(capsys, folder(tmp_path / "none", []), *out)
    few = folder(tmp_path / "few", [(64, 48)] * 3)
    assert "No frame of" in failed(capsys, few, *out, "--start", "5f")
    assert "--end is 'soon'" in failed(capsys, few, *out, "--end", "soon")
    assert not (tmp_path / "out").exists()


def test_results_among_the_pictures_are_refused_before_a_model_is_loaded(tmp_path, capsys, monkeypatch):
    def load(*_, **__):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("flamehead.cli.track._flame", load)
    few = folder(tmp_path / "few", [(64, 48)] * 2)
    assert "which holds the pictures" in failed(capsys, few, "--out", few)
    assert sorted(path.name for path in few.iterdir()) == ["0.png", "1.png"]


def test_no_video_in_a_file(tmp_path, capsys):
    pytest.importorskip("av", reason="PyAV is not installed")
    (tmp_path / "text.mp4").write_text("no video")
    assert "as a video" in failed(capsys, tmp_path / "text.mp4", "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--identity-from", "mica"), 2, "belong together"),
        (("--identity", "absent.npy"), 1, "no identity file"),
        (("--focal", "-3"), 1, "positive number of pixels"),
        (("--keyframes", "0"), 1, "keyframes"),
        (("--model", "absent.pkl"), 1, "needs its colours"),
        (("--texture", "a.npz", "--landmarks-only"), 2, "leave one out"),
        (("--fps", "0"), 1, "frames per second"),
    ],
)
def test_options_that_make_no_sense(tmp_path, capsys, options, code, words):
    assert words in failed(
        capsys, folder(tmp_path / "few", [(64, 48)] * 2), "--out", tmp_path / "out", *options, code=code
    )


def test_an_identity_that_is_none(tmp_path, capsys):
    np.save(tmp_path / "i.npy", np.zeros((2, 3)))
    few = folder(tmp_path / "few", [(64, 48)] * 2)
    assert (
        main(["track", str(few), "--out", str(tmp_path / "out"), "--identity", str(tmp_path / "i.npy"), "--quiet"]) == 1
    )
    assert "holds no identity" in capsys.readouterr().err
