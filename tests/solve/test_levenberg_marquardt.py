from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flamehead.errors import InputError
from flamehead.solve import (
    LOSSES,
    NormalEquations,
    RobustBlock,
    cauchy,
    geman_mcclure,
    huber,
    levenberg_marquardt,
    minimize_normal_equations,
)


def rosenbrock(x):
    return np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]]), np.array([[-20 * x[0], 10.0], [-1.0, 0.0]])


def quadratic(rng, rows, columns):
    jacobian, offset = rng.normal(size=(rows, columns)), rng.normal(size=rows)
    return (lambda x: (jacobian @ x - offset, jacobian)), np.linalg.lstsq(jacobian, offset, rcond=None)[0]


@pytest.mark.parametrize("start", [(-1.2, 1.0), (3.0, -2.0), (0.0, 0.0), (-8.0, 40.0)])
def test_rosenbrock_reaches_its_minimum(start):
    solution = levenberg_marquardt(rosenbrock, np.array(start), retract=np.add, max_iterations=100)
    np.testing.assert_allclose(solution.state, [1.0, 1.0], atol=1e-6)
    assert solution.status.converged
    assert solution.cost < 1e-12


@pytest.mark.parametrize("size", [(5, 5), (30, 8), (200, 40)])
def test_a_quadratic_is_exact_after_one_step(size):
    fun, truth = quadratic(np.random.default_rng(0), *size)
    one = levenberg_marquardt(fun, np.zeros(size[1]), retract=np.add, damping=1e-14, max_iterations=1)
    np.testing.assert_allclose(one.state, truth, atol=1e-9)
    assert one.status.iterations == 1


