"""Write FLAME_masks.pkl."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from flamehead._types import StrPath
from flamehead.assets.legacy_pickle import write_legacy_pickle

__all__ = ["write_masks"]


def write_masks(path: StrPath, regions: Mapping[str, Int[np.ndarray, "N"]]) -> None:
    """Write vertex ids by region like the official file: a text pickle of int64 arrays. Whole or not at all."""
    entries = {name: np.asarray(ids, dtype=np.int64) for name, ids in regions.items()}
    write_legacy_pickle(path, entries, protocol=0)
