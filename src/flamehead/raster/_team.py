"""The threads of torch's own OpenMP runtime, GNU libgomp, for jobs of ours.

After a parallel operation torch's workers spin for milliseconds, waiting for the next one. A pool of our own would find
the processors taken by them, or be woken on the very processor that its caller runs on; the team that spins is there at
once. It is borrowed through the two calls that compilers emitted around a parallel region before GCC 4.9 and that
libgomp keeps: one sends the workers off and returns, the other waits for them. In between, the caller works too, as
plain Python, so an interruption (Ctrl-C) is raised there as in any other code.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from functools import cache
from itertools import count
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from flamehead.raster._jobs import Job, Jobs

__all__ = ["Team", "team"]

_FOREIGN = "__kmpc_fork_call"
"""A symbol of LLVM's and Intel's runtimes. They have the two calls as well, but nobody has tried them here."""

_STALL, _FORGIVEN, _REST, _LONGEST_REST = 2e-3, 8e-3, 0.25, 8.0
"""Seconds: from when on the workers are late, how much of that is forgiven, if it is not often, and for how long they
are left alone when it is more, at first and at most.

On a busy machine a worker that has spun has used up its share of the processor, and everybody waits for it."""

_FORGET = 0.98
"""What share of the lateness is remembered from one time to the next."""

_Body = ctypes.CFUNCTYPE(None, ctypes.c_size_t)


class Team:
    """torch's workers."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._start, self._end, self._level = (
            library.GOMP_parallel_start,
            library.GOMP_parallel_end,
            library.omp_get_level,
        )
        self._start.argtypes, self._start.restype = (_Body, ctypes.c_size_t, ctypes.c_uint), None
        self._end.argtypes, self._end.restype = (), None
        # One entry point for ever: machine code made for each call could be gone while a worker is still in it.
        self._body = _Body(self._enter)
        self._open: dict[int, Jobs] = {}
        self._numbers = count()
        self._rest, self._until, self._late = _REST, 0.0, 0.0
        self.patient = False
        """Whether it is asked however late it was."""
        clock = ctypes.CDLL(None).clock_gettime
        calls = (self._start, self._end, clock)
        self._addresses = [ctypes.cast(call, ctypes.c_void_p).value for call in calls]

    def crew(self) -> np.ndarray:
        """What `fork` needs to send the team through a compiled kernel: three addresses, and how many threads it has.

        `late` is to be called with what it returns. Nothing interrupts the caller meanwhile: this is for milliseconds.
        """
        return np.array([*self._addresses, torch.get_num_threads()], dtype=np.int64)

    def late(self, nanoseconds: int) -> None:
        """Learn by how much the others were late."""
        self._judge(1e-9 * nanoseconds)

    def serves(self, threads: int) -> bool:
        """Whether so many threads are most of the team, which is not late, outside of any parallel region.

        A smaller team would make libgomp end the workers that are left out, and torch start them anew.
        """
        fits = threads <= torch.get_num_threads() <= 2 * threads
        return fits and self._level() == 0 and (self.patient or perf_counter() >= self._until)

    def run(self, jobs: Sequence[Job], threads: int) -> None:
        """Every job on one of so many threads, this one among them; the first error is raised when all have ended."""
        # The caller has a ticket of its own: the runtime may send no worker at all, or very late.
        work, number = Jobs(jobs, threads - 1), next(self._numbers)
        self._open[number] = work
        try:
            self._start(self._body, number, torch.get_num_threads())
            work.do()
        except BaseException:
            work.stop()
            raise
        finally:
            # Interrupted before the start, there is no region to leave.
            if self._level():
                begin = perf_counter()
                self._end()
                # What others still had to do is not lateness.
                self._judge(perf_counter() - max(begin, work.ended))
            del self._open[number]
        if work.errors:
            raise work.errors[0]

    def _judge(self, late: float) -> None:
        """Leave workers that are late again and again alone for a while, longer every time."""
        self._late = _FORGET * self._late + (late if late > _STALL else 0.0)
        if self._late > _FORGIVEN:
            self._until, self._late = perf_counter() + self._rest, 0.0
            self._rest = min(2.0 * self._rest, _LONGEST_REST)
        else:
            self._rest = max(0.99 * self._rest, _REST)

    def _enter(self, number: int) -> None:
        """What every worker runs; an error that left it would be printed and lost."""
        work = self._open[number]
        try:
            if work.wants_another():
                work.do(last_first=True)
        except BaseException as error:
            work.stop()
            work.errors.append(error)


@cache
def team() -> Team | None:
    """torch's team where it can be borrowed; nowhere but on Linux, and not in a forked child, which has no workers."""
    if not sys.platform.startswith("linux") or sys.implementation.name != "cpython" or _forked:
        return None
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        # Symbols are looked up in what torch was linked with; nothing is loaded that is not in use.
        found = ctypes.CDLL(str(library), mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        return None if hasattr(found, _FOREIGN) else Team(found)
    except (OSError, AttributeError):
        return None


_forked = False


def _fork() -> None:
    global _forked
    _forked = True
    team.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork)
