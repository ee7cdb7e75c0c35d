"""Open pickles of the FLAME world without executing them, and say in one sentence what is wrong with a bad one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from flamehead._types import StrPath
from flamehead.assets._pickle_builders import ALLOWED, plain
from flamehead.assets._pickle_machine import Damaged, Holder, Machine, Refused
from flamehead.errors import AssetNotFound, InputError, UnsafeFile

__all__ = ["Holder", "read_bytes", "read_pickle", "repair_line_ends", "unpickle"]

_log = logging.getLogger(__name__)

MOST_BYTES = 2**30
"""Larger files are not read into memory; the largest official pickle has 53 MB."""

_AGAIN = "download it again from its official site"
_FOREIGN_STARTS = {
    b"PK\x03\x04": "is a zip archive; unpack it and pass the file inside",
    b"\x1f\x8b": "is a gzip archive; unpack it and pass the file inside",
    b"version https://git-lfs": "is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`",
    b"\x93NUMPY": "is a NumPy file, not a pickle; give it the suffix .npy",
    b"\x89HDF": "is an HDF5 file, not a pickle; pass a FLAME pickle",
}


def read_pickle(path: StrPath) -> Any:
    """The value in a pickle file: numpy arrays, scipy sparse matrices, numbers, strings and containers of these.

    Nothing of the file is executed and chumpy is not needed: chumpy arrays become their numbers. Byte strings of
    Python 2 become `str` of code points 0..255. Text pickles whose line ends were turned into CRLF are repaired.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that a FLAME file never needs.
        InputError: it is empty, cut short, damaged or not a pickle.
    """
    return unpickle(read_bytes(path), str(path))


def read_bytes(path: StrPath, *, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file that is not empty and not larger than `most` bytes."""
    path = Path(path)
    if not path.exists():
        raise AssetNotFound(
            f"There is no file {path}; check the path, or see what is missing with `flamehead assets doctor`."
        )
    if not path.is_file():
        raise InputError(f"{path} is not a file; pass the path of the file itself.")
    size = path.stat().st_size
    if size > most:
        raise InputError(
            f"{path} has {size} bytes, more than the {most} a file of this kind can have; pass the right file."
        )
    data = path.read_bytes()
    if not data:
        raise InputError(f"{path} is empty; {_AGAIN}.")
    return data


def unpickle(data: bytes, name: str) -> Any:
    """Like `read_pickle`, for bytes in memory; `name` is used in messages."""
    for start, sentence in _FOREIGN_STARTS.items():
        if data.startswith(start):
            raise InputError(f"{name} {sentence}.")
    if data.lstrip()[:1] == b"<":
        raise InputError(f"{name} is a web page, not a pickle; log in to its site and download the file again.")
    try:
        return _run(data)
    except (Damaged, Refused) as first:
        # Text pickles hold no CR of their own; binary ones may, so that they cannot be repaired.
        if data[0] == 0x80 or b"\r" not in data:
            raise _error(first, data, name) from first
    mended = repair_line_ends(data)
    try:
        value = _run(mended)
    except (Damaged, Refused) as second:
        raise _error(second, mended, name) from second
    _log.warning("%s had its line ends changed (LF to CRLF) by some program; it was read as if they were not.", name)
    return value


def repair_line_ends(data: bytes) -> bytes:
    """A text pickle as it was before some program changed its line ends; intact ones hold no CR at all."""
    return data.replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _run(data: bytes) -> object:
    machine = Machine(data, ALLOWED)
    value = machine.run()
    try:
        return plain(machine, value)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise Damaged("holds arrays whose parts do not fit together") from error


def _error(error: Damaged | Refused, data: bytes, name: str) -> InputError:
    # A CR at the end of a name shows that the line ends were changed, not that the name is foreign.
    if isinstance(error, Refused) and "\\r" not in str(error):
        return UnsafeFile(
            f"{name} asks for {error}, which a FLAME file never needs, and was not opened (nothing in it was "
            f"executed); {_AGAIN}."
        )
    breaks = data.count(b"\n")
    if data[0] == 0x80 and breaks and breaks == data.count(b"\r\n"):
        return InputError(
            f"{name} is a binary pickle whose line ends were changed (LF to CRLF), which cannot be undone; "
            f"{_AGAIN} and transfer it in binary mode."
        )
    reason = f"names {error}" if isinstance(error, Refused) else f"{error}"
    return InputError(f"{name} is not a whole pickle (it {reason}); {_AGAIN}.")
