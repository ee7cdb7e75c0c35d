"""Second-order solvers; they know no heads and no rotations."""

from flamehead.solve.status import Status

__all__ = ["Status"]
