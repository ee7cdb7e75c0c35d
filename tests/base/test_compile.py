"""Kernels where nothing can be kept: they are compiled all the same, and one sentence says so."""

import logging

import numba
import pytest

from flamehead import _compile


@pytest.fixture
def no_folder(monkeypatch):
    """numba as in a read-only installation of a user without a home folder."""
    plain = numba.njit

    def njit(**options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function 'f': no locator available for file 'f.py'")
        return plain(**options)

    monkeypatch.setattr(_compile, "njit", njit)
    _compile._warn_once.cache_clear()
    yield
    _compile._warn_once.cache_clear()


def test_kernels_need_no_folder(no_folder, caplog):
    caplog.set_level(logging.WARNING)
    double, triple = (_compile.compiled(nogil=True)(function) for function in (lambda x: 2 * x, lambda x: 3 * x))
    assert (double(4), triple(4)) == (8, 12)
    assert len(caplog.messages) == 1 and "NUMBA_CACHE_DIR" in caplog.messages[0]


def test_other_failures_are_not_hidden(monkeypatch):
    def broken(**_options):
        raise RuntimeError("out of order")

    monkeypatch.setattr(_compile, "njit", broken)
    with pytest.raises(RuntimeError, match="out of order"):
        _compile.compiled()(len)
