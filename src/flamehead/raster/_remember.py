"""What follows from a tensor alone, worked out once for as long as the tensor lives and is not written to."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

__all__ = ["bounds", "extent", "list_extent", "remembered"]

T = TypeVar("T")

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
