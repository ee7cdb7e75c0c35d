"""A video of a known head becomes a track; stopped anywhere it goes on to the same bits; wrong things are told."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flamehead import FrameStatus, load_flame, load_track
from flamehead.data import Camera
from flamehead.errors import InputError, NoFaceFound
from flamehead.fit import IdentityPrior
from flamehead.io import open_frames
from flamehead.pipeline_track import FILES, FoundIdentity, track_video
from flamehead.render import render
from flamehead.track.show import error_chart, frame_views

SIZE, FOCAL, COUNT = (240, 200), 320.0, 7
WALL = (0.3, 0.35, 0.4)

pytestmark = pytest.mark.detect


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder of pictures of the built-in head turning its head; frame 4 shows the wall."""
    folder, flame = tmp_path_factory.mktemp("clip"), load_flame()
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    camera = Camera(flip, torch.zeros(3), torch.full((2,), FOCAL), torch.tensor([120.0, 100.0]), SIZE)
    for k in range(COUNT):
        params = replace(
            flame.zeros(), root=torch.tensor([0.0, 0.05 * k, 0.0]), jaw=torch.tensor([0.03 * k, 0.0, 0.0]),
            translation=torch.tensor([0.002 * k, 0.02, -0.55]),
        )  # fmt: skip
        image = render(flame(params).vertices, flame.faces, camera, colors=flame.colors, background=WALL).image
        if k == 4:
            image[:] = WALL
        Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(folder / f"{k:03}.png")
    return folder


