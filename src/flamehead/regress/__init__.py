"""A photo straight to FLAME parameters by the networks of other projects, whose weights the user provides."""

from flamehead.regress.checkpoint import Weights, read_weights

__all__ = ["Weights", "read_weights"]
