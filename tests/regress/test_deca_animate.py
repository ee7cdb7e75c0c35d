"""Animation from a folder of codes, and the pictures over the whole photo."""

import dataclasses

import numpy as np
import pytest
import torch

from flamehead.data import Observation
from flamehead.errors import AssetNotFound, InputError
from flamehead.formats import DecaCodes, read_deca, write_deca
from flamehead.io import load_params
from flamehead.regress import animate, builtin_deca_assets, decode, encode, read_frames, save_animation
from flamehead.regress.deca_photo import in_photo, photo_pictures


def codes_of(seed, batch=()):
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return 0.3 * torch.randn(*batch, *size, generator=generator)

    return DecaCodes(draw(100), draw(50), draw(50), draw(6), draw(3), draw(9, 3), draw(128))


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).random((150, 200, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def encoded(deca, photo):
    points = np.random.default_rng(1).uniform((60, 40), (130, 110), (68, 2))
    return encode(deca, photo, seen=Observation(points, "ibug68", (200, 150)))


def test_only_jaw_and_expression_move_unless_the_head_turns():
    person, frames = codes_of(0), [codes_of(1), codes_of(2)]
    for codes, frame in zip(animate(person, frames), frames, strict=True):
        assert codes.exp.equal(frame.exp) and codes.pose[3:].equal(frame.pose[3:])
        assert codes.pose[:3].equal(person.pose[:3])
        for name in ("shape", "tex", "cam", "light", "detail"):
            assert getattr(codes, name).equal(getattr(person, name))
    assert animate(person, frames, turn=True)[1].pose.equal(frames[1].pose)


def test_frames_are_read_from_folders_and_from_files(tmp_path):
    for name, seed in (("b", 1), ("a", 2)):
        (tmp_path / "run" / name).mkdir(parents=True)
        write_deca(tmp_path / "run" / name / "codes.npz", codes_of(seed))
    assert [name for name, _ in read_frames(tmp_path / "run")] == ["a", "b"]
    assert read_frames(tmp_path / "run")[1][1].exp.equal(codes_of(1).exp)
    assert [name for name, _ in read_frames(tmp_path / "run" / "a")] == ["a"]
    write_deca(tmp_path / "many.npz", codes_of(3, (4,)))
    frames = read_frames(tmp_path / "many.npz")
    assert [name for name, _ in frames] == ["00001", "00002", "00003", "00004"]
    assert frames[2][1].light.equal(codes_of(3, (4,)).light[2])
    flat = tmp_path / "flat"
    flat.mkdir()
    with pytest.raises(AssetNotFound, match="holds no codes"):
        read_frames(flat)
    write_deca(flat / "f1.npz", codes_of(5))
    assert [name for name, _ in read_frames(flat)] == ["f1"]
    write_deca(flat / "f2.npz", codes_of(3, (4,)))
    with pytest.raises(InputError, match="each file is one frame"):
        read_frames(flat)
    with pytest.raises(AssetNotFound):
        read_frames(tmp_path / "absent.npz")


def test_an_animation_is_written_whole(deca, encoded, tmp_path):
    frames = [(f"{index}", codes_of(index)) for index in range(3)]
    assert save_animation(deca, encoded, frames, tmp_path / "out") == 3
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "animation.gif",
        *(f"{index}_{kind}.npz" for index in range(3) for kind in ("codes", "params")),
    }
    assert read_deca(tmp_path / "out" / "1_codes.npz").exp.equal(frames[1][1].exp)
    saved = load_params(tmp_path / "out" / "2_params.npz").params
    torch.testing.assert_close(saved.jaw.float(), frames[2][1].pose[3:])
    torch.testing.assert_close(saved.shape[:100].float(), encoded.codes.shape)


def test_the_whole_photo_shows_what_the_crop_shows(deca, encoded, photo):
    codes = dataclasses.replace(encoded.codes, pose=torch.zeros(6))
    decoded = decode(deca, codes, crop=encoded.crop)
    whole = photo_pictures(deca.flame, encoded, decoded, photo, builtin_deca_assets())
    for image in whole.pictures.values():
        assert image.shape == (3, 150, 200)
    drawn = (whole.pictures["shape_images"] != torch.from_numpy(photo.transpose(2, 0, 1))).any(dim=0)
    seen = decoded.alpha_images[0] > 0
    # A crop pixel covers this many of the photo's.
    area = 1 / encoded.matrix[0, 0] ** 2
    assert float(drawn.sum()) == pytest.approx(float(seen.sum()) * area, rel=0.15)
    # The matrix maps centres, which lie at +0.5 in the photo.
    places = in_photo(decoded.landmarks2d, encoded) - 0.5
    back = np.column_stack([places, np.ones(68)]) @ encoded.matrix.T
    np.testing.assert_allclose(back[:, :2] / 112 - 1, decoded.landmarks2d, atol=1e-4)
    torch.testing.assert_close(whole.landmarks3d[:, 2], decoded.landmarks3d[:, 3])
