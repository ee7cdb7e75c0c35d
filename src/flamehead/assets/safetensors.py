"""Files in the safetensors layout, read and written with nothing but NumPy.

Eight bytes with the length of a JSON header, the header, and the numbers one array behind the other, little-endian
(https://github.com/huggingface/safetensors#format). Arrays are mapped into memory, not copied.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.errors import AssetNotFound, InputError

__all__ = ["is_safetensors", "read_safetensors", "write_safetensors"]

_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
_CODES = {np.dtype(code).str: name for name, code in _TYPES.items()}
_LONGEST_HEADER = 2**24
_AGAIN = "convert the model again"


def is_safetensors(start: bytes) -> bool:
    """Whether a file that begins like this (9 bytes) is in the safetensors layout."""
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= _LONGEST_HEADER


def read_safetensors(path: StrPath) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file, mapped into memory and read-only, and its metadata.

    Raises:
        AssetNotFound: there is no such file.
        InputError: it is damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise AssetNotFound(f"There is no file {path}; check the path.")
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(9)
        length = int.from_bytes(start[:8], "little")
        if not is_safetensors(start) or 8 + length > size:
            raise InputError(f"{path} is not a whole safetensors file; {_AGAIN}.")
        stream.seek(8)
        text = stream.read(length)
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(item, str) for item in metadata.values()):
            raise ValueError("metadata is not text")
        data = np.memmap(path, dtype=np.uint8, mode="r")[8 + length :]
        return {str(key): _array(data, entry) for key, entry in header.items()}, metadata
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{path} has a damaged safetensors header; {_AGAIN}.") from error


def _array(data: np.ndarray, entry: Mapping[str, Any]) -> np.ndarray:
    dtype, shape = np.dtype(_TYPES[entry["dtype"]]), tuple(int(n) for n in entry["shape"])
    begin, end = (int(n) for n in entry["data_offsets"])
    if min(shape, default=0) < 0 or not 0 <= begin <= end <= len(data):
        raise ValueError("outside of the file")
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError("sizes disagree")
    return data[begin:end].view(dtype).reshape(shape)


def write_safetensors(path: StrPath, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays and metadata; whole or not at all."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    position, parts = 0, []
    for key, array in arrays.items():
        part = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        offsets = [position, position + part.nbytes]
        header[key] = {"dtype": _CODES[part.dtype.str], "shape": list(array.shape), "data_offsets": offsets}
        position += part.nbytes
        parts.append(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    # Spaces behind the header align the numbers to eight bytes.
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for part in parts:
            file.write(part.data)
