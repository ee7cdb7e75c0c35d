"""Second-order solvers; they know no heads and no rotations."""

from flamehead.solve.arrow import ArrowEquations, ArrowMatrix, arrow_slices
from flamehead.solve.levenberg_marquardt import (
    NormalEquations,
    Solution,
    levenberg_marquardt,
    minimize_normal_equations,
)
from flamehead.solve.robust import LOSSES, LossName, RobustBlock, cauchy, geman_mcclure, huber, robust_cost, squared
from flamehead.solve.status import Reason, Status
from flamehead.solve.threads import single_threaded_blas

__all__ = [
    "LOSSES",
    "ArrowEquations",
    "ArrowMatrix",
    "LossName",
    "NormalEquations",
    "Reason",
    "RobustBlock",
    "Solution",
    "Status",
    "arrow_slices",
    "cauchy",
    "geman_mcclure",
    "huber",
    "levenberg_marquardt",
    "minimize_normal_equations",
    "robust_cost",
    "single_threaded_blas",
    "squared",
]
