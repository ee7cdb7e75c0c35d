"""The least-squares system behind `flamehead.fit.bfm`, with its normal matrix mostly computed in advance.

In the frame of the unturned head, with x = template + B c + P vec(M), M = R_jaw - I and w the jaw's skin weight,

    residual = x + w M (x - J_jaw(c)) - y,    y = s Q V0 + translation

By the coefficients c its Jacobian is B + M E with E = w (B - J_basis). As M^T M = -(M + M^T) for a rotation, the normal
matrix of the coefficients is linear in M: G + sum_ab M_ab N_ab, N_ab = B_a^T E_b + E_b^T B_a - E_a^T E_b - E_b^T E_a.
What the turn and the target mix with the coefficients, `B^T` times each of their columns, is multiplied out once for a
model and once for a mesh; only the vertices that the jaw moves are left for an iteration. So that costs one pass over B
for the residuals, and a Cholesky factorisation.
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
    moving: Int[np.ndarray, "M"]
    """Vertices that the jaw moves."""
    moving_basis: Float[np.ndarray, "3M C"]
    by_template: Float[np.ndarray, "C"]
    """B^T template."""
    by_shift: Float[np.ndarray, "C 3"]
    """B^T times the same vector at every vertex."""
    by_pose: Float[np.ndarray, "C 9"]
    """B^T P."""

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
    pose_basis = np.ascontiguousarray(arrays.pose_basis[ids][..., 9 * (_JAW - 1) : 9 * _JAW])
    template = arrays.template[ids]
    return BfmSystem(
        matrix,
        template,
        np.ascontiguousarray(flat),
        pose_basis,
        weights,
        joint,
        joint_basis,
        root,
        root_basis,
        flat.T @ flat,
        by_turn,
        prior,
        moves,
        np.ascontiguousarray(basis[moves].reshape(-1, count)),
        flat.T @ template.reshape(-1),
        basis.sum(axis=0).T,
        flat.T @ pose_basis.reshape(-1, 9),
    )


@dataclass(frozen=True)
class _Target:
    """The points that a head is fitted to."""

    points: Float[np.ndarray, "N 3"]
    center: Float[np.ndarray, "3"]
    by_points: Float[np.ndarray, "C 3 3"]
    """B_a^T (points - center)_b, of the axes a and b."""


def _target(system: BfmSystem, points: Float[np.ndarray, "N 3"]) -> _Target:
    center = points.mean(axis=0)
    # Nine rows, each with one coordinate on one axis: the basis is passed over once.
    rows = np.einsum("nb,ac->abnc", points - center, np.eye(3)).reshape(9, -1)
    return _Target(points, center, (rows @ system.basis).T.reshape(-1, 3, 3))


@dataclass(frozen=True)
class _Point:
    """A state and its cost."""

    state: BfmState
    cost: float
    residuals: Float[np.ndarray, "3N"]
    arm: Float[np.ndarray, "N 3"]
    """The vertices before the jaw turns, relative to its joint."""
    rotation: Float[np.ndarray, "3 3"]
    """R_jaw."""


@dataclass(frozen=True)
class _Linear:
    """Normal equations around a state."""

    normal: Float[np.ndarray, "P P"]
    gradient: Float[np.ndarray, "P"]


def solve(
    system: BfmSystem, targets: Float[np.ndarray, "N 3"], start: BfmState, *, tolerance: float = 1e-4
) -> tuple[BfmState, Float[np.ndarray, "3N"], Status]:
    """Levenberg-Marquardt; stops when the cost falls by less than `tolerance` of itself, as the original does.

    Returns:
        The state, its residuals in metres, and why it stopped.
    """
    target, damping, growth = _target(system, targets), 1e-6, 2.0
    at = _evaluate(system, target, start)
    linear = _linearize(system, target, at)
    for iteration in range(1, _MOST_ITERATIONS + 1):
        step = _step(linear, damping)
        if step is not None:
            trial = _evaluate(system, target, _retract(at.state, step, target.center))
            if trial.cost <= at.cost:
                small = at.cost - trial.cost <= tolerance * at.cost + _EXACT * trial.residuals.size
                at, damping, growth = trial, damping / 10.0, 2.0
                if small:
                    return at.state, at.residuals, Status("cost", iteration)
                linear = _linearize(system, target, at)
                continue
        damping, growth = max(damping, 1e-12) * growth, 2.0 * growth
        if damping > _MOST_DAMPING:
            return at.state, at.residuals, Status("stuck", iteration)
    return at.state, at.residuals, Status("iterations", _MOST_ITERATIONS)


def _evaluate(system: BfmSystem, target: _Target, state: BfmState) -> _Point:
    rotation = exp(state.jaw)
    x = system.template + (system.basis @ state.coefficients).reshape(-1, 3)
    x += system.pose_basis @ (rotation - np.eye(3)).reshape(-1)
    joint = system.joint + system.joint_basis @ state.coefficients
    arm = x - joint
    turned = x + system.weights[:, None] * (arm @ (rotation - np.eye(3)).T)
    residuals = (turned - moved(target.points, state.placed)).reshape(-1)
    prior = system.prior @ state.coefficients**2 + _POSE_WEIGHT**2 * state.jaw @ state.jaw
    return _Point(state, 0.5 * float(residuals @ residuals + prior), residuals, arm, rotation)


def _linearize(system: BfmSystem, target: _Target, at: _Point) -> _Linear:
    """Normal matrix and gradient, the free unknowns first."""
    state, m, w = at.state, at.rotation - np.eye(3), system.weights
    lever = state.placed.scale * (target.points - target.center) @ state.placed.rotation.T
    left = left_jacobian(state.jaw)
    # A small turn d of the jaw changes M by skew(d) R.
    by_m = (skew(left.T) @ at.rotation).reshape(3, 9).T
    corrective = system.pose_basis @ by_m
    # What the jaw's weight brings into the columns of the jaw and of the residuals; elsewhere it is zero.
    moves = system.moving
    swung = np.zeros((len(moves), 3, _FREE + 1))
    swung[..., 7:10] = m @ corrective[moves] - skew(at.arm[moves] @ at.rotation.T) @ left
    swung[..., 10] = at.arm[moves] @ m.T
    swung *= w[moves, None, None]
    free = np.empty((len(lever), 3, _FREE + 1))
    free[..., :3] = -np.eye(3)
    free[..., 3:6] = skew(lever)
    free[..., 6] = -lever
    free[..., 7:10] = corrective
    free[moves, :, 7:10] += swung[..., 7:10]
    free[..., 10] = at.residuals.reshape(-1, 3)
    flat = free.reshape(-1, _FREE + 1)
    # B^T (z + w M^T z) - J_basis^T sum w M^T z for every column z.
    pulled = w[moves, None, None] * (m.T @ free[moves])
    # A few long rows by a tall matrix: the BLAS is four times as fast this way round.
    rows = np.ascontiguousarray((swung + pulled).reshape(-1, _FREE + 1).T)
    crossed = _crossed_still(system, target, at, by_m)
    crossed += (rows @ system.moving_basis).T - system.joint_basis.T @ pulled.sum(axis=0)
    return _assembled(system, state, m, flat[:, :_FREE].T @ flat, crossed)


def _crossed_still(
    system: BfmSystem, target: _Target, at: _Point, by_m: Float[np.ndarray, "9 3"]
) -> Float[np.ndarray, "C 11"]:
    """B^T times the columns of the free unknowns and the residuals, as if the jaw moved no vertex."""
    state, placed = at.state, at.state.placed
    levers = placed.scale * target.by_points @ placed.rotation.T
    crossed = np.empty((system.n_coefficients, _FREE + 1))
    crossed[:, :3] = -system.by_shift
    for axis, (b, c) in enumerate(((1, 2), (2, 0), (0, 1))):
        crossed[:, 3 + axis] = levers[:, b, c] - levers[:, c, b]
    crossed[:, 6] = -np.trace(levers, axis1=1, axis2=2)
    crossed[:, 7:10] = system.by_pose @ by_m
    middle = placed.scale * (placed.rotation @ target.center) + placed.translation
    crossed[:, 10] = (
        system.by_template + system.gram @ state.coefficients + system.by_pose @ (at.rotation - np.eye(3)).reshape(9)
        + crossed[:, 6] - system.by_shift @ middle
    )  # fmt: skip
    return crossed


def _assembled(
    system: BfmSystem,
    state: BfmState,
    m: Float[np.ndarray, "3 3"],
    own: Float[np.ndarray, "10 11"],
    crossed: Float[np.ndarray, "C 11"],
) -> _Linear:
    """The equations from their parts, with the beliefs."""
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
    return _Linear(normal, gradient)


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
