import threading

import numpy as np
import pytest

from flamehead.solve import levenberg_marquardt
from flamehead.solve.threads import _switches, single_threaded_blas


def counts():
    return [get() for get, _ in _switches()]


@pytest.fixture
def two_threads():
    before = counts()
    if not before:
        pytest.skip("NumPy and SciPy here do not use an OpenBLAS of their own")
    for _, put in _switches():
        put(2)
    yield
    for (_, put), count in zip(_switches(), before, strict=True):
        put(count)


def test_one_thread_inside_and_as_before_outside(two_threads):
    before = counts()
    with single_threaded_blas():
        assert set(counts()) == {1}
        with single_threaded_blas():
            assert set(counts()) == {1}
        assert set(counts()) == {1}
    assert counts() == before


def test_an_error_inside_restores_the_count(two_threads):
    before = counts()
    with pytest.raises(RuntimeError), single_threaded_blas():
        raise RuntimeError
    assert counts() == before


def test_overlapping_threads_restore_the_count(two_threads):
    before, entered, leave = counts(), threading.Event(), threading.Event()

    def hold():
        with single_threaded_blas():
            entered.set()
            leave.wait(10)

    worker = threading.Thread(target=hold)
    with single_threaded_blas():
        worker.start()
        assert entered.wait(10)
    assert set(counts()) == {1}
    leave.set()
    worker.join(10)
    assert counts() == before


def test_the_solver_runs_its_callbacks_on_one_thread(two_threads):
    inside = []

    def line(x):
        inside.extend(counts())
        return x - 1.0, np.eye(2)

    levenberg_marquardt(line, np.zeros(2), retract=np.add)
    assert set(inside) == {1}
