"""One BLAS thread for small linear algebra.

OpenBLAS wakes its worker threads for products that take 0.05 ms, and they spin while they wait: with another job on the
machine, a solve of 20 ms was measured to take 650 ms. NumPy and SciPy bring an OpenBLAS each and offer no switch, so
its own is called. Other BLAS libraries (Accelerate, MKL) are left as they are.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import product
from pathlib import Path

import numpy
import scipy

__all__ = ["single_threaded_blas"]

_LOCK = threading.Lock()
_SAVED: list[tuple[Callable[[int], None], int]] = []
_DEPTH = 0


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Let OpenBLAS use one thread while the block runs; blocks may be nested and may run in several threads.

    Example:
        >>> with single_threaded_blas():
        ...     small = numpy.eye(3) @ numpy.eye(3)
    """
    global _DEPTH
    with _LOCK:
        _DEPTH += 1
        if _DEPTH == 1:
            for get, put in _switches():
                _SAVED.append((put, get()))
                put(1)
    try:
        yield
    finally:
        with _LOCK:
            _DEPTH -= 1
            if _DEPTH == 0:
                while _SAVED:
                    put, count = _SAVED.pop()
                    put(count)


@cache
def _switches() -> tuple[tuple[Callable[[], int], Callable[[int], None]], ...]:
    """Getter and setter of the thread count of every OpenBLAS that NumPy and SciPy brought."""
    return tuple(switch for path in _libraries() if (switch := _switch(path)) is not None)


def _libraries() -> list[Path]:
    """Where wheels keep their OpenBLAS: `numpy.libs` beside the package, or `.dylibs` inside it on macOS."""
    packages = [Path(str(package.__file__)).parent for package in (numpy, scipy)]
    folders = [f for p in packages for f in (p.parent / f"{p.name}.libs", p / ".dylibs")]
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*openblas*"))]


def _switch(path: Path) -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Names differ by build: a `scipy_` prefix since 2024, a `64_` suffix for wide integers."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return None
    for prefix, suffix in product(("scipy_", ""), ("64_", "")):
        name = f"{prefix}openblas_{{}}_num_threads{suffix}"
        if hasattr(library, name.format("set")) and hasattr(library, name.format("get")):
            return getattr(library, name.format("get")), getattr(library, name.format("set"))
    return None
