"""Sharing one job among a few threads: kernels release the interpreter's lock, and waiting threads sleep.

A pool of plain threads is used because numba's own parallel regions spin while they wait, which on a machine with other
work costs more than they gain.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import torch

from flamehead.errors import InputError

__all__ = ["choose_threads", "share"]

_PIXELS = 1 << 16
"""Pixels, of three channels each, that are worth a thread: about 0.2 ms of work."""


def choose_threads(threads: int | None, pixels: int) -> int:
    """How many threads a job of so many pixels gets: what the caller says, or by size, at most torch's number."""
    if threads is None:
        return max(1, min(torch.get_num_threads(), pixels // _PIXELS))
    if threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}; pass None to choose by the size of the job.")
    return threads


def share(kernel: Callable[..., None], units: int, threads: int, *arguments: Any) -> None:
    """Call `kernel(first, last, *arguments)` so that every unit from 0 to `units` lies in one call's range."""
    parts = min(threads, units)
    if parts < 2:
        kernel(0, units, *arguments)
        return
    ends = [units * part // parts for part in range(parts + 1)]
    *others, (first, last) = pairwise(ends)
    jobs = [_pool(parts - 1).submit(kernel, *ends, *arguments) for ends in others]
    kernel(first, last, *arguments)
    for job in jobs:
        job.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "flamehead-raster")


if hasattr(os, "register_at_fork"):
    # The threads of a pool do not exist in a forked child, which would wait for them for ever.
    os.register_at_fork(after_in_child=_pool.cache_clear)
