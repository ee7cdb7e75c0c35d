"""Write pickles that every environment of the FLAME world can load, from Python 2 with its numpy and scipy to today's.

Python's own pickler names classes where they live now (`numpy._core`, `scipy.sparse._csc`), which old installations do
not know. Here the instructions are written directly, under the names of old, so that the bytes depend on neither the
version of Python nor that of numpy. Only plain data can be written.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import scipy.sparse

from flamehead._atomic import atomic_path
from flamehead._types import StrPath

__all__ = ["Protocol", "TorchTensor", "legacy_pickle", "write_legacy_npy", "write_legacy_pickle"]

Protocol = Literal[0, 2, 3]
"""0 is text; 2 is the binary form of Python 2; 3 is that of Python 3, which Python 2 cannot load."""

_STORAGES = {"<i8": "LongStorage", "<i4": "IntStorage", "<f4": "FloatStorage", "<f8": "DoubleStorage"}
_TORCH_MAGIC, _TORCH_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


@dataclass(frozen=True)
class TorchTensor:
    """An array that is to be a torch tensor for whoever loads the pickle; protocol 3 only."""

    values: np.ndarray


def legacy_pickle(value: object, protocol: Protocol) -> bytes:
    """The pickle of dictionaries, lists, tuples, strings, bytes, whole numbers, None, arrays and sparse columns.

    With protocols 0 and 2 every string is a byte string of Python 2, as in the official files; Python 3 loads these
    with `encoding="latin1"`.

    Raises:
        TypeError: the value holds anything else.
    """
    return b"".join(_Writer(protocol).whole(value))


def write_legacy_pickle(path: StrPath, value: object, *, protocol: Protocol) -> None:
    """Write `legacy_pickle(value, protocol)`, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.writelines(_Writer(protocol).whole(value))


def write_legacy_npy(path: StrPath, value: object, *, protocol: Protocol) -> None:
    """Write an `.npy` file of one Python object, as `np.save` did with a dictionary, whole or not at all."""
    holder = np.empty((), dtype=object)
    holder[()] = value
    # Format 1.0: magic, version, length of the header, header; together a multiple of 16 bytes, ended by a line break.
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += " " * (127 - 10 - len(header)) + "\n"
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("ascii"))
        file.writelines(_Writer(protocol).whole(holder))


