"""The names that pickles of the FLAME world use, and what answers for each of them here.

Nothing of numpy's, scipy's, torch's or chumpy's own unpickling code runs: a pickled array is a type code, a shape and
bytes, and is rebuilt from just these. Structured types are refused, because their pickled flags can make numpy
take bytes for pointers.
"""

from __future__ import annotations

import math
import re
from typing import Any, cast

import numpy as np

from flamehead.assets._pickle_machine import Allowed, Damaged, Holder, Machine, Refused

__all__ = ["ALLOWED", "plain"]

_TYPE_CODE = re.compile(r"([<>|=]?)(b1|\?|[iu][1248]|f[248]|[SU]\d{1,6}|O[48]?)")
_DEEPEST = 32
_UNFINISHED = object()


def plain(machine: Machine, value: object) -> object:
    """Replace every holder inside a pickled value by numpy arrays, scipy matrices and containers.

    A chumpy array becomes its numbers, a `Select` the numbers it selects. What has no numbers stays a `Holder`.
    """
    return _Plain(machine).convert(value, 0)


class _Plain:
    """One conversion; values that are shared stay shared."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.done: dict[int, object] = {}

    def convert(self, value: object, depth: int) -> object:
        if not isinstance(value, Holder | list | tuple | dict | np.ndarray):
            return value
        if depth > _DEEPEST:
            raise Damaged("is nested too deeply")
        if id(value) not in self.done:
            self.done[id(value)] = _UNFINISHED
            self.done[id(value)] = self._convert(value, depth + 1)
        if self.done[id(value)] is _UNFINISHED:
            raise Damaged("contains itself")
        return self.done[id(value)]

    def _convert(self, value: object, depth: int) -> object:
        if isinstance(value, dict):
            return {key: self.convert(item, depth) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.convert(item, depth) for item in value)
        if isinstance(value, np.ndarray):
            return self._objects(value, depth) if value.dtype == object else value
        holder = cast(Holder, value)
        makers = {"ndarray": self._array, "chumpy": self._chumpy, "Select": self._select, "csc_matrix": self._sparse}
        makers["csr_matrix"] = self._sparse
        return makers[holder.kind](holder, depth) if holder.kind in makers else holder

    def _objects(self, array: np.ndarray, depth: int) -> np.ndarray:
        out = np.empty(array.shape, dtype=object)
        for index in np.ndindex(*array.shape):
            out[index] = self.convert(array[index], depth)
        return out

    def _array(self, holder: Holder, depth: int) -> object:
        """numpy's state: (version,) shape, dtype, Fortran order, bytes or a list of objects."""
        state = cast(tuple[Any, ...], holder.state)
        shape, dtype, fortran, content = state[-4:]
        array = _make_array(self.machine, shape, dtype, bool(fortran), content)
        return self._objects(array, depth) if array.dtype == object else array

    def _chumpy(self, holder: Holder, depth: int) -> object:
        state = cast(dict[str, object], holder.state)
        return self.convert(state["x"], depth) if isinstance(state, dict) and "x" in state else holder

    def _select(self, holder: Holder, depth: int) -> object:
        state = cast(dict[str, object], holder.state)
        if not isinstance(state, dict) or not {"a", "idxs"} <= state.keys():
            return holder
        source, picks = (np.asarray(self.convert(state[key], depth)) for key in ("a", "idxs"))
        self.machine.spend(picks.size * source.itemsize)
        taken = source.ravel()[picks.astype(np.int64)]
        shape = self.convert(state.get("preferred_shape"), depth)
        return taken if shape is None else taken.reshape(np.asarray(shape, dtype=np.int64).tolist())

    def _sparse(self, holder: Holder, depth: int) -> object:
        """scipy's compressed columns or rows, checked here because scipy trusts its indices."""
        from scipy.sparse import csc_matrix, csr_matrix

        state = cast(dict[str, Any], holder.state)
        data, rows, starts = (np.asarray(self.convert(state[key], depth)) for key in ("data", "indices", "indptr"))
        shape = tuple(int(size) for size in state.get("_shape") or state["shape"])
        # Named for columns; in compressed rows the two change places.
        n_rows, n_columns = shape if holder.kind == "csc_matrix" else shape[::-1]
        numeric = data.dtype.kind in "biuf" and rows.dtype.kind in "iu" and starts.dtype.kind in "iu"
        rows, starts = rows.astype(np.int64), starts.astype(np.int64)
        if not (
            numeric
            and data.ndim == rows.ndim == starts.ndim == 1
            and len(starts) == n_columns + 1
            and len(rows) == len(data) == starts[-1]
            and starts[0] == 0
            and (np.diff(starts) >= 0).all()
            and ((0 <= rows) & (rows < n_rows)).all()
        ):
            raise Damaged("holds a sparse matrix whose parts do not fit together")
        make = csc_matrix if holder.kind == "csc_matrix" else csr_matrix
        return make((data, rows, starts), shape=shape)


