"""Posing a head in numba, with first derivatives by hand: a few compiled calls instead of some eighty of torch.

Rotations and joints are computed in float64, vertices in the model's precision. Threads share the vertices (forward) or
the heads and the rows of the bases (backward), as many as torch has; they are used where the work takes longer than
waking one, and no result depends on their number.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flamehead.model import _cpu_posing
from flamehead.model._cpu_posing import BLOCK, bend_backward, prepare, skin_backward, surface, whole
from flamehead.model._cpu_products import pull_rows

__all__ = ["Arrays", "pose_head", "ride", "warmup"]

_ALONE_BELOW = 5_000_000
"""Multiplications, about a third of a millisecond, up to which a second thread is not worth waking."""
_SKINNING = 60
"""Multiplications for each coordinate of a vertex besides those with the bases."""
_PULLED = 1536
"""Columns of the bases that the backward pass works on at once for many heads."""
_LONG = 3.0
"""Seconds, more than loading compiled kernels takes."""
_COMPILING = (
    "Compiling the kernels that pose heads, which takes about half a minute once per machine; `flamehead warmup` does "
    "it beforehand, and backend='reference' does without."
)
_ready: set[tuple[str, torch.dtype]] = set()
"""Stages that have run, so that their kernels are there."""

_log = logging.getLogger(__name__)


class Arrays(NamedTuple):
    """The buffers of a head as the kernels want them: contiguous, the identity's batch flattened."""

    surface: tuple[np.ndarray, ...]
    """Template (1 or B, V3), weights (J, V), where they are used (J, blocks), bases of shape, expression and pose."""
    joints: tuple[np.ndarray, ...]
    """Template (1 or B, J3), bases of shape and expression."""
    parents: np.ndarray

    @staticmethod
    def of(
        template: Tensor,
        bases: tuple[Tensor, Tensor, Tensor],
        weights: Tensor,
        joint_template: Tensor,
        joint_bases: tuple[Tensor, Tensor],
        parents: tuple[int, ...],
    ) -> Arrays:
        """Arrange the buffers; the bases are not copied.

        Args:
            template: (1 or B, V3).
            bases: of shape, expression and pose.
            weights: (V, J).
            joint_template: (1 or B, J3).
            joint_bases: of shape and expression.
            parents: of the joints.
        """
        by_joint = weights.T.contiguous()
        padded = torch.nn.functional.pad(by_joint, (0, -len(weights) % BLOCK))
        used = (padded.unflatten(1, (-1, BLOCK)) != 0).any(-1)
        tables = (template, by_joint, used, *bases)
        joints = (joint_template, *joint_bases)
        surface, few = (tuple(x.contiguous().numpy() for x in each) for each in (tables, joints))
        return Arrays(surface, few, np.array(parents))


class _Saved(NamedTuple):
    rest: np.ndarray
    joints: np.ndarray
    rotations: np.ndarray
    turned: np.ndarray
    rigid: np.ndarray


def pose_head(
    arrays: Arrays,
    shape: Tensor,
    expression: Tensor,
    rotations: Tensor,
    translation: Tensor,
    extra: Tensor | None,
    reference: Callable[..., tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor]:
    """Vertices (B, V, 3) and joints (B, J, 3).

    Args:
        arrays: the head.
        shape: (B, s).
        expression: (B, e).
        rotations: axis-angle vectors (B, J, 3), or matrices (B, J, 3, 3).
        translation: (B, 3).
        extra: (B, V, 3), added to the vertices at rest, not to the joints.
        reference: the same from the last five in plain torch, for derivatives of derivatives.
    """
    inputs = (shape, expression, rotations, translation, extra)
    if ("forward", rotations.dtype) not in _ready:
        with _said_when_slow("forward", rotations.dtype):
            return _posed(arrays, reference, inputs)
    return _posed(arrays, reference, inputs)


def _posed(arrays: Arrays, reference: Callable[..., tuple[Tensor, Tensor]], inputs: tuple) -> tuple[Tensor, Tensor]:
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs):
        return _Pose.apply(arrays, reference, *inputs)
    return _forward(arrays, inputs, keep=False)[:2]


