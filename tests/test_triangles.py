"""Faces as kernels read them: worked out once, and again whenever their tensor holds others, whoever wrote them."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

from flamehead._triangles import triangles_of


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.uint8])
def test_rows_are_those_of_the_tensor_and_remembered(dtype):
    faces = torch.tensor([[0, 1, 2], [2, 1, 7]], dtype=dtype)
    found = triangles_of(faces)
    assert found.rows.dtype == np.int32 and found.rows.tolist() == faces.tolist()
    assert (found.least, found.most) == (0, 7) and found.names_only(8) and not found.names_only(7)
    assert triangles_of(faces) is found and triangles_of(faces.clone()) is not found


@pytest.mark.parametrize("write", [lambda f: f.__setitem__((1, 2), 5), lambda f: f.numpy().__setitem__((1, 2), 5)])
def test_whatever_is_written_is_seen(write):
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])
    before = triangles_of(faces)
    write(faces)
    after = triangles_of(faces)
    assert after is not before and after.rows.tolist() == [[0, 1, 2], [2, 1, 5]] and after.most == 5
    assert before.rows.tolist() == [[0, 1, 2], [2, 1, 3]]


def test_strided_empty_and_huge_lists():
    base = torch.arange(24).reshape(4, 6)
    assert triangles_of(base[:, ::2]).rows.tolist() == base[:, ::2].tolist()
    assert triangles_of(base.T[:, :3]).rows.tolist() == base.T[:, :3].tolist()
    empty = triangles_of(torch.zeros(0, 3, dtype=torch.int64))
    assert (empty.least, empty.most) == (0, -1) and empty.names_only(0)
    # Rows that int32 cannot hold are never taken for others.
    huge = torch.tensor([[0, 1, 2**32 + 1]])
    for _ in range(2):
        assert triangles_of(huge).most == 2**32 + 1
    with torch.inference_mode():
        inside = torch.tensor([[0, 1, 2]])
        assert triangles_of(inside) is triangles_of(inside)
        inside[0, 2] = 3
        assert triangles_of(inside).most == 3


def test_it_goes_with_the_tensor():
    faces = torch.tensor([[0, 1, 2]])
    found = weakref.ref(triangles_of(faces))
    assert found() is not None
    del faces
    gc.collect()
    assert found() is None
