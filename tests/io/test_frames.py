"""Frames stream in order, each row once; times are those of the file; what is wrong with a source is one sentence."""

import struct

import numpy as np
import pytest
from PIL import Image

from flamehead.errors import InputError
from flamehead.io import open_frames

av = pytest.importorskip("av", reason="PyAV is not installed")


def shade(k):
    """A picture whose brightness tells its number."""
    picture = np.full((48, 64, 3), 10 + 5 * k, dtype=np.uint8)
    # Noise on top, so that pictures weigh more than the file's index.
    picture[:16] = np.random.default_rng(k).integers(0, 256, size=(16, 64, 3))
    return picture


def number(pixels):
    """Undo `shade`."""
    return round((float(pixels[20:, 20:].mean()) - 10) / 5)


def video(path, count=40, *, stamps=None, codec="libx264", size=None):
    """A video with the given time stamps in units of 1/100 s."""
    from fractions import Fraction

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
        for k in range(count):
            pixels = shade(k) if size is None else np.resize(shade(k), (size[1], size[0], 3))
            if not k:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = 4 * k if stamps is None else stamps[k], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return video(tmp_path_factory.mktemp("frames") / "clip.mp4")


def test_every_row_once_from_any_row(clip):
    source = open_frames(clip)
    assert len(source) == 40 and source.size == (64, 48) and not source.warnings
    np.testing.assert_allclose(source.times, np.arange(40) / 25, atol=1e-6)
    for first in (0, 1, 17, 39, 40):
        rows = list(source.read(first))
        assert [row.row for row in rows] == list(range(first, 40))
        assert [number(row.pixels) for row in rows] == list(range(first, 40))
        assert all(row.pixels.dtype == np.uint8 and not row.damaged for row in rows)


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [(0.2, 0.4, range(5, 10)), ("5f", "10f", range(5, 10)), ("38f", None, range(38, 40)), (0, 99, range(40))],
)
def test_a_part(clip, start, end, wanted):
    source = open_frames(clip, start=start, end=end)
    assert source.frames.tolist() == list(wanted)
    assert [number(row.pixels) for row in source.read()] == list(wanted)


def test_uneven_times_are_kept_and_resampled_by_the_nearest(tmp_path):
    stamps = [0, 4, 8, 20, 24, 28, 60, 64, 68, 72]
    source = open_frames(video(tmp_path / "a.mkv", 10, stamps=stamps))
    np.testing.assert_allclose(source.times, np.array(stamps) / 100, atol=2e-3)
    slow = open_frames(tmp_path / "a.mkv", fps=5)
    # Ticks at 0, 0.2, 0.4, 0.6 s; 0.4 s is nearest to 0.28 s.
    assert slow.frames.tolist() == [0, 3, 5, 6]
    assert [number(row.pixels) for row in slow.read(1)] == [3, 5, 6]
    fast = open_frames(tmp_path / "a.mkv", fps=100)
    assert fast.frames.tolist() == list(range(10)) and "none are made up" in fast.warnings[0]


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")])
def test_a_video_that_is_cut_off_gives_what_it_has(tmp_path, name, codec):
    whole = video(tmp_path / name, codec=codec)
    if name == "a.mp4":
        # With the index in front, as the web wants it; at the end, nothing of the rest can be read.
        with (
            av.open(str(whole)) as given,
            av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "+faststart"}) as made,
        ):
            stream = made.add_stream_from_template(given.streams.video[0])
            for packet in given.demux(given.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    made.mux(packet)
        whole = tmp_path / "b.mp4"
    data = whole.read_bytes()
    whole.write_bytes(data[: round(0.7 * len(data))])
    source = open_frames(whole)
    rows = list(source.read())
    assert 0 < len(source) < 40 and len(rows) == len(source)
    np.testing.assert_allclose([number(row.pixels) for row in rows[:-2]], np.arange(len(rows) - 2), atol=1)
    assert any("cut off" in sentence for sentence in source.warnings)


def test_a_phone_held_upright(clip, tmp_path):
    """Phones store frames lying down, and how to turn them in the track header's matrix."""
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in (0, 1, -1, 0))
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(data)
    source = open_frames(tmp_path / "a.mp4")
    rows = list(source.read(37))
    assert source.size == (48, 64) and [row.pixels.shape for row in rows] == [(64, 48, 3)] * 3
    # The noise, at the top of what is stored, lies on the right.
    assert rows[0].pixels[:, 36:].std() > 3 * rows[0].pixels[:, :28].std()


