"""Frames come back from mp4 and gif with their times; rotation is applied; a bad call leaves nothing behind."""

import struct
import sys

import numpy as np
import pytest

from flamehead.errors import InputError, MissingExtra
from flamehead.io.video import describe_video, read_video, write_video


@pytest.fixture(scope="module")
def _av():
    return pytest.importorskip("av", reason="PyAV is not installed")


def ramps(count, height=48, width=64):
    """Smooth pictures, each brighter than the one before."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([x / width, y / height, np.full((height, width), 0.3)], axis=-1)
    return [(0.3 + 0.6 * k / max(count - 1, 1)) * base for k in range(count)]


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_mp4_comes_back(_av, tmp_path, size):
    frames = ramps(10, *size)
    assert write_video(tmp_path / "a.mp4", iter(frames), fps=25) == 10
    back = list(read_video(tmp_path / "a.mp4"))
    assert [frame.index for frame in back] == list(range(10))
    np.testing.assert_allclose([frame.time for frame in back], np.arange(10) / 25, atol=1e-6)
    for frame, wanted in zip(back, frames, strict=True):
        height, width = size
        assert frame.image.shape == (height + height % 2, width + width % 2, 3) and frame.image.dtype == np.float32
        # Chroma has half the resolution, so single pixels differ.
        assert np.abs(frame.image[:height, :width] - wanted).mean() < 0.02
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("color", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.8, 0.3, 0.2), (0.1, 0.6, 0.9)])
def test_flat_colours_stay(_av, tmp_path, color):
    write_video(tmp_path / "a.mp4", [np.full((64, 64, 3), color)] * 3)
    for frame in read_video(tmp_path / "a.mp4"):
        np.testing.assert_allclose(frame.image[32, 32], color, atol=0.012)


@pytest.mark.parametrize("fps", [24, 30000 / 1001, 7.5])
def test_what_a_video_says_of_itself(_av, tmp_path, fps):
    write_video(tmp_path / "a.mp4", ramps(31), fps=fps)
    info = describe_video(tmp_path / "a.mp4")
    assert (info.count, info.size, info.rotation) == (31, (64, 48), 0)
    assert info.count == len(list(read_video(tmp_path / "a.mp4")))
    assert info.fps == pytest.approx(fps, rel=1e-3) and info.duration == pytest.approx(31 / fps, rel=1e-2)


def test_a_part_of_a_video(_av, tmp_path):
    write_video(tmp_path / "a.mp4", ramps(12), fps=10)
    part = list(read_video(tmp_path / "a.mp4", start=3, stop=6))
    assert [frame.index for frame in part] == [3, 4, 5]
    np.testing.assert_allclose([frame.time for frame in part], [0.3, 0.4, 0.5], atol=1e-6)


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_rotated_videos_stand_upright(_av, tmp_path, matrix, turns):
    """Phones store frames lying down, and how to turn them in the track header's matrix."""
    frames = ramps(3)
    write_video(tmp_path / "a.mp4", frames)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(data)
    wanted = np.rot90(frames[1], turns)
    got = list(read_video(tmp_path / "a.mp4"))[1].image
    assert got.shape == wanted.shape and np.abs(got - wanted).mean() < 0.02
    info = describe_video(tmp_path / "a.mp4")
    assert info.size == got.shape[1::-1] and info.rotation == turns % 4 * 90


@pytest.mark.parametrize("fps", [10, 30, 12.5])
def test_gif_comes_back(tmp_path, fps):
    from PIL import Image, ImageSequence

    frames = ramps(9)
    assert write_video(tmp_path / "a.gif", frames, fps=fps) == 9
    with Image.open(tmp_path / "a.gif") as image:
        back = [(np.asarray(f.convert("RGB")) / 255, f.info["duration"]) for f in ImageSequence.Iterator(image)]
        assert image.info["loop"] == 0
    assert len(back) == 9
    assert sum(delay for _, delay in back) == pytest.approx(9000 / fps, abs=10)
    for (got, _), wanted in zip(back, frames, strict=True):
        # 256 colours for all frames together.
        assert np.abs(got - wanted).mean() < 0.05


def test_bad_frames_leave_nothing(tmp_path):
    good = np.zeros((8, 8, 3))
    for frames, word in (
        ([], "no frames"),
        ([good, np.zeros((8, 9, 3))], "frame 1"),
        ([np.zeros((8, 8))], "frame 0"),
        ([good, np.full((8, 8, 3), np.nan)], "NaN"),
        ([np.zeros((8, 8, 3), dtype=np.uint8)], "float RGB"),
    ):
        with pytest.raises(InputError, match=word):
            write_video(tmp_path / "a.gif", frames)
    with pytest.raises(InputError, match=r"\.mp4, \.avi or \.gif"):
        write_video(tmp_path / "a.mov", [good])
    for fps in (0, float("nan"), -3, 1e9):
        with pytest.raises(InputError, match="frames per second"):
            write_video(tmp_path / "a.gif", [good], fps=fps)
    with pytest.raises(InputError, match="does not exist"):
        write_video(tmp_path / "no" / "a.gif", [good])
    assert not list(tmp_path.iterdir())


def test_a_frame_that_fails_midway_leaves_the_old_file(_av, tmp_path):
    def broken():
        yield from ramps(5)
        raise RuntimeError("stop")

    write_video(tmp_path / "a.mp4", ramps(2))
    before = (tmp_path / "a.mp4").read_bytes()
    with pytest.raises(RuntimeError, match="stop"):
        write_video(tmp_path / "a.mp4", broken())
    assert (tmp_path / "a.mp4").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_without_pyav_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    for call in (
        lambda: write_video(tmp_path / "a.mp4", ramps(1)),
        lambda: read_video(tmp_path / "a.mp4"),
        lambda: describe_video(tmp_path / "a.mp4"),
    ):
        with pytest.raises(MissingExtra, match=r'pip install "flamehead\[video\]"'):
            call()
    assert not list(tmp_path.iterdir())


def test_what_is_no_video_is_refused(_av, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"not a video at all" * 100)
    for path, word in ((tmp_path / "a.mp4", "Cannot read"), (tmp_path / "no.mp4", "There is no video")):
        with pytest.raises(InputError, match=word):
            list(read_video(path))
        with pytest.raises(InputError, match=word):
            describe_video(path)
    write_video(tmp_path / "b.mp4", ramps(20))
    whole = (tmp_path / "b.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) // 4])
    with pytest.raises(InputError, match="Cannot read"):
        list(read_video(tmp_path / "b.mp4"))
