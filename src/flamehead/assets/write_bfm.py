"""Write the colours of the Basel Face Model on FLAME's texture in the layout of `FLAME_albedo_from_BFM.npz`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.errors import InputError

__all__ = ["write_bfm_albedo"]


def write_bfm_albedo(
    path: StrPath,
    mean: Float[np.ndarray, "H W 3"],
    blocks: Iterable[Float[np.ndarray, "_ W 3 K"]],
    *,
    n_components: int,
) -> None:
    """Write `MU` (3 H W,) and `PC` (3 H W, K), float64 in the order BGR, of which only one block is in memory.

    Args:
        path: The file, ending in `.npz`.
        mean: RGB, row 0 at v = 1.
        blocks: The basis in strips of rows, from the first row to the last; RGB change per standard deviation.
        n_components: K.

    Raises:
        InputError: Another suffix, or a folder that cannot be written.
    """
    if Path(path).suffix.lower() != ".npz":
        raise InputError(f"Cannot write {path}: the suffix is {Path(path).suffix!r}, wanted '.npz'.")
    # Not compressed, like the official file, so that readers can map it into memory.
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("MU.npy", "w", force_zip64=True) as file:
            flat = np.ascontiguousarray(mean[..., ::-1], dtype="<f8").reshape(-1)
            np.lib.format.write_array(file, flat, allow_pickle=False)
        header = {"descr": "<f8", "fortran_order": False, "shape": (mean.size, n_components)}
        with archive.open("PC.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            rows = 0
            for block in blocks:
                rows += len(block)
                file.write(np.ascontiguousarray(block[:, :, ::-1], dtype="<f8").data)
        assert rows == len(mean), "the blocks cover the image"