def ride(vertices: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Points on triangles, (*batch, L, 3), without derivatives."""
    flat = vertices.detach().contiguous().numpy().reshape(-1, *vertices.shape[-2:])
    out = np.empty((len(flat), len(corners), 3), flat.dtype)
    _cpu_posing.ride(flat, corners.numpy(), weights.numpy(), out)
    return torch.from_numpy(out.reshape(*vertices.shape[:-2], len(corners), 3))


class _Pose(torch.autograd.Function):
    """`pose_head` with first derivatives by hand."""

    @staticmethod
    def forward(ctx: Any, arrays: Arrays, reference: Callable, *inputs: Any) -> tuple[Tensor, Tensor]:
        vertices, joints, ctx.saved = _forward(arrays, inputs, keep=True)
        ctx.arrays, ctx.reference = arrays, reference
        ctx.save_for_backward(*inputs)
        return vertices, joints

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():  # Derivatives of these derivatives are wanted.
            wanted = [x for x, need in zip(inputs, needed, strict=True) if need]
            found = iter(
                torch.autograd.grad(ctx.reference(*inputs), wanted, grads, create_graph=True, allow_unused=True)
            )
            return (None, None, *(next(found) if need else None for need in needed))
        found = functools.partial(_backward, ctx.arrays, ctx.saved, inputs, needed, *grads)
        if ("backward", inputs[2].dtype) in _ready:
            return (None, None, *found())
        with _said_when_slow("backward", inputs[2].dtype):
            return (None, None, *found())


def _forward(arrays: Arrays, inputs: tuple, *, keep: bool) -> tuple[Tensor, Tensor, _Saved]:
    """Vertices, joints, and what the backward pass needs if it is to be kept."""
    shape, expression, rotations, translation = (x.detach().numpy() for x in inputs[:4])
    extra = inputs[4]
    size, n_joints = rotations.shape[:2]
    turns, coefficients = rotations.reshape(size, n_joints, _entries(rotations)), (shape, expression)
    columns = arrays.surface[0].shape[1]
    nothing = np.empty((0, columns), arrays.surface[0].dtype)
    added = nothing if extra is None else extra.detach().numpy().reshape(size, columns)
    width = shape.shape[1] + expression.shape[1] + len(arrays.surface[5])
    parts = _parts(size * columns * (width + _SKINNING), columns // 3 // BLOCK)
    if parts < 2:
        out, rest, state = whole(
            turns, coefficients, translation, added, arrays.parents, arrays.joints, arrays.surface, keep
        )
    else:
        state = prepare(turns, coefficients, translation, arrays.parents, arrays.joints)
        out = np.empty((size, columns), added.dtype)
        rest = np.empty_like(out) if keep else out
        common = (arrays.surface, coefficients, state[5], added, state[3], translation, rest, out)
        ends = [*(columns // 3 // BLOCK * part // parts * BLOCK for part in range(parts)), columns // 3]
        _in_parallel([(surface, (*common, first, last)) for first, last in pairwise(ends)])
    joints, matrices, turned, rigid, posed, _ = state
    saved = _Saved(rest, joints, matrices, turned, rigid)
    return torch.from_numpy(out.reshape(size, columns // 3, 3)), torch.from_numpy(posed), saved


def _backward(
    arrays: Arrays, saved: _Saved, inputs: tuple, needed: tuple[bool, ...], g_vertices: Tensor, g_joints: Tensor
) -> list[Tensor | None]:
    shape, expression, rotations, _, extra = inputs
    size, n_joints = rotations.shape[:2]
    _, weights, used, *bases = arrays.surface
    g_rest, g_out = np.empty_like(saved.rest), g_vertices.contiguous().numpy().reshape(saved.rest.shape)
    g_rigid, g_shift = np.zeros((size, n_joints, 12)), np.zeros((size, 3))
    batched = (saved.rest, saved.rigid, g_out, g_rest, g_rigid, g_shift)
    parts = _parts(size * g_out.shape[1] * _SKINNING, size)
    ends = [size * part // parts for part in range(parts + 1)]
    _in_parallel([(skin_backward, (*(x[i:j] for x in batched), weights, used)) for i, j in pairwise(ends)])
    wanted = (shape.shape[1] if needed[0] else 0, expression.shape[1] if needed[1] else 0, len(bases[2]))
    g_shape, g_expression, g_feature = pulled = [np.zeros((size, n), g_rest.dtype) for n in wanted]
    _pull_all(pulled, g_rest, bases)
    like = rotations.detach().numpy().reshape(size, n_joints, _entries(rotations))
    g_rotations, g_places = np.empty_like(like), np.empty((size, n_joints, 3), like.dtype)
    state = (saved.joints, saved.rotations, saved.turned, arrays.parents)
    outer = g_joints.contiguous().numpy()
    bend_backward(like, *state, g_rigid, outer, g_feature, g_rotations, g_places, g_shift)
    places = g_places.reshape(size, 3 * n_joints)
    for found, basis in ((g_shape, arrays.joints[1]), (g_expression, arrays.joints[2])):
        found += places @ basis[: found.shape[1]].T
    return [
        torch.from_numpy(g_shape) if needed[0] else None,
        torch.from_numpy(g_expression) if needed[1] else None,
        torch.from_numpy(g_rotations).view_as(rotations) if needed[2] else None,
        torch.from_numpy(g_shift).to(rotations.dtype) if needed[3] else None,
        torch.from_numpy(g_rest).view_as(extra) if extra is not None and needed[4] else None,
    ]


def _entries(rotations: np.ndarray | Tensor) -> int:
    """Numbers of one rotation; an empty batch cannot tell by its size."""
    return 9 if rotations.ndim == 4 else 3


@contextmanager
def _said_when_slow(stage: str, dtype: torch.dtype) -> Iterator[None]:
    """Nobody waits for the compiler without being told why; the first call of a stage may need it."""
    timer = threading.Timer(_LONG, _log.warning, (_COMPILING,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    _ready.add((stage, dtype))


def _pull_all(pulled: list[np.ndarray], g_rest: np.ndarray, bases: list[np.ndarray]) -> None:
    """`pulled += g_rest @ basis.T` for each basis; threads share the rows of each."""
    size, columns = g_rest.shape
    parts = _parts(g_rest.size * sum(out.shape[1] for out in pulled), 64)
    width = columns if size < 4 else _PULLED
    jobs: list[list] = [[] for _ in range(parts)]
    for part in range(parts):
        for out, basis in zip(pulled, bases, strict=True):
            # Four rows at a time are what the kernel is made for.
            low, high = (min(-(-out.shape[1] * p // (4 * parts)) * 4, out.shape[1]) for p in (part, part + 1))
            if low < high:
                jobs[part].append((out, g_rest, basis, low, high, width))
    _in_parallel([(_pull_some, (some,)) for some in jobs])


def _pull_some(jobs: list[tuple]) -> None:
    for arguments in jobs:
        pull_rows(*arguments)


def _parts(work: int, most: int) -> int:
    """Into how many parts some multiplications are worth being cut."""
    return max(1, min(torch.get_num_threads(), most)) if work > _ALONE_BELOW else 1


def _in_parallel(jobs: list[tuple[Callable[..., None], tuple]]) -> None:
    """Run compiled calls that release the interpreter's lock, the first here and the others in threads."""
    threads = torch.get_num_threads()
    others = [_pool(max(threads - 1, 1)).submit(kernel, *arguments) for kernel, arguments in jobs[1:]]
    kernel, arguments = jobs[0]
    kernel(*arguments)
    for job in others:
        job.result()


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "flamehead-posing")


if hasattr(os, "register_at_fork"):
    # A forked process, such as a worker of a data loader, has the pool but none of its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def warmup() -> None:
    """Compile and cache the kernels for float32, half a minute once per machine."""

    def ones(*shape: int) -> Tensor:
        return torch.ones(shape)

    bases = (ones(1, 3), ones(1, 3), ones(0, 3))
    arrays = Arrays.of(ones(1, 3), bases, ones(1, 1), ones(1, 3), bases[:2], (-1,))
    coefficient, turn = ones(1, 1), ones(1, 1, 3)
    inputs = (coefficient, coefficient, turn, ones(1, 3), ones(1, 1, 3))
    vertices, joints, saved = _forward(arrays, inputs, keep=True)
    _backward(arrays, saved, inputs, (True,) * 5, vertices, joints)
    ride(ones(1, 1, 3), torch.zeros(1, 3, dtype=torch.int64), ones(1, 3))
