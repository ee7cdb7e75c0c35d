"""Jobs that several threads take from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TypeAlias, TypeVar

__all__ = ["Job", "Jobs"]

Job: TypeAlias = Callable[[], object]
"""Something to do."""

T = TypeVar("T")


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
            job()
            self.ended = max(self.ended, perf_counter())

    def stop(self) -> None:
        """Leave the jobs that nobody has begun."""
        self._jobs.clear()


def _next(queue: deque[T], *, last: bool = False) -> T | None:
    try:
        return queue.pop() if last else queue.popleft()
    except IndexError:
        return None
