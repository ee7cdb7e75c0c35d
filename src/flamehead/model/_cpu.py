"""Posing a head in numba: everything but the products with the large bases, which torch's BLAS does at memory speed.

One `autograd.Function` holds the whole head, with its own backward; small batches then cost a few calls instead of some
eighty. Rotations and joints are computed in float64, vertices in the model's precision. The inner loops run over
blocks of vertices without branches, which LLVM turns into vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flamehead.model import _posing
from flamehead.model._posing import LANES, bend, bend_backward, pose_few, skin, skin_backward

__all__ = ["Arrays", "pose_head", "ride", "warmup"]

_ALONE_BELOW = 8
"""Batches from this size on are shared among threads."""

_FEW = 2000
"""Coordinates in a batch up to which calling torch costs more than its BLAS gains."""


class Arrays(NamedTuple):
    """The buffers of a head as the kernels want them: contiguous, the identity's batch flattened."""

    template: Tensor
    """(1 or B, V3)."""
    shape_basis: Tensor
    expression_basis: Tensor
    pose_basis: Tensor
    weights: Tensor
    """(J, V), padded with zeros."""
    joint_template: Tensor
    """(1 or B, J3)."""
    joint_shape_basis: Tensor
    joint_expression_basis: Tensor
    parents: np.ndarray
    few: tuple
    """The same for `pose_few`."""

    @staticmethod
    def of(
        template: Tensor,
        bases: tuple[Tensor, Tensor, Tensor],
        weights: Tensor,
        joint_template: Tensor,
        joint_bases: tuple[Tensor, Tensor],
        parents: tuple[int, ...],
    ) -> Arrays:
        """Arrange the buffers.

        Args:
            template: (1 or B, V3).
            bases: of shape, expression and pose.
            weights: (V, J).
            joint_template: (1 or B, J3).
            joint_bases: of shape and expression.
            parents: of the joints.
        """
        # Whole blocks of vertices, so that the loops need no remainder.
        lanes = torch.nn.functional.pad(weights.T, (0, -len(weights) % LANES)).contiguous()
        order = np.array(parents)
        tables = (tuple(basis.numpy() for basis in each) for each in (bases, joint_bases))
        few = (order, lanes.numpy(), template.numpy(), joint_template.numpy(), *tables)
        return Arrays(template, *bases, lanes, joint_template, *joint_bases, order, few)


class _Saved(NamedTuple):
    rest: Tensor
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
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs):
        return _Pose.apply(arrays, reference, *inputs)
    return _forward(arrays, *inputs)[:2]


