"""Jobs on threads: the team that torch has already, and the pool that serves everywhere else."""

from __future__ import annotations

import _thread
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from flamehead.raster import _threads
from flamehead.raster._team import team
from flamehead.raster._threads import run

_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs GNU libgomp")


@pytest.fixture(params=["team", "pool"], autouse=True)
def crew(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways of running jobs, with two threads for torch whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    if request.param == "pool":
        monkeypatch.setattr(_threads, "team", lambda: None)
    elif team() is None:
        pytest.skip("torch's team cannot be borrowed here")
    yield request.param
    torch.set_num_threads(before)


def _slow(done: list[int], number: int) -> None:
    time.sleep(0.005)
    done.append(threading.get_ident())


@pytest.mark.parametrize(("jobs", "threads"), [(1, 2), (2, 2), (7, 2), (7, 5), (3, 1), (0, 2)])
def test_every_job_runs_once(jobs, threads):
    done: list[int] = []
    run([lambda n=n: done.append(n) for n in range(jobs)], threads)
    assert sorted(done) == list(range(jobs))


def test_two_threads_share_the_jobs_and_no_third():
    done: list[int] = []
    run([lambda n=n: _slow(done, n) for n in range(8)], 2)
    assert len(set(done)) == 2
    assert threading.get_ident() in done


def test_a_team_of_other_size_still_runs_everything():
    torch.set_num_threads(3)
    done: list[int] = []
    run([lambda n=n: _slow(done, n) for n in range(8)], 2)
    assert len(done) == 8
    assert len(set(done)) <= 2


@pytest.mark.parametrize("broken", [0, 1, 3])
def test_an_error_is_raised_here_and_the_next_jobs_run(broken):
    def fail(number: int) -> None:
        time.sleep(0.002)
        if number == broken:
            raise ArithmeticError(f"job {number}")

    with pytest.raises(ArithmeticError, match=f"job {broken}"):
        run([lambda n=n: fail(n) for n in range(4)], 2)
    done: list[int] = []
    run([lambda n=n: done.append(n) for n in range(4)], 2)
    assert len(done) == 4


def test_jobs_may_run_jobs_and_torch(crew):
    inner: list[int] = []

    def outer() -> None:
        run([lambda: inner.append(1), lambda: inner.append(2)], 2)
        assert float(torch.ones(300_000).sum()) == 300_000.0

    if crew == "pool":
        outer()  # A pool that waits for itself would wait for ever: only different numbers of threads nest.
    else:
        run([outer, outer], 2)
    assert inner.count(1) == inner.count(2) == (1 if crew == "pool" else 2)


def test_many_python_threads_at_once():
    with ThreadPoolExecutor(6) as callers:
        assert all(callers.map(_counts, [5] * 120))


def _counts(jobs: int) -> bool:
    done: list[int] = []
    run([lambda n=n: done.append(n) for n in range(jobs)], 2)
    return sorted(done) == list(range(jobs))


@pytest.mark.parametrize("who", [0, 1])
def test_an_interruption_is_raised_and_nothing_stays_open(who):
    def job(number: int) -> None:
        time.sleep(0.003)
        if number == who:
            _thread.interrupt_main()
        time.sleep(0.003)

    with pytest.raises(KeyboardInterrupt):
        run([lambda n=n: job(n) for n in range(2)], 2)
        time.sleep(0.05)  # Where the signal arrived last of all.
    assert float(torch.ones(300_000).sum()) == 300_000.0
    done: list[int] = []
    run([lambda n=n: _slow(done, n) for n in range(6)], 2)
    assert len(done) == 6
    assert len(set(done)) == 2


_SCRIPT = """
import os, sys, threading
import torch
torch.set_num_threads(2)
from flamehead.raster._threads import run
done = []
def go():
    run([lambda n=n: done.append(n) for n in range(6)], 2)
torch.ones(300_000) + 1
go()
"""


@_LINUX
@pytest.mark.parametrize(
    "rest",
    [
        # A forked child has none of the parent's workers.
        "pid = os.fork()\ngo()\nassert len(done) == 12, done\nsys.stdout.flush()\n"
        "if not pid: os._exit(0)\nassert os.waitpid(pid, 0)[1] == 0\n",
        # A program may end while a thread in the background is at it.
        "def ever():\n    while True: go()\n"
        "threading.Thread(target=ever, daemon=True).start()\nimport time; time.sleep(0.1)\n",
        # A thread's team goes with the thread.
        "for _ in range(50):\n    t = threading.Thread(target=go); t.start(); t.join()\n"
        "assert len(done) == 306 and len(os.listdir('/proc/self/task')) < 20\n",
    ],
    ids=["fork", "exit", "threads"],
)
def test_processes(rest, crew):
    force = "from flamehead.raster import _threads; _threads.team = lambda: None\n" if crew == "pool" else ""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    run_it = subprocess.run(
        [sys.executable, "-c", force + _SCRIPT + rest], capture_output=True, text=True, timeout=60, env=environment
    )
    assert run_it.returncode == 0, run_it.stderr
    assert not run_it.stderr


def test_nobody_waits_for_a_pool_that_does_not_come(monkeypatch):
    monkeypatch.setattr(_threads, "team", lambda: None)
    gate = threading.Event()
    blocked = _threads._pool(1).submit(gate.wait)
    done: list[int] = []
    run([lambda n=n: done.append(n) for n in range(6)], 2)
    assert done == list(range(6)) and not blocked.done()
    gate.set()


def test_work_that_others_still_have_is_not_lateness(crew, monkeypatch):
    found = team()
    if crew == "pool" or found is None:
        pytest.skip("torch's team cannot be borrowed here")
    late: list[float] = []
    monkeypatch.setattr(found, "_judge", late.append)
    monkeypatch.setattr(found, "patient", True)
    for _ in range(10):
        run([lambda: time.sleep(0.001), lambda: time.sleep(0.008)], 2)
    # On a busy machine some of them are late indeed.
    assert len(late) == 10 and min(late) < 2e-3


def test_a_team_that_is_late_is_left_alone_for_a_while():
    crew = team()
    if crew is None:
        pytest.skip("torch's team cannot be borrowed here")
    before = crew._rest, crew._until, crew._late
    crew._rest, crew._until, crew._late = 0.25, 0.0, 0.0
    assert crew.serves(2)
    try:
        # Now and then it may be.
        for late in [0.004, *[0.0] * 100, 0.007, *[0.001] * 100]:
            crew._judge(late)
        assert crew.serves(2)
        crew._judge(0.01)
        assert not crew.serves(2) and crew._rest > 0.25
        done: list[int] = []
        run([lambda n=n: done.append(n) for n in range(6)], 2)
        assert sorted(done) == list(range(6))
        crew._until = 0.0
        assert crew.serves(2)
    finally:
        crew._rest, crew._until, crew._late = before
