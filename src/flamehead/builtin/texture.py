"""Texels of a UV layout: which triangle each one shows, and baking a painted surface into a texture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt

from flamehead.builtin.mesh import HeadMesh
from flamehead.builtin.uv import UvLayout

__all__ = ["PART_OF_ISLAND", "PaintFunction", "TexelTable", "bake", "nearest_rows", "texel_table", "texels_on_head"]

PaintFunction = Callable[[Float[np.ndarray, "N 3"], Int[np.ndarray, "N"]], Float[np.ndarray, "N C"]]
"""Colours of points: called with rest positions, cm, and parts (0 skin, 1 eyeball, 2 mouth bag, 3 eye socket)."""

PART_OF_ISLAND = np.array([0, 1, 1, 3, 3, 2, 2])
"""The part that each island of the layout shows."""
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class TexelTable:
    """For each texel the point of the mesh under its centre; row 0 is the top, v = 1."""

    valid: Bool[np.ndarray, "H W"]
    """Whether an island covers the centre; the rows below belong to these texels, in reading order."""
    face_ids: Int[np.ndarray, "N"]
    barycentric: Float[np.ndarray, "N 3"]


def texel_table(uv: Float[np.ndarray, "T 2"], faces: Int[np.ndarray, "F 3"], size: int) -> TexelTable:
    """Look up texel centres u = (column + 0.5) / size, v = 1 - (row + 0.5) / size among the UV triangles.

    A centre on a common edge belongs to the triangle with the smaller id.
    """
    corners = np.stack([uv[faces, 0] * size - 0.5, (1.0 - uv[faces, 1]) * size - 0.5], -1)
    low = np.clip(np.ceil(corners.min(1) - 1e-9), 0, size).astype(np.int64)
    high = np.clip(np.floor(corners.max(1) + 1e-9), -1, size - 1).astype(np.int64)
    extent = np.maximum(high - low + 1, 0)
    tried = np.cumsum(extent.prod(1))
    owner, weights = np.full(size * size, -1), np.zeros((size * size, 3))
    first = 0
    while first < len(faces):
        before = tried[first - 1] if first else 0
        last = max(int(np.searchsorted(tried, before + _AT_ONCE, side="right")), first + 1)
        ids, at, inside = _candidates(corners, low, extent, first, last)
        # Written from the last to the first, the triangle with the smallest id stays.
        texel = (at[:, 1] * size + at[:, 0])[::-1]
        owner[texel], weights[texel] = ids[::-1], inside[::-1]
        first = last
    valid = owner >= 0
    return TexelTable(valid.reshape(size, size), owner[valid], weights[valid])


def _candidates(
    corners: np.ndarray, low: np.ndarray, extent: np.ndarray, first: int, last: int
) -> tuple[Int[np.ndarray, "K"], Int[np.ndarray, "K 2"], Float[np.ndarray, "K 3"]]:
    """Triangle, texel and barycentric coordinates of all texel centres inside the triangles first..last-1."""
    counts = extent[first:last].prod(1)
    ids = np.repeat(np.arange(first, last), counts)
    place = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = extent[ids, 0]
    at = low[ids] + np.stack([place % width, place // width], -1)
    a, b, c = (corners[ids, k] - at for k in range(3))
    areas = np.stack([b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0], c[:, 0] * a[:, 1] - c[:, 1] * a[:, 0]], -1)
    whole = (corners[:, 1] - corners[:, 0]), (corners[:, 2] - corners[:, 0])
    twice = (whole[0][:, 0] * whole[1][:, 1] - whole[0][:, 1] * whole[1][:, 0])[ids]
    share = areas / np.where(twice == 0.0, 1.0, twice)[:, None]
    barycentric = np.concatenate([share, 1.0 - share.sum(1, keepdims=True)], axis=1)
    inside = (barycentric >= -1e-9).all(1) & (twice != 0.0)
    return ids[inside], at[inside], barycentric[inside]


def texels_on_head(
    table: TexelTable,
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    part_of_face: Int[np.ndarray, "F"],
) -> tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, "N"]]:
    """Position and part of each valid texel."""
    corners = vertices[faces[table.face_ids]]
    return np.einsum("nk,nkc->nc", table.barycentric, corners), part_of_face[table.face_ids]


def nearest_rows(valid: Bool[np.ndarray, "H W"]) -> Int[np.ndarray, "H W"]:
    """For each texel the row of the valid one that is nearest: outside the islands a texture repeats their borders, so
    that filtering mixes nothing foreign in."""
    rows = np.cumsum(valid.ravel()).reshape(valid.shape) - 1
    nearest = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return rows[tuple(np.asarray(nearest))]


def bake(mesh: HeadMesh, uv: UvLayout, paint: PaintFunction, size: int) -> Float[np.ndarray, "size size C"]:
    """A texture of the painted head, row 0 at the top."""
    table = texel_table(uv.uv, uv.faces, size)
    points, part = texels_on_head(table, mesh.vertices, mesh.faces, PART_OF_ISLAND[uv.island])
    return paint(points, part)[nearest_rows(table.valid)]
