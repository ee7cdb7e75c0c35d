"""What follows from a tensor alone, worked out once for as long as the tensor lives and is not written to."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

__all__ = ["extent", "is_rest", "promise", "promise_rest", "promised", "remembered"]

T = TypeVar("T")

_KNOWN: dict[tuple[int, str], tuple[weakref.ref[Tensor], int, Any]] = {}
"""By identity of the tensor, with the version of its contents; entries leave with their tensor."""


def remembered(tensor: Tensor, what: str, find: Callable[[Tensor], T]) -> T:
    """`find(tensor)` under a name; inference tensors do not count their changes: nothing is remembered of them."""
    if tensor.is_inference():
        return find(tensor)
    key, version = (id(tensor), what), tensor._version
    known = _KNOWN.get(key)
    if known is not None and known[0]() is tensor and known[1] == version:
        return known[2]
    found = find(tensor)
    _KNOWN[key] = (weakref.ref(tensor, lambda _: _KNOWN.pop(key, None)), version, found)
    return found


def extent(rows: Tensor) -> tuple[int, int]:
    """The least and the greatest number, (0, -1) where there is none."""
    return remembered(rows, "extent", _bounds)


def promise(ids: Tensor, count: int) -> None:
    """Remember that these ids are below `count` and at least -1, as whoever has just written them knows."""
    if not ids.is_inference():
        remembered(ids, "promise", lambda _: count)


def promised(ids: Tensor, count: int) -> bool:
    """Whether a promise says that the ids are below `count`; without one nothing is known."""
    return (remembered(ids, "promise", lambda _: None) or count + 1) <= count


def promise_rest(barycentric: Tensor) -> None:
    """Remember that the third barycentrics are what the others leave of 1, or 0 where that is less."""
    if not barycentric.is_inference():
        remembered(barycentric, "rest", lambda _: True)


def is_rest(barycentric: Tensor) -> bool:
    """Whether that is known."""
    return remembered(barycentric, "rest", lambda _: False)


def _bounds(rows: Tensor) -> tuple[int, int]:
    low, high = rows.aminmax() if rows.numel() else (0, -1)
    return int(low), int(high)
