"""The colour model of the Basel Face Model 2017 on FLAME's texture, one strip of texels at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from flamehead._types import StrPath
from flamehead.assets.kinds import BfmModel, BfmTexels, InpaintingSpace
from flamehead.assets.write_bfm import write_bfm_albedo
from flamehead.errors import InputError

__all__ = ["convert_bfm_colors"]

_ROWS = 8
"""Rows of texels in memory: 20 MB of 512 texels, 199 components."""


def convert_bfm_colors(
    path: StrPath, model: BfmModel, texels: BfmTexels, *, inpainting: InpaintingSpace | None = None
) -> None:
    """Write `FLAME_albedo_from_BFM.npz`; besides the model some 100 MB of memory are needed.

    A texel's colour is the barycentric mean of its Basel vertices, in mean and basis alike: texture = MU + PC c with
    c ~ N(0, 1). Texels that the Basel Face Model does not cover are zero, or the inpainting space's, enlarged.

    Args:
        path: The file, ending in `.npz`; with 199 components it has 1.26 GB.
        model: From `read_bfm`; the one of 2017 with 53149 vertices.
        texels: From `cached_data.npy`.
        inpainting: From `mask_inpainting.npz`.

    Raises:
        InputError: The model is another than that of the table, or the file cannot be written.
    """
    n_vertices, _, count = model.color_basis.shape
    if model.release != "2017":
        raise InputError(
            f"The texel table names vertices of the Basel Face Model 2017, not of {model.release}; give "
            "model2017-1_bfm_nomouth.h5."
        )
    if texels.vertex_ids.size and texels.vertex_ids.max() >= n_vertices:
        raise InputError(
            f"The texel table names Basel vertex {texels.vertex_ids.max()}, but this model has {n_vertices}; give "
            "model2017-1_bfm_nomouth.h5."
        )
    if inpainting is not None and inpainting.basis.shape[-1] < count:
        raise InputError(
            f"The inpainting space has {inpainting.basis.shape[-1]} components and the model {count}; give the "
            "mask_inpainting.npz that belongs to it, with all its components."
        )
    means = [block[..., 0] for block in _strips(texels, model.color_mean[..., None], _space(inpainting, None))]
    strips = _strips(texels, model.color_basis, _space(inpainting, count))
    write_bfm_albedo(path, np.concatenate(means), strips, n_components=count)


def _space(inpainting: InpaintingSpace | None, count: int | None) -> Float[np.ndarray, "R R 3 K"] | None:
    if inpainting is None:
        return None
    return inpainting.mean[..., None] if count is None else inpainting.basis[..., :count]


def _strips(
    texels: BfmTexels, colors: Float[np.ndarray, "B 3 K"], filling: Float[np.ndarray, "R R 3 K"] | None
) -> Iterator[Float[np.ndarray, "_ W 3 K"]]:
    """Images of per-vertex colours, a few rows at a time, RGB."""
    width, height = texels.size
    columns = np.floor(texels.x[texels.texel_ids]).astype(np.int64)
    rows = np.floor(texels.y[texels.texel_ids]).astype(np.int64)
    order = np.argsort(rows, kind="stable")
    starts = np.searchsorted(rows[order], np.arange(0, height + _ROWS, _ROWS))
    for strip, top in enumerate(range(0, height, _ROWS)):
        inside = order[starts[strip] : starts[strip + 1]]
        size = min(_ROWS, height - top)
        if filling is None:
            block = np.zeros((size, width, *colors.shape[1:]))
        else:
            block = _enlarged(filling, np.arange(top, top + size), width, height)
        covered = np.zeros((len(inside), *colors.shape[1:]))
        for corner in range(3):
            weight = texels.barycentric[inside, corner, None, None]
            covered += weight * colors[texels.vertex_ids[inside, corner]]
        block[rows[inside] - top, columns[inside]] = covered
        yield block


def _enlarged(
    image: Float[np.ndarray, "R R 3 K"], rows: np.ndarray, width: int, height: int
) -> Float[np.ndarray, "N W 3 K"]:
    """Some rows of an image enlarged to `height` by `width`, bilinear between texel centres."""
    top, bottom, down = _between(rows, height, image.shape[0])
    left, right, across = _between(np.arange(width), width, image.shape[1])
    down = down[:, None, None, None]
    strip = (1.0 - down) * image[top] + down * image[bottom]
    across = across[None, :, None, None]
    return (1.0 - across) * strip[:, left] + across * strip[:, right]


def _between(at: np.ndarray, size: int, small: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two small texels around each large one, and how far it is towards the second."""
    place = np.clip((at + 0.5) * small / size - 0.5, 0.0, small - 1.0)
    low = np.minimum(np.floor(place).astype(np.int64), max(small - 2, 0))
    return low, np.minimum(low + 1, small - 1), place - low
