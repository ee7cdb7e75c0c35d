"""FLAME_masks.pkl: named regions of the head."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from flamehead._types import StrPath
from flamehead.assets.safe_pickle import read_bytes, unpickle
from flamehead.errors import InputError

__all__ = ["masks_in", "read_masks"]

MOST_BYTES = 2**24
"""The official file has 215 kB."""
_N_VERTICES = 5023
_TYPICAL = frozenset({"face", "scalp", "neck", "nose", "lips"})


def read_masks(path: StrPath) -> dict[str, Int[np.ndarray, "N"]]:
    """Vertex ids by region, sorted and unique. A file whose line ends were turned into CRLF is repaired.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that a FLAME file never needs.
        InputError: it is damaged or not a file of masks.
    """
    found = masks_in(unpickle(read_bytes(path, most=MOST_BYTES), str(path)), str(path))
    if not found:
        raise InputError(f"{path} is not a file of FLAME masks; pass FLAME_masks.pkl from the FLAME site.")
    return found


def masks_in(content: object, name: str) -> dict[str, Int[np.ndarray, "N"]]:
    """The masks in the entries of a file; none when it is something else. `name` is used in messages."""
    if not isinstance(content, dict) or not _TYPICAL <= content.keys():
        return {}
    masks = {}
    for key, ids in content.items():
        if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise InputError(f"{name}: mask {str(key)[:24]!r} is not a list of vertex ids; download it again.")
        if len(ids) and not 0 <= ids.min() <= ids.max() < _N_VERTICES:
            raise InputError(
                f"{name}: mask {str(key)[:24]!r} uses vertices {ids.min()}..{ids.max()}, wanted 0..{_N_VERTICES - 1}."
            )
        masks[str(key)] = np.unique(ids.astype(np.int64))
    return masks