def _make_array(machine: Machine, shape: Any, dtype: Any, fortran: bool, content: Any) -> np.ndarray:
    """An array from the parts of its pickle; owns its memory, in the machine's byte order."""
    kind = _dtype(dtype)
    sizes = tuple(int(size) for size in ((shape,) if isinstance(shape, int) else shape))
    count = math.prod(sizes)
    if min(sizes, default=0) < 0 or len(sizes) > 16:
        raise Damaged(f"holds an array of shape {sizes[:16]}")
    order = "F" if fortran else "C"
    if kind.kind == "O":
        if not isinstance(content, list) or len(content) != count:
            raise Damaged("holds an object array without its objects")
        machine.spend(8 * count)
        flat = np.empty(count, dtype=object)
        for index, item in enumerate(content):
            flat[index] = item
        return flat.reshape(sizes, order=order)
    data = content.encode("latin-1") if isinstance(content, str) else content
    if not isinstance(data, bytes) or len(data) != count * kind.itemsize:
        found = len(data) if isinstance(data, bytes) else type(data).__name__
        raise Damaged(f"holds an array of shape {sizes} and type {kind} with {found} bytes")
    machine.spend(len(data))
    return np.frombuffer(data, dtype=kind).reshape(sizes, order=order).astype(kind.newbyteorder("="))


def _dtype(value: object) -> np.dtype[Any]:
    """The numpy type of a pickled `numpy.dtype`, plain types only."""
    if not isinstance(value, Holder) or not value.kind.startswith("dtype "):
        raise Damaged("holds an array without a type")
    code, state = value.kind.removeprefix("dtype "), value.state
    order = ""
    if isinstance(state, tuple) and len(state) >= 5:
        if any(part is not None for part in state[2:5]):
            raise Refused("numpy.dtype of a structured type")
        order = state[1] if state[1] in ("<", ">") else ""
    return np.dtype(object) if code.startswith("O") else np.dtype(f"{order}{code}")


def _build_dtype(machine: Machine, code: object, *_flags: object) -> Holder:
    text = code.decode("latin-1") if isinstance(code, bytes) else code
    match = _TYPE_CODE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Refused(f"numpy.dtype({str(text)[:40]!r})" if isinstance(text, str) else "numpy.dtype of another type")
    return Holder(f"dtype {match[2]}")


def _build_array(machine: Machine, kind: object, *_empty: object) -> Holder:
    if not isinstance(kind, Allowed) or kind.name != "numpy.ndarray":
        raise Damaged("rebuilds an array of an unknown class")
    return Holder("ndarray")


def _build_array_from_buffer(machine: Machine, data: object, dtype: object, shape: object, order: object) -> np.ndarray:
    return _make_array(machine, shape, dtype, order == "F", data)


def _build_scalar(machine: Machine, dtype: object, data: object) -> object:
    return _make_array(machine, (), dtype, False, [data] if _dtype(dtype).kind == "O" else data)[()]


def _build_from_class(machine: Machine, kind: object, *arguments: object) -> object:
    """`copyreg.__newobj__` and `copyreg._reconstructor`; the latter's base and state are of no use here."""
    if not isinstance(kind, Allowed) or kind not in _CLASSES.values():
        raise Damaged("builds an object of an unknown class")
    return kind.build(machine)


def _build_set(machine: Machine, items: object = ()) -> set[object]:
    if not isinstance(items, list | tuple) or not all(item is None or isinstance(item, str | int) for item in items):
        raise Damaged("builds a set of something that is not a list of names")
    machine.spend(len(items))
    return set(items)


def _build_dict(machine: Machine, items: object = ()) -> dict[object, object]:
    if items:
        raise Damaged("builds an ordered dictionary in an unknown way")
    return {}


def _build_bytes(machine: Machine, text: object, codec: object = "latin1") -> bytes:
    if not isinstance(text, str) or codec not in ("latin1", "latin-1", "bytes"):
        raise Refused(f"_codecs.encode with {str(codec)[:20]!r}")
    machine.spend(len(text))
    return text.encode("latin-1")


