"""The numeric arrays of a MATLAB 5 file (https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf).

Written here because every length in a file is only a claim: nothing is unpacked beyond what the array needs, and
objects, functions and structures are passed over unread.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

__all__ = ["MatArray", "is_mat5", "mat5_arrays"]

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""How numbers are stored, which may be smaller than the class of the array."""
_MATRIX, _COMPRESSED = 14, 15
_CLASSES = range(6, 16)
"""Double to uint64; all others are characters, cells, structures, sparse or objects."""
_MOST_HEAD = 1024
"""Bytes of an array's name or shape."""
_STEP = 2**20
_MOST_VARIABLES = 200


class MatArray(NamedTuple):
    """One numeric array."""

    name: str
    shape: tuple[int, ...]
    values: np.ndarray | None
    """None when it was not among those wanted."""


def is_mat5(start: bytes) -> bool:
    """Whether a file that begins like this (128 bytes) is a MATLAB 5 file."""
    return len(start) >= 128 and start.startswith(b"MATLAB 5.0 MAT-file") and start[126:128] in (b"IM", b"MI")


def mat5_arrays(data: bytes, *, keys: Collection[str] = (), most: int = 2**30) -> Iterator[MatArray]:
    """The numeric arrays of a file, those of `keys` with their values; together they may unpack to `most` bytes.

    Raises:
        ValueError: the file is damaged; the message says how.
    """
    order = "<" if data[126:128] == b"IM" else ">"
    view, position = memoryview(data), 128
    for _ in range(_MOST_VARIABLES):
        if position + 8 > len(data):
            return
        kind, size = struct.unpack(order + "II", view[position : position + 8])
        body = view[position + 8 : position + 8 + size]
        if len(body) != size:
            raise ValueError("is cut short")
        # Compressed elements are not padded to eight bytes; all others are.
        position += 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        source = _Source(body, order, packed=kind == _COMPRESSED)
        if kind == _MATRIX or (kind == _COMPRESSED and source.tag()[0] == _MATRIX):
            array = _array(source, keys, most)
            if array is not None:
                most -= 0 if array.values is None else array.values.nbytes
                yield array
    raise ValueError(f"has more than {_MOST_VARIABLES} variables")


def _array(source: _Source, keys: Collection[str], most: int) -> MatArray | None:
    """The array that begins here, or None for what is not numbers."""
    _, flags = source.element(8)
    if len(flags) < 4:
        raise ValueError("has an array without its class")
    array_class, is_complex = flags[0 if source.order == "<" else 3], flags[1 if source.order == "<" else 2] & 8
    _, sizes = source.element(_MOST_HEAD)
    _, name = source.element(_MOST_HEAD)
    shape = struct.unpack(f"{source.order}{len(sizes) // 4}i", sizes[: len(sizes) // 4 * 4])
    if array_class not in _CLASSES or is_complex or min(shape, default=-1) < 0:
        return None
    text = name.decode("latin-1")
    if text not in keys:
        return MatArray(text, shape, None)
    count = math.prod(shape)
    if 8 * count > most:
        raise ValueError(f"has a {text!r} of shape {shape}, far more than such a file holds")
    kind, numbers = source.element(8 * count)
    if kind not in _TYPES:
        raise ValueError(f"has a {text!r} of an unknown type")
    stored = np.frombuffer(numbers, dtype=source.order + _TYPES[kind])
    if len(stored) != count:
        raise ValueError(f"has a {text!r} of shape {shape} with {len(stored)} numbers")
    return MatArray(text, shape, stored.reshape(shape, order="F"))


class _Source:
    """The bytes of one element, unpacked as far as they are asked for."""

    def __init__(self, body: memoryview, order: str, *, packed: bool) -> None:
        self.order = order
        self._left = body
        self._unpacker = zlib.decompressobj() if packed else None

    def tag(self) -> tuple[int, int]:
        """Type and size of the element that follows."""
        kind, size = struct.unpack(self.order + "II", self._take(8))
        return kind, size

    def element(self, most: int) -> tuple[int, bytes]:
        """Type and content of the next part, which must not have more than `most` bytes."""
        head = self._take(8)
        (first,) = struct.unpack(self.order + "I", head[:4])
        if first >> 16:
            # Up to four bytes stand in the tag itself.
            return first & 0xFFFF, head[4 : 4 + min(first >> 16, 4)]
        (size,) = struct.unpack(self.order + "I", head[4:])
        if size > most:
            raise ValueError(f"has a part of {size} bytes where at most {most} can be")
        content = self._take(size)
        # The last part of an array may lack its padding.
        self._take(-size % 8, whole=False)
        return first, content

    def _take(self, size: int, *, whole: bool = True) -> bytes:
        if self._unpacker is None:
            taken, self._left = bytes(self._left[:size]), self._left[size:]
        else:
            taken = self._unpack(size)
        if whole and len(taken) != size:
            raise ValueError("is cut short")
        return taken

    def _unpack(self, size: int) -> bytes:
        parts: list[bytes] = []
        assert self._unpacker is not None
        while size and not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or bytes(self._left[:_STEP])
            if not self._unpacker.unconsumed_tail:
                self._left = self._left[_STEP:]
            try:
                part = self._unpacker.decompress(packed, size)
            except zlib.error as error:
                raise ValueError("is damaged") from error
            if not part and not packed:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