def ride(vertices: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Points on triangles, (*batch, L, 3), without derivatives."""
    flat = vertices.detach().contiguous().numpy().reshape(-1, *vertices.shape[-2:])
    out = np.empty((len(flat), len(corners), 3), flat.dtype)
    _posing.ride(flat, corners.numpy(), weights.numpy(), out)
    return torch.from_numpy(out.reshape(*vertices.shape[:-2], len(corners), 3))


class _Pose(torch.autograd.Function):
    """`pose_head` with first derivatives by hand."""

    @staticmethod
    def forward(ctx: Any, arrays: Arrays, reference: Callable, *inputs: Any) -> tuple[Tensor, Tensor]:
        vertices, joints, ctx.saved = _forward(arrays, *inputs)
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
        return (None, None, *_backward(ctx.arrays, ctx.saved, inputs, needed, *grads))


def _forward(
    arrays: Arrays, shape: Tensor, expression: Tensor, rotations: Tensor, translation: Tensor, extra: Tensor | None
) -> tuple[Tensor, Tensor, _Saved]:
    if extra is None and arrays.template.shape[1] * len(rotations) <= _FEW:
        return _few(arrays, shape, expression, rotations, translation)
    with torch.no_grad():
        size, n_joints = rotations.shape[:2]
        joints = _combined(arrays.joint_template, arrays.joint_shape_basis, shape)
        joints = _added(joints, arrays.joint_expression_basis, expression).numpy().reshape(-1, n_joints, 3)
        like = rotations.detach().numpy()
        matrices = np.empty((size, n_joints, 3, 3))
        turned, rigid = np.empty_like(matrices), np.empty((size, n_joints, 12), like.dtype)
        feature, posed = np.empty((size, 9 * (n_joints - 1)), like.dtype), np.empty((size, n_joints, 3), like.dtype)
        shift = translation.detach().numpy()
        bend(like.reshape(size, n_joints, -1), joints, arrays.parents, shift, matrices, turned, rigid, posed, feature)
        rest = _combined(arrays.template, arrays.shape_basis, shape)
        rest = _added(rest, arrays.expression_basis, expression)
        rest = _added(rest, arrays.pose_basis, torch.from_numpy(feature))
        if extra is not None:
            rest += extra.flatten(1)
        rest = rest.unflatten(-1, (-1, 3))
        vertices = torch.empty_like(rest)
        _shared(skin, size, (rest.numpy(), rigid, shift, vertices.numpy()), (arrays.weights.numpy(),))
        return vertices, torch.from_numpy(posed), _Saved(rest, joints, matrices, turned, rigid)


def _backward(
    arrays: Arrays, saved: _Saved, inputs: tuple, needed: tuple[bool, ...], g_vertices: Tensor, g_joints: Tensor
) -> list[Tensor | None]:
    shape, expression, rotations, _, extra = inputs
    size, n_joints = rotations.shape[:2]
    g_rest = torch.empty_like(saved.rest)
    g_rigid, g_shift = np.empty((size, n_joints, 12)), np.empty((size, 3))
    slow = (saved.rest.numpy(), saved.rigid, g_vertices.contiguous().numpy(), g_rest.numpy(), g_rigid, g_shift)
    _shared(skin_backward, size, slow, (arrays.weights.numpy(),))
    flat = g_rest.flatten(1)
    g_feature = (flat @ arrays.pose_basis.T).numpy()
    like = rotations.detach().numpy().reshape(size, n_joints, -1)
    g_rotations, g_places = np.empty_like(like), np.empty((size, n_joints, 3), like.dtype)
    outer = g_joints.contiguous().numpy()
    state = (saved.joints, saved.rotations, saved.turned)
    bend_backward(like, *state, arrays.parents, g_rigid, outer, g_feature, g_rotations, g_places, g_shift)
    places = torch.from_numpy(g_places).flatten(1)

    def pulled(basis: Tensor, joint_basis: Tensor, n: int) -> Tensor:
        return flat @ basis[:n].T + places @ joint_basis[:n].T

    return [
        pulled(arrays.shape_basis, arrays.joint_shape_basis, shape.shape[1]) if needed[0] else None,
        pulled(arrays.expression_basis, arrays.joint_expression_basis, expression.shape[1]) if needed[1] else None,
        torch.from_numpy(g_rotations).view_as(rotations) if needed[2] else None,
        torch.from_numpy(g_shift).to(rotations.dtype) if needed[3] else None,
        g_rest if extra is not None and needed[4] else None,
    ]


def _combined(template: Tensor, basis: Tensor, coefficients: Tensor) -> Tensor:
    """`template + coefficients @ basis`, a fresh (B, N)."""
    if not coefficients.shape[1]:
        return template.expand(len(coefficients), -1).clone(memory_format=torch.contiguous_format)
    return torch.addmm(template, coefficients, basis[: coefficients.shape[1]])


def _added(points: Tensor, basis: Tensor, coefficients: Tensor) -> Tensor:
    """`points + coefficients @ basis`, in place."""
    return points.addmm_(coefficients, basis[: coefficients.shape[1]]) if coefficients.shape[1] else points


def _few(
    arrays: Arrays, shape: Tensor, expression: Tensor, rotations: Tensor, translation: Tensor
) -> tuple[Tensor, Tensor, _Saved]:
    """`_forward` in one compiled call."""
    turns = rotations.detach().numpy()
    coefficients = shape.detach().numpy(), expression.detach().numpy()
    vertices, posed, rest, *state = pose_few(
        turns.reshape(len(turns), turns.shape[1], -1), coefficients, translation.detach().numpy(), *arrays.few
    )
    return torch.from_numpy(vertices), torch.from_numpy(posed), _Saved(torch.from_numpy(rest), *state)


def _shared(kernel: Callable[..., None], size: int, batched: tuple[np.ndarray, ...], common: tuple) -> None:
    """Run a kernel on parts of the batch, as many as torch has threads; the results do not depend on their number."""
    parts = min(torch.get_num_threads(), size) if size >= _ALONE_BELOW else 1
    if parts < 2:
        kernel(*batched, *common)
        return
    ends = [size * part // parts for part in range(parts + 1)]
    jobs = [_pool(parts).submit(kernel, *(x[i:j] for x in batched), *common) for i, j in pairwise(ends)]
    for job in jobs:
        job.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "flamehead-posing")


def warmup() -> None:
    """Compile and cache the kernels for float32, half a minute once per machine."""

    def ones(*shape: int) -> Tensor:
        return torch.ones(shape)

    bases = (ones(1, 3), ones(1, 3), ones(0, 3))
    arrays = Arrays.of(ones(1, 3), bases, ones(1, 1), ones(1, 3), bases[:2], (-1,))
    coefficient, turn = ones(1, 1), ones(1, 1, 3)
    for extra in (None, ones(1, 1, 3)):
        inputs = (coefficient, coefficient, turn, ones(1, 3), extra)
        vertices, joints, saved = _forward(arrays, *inputs)
        _backward(arrays, saved, inputs, (True,) * 5, vertices, joints)
    ride(ones(1, 1, 3), torch.zeros(1, 3, dtype=torch.int64), ones(1, 3))
