"""Official FLAME model files: open, check, normalise."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from flamehead._types import StrPath
from flamehead.assets.fingerprint import MARK_KEY, content_fingerprint, marked_fingerprint
from flamehead.assets.model_file import FlameArrays
from flamehead.assets.safe_numpy import is_zip, read_npz
from flamehead.assets.safe_pickle import read_bytes, unpickle
from flamehead.errors import InputError

__all__ = ["N_IDENTITY", "is_model", "read_model"]

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
_KEYS = frozenset(_ALIASES) | {old for names in _ALIASES.values() for old in names} | {"J", "joints", MARK_KEY}
_MOST_BYTES = 2**29
_AGAIN = "download the model again from the FLAME site"

_log = logging.getLogger(__name__)


def read_model(path: StrPath, *, n_shape: int | None = None) -> FlameArrays:
    """Open an official FLAME model, a pickle or an `.npz` with the same keys; the content decides, not the name.

    Nothing in the file is executed, and chumpy is not needed. `shapedirs` with 300 columns or more has 300 of identity
    followed by expression; a smaller one, from an old cut-down file, has as many of each.

    Args:
        path: the file.
        n_shape: number of identity columns, for a file that is split otherwise.

    Returns:
        The arrays in float64. Their fingerprint covers the numbers and not the file, so that a pickle and a re-saved
        `.npz` of the same model agree. An unchanged export of the built-in head keeps the built-in head's.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that a FLAME file never needs.
        InputError: it is damaged, or not a FLAME model; the message names the key, what was found and what was wanted.
    """
    file = _File(str(path), _read(path))
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
        "template": template,
        "faces": faces,
        "shape_basis": np.ascontiguousarray(basis[..., :split]),
        "expression_basis": np.ascontiguousarray(basis[..., split:]),
        "pose_basis": pose_basis,
        "skin_weights": weights,
        "joint_regressor": regressor,
    }
    numbers = content_fingerprint(arrays)
    fingerprint = marked_fingerprint(file.entries.get(MARK_KEY), numbers) or numbers
    return FlameArrays(**arrays, parents=_PARENTS, fingerprint=fingerprint, source=str(path))


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
        return np.ascontiguousarray(array)

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
    """The entries of the file under today's names."""
    if Path(path).is_file() and is_zip(_start(Path(path))):
        entries: object = read_npz(path, keys=_KEYS, most=_MOST_BYTES)
    else:
        entries = unpickle(read_bytes(path), str(path))
    if not isinstance(entries, dict):
        raise InputError(
            f"{path} holds a {type(entries).__name__}, wanted a dictionary of arrays, so it is not a FLAME model; "
            "pass an official model file."
        )
    return _old_names(entries) | {"J": entries.get("joints")} | entries


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(8)


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
    if columns >= N_IDENTITY:
        return N_IDENTITY
    if columns % 2:
        raise InputError(f"{file.path}: key 'shapedirs' has {columns} columns, which cannot be halved; give n_shape=.")
    return columns // 2
