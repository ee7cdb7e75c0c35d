"""FlashAvatar's two folders, read as it reads them: only the focal length, files counted, pictures one behind."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from flamehead.export import export_flashavatar

COUNT = 6


@pytest.fixture(scope="module")
def out(track, flame, frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("flash")
    done = export_flashavatar(track, flame, frames, folder, name="person")
    assert any("500 frames" in note for note in done.notes)
    return folder


def test_files_are_counted_and_pictures_are_one_behind(out):
    checkpoints = out / "metrical-tracker" / "output" / "person" / "checkpoint"
    assert sorted(file.name for file in checkpoints.iterdir()) == [f"{i:05d}.frame" for i in range(COUNT)]
    data = out / "dataset" / "person"
    for folder in ("imgs", "alpha"):
        assert sorted(file.name for file in (data / folder).iterdir()) == [f"{i + 1:05d}.jpg" for i in range(COUNT)]
    wanted = {f"{i + 1:05d}_{what}.png" for i in range(COUNT) for what in ("neckhead", "mouth")}
    assert {file.name for file in (data / "parsing").iterdir()} == wanted


def test_the_principal_point_is_the_middle_and_the_conditions_are_there(out):
    for index in range(COUNT):
        content = torch.load(
            out / "metrical-tracker/output/person/checkpoint" / f"{index:05d}.frame", weights_only=False
        )
        matrix = content["opencv"]["K"][0]
        assert content["img_size"].tolist() == [512, 512] and matrix[0, 0] == matrix[1, 1]
        np.testing.assert_allclose(matrix[:2, 2], 256.0, atol=1e-4)
        condition = [content["flame"][key][0] for key in ("exp", "jaw", "eyes", "eyelids")]
        assert sum(map(len, condition)) == 120 and content["flame"]["shape"].shape == (1, 300)


def test_a_head_drawn_with_the_field_of_view_alone_falls_into_the_masks(out, flame, track):
    content = torch.load(out / "metrical-tracker/output/person/checkpoint/00004.frame", weights_only=False)
    rest, cv = flame.zeros(), content["opencv"]
    shape, expression = (torch.from_numpy(content["flame"][key][0]) for key in ("shape", "exp"))
    six = content["flame"]["jaw"][0]
    jaw = torch.tensor([math.atan2(-six[5], six[4]), 0.0, 0.0])
    vertices = flame(
        type(rest)(**(vars(rest) | {"shape": shape, "expression": expression, "jaw": jaw}))
    ).vertices.numpy()
    points = vertices @ cv["R"][0].T + cv["t"][0]
    fov = 2 * math.atan(512 / 2 / cv["K"][0, 0, 0])
    x, y = ((points[:, :2] / points[:, 2:]) / math.tan(fov / 2) * 256 + 256).T
    with Image.open(out / "dataset/person/parsing/00005_neckhead.png") as picture:
        head = np.asarray(picture)
    with Image.open(out / "dataset/person/parsing/00005_mouth.png") as picture:
        mouth = np.asarray(picture)
    with Image.open(out / "dataset/person/imgs/00005.jpg") as picture:
        assert picture.size == (512, 512) and picture.mode == "RGB"
    with Image.open(out / "dataset/person/alpha/00005.jpg") as picture:
        alpha = np.asarray(picture)
    assert head.shape == mouth.shape == alpha.shape == (512, 512)
    assert set(np.unique(head)) == set(np.unique(mouth)) == {0, 255} and (head[mouth > 0] > 0).all()
    face, lips = np.union1d(flame.regions["nose"], flame.regions["forehead"]), flame.regions["lips"]
    assert (head[y[face].astype(int), x[face].astype(int)] > 0).mean() > 0.98
    # A quarter of the lips' vertices are their border, where rounding to pixels decides.
    assert (mouth[y[lips].astype(int), x[lips].astype(int)] > 0).mean() > 0.7
    rows, columns = np.nonzero(mouth)
    assert abs(columns.mean() - x[lips].mean()) < 3 and abs(rows.mean() - y[lips].mean()) < 5
    assert np.abs(alpha.astype(int) - head)[np.abs(alpha.astype(int) - 128) > 120].mean() < 3
