"""Memory that is used again: only when nobody can see it any more."""

from __future__ import annotations

import gc

import torch

from flamehead.raster._buffers import empty, empty_like

SHAPE = (3, 333, 111)


def test_memory_comes_back_when_the_last_view_is_gone():
    one = empty(*SHAPE, dtype=torch.float32)
    place, view = one.data_ptr(), one[1:].numpy()
    del one
    other = empty(*SHAPE, dtype=torch.float32)
    assert other.data_ptr() != place
    view[:] = 5.0
    del view
    gc.collect()
    again = empty(*SHAPE, dtype=torch.float32)
    assert again.data_ptr() == place
    assert other.data_ptr() != again.data_ptr()


def test_tensors_of_one_size_do_not_overlap():
    many = [empty(*SHAPE, dtype=torch.float32).fill_(n) for n in range(8)]
    assert all(bool((each == n).all()) for n, each in enumerate(many))


def test_shape_and_dtype_are_those_asked_for():
    for shape, dtype in (((0, 3), torch.float32), ((7,), torch.int32), (SHAPE, torch.float64), (SHAPE, torch.int32)):
        made = empty(*shape, dtype=dtype)
        assert made.shape == shape and made.dtype == dtype and made.is_contiguous()
        assert empty_like(made).shape == shape
