"""Grids: every picture whole and in its cell, captions below, any sizes."""

import numpy as np
import pytest

from flamehead.errors import InputError
from flamehead.render import grid


@pytest.mark.parametrize("columns", [1, 2, 3, 9])
@pytest.mark.parametrize("captioned", [False, True])
def test_every_picture_is_there_whole_and_in_order(columns, captioned):
    shapes = [(30, 40), (20, 40), (30, 11), (5, 5), (30, 40)]
    images = [np.full((*shape, 3), [1.0, 0.1 * k, 0.0]) for k, shape in enumerate(shapes)]
    sheet = grid(images, columns=columns, captions=["word"] * 5 if captioned else None)
    for k, shape in enumerate(shapes):
        rows, places = np.nonzero(np.abs(sheet - [1.0, 0.1 * k, 0.0]).max(axis=-1) < 1e-6)
        assert len(rows) == shape[0] * shape[1]
        assert (np.ptp(rows) + 1, np.ptp(places) + 1) == shape
    assert sheet.dtype == np.float32 and 0 <= sheet.min() and sheet.max() <= 1


def test_captions_darken_the_paper_below_their_picture_only():
    images = [np.ones((60, 80, 3)), np.ones((60, 80, 3))]
    bare, written = grid(images, captions=["", ""], columns=2), grid(images, captions=["", "Height"], columns=2)
    row, column = np.nonzero((bare != written).any(axis=-1))
    assert len(row) and row.min() > 60 and column.min() > bare.shape[1] / 2


def test_a_long_caption_stays_within_its_cell():
    images = [np.ones((60, 240, 3))] * 3
    bare = grid(images, captions=["", "", ""], columns=3)
    written = grid(images, captions=["", "a caption that is much longer than its picture is wide", ""], columns=3)
    column = np.nonzero((bare != written).any(axis=-1))[1]
    assert column.min() > bare.shape[1] / 3 - 4 and column.max() < 2 * bare.shape[1] / 3 + 4


def test_wrong_pictures_get_one_sentence():
    for images, options, words in (
        ([], {}, "shape"),
        ([np.ones((3, 3))], {}, "shape"),
        ([np.ones((3, 3, 3))], {"captions": ["a", "b"]}, "captions"),
        ([np.ones((3, 3, 3))], {"columns": 0}, "columns"),
    ):
        with pytest.raises(InputError, match=words):
            grid(images, **options)  # pyright: ignore[reportArgumentType]