class _Writer:
    """The instructions for one value after the other; see `pickletools` for what each of them does."""

    def __init__(self, protocol: Protocol, *, unicode: bool | None = None) -> None:
        self.text = protocol == 0
        self.header = b"" if protocol == 0 else bytes([0x80, protocol])
        self.bytes_known = protocol == 3
        self.unicode = protocol == 3 if unicode is None else unicode

    def whole(self, value: object) -> Iterator[bytes]:
        yield self.header
        yield from self.value(value)
        yield b"."

    def value(self, value: object) -> Iterator[bytes]:
        if value is None:
            yield b"N"
        elif isinstance(value, bool):
            yield (b"I01\n" if value else b"I00\n") if self.text else (b"\x88" if value else b"\x89")
        elif isinstance(value, int):
            yield self.integer(value)
        elif isinstance(value, str):
            yield from self.string(value)
        elif isinstance(value, bytes):
            yield from self.data(value)
        elif isinstance(value, tuple):
            yield from self.tuple(value)
        elif isinstance(value, list):
            yield b"(l" if self.text else b"]"
            for item in value:
                yield from self.value(item)
                yield b"a"
        elif isinstance(value, dict):
            yield b"(d" if self.text else b"}"
            for key, item in value.items():
                yield from self.value(key)
                yield from self.value(item)
                yield b"s"
        elif isinstance(value, np.ndarray):
            yield from self.array(value)
        elif isinstance(value, scipy.sparse.csc_matrix) and not self.text:
            yield from self.sparse(value)
        elif isinstance(value, TorchTensor) and self.bytes_known:
            yield from self.tensor(np.ascontiguousarray(value.values))
        else:
            raise TypeError(f"a {type(value).__name__} cannot be written into a legacy pickle; give plain arrays")

    def integer(self, value: int) -> bytes:
        if self.text:
            return b"I%d\n" % value
        if 0 <= value < 256:
            return b"K" + bytes([value])
        if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw

    def string(self, value: str) -> Iterator[bytes]:
        if not self.unicode:
            yield from self.data(value.encode("latin-1"))
            return
        raw = value.encode()
        yield b"X" + struct.pack("<I", len(raw)) + raw

    def data(self, value: bytes) -> Iterator[bytes]:
        """Raw bytes: of the type `bytes` with protocol 3, else of Python 2's `str`."""
        if self.text:
            # Python 3's notation without its b is Python 2's.
            yield b"S" + repr(value)[1:].encode("ascii") + b"\n"
            return
        short, long = (b"C", b"B") if self.bytes_known else (b"U", b"T")
        yield short + bytes([len(value)]) if len(value) < 256 else long + struct.pack("<I", len(value))
        yield value

    def tuple(self, value: tuple[object, ...]) -> Iterator[bytes]:
        count = len(value)
        brief = not self.text and count <= 3
        yield b"" if brief else b"("
        for item in value:
            yield from self.value(item)
        yield (b")", b"\x85", b"\x86", b"\x87")[count] if brief else b"t"

    def call(self, name: str, *arguments: object) -> Iterator[bytes]:
        yield f"c{name}\n".encode("ascii")
        yield from self.tuple(arguments)
        yield b"R"

    def array(self, array: np.ndarray) -> Iterator[bytes]:
        """numpy's form: an empty array, then its state (version, shape, type, Fortran order, content)."""
        yield b"cnumpy.core.multiarray\n_reconstruct\n"
        yield b"(" if self.text else b""
        yield b"cnumpy\nndarray\n"
        yield from self.tuple((0,))
        yield from self.data(b"b")
        yield b"tR" if self.text else b"\x87R"
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        yield b"("
        yield from self.value(1)
        yield from self.tuple(tuple(array.shape))
        yield from self.dtype(array.dtype)
        yield from self.value(fortran)
        if array.dtype == object:
            yield from self.value(list(array.ravel("F" if fortran else "C")))
        else:
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            yield from self.data(little.tobytes("F" if fortran else "C"))
        yield b"tb"

    def dtype(self, dtype: np.dtype) -> Iterator[bytes]:
        if dtype.kind not in "iufO" or dtype.itemsize not in (4, 8):
            raise TypeError(f"an array of type {dtype} cannot be written into a legacy pickle; give numbers")
        yield from self.call("numpy\ndtype", f"{dtype.kind}{dtype.itemsize}", False, True)
        is_object = dtype.kind == "O"
        # 63 is what numpy notes about objects: they are references and need care.
        yield from self.tuple((3, "|" if is_object else "<", None, None, None, -1, -1, 63 if is_object else 0))
        yield b"b"

    def sparse(self, matrix: scipy.sparse.csc_matrix) -> Iterator[bytes]:
        """scipy's form: an object without arguments and a dictionary of what it holds."""
        yield b"cscipy.sparse.csc\ncsc_matrix\n)\x81"
        state: dict[str, object] = {
            "format": "csc",
            "_shape": tuple(int(size) for size in cast(tuple[int, int], matrix.shape)),
            "maxprint": 50,
            "data": matrix.data.astype(np.float64),
            "indices": matrix.indices.astype(np.int32),
            "indptr": matrix.indptr.astype(np.int32),
        }
        yield from self.value(state)
        yield b"b"

    def tensor(self, array: np.ndarray) -> Iterator[bytes]:
        """torch's form: storage, offset, size, stride in elements, no gradient, no hooks."""
        stride = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim))
        yield b"ctorch._utils\n_rebuild_tensor_v2\n("
        yield from self.call("torch.storage\n_load_from_bytes", _torch_storage(array))
        for part in (0, tuple(array.shape), stride, False):
            yield from self.value(part)
        yield from self.call("collections\nOrderedDict")
        yield b"tR"


def _torch_storage(array: np.ndarray) -> bytes:
    """What `torch.save` of old wrote: five small pickles, then the number of elements and the elements."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    kind = _STORAGES[little.dtype.newbyteorder("<").str]
    writer = _Writer(2, unicode=True)
    system = {
        "protocol_version": _TORCH_PROTOCOL,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    described = [b"(", *writer.value("storage"), f"ctorch\n{kind}\n".encode("ascii")]
    for part in ("0", "cpu", array.size, None):
        described += writer.value(part)
    storage = writer.header + b"".join(described) + b"tQ."
    parts = [*map(b"".join, map(writer.whole, (_TORCH_MAGIC, _TORCH_PROTOCOL, system))), storage]
    parts += [*writer.whole(["0"]), struct.pack("<q", array.size), little.tobytes()]
    return b"".join(parts)
