"""Official FLAME model files: open, check, normalise."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from flamehead._types import StrPath
from flamehead.assets.converted import STAMP_KEYS, stamped_fingerprint, stamped_split, stamped_variant
from flamehead.assets.fingerprint import MARK_KEY, content_fingerprint, marked_fingerprint
from flamehead.assets.model_file import FlameArrays, Variant
from flamehead.assets.releases import check_variant, variant_in
from flamehead.assets.safe_numpy import is_zip, map_npz
from flamehead.assets.safe_pickle import read_bytes, unpickle
from flamehead.assets.safetensors import is_safetensors, read_safetensors
from flamehead.errors import InputError

__all__ = ["N_IDENTITY", "is_model", "model_in", "read_model"]

N_IDENTITY = 300
"""Identity columns of an official `shapedirs`, whatever their number after these."""

_PARENTS = (-1, 0, 1, 1, 1)
_ALIASES = {
    "v_template": ("default_v", "template_v"),
    "f": (),
    "shapedirs": (),
    "posedirs": ("blendshapes",),
    "weights": (),
    "J_regressor": ("joint_regressor",),
    "kintree_table": (),
}
"""The keys that a model needs, and the names that some of them had in the past."""
_OLD_NAMES = frozenset(old for names in _ALIASES.values() for old in names)
_KEYS = frozenset(_ALIASES) | _OLD_NAMES | {"J", "joints", MARK_KEY} | STAMP_KEYS
_MOST_BYTES = 2**28
_LARGEST = 1000.0
"""Metres, or metres per unit; numbers whose bytes were swapped are larger by far."""
_AGAIN = "download the model again from the FLAME site"

_log = logging.getLogger(__name__)


def read_model(path: StrPath, *, n_shape: int | None = None, variant: str = "unknown") -> FlameArrays:
    """Open an official FLAME model, a pickle, or an `.npz` or `.safetensors` with the same keys, whatever its name.

    Nothing in the file is executed, and chumpy is not needed. `shapedirs` with 300 columns or more has 300 of identity
    followed by expression; a smaller one, from an old cut-down file, has as many of each.

    Args:
        path: the file.
        n_shape: number of identity columns, for a file that is split otherwise.
        variant: the release, which most files do not say; one of `flamehead.assets.VARIANTS`. `2023-no-jaw` has the
            arrays of any other release, so that only the user can tell.

    Returns:
        The arrays in float64. Their fingerprint covers the numbers and not the file, so that a pickle and a re-saved
        `.npz` of the same model agree. An unchanged export of the built-in head keeps the built-in head's.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that a FLAME file never needs.
        InputError: it is damaged, or not a FLAME model; the message names the key, what was found and what was wanted.
    """
    return model_in(_read(path), str(path), n_shape=n_shape, variant=variant)


def model_in(
    content: Mapping[str, Any], name: str, *, n_shape: int | None = None, variant: str = "unknown"
) -> FlameArrays:
    """The model in the entries of a file; like `read_model`. `name` is used in messages."""
    said = check_variant(variant)
    file = _File(name, _old_names(content) | {"J": content.get("joints")} | dict(content))
    template = file.floats("v_template", (None, 3))
    faces = _faces(file, len(template))
    basis = file.floats("shapedirs", (len(template), 3, None))
    pose_basis = file.floats("posedirs", (len(template), 3, 9 * (len(_PARENTS) - 1)))
    weights = file.floats("weights", (len(template), len(_PARENTS)))
    regressor = file.floats("J_regressor", (len(_PARENTS), len(template)))
    _check_parents(file)
    _check_sums(file, weights, regressor, template)
    split = _split(file, basis.shape[-1], n_shape)
    arrays = {
        "template": _owned(template),
        "faces": faces,
        "shape_basis": _owned(basis[..., :split]),
        "expression_basis": _owned(basis[..., split:]),
        "pose_basis": _owned(pose_basis),
        "skin_weights": _owned(weights),
        "joint_regressor": _owned(regressor),
    }
    # The stamp of a converted file is for the split that it names.
    stamp = stamped_fingerprint(file.entries) if split == stamped_split(file.entries) else None
    fingerprint = stamp or _fingerprint(file.entries, arrays)
    if said == "unknown":
        said = _own_variant(file.entries)
    return FlameArrays(**arrays, parents=_PARENTS, fingerprint=fingerprint, source=name, variant=said)


def _owned(array: np.ndarray) -> np.ndarray:
    """In C order, and a copy where the array is a mapped part of the file, which may change later."""
    return np.ascontiguousarray(array) if array.flags.writeable else array.copy(order="C")


def _fingerprint(entries: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Of the numbers; an export of the built-in head keeps the head's own while its numbers are the head's."""
    numbers = content_fingerprint(arrays)
    return marked_fingerprint(entries.get(MARK_KEY), numbers) or numbers


def _own_variant(entries: Mapping[str, Any]) -> Variant:
    stamped = stamped_variant(entries)
    return stamped if stamped != "unknown" else variant_in(entries)


def is_model(keys: object) -> bool:
    """Whether a file with these keys is a FLAME model."""
    if not isinstance(keys, Mapping):
        return False
    return "shapedirs" in keys and ("J_regressor" in keys or "J_regressor" in _old_names(keys))


def _old_names(keys: Mapping[Any, Any]) -> dict[str, object]:
    return {new: keys[old] for new, names in _ALIASES.items() for old in names if old in keys}