def _build_storage(machine: Machine, blob: object) -> np.ndarray:
    """torch's legacy stream: magic number, protocol, system, the storage's description, keys, count, raw data."""
    if not isinstance(blob, bytes):
        raise Damaged("holds a torch tensor without its bytes")
    machine.spend(len(blob))
    described: list[tuple[Any, ...]] = []

    def persistent(key: object) -> object:
        described.append(cast(tuple[Any, ...], key))
        return key

    position, parts = 0, []
    for _ in range(5):
        inner = Machine(blob, _STORAGES, position=position, persistent=persistent)
        parts.append(inner.run())
        position = inner.position
    if parts[0] != 0x1950A86A20F9469CFC6C or len(described) != 1 or not isinstance(described[0][1], Allowed):
        raise Damaged("holds a torch tensor in an unknown layout")
    dtype = np.dtype(_STORAGE_TYPES[described[0][1].name])
    count = int.from_bytes(blob[position : position + 8], "little")
    if len(blob) != position + 8 + count * dtype.itemsize:
        raise Damaged("holds a torch tensor that is cut short")
    return np.frombuffer(blob, dtype=dtype, offset=position + 8).astype(dtype.newbyteorder("="))


def _build_tensor(machine: Machine, storage: Any, offset: Any, size: Any, stride: Any, *_rest: object) -> np.ndarray:
    sizes, count = tuple(int(n) for n in size), math.prod(int(n) for n in size)
    contiguous = tuple(math.prod(sizes[axis + 1 :]) for axis in range(len(sizes)))
    if not isinstance(storage, np.ndarray) or tuple(stride) != contiguous or offset < 0 or min(sizes, default=0) < 0:
        raise Damaged("holds a torch tensor in an unknown layout")
    machine.spend(count * storage.itemsize)
    return storage[offset : offset + count].reshape(sizes).copy()


def _refuse_call(machine: Machine, *_arguments: object) -> object:
    raise Damaged("calls a class that is only ever named")


def _table(*entries: Allowed) -> dict[str, Allowed]:
    return {entry.name: entry for entry in entries}


def _class(name: str, kind: str) -> Allowed:
    return Allowed(name, lambda machine, *_arguments: Holder(kind))


_STORAGE_TYPES = {
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
}
_STORAGES = _table(*(Allowed(name, _refuse_call) for name in _STORAGE_TYPES))

_CLASSES = _table(
    _class("scipy.sparse.csc.csc_matrix", "csc_matrix"),
    _class("scipy.sparse._csc.csc_matrix", "csc_matrix"),
    _class("scipy.sparse.csr.csr_matrix", "csr_matrix"),
    _class("scipy.sparse._csr.csr_matrix", "csr_matrix"),
    _class("chumpy.ch.Ch", "chumpy"),
    _class("chumpy.reordering.Select", "Select"),
    _class("chumpy.reordering.transpose", "chumpy.reordering.transpose"),
    _class("chumpy.ch_ops.add", "chumpy.ch_ops.add"),
    _class("__builtin__.object", "object"),
    _class("builtins.object", "object"),
)

ALLOWED = _CLASSES | _table(
    Allowed("numpy.core.multiarray._reconstruct", _build_array),
    Allowed("numpy._core.multiarray._reconstruct", _build_array),
    Allowed("numpy.core.multiarray.scalar", _build_scalar),
    Allowed("numpy._core.multiarray.scalar", _build_scalar),
    Allowed("numpy.core.numeric._frombuffer", _build_array_from_buffer),
    Allowed("numpy._core.numeric._frombuffer", _build_array_from_buffer),
    Allowed("numpy.ndarray", _refuse_call),
    Allowed("numpy.dtype", _build_dtype),
    Allowed("copy_reg._reconstructor", _build_from_class),
    Allowed("copyreg._reconstructor", _build_from_class),
    Allowed("copy_reg.__newobj__", _build_from_class),
    Allowed("copyreg.__newobj__", _build_from_class),
    Allowed("__builtin__.set", _build_set),
    Allowed("builtins.set", _build_set),
    Allowed("_codecs.encode", _build_bytes),
    Allowed("collections.OrderedDict", _build_dict),
    Allowed("torch._utils._rebuild_tensor_v2", _build_tensor),
    Allowed("torch.storage._load_from_bytes", _build_storage),
)
"""Every name that a file may use, as `module.name`."""
