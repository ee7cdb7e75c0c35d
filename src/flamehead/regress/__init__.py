"""A photo straight to FLAME parameters by the networks of other projects, whose weights the user provides."""

from flamehead.regress._scrfd import Scrfd
from flamehead.regress.checkpoint import Weights, read_weights
from flamehead.regress.mica import KPT7, Identity, Mica, identify, load_mica, median_identity
from flamehead.regress.mica_files import portrait, save_identity

__all__ = [
    "KPT7",
    "Identity",
    "Mica",
    "Scrfd",
    "Weights",
    "identify",
    "load_mica",
    "median_identity",
    "portrait",
    "read_weights",
    "save_identity",
]
