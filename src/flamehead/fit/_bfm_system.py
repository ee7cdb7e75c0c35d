"""The least-squares system behind `flamehead.fit.bfm`, with its normal matrix mostly computed in advance.

In the frame of the unturned head, with x = template + B c + P vec(M), M = R_jaw - I and w the jaw's skin weight,

    residual = x + w M (x - J_jaw(c)) - y,    y = s Q V0 + translation

By the coefficients c its Jacobian is B + M E with E = w (B - J_basis). As M^T M = -(M + M^T) for a rotation, the normal
matrix of the coefficients is linear in M: G + sum_ab M_ab N_ab, N_ab = B_a^T E_b + E_b^T B_a - E_a^T E_b - E_b^T E_a.
So an iteration costs two passes over B and a Cholesky factorisation, whatever the number of vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from flamehead.assets.model_file import FlameArrays
from flamehead.fit._so3 import exp, left_jacobian, skew
from flamehead.geometry.similarity import Similarity, moved
from flamehead.solve import Status

__all__ = ["BfmState", "BfmSystem", "build_system", "solve"]

_JAW = 2
_SHAPE_WEIGHT, _EXPRESSION_WEIGHT, _POSE_WEIGHT = 1e-3, 1e-4, 1e-4
_MOST_ITERATIONS = 50
_MOST_DAMPING = 1e12
_EXACT = 1e-20
"""Square metres for each residual: less is the rounding of an exact fit, which falls by no share of itself."""
_FREE = 10
"""Unknowns besides the coefficients: shift, turn and growth of the target, and the jaw."""


@dataclass(frozen=True)
class BfmState:
    """What is solved for."""

    placed: Similarity
    """From the input to the frame of the unturned head."""
    jaw: Float[np.ndarray, "3"]
    """Axis-angle."""
    coefficients: Float[np.ndarray, "C"]
    """Shape, then expression."""


@dataclass(frozen=True)
class BfmSystem:
    """The part of a FLAME model that the fit sees: N vertices."""

    matrix: scipy.sparse.csr_matrix
    """(N, B): Basel vertices to the partners of FLAME vertices."""
    template: Float[np.ndarray, "N 3"]
    basis: Float[np.ndarray, "3N C"]
    """x, y and z of each vertex in turn."""
    pose_basis: Float[np.ndarray, "N 3 9"]
    """By the entries of M."""
    weights: Float[np.ndarray, "N"]
    joint: Float[np.ndarray, "3"]
    joint_basis: Float[np.ndarray, "3 C"]
    root: Float[np.ndarray, "3"]
    """Where the root joint of the mean head is, and below how it moves with the coefficients."""
    root_basis: Float[np.ndarray, "3 C"]
    gram: Float[np.ndarray, "C C"]
    by_turn: Float[np.ndarray, "9 C C"]
    prior: Float[np.ndarray, "C"]
    """Squared weights of the coefficients."""

    @property
    def n_coefficients(self) -> int:
        return len(self.prior)

    @property
    def n_inputs(self) -> int:
        """Vertices of the Basel mesh."""
        shape: Any = self.matrix.shape
        return shape[1]


def build_system(arrays: FlameArrays, ids: Int[np.ndarray, "N"], matrix: scipy.sparse.csr_matrix) -> BfmSystem:
    """Collect the tables of some vertices and multiply out what no state changes."""
    n_shape = arrays.shape_basis.shape[2]
    basis = np.concatenate([arrays.shape_basis[ids], arrays.expression_basis[ids]], axis=2)
    whole = np.concatenate([arrays.shape_basis, arrays.expression_basis], axis=2)
    joints = np.asarray(arrays.joint_regressor)[[_JAW, 0]]
    (joint, root), (joint_basis, root_basis) = joints @ arrays.template, np.tensordot(joints, whole, axes=1)
    weights = np.asarray(arrays.skin_weights[ids, _JAW])
    moves = np.flatnonzero(weights > 0.0)
    flat = basis.reshape(-1, basis.shape[2])
    # Axis first, as contiguous matrices.
    b = np.ascontiguousarray(basis[moves].transpose(1, 0, 2))
    e = weights[moves, None] * (b - joint_basis[:, None, :])
    count = basis.shape[2]
    by_turn = np.empty((9, count, count))
    for k in range(9):
        product = (b[k // 3] - e[k // 3]).T @ e[k % 3]
        by_turn[k] = product + product.T
    prior = np.full(count, _EXPRESSION_WEIGHT**2)
    prior[:n_shape] = _SHAPE_WEIGHT**2
    return BfmSystem(
        matrix,
        arrays.template[ids],
        np.ascontiguousarray(flat),
        np.ascontiguousarray(arrays.pose_basis[ids][..., 9 * (_JAW - 1) : 9 * _JAW]),
        weights,
        joint,
        joint_basis,
        root,
        root_basis,
        flat.T @ flat,
        by_turn,
        prior,
    )


@dataclass(frozen=True)
class _Linear:
    """The problem around a state."""

    cost: float
    residuals: Float[np.ndarray, "3N"]
    normal: Float[np.ndarray, "P P"]
    gradient: Float[np.ndarray, "P"]


def solve(
    system: BfmSystem, targets: Float[np.ndarray, "N 3"], start: BfmState, *, tolerance: float = 1e-4
) -> tuple[BfmState, Float[np.ndarray, "3N"], Status]:
    """Levenberg-Marquardt; stops when the cost falls by less than `tolerance` of itself, as the original does.

    Returns:
        The state, its residuals in metres, and why it stopped.
    """
    state, damping, growth = start, 1e-6, 2.0
    cost, residuals = _cost(system, targets, state)
    linear = _linearize(system, targets, state, cost, residuals)
    for iteration in range(1, _MOST_ITERATIONS + 1):
        step = _step(linear, damping)
        if step is not None:
            trial = _retract(state, step, targets.mean(axis=0))
            cost, residuals = _cost(system, targets, trial)
            if cost <= linear.cost:
                small = linear.cost - cost <= tolerance * linear.cost + _EXACT * residuals.size
                state, damping, growth = trial, damping / 10.0, 2.0
                if small:
                    return state, residuals, Status("cost", iteration)
                linear = _linearize(system, targets, state, cost, residuals)
                continue
        damping, growth = max(damping, 1e-12) * growth, 2.0 * growth
        if damping > _MOST_DAMPING:
            return state, linear.residuals, Status("stuck", iteration)
    return state, linear.residuals, Status("iterations", _MOST_ITERATIONS)


def _bent(system: BfmSystem, state: BfmState) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The vertices before the jaw turns, relative to its joint; the joint; and R_jaw."""
    rotation = exp(state.jaw)
    x = system.template + (system.basis @ state.coefficients).reshape(-1, 3)
    x += system.pose_basis @ (rotation - np.eye(3)).reshape(-1)
    joint = system.joint + system.joint_basis @ state.coefficients
    return x - joint, joint, rotation


