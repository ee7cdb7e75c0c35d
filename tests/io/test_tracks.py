"""Tracks on disk: what comes back is what went in, and damage is told in one sentence."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from flamehead.data import Camera, FlameParams, FrameStatus, Track
from flamehead.errors import InputError
from flamehead.io import is_track_file, load_params, load_track, save_track


def a_track(count=5, **changes):
    rng = np.random.default_rng(count)

    def values(*shape):
        return torch.from_numpy(rng.normal(size=(count, *shape)).astype(np.float32))

    params = FlameParams(values(4)[:1].expand(count, 4), values(3), *(values(3) for _ in range(6)))
    camera = Camera(torch.eye(3).expand(count, 3, 3), values(3), values(2).abs(), values(2), (640, 480))
    landmarks = rng.normal(size=(count, 478, 2)).astype(np.float32)
    landmarks[1:2] = np.nan
    track = Track(
        params, camera, np.arange(3, 3 + count), 0.04 * np.arange(count), np.array([0, 1, 0, 0, 2][:count], np.int8),
        "abc", landmarks=landmarks, landmark_error=np.linspace(0, 1, count), albedo=rng.normal(size=7),
        light=rng.normal(size=(count, 9, 3)), source="clip.mp4", settings={"fps": 25}, versions={"flamehead": "0"},
        warnings=("Two people are in the video.",),
    )  # fmt: skip
    return replace(track, **changes)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_what_comes_back_is_what_went_in(tmp_path, count):
    track = a_track(count)
    save_track(tmp_path / "track.npz", track)
    back = load_track(tmp_path / "track.npz")
    for field in fields(FlameParams):
        torch.testing.assert_close(getattr(back.params, field.name), getattr(track.params, field.name))
    torch.testing.assert_close(back.camera.focal, track.camera.focal)
    assert back.camera.size == track.camera.size
    for name in ("frames", "times", "status", "landmarks", "albedo", "light"):
        np.testing.assert_array_equal(getattr(back, name), getattr(track, name))
    assert back.landmark_error is not None and track.landmark_error is not None
    np.testing.assert_allclose(back.landmark_error, track.landmark_error, rtol=1e-6)
    assert back.eyelids is None and back.scene is None
    assert (back.source, back.settings, back.versions, back.warnings) == (
        "clip.mp4", {"fps": 25}, {"flamehead": "0"}, track.warnings
    )  # fmt: skip


def test_a_track_is_also_a_batch_of_heads(tmp_path):
    save_track(tmp_path / "track.npz", a_track())
    saved = load_params(tmp_path / "track.npz")
    assert saved.params.root.shape == (5, 3) and saved.status == "Tracked 3 of 5 frames."
    assert is_track_file(tmp_path / "track.npz")


def test_rates_and_masks():
    track = a_track()
    assert len(track) == 5 and track.fps == pytest.approx(25) and a_track(1).fps == 25
    np.testing.assert_array_equal(track.tracked, track.status == FrameStatus.TRACKED)


def test_rows_that_do_not_match_are_refused(tmp_path):
    with pytest.raises(InputError, match="'scene' has 2 rows for 5 frames"):
        save_track(tmp_path / "track.npz", a_track(scene=np.zeros(2, int)))
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused_by_name(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    for name in ("other.npz", "broken.npz", "absent.npz"):
        assert not is_track_file(tmp_path / name)
        with pytest.raises(InputError, match=name):
            load_track(tmp_path / name)


def test_a_damaged_entry_is_named(tmp_path):
    save_track(tmp_path / "track.npz", a_track())
    with np.load(tmp_path / "track.npz") as stored:
        arrays = dict(stored)
    arrays["track_status"] = arrays["track_status"][:2]
    np.savez(tmp_path / "short.npz", **arrays)
    with pytest.raises(InputError, match="'track_status'"):
        load_track(tmp_path / "short.npz")