class _File(NamedTuple):
    """The entries of a model file; every complaint names the file and the key."""

    path: str
    entries: dict[str, Any]

    def floats(self, key: str, wanted: tuple[int | None, ...]) -> np.ndarray:
        """A finite float64 array of a known shape; None stands for any size above zero."""
        array = self.array(key, wanted, kinds="fiu").astype(np.float64, copy=False)
        if not np.isfinite(array).all():
            raise self.error(key, f"{int((~np.isfinite(array)).sum())} values that are not finite", "finite numbers")
        largest = max(array.max(initial=0), -array.min(initial=0))
        if largest > _LARGEST:
            raise self.error(
                key, f"a largest value of {largest:.3g}", f"at most {_LARGEST:g} (is its byte order right?)"
            )
        return array

    def array(self, key: str, wanted: tuple[int | None, ...], *, kinds: str) -> np.ndarray:
        value = self.entries.get(key)
        if value is None:
            held = ", ".join(sorted(str(name)[:24] for name in self.entries)[:12]) or "none"
            raise InputError(
                f"{self.path} has no key {key!r} (it has: {held}), so it is not a FLAME model; pass an official model "
                "file such as flame2023_Open.pkl or generic_model.pkl."
            )
        text = "(" + ", ".join("any" if size is None else str(size) for size in wanted) + ")"
        shape = getattr(value, "shape", None)
        if shape is None or len(shape) != len(wanted) or not all(map(_fits, shape, wanted)):
            found = (
                f"shape {tuple(shape)}" if shape is not None else f"a {getattr(value, 'kind', type(value).__name__)}"
            )
            raise self.error(key, found, f"shape {text}")
        # Only now: a sparse matrix may claim any size.
        array = value.toarray() if scipy.sparse.issparse(value) else np.asarray(value)
        if array.dtype.kind not in kinds:
            raise self.error(key, f"type {array.dtype}", "integers" if kinds == "iu" else "numbers")
        return array

    def error(self, key: str, found: str, wanted: str) -> InputError:
        return InputError(f"{self.path}: key {key!r} has {found}, wanted {wanted}; {_AGAIN}.")


def _fits(size: int, wanted: int | None) -> bool:
    return size == wanted if wanted is not None else size > 0


def _read(path: StrPath) -> dict[str, Any]:
    """The entries of the file."""
    start = _start(Path(path)) if Path(path).is_file() else b""
    if is_zip(start):
        entries: object = map_npz(path, keys=_KEYS, most=_MOST_BYTES)
    elif is_safetensors(start):
        numbers, texts = read_safetensors(path)
        entries = numbers | texts
    else:
        entries = unpickle(read_bytes(path), str(path))
    if not isinstance(entries, dict):
        raise InputError(
            f"{path} holds a {type(entries).__name__}, wanted a dictionary of arrays, so it is not a FLAME model; "
            "pass an official model file."
        )
    return entries


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(16)


def _faces(file: _File, n_vertices: int) -> np.ndarray:
    faces = file.array("f", (None, 3), kinds="iu").astype(np.int64)
    if faces.min() < 0 or faces.max() >= n_vertices:
        raise file.error("f", f"vertex ids {faces.min()}..{faces.max()}", f"0..{n_vertices - 1}")
    return np.ascontiguousarray(faces)


def _check_parents(file: _File) -> None:
    table = file.array("kintree_table", (2, len(_PARENTS)), kinds="iu")
    # The root's parent is an unsigned -1 in some files and anything in others.
    found = (-1, *(int(parent) for parent in table[0, 1:]))
    if found != _PARENTS:
        raise file.error("kintree_table", f"parents {found}", f"{_PARENTS}")


def _check_sums(file: _File, weights: np.ndarray, regressor: np.ndarray, template: np.ndarray) -> None:
    """Weights must be shares; an odd regressor or rest pose is only worth a warning."""
    off = np.abs(weights.sum(axis=1) - 1).max()
    if weights.min() < -1e-8 or off > 1e-5:
        raise file.error("weights", f"a smallest weight of {weights.min():.3g} and row sums off by {off:.3g}", "shares")
    if (off := np.abs(regressor.sum(axis=1) - 1).max()) > 1e-4:
        _log.warning("%s: rows of J_regressor sum to 1 only within %.3g; joints may be misplaced.", file.path, off)
    rest = file.entries.get("J")
    if isinstance(rest, np.ndarray) and rest.shape == (len(_PARENTS), 3) and rest.dtype.kind == "f":
        if (off := np.abs(regressor @ template - rest).max()) > 1e-3:
            _log.warning("%s: J differs from J_regressor * v_template by %.3g m; J is ignored.", file.path, off)


def _split(file: _File, columns: int, n_shape: int | None) -> int:
    """How many of the columns of `shapedirs` are identity."""
    if n_shape is not None:
        if not 0 <= n_shape <= columns:
            raise InputError(f"n_shape is {n_shape}, but {file.path} has {columns} columns; give 0..{columns}.")
        return n_shape
    if (stamped := stamped_split(file.entries)) is not None and stamped <= columns:
        return stamped
    if columns >= N_IDENTITY:
        return N_IDENTITY
    if columns % 2:
        raise InputError(f"{file.path}: key 'shapedirs' has {columns} columns, which cannot be halved; give n_shape=.")
    return columns // 2
