"""What identifies a model, and the mark by which an export of the built-in head stays the built-in head."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import numpy as np

__all__ = ["BUILTIN", "MARK_KEY", "content_fingerprint", "mark", "marked_fingerprint"]

BUILTIN = "builtin-"
"""How the fingerprints of the built-in head begin; its recipe's version follows."""
MARK_KEY = "flamehead"
"""Key of the mark in a model file; other programs pass over it."""

_MARK = re.compile(rf"built-in head, MIT licence, ({BUILTIN}\w+), numbers ([0-9a-f]{{16}})")


def content_fingerprint(arrays: Mapping[str, np.ndarray]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of all numbers and shapes, little-endian."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()[:16]


def mark(fingerprint: str, numbers: str) -> str:
    """The mark of an export of the built-in head: its licence, its fingerprint, and that of its numbers."""
    return f"built-in head, MIT licence, {fingerprint}, numbers {numbers}"


def marked_fingerprint(found: object, numbers: str) -> str | None:
    """The fingerprint in a mark; None where there is none, or where the numbers were changed afterwards."""
    match = _MARK.fullmatch(str(found))
    return match[1] if match and match[2] == numbers else None
