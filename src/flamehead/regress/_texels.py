"""The texture's grid as a surface: what lies under each texel, its normals, and the dense mesh on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from flamehead.assets import TexelTable
from flamehead.raster import Fragments, interpolate, rasterize
from flamehead.regress.deca_assets import UV_SIDE, DecaAssets

__all__ = ["DenseTable", "area_normals", "dense_table", "detail_normals", "sample_image", "under_texels"]

_COLUMNS = range(2, 253)
_ROWS = range(5, 250)
"""DECA triangulates this part of the grid; its border lies outside of the layout."""


@dataclass(frozen=True)
class DenseTable:
    """A mesh with one vertex for each covered texel."""

    rows: Int[np.ndarray, "N"]
    columns: Int[np.ndarray, "N"]
    vertex_ids: Int[Tensor, "N 3"]
    """Corners of the triangle below."""
    barycentric: Float[Tensor, "N 3"]
    faces: Int[np.ndarray, "D 3"]


def under_texels(assets: DecaAssets) -> Fragments:
    """The triangle under the centre of each texel, u = (column + 0.5) / 256, v = 1 - (row + 0.5) / 256."""
    uv = np.asarray(assets.uv, dtype=np.float64)
    points = np.column_stack([UV_SIDE * uv[:, 0], UV_SIDE * (1.0 - uv[:, 1]), np.ones(len(uv))])
    faces = torch.from_numpy(np.ascontiguousarray(assets.uv_faces).astype(np.int64))
    return rasterize(torch.from_numpy(points), faces, (UV_SIDE, UV_SIDE))


def area_normals(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "V 3"]:
    """Vertex normals as DECA has them: weighted by area, and shorter than one where the sum is below 1e-6 (m^2)."""
    a, b, c = vertices[faces].unbind(-2)
    cross = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total = total.index_add(0, faces[:, corner], cross)
    return functional.normalize(total, dim=-1, eps=1e-6)


def detail_normals(
    vertices: Float[Tensor, "V 3"],
    normals: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    texels: Fragments,
    offsets: Float[Tensor, "256 256"],
    mask: Float[Tensor, "256 256"],
    fixed: Float[Tensor, "256 256"],
) -> Float[Tensor, "3 256 256"]:
    """Normals of the displaced texture grid inside the mask, and those of the coarse mesh outside.

    Args:
        vertices: of the posed coarse mesh, metres.
        normals: at its vertices.
        faces: of the coarse mesh.
        texels: from `under_texels`.
        offsets: of the decoder, metres.
        mask: where the decoder's offsets count.
        fixed: offsets that count everywhere, metres.
    """
    points = interpolate(vertices, faces, texels)
    smooth = interpolate(normals, faces, texels)
    moved = points + (offsets * mask + fixed)[..., None] * smooth
    fine = area_normals(moved.reshape(-1, 3), _grid_faces()).reshape(moved.shape)
    return (mask[..., None] * fine + (1 - mask[..., None]) * smooth).permute(2, 0, 1)


def dense_table(assets: DecaAssets, faces: Int[np.ndarray, "F 3"], texels: Fragments) -> DenseTable:
    """DECA's own table where the user has it, else one made from the layout, in another order of vertices."""
    if assets.dense is not None and assets.dense.dense_faces is not None:
        return _given(assets.dense, assets.dense.dense_faces)
    covered = texels.covered.numpy()
    rows, columns = np.nonzero(covered)
    number = np.full(covered.shape, -1)
    number[rows, columns] = np.arange(len(rows))
    grid = number.ravel()[_grid_faces().numpy()]
    ids = texels.face_ids.numpy()[rows, columns]
    whole = (grid >= 0).all(axis=1)
    # Texels of one piece of the layout share triangles or neighbours; across a seam the mesh would be torn wide.
    grid = grid[whole]
    close = _same_piece(assets.uv_faces, ids)[grid]
    grid = grid[(close == close[:, :1]).all(axis=1)]
    weights = texels.barycentric[torch.from_numpy(rows), torch.from_numpy(columns)]
    return DenseTable(rows, columns, torch.from_numpy(faces[ids].astype(np.int64)), weights, grid)


def sample_image(
    image: Float[Tensor, "3 H W"], places: Float[Tensor, "h w 2"], *, where: Bool[Tensor, "h w"] | None = None
) -> Float[Tensor, "3 h w"]:
    """Bilinear samples at places (x, y) in [-1, 1], the image's borders; black outside, and where not wanted."""
    found = functional.grid_sample(image[None], places[None].to(image), mode="bilinear", align_corners=False)[0]
    return found if where is None else found * where


def _given(table: TexelTable, faces: Int[np.ndarray, "D 3"]) -> DenseTable:
    ids = table.texel_ids
    return DenseTable(
        table.y[ids].astype(np.int64),
        table.x[ids].astype(np.int64),
        torch.from_numpy(np.asarray(table.vertex_ids, dtype=np.int64)),
        torch.from_numpy(np.asarray(table.barycentric, dtype=np.float32)),
        np.asarray(faces, dtype=np.int64),
    )


def _same_piece(uv_faces: Int[np.ndarray, "F 3"], ids: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
    """The connected piece of the layout that each of these triangles lies in."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    starts, ends = uv_faces.ravel(), np.roll(uv_faces, 1, axis=1).ravel()
    size = int(uv_faces.max()) + 1
    _, piece = connected_components(coo_matrix((np.ones(len(starts)), (starts, ends)), shape=(size, size)))
    return piece[uv_faces[ids, 0]]


def _grid_faces() -> Int[Tensor, "122990 3"]:
    """Two triangles for each square of texels, in DECA's order of corners."""
    y, x = torch.meshgrid(torch.tensor(_ROWS), torch.tensor(_COLUMNS), indexing="ij")
    here = (y * UV_SIDE + x).flatten()
    below, right, across = here + UV_SIDE, here + 1, here + UV_SIDE + 1
    return torch.cat([torch.stack([here, below, right], dim=1), torch.stack([right, below, across], dim=1)])
