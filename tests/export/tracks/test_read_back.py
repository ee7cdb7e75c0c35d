"""Folders of other programs become tracks: what was exported comes back, and damage is told in one sentence."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.data import FrameStatus
from flamehead.errors import AssetNotFound, InputError
from flamehead.export import CropSettings, export_flashavatar, export_gaussian_avatars, export_metrical, export_vhap
from flamehead.export.prepared import prepare
from flamehead.formats import is_track, open_track, read_tracker_folder, read_vhap_folder
from flamehead.geometry.harmonics import turn_light
from flamehead.io import save_track

SMALL = CropSettings(size=128)
KEPT = slice(1, 7)


@pytest.fixture(scope="module")
def straight(track):
    """The track without a bent neck, which the tracker's files cannot hold exactly."""
    return replace(track, params=replace(track.params, neck=torch.zeros_like(track.params.neck)))


@pytest.fixture(scope="module")
def metrical(straight, flame, frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("read") / "metrical"
    export_metrical(straight, flame, frames, folder, crop=SMALL, pictures=False)
    return folder


@pytest.fixture(scope="module")
def vhap(track, flame, frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("read") / "vhap"
    export_gaussian_avatars(track, flame, frames, folder, crop=SMALL)
    return folder


def pixels(flame, track):
    return track.camera.project(flame(track.params).vertices[:, ::40]).detach().numpy()


@pytest.fixture
def copy(metrical, tmp_path):
    return shutil.copytree(metrical, tmp_path / "copy")


def test_a_tracker_folder_comes_back(straight, flame, metrical):
    back = read_tracker_folder(metrical, flame)
    wanted = prepare(straight, flame, SMALL).track
    np.testing.assert_allclose(pixels(flame, back), pixels(flame, wanted), atol=0.01)
    np.testing.assert_array_equal(back.status, straight.status[KEPT])
    np.testing.assert_allclose(back.times, np.arange(6) / 25)
    assert back.eyelids is not None and back.landmarks is not None and wanted.landmarks is not None
    assert back.light is not None and back.albedo is not None
    np.testing.assert_allclose(back.eyelids, straight.eyelids[KEPT], atol=1e-6)
    np.testing.assert_allclose(back.landmarks, wanted.landmarks, atol=1e-3)
    np.testing.assert_allclose(back.light, straight.light[KEPT], atol=1e-5)
    np.testing.assert_allclose(back.albedo[:31], straight.albedo, atol=1e-6)
    assert back.fingerprint == flame.fingerprint and not back.warnings and back.camera.size == (128, 128)
    assert back.source == str(metrical / "input") and not back.params.root.any()


def test_light_of_the_frames_shines_on_the_canonical_head(flame, metrical, straight):
    content = torch.load(metrical / "checkpoint" / "00003.frame", weights_only=False)
    wanted = turn_light(torch.tensor(straight.light[4]), torch.tensor(content["opencv"]["R"][0]))
    np.testing.assert_allclose(content["flame"]["sh"][0], wanted, atol=1e-5)


def test_a_vhap_data_set_comes_back(track, flame, vhap):
    back = read_vhap_folder(vhap, flame)
    wanted = prepare(track, flame, SMALL, centered_principal_point=True).track
    np.testing.assert_allclose(pixels(flame, back), pixels(flame, wanted), atol=0.01)
    assert back.frames.tolist() == list(range(6)) and back.source == str(vhap / "images")
    assert len(back.warnings) == 1 and "dynamic_offset" in back.warnings[0]


def test_a_vhap_run_comes_back_from_its_last_epoch(track, flame, tmp_path):
    for epoch in (0, 30, 10):
        some = replace(track, params=replace(track.params, jaw=track.params.jaw + 0.001 * epoch))
        export_vhap(some, flame, tmp_path / f"tracked_flame_params_{epoch}.npz", crop=SMALL)
    last = replace(track, params=replace(track.params, jaw=track.params.jaw + 0.03))
    wanted = prepare(last, flame, SMALL, centered_principal_point=True).track
    for place in (tmp_path, tmp_path / "tracked_flame_params_30.npz"):
        back = open_track(place, flame, fps=50)
        np.testing.assert_allclose(pixels(flame, back), pixels(flame, wanted), atol=0.01)
        assert back.fps == pytest.approx(50) and back.light is not None
        np.testing.assert_allclose(back.light[0], track.light[KEPT].mean(axis=0), atol=1e-5)


def test_one_door_knows_all_of_them(track, straight, flame, frames, metrical, vhap, tmp_path):
    save_track(tmp_path / "track.npz", track)
    assert np.array_equal(open_track(tmp_path, flame).frames, track.frames)
    assert len(open_track(tmp_path / "track.npz", flame)) == 8
    assert len(open_track(metrical, flame)) == len(open_track(vhap, flame)) == 6
    assert all(is_track(place) for place in (tmp_path, metrical, metrical / "checkpoint", vhap))
    export_flashavatar(straight, flame, frames, tmp_path / "flash", name="me")
    assert len(open_track(tmp_path / "flash" / "metrical-tracker" / "output" / "me", flame)) == 6
    with pytest.raises(InputError, match="no track that is known here"):
        open_track(metrical / "mesh", flame)
    with pytest.raises(InputError, match="There is no track at"):
        open_track(tmp_path / "nothing", flame)
    assert not is_track(metrical / "mesh") and not is_track(tmp_path / "nothing")


def test_holes_and_missing_frames(copy, flame):
    (copy / "checkpoint" / "00002.frame").unlink()
    with pytest.raises(InputError, match=r"lacks the frame 00002, so that later frames"):
        read_tracker_folder(copy, flame)
    (copy / "checkpoint" / "00004.frame").unlink()
    with pytest.raises(InputError, match=r"lacks the frame 00002 and 1 more"):
        read_tracker_folder(copy, flame)
    (copy / "checkpoint" / "last.frame").touch()
    with pytest.raises(InputError, match="is not numbered"):
        read_tracker_folder(copy, flame)
    shutil.rmtree(copy / "checkpoint")
    with pytest.raises(AssetNotFound, match=r"no .frame files"):
        read_tracker_folder(copy, flame)


def rewrite(path, change):
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)


def test_frames_that_do_not_belong_together(copy, flame):
    def larger(content):
        content["img_size"] = np.array([256, 128])

    rewrite(copy / "checkpoint" / "00001.frame", larger)
    with pytest.raises(InputError, match=r"images of different sizes \(128x128, 128x256\)"):
        read_tracker_folder(copy, flame)


def test_a_foreign_folder_says_what_was_assumed(copy, flame):
    def foreign(content):
        del content["flamehead_fingerprint"]
        content["flame"]["shape"] = content["flame"]["shape"] + 0.01 * int(content["frame_id"])

    for path in (copy / "checkpoint").iterdir():
        rewrite(path, foreign)
    (copy / "export.json").unlink()
    (copy / "kpt_dense" / "00003.npy").unlink()
    back = read_tracker_folder(copy, flame, fps=30)
    assert len(back.warnings) == 3 and back.landmarks is None and back.fps == pytest.approx(30)
    assert "identity changes by up to 0.05" in back.warnings[0] and "built-in head" in back.warnings[1]
    assert bool((back.params.shape == back.params.shape[:1]).all())
    assert (back.status == FrameStatus.TRACKED).all()


def test_another_model_is_refused(copy, flame):
    rewrite(copy / "checkpoint" / "00000.frame", lambda content: content.update(flamehead_fingerprint="other"))
    with pytest.raises(InputError, match="belong to the model other"):
        read_tracker_folder(copy, flame)
    assert len(read_tracker_folder(copy, flame, force=True)) == 6


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda frames: frames.pop(2), "lacks time step 2 for camera 0"),
        (lambda frames: frames.append(frames[0]), "has a time step twice"),
        (lambda frames: frames[1].update(w=64), r"images of different sizes"),
        (lambda frames: frames[1].update(flame_param_path="../../elsewhere.npz"), "wanted a file in that folder"),
        (lambda frames: frames[1].pop("timestep_index"), "no list of frames"),
        (lambda frames: frames[1].pop("transform_matrix"), "no usable camera"),
    ],
)
def test_damaged_data_sets(vhap, flame, tmp_path, change, sentence):
    folder = shutil.copytree(vhap, tmp_path / "copy")
    content = json.loads((folder / "transforms.json").read_text())
    change(content["frames"])
    (folder / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=sentence):
        read_vhap_folder(folder, flame)


