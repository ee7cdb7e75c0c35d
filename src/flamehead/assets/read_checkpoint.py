"""Describe checkpoints of networks: names and shapes of their tensors, read without torch and without the weights."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from flamehead._types import StrPath
from flamehead.assets._pickle_builders import ALLOWED
from flamehead.assets._pickle_machine import Allowed, Damaged, Holder, Machine, Refused
from flamehead.assets.kinds import Checkpoint
from flamehead.assets.safe_numpy import opened_npz
from flamehead.errors import InputError, UnsafeFile

__all__ = ["is_checkpoint_zip", "is_legacy_checkpoint", "read_checkpoint"]

_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""torch's magic number as a pickle writes it, near the start of its files before the zip layout."""
_ZIP = b"PK\x03\x04"
_MOST_BYTES = 2**25
"""Of the pickle with the names; the weights lie elsewhere."""
_MOST_TENSORS = 100_000
_AGAIN = "download it again from its official site"


def is_checkpoint_zip(names: list[str]) -> bool:
    """Whether a zip archive with these members was written by torch."""
    return any(name.endswith("/data.pkl") for name in names)


def is_legacy_checkpoint(start: bytes) -> bool:
    """Whether a file that begins like this was written by an old torch."""
    return start[:1] == b"\x80" and _MAGIC in start[:32]


def read_checkpoint(path: StrPath) -> Checkpoint:
    """What a file of torch holds, such as `mica.tar` or `deca_model.tar`; nothing in it is executed.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that a checkpoint never needs.
        InputError: it is damaged or no checkpoint.
    """
    data, position = _pickled(path)
    storages: dict[object, int] = {}

    def storage(described: object) -> Holder:
        """Stands for the weights, which stay where they are."""
        if not isinstance(described, tuple) or len(described) < 5 or not isinstance(described[1], Allowed):
            raise Damaged("describes its weights in an unknown way")
        storages[str(described[2])] = int(described[4]) * _ITEM_BYTES.get(described[1].name, 1)
        return Holder("storage")

    try:
        machine = Machine(data, _ALLOWED, position=position, persistent=storage)
        content = machine.run()
        if position:
            _check_length(machine, sum(8 + size for size in storages.values()), Path(path).stat().st_size)
    except Refused as error:
        raise UnsafeFile(
            f"{path} asks for {error}, which a checkpoint of MICA or DECA never needs, and was not opened (nothing in "
            f"it was executed); {_AGAIN}."
        ) from error
    except Damaged as error:
        raise InputError(f"{path} is not a whole checkpoint (it {error}); {_AGAIN}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, wanted a dictionary of networks; {_AGAIN}.")
    shapes: dict[str, tuple[int, ...]] = {}
    parts = {str(key): _collect(value, str(key), shapes, 0) for key, value in content.items()}
    return Checkpoint(_network(parts), {key: count for key, count in parts.items() if count}, shapes)


def _pickled(path: StrPath) -> tuple[bytes, int]:
    """The pickle that names the tensors, and where in it to begin."""
    if zipfile.is_zipfile(path):
        with opened_npz(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise InputError(f"{path} has {len(names)} members data.pkl, wanted one; {_AGAIN}.")
            with archive.open(names[0]) as stream:
                data = stream.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise InputError(f"{path} unpacks to far more than a checkpoint holds; pass the right file.")
        return data, 0
    with Path(path).open("rb") as stream:
        data = stream.read(_MOST_BYTES)
    if data.startswith(_ZIP):
        # The list of a zip file's members stands at its end.
        raise InputError(f"{path} is not a whole checkpoint (it is cut short); {_AGAIN}.")
    position = 0
    try:
        # Magic number, protocol and system come first.
        for _ in range(3):
            machine = Machine(data, {}, position=position)
            machine.run()
            position = machine.position
    except (Damaged, Refused) as error:
        what = f"asks for {error}" if isinstance(error, Refused) else error
        raise InputError(f"{path} is not a whole checkpoint (it {what}); {_AGAIN}.") from error
    return data, position


def _collect(value: object, name: str, shapes: dict[str, tuple[int, ...]], depth: int) -> int:
    """Note the tensors below a value; returns how many there are."""
    if isinstance(value, Holder) and value.kind == "tensor":
        shapes[name] = cast(tuple[int, ...], value.state)
        if len(shapes) > _MOST_TENSORS:
            raise InputError(f"{name} and others are more than {_MOST_TENSORS} tensors; pass a checkpoint.")
        return 1
    if isinstance(value, dict) and depth < 6:
        return sum(_collect(item, f"{name}.{key}"[:300], shapes, depth + 1) for key, item in value.items())
    return 0


def _network(parts: Mapping[str, int]) -> Literal["MICA", "DECA", "unknown"]:
    held = {key for key, count in parts.items() if count}
    if {"flameModel", "arcface"} <= held:
        return "MICA"
    return "DECA" if "E_flame" in held else "unknown"


def _check_length(machine: Machine, weights: int, size: int) -> None:
    """In the old layout the weights follow, behind a list of their names."""
    names = Machine(machine.data, {}, position=machine.position)
    names.run()
    if names.position + weights > size:
        raise Damaged("is cut short")


def _tensor(machine: Machine, storage: Any, offset: Any, size: Any, *_rest: object) -> Holder:
    sizes = tuple(int(n) for n in size)
    if min(sizes, default=0) < 0 or math.prod(sizes) > 2**40 or len(sizes) > 16:
        raise Damaged("holds a tensor of an impossible shape")
    holder = Holder("tensor")
    holder.state = sizes
    return holder


def _parameter(machine: Machine, data: object, *_rest: object) -> object:
    return data


def _anything(machine: Machine, *_arguments: object) -> Holder:
    return Holder("value")


_ITEM_BYTES = {
    f"torch.{name}Storage": size
    for size, names in {8: ("Double", "Long"), 4: ("Float", "Int"), 2: ("Half", "BFloat16", "Short")}.items()
    for name in names
}
_ALLOWED = (
    ALLOWED
    | {
        entry.name: entry
        for entry in (
            Allowed("torch._utils._rebuild_tensor_v2", _tensor),
            Allowed("torch._utils._rebuild_parameter", _parameter),
            Allowed("torch.device", _anything),
            Allowed("collections.Counter", _anything),  # In the state of a scheduler.
            Allowed("torch.Size", _anything),
        )
    }
    | {
        f"torch.{name}Storage": Allowed(f"torch.{name}Storage", _anything)
        for name in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
    }
)
