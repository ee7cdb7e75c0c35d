"""Files of `torch.save` that hold plain data, read without executing anything in them and written for old readers.

Both containers are read: the zip of today and the stream of torch before 1.6. The pickle inside goes through the
restricted machine of `assets`, which knows arrays, numbers, strings and containers and refuses everything else by name.
"""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.assets._pickle_builders import ALLOWED, plain
from flamehead.assets._pickle_machine import Allowed, Damaged, Holder, Machine, Refused
from flamehead.assets.safe_pickle import read_bytes
from flamehead.errors import InputError, UnsafeFile

__all__ = ["read_torch_file", "write_torch_file"]

_MOST_BYTES = 2**28
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGE_TYPES = {
    "torch.BoolStorage": "?",
    "torch.ByteStorage": "|u1",
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.IntStorage": "<i4",
    "torch.LongStorage": "<i8",
}
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, LookupError, NotImplementedError, OSError, RuntimeError)
_DAMAGE += (TypeError, ValueError)


def _never_called(machine: Machine, *_arguments: object) -> object:
    raise Damaged("calls a class that is only ever named")


_NAMES = ALLOWED | {name: Allowed(name, _never_called) for name in _STORAGE_TYPES}


def read_torch_file(path: StrPath) -> Any:
    """The value in a file of `torch.save`; tensors come back as numpy arrays.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that plain data never needs; nothing of it was executed.
        InputError: it is damaged or not a file of `torch.save`.
    """
    data = read_bytes(path, most=_MOST_BYTES)
    try:
        value = _read_zip(data) if data.startswith(b"PK") else _read_legacy(data)
        _refuse_objects(value)
        return value
    except Refused as error:
        raise UnsafeFile(
            f"{path} asks for {error}, which plain parameters never need, and was not opened (nothing in it was "
            "executed); save its numbers as numpy arrays and try again."
        ) from error
    except (Damaged, *_DAMAGE) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise InputError(f"{path} is not a whole file of torch.save ({reason}); write or copy it again.") from error


def write_torch_file(path: StrPath, value: Any) -> None:
    """Write plain data with `torch.save`, so that every NumPy reads it: those before 1.26 know no `numpy._core`."""
    old_names = SimpleNamespace(Pickler=_OldNamesPickler, __name__="pickle")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(value, file, pickle_module=old_names)


class _OldNamesPickler(pickle._Pickler):
    """Writes numpy's builders under the names that all versions of NumPy understand."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write a global by its name."""
        module = getattr(obj, "__module__", "") or ""
        if module.startswith("numpy._core."):
            module = module.replace("numpy._core.", "numpy.core.", 1)
            self.write(f"c{module}\n{obj.__name__}\n".encode("ascii"))  # pyright: ignore[reportAttributeAccessIssue]
            self.memoize(obj)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            super().save_global(obj, name)  # pyright: ignore[reportAttributeAccessIssue]


def _read_zip(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = {name.partition("/")[2]: name for name in archive.namelist()}
        left = _MOST_BYTES

        def record(name: str) -> bytes:
            nonlocal left
            if name not in records:
                raise Damaged(f"lacks the record {name!r}")
            with archive.open(records[name]) as stream:
                content = stream.read(left + 1)  # The sizes in a zip directory are only claims.
            left -= len(content)
            if left < 0:
                raise Damaged("unpacks to far more than a parameter file holds")
            return content

        if "byteorder" in records and record("byteorder") != b"little":
            raise Damaged("was written by a big-endian machine")
        storages = _storages(lambda key: record(f"data/{key}"))
        machine = Machine(record("data.pkl"), _NAMES, persistent=storages)
        machine.budget += len(data)  # Tensors lie outside the pickle.
        return plain(machine, machine.run())


def _read_legacy(data: bytes) -> Any:
    """Five pickles - magic number, protocol, system, the value, storage keys - then count and bytes of each storage."""
    sizes: dict[str, int] = {}
    position, start, parts = 0, 0, []
    for index in range(5):
        machine = Machine(data, _NAMES, position=position, persistent=_placeholders(sizes))
        parts.append(machine.run())
        if index == 0 and parts[0] != _LEGACY_MAGIC:
            raise Damaged("does not begin like one")
        if index == 3:
            start = position
        position = machine.position
    contents: dict[str, bytes] = {}
    for key in parts[4]:
        size = int.from_bytes(data[position : position + 8], "little") * sizes[key]
        contents[key] = data[position + 8 : position + 8 + size]
        position += 8 + size
    machine = Machine(data, _NAMES, position=start, persistent=_storages(contents.__getitem__))
    return plain(machine, machine.run())


def _refuse_objects(value: object) -> None:
    """Classes that FLAME's pickles may name have no place among parameters."""
    if isinstance(value, Holder | Allowed):
        raise Refused(value.kind if isinstance(value, Holder) else value.name)
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist() if value.dtype == object else []
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set):
        for item in value:
            _refuse_objects(item)


def _described(key: object) -> tuple[np.dtype[Any], str, int]:
    """Type, key and number of elements of a storage, from its persistent id."""
    if not isinstance(key, tuple) or len(key) < 5 or key[0] != "storage" or not isinstance(key[1], Allowed):
        raise Damaged("holds a torch tensor in an unknown layout")
    if key[1].name not in _STORAGE_TYPES or not isinstance(key[2], str) or not isinstance(key[4], int):
        raise Damaged("holds a torch tensor in an unknown layout")
    return np.dtype(_STORAGE_TYPES[key[1].name]), key[2], key[4]


def _storages(content: Callable[[str], bytes]) -> Callable[[object], np.ndarray]:
    """Answers for storages with their numbers; each is read once."""
    done: dict[str, np.ndarray] = {}

    def answer(key: object) -> np.ndarray:
        dtype, name, count = _described(key)
        if name not in done:
            data = content(name)
            if len(data) != count * dtype.itemsize:
                raise Damaged("holds a torch tensor that is cut short")
            done[name] = np.frombuffer(data, dtype=dtype)
        return done[name]

    return answer


def _placeholders(sizes: dict[str, int]) -> Callable[[object], np.ndarray]:
    """Answers for storages whose numbers come later in the stream; notes the bytes per element."""

    def answer(key: object) -> np.ndarray:
        dtype, name, count = _described(key)
        sizes[name] = dtype.itemsize
        return np.broadcast_to(np.zeros((), dtype=dtype), (count,))

    return answer
