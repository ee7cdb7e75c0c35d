"""Levenberg-Marquardt for small dense problems on any manifold.

The update of the damping follows Nielsen, "Damping parameter in Marquardt's method" (IMM-REP-1999-05); the scaling by
the diagonal of the normal matrix is Marquardt's (1963), so that the unit of an unknown does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from flamehead.errors import InputError
from flamehead.solve.arrow import ArrowEquations, ArrowMatrix
from flamehead.solve.robust import RobustBlock, robust_cost
from flamehead.solve.status import Reason, Status
from flamehead.solve.threads import single_threaded_blas

__all__ = ["NormalEquations", "Solution", "levenberg_marquardt", "minimize_normal_equations"]

State = TypeVar("State")

_MAX_DAMPING = 1e12
# Below this gain ratio the quadratic model does not describe the cost yet, so a small decrease proves nothing.
_TRUSTED_GAIN = 0.25


@dataclass(frozen=True)
class Solution(Generic[State]):
    """Where a solver ended and how it went."""

    state: State
    status: Status
    """Why the solver stopped; `str(status)` is a sentence."""
    cost: float
    """0.5 * sum of squared residuals, or of their robust losses."""
    cost_history: tuple[float, ...]
    """The cost at the start and after every accepted step; never increases."""


@dataclass(frozen=True)
class NormalEquations:
    """The cost around a state: cost + gradient @ d + 0.5 * d @ hessian @ d."""

    cost: float
    hessian: Float[np.ndarray, "N N"]
    """J^T W J, the Gauss-Newton approximation."""
    gradient: Float[np.ndarray, "N"]
    """J^T W r."""


@dataclass(frozen=True)
class _Model(Generic[State]):
    """Normal equations at a state."""

    state: State
    cost: float
    hessian: Float[np.ndarray, "N N"] | ArrowMatrix
    gradient: Float[np.ndarray, "N"]
    scaling: Float[np.ndarray, "N"]
    """Diagonal of the Hessian, positive."""


@single_threaded_blas()
def levenberg_marquardt(
    residuals_and_jacobian: Callable[[State], tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M N"]]],
    start: State,
    *,
    retract: Callable[[State, Float[np.ndarray, "N"]], State],
    robust: Sequence[RobustBlock] = (),
    damping: float = 1e-3,
    cost_tolerance: float = 1e-8,
    step_tolerance: float = 1e-12,
    gradient_tolerance: float = 1e-12,
    max_iterations: int = 50,
) -> Solution[State]:
    """Minimise 0.5 * sum of squared residuals over a state that moves by `retract`.

    Each iteration solves `(J^T W J + damping * diag(J^T W J)) d = -J^T W r` with the robust weights W and tries
    `retract(state, d)`. A trial whose residuals are not finite counts as a rejected step. The unknowns of one problem
    are few (hundreds): the normal equations are formed and factorised densely, in float64.

    Args:
        residuals_and_jacobian: Residuals of a state, and their derivative by the `d` of `retract` at d = 0.
        start: Any object; the solver only hands it to the two functions.
        retract: Moves a state by a tangent step; `retract(x, 0)` equals `x`.
        robust: Rows whose groups follow a robust loss; all others are plain squares.
        damping: At the start, relative to the diagonal of the normal matrix.
        cost_tolerance: Stop when an accepted step lowers the cost by less than this fraction.
        step_tolerance: Stop when no component of an accepted step is larger, in the unit of the tangent step.
        gradient_tolerance: Stop when the cosine between the residuals and every Jacobian column is smaller.
        max_iterations: Accepted and rejected steps together.

    Returns:
        The best state, why the solver stopped, and the costs on the way.

    Example:
        >>> import numpy as np
        >>> line = lambda x: (np.array([x[0] - 1.0, 2.0 * x[1] - 4.0]), np.diag([1.0, 2.0]))
        >>> levenberg_marquardt(line, np.zeros(2), retract=np.add).state.round(6)
        array([1., 2.])
    """

    def equations(state: State) -> NormalEquations:
        return _normal_equations(*residuals_and_jacobian(state), robust)

    return minimize_normal_equations(
        equations,
        start,
        retract=retract,
        damping=damping,
        cost_tolerance=cost_tolerance,
        step_tolerance=step_tolerance,
        gradient_tolerance=gradient_tolerance,
        max_iterations=max_iterations,
    )


@single_threaded_blas()
def minimize_normal_equations(
    equations: Callable[[State], NormalEquations | ArrowEquations],
    start: State,
    *,
    retract: Callable[[State, Float[np.ndarray, "N"]], State],
    damping: float = 1e-3,
    cost_tolerance: float = 1e-8,
    step_tolerance: float = 1e-12,
    gradient_tolerance: float = 1e-12,
    unseen_decrease: float = 0.0,
    max_iterations: int = 50,
) -> Solution[State]:
    """`levenberg_marquardt` for problems whose Jacobian is never formed, such as one row for every pixel.

    Args:
        equations: Cost and normal equations of a state, as a full matrix or as an arrow; not finite where the state is
            impossible.
        start: See `levenberg_marquardt`, like the rest.
        retract: Moves a state by a tangent step.
        damping: At the start.
        cost_tolerance: Stop when an accepted step lowers the cost by less than this fraction.
        step_tolerance: Stop when no component of an accepted step is larger.
        gradient_tolerance: Stop when the cosine between the residuals and every Jacobian column is smaller.
        unseen_decrease: A step that promises to lower the cost by no more than this is taken without looking at where
            it leads, and is the last: an evaluation is saved. Of negative log likelihoods, 0.5 means nothing.
        max_iterations: Accepted and rejected steps together.
    """

    def model_at(state: State) -> _Model[State] | None:
        return _quadratic_model(state, equations(state))

    first = model_at(start)
    if first is None:
        return Solution(start, Status("not finite", 0), float("nan"), ())
    model: _Model[State] = first
    history, growth = [model.cost], 2.0

    def finish(reason: Reason, iterations: int) -> Solution[State]:
        return Solution(model.state, Status(reason, iterations), model.cost, tuple(history))

    for iteration in range(1, max_iterations + 1):
        if _gradient_vanishes(model, gradient_tolerance):
            return finish("gradient", iteration - 1)
        step = _damped_step(model, damping)
        if step is not None and _predicted(model, step, damping) <= unseen_decrease:
            return Solution(retract(model.state, step), Status("cost", iteration), model.cost, tuple(history))
        trial = None if step is None else model_at(retract(model.state, step))
        if step is not None and trial is not None and trial.cost < model.cost:
            decrease, gain = model.cost - trial.cost, (model.cost - trial.cost) / _predicted(model, step, damping)
            small = decrease <= cost_tolerance * model.cost and gain > _TRUSTED_GAIN
            model, growth = trial, 2.0
            history.append(model.cost)
            damping *= max(1.0 / 3.0, 1.0 - (2.0 * min(gain, 1.0) - 1.0) ** 3)
            if small:
                return finish("cost", iteration)
            if np.abs(step).max(initial=0.0) <= step_tolerance:
                return finish("step", iteration)
            continue
        # At the floor of rounding the cost may rise although the model is right: that is convergence, not a failure.
        if step is not None and growth == 2.0 and _predicted(model, step, damping) <= cost_tolerance * model.cost:
            return finish("cost", iteration)
        damping, growth = max(damping, 1e-16) * growth, 2.0 * growth
        if damping > _MAX_DAMPING:
            return finish("stuck", iteration)
    # Without this, the last accepted step could reach the minimum and still be reported as a failure.
    return finish("gradient" if _gradient_vanishes(model, gradient_tolerance) else "iterations", max_iterations)


def _normal_equations(
    residuals: Float[np.ndarray, "M"], jacobian: Float[np.ndarray, "M N"], robust: Sequence[RobustBlock]
) -> NormalEquations:
    """The Gauss-Newton model of the robust cost."""
    if jacobian.ndim != 2 or jacobian.shape[0] != residuals.size:
        raise InputError(
            f"The Jacobian has shape {jacobian.shape} for {residuals.size} residuals; return one row per residual."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        cost, weights = robust_cost(residuals, robust)
        if weights is not None:
            root = np.sqrt(weights)
            residuals, jacobian = residuals * root, jacobian * root[:, None]
        return NormalEquations(cost, jacobian.T @ jacobian, jacobian.T @ residuals)


def _quadratic_model(state: State, equations: NormalEquations | ArrowEquations) -> _Model[State] | None:
    """The equations with their scaling, or None where they are not finite."""
    # A NaN or infinity anywhere in the Jacobian reaches the diagonal, so looking there is enough.
    scaling = equations.hessian.diagonal().copy()
    finite = np.isfinite(equations.cost) and np.isfinite(scaling).all() and np.isfinite(equations.gradient).all()
    if not finite:
        return None
    # An unknown that nothing depends on may take any scale: its gradient is zero, so it never moves. Sums in single
    # precision may come out below zero.
    scaling[scaling <= 0.0] = 1.0
    return _Model(state, equations.cost, equations.hessian, equations.gradient, scaling)


def _damped_step(model: _Model[State], damping: float) -> Float[np.ndarray, "N"] | None:
    """Solve the damped normal equations; None where they are singular."""
    if isinstance(model.hessian, ArrowMatrix):
        step = model.hessian.solve(damping * model.scaling, -model.gradient)
        return step if step is not None and np.isfinite(step).all() else None
    damped = model.hessian.copy()
    damped.flat[:: len(damped) + 1] += damping * model.scaling
    try:
        # The transpose is the same matrix in the memory order of LAPACK, which saves a copy.
        factor = cho_factor(damped.T, overwrite_a=True, check_finite=False)
        step = cho_solve(factor, -model.gradient, overwrite_b=True, check_finite=False)
    except LinAlgError:
        return None
    return step if np.isfinite(step).all() else None


def _predicted(model: _Model[State], step: Float[np.ndarray, "N"], damping: float) -> float:
    """Decrease of the cost that the quadratic model promises, 0.5 * d @ (damping * D d - g); positive."""
    return max(0.5 * float(step @ (damping * model.scaling * step - model.gradient)), float(np.finfo(float).tiny))


def _gradient_vanishes(model: _Model[State], tolerance: float) -> bool:
    """Whether the residuals are orthogonal to every column of the Jacobian, or zero."""
    cosine = np.abs(model.gradient) / np.sqrt(model.scaling)
    return bool(cosine.max(initial=0.0) <= tolerance * np.sqrt(2.0 * max(model.cost, 0.0)))
