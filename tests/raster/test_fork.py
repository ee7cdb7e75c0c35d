"""A kernel that a crew goes through: every ticket once, by all threads or by one, and the same results."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from flamehead.raster import interpolate, paint, rasterize
from flamehead.raster._compile import compiled
from flamehead.raster._cpu import fork as door
from flamehead.raster._cpu.fork import ALONE, fork, ticket
from flamehead.raster._team import Team, team
from flamehead.raster._threads import patience


@pytest.fixture
def crew() -> Iterator[Team]:
    """torch's team, of two threads whatever the machine has, and never resting."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    found = team()
    if found is None:
        pytest.skip("torch's team cannot be borrowed here")
    # Beside other tests it is late, and would rest.
    with patience():
        yield found
    torch.set_num_threads(before)


@compiled(nogil=True)
def _count(crew, taken, who, amount):
    return fork(crew, _count_some, (np.zeros(2, np.int64), taken, who, amount))


@compiled(nogil=True)
def _count_some(counters, taken, who, amount):
    me = ticket(counters, 1)
    while True:
        unit = ticket(counters, 0)
        if unit >= taken.shape[0]:
            return
        total = 0.0
        for n in range(amount):
            total += 1.0 / (n + 1.0)
        taken[unit] += 1 if total > 0.0 else 0
        who[me] += 1


@pytest.mark.parametrize("units", [0, 1, 2, 999])
def test_every_ticket_is_taken_once(crew, units):
    for hands in (ALONE, crew.crew()):
        taken, who = np.zeros(units, np.int64), np.zeros(8, np.int64)
        late = _count(hands, taken, who, 100)
        assert (taken == 1).all() and who.sum() == units
        assert isinstance(late, int) and (late == 0 or hands is not ALONE)


def test_two_threads_share_the_work(crew):
    taken, who = np.zeros(400, np.int64), np.zeros(8, np.int64)
    for _ in range(20):
        _count(crew.crew(), taken, who, 20_000)
    assert (taken == 20).all() and (who > 0).sum() == 2


def test_many_python_threads_send_crews_at_once(crew):
    def one(_: int) -> bool:
        taken, who = np.zeros(50, np.int64), np.zeros(8, np.int64)
        _count(crew.crew(), taken, who, 100)
        return bool((taken == 1).all()) and crew.serves(2)

    with ThreadPoolExecutor(4) as callers:
        assert all(callers.map(one, range(60)))
    assert float(torch.ones(300_000).sum()) == 300_000.0


def test_pictures_and_gradients_have_the_same_bits_by_crew_by_jobs_and_alone(crew, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    size, faces = (150, 130), torch.arange(900).reshape(-1, 3)
    centers = torch.rand(300, 1, 3, generator=generator) * torch.tensor([150.0, 130.0, 1.0])
    spread = (torch.rand(300, 3, 3, generator=generator) - 0.5) * torch.tensor([40.0, 40.0, 0.5])
    points = (centers + spread + torch.tensor([0.0, 0.0, 1.0])).reshape(-1, 3)
    colors, weight = torch.rand(900, 3, generator=generator), torch.rand(130, 150, 3, generator=generator)
    served = []

    def everything(threads: int) -> list[torch.Tensor]:
        leaves = [points.clone().requires_grad_(), colors.clone().requires_grad_()]
        seen = rasterize(leaves[0], faces, size, threads=threads)
        image = paint(leaves[1], leaves[0], faces, seen, threads=threads)
        image = image + interpolate(leaves[1], faces, seen, points=leaves[0], threads=threads)
        found = torch.autograd.grad((image * weight).sum(), leaves)
        return [seen.face_ids, seen.barycentric, seen.depth, image.detach(), *found]

    real = door.forking
    monkeypatch.setattr(door, "forking", lambda threads: served.append(real(threads)) or served[-1])
    alone, by_crew = everything(1), everything(2)
    assert any(each is crew for each in served)
    monkeypatch.setattr(door, "forking", lambda threads: None)
    for results in (by_crew, everything(2), everything(3)):
        for one, other in zip(alone, results, strict=True):
            assert torch.equal(one, other)


def test_a_forked_process_goes_alone():
    script = """
import os, torch
torch.set_num_threads(2)
from flamehead.raster import rasterize
points = 300 * torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) + 1
faces = torch.arange(300).reshape(-1, 3)
before = rasterize(points, faces, (300, 300), threads=2).depth.numpy()
pid = os.fork()
# In numpy: torch's own parallel operations wait for workers that a forked process has not.
assert (rasterize(points, faces, (300, 300), threads=2).depth.numpy() == before).all()
if not pid: os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs fork")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_warming_up_compiles_what_crews_go_through():
    script = """
import torch
torch.set_num_threads(2)
from flamehead.raster._cpu.fill import fill_together
from flamehead.raster._cpu.gradients import collect_together
from flamehead.raster._cpu.pairs import begin_together, walk_together
from flamehead.render._cpu import stages
from flamehead import raster, render
raster.warmup()
render.warmup()
kernels = fill_together, begin_together, walk_together, collect_together
drawn = [getattr(stages, name) for name in stages.__all__ if name.endswith("_together")]
assert len(drawn) == 5 and all(each.signatures for each in (*kernels, *drawn))
from flamehead.raster import paint, rasterize
before = [len(each.signatures) for each in kernels]
points = (100 * torch.rand(300, 3) + 1).requires_grad_()
faces = torch.arange(300).reshape(-1, 3)
paint(torch.rand(300, 3), points, faces, rasterize(points, faces, (300, 300))).sum().backward()
assert before == [len(each.signatures) for each in kernels]
"""
    if team() is None:
        pytest.skip("torch's team cannot be borrowed here")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
