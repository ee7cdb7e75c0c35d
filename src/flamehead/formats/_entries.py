"""Named arrays of other projects' files: checked with one sentence, read from and written to `.npz`."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.assets import read_npz
from flamehead.errors import InputError

__all__ = ["Kind", "fit_width", "read_entries", "same_size", "take", "to_numpy", "to_tensor", "write_entries"]

_COMMENT = b"flamehead fingerprint "


class Kind(NamedTuple):
    """A file layout: its name for messages, and the entries it has."""

    name: str
    """With its article, such as `a VHAP file`."""
    shapes: Mapping[str, tuple[int | str, ...]]
    """Shapes of the float entries; a letter stands for any size that is the same in all entries."""
    optional: Collection[str] = ()
    """Those of the above that may be absent."""


def take(entries: Mapping[str, Any], kind: Kind, where: str) -> dict[str, np.ndarray]:
    """The float entries of a layout, checked; other entries are left alone.

    Args:
        entries: what was read.
        kind: the layout.
        where: the file, for messages.

    Raises:
        InputError: an entry is missing, is not made of finite floats, or has another shape.
    """
    sizes: dict[str, int] = {}
    taken: dict[str, np.ndarray] = {}
    for key, shape in kind.shapes.items():
        if key in entries:
            taken[key] = _checked(entries[key], key, shape, sizes, kind, where)
        elif key not in kind.optional:
            held = ", ".join(map(repr, sorted(map(str, entries))[:8])) or "nothing"
            raise InputError(f"{where} is not {kind.name}: it lacks {key!r} (it holds {held}); pass the right file.")
    return taken


def _checked(
    value: Any, key: str, shape: tuple[int | str, ...], sizes: dict[str, int], kind: Kind, where: str
) -> np.ndarray:
    wanted = " x ".join(str(sizes.get(n, n) if isinstance(n, str) else n) for n in shape)
    found = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
    array = value if isinstance(value, np.ndarray) and value.dtype.kind == "f" else np.empty(0, dtype=bool)
    if array.ndim == len(shape) and array.dtype.kind == "f":
        pairs = list(zip(shape, array.shape, strict=True))
        if all(got == (sizes.setdefault(n, got) if isinstance(n, str) else n) for n, got in pairs):
            if np.isfinite(array).all():
                return array
            found = "NaN or infinity"
    raise InputError(f"The entry {key!r} of {where} is {found}, but {kind.name} has finite floats {wanted} there.")


def read_entries(path: StrPath, kind: Kind) -> tuple[dict[str, Any], str]:
    """All arrays of an `.npz` file, and the model's fingerprint if flamehead wrote it (else empty).

    Raises:
        AssetNotFound: there is no such file.
        InputError: it is damaged, or holds objects other than text.
    """
    entries = read_npz(path)
    for key, value in entries.items():
        if not isinstance(value, np.ndarray) or value.dtype == object:
            entries[key] = _text(value, key, str(path), kind)
    with zipfile.ZipFile(path) as archive:
        comment = archive.comment
    return entries, comment.removeprefix(_COMMENT).decode("utf-8", "replace") if comment.startswith(_COMMENT) else ""


def write_entries(path: StrPath, entries: Mapping[str, Any], *, fingerprint: str = "") -> None:
    """Write arrays as `.npz`. The fingerprint goes into the archive's comment, which other readers do not see."""
    if Path(path).suffix.lower() != ".npz":
        raise InputError(f"Cannot write {path}: the suffix is {Path(path).suffix!r}, wanted '.npz'.")
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for key, value in entries.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(value), allow_pickle=False)
        archive.comment = _COMMENT + fingerprint.encode() if fingerprint else b""


def _text(value: Any, key: str, where: str, kind: Kind) -> np.ndarray:
    """Pickled strings as an array of text."""
    items = value.ravel().tolist() if isinstance(value, np.ndarray) else [value]
    if not all(isinstance(item, str) for item in items):
        raise InputError(f"The entry {key!r} of {where} holds Python objects, but {kind.name} has arrays only.")
    return np.array(items, dtype=str).reshape(value.shape if isinstance(value, np.ndarray) else ())


def to_tensor(array: np.ndarray) -> Tensor:
    """A tensor of its own memory, in the array's type."""
    return torch.from_numpy(np.array(array, order="C"))


def to_numpy(tensor: Tensor, *, dtype: type[np.floating] = np.float32) -> np.ndarray:
    """The numbers of a tensor, in the float type that files of the field have."""
    return tensor.detach().cpu().numpy().astype(dtype)


def fit_width(values: Tensor, width: int, name: str, layout: str) -> Tensor:
    """Coefficients brought to `width` numbers by appending or removing zeros.

    Raises:
        InputError: numbers other than zero would be lost.
    """
    surplus = values[..., width:]
    if bool((surplus != 0).any()):
        raise InputError(
            f"{name} has {values.shape[-1]} coefficients, but {layout} keeps {width} of them; set the others to zero "
            "or fit with fewer."
        )
    missing = width - values.shape[-1]
    return torch.nn.functional.pad(values, (0, missing)) if missing > 0 else values[..., :width]


def same_size(sizes: Collection[tuple[int, int]], what: str) -> tuple[int, int]:
    """The one image size of several frames."""
    if len(set(sizes)) != 1:
        listed = ", ".join(f"{w}x{h}" for w, h in sorted(set(sizes))[:4]) or "none"
        raise InputError(f"{what} have images of different sizes ({listed}); convert those of one size at a time.")
    return next(iter(sizes))