@pytest.fixture(scope="module")
def undisturbed(clip, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return track_video(clip, out, landmarks_only=True), out


def test_the_track_shows_the_head(clip, undisturbed):
    track, out = undisturbed
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    assert len(track) == COUNT and track.status.tolist() == [0, 0, 0, 0, FrameStatus.BRIDGED, 0, 0]
    yaw = track.params.root[:, 1].numpy()
    np.testing.assert_allclose(yaw - yaw[0], 0.05 * np.arange(COUNT), atol=0.08)
    assert np.nanmean(track.landmark_error) < 3.0 and np.isnan(track.landmark_error[4])
    again = load_track(out / "track.npz")
    assert torch.equal(again.params.root, track.params.root) and again.warnings == track.warnings
    report = json.loads((out / "report.json").read_text())
    assert (report["tracked"], report["bridged"], report["lost"], report["frames"]) == (6, 1, 0, COUNT)


def same(a, b):
    with np.load(a / "track.npz") as one, np.load(b / "track.npz") as other:
        assert one.files == other.files
        for name in one.files:
            assert one[name].tobytes() == other[name].tobytes(), name


class Stopped(Exception):
    pass


def test_stopped_at_every_stage_it_ends_with_the_same_bits(clip, undisturbed, tmp_path):
    for stage, done in [("landmarks", 3), ("landmarks", 6), ("calibration", 0), ("frames", 1), ("frames", 5)]:

        def stop(now, wanted=(stage, done)):
            if (now.stage, now.done) == wanted:
                raise Stopped

        with pytest.raises(Stopped):
            track_video(clip, tmp_path, landmarks_only=True, progress=stop)
    track_video(clip, tmp_path, landmarks_only=True)
    same(tmp_path, undisturbed[1])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_killed_it_ends_with_the_same_bits(clip, tmp_path):
    program = (
        "import os, signal, sys; from flamehead.pipeline_track import track_video\n"
        "def die(now):\n    if [now.stage, str(now.done)] == sys.argv[3:5]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "track_video(sys.argv[1], sys.argv[2], landmarks_only=True, progress=die)"
    )
    source = Path(track_video.__code__.co_filename).parents[1]
    # Both in processes of their own: the model of this one may have been built anew, with other last bits.
    runs = [("whole", "", ""), ("killed", "landmarks", "2"), ("killed", "frames", "3"), ("killed", "", "")]
    for folder, *stop in runs:
        code = subprocess.run(
            [sys.executable, "-c", program, str(clip), str(tmp_path / folder), *stop],
            env=os.environ | {"PYTHONPATH": str(source)}, stderr=subprocess.DEVNULL, check=False,
        ).returncode  # fmt: skip
        assert code == (-signal.SIGKILL if stop[0] else 0)
    same(tmp_path / "killed", tmp_path / "whole")


def test_other_arguments_do_not_mix(clip, undisturbed):
    with pytest.raises(InputError, match=r"focal was absent and is 300.0.*--restart"):
        track_video(clip, undisturbed[1], landmarks_only=True, focal=300.0)
    with pytest.raises(InputError, match=r"source .*--restart"):
        track_video(clip, undisturbed[1], landmarks_only=True, end="5f")


def test_an_identity_may_be_known_or_read_off_the_keyframes(clip, undisturbed, tmp_path):
    flame, seen = load_flame(), []

    def find(images, landmarks):
        seen.append((len(images), images[0].shape, landmarks.shape))
        return IdentityPrior(0.5 * torch.ones(flame.n_shape), weight=1e6)

    track = track_video(clip, tmp_path / "a", landmarks_only=True, focal=FOCAL, identity=FoundIdentity("all", find))
    count = seen[0][0]
    assert seen == [(count, (SIZE[1], SIZE[0], 3), (count, 478, 2))]
    known = find([np.zeros((1, 1, 3))], np.zeros((1, 478, 2)))
    other = track_video(clip, tmp_path / "b", landmarks_only=True, focal=FOCAL, identity=known)
    assert torch.equal(track.params.shape, other.params.shape)
    assert track.camera.focal[0, 0] == pytest.approx(FOCAL, rel=1e-3)
    assert not torch.equal(track.params.shape, undisturbed[0].params.shape)


def test_pictures_of_the_track(clip, undisturbed):
    track, _ = undisturbed
    flame, source = load_flame(), open_frames(clip)
    views = frame_views(track, flame, source, [0, 4], height=100)
    assert sorted(views) == [0, 4] and len({view.shape for view in views[0]}) == 1 and len(views[0]) == 4
    ground, overlay, landmarks, shape = views[0]
    # The head covers a good part; the landmarks some pixels.
    assert 0.05 < (np.abs(overlay - ground).max(axis=2) > 0.02).mean() < 0.9
    assert 0.005 < (np.abs(landmarks - ground).max(axis=2) > 0.02).mean() < 0.5
    assert 0.05 < (np.abs(shape - shape[0, 0]).max(axis=2) > 0.02).mean() < 0.9
    assert error_chart(track).shape[1] == 1000
    with pytest.raises(InputError, match="give the source that it was made from"):
        frame_views(track, flame, open_frames(clip, end="3f"), [0])


def test_a_face_in_the_middle_only(clip, tmp_path):
    (tmp_path / "clip").mkdir()
    for k, name in enumerate([4, 4, 0, 1, 2, 4]):
        (tmp_path / "clip" / f"{k}.png").write_bytes((clip / f"{name:03}.png").read_bytes())
    track = track_video(tmp_path / "clip", tmp_path / "out", landmarks_only=True)
    lost, seen = FrameStatus.LOST, FrameStatus.TRACKED
    assert track.status.tolist() == [lost, lost, seen, seen, seen, lost]
    assert torch.equal(track.params.translation[0], track.params.translation[2])
    assert all(getattr(track.params, name).isfinite().all() for name in ("root", "translation", "expression", "jaw"))
    assert any("first seen at 0.08 s" in sentence for sentence in track.warnings)


def test_no_face_at_all(tmp_path):
    (tmp_path / "wall").mkdir()
    for k in range(3):
        Image.new("RGB", (64, 48), (70, 80, 95)).save(tmp_path / "wall" / f"{k}.png")
    with pytest.raises(NoFaceFound, match="No face was found in any of the 3 frames"):
        track_video(tmp_path / "wall", tmp_path / "out")


def test_results_do_not_go_among_the_pictures(clip):
    with pytest.raises(InputError, match="which holds the pictures"):
        track_video(clip, clip, landmarks_only=True)


def test_a_damaged_calibration_is_told(clip, undisturbed, tmp_path):
    (tmp_path / "calibration.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"calibration.npz is damaged; start over with --restart"):
        track_video(clip, tmp_path, landmarks_only=True)
    track = track_video(clip, tmp_path, landmarks_only=True, restart=True)
    assert torch.equal(track.params.root, undisturbed[0].params.root)
