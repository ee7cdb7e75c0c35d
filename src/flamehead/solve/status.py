"""Why a solver stopped, as a value with a sentence."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Reason", "Status"]

Reason = Literal["cost", "step", "gradient", "iterations", "stuck", "not finite"]

_SENTENCES: dict[Reason, str] = {
    "cost": "Converged: the cost fell by less than the tolerance",
    "step": "Converged: the step became smaller than the tolerance",
    "gradient": "Converged: the gradient vanished",
    "iterations": "Stopped at the iteration limit before convergence",
    "stuck": "Stopped: no step lowers the cost any more",
    "not finite": "Failed: the residuals are not finite",
}


@dataclass(frozen=True)
class Status:
    """How a solver run ended; `str(status)` is a sentence."""

    reason: Reason
    iterations: int
    """Accepted and rejected steps together."""

    @property
    def converged(self) -> bool:
        """Whether a tolerance was met."""
        return self.reason in ("cost", "step", "gradient", "stuck")

    def __str__(self) -> str:
        return f"{_SENTENCES[self.reason]} after {self.iterations} iterations."