def test_the_unit_of_an_unknown_does_not_matter():
    scale = np.array([1e-4, 1e5])

    def scaled(y):
        residuals, jacobian = rosenbrock(y * scale)
        return residuals, jacobian * scale

    a = levenberg_marquardt(rosenbrock, np.array([-1.2, 1.0]), retract=np.add)
    b = levenberg_marquardt(scaled, np.array([-1.2, 1.0]) / scale, retract=np.add, step_tolerance=0.0)
    np.testing.assert_allclose(a.cost_history[:8], b.cost_history[:8], rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("loss", [huber, cauchy, geman_mcclure])
def test_robust_curve_fit_beats_plain_with_outliers(loss, seed):
    rng = np.random.default_rng(seed)
    t = np.linspace(0.0, 3.0, 60)
    truth = np.array([2.0, 0.7])
    seen = truth[0] * np.exp(-truth[1] * t) + 0.01 * rng.normal(size=t.size)
    seen[rng.choice(t.size, 9, replace=False)] += rng.uniform(1.0, 3.0, 9)

    def fun(x):
        e = np.exp(-x[1] * t)
        return x[0] * e - seen, np.stack([e, -x[0] * t * e], axis=1)

    block = RobustBlock(slice(0, t.size), 1, loss, 0.2)
    plain = levenberg_marquardt(fun, np.array([1.0, 0.1]), retract=np.add)
    robust = levenberg_marquardt(fun, np.array([1.0, 0.1]), retract=np.add, robust=[block])
    assert robust.status.converged
    assert np.abs(robust.state - truth).max() < 0.4 * np.abs(plain.state - truth).max()


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_robust_solution_is_a_stationary_point_of_the_robust_cost(name):
    rng = np.random.default_rng(3)
    jacobian, offset = rng.normal(size=(40, 3)), 2.0 * rng.normal(size=40)
    offset[::5] += 6.0
    block = RobustBlock(slice(0, 40), 2, LOSSES[name], 1.5)

    def cost(x):
        s = ((jacobian @ x - offset) ** 2).reshape(-1, 2).sum(axis=1)
        return 0.5 * LOSSES[name](s, 1.5)[0].sum()

    solution = levenberg_marquardt(
        lambda x: (jacobian @ x - offset, jacobian), np.zeros(3), retract=np.add, robust=[block], cost_tolerance=1e-14
    )
    h = 1e-5
    slope = [(cost(solution.state + h * e) - cost(solution.state - h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(slope, 0.0, atol=1e-4)
    assert solution.cost == pytest.approx(cost(solution.state))


def test_rotations_are_averaged_through_the_retraction():
    rng = np.random.default_rng(1)
    truth = Rotation.from_rotvec([0.4, -1.1, 2.0])
    seen = [Rotation.from_rotvec(0.2 * rng.normal(size=3)) * truth for _ in range(20)]

    def fun(rotation):
        residuals = np.concatenate([(rotation.inv() * s).as_rotvec() for s in seen])
        # The tangent step turns from the left; its action on the logarithm is checked numerically, solvers do not care.
        columns = []
        for e in 1e-6 * np.eye(3):
            moved = Rotation.from_rotvec(e) * rotation
            columns.append((np.concatenate([(moved.inv() * s).as_rotvec() for s in seen]) - residuals) / 1e-6)
        return residuals, np.stack(columns, axis=1)

    solution = levenberg_marquardt(
        fun, Rotation.identity(), retract=lambda r, d: Rotation.from_rotvec(d) * r, gradient_tolerance=1e-6
    )
    assert solution.status.converged
    mean = Rotation.concatenate(seen).mean()
    assert (solution.state * mean.inv()).magnitude() < 0.02


def test_the_cost_never_rises():
    history = levenberg_marquardt(rosenbrock, np.array([-5.0, 9.0]), retract=np.add).cost_history
    assert len(history) > 3
    assert all(b < a for a, b in pairwise(history))


def nan_beyond(limit):
    def fun(x):
        return np.array([np.sqrt(limit - x[0]) if x[0] < limit else np.nan, x[0] - 9.0]), np.array(
            [[-0.5 / np.sqrt(limit - x[0]) if x[0] < limit else np.nan], [1.0]]
        )

    return fun


def test_a_step_into_nan_is_rejected():
    solution = levenberg_marquardt(nan_beyond(2.0), np.array([0.0]), retract=np.add)
    assert solution.status.converged
    assert 0.0 < solution.state[0] < 2.0
    assert np.isfinite(solution.cost)


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: (np.array([np.nan]), np.ones((1, 1))),
        lambda x: (np.array([1.0]), np.array([[np.inf]])),
        lambda x: (np.array([1.0, 1.0]), np.array([[1.0], [np.nan]])),
        lambda x: (np.array([np.inf]), np.ones((1, 1))),
    ],
)
@pytest.mark.parametrize("robust", [(), (RobustBlock(slice(0, 1), 1, huber, 1.0),)])
def test_status_not_finite(fun, robust):
    solution = levenberg_marquardt(fun, np.zeros(1), retract=np.add, robust=robust)
    assert solution.status.reason == "not finite"
    assert not solution.status.converged
    assert solution.status.iterations == 0
    np.testing.assert_array_equal(solution.state, 0.0)
    assert "not finite" in str(solution.status)


def test_status_cost():
    fun, _ = quadratic(np.random.default_rng(2), 20, 3)
    solution = levenberg_marquardt(fun, np.ones(3), retract=np.add, gradient_tolerance=0.0)
    assert solution.status.reason == "cost"


def test_status_gradient():
    fun, truth = quadratic(np.random.default_rng(2), 20, 3)
    solution = levenberg_marquardt(fun, truth, retract=np.add)
    assert solution.status == type(solution.status)("gradient", 0)
    zero = levenberg_marquardt(lambda x: (x - x, np.eye(2)), np.ones(2), retract=np.add)
    assert zero.status.reason == "gradient"
    constant = levenberg_marquardt(lambda x: (np.ones(2), np.zeros((2, 2))), np.ones(2), retract=np.add)
    assert constant.status.reason == "gradient"


def test_status_step():
    fun, _ = quadratic(np.random.default_rng(2), 20, 3)
    solution = levenberg_marquardt(fun, np.zeros(3), retract=np.add, step_tolerance=10.0, cost_tolerance=0.0)
    assert solution.status == type(solution.status)("step", 1)


def test_status_iterations():
    solution = levenberg_marquardt(rosenbrock, np.array([-1.2, 1.0]), retract=np.add, max_iterations=3)
    assert solution.status == type(solution.status)("iterations", 3)
    assert not solution.status.converged
    none = levenberg_marquardt(rosenbrock, np.array([-1.2, 1.0]), retract=np.add, max_iterations=0)
    assert none.status.reason == "iterations"
    assert none.cost_history == (none.cost,)


def test_status_stuck_when_the_jacobian_lies():
    solution = levenberg_marquardt(lambda x: (x - 3.0, -np.eye(2)), np.zeros(2), retract=np.add)
    assert solution.status.reason == "stuck"
    np.testing.assert_array_equal(solution.state, 0.0)


@pytest.mark.parametrize("damping", [1e-3, 0.0])
def test_singular_jacobians_find_a_minimum(damping):
    rng = np.random.default_rng(4)
    half = rng.normal(size=(10, 2))
    jacobian, offset = np.hstack([half, half, np.zeros((10, 1))]), rng.normal(size=10)
    solution = levenberg_marquardt(
        lambda x: (jacobian @ x - offset, jacobian), np.zeros(5), retract=np.add, damping=damping
    )
    best = np.linalg.lstsq(jacobian, offset, rcond=None)[0]
    assert solution.cost == pytest.approx(0.5 * np.sum((jacobian @ best - offset) ** 2), rel=1e-9)
    assert solution.status.converged
    assert solution.state[4] == 0.0


def test_a_jacobian_of_the_wrong_shape_is_named():
    with pytest.raises(InputError, match=r"shape \(2, 3\) for 4 residuals"):
        levenberg_marquardt(lambda x: (np.ones(4), np.ones((2, 3))), np.zeros(3), retract=np.add)


@pytest.mark.parametrize("seed", range(4))
def test_a_last_step_that_means_nothing_is_taken_unseen(seed):
    rng = np.random.default_rng(seed)
    jacobian, offset = rng.normal(size=(30, 6)), rng.normal(size=30)
    truth, seen = np.linalg.lstsq(jacobian, offset, rcond=None)[0], []

    def equations(x):
        seen.append(x)
        r = jacobian @ x - offset
        return NormalEquations(0.5 * float(r @ r), jacobian.T @ jacobian, jacobian.T @ r)

    start = truth + 0.01 * rng.normal(size=6)
    gain = equations(start).cost - equations(truth).cost
    for enough, evaluations in ((2 * gain, 1), (0.5 * gain, 2)):
        seen.clear()
        found = minimize_normal_equations(
            equations, start, retract=np.add, damping=1e-12, unseen_decrease=enough, max_iterations=1
        )
        np.testing.assert_allclose(found.state, truth, rtol=0, atol=1e-8)
        assert len(seen) == evaluations and (enough < gain or found.status.converged)


def test_no_step_is_taken_unseen_unless_wanted():
    """At the minimum the promised decrease is nothing, and still the default looks where it goes."""
    seen = []

    def equations(x):
        seen.append(x)
        return NormalEquations(1.0 + 0.5 * float(x @ x), np.eye(2), x)

    found = minimize_normal_equations(equations, np.array([1.0, 2.0]), retract=np.add, damping=1e-12)
    assert found.status.converged and any(x is found.state for x in seen)
