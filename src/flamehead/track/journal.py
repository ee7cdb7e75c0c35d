"""A file that only grows, a record per frame: work that is killed at any moment keeps all but the frames in flight."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float

from flamehead._atomic import atomic_path, disk_errors_explained
from flamehead._types import StrPath
from flamehead.errors import InputError

__all__ = ["Journal", "check_same", "open_journal"]

_MAGIC = b"flamehead journal 1\n"
_REMEDY = "choose another --out, or start over with --restart"
_NUMBER = struct.Struct("<I")
_HEAD = struct.Struct("<iI")
"""Of a record: which frame, and the kind of record."""


@dataclass
class Journal:
    """An open journal; made by `open_journal`. It owns a file and therefore changes.

    The file: a line that names the format; the length of a JSON header, its text, its CRC-32; then records of equal
    length, each with frame, kind, numbers and the CRC-32 of all that, little-endian.
    """

    path: Path
    width: int
    dtype: np.dtype
    file: BinaryIO
    records: dict[tuple[int, int], Float[np.ndarray, "width"]] = field(default_factory=dict)
    """By frame and kind; the last record of each counts."""

    def append(self, row: int, values: Float[np.ndarray, "width"], *, kind: int = 0) -> None:
        """Add a record; the system has it when this returns, so that it survives the end of the process.

        Raises:
            InputError: The disk is full or refuses for another reason.
        """
        plain = np.ascontiguousarray(values, dtype=self.dtype)
        if plain.shape != (self.width,):
            raise InputError(f"A record of {self.path} has {self.width} numbers, got shape {plain.shape}.")
        data = _HEAD.pack(row, kind) + plain.tobytes()
        with disk_errors_explained(self.path.parent):
            self.file.write(data + _NUMBER.pack(zlib.crc32(data)))
            self.file.flush()
        self.records[row, kind] = plain

    def count(self, *, kind: int = 0) -> int:
        """How many frames from 0 on have a record of a kind, without a gap."""
        row = 0
        while (row, kind) in self.records:
            row += 1
        return row

    def rows(self, count: int, *, kind: int = 0) -> Float[np.ndarray, "count width"]:
        """The first records of a kind, frame after frame."""
        return np.stack([self.records[row, kind] for row in range(count)]) if count else self.empty()

    def empty(self) -> Float[np.ndarray, "0 width"]:
        """No records."""
        return np.empty((0, self.width), dtype=self.dtype)


@contextmanager
def open_journal(
    path: StrPath, header: Mapping[str, Any], *, width: int, dtype: str = "<f8", restart: bool = False
) -> Iterator[Journal]:
    """Open or begin a journal; whole records are kept and a torn end is cut off.

    Args:
        path: The file; its folder must exist.
        header: What the records depend on, as JSON; a journal of another header is not continued.
        width: Numbers in a record.
        dtype: Of the numbers, little-endian: `"<f8"` or `"<f4"`.
        restart: Throw away what is there.

    Raises:
        InputError: The journal is of other work, no journal at all, or cannot be written.
    """
    path = Path(path)
    wanted = json.loads(json.dumps({**header, "width": width, "dtype": dtype}, default=str))
    if restart or not path.exists() or path.stat().st_size == 0:
        _begin(path, wanted)
    begin = _check(path, wanted)
    with disk_errors_explained(path.parent):
        file = path.open("r+b")
    with file:
        _lock(file, path)
        journal = Journal(path, width, np.dtype(dtype), file)
        with disk_errors_explained(path.parent):
            _load(journal, begin)
        yield journal
        with disk_errors_explained(path.parent):
            os.fsync(file.fileno())


def _load(journal: Journal, begin: int) -> None:
    """Take the whole records and cut off what comes after the last of them."""
    file, end = journal.file, begin
    size = _HEAD.size + journal.width * journal.dtype.itemsize + _NUMBER.size
    file.seek(begin)
    while len(data := file.read(size)) == size and _NUMBER.unpack(data[-4:])[0] == zlib.crc32(data[:-4]):
        row, kind = _HEAD.unpack(data[: _HEAD.size])
        journal.records[row, kind] = np.frombuffer(data[_HEAD.size : -4], dtype=journal.dtype)
        end += size
    file.truncate(end)
    file.seek(end)


def _lock(file: BinaryIO, path: Path) -> None:
    """Two runs that write one journal would spoil it; the lock goes when the process does. Windows has none.

    Raises:
        InputError: Another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"Another run is writing into {path.parent}; wait for it, or choose another --out.") from error
    except OSError:
        # Some network file systems know no locks.
        return


def _begin(path: Path, header: Mapping[str, Any]) -> None:
    text = json.dumps(header, sort_keys=True).encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(_MAGIC + _NUMBER.pack(len(text)) + text + _NUMBER.pack(zlib.crc32(text)))


def _check(path: Path, wanted: Mapping[str, Any]) -> int:
    """Where the records begin."""
    with disk_errors_explained(path.parent), path.open("rb") as file:
        magic, length = file.read(len(_MAGIC)), file.read(_NUMBER.size)
        text = file.read(_NUMBER.unpack(length)[0]) if magic == _MAGIC and len(length) == _NUMBER.size else b""
        tail, begin = file.read(_NUMBER.size), file.tell()
    if not text or len(tail) != _NUMBER.size or _NUMBER.unpack(tail)[0] != zlib.crc32(text):
        raise InputError(f"The file {path} is no journal of flamehead, or a damaged one; {_REMEDY}.")
    check_same(path.parent, json.loads(text), wanted)
    return begin


def check_same(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with work that depends on other things.

    Raises:
        InputError: They differ; the sentence names what does.
    """
    changed = _differences(found, wanted)
    if changed:
        raise InputError(
            f"The folder {folder} holds a track that was made otherwise ({'; '.join(changed)}); {_REMEDY}."
        )


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], before: str = "") -> list[str]:
    """What differs, by name, with both values; a few words each."""
    told = list[str]()
    for name in sorted({*found, *wanted}):
        was, now = found.get(name), wanted.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            told += _differences(was, now, f"{before}{name} ")
        elif was != now:
            told.append(f"{before}{name} was {_short(was)} and is {_short(now)}")
    return told[:4]


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
