"""Live Link Face tables: written, read, and refused where they are something else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flamehead import InputError, load_flame
from flamehead.export import (
    ANGLE_NAMES,
    ARKIT_NAMES,
    LiveLinkTake,
    head_and_eye_angles,
    read_live_link,
    write_live_link,
)


def take_of(count, fps=60.0, start=3600.5):
    rng = np.random.default_rng(count)
    return LiveLinkTake(rng.uniform(size=(count, 52)), rng.normal(size=(count, 9)), start + np.arange(count) / fps, fps)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 80), fps=st.sampled_from([24.0, 25.0, 30.0, 29.97, 60.0]), start=st.floats(0.0, 80_000.0))
def test_a_table_comes_back(tmp_path_factory, count, fps, start):
    path = tmp_path_factory.mktemp("takes") / "take.csv"
    take = take_of(count, fps, start)
    write_live_link(path, take)
    back = read_live_link(path, fps=fps)
    np.testing.assert_allclose(back.coefficients, take.coefficients, atol=6e-7)
    np.testing.assert_allclose(back.angles, take.angles, atol=6e-7)
    # A thousandth of a frame is what the timecode can say.
    np.testing.assert_allclose(back.times, take.times, atol=0.6e-3 / fps)


def test_the_layout_is_the_published_one(tmp_path):
    write_live_link(tmp_path / "take.csv", take_of(2, start=3723.0))
    header, first, second = (tmp_path / "take.csv").read_text().splitlines()
    assert header.startswith("Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,")
    assert header.endswith(",TongueOut," + ",".join(ANGLE_NAMES))
    assert first.startswith("01:02:03:00.000,61,") and second.startswith("01:02:03:01.000,61,")
    assert len(header.split(",")) == len(first.split(",")) == 2 + 52 + 9


def test_the_frame_rate_is_guessed_from_the_frames(tmp_path):
    for fps in (24.0, 30.0, 60.0):
        write_live_link(tmp_path / "take.csv", take_of(240, fps, start=0.0))
        assert read_live_link(tmp_path / "take.csv").fps == fps


def test_angles_are_those_of_head_and_eyes():
    flame = load_flame(dtype=torch.float64)
    zeros = flame.zeros((1,))
    turned = type(zeros)(
        zeros.shape, zeros.expression, zeros.root + torch.tensor([0.0, 0.3, 0.0]), zeros.neck, zeros.jaw,
        zeros.left_eye + torch.tensor([0.2, 0.0, 0.0]), zeros.right_eye + torch.tensor([0.0, -0.1, 0.0]),
        zeros.translation,
    )  # fmt: skip
    np.testing.assert_allclose(head_and_eye_angles(turned), [[0.3, 0, 0, 0, 0.2, 0, -0.1, 0, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "lacks the column 'timecode'"),
        ("Timecode," + ",".join(ARKIT_NAMES) + "\n", "no rows"),
        ("Timecode," + ",".join(ARKIT_NAMES) + "\n12:00:00," + ",".join("0" * 52) + "\n", "HH:MM:SS:FF"),
        ("Timecode," + ",".join(ARKIT_NAMES) + "\n00:00:00:00.0," + ",".join("x" * 52) + "\n", "no number"),
    ],
)
def test_other_tables_are_refused(tmp_path, text, said):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_live_link(tmp_path / "table.csv")


def test_what_cannot_be_written_is_refused(tmp_path):
    for take, said in (
        (LiveLinkTake(np.zeros((2, 51)), np.zeros((2, 9)), np.zeros(2), 30.0), "52 coefficients"),
        (LiveLinkTake(np.full((1, 52), np.nan), np.zeros((1, 9)), np.zeros(1), 30.0), "NaN"),
        (LiveLinkTake(np.zeros((1, 52)), np.zeros((1, 9)), np.zeros(1), 0.0), "frame rate"),
        (LiveLinkTake(np.zeros((1, 52)), np.zeros((1, 9)), np.array([90_000.0]), 30.0), "one day"),
    ):
        with pytest.raises(InputError, match=said):
            write_live_link(tmp_path / "take.csv", take)
    with pytest.raises(InputError, match="no table"):
        read_live_link(tmp_path / "absent.csv")
