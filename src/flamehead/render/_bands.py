"""Long lists of pixels, shared among threads in bands; kernels release the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from flamehead.raster import _threads

__all__ = ["ALONE_BELOW", "BANDS", "bands", "n_threads", "run"]

BANDS = 16
"""Sums over all pixels are taken in this many parts, whatever the number of threads, so their bits stay the same."""

ALONE_BELOW = 8192
"""Rows up to which starting a second thread costs more than it gains."""


def run(kernel: Callable[..., None], jobs: Sequence[tuple[Any, ...]], *, alone: bool = False) -> None:
    """Call a kernel with the arguments of each job, in as many threads as torch has."""
    # Dealt out in turn, so that many small jobs keep all threads equally busy.
    _threads.run([partial(kernel, *job) for job in jobs], 1 if alone else n_threads())


def bands(kernel: Callable[..., None], size: int, split: tuple[np.ndarray, ...], common: tuple[Any, ...] = ()) -> None:
    """Call a kernel on equal parts of the first axis of `split`; for kernels whose rows do not touch each other."""
    parts = n_threads() if size >= ALONE_BELOW else 1
    ends = [size * part // parts for part in range(parts + 1)]
    run(kernel, [(*(array[i:j] for array in split), *common) for i, j in pairwise(ends)])


def n_threads() -> int:
    """As many as torch would use."""
    return max(1, torch.get_num_threads())
