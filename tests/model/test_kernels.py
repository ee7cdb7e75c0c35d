"""The compiled kernels against plain torch: values, derivatives, and who is chosen when."""

import copy
import dataclasses
import logging
import multiprocessing
import os
import time

import pytest
import torch

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.geometry.rotation import exp
from flamehead.model import Flame

FIELDS = [field.name for field in dataclasses.fields(FlameParams)]
BATCHES = [(), (3,), (2, 1), (11,)]


def _close(a, b, atol=1e-14):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def _both(head, params, **options):
    return [head(params, backend=backend, **options) for backend in ("numba", "reference")]


def _same(head, params, atol=1e-14, **options):
    fast, plain = _both(head, params, **options)
    assert fast.vertices.shape == plain.vertices.shape and fast.joints.shape == plain.joints.shape
    _close(fast.vertices, plain.vertices, atol)
    _close(fast.joints, plain.joints, atol)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("threads", [1, 3])
def test_values(small_flame, random_params, batch, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        _same(small_flame, random_params(small_flame, *batch))
    finally:
        torch.set_num_threads(before)


def _with_threads(count, run):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return run()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("batch", [1, 3, 4, 9])
def test_no_number_depends_on_the_number_of_threads(recipe_flame, random_params, batch):
    flame = recipe_flame(torch.float32)
    params = random_params(flame, batch).to(dtype=torch.float32)
    values = [getattr(params, name).requires_grad_() for name in FIELDS]

    def run():
        out = flame(FlameParams(*values), backend="numba")
        grads = torch.autograd.grad(out.vertices.square().sum() + out.joints.square().sum(), values)
        return [out.vertices, out.joints, *grads]

    for alone, shared in zip(_with_threads(1, run), _with_threads(3, run), strict=True):
        assert torch.equal(alone, shared)


def _child(queue, flame, params):
    queue.put(flame(params, backend="numba").vertices.numpy().tobytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_poses_heads(recipe_flame, random_params):
    flame = recipe_flame(torch.float32)
    params = random_params(flame, 4).to(dtype=torch.float32)

    def run():
        wanted = flame(params, backend="numba").vertices.numpy().tobytes()
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=_child, args=(queue, flame, params), daemon=True)
        process.start()
        assert queue.get(timeout=60) == wanted
        process.join(60)

    _with_threads(2, run)


@pytest.mark.parametrize("single", FIELDS)
def test_fields_broadcast(small_flame, random_params, single):
    params, one = random_params(small_flame, 2, 3), random_params(small_flame, seed=4)
    _same(small_flame, dataclasses.replace(params, **{single: getattr(one, single)}))


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-3, 0.2, 0.499, 0.501, 3.0, 40.0])
def test_rotations_of_any_size(small_flame, random_params, size):
    params = random_params(small_flame, 2)
    params = dataclasses.replace(params, jaw=size * torch.nn.functional.normalize(params.jaw, dim=-1))
    _same(small_flame, params, atol=1e-13)


def test_matrices_fewer_coefficients_offsets_and_eyelids(lidded_flame, random_params):
    params = random_params(lidded_flame, 3)
    short = dataclasses.replace(params, shape=params.shape[:, :4], expression=params.expression[:, :0])
    _same(lidded_flame, short)
    _same(lidded_flame, params, rotations=exp(random_params(lidded_flame, 3, seed=2).pose))
    frame = 0.01 * torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lids = torch.tensor([0.3, 0.9], dtype=torch.float64)
    for after in (False, True):
        _same(lidded_flame, params, frame_offsets=frame, eyelids=lids, eyelids_after_skinning=after)


@pytest.mark.parametrize("kind", ["identity", "identities", "subset", "both"])
def test_derived_heads(small_flame, random_params, kind):
    params = random_params(small_flame, 2, 3)
    shape = params.shape[0, 0] if kind == "identity" else params.shape
    head = small_flame if kind == "subset" else small_flame.with_identity(shape)
    if kind in ("subset", "both"):
        head = head.subset([3, 59, 17])
    if kind != "subset":
        params = dataclasses.replace(params, shape=params.shape[..., :0])
    _same(head, params)


@pytest.mark.parametrize("scale", [0.0, 1.0])
@pytest.mark.parametrize("batch", [(), (2,), (9,)])
def test_first_derivatives(lidded_flame, random_params, scale, batch):
    values = [scale * getattr(random_params(lidded_flame, *batch), name) for name in FIELDS]
    values += [torch.full((*batch, 2), 0.5, dtype=torch.float64)]
    values = [value.requires_grad_() for value in values]
    weigh = torch.Generator().manual_seed(1)
    factor = torch.randn(*batch, 60, 3, dtype=torch.float64, generator=weigh)
    other = torch.randn(*batch, 5, 3, dtype=torch.float64, generator=weigh)
    found = []
    for backend in ("numba", "reference"):
        out = lidded_flame(FlameParams(*values[:-1]), eyelids=values[-1], backend=backend)
        found.append(torch.autograd.grad((out.vertices * factor).sum() + (out.joints * other).sum(), values))
    for fast, plain in zip(*found, strict=True):
        _close(fast, plain, 1e-12)


def test_derivatives_by_matrices(small_flame, random_params):
    params = random_params(small_flame, 2)
    turns = exp(params.pose).requires_grad_()
    found = [
        torch.autograd.grad(small_flame(params, rotations=turns, backend=b).vertices.square().sum(), turns)[0]
        for b in ("numba", "reference")
    ]
    _close(found[0], found[1], 1e-12)


