"""INSTA's data set, read with json, numpy and PIL."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from flamehead.errors import InputError
from flamehead.export import CropSettings, MaskSettings, export_insta

SIZE, COUNT = 160, 6


@pytest.fixture(scope="module")
def out(track, flame, frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("insta") / "person"
    export_insta(track, flame, frames, folder, crop=CropSettings(size=SIZE), test_frames=2)
    return folder


def transforms(out, part=""):
    return json.loads((out / f"transforms{part}.json").read_text())


def test_transforms_have_the_keys_of_the_table(out):
    whole = transforms(out)
    head = "w h cx cy fl_x fl_y camera_angle_x camera_angle_y x_fov y_fov integer_depth_scale frames".split()
    assert set(whole) == set(head) and whole["integer_depth_scale"] == 0.001
    assert whole["w"] == whole["h"] == SIZE
    assert whole["camera_angle_x"] == pytest.approx(2 * math.atan(SIZE / 2 / whole["fl_x"]))
    assert whole["x_fov"] == pytest.approx(math.degrees(whole["camera_angle_x"]))
    names = "transform_matrix file_path mesh_path exp_path depth_path seg_mask_path".split()
    for index, frame in enumerate(whole["frames"]):
        assert set(frame) == set(names) and frame["file_path"] == f"images/{index:05d}.png"
        for name in names[1:]:
            assert (out / frame[name]).is_file()
        matrix = np.array(frame["transform_matrix"])
        assert matrix.shape == (4, 4) and matrix[3].tolist() == [0, 0, 0, 1]
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-5)


def test_the_split_is_by_time(out):
    frames = transforms(out)["frames"]
    assert transforms(out, "_train")["frames"] == frames[:4]
    assert transforms(out, "_test")["frames"] == transforms(out, "_val")["frames"] == frames[4:]


def test_matrices_are_camera_to_world_in_opencv_axes(out):
    """The mesh falls onto the opaque pixels."""
    whole = transforms(out)
    for frame in whole["frames"]:
        lines = (out / frame["mesh_path"]).read_text().splitlines()
        vertices = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], dtype=float)
        assert vertices.shape == (5023, 3)
        matrix = np.linalg.inv(frame["transform_matrix"])
        points = vertices @ matrix[:3, :3].T + matrix[:3, 3]
        assert (points[:, 2] > 0.3).all()
        x = whole["fl_x"] * points[:, 0] / points[:, 2] + whole["cx"]
        y = whole["fl_y"] * points[:, 1] / points[:, 2] + whole["cy"]
        with Image.open(out / frame["file_path"]) as picture:
            assert picture.mode == "RGBA" and picture.size == (SIZE, SIZE)
            alpha = np.asarray(picture)[..., 3]
        inside = (x > 0) & (x < SIZE) & (y > 0) & (y < SIZE)
        values = alpha[y[inside].astype(int), x[inside].astype(int)]
        assert (values >= 60).mean() > 0.97 and alpha[:5].max() == 0
        share = (alpha > 127).mean()
        assert 0.08 < share < 0.5


def test_expressions_depth_and_labels(out, track, flame):
    whole = transforms(out)
    for index, frame in enumerate(whole["frames"]):
        text = (out / frame["exp_path"]).read_text().split("\n")
        assert len(text) == 101 and text[-1] == "" and all(len(line.split(".")[1]) == 8 for line in text[:-1])
        np.testing.assert_allclose(np.array(text[:-1], float), track.params.expression[index + 1].numpy(), atol=1e-7)
        with Image.open(out / frame["depth_path"]) as depth, Image.open(out / frame["seg_mask_path"]) as labels:
            assert np.asarray(depth).dtype == np.uint16 and labels.mode == "L" and labels.size == (SIZE, SIZE)
            assert {0, 1, 2, 3} <= set(np.unique(np.asarray(labels)))


def test_a_mask_can_grow_and_fade(track, flame, frames, tmp_path):
    sums = []
    for number, mask in enumerate((MaskSettings(feather=0), MaskSettings(grow=6, feather=0), MaskSettings(feather=8))):
        export_insta(track, flame, frames, tmp_path / str(number), crop=CropSettings(size=64), mask=mask)
        with Image.open(tmp_path / str(number) / "images" / "00000.png") as picture:
            alpha = np.asarray(picture)[..., 3]
        sums.append((int((alpha > 127).sum()), len(np.unique(alpha))))
    assert sums[1][0] > 1.3 * sums[0][0] and sums[0][1] == 2 and sums[2][1] > 8
    assert sums[2][0] == pytest.approx(sums[0][0], rel=0.02)
    with pytest.raises(InputError, match="none for training"):
        export_insta(track, flame, frames, tmp_path / "x", test_frames=6)