def test_an_index_at_the_end_that_is_lost(tmp_path):
    data = video(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="copy or export it again"):
        open_frames(tmp_path / "a.mp4")


def test_nothing_to_see(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        open_frames(tmp_path / "empty.mp4")
    with pytest.raises(InputError, match="no video file"):
        open_frames(tmp_path / "absent.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        sound.rate = 16000
        container.mux([*stream.encode(sound), *stream.encode()])
    with pytest.raises(InputError, match="holds no video"):
        open_frames(tmp_path / "sound.mp4")


@pytest.mark.parametrize(
    "wrong", [{"start": "x"}, {"start": -1}, {"start": 9}, {"start": "8f", "end": "8f"}, {"fps": 0}]
)
def test_places_that_make_no_sense(clip, wrong):
    with pytest.raises(InputError):
        open_frames(clip, **wrong)


def pictures(folder, names, size=(64, 48)):
    for k, name in enumerate(names):
        Image.fromarray(shade(k)).resize(size).save(folder / name)
    return folder


def test_a_folder_in_the_order_of_its_numbers(tmp_path):
    pictures(tmp_path, [f"f{k}.png" for k in range(12)])
    (tmp_path / "notes.txt").write_text("no picture")
    source = open_frames(tmp_path, fps=10, start="2f")
    rows = list(source.read(1))
    assert [number(row.pixels) for row in rows] == list(range(3, 12)) and not source.warnings
    np.testing.assert_allclose(source.times, np.arange(2, 12) / 10)


def test_gaps_in_the_numbers_are_told_and_take_time(tmp_path):
    pictures(tmp_path, ["f1.png", "f2.png", "f3.png", "f6.png", "f7.png"])
    source = open_frames(tmp_path)
    assert "2 missing between f3.png and f6.png" in source.warnings[0]
    np.testing.assert_allclose(source.times * 25, [0, 1, 2, 5, 6])
    assert source.frames.tolist() == [0, 1, 2, 3, 4]


def test_every_second_picture_is_no_gap(tmp_path):
    assert not open_frames(pictures(tmp_path, [f"{k:03}.jpg" for k in (10, 12, 14, 16)])).warnings


def test_mixed_sizes_and_broken_pictures(tmp_path):
    pictures(tmp_path, ["f1.png", "f2.png"])
    pictures(tmp_path, ["f3.png"], size=(32, 48))
    with pytest.raises(InputError, match=r"f1.png has 64 x 48 pixels, f3.png 32 x 48"):
        open_frames(tmp_path)
    (tmp_path / "f3.png").write_bytes(b"nothing of a picture")
    with pytest.raises(InputError, match=r"f3\.png"):
        open_frames(tmp_path)
    data = (tmp_path / "f2.png").read_bytes()
    (tmp_path / "f3.png").write_bytes(data[:-40])
    with pytest.raises(InputError, match=r"f3\.png is incomplete or damaged"):
        list(open_frames(tmp_path).read())
    with pytest.raises(InputError, match="holds no pictures"):
        (tmp_path / "empty").mkdir()
        open_frames(tmp_path / "empty")


def test_a_changed_source_has_another_identity(tmp_path):
    pictures(tmp_path, ["f1.png", "f2.png"])
    before = open_frames(tmp_path).identity
    assert before == open_frames(tmp_path).identity != open_frames(tmp_path, start="1f").identity
    pictures(tmp_path, ["f3.png"])
    assert open_frames(tmp_path).identity != before