def test_finite_differences_and_second_derivatives(small_flame, random_params):
    values = [getattr(random_params(small_flame), name).requires_grad_() for name in FIELDS]

    def run(*values):
        out = small_flame(FlameParams(*values), backend="numba")
        return out.vertices[::7], out.joints

    assert torch.autograd.gradcheck(run, values)
    assert torch.autograd.gradgradcheck(lambda *p: run(*values[:2], *p, values[7])[1], values[2:7])


def test_only_what_needs_a_gradient_gets_one(small_flame, random_params):
    params = random_params(small_flame, 2)
    jaw = params.jaw.clone().requires_grad_()
    small_flame(dataclasses.replace(params, jaw=jaw), backend="numba").vertices.sum().backward()
    assert jaw.grad is not None and params.shape.grad is None
    with torch.no_grad():
        assert not small_flame(dataclasses.replace(params, jaw=jaw), backend="numba").vertices.requires_grad


def test_gradients_reach_a_built_in_identity(small_flame, random_params):
    params = random_params(small_flame, 2)
    found = []
    for through in (True, False):
        shape = params.shape[0].clone().requires_grad_()
        if through:
            person = small_flame.with_identity(shape)
            out = person(dataclasses.replace(params, shape=params.shape[:, :0]))
        else:
            out = small_flame(dataclasses.replace(params, shape=shape))
        out.vertices.square().sum().backward()
        found.append(shape.grad)
    _close(found[0], found[1], 1e-12)


def test_float32_is_within_a_micrometre(recipe_flame, random_params):
    flame = recipe_flame(torch.float32)
    params = random_params(flame, 9).to(dtype=torch.float32)
    _same(flame, params, atol=1e-6)


def test_kernels_are_chosen_for_heads_made_to_be_posed_often(small_arrays, random_params, monkeypatch):
    from flamehead.model import _cpu

    calls = []
    real = _cpu.pose_head
    monkeypatch.setattr(_cpu, "pose_head", lambda *args: calls.append(1) or real(*args))
    flame = Flame(small_arrays, dtype=torch.float64)
    flame(flame.zeros())
    assert not calls
    person = flame.with_identity(flame.zeros().shape)
    person(person.zeros((2,)))
    assert len(calls) == 1
    flame._calls = flame._patience
    flame(flame.zeros())
    assert len(calls) == 2


def test_waiting_for_the_compiler_is_explained(small_flame, monkeypatch, caplog):
    from flamehead.model import _cpu

    real = _cpu._forward
    monkeypatch.setattr(_cpu, "_LONG", 0.01)
    monkeypatch.setattr(_cpu, "_ready", set())
    monkeypatch.setattr(_cpu, "_forward", lambda *args, **options: time.sleep(0.3) or real(*args, **options))
    with caplog.at_level(logging.WARNING):
        small_flame(small_flame.zeros(), backend="numba")
    assert "flamehead warmup" in caplog.text
    caplog.clear()
    small_flame(small_flame.zeros(), backend="numba")
    assert not caplog.text


def test_an_empty_batch_and_copies(small_flame, random_params):
    params = random_params(small_flame, 0)
    _same(small_flame, params)
    values = [getattr(params, name).requires_grad_() for name in FIELDS]
    out = small_flame(FlameParams(*values), backend="numba")
    assert [g.shape for g in torch.autograd.grad(out.vertices.sum(), values)] == [v.shape for v in values]
    twin = copy.deepcopy(small_flame)
    assert small_flame._kernel_arrays is not None and twin._kernel_arrays is None
    twin.template.add_(1.0)
    moved, plain = (head(random_params(small_flame), backend="numba").vertices for head in (twin, small_flame))
    assert (moved - plain).abs().max() > 0.1


def test_moved_heads_forget_their_old_tables(small_arrays, random_params):
    head = Flame(small_arrays, dtype=torch.float32).with_identity(torch.zeros(7))
    head(head.zeros())
    head = head.double()
    _same(head, dataclasses.replace(random_params(head), shape=torch.zeros(0, dtype=torch.float64)))


def test_kernels_refuse_what_they_cannot_do(small_flame, random_params):
    params = random_params(small_flame)
    with pytest.raises(InputError, match="no backend 'cuda'"):
        small_flame(params, backend="cuda")
    person = small_flame.with_identity(params.shape.clone().requires_grad_())
    with pytest.raises(InputError, match="identity needs no gradient"):
        person(person.zeros(), backend="numba")


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
def test_transforms_get_plain_torch(small_flame, random_params):
    person = small_flame.with_identity(random_params(small_flame).shape)
    params = dataclasses.replace(random_params(person), shape=torch.zeros(0, dtype=torch.float64))

    def run(jaw):
        return person(dataclasses.replace(params, jaw=jaw)).vertices

    forward = torch.func.jacfwd(run)(params.jaw)
    _close(forward, torch.func.jacrev(run)(params.jaw))
    _close(forward, torch.autograd.functional.jacobian(run, params.jaw), 1e-13)
    jaws = random_params(person, 4, seed=3).jaw
    _close(torch.func.vmap(run)(jaws), torch.stack([run(jaw) for jaw in jaws]))
    compiled = torch.compile(person, backend="aot_eager", fullgraph=True)
    _close(compiled(params).vertices, person(params).vertices)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(params.jaw, torch.ones(3, dtype=torch.float64))
        tangent = torch.autograd.forward_ad.unpack_dual(run(dual)).tangent
    _close(tangent, forward.sum(-1))
