"""Pictures of every kind come out upright, float RGB; everything else is refused with one sentence."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flamehead.errors import InputError
from flamehead.io import read_focal, read_image, write_image

ASTRONAUT = Path(__file__).parents[2] / "src/flamehead/cli/demo_data/astronaut.jpg"
COLOURS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 0], [0, 0, 0], [255, 255, 255]]], dtype=np.uint8
)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".gif"])
def test_lossless_formats_come_back_exactly(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(COLOURS).save(path)
    image = read_image(path)
    assert image.dtype == np.float32 and image.flags.c_contiguous
    np.testing.assert_allclose(image, COLOURS / 255, atol=1e-6)


def test_written_images_come_back_within_half_a_grey_level(tmp_path):
    image = np.random.default_rng(0).uniform(-0.1, 1.1, (7, 5, 3))
    write_image(tmp_path / "a.png", image)
    np.testing.assert_allclose(read_image(tmp_path / "a.png"), np.clip(image, 0, 1), atol=0.5 / 255 + 1e-6)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    stored = {
        1: COLOURS,
        2: COLOURS[:, ::-1],
        3: COLOURS[::-1, ::-1],
        4: COLOURS[::-1],
        5: COLOURS.swapaxes(0, 1),
        6: np.rot90(COLOURS, 1),
        7: np.rot90(COLOURS, 2).swapaxes(0, 1),
        8: np.rot90(COLOURS, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    np.testing.assert_allclose(read_image(path), COLOURS / 255, atol=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_every_mode_of_a_grey_ramp_gives_the_same_picture(tmp_path, mode):
    ramp = np.tile(np.array([0, 255, 0, 255] if mode == "1" else [0, 80, 160, 255], dtype=np.uint8), (4, 1))
    if mode == "I;16":
        image = Image.fromarray(ramp.astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray((ramp / 255).astype(np.float32))
    elif mode == "P":
        image = Image.fromarray(ramp).quantize(4)
    else:
        image = Image.fromarray(ramp).convert("RGB").convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr", "F") else "a.png")
    image.save(path)
    np.testing.assert_allclose(read_image(path), np.repeat(ramp[..., None] / 255, 3, -1), atol=1.5 / 255)


def test_deep_grey_keeps_its_depth(tmp_path):
    grey = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16) + np.uint16(0)
    grey[0, 0] = 1
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png")[..., 1], grey / 65535, atol=1e-7)


def test_transparency_becomes_mid_grey(tmp_path):
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[0, :] = (255, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(image[0, 0], [1, 0, 0])
    np.testing.assert_allclose(image[1, 0], 128 / 255, atol=1e-6)


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(read_image(tmp_path / "a.gif")[0, 0], [1, 0, 0], atol=0.01)


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path):
    Image.new("RGB", (16, 16), (200, 40, 90)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[8, 8] * 255, [200, 40, 90], atol=4)


@pytest.mark.slow
def test_a_picture_of_108_million_pixels_is_read_and_a_larger_one_refused(tmp_path):
    Image.new("L", (12000, 9000), 255).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.png").shape == (9000, 12000, 3)
    Image.new("1", (20000, 10000)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="million"):
        read_image(tmp_path / "b.png")


def _refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    text = str(caught.value)
    assert path.name in text and "\n" not in text and text.endswith(".")
    return text


def test_what_is_no_picture_is_refused_with_a_sentence(tmp_path):
    assert "not found" in _refused(tmp_path / "absent.jpg")
    assert "folder" in _refused(tmp_path)
    cases = {
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"hello, this is text\n", "text"),
        "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(200), "HEIC"),
        "page.pdf": (b"%PDF-1.7" + bytes(200), "PDF"),
        "array.png": (b"\x93NUMPY" + bytes(200), "NumPy"),
        "clip.jpg": (b"\0\0\0\x18ftypisom" + bytes(200), "video"),
        "latin.jpg": ("é".encode("latin-1") * 20, "no picture"),
        "page.jpg": ("<html>\n<p>größer</p>".encode(), "text"),
        "bytes.jpg": (bytes(range(256)), "no picture"),
        "head.png": (b"\x89PNG\r\n\x1a\n", "damaged"),
    }
    for name, (content, wanted) in cases.items():
        (tmp_path / name).write_bytes(content)
        assert wanted in _refused(tmp_path / name), name


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97, 0.999])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_a_truncated_picture_is_refused_not_half_grey(tmp_path, share, suffix):
    whole = tmp_path / f"whole{suffix}"
    pixels = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(whole)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    assert any(word in _refused(cut) for word in ("damaged", "no picture"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(COLOURS).save(path)
    path.chmod(0)
    assert "Not allowed" in _refused(path)


def test_broken_metadata_do_not_spoil_a_good_picture(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (16, 16), "red").save(path, exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff" + b"\x01\x12\0\x09" * 20)
    assert read_image(path).shape == (16, 16, 3)
    assert read_focal(path) is None


def _with_exif(path: Path, size: tuple[int, int], tags: dict[int, float], orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769).update(tags)
    Image.new("RGB", size).save(path, exif=exif)
    return path


def test_the_focal_length_follows_from_exif(tmp_path):
    path, size = tmp_path / "a.jpg", (360, 240)
    assert read_focal(_with_exif(path, size, {})) is None
    # On a 36 x 24 mm frame a pixel is 0.1 mm, so 50 mm are 500 pixels; the way up does not matter.
    assert read_focal(_with_exif(path, size, {0xA405: 50})) == pytest.approx(500)
    assert read_focal(_with_exif(path, size, {0xA405: 50}, orientation=6)) == pytest.approx(500)
    # 10 pixels per mm on the sensor, 2.54 times as many per inch / 10.
    assert read_focal(_with_exif(path, size, {0x920A: 50.0, 0xA20E: 254.0, 0xA210: 2})) == pytest.approx(500)
    # Taken with twice the pixels and made smaller since.
    shrunk = {0x920A: 50.0, 0xA20E: 508.0, 0xA210: 2, 0xA002: 720, 0xA003: 480}
    assert read_focal(_with_exif(path, size, shrunk)) == pytest.approx(500)
    # Cropped since: unknown. Absurd values: unknown.
    assert read_focal(_with_exif(path, size, {0xA405: 50, 0xA002: 500, 0xA003: 240})) is None
    assert read_focal(_with_exif(path, size, {0xA405: 0})) is None
    assert read_focal(_with_exif(path, size, {0x920A: 50.0, 0xA20E: 1.0})) is None
    assert read_focal(ASTRONAUT) is None


def test_a_wrong_array_or_suffix_is_refused_and_leaves_nothing(tmp_path):
    good = np.zeros((2, 2, 3))
    cases = [("a.png", good[..., 0]), ("a.png", good.astype(np.uint8)), ("a.png", good * np.nan), ("a.xyz", good)]
    for name, image in [*cases, ("absent/a.png", good)]:
        with pytest.raises(InputError, match=r"Cannot write .*\.$"):
            write_image(tmp_path / name, image)
    assert not list(tmp_path.iterdir())
