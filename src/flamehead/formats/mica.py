"""MICA's `identity.npy`: 300 identity coefficients of FLAME 2020, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.assets import read_npy
from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.formats._entries import Kind, fit_width, take, to_numpy, to_tensor

__all__ = ["mica_to_params", "params_to_mica", "read_mica", "write_mica"]

_KIND = Kind("MICA's identity", {"identity": ("S",)})


def read_mica(path: StrPath) -> Float[np.ndarray, "S"]:
    """Read `identity.npy`; 300 numbers in MICA's own files.

    Raises:
        AssetNotFound: there is no such file.
        InputError: it is damaged or holds something else.
    """
    return take({"identity": read_npy(path)}, _KIND, str(path))["identity"]


def write_mica(path: StrPath, identity: Float[np.ndarray, "S"]) -> None:
    """Write `identity.npy`, which has no place for the model's fingerprint."""
    if Path(path).suffix.lower() != ".npy":
        raise InputError(f"Cannot write {path}: the suffix is {Path(path).suffix!r}, wanted '.npy'.")
    take({"identity": identity}, _KIND, "the identity to write")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, identity, allow_pickle=False)


def mica_to_params(identity: Float[np.ndarray, "S"], *, n_expression: int = 0) -> FlameParams:
    """The neutral head of an identity, in its float type.

    Args:
        identity: the coefficients.
        n_expression: how many expression coefficients, all zero, the parameters get.
    """
    shape = to_tensor(identity)
    rest = FlameParams.zeros(0, n_expression, dtype=shape.dtype)
    return FlameParams(shape, *(getattr(rest, name) for name in list(FlameParams.__dataclass_fields__)[1:]))


def params_to_mica(params: FlameParams, *, n_shape: int = 300) -> Float[np.ndarray, "S"]:
    """The identity alone, float32, filled with zeros to `n_shape`; everything else is left behind.

    Raises:
        InputError: the parameters have a batch of several heads, or more coefficients.
    """
    heads = params.shape.reshape(-1, params.shape.shape[-1])
    if len(heads) != 1:
        raise InputError(f"MICA's identity is one head, but the parameters hold {len(heads)}; convert them one by one.")
    return to_numpy(fit_width(torch.atleast_1d(heads[0]), n_shape, "shape", _KIND.name))
