"""Arrow-shaped normal equations are solved as if the matrix were written out."""

import numpy as np
import pytest

from flamehead.solve import ArrowEquations, ArrowMatrix, NormalEquations, arrow_slices, minimize_normal_equations


def random_arrow(rng, n_shared, sizes):
    """J^T J of rows that see the shared unknowns and one block each, as parts and as one matrix."""
    slices = arrow_slices(n_shared, sizes)
    whole = np.zeros((slices[-1].stop,) * 2)
    for own in slices[1:]:
        rows = rng.normal(size=(3 * (own.stop - own.start) + n_shared, len(whole)))
        rows[:, [i for i in range(len(whole)) if i >= n_shared and not own.start <= i < own.stop]] = 0.0
        whole += rows.T @ rows
    shared, *owns = slices
    parts = ArrowMatrix(
        whole[shared, shared], tuple(whole[shared, own] for own in owns), tuple(whole[own, own] for own in owns)
    )
    return parts, whole


@pytest.mark.parametrize("sizes", [(4,), (3, 5), (2, 7, 1, 4)])
@pytest.mark.parametrize("n_shared", [1, 6])
def test_a_solve_is_that_of_the_full_matrix(n_shared, sizes):
    rng = np.random.default_rng(len(sizes) + n_shared)
    arrow, whole = random_arrow(rng, n_shared, sizes)
    added, right = rng.uniform(0, 1, len(whole)), rng.normal(size=len(whole))
    np.testing.assert_array_equal(arrow.diagonal(), whole.diagonal())
    found = arrow.solve(added, right)
    assert found is not None
    np.testing.assert_allclose(found, np.linalg.solve(whole + np.diag(added), right), rtol=1e-9, atol=1e-12)


def test_a_matrix_that_is_not_positive_has_no_solution():
    eye = np.eye(2)
    assert ArrowMatrix(eye, (2 * eye,), (eye,)).solve(np.zeros(4), np.ones(4)) is None
    assert ArrowMatrix(eye, (eye,), (-eye,)).solve(np.zeros(4), np.ones(4)) is None


def test_both_forms_take_the_same_way():
    rng = np.random.default_rng(3)
    arrow, whole = random_arrow(rng, 3, (2, 4))
    target = rng.normal(size=len(whole))

    def bent(x):
        off = x + 0.1 * np.sin(x) - target
        slope = whole @ off
        return 0.5 * float(off @ slope), slope

    def solve(kind, matrix):
        return minimize_normal_equations(
            lambda x: kind(bent(x)[0], matrix, bent(x)[1]), np.zeros(len(whole)), retract=np.add, max_iterations=8
        )

    full, parts = solve(NormalEquations, whole), solve(ArrowEquations, arrow)
    np.testing.assert_allclose(parts.cost_history, full.cost_history, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(parts.state, full.state, rtol=1e-8)
