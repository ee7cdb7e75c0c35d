"""The data set of VHAP and GaussianAvatars, read with json, numpy and PIL; the field of view alone places the head."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from flamehead.export import CropSettings, export_gaussian_avatars, export_vhap

SIZE, COUNT = 160, 6
STEP = {"translation": (1, 3), "rotation": (1, 3), "neck_pose": (1, 3), "jaw_pose": (1, 3), "eyes_pose": (1, 6),
        "shape": (300,), "expr": (1, 100), "static_offset": (1, 5143, 3)}  # fmt: skip


@pytest.fixture(scope="module")
def out(track, flame, frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ga") / "person"
    done = export_gaussian_avatars(track, flame, frames, folder, crop=CropSettings(size=SIZE))
    assert any("dynamic_offset" in note for note in done.notes)
    return folder


def transforms(out, part=""):
    return json.loads((out / f"transforms{part}.json").read_text())


def step(path):
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def test_every_time_step_has_the_keys_of_the_table_in_float32(out):
    for index in range(COUNT):
        content = step(out / "flame_param" / f"{index:05d}.npz")
        for key, shape in STEP.items():
            assert content[key].shape == shape and content[key].dtype == np.float32, key
        assert set(content) - set(STEP) == {"dynamic_offset"} and content["dynamic_offset"].shape == (1, 5143, 3)
        assert not content["static_offset"].any()


def test_the_canonical_parameters_are_a_neutral_head_with_an_open_jaw(out):
    content = step(out / "canonical_flame_param.npz")
    assert content["jaw_pose"].dtype == np.float64 and content["jaw_pose"].tolist() == [[0.3, 0, 0]]
    for key in ("translation", "rotation", "neck_pose", "eyes_pose", "expr", "static_offset"):
        assert content[key].shape == STEP[key] and not content[key].any()
    np.testing.assert_array_equal(content["shape"], step(out / "flame_param/00000.npz")["shape"])


def test_transforms_have_the_keys_of_the_table_and_time_step_0_is_for_training(out):
    whole = transforms(out)
    lens = set("cx cy fl_x fl_y h w camera_angle_x camera_angle_y".split())
    assert set(whole) == lens | {"timestep_indices", "camera_indices", "frames"}
    wanted = lens | set(
        "timestep_index timestep_index_original timestep_id camera_index camera_id transform_matrix file_path "
        "fg_mask_path flame_param_path".split()
    )
    for index, frame in enumerate(whole["frames"]):
        assert set(frame) == wanted and frame["timestep_index"] == index
        assert frame["timestep_index_original"] == index + 1
        assert frame["file_path"] == f"images/{index:05d}_00.png" and frame["w"] == frame["h"] == SIZE
        for key in ("file_path", "fg_mask_path", "flame_param_path"):
            assert (out / frame[key]).is_file()
        assert frame["camera_angle_x"] == pytest.approx(2 * math.atan(SIZE / 2 / frame["fl_x"]))
        assert frame["cx"] == frame["cy"] == SIZE / 2
    parts = {
        part: [f["timestep_index"] for f in transforms(out, f"_{part}")["frames"]] for part in ("train", "val", "test")
    }
    assert parts == {"train": [0, 1, 2, 3, 4], "val": [], "test": [5]}
    assert whole["timestep_indices"] == list(range(COUNT)) and whole["camera_indices"] == [0]


def test_the_scene_is_centred(out):
    moved = np.concatenate([step(file)["translation"] for file in sorted((out / "flame_param").iterdir())])
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=1e-6)
    matrix = np.array(transforms(out)["frames"][0]["transform_matrix"])
    np.testing.assert_allclose(matrix[:3, :3], np.eye(3), atol=1e-6)


def posed(flame, content):
    rest = flame.zeros()
    given = {
        "shape": content["shape"], "expression": content["expr"][0], "root": content["rotation"][0],
        "neck": content["neck_pose"][0], "jaw": content["jaw_pose"][0], "left_eye": content["eyes_pose"][0, :3],
        "right_eye": content["eyes_pose"][0, 3:], "translation": content["translation"][0],
    }  # fmt: skip
    params = type(rest)(**{key: torch.from_numpy(value) for key, value in given.items()})
    offset = torch.from_numpy(content["dynamic_offset"][0, :5023])
    return flame(params, frame_offsets=offset).vertices.numpy()


def test_heads_drawn_with_the_field_of_view_alone_match_the_track(out, flame, track):
    """y and z of the camera-to-world matrix are negated, as the program does; landmarks tell where they should be."""
    for index in (0, 2, 5):
        frame = transforms(out)["frames"][index]
        vertices = posed(flame, step(out / frame["flame_param_path"]))
        matrix = np.array(frame["transform_matrix"])
        matrix[:3, 1:3] *= -1
        view = np.linalg.inv(matrix)
        points = vertices @ view[:3, :3].T + view[:3, 3]
        scale = SIZE / 2 / math.tan(frame["camera_angle_x"] / 2)
        got = flame.landmarks(torch.from_numpy(points.astype(np.float32)), "mediapipe478").numpy()
        # In units of the focal length, so that the crop does not matter.
        wanted = (track.landmarks[index + 1] - track.camera.center[0].numpy()) / track.camera.focal[0].numpy()
        assert np.abs(scale * (got[:, :2] / got[:, 2:] - wanted)).max() < 0.01


def test_pictures_are_on_white_and_masks_are_grey(out):
    for frame in transforms(out)["frames"]:
        with Image.open(out / frame["file_path"]) as picture, Image.open(out / frame["fg_mask_path"]) as mask:
            assert picture.mode == "RGB" and mask.mode == "L" and picture.size == mask.size == (SIZE, SIZE)
            image, alpha = np.asarray(picture), np.asarray(mask)
        assert (image[alpha == 0] == 255).all() and image[alpha == 255].mean() < 200
        assert 0.03 < (alpha > 127).mean() < 0.5


def test_vhaps_own_file(track, flame, tmp_path):
    export_vhap(track, flame, tmp_path / "tracked_flame_params_30.npz", crop=CropSettings(size=SIZE))
    content = step(tmp_path / "tracked_flame_params_30.npz")
    shapes = {
              "rotation": (6, 3), "translation": (6, 3), "neck_pose": (6, 3), "jaw_pose": (6, 3), "eyes_pose": (6, 6),
              "shape": (300,), "expr": (6, 100), "timestep_id": (6,), "n_processed_frames": (), "focal_length": (1,),
              "lights": (9, 3), "static_offset": (1, 5143, 3), "dynamic_offset": (6, 5143, 3), "image_size": (2,),
    }  # fmt: skip
    assert {key: value.shape for key, value in content.items()} == shapes
    assert content["image_size"].tolist() == [SIZE, SIZE] and content["timestep_id"].dtype.kind == "U"
    assert content["n_processed_frames"] == 6
