"""`flamehead export` of tracks: what it writes, what it says, and what it refuses in one sentence."""

import numpy as np
import pytest
import torch

from flamehead import load_flame, load_track, save_track, write_image
from flamehead.data import Camera, FlameParams, Track

COUNT, SIZE = 3, (96, 80)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A track.npz of three frames and the folder of its pictures."""
    folder, flame = tmp_path_factory.mktemp("tracked"), load_flame()
    zeros = flame.zeros((COUNT,))
    turn = torch.tensor([[0.0, 0.1 * k, 0.0] for k in range(COUNT)])
    values = vars(zeros) | {"root": turn, "translation": torch.tensor([0.0, 0.0, -0.7]).expand(COUNT, 3)}
    camera = Camera(
        torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(COUNT, 3, 3), torch.zeros(COUNT, 3),
        torch.full((COUNT, 2), 150.0), torch.tensor([48.0, 40.0]).expand(COUNT, 2), SIZE,
    )  # fmt: skip
    (folder / "pictures").mkdir()
    for k in range(COUNT):
        write_image(folder / "pictures" / f"{k:03d}.png", np.full((*SIZE[::-1], 3), 0.2 * (k + 1)))
    track = Track(
        FlameParams(**values), camera, np.arange(COUNT), np.arange(COUNT) / 25, np.zeros(COUNT, np.int8),
        flame.fingerprint, source=str(folder / "pictures"),
    )  # fmt: skip
    save_track(folder / "track.npz", track)
    return folder


@pytest.mark.parametrize("to", ["metrical", "insta", "flashavatar", "gaussian-avatars"])
def test_folders(run, tracked, tmp_path, to):
    size = [] if to == "flashavatar" else ["--size", 64]
    size += ["--no-pictures"] if to == "metrical" else []
    done = run("export", tracked, "--to", to, "--out", tmp_path / "out", *size)
    assert done.code == 0 and f"Wrote 3 frames to {tmp_path / 'out'}" in done.out
    assert any((tmp_path / "out").rglob("export.json"))
    again = run("export", tracked, "--to", to, "--out", tmp_path / "out", *size)
    assert "is not empty" in again.complaint
    assert "--overwrite" in again.complaint
    options = ["--overwrite", "--quiet", *size]
    done = run("export", tracked / "track.npz", "--to", to, "--out", tmp_path / "out", *options)
    assert (done.code, done.out, done.err) == (0, "", "")


def test_there_and_back_through_another_programs_files(run, tracked, tmp_path):
    run("export", tracked, "--to", "metrical", "--out", tmp_path / "mt", "--whole", "--no-pictures")
    assert run("export", tmp_path / "mt", "--to", "track", "--out", tmp_path / "a.npz").code == 0
    done = run("export", tmp_path / "mt", "--to", "track", "--out", tmp_path / "b.npz", "--motion", "head")
    assert done.code == 0
    flame, before = load_flame(), load_track(tracked / "track.npz")
    for name in ("a.npz", "b.npz"):
        after = load_track(tmp_path / name)
        wanted, got = (t.camera.project(flame(t.params).vertices[:, ::50]) for t in (before, after))
        torch.testing.assert_close(got, wanted, atol=0.01, rtol=0)
    torch.testing.assert_close(after.params.root, before.params.root, atol=1e-5, rtol=0)
    assert run("export", tracked, "--to", "vhap", "--out", tmp_path / "tracked_flame_params.npz").code == 0
    assert run("export", tmp_path / "tracked_flame_params.npz", "--to", "track", "--out", tmp_path / "c.npz").code == 0


def test_other_commands_read_folders(run, tracked, tmp_path):
    run("export", tracked, "--to", "metrical", "--out", tmp_path / "mt", "--whole", "--no-pictures", "--quiet")
    for place in (tracked, tmp_path / "mt"):
        assert run("pose", place, "--frame", 1, "--out", tmp_path / "head.obj").code == 0
    assert run("render", tmp_path / "mt", "--out", tmp_path / "heads.png").code == 0
    assert "it is a folder" in run("render", tmp_path, "--out", tmp_path / "x.png").complaint


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--to", "track", "--out", "x"], "--to track wants .npz"),
        (["--to", "metrical", "--out", "x", "--source", "gone.mp4"], "no video or folder 'gone.mp4'"),
        (["--to", "metrical", "--out", "x", "--bbox-scale", "0"], "choose a scale from 1 to 20"),
    ],
)
def test_refusals(run, tracked, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert sentence in run("export", tracked, *arguments).complaint
    assert not list(tmp_path.iterdir())
