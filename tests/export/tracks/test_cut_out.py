"""The one square: it holds the face, moves K exactly, and may leave the picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.data import FrameStatus
from flamehead.errors import InputError
from flamehead.export import CropSettings, face_crop
from flamehead.export.masks import MaskSettings, feathered
from flamehead.export.prepared import cut_frames, prepare
from flamehead.export.sources import source_frames
from flamehead.io import write_image
from flamehead.render import Crop


def dot(size, x, y):
    """A bright spot whose centre of mass is at (x, y), pixel centres at +0.5."""
    xs, ys = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    grey = np.exp(-((xs[None] - x) ** 2 + (ys[:, None] - y) ** 2) / (2 * 4.0**2))
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.float32)


def mass(image):
    grey = image[..., 0].astype(np.float64)
    ys, xs = np.mgrid[: grey.shape[0], : grey.shape[1]] + 0.5
    return np.array([(grey * xs).sum(), (grey * ys).sum()]) / grey.sum()


@pytest.mark.parametrize("corner", [(0, 0), (-31, 20), (40.25, -17.75), (13, 60.5)])
@pytest.mark.parametrize("size", [64, 150, 400])
def test_pixels_go_where_points_go(corner, size):
    crop = Crop(corner, (150, 150), (size, size))
    place = np.array([95.3, 83.8])
    shown = crop.image(dot((200, 160), *place))
    assert shown.shape == (size, size, 3)
    np.testing.assert_allclose(mass(shown), crop.points(place[None])[0], atol=0.05)


def test_outside_of_the_picture_is_black():
    shown = Crop((-20, -10), (60, 60), (60, 60)).image(np.ones((30, 25, 3), np.float32))
    assert shown[10:40, 20:45].min() == 1 and shown.sum() == 3 * 30 * 25
    assert Crop((500, 0), (60, 60), (30, 30)).image(np.ones((30, 25, 3), np.float32)).sum() == 0


def test_the_square_holds_the_face_of_every_frame(track, flame):
    for scale in (1.0, 1.5):
        crop = face_crop(track, flame, size=200, bbox_scale=scale)
        points = np.stack([crop.points(p) for p in track.landmarks[track.tracked]])
        assert crop.size == (200, 200) and crop.extent[0] == crop.extent[1]
        assert points.min() > -15 and points.max() < 215
    assert face_crop(track, flame, bbox_scale=1.0).extent < crop.extent


def test_the_principal_point_can_be_the_middle(track, flame):
    crop = face_crop(track, flame, size=200, centered_principal_point=True)
    center = crop.points(track.camera.center[:1].double().numpy())[0]
    np.testing.assert_allclose(center, 100, atol=1e-9)


def test_projected_points_move_with_the_square(track, flame):
    prepared = prepare(track, flame, CropSettings(size=256))
    vertices = flame(prepared.track.params).vertices[:, ::50]
    before = track.camera.project(flame(track.params).vertices[:, ::50]).numpy()[prepared.rows]
    after = prepared.track.camera.project(vertices).numpy()
    np.testing.assert_allclose(after, prepared.crop.points(before), atol=1e-3)
    matrix = prepared.track.camera.matrix
    assert bool((matrix == matrix[:1]).all())


def test_lost_frames_at_the_ends_are_left_out_and_between_they_stay(track, flame):
    status = np.array([2, 2, 0, 2, 1, 0, 0, 2], np.int8)
    prepared = prepare(replace(track, status=status), flame, CropSettings(whole=True))
    assert prepared.rows == slice(2, 7) and len(prepared) == 5
    assert "2 frames at the start and 1 at the end" in prepared.notes[0] and "In 2 of" in prepared.notes[1]
    nothing = replace(track, status=np.full(8, FrameStatus.LOST, np.int8))
    with pytest.raises(InputError, match="No frame of the 8"):
        prepare(nothing, flame, CropSettings())


def test_whole_pictures_stay_as_they_are(track, flame, frames):
    prepared = prepare(track, flame, CropSettings(whole=True))
    cut = dict(cut_frames(prepared, frames))
    assert sorted(cut) == list(range(6))
    np.testing.assert_allclose(cut[2], frames[3][1], atol=0.5 / 255 + 1e-6)
    assert prepared.covered.all() and prepared.track.camera.size == track.camera.size


def test_refusals_are_one_sentence(track, flame, frames):
    prepared = prepare(track, flame, CropSettings())
    with pytest.raises(InputError, match="no picture for row 3"):
        list(cut_frames(prepared, [frame for frame in frames if frame[0] != 3]))
    with pytest.raises(InputError, match="made from pictures of 320x240"):
        list(cut_frames(prepared, [(row, image[:100]) for row, image in frames]))
    focal = track.camera.focal * torch.linspace(1, 1.2, 8)[:, None]
    with pytest.raises(InputError, match=r"lens changes over the track \(focal length"):
        prepare(replace(track, camera=replace(track.camera, focal=focal)), flame, CropSettings())
    with pytest.raises(InputError, match="belong to the model"):
        prepare(replace(track, fingerprint="other"), flame, CropSettings())
    with pytest.raises(InputError, match="lies outside the picture"):
        far = replace(track.params, translation=track.params.translation + torch.tensor([3.0, 0, 0]))
        prepare(replace(track, params=far), flame, CropSettings())
    with pytest.raises(InputError, match="choose 16 to 8192"):
        prepare(track, flame, CropSettings(size=4))


def test_a_folder_of_pictures_is_a_source(track, frames, tmp_path):
    for row, image in frames:
        write_image(tmp_path / f"{row + 7:04d}.png", image)
    short = replace(track, frames=np.array([0, 2, 3, 4, 5, 6, 7, 9]))
    found = list(source_frames(short, tmp_path))
    assert [row for row, _ in found] == [0, 1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(found[1][1], frames[2][1], atol=0.003)
    with pytest.raises(InputError, match=r"no video or folder 'clip.mp4'"):
        source_frames(track)


def test_a_feathered_outline_is_half_opaque():
    inside = np.zeros((40, 40), bool)
    inside[10:30, 10:30] = True
    ramp = feathered(inside, MaskSettings(feather=4))[20]
    np.testing.assert_allclose(ramp[7:13], [0, 0.125, 0.375, 0.625, 0.875, 1])
    np.testing.assert_array_equal(feathered(inside, MaskSettings(feather=0)), inside)
    assert feathered(inside, MaskSettings(grow=3, feather=0))[20].sum() == 26