def test_no_such_camera_and_no_cameras_at_all(vhap, flame, track, tmp_path):
    with pytest.raises(InputError, match=r"has no camera 3; it has 0"):
        read_vhap_folder(vhap, flame, camera=3)
    export_vhap(track, flame, tmp_path / "tracked_flame_params.npz", crop=SMALL)
    with np.load(tmp_path / "tracked_flame_params.npz") as archive:
        content = {key: archive[key] for key in archive if key != "focal_length"}
    np.savez(tmp_path / "tracked_flame_params.npz", **content)
    with pytest.raises(InputError, match="lacks focal_length"):
        read_vhap_folder(tmp_path, flame)
    with pytest.raises(AssetNotFound, match="no track of VHAP"):
        read_vhap_folder(vhap / "images", flame)


def test_pictures_are_counted_as_they_are_read(vhap, flame, tmp_path):
    """Files that are no pictures shift nothing, and a folder outside of the data set is not looked into."""
    folder = shutil.copytree(vhap, tmp_path / "set")
    (folder / "images" / ".DS_Store").write_bytes(b"")
    (folder / "images" / "00000_notes.txt").write_text("none")
    assert read_vhap_folder(folder, flame).frames.tolist() == list(range(6))
    content = json.loads((folder / "transforms.json").read_text())
    for entry in content["frames"]:
        entry["file_path"] = str(vhap / entry["file_path"])
    (folder / "transforms.json").write_text(json.dumps(content))
    assert read_vhap_folder(folder, flame).source == ""


@pytest.mark.parametrize("fps", [0.0, -25.0, float("nan"), float("inf")])
def test_a_rate_is_positive(vhap, flame, fps):
    with pytest.raises(InputError, match="above 0"):
        open_track(vhap, flame, fps=fps)
