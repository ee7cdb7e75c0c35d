"""Threads for compiled kernels: as many as the work is worth, and no more than torch may use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

from flamehead.errors import InputError

__all__ = ["run", "threads_for"]

_WORTH_A_THREAD = 0.25e-3
"""Seconds of work that repay waking a thread, which takes some 0.05 ms."""


def threads_for(seconds: float, threads: int | None) -> int:
    """How many threads to use for a job of so many seconds on one core; a number that is given is obeyed.

    Raises:
        InputError: `threads` is below 1.
    """
    if threads is not None:
        if threads < 1:
            raise InputError(f"threads is {threads}; give 1 or more, or None to let the size of the job decide.")
        return threads
    return max(1, min(torch.get_num_threads(), int(seconds / _WORTH_A_THREAD)))


def run(jobs: Sequence[Callable[[], None]], threads: int) -> None:
    """Run jobs that release the GIL on so many threads, this one among them; a job's error is raised here."""
    if threads < 2 or len(jobs) < 2:
        for job in jobs:
            job()
        return
    others = [_pool(threads - 1).submit(_every, jobs[first::threads]) for first in range(1, min(threads, len(jobs)))]
    try:
        _every(jobs[::threads])
    finally:
        # Whatever happened here, the others may still write into memory that the caller is about to drop.
        errors = [other.exception() for other in others]
    for error in filter(None, errors):
        raise error


def _every(jobs: Sequence[Callable[[], None]]) -> None:
    for job in jobs:
        job()


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "flamehead-raster")