def _cost(
    system: BfmSystem, targets: Float[np.ndarray, "N 3"], state: BfmState
) -> tuple[float, Float[np.ndarray, "3N"]]:
    arm, joint, rotation = _bent(system, state)
    turned = arm + system.weights[:, None] * (arm @ (rotation - np.eye(3)).T)
    residuals = (turned + joint - moved(targets, state.placed)).reshape(-1)
    prior = system.prior @ state.coefficients**2 + _POSE_WEIGHT**2 * state.jaw @ state.jaw
    return 0.5 * float(residuals @ residuals + prior), residuals


def _linearize(
    system: BfmSystem, targets: np.ndarray, state: BfmState, cost: float, residuals: Float[np.ndarray, "3N"]
) -> _Linear:
    """Normal matrix and gradient, the free unknowns first."""
    arm, _, rotation = _bent(system, state)
    m, w = rotation - np.eye(3), system.weights
    reached = moved(targets, state.placed)
    lever = reached - reached.mean(axis=0)
    free = np.empty((len(arm), 3, _FREE + 1))
    free[..., :3] = -np.eye(3)
    free[..., 3:6] = skew(lever)
    free[..., 6] = -lever
    left = left_jacobian(state.jaw)
    # A small turn d of the jaw changes M by skew(d) R.
    by_m = (skew(left.T) @ rotation).reshape(3, 9).T
    by_corrective = system.pose_basis @ by_m
    by_corrective += w[:, None, None] * (m @ by_corrective)
    free[..., 7:10] = by_corrective - w[:, None, None] * (skew(arm @ rotation.T) @ left)
    free[..., 10] = residuals.reshape(-1, 3)
    flat = free.reshape(-1, _FREE + 1)
    # B^T (z + w M^T z) - J_basis^T sum w M^T z for every column z.
    pulled = w[:, None, None] * (m.T @ free)
    # A few long rows by a tall matrix: the BLAS is four times as fast this way round.
    rows = np.ascontiguousarray((free + pulled).reshape(-1, _FREE + 1).T)
    crossed = (rows @ system.basis).T - system.joint_basis.T @ pulled.sum(axis=0)
    own = flat[:, :_FREE].T @ flat
    n = _FREE + system.n_coefficients
    normal, gradient = np.empty((n, n)), np.empty(n)
    normal[:_FREE, :_FREE], gradient[:_FREE] = own[:, :_FREE], own[:, _FREE]
    normal[_FREE:, :_FREE], gradient[_FREE:] = crossed[:, :_FREE], crossed[:, _FREE]
    normal[:_FREE, _FREE:] = crossed[:, :_FREE].T
    normal[_FREE:, _FREE:] = system.gram + np.tensordot(m.reshape(9), system.by_turn, axes=1)
    normal[np.arange(_FREE, n), np.arange(_FREE, n)] += system.prior
    normal[7:10, 7:10] += _POSE_WEIGHT**2 * np.eye(3)
    gradient[_FREE:] += system.prior * state.coefficients
    gradient[7:10] += _POSE_WEIGHT**2 * state.jaw
    return _Linear(cost, residuals, normal, gradient)


def _step(linear: _Linear, damping: float) -> Float[np.ndarray, "P"] | None:
    damped = linear.normal.copy()
    damped.flat[:: len(damped) + 1] *= 1.0 + damping
    try:
        step = cho_solve(
            cho_factor(damped.T, overwrite_a=True, check_finite=False), -linear.gradient, check_finite=False
        )
    except LinAlgError:
        return None
    return step if np.isfinite(step).all() else None


def _retract(state: BfmState, step: Float[np.ndarray, "P"], center: Float[np.ndarray, "3"]) -> BfmState:
    """Shift, turn and growth are about the middle of the targets, where they hardly mix."""
    turn, growth = exp(step[3:6]), float(np.exp(np.clip(step[6], -1.0, 1.0)))
    placed = state.placed
    middle = placed.scale * (placed.rotation @ center) + placed.translation
    shift = growth * (turn @ (placed.translation - middle)) + middle + step[:3]
    moved_by = Similarity(growth * placed.scale, turn @ placed.rotation, shift)
    return BfmState(moved_by, state.jaw + step[7:10], state.coefficients + step[_FREE:])
