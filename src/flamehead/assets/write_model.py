"""Write FLAME model files in the official layout."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from flamehead._types import StrPath
from flamehead.assets.fingerprint import BUILTIN, MARK_KEY, content_fingerprint, mark
from flamehead.assets.legacy_pickle import write_legacy_pickle
from flamehead.assets.model_file import FlameArrays
from flamehead.assets.read_model import N_IDENTITY
from flamehead.errors import InputError

__all__ = ["write_model"]

_NO_PARENT = 2**32 - 1


def write_model(path: StrPath, arrays: FlameArrays) -> None:
    """Write a model like the official `generic_model.pkl`: protocol 2, plain numpy and scipy inside, no chumpy.

    The file is written whole or not at all. It opens with old and new programs, which read it with
    `pickle.load(file, encoding="latin1")`, and with `read_model`. The built-in head is marked as such, by one key more.

    Raises:
        InputError: the model has other than 300 identity columns, so that programs could not tell identity from
            expression; or the file cannot be written.
    """
    n_shape = arrays.shape_basis.shape[-1]
    if n_shape != N_IDENTITY:
        raise InputError(
            f"Cannot write {path}: the model has {n_shape} identity columns, wanted {N_IDENTITY}, after which readers "
            "expect the expressions; pad the basis with zeros."
        )
    regressor = scipy.sparse.csc_matrix(arrays.joint_regressor)
    parents = [_NO_PARENT if parent < 0 else parent for parent in arrays.parents]
    entries: dict[str, object] = {
        "v_template": _doubles(arrays.template),
        "f": arrays.faces.astype(np.uint32),
        "shapedirs": np.concatenate([arrays.shape_basis, arrays.expression_basis], axis=-1, dtype=np.float64),
        "posedirs": _doubles(arrays.pose_basis),
        "weights": _doubles(arrays.skin_weights),
        "J_regressor": regressor,
        "kintree_table": np.array([parents, range(len(parents))], dtype=np.uint32),
        "J": arrays.joint_regressor @ arrays.template,
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    if arrays.fingerprint.startswith(BUILTIN):
        entries[MARK_KEY] = mark(arrays.fingerprint, content_fingerprint(_numbers(arrays, regressor)))
    write_legacy_pickle(path, entries, protocol=2)


def _numbers(arrays: FlameArrays, regressor: scipy.sparse.csc_matrix) -> dict[str, np.ndarray]:
    """The arrays as `read_model` will find them."""
    return {
        "template": _doubles(arrays.template),
        "faces": arrays.faces.astype(np.int64),
        "shape_basis": _doubles(arrays.shape_basis),
        "expression_basis": _doubles(arrays.expression_basis),
        "pose_basis": _doubles(arrays.pose_basis),
        "skin_weights": _doubles(arrays.skin_weights),
        # By way of the sparse matrix, which keeps no negative zeros.
        "joint_regressor": _doubles(regressor.toarray()),
    }


def _doubles(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.float64)
