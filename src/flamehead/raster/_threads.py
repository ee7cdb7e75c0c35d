"""Threads for compiled kernels: as many as the work is worth, and no more than torch may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, partial
from itertools import pairwise
from typing import Any

import torch

from flamehead.errors import InputError
from flamehead.raster._jobs import Job, Jobs
from flamehead.raster._team import Team, team

__all__ = ["forking", "patience", "ranges", "run", "threads_for"]

_WORTH_A_THREAD = 0.25e-3
"""Seconds of work that repay waking a thread, which takes some 0.05 ms."""


def threads_for(seconds: float, threads: int | None) -> int:
    """How many threads to use for a job of so many seconds on one core; a number that is given is obeyed.

    Raises:
        InputError: `threads` is below 1.
    """
    if threads is not None:
        if not isinstance(threads, int) or threads < 1:
            raise InputError(f"threads is {threads!r}; give 1 or more, or None to let the size of the job decide.")
        return threads
    return max(1, min(torch.get_num_threads(), int(seconds / _WORTH_A_THREAD)))


def forking(threads: int) -> Team | None:
    """The team for `fork`, where exactly so many threads are wanted as it has, and it serves them."""
    found = team() if 1 < threads == torch.get_num_threads() else None
    return found if found is not None and found.serves(threads) else None


@contextmanager
def patience() -> Iterator[None]:
    """Ask the team even while it rests, so that what only teams run is run."""
    found = team()
    if found is None:
        yield
        return
    found.patient = True
    try:
        yield
    finally:
        found.patient = False


def run(jobs: Sequence[Job], threads: int) -> None:
    """Run jobs that release the GIL on so many threads, this one among them; a job's error is raised here."""
    if threads < 2 or len(jobs) < 2:
        Jobs(jobs, 0).do()
        return
    borrowed = team()
    if borrowed is not None and borrowed.serves(threads):
        borrowed.run(jobs, threads)
        return
    work, others = Jobs(jobs, threads - 1), []
    try:
        # While the program ends, a pool takes no more.
        with suppress(RuntimeError):
            for _ in range(min(threads, len(jobs)) - 1):
                others.append(_pool(threads - 1).submit(work.do, last_first=True))
        work.do()
    except BaseException:
        work.stop()
        raise
    finally:
        # Nobody waits for helpers that have not come; the others may still write into memory that the caller is about
        # to drop, whatever happened here.
        errors = [other.exception() for other in others if not other.cancel()]
    for error in filter(None, errors):
        raise error


def ranges(kernel: Callable[..., None], units: int, threads: int, *arguments: Any) -> list[Job]:
    """Jobs `kernel(first, last, *arguments)` that cover the units from 0 on, one for each thread."""
    parts = max(1, min(threads, units))
    ends = [units * part // parts for part in range(parts + 1)]
    return [partial(kernel, first, last, *arguments) for first, last in pairwise(ends)]


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "flamehead-raster")


if hasattr(os, "register_at_fork"):
    # A forked child has none of the pool's threads, and would wait for them for ever.
    os.register_at_fork(after_in_child=_pool.cache_clear)
