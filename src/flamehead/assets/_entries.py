"""The entries of a file, taken out one by one with a check; every complaint names file, key, found and wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from flamehead.errors import InputError

__all__ = ["Entries", "matches"]

_LARGEST = 1e9
"""No file holds larger numbers, in whatever unit; numbers whose bytes were swapped are larger by far."""


class Entries(NamedTuple):
    """What a file holds by key. In a wanted shape None stands for any size."""

    path: str
    entries: Mapping[str, Any]
    remedy: str = "download it again"

    def floats(self, key: str, wanted: tuple[int | None, ...]) -> np.ndarray:
        """Finite numbers of a known shape, in the type of the file."""
        array = self.array(key, wanted, kinds="fiu")
        self.check_finite(key, array)
        return array

    def ids(self, key: str, wanted: tuple[int | None, ...], *, below: int | None) -> np.ndarray:
        """Whole numbers from 0 to below `below`, int64."""
        array = self.array(key, wanted, kinds="iuf")
        self.check_finite(key, array)
        if array.dtype.kind == "f" and not (array == np.floor(array)).all():
            raise self.error(key, f"type {array.dtype}", "whole numbers")
        ids = array.astype(np.int64)
        if ids.size and (ids.min() < 0 or (below is not None and ids.max() >= below)):
            raise self.error(key, f"ids {ids.min()}..{ids.max()}", f"0..{'any' if below is None else below - 1}")
        return ids

    def shares(self, key: str, wanted: tuple[int | None, ...]) -> np.ndarray:
        """Barycentric coordinates: rows of numbers that sum to 1, float64."""
        array = self.floats(key, wanted).astype(np.float64)
        off = np.abs(array.sum(axis=-1) - 1).max(initial=0)
        if not off <= 1e-4:
            raise self.error(key, f"row sums off by {off:.3g}", "rows that sum to 1")
        return array

    def number(self, key: str, *, most: int) -> int:
        """A whole number from 1 to `most`."""
        value = self.entries.get(key)
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
            raise self.error(key, str(value)[:24], f"a whole number 1..{most}")
        return int(value)

    def array(self, key: str, wanted: tuple[int | None, ...], *, kinds: str) -> np.ndarray:
        """An array of a known shape and of one of numpy's kinds of types."""
        value = self.entries.get(key)
        if value is None:
            raise InputError(f"{self.path} has no key {key!r}, which a file of its kind needs; {self.remedy}.")
        shape = getattr(value, "shape", None)
        if not isinstance(value, np.ndarray) or shape is None or not matches(shape, wanted):
            found = type(value).__name__ if shape is None else f"shape {tuple(shape)}"
            raise self.error(key, found, f"shape {_text(wanted)}")
        if value.dtype.kind not in kinds:
            raise self.error(key, f"type {value.dtype}", "numbers")
        return value

    def check_finite(self, key: str, array: np.ndarray) -> None:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise self.error(key, f"{int((~np.isfinite(array)).sum())} values that are not finite", "finite numbers")
        largest = max(array.max(initial=0), -array.min(initial=0)) if array.dtype.kind == "f" else 0
        if largest > _LARGEST:
            raise self.error(
                key, f"a largest value of {largest:.3g}", f"at most {_LARGEST:g} (is its byte order right?)"
            )

    def error(self, key: str, found: str, wanted: str) -> InputError:
        return InputError(f"{self.path}: key {key!r} has {found}, wanted {wanted}; {self.remedy}.")


def matches(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Whether a shape is the wanted one, where None stands for any size above zero."""
    return len(shape) == len(wanted) and all(
        size == want if want is not None else size > 0 for size, want in zip(shape, wanted, strict=True)
    )


def _text(wanted: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in wanted) + ")"
