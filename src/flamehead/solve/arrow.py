"""Normal equations of unknowns that many observations share, and of each observation's own.

With c the shared unknowns and x_k those of observation k, the matrix is an arrow:

    | C   S_1  S_2 ... |
    | S_1' B_1         |        C = corner, S_k = sides, B_k = blocks
    | S_2'      B_2    |

Eliminating every x_k leaves `(C - sum_k S_k B_k^-1 S_k') c = ...` (the Schur complement), so that the cost of a step
grows with the number of observations, not with its cube.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular

__all__ = ["ArrowEquations", "ArrowMatrix", "arrow_slices"]


@dataclass(frozen=True)
class ArrowMatrix:
    """A symmetric matrix; the shared unknowns come first, then those of each block in turn."""

    corner: Float[np.ndarray, "S S"]
    sides: tuple[Float[np.ndarray, "S _"], ...]
    blocks: tuple[Float[np.ndarray, "_ _"], ...]

    def diagonal(self) -> Float[np.ndarray, "N"]:
        """Of the whole matrix."""
        return np.concatenate([self.corner.diagonal(), *(block.diagonal() for block in self.blocks)])

    def solve(self, added: Float[np.ndarray, "N"], right: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"] | None:
        """Solve `(self + diag(added)) x = right`; None where that is not positive definite."""
        shared, *owns = arrow_slices(len(self.corner), [len(block) for block in self.blocks])
        schur, reduced = self.corner + np.diag(added[shared]), right[shared].copy()
        factors: list[np.ndarray] = []
        try:
            for side, block, own in zip(self.sides, self.blocks, owns, strict=True):
                lower = np.tril(cho_factor(block + np.diag(added[own]), lower=True, check_finite=False)[0])
                half = solve_triangular(lower, side.T, lower=True, check_finite=False)
                schur -= half.T @ half
                reduced -= half.T @ solve_triangular(lower, right[own], lower=True, check_finite=False)
                factors.append(lower)
            middle = cho_solve(cho_factor(schur, check_finite=False), reduced, check_finite=False)
        except LinAlgError:
            return None
        ends = (
            cho_solve((lower, True), right[own] - side.T @ middle, check_finite=False)
            for lower, side, own in zip(factors, self.sides, owns, strict=True)
        )
        return np.concatenate([middle, *ends])


@dataclass(frozen=True)
class ArrowEquations:
    """The cost around a state, `cost + gradient @ d + 0.5 * d @ hessian @ d`, like `NormalEquations`."""

    cost: float
    hessian: ArrowMatrix
    """J^T W J."""
    gradient: Float[np.ndarray, "N"]
    """J^T W r."""


def arrow_slices(n_shared: int, sizes: Sequence[int]) -> list[slice]:
    """Where the shared unknowns stand in a step, then where each block's own do."""
    ends = n_shared + np.cumsum([0, *sizes])
    return [slice(0, n_shared), *(slice(int(a), int(b)) for a, b in pairwise(ends))]
