"""Jobs that several threads take from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import TypeAlias, TypeVar

__all__ = ["Countdown", "Job", "Jobs"]

Job: TypeAlias = "Callable[[], Sequence[Job] | None]"
"""Something to do; it may hand back more jobs, which its own work has made possible."""

T = TypeVar("T")


class Countdown:
    """Jobs that can begin when so many others have ended, whoever does those."""

    def __init__(self, count: int, then: Sequence[Job]) -> None:
        self._left, self._then = deque(range(count)), then

    def after(self, job: Job) -> Job:
        """The job, as one of those that are counted; the last one hands back those that can begin."""
        return partial(self._do, job)

    def _do(self, job: Job) -> Sequence[Job] | None:
        more = job()
        return more if self._left.pop() else [*(more or ()), *self._then]


class Jobs:
    """Jobs, each of which is done once, by whoever comes first."""

    def __init__(self, jobs: Sequence[Job], helpers: int) -> None:
        # Nothing else in Python is taken out of by several threads without a lock.
        self._jobs, self._tickets = deque(jobs), deque(range(helpers))
        self.errors: list[BaseException] = []
        self.ended = 0.0
        """When the last job ended, in seconds of `perf_counter`."""

    def wants_another(self) -> bool:
        """Whether fewer threads are at it than may be."""
        return _next(self._tickets) is not None

    def do(self, *, last_first: bool = False) -> None:
        """Do jobs until none is left.

        The caller begins with the first and its helpers with the last: of jobs that go through a picture, each thread
        gets the same part every time, and finds what it left there in its own cache.
        """
        while (job := _next(self._jobs, last=last_first)) is not None:
            self._jobs.extend(job() or ())
            self.ended = max(self.ended, perf_counter())

    def stop(self) -> None:
        """Leave the jobs that nobody has begun."""
        self._jobs.clear()


def _next(queue: deque[T], *, last: bool = False) -> T | None:
    try:
        return queue.pop() if last else queue.popleft()
    except IndexError:
        return None
