"""Memory for pictures that is used again when the tensor in it is gone.

Fresh memory costs more than the arithmetic: the system hands it out page by page, each on first touch, and the C
library gives a picture's memory back to the system as soon as it is freed, so every picture would pay again.
"""

from __future__ import annotations

import math
import sys
import threading
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

__all__ = ["empty", "empty_like"]

_LEAST = 1 << 16
"""Bytes below which the C library serves as well."""

_MOST = 1 << 28
"""Bytes that are kept at most while nobody uses them."""

_PAGE = 1 << 12

_spare: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
"""By size, with the thread that gave it back: part of it may still lie in the cache of that thread's core."""

_lock = threading.RLock()
_kept = 0


def empty(*shape: int, dtype: torch.dtype) -> Tensor:
    """`torch.empty` on the CPU."""
    size = math.prod(shape) * dtype.itemsize
    if size < _LEAST:
        return torch.empty(*shape, dtype=dtype)
    raw = _take(-(-size // _PAGE) * _PAGE)
    # The tensor holds the loan; once both are gone, the memory is free again.
    loan = raw[:size].view(_Loan)
    loan.raw = raw
    return torch.from_numpy(loan).view(dtype).view(*shape)


def empty_like(tensor: Tensor) -> Tensor:
    """`torch.empty_like`, contiguous, on the CPU."""
    return empty(*tensor.shape, dtype=tensor.dtype)


class _Loan(np.ndarray):
    """Memory that goes back when this is gone; cheaper than a finalizer of `weakref`."""

    raw: np.ndarray

    def __del__(self) -> None:
        # Views that numpy makes on the way have nothing to give back, and nor has a program that ends.
        if (raw := self.__dict__.pop("raw", None)) is not None and not sys.is_finalizing():
            _give_back(raw)


def _take(size: int) -> np.ndarray:
    global _kept
    with _lock:
        if spare := _spare[size]:
            _kept -= size
            me = threading.get_ident()
            mine = [n for n, (owner, _) in enumerate(spare) if owner == me]
            return spare.pop(mine[-1] if mine else -1)[1]
    return np.empty(size, dtype=np.uint8)


def _give_back(raw: np.ndarray) -> None:
    global _kept
    with _lock:
        if _kept + raw.nbytes > _MOST:
            # Sizes have changed, or a large batch is over: begin anew.
            _spare.clear()
            _kept = 0
        if raw.nbytes <= _MOST:
            _spare[raw.nbytes].append((threading.get_ident(), raw))
            _kept += raw.nbytes
