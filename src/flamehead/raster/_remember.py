"""What follows from a tensor alone, worked out once for as long as the tensor lives and is not written to."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

__all__ = ["bounds", "extent", "list_extent", "names_only", "promise", "promised", "remembered"]

T = TypeVar("T")

_UNSIGNED = {torch.int64: np.uint64, torch.int32: np.uint32}

_KNOWN: dict[tuple[int, str], tuple[weakref.ref[Tensor], int, Any]] = {}
"""By identity of the tensor, with the version of its contents; entries leave with their tensor."""


def remembered(
    tensor: Tensor, what: str, find: Callable[[Tensor], T], *, still: Callable[[T], bool] | None = None
) -> T:
    """`find(tensor)`; inference tensors do not count their changes, so nothing is remembered of them.

    Args:
        tensor: Whose contents count.
        what: Name of the result.
        find: Works it out.
        still: Whether a known result still holds; writes through numpy do not count as changes of a tensor.
    """
    if tensor.is_inference():
        return find(tensor)
    key, version = (id(tensor), what), tensor._version
    known = _KNOWN.get(key)
    if known is not None and known[0]() is tensor and known[1] == version and (still is None or still(known[2])):
        return known[2]
    found = find(tensor)
    _KNOWN[key] = (weakref.ref(tensor, lambda _: _KNOWN.pop(key, None)), version, found)
    return found


def extent(rows: Tensor) -> tuple[int, int]:
    """`bounds`, remembered: for pictures, which take too long to look at every time."""
    return remembered(rows, "extent", bounds)


def promise(ids: Tensor, count: int) -> None:
    """Remember that these ids are below `count` and at least -1, as whoever has just written them knows."""
    if not ids.is_inference():
        remembered(ids, "promise", lambda _: count)


def promised(ids: Tensor, count: int) -> bool:
    """Whether a promise says that the ids are below `count`; without one nothing is known."""
    return (remembered(ids, "promise", lambda _: None) or count + 1) <= count


def names_only(rows: Tensor, count: int) -> bool:
    """Whether all numbers of a list are from 0 on and below `count`; it is looked at every time, as `list_extent`."""
    if rows.device.type != "cpu" or rows.dtype not in _UNSIGNED:
        low, high = list_extent(rows)
        return low >= 0 and high < count
    # As numbers without a sign, negative ones are the greatest: one pass, and half the time.
    return not rows.numel() or int(rows.detach().numpy().view(_UNSIGNED[rows.dtype]).max()) < count


def list_extent(rows: Tensor) -> tuple[int, int]:
    """`bounds` of a list such as a mesh's faces.

    On the CPU it is looked at every time, which takes microseconds: numpy may have written to it, which does not count
    as a change of the tensor.
    """
    return bounds(rows) if rows.device.type == "cpu" else extent(rows)


def bounds(rows: Tensor) -> tuple[int, int]:
    """The least and the greatest number; (0, -1) where there is none."""
    low, high = rows.aminmax() if rows.numel() else (0, -1)
    return int(low), int(high)
