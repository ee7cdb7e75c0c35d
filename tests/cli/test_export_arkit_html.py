"""`flamehead export`: tables and pages of heads and tracks, and what is refused before the work."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead import load_flame
from flamehead.data import Camera, Track
from flamehead.export import ARKIT_NAMES, arkit_index, arkit_rig, from_arkit, read_live_link
from flamehead.io import save_params
from flamehead.io.tracks import save_track


@pytest.fixture(scope="module")
def flame():
    return load_flame()


@pytest.fixture
def track(flame, tmp_path):
    """A smile that comes, at 25 frames per second, in `track.npz`."""
    count = 10
    frames = np.zeros((count, 52))
    frames[:, arkit_index("mouthSmileLeft")] = np.linspace(0, 1, count)
    params, _ = from_arkit(arkit_rig(flame), frames)
    eye = torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(count, 3, 3)
    camera = Camera(
        eye, torch.zeros(count, 3), torch.full((count, 2), 900.0), torch.full((count, 2), 256.0), (512, 512)
    )
    track = Track(
        params=replace(params, root=torch.tensor([0.0, 0.2, 0.0]).expand(count, 3)),
        camera=camera,
        frames=np.arange(count),
        times=np.arange(count) / 25.0,
        status=np.zeros(count, dtype=np.int8),
        fingerprint=flame.fingerprint,
    )
    save_track(tmp_path / "track.npz", track)
    return tmp_path / "track.npz"


def test_a_track_becomes_a_table_and_a_report(run, track):
    done = run("export", track, "--to", "arkit", "--out", track.with_suffix(".csv"))
    assert done.code == 0 and done.err == "" and "Residual: 0.00 mm" in done.out
    take = read_live_link(track.with_suffix(".csv"), fps=25.0)
    np.testing.assert_allclose(take.coefficients[:, arkit_index("mouthSmileLeft")], np.linspace(0, 1, 10), atol=0.01)
    np.testing.assert_allclose(take.times, np.arange(10) / 25.0, atol=1e-4)
    np.testing.assert_allclose(take.angles[:, 0], 0.2, atol=1e-5)
    report = json.loads(track.with_suffix(".json").read_text())
    assert list(report["shapes_mm"]) == list(ARKIT_NAMES) and len(report["frame_mean_mm"]) == 10
    assert report["shapes_mm"]["mouthClose"]["residual"] > 0.5 > report["shapes_mm"]["jawOpen"]["residual"]


def test_a_track_and_a_head_become_pages(run, flame, track, tmp_path):
    assert run("export", track, "--to", "html", "--out", tmp_path / "talk.html").code == 0
    assert '"track":' in (tmp_path / "talk.html").read_text()
    run("pose", "--set", "smile=1", "--out", tmp_path / "smile.npz")
    assert run("export", tmp_path / "smile.npz", "--to", "html", "--out", tmp_path / "smile.html", "--quiet").out == ""
    page = (tmp_path / "smile.html").read_text()
    assert "<title>smile</title>" in page and '"track":' not in page
    assert run("export", "--to", "html", "--title", "Nobody", "--out", tmp_path / "mean.html").code == 0


def test_several_heads_are_a_table_but_no_page(run, flame, tmp_path):
    camera = Camera(torch.eye(3), torch.zeros(3), torch.ones(2), torch.ones(2), (8, 8))
    save_params(tmp_path / "heads.npz", flame.zeros((3,)), camera, fingerprint=flame.fingerprint)
    heads, table = tmp_path / "heads.npz", tmp_path / "heads.csv"
    assert run("export", heads, "--to", "arkit", "--out", table, "--fps", 30).code == 0
    assert read_live_link(table, fps=30.0).times.tolist() == pytest.approx([0, 1 / 30, 2 / 30], abs=1e-4)
    assert "Got 3 heads" in run("export", heads, "--to", "html", "--out", tmp_path / "a.html").complaint
