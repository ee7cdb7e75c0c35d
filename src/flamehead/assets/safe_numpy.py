"""Open `.npy` and `.npz` files without executing what may be pickled inside, and without trusting their sizes."""

from __future__ import annotations

import ast
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flamehead._types import StrPath
from flamehead.assets.safe_pickle import MOST_BYTES, read_bytes, unpickle
from flamehead.errors import AssetNotFound, InputError, UnsafeFile

__all__ = [
    "ArrayHeader",
    "is_npy",
    "is_zip",
    "map_member",
    "map_npz",
    "npz_headers",
    "opened_npz",
    "parse_npy",
    "read_npy",
    "read_npz",
]

_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_LONGEST_HEADER = 65536
_MOST_MEMBERS = 1000
_AGAIN = "download it again from its official site"


class ArrayHeader(NamedTuple):
    """What a NumPy file says about its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int
    """Byte at which the data begins."""


def is_npy(start: bytes) -> bool:
    """Whether a file that begins like this is an `.npy` file."""
    return start.startswith(_NPY)


def is_zip(start: bytes) -> bool:
    """Whether a file that begins like this is a zip archive, such as an `.npz` file."""
    return start.startswith(_ZIP)


def read_npy(path: StrPath) -> Any:
    """The array of an `.npy` file; for an object array, its content opened like a pickle by `unpickle`.

    A dictionary saved with `np.save` comes back as the dictionary.

    Raises:
        UnsafeFile: an object inside asks for something that a FLAME file never needs.
        InputError: the file is damaged or not a NumPy file.
    """
    return parse_npy(read_bytes(path), str(path))


def parse_npy(data: bytes, name: str) -> Any:
    """Like `read_npy`, for bytes in memory; `name` is used in messages."""
    header = _parse_header(data, name)
    if header.dtype == object:
        value = unpickle(data[header.start :], name)
        return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    size = math.prod(header.shape) * header.dtype.itemsize
    found = len(data) - header.start
    if size > found:
        raise InputError(f"{name} is cut short ({found} of {size} bytes); {_AGAIN}.")
    try:
        flat = np.frombuffer(data, dtype=header.dtype, count=math.prod(header.shape), offset=header.start)
        shaped = flat.reshape(header.shape, order="F" if header.fortran else "C")
    except ValueError as error:
        raise InputError(f"{name} holds an array of a shape that NumPy cannot make; {_AGAIN}.") from error
    return shaped.astype(header.dtype.newbyteorder("="))


def npz_headers(path: StrPath) -> dict[str, ArrayHeader]:
    """Shapes and types of the arrays in an `.npz` file, without reading their data."""
    with opened_npz(path) as archive:
        headers = {}
        for key, member in _members(archive):
            with archive.open(member) as stream:
                headers[key] = _parse_header(stream.read(_LONGEST_HEADER), f"{path} ({key})")
        return headers


def read_npz(path: StrPath, *, keys: Collection[str] | None = None, most: int = MOST_BYTES) -> dict[str, Any]:
    """The arrays of an `.npz` file, or those of `keys` that it holds; together they may unpack to `most` bytes.

    Raises:
        UnsafeFile: an object inside asks for something that a FLAME file never needs.
        InputError: the file is damaged or not an `.npz` file.
    """
    with opened_npz(path) as archive:
        arrays: dict[str, Any] = {}
        for key, member in _members(archive):
            if keys is None or key in keys:
                with archive.open(member) as stream:
                    data = stream.read(most + 1)  # The sizes in a zip directory are only claims.
                most -= len(data)
                if most < 0:
                    raise InputError(f"{path} unpacks to far more than a file of its kind holds; pass the right file.")
                arrays[key] = parse_npy(data, f"{path} ({key})")
        return arrays


def map_npz(path: StrPath, *, keys: Collection[str] | None = None, most: int = MOST_BYTES) -> dict[str, Any]:
    """Like `read_npz`, but arrays that are stored uncompressed are mapped into memory, read-only, instead of read."""
    with opened_npz(path) as archive:
        arrays: dict[str, Any] = {}
        packed: list[str] = []
        for key, member in _members(archive):
            if keys is None or key in keys:
                with archive.open(member) as stream:
                    header = _parse_header(stream.read(_LONGEST_HEADER), f"{path} ({key})")
                if member.compress_type == zipfile.ZIP_STORED and header.dtype != object and math.prod(header.shape):
                    flat = map_member(Path(path), member, header)
                    arrays[key] = flat.reshape(header.shape, order="F" if header.fortran else "C")
                else:
                    packed.append(key)
    return arrays | (read_npz(path, keys=packed, most=most) if packed else {})


def map_member(path: Path, member: zipfile.ZipInfo, header: ArrayHeader) -> np.memmap:
    """The numbers of a member that is stored uncompressed, mapped into memory, one behind the other.

    Raises:
        InputError: the file is not as long as it claims.
    """
    with path.open("rb") as file:
        file.seek(member.header_offset)
        local = file.read(30)
    if len(local) < 30 or not is_zip(local):
        raise InputError(f"{path} is not a whole .npz file (its directory points nowhere); {_AGAIN}.")
    start = member.header_offset + 30 + sum(struct.unpack("<HH", local[26:30])) + header.start
    count = math.prod(header.shape)
    size = count * header.dtype.itemsize
    if header.start + size != member.file_size or start + size > path.stat().st_size:
        raise InputError(f"{path} is cut short ({member.filename} wants {size} bytes); {_AGAIN}.")
    return np.memmap(path, dtype=header.dtype, mode="r", offset=start, shape=(count,))


@contextmanager
def opened_npz(path: StrPath) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever goes wrong while it is read becomes an `InputError`."""
    if not Path(path).exists():
        raise AssetNotFound(f"There is no file {path}; check the path.")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a whole .npz file ({type(error).__name__}); {_AGAIN}.") from error


def _members(archive: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise InputError(f"{archive.filename} has {len(members)} members, wanted at most {_MOST_MEMBERS}; {_AGAIN}.")
    return [(m.filename.removesuffix(".npy"), m) for m in members if m.filename.endswith(".npy")]


def _parse_header(data: bytes, name: str) -> ArrayHeader:
    """The header of the NumPy format, versions 1 to 3, including those that Python 2 wrote."""
    if not is_npy(data):
        raise InputError(f"{name} is not a NumPy file; {_AGAIN}.")
    width = 2 if data[6:7] == b"\x01" else 4
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    text = data[8 + width : start].decode("latin-1")
    try:
        if len(data) < start or start > _LONGEST_HEADER:
            raise ValueError("no whole header")
        # Python 2 wrote sizes such as 5023L.
        fields = ast.literal_eval(re.sub(r"(\d)L\b", r"\1", text).strip())
        descr, fortran, shape = fields["descr"], fields["fortran_order"], fields["shape"]
        sizes = tuple(int(size) for size in shape)
        if min(sizes, default=0) < 0 or not isinstance(descr, str | list):
            raise ValueError("no sensible shape")
    except (ValueError, SyntaxError, KeyError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise InputError(f"{name} has a damaged NumPy header; {_AGAIN}.") from error
    if not isinstance(descr, str) or not re.fullmatch(r"[<>|=]?(b1|\?|[iu][1248]|f[248]|[SU]\d{1,6}|O8?)", descr):
        raise UnsafeFile(f"{name} holds an array of type {str(descr)[:60]!r}, which a FLAME file never has; {_AGAIN}.")
    return ArrayHeader(sizes, np.dtype(descr), bool(fortran), start)
