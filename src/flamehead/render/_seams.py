"""A mesh cut open along the seams of its texture, so that one list of rows holds positions and texture coordinates."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from flamehead._triangles import Triangles, triangles_of
from flamehead.raster._remember import remembered
from flamehead.render.texture import check_same_faces

__all__ = ["CutMesh", "cut_mesh", "cut_triangles"]


@dataclass(frozen=True)
class CutMesh:
    """One row for each vertex and texture coordinate that meet at a corner."""

    vertex_rows: Int[Tensor, "N"]
    uv_rows: Int[Tensor, "N"]
    faces: Int[Tensor, "F 3"]
    """Rows of these lists; triangle i is triangle i of the mesh."""

    @cached_property
    def tables(self) -> tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"], Int[np.ndarray, "3F"]]:
        """Vertex rows, uv rows and faces as kernels read them, int32."""
        vertex_rows, uv_rows, faces = (rows.cpu().int().reshape(-1).numpy() for rows in
                                       (self.vertex_rows, self.uv_rows, self.faces))  # fmt: skip
        return vertex_rows, uv_rows, faces


_CUT: weakref.WeakKeyDictionary[Triangles, weakref.WeakKeyDictionary[Triangles, CutMesh]] = weakref.WeakKeyDictionary()
"""By the triangles of mesh and texture: a fit draws the same ones thousands of times."""


def cut_mesh(faces: Int[Tensor, "F 3"], uv_faces: Int[Tensor, "F 3"]) -> CutMesh:
    """Cut a mesh; the result is kept as long as the two tensors live and are not written to.

    Raises:
        InputError: The texture belongs to another mesh.
    """
    check_same_faces(faces, uv_faces)
    if faces.device.type != "cpu" or uv_faces.device.type != "cpu":
        known = remembered(faces, "cut", lambda _: {})
        reference, version, found = known.get(id(uv_faces), (None, 0, None))
        if found is None or reference() is not uv_faces or version != uv_faces._version:
            found = _cut(faces, uv_faces)
            known.clear()
            known[id(uv_faces)] = weakref.ref(uv_faces), uv_faces._version, found
        return found
    return cut_triangles(triangles_of(faces), triangles_of(uv_faces))


def cut_triangles(faces: Triangles, uv_faces: Triangles) -> CutMesh:
    """The same for faces of as many triangles as kernels read them."""
    known = _CUT.setdefault(faces, weakref.WeakKeyDictionary())
    if (found := known.get(uv_faces)) is None:
        found = known[uv_faces] = _cut(torch.from_numpy(faces.rows), torch.from_numpy(uv_faces.rows))
    return found


def _cut(faces: Int[Tensor, "F 3"], uv_faces: Int[Tensor, "F 3"]) -> CutMesh:
    pairs = torch.stack([faces.long().cpu().flatten(), uv_faces.long().cpu().flatten()], dim=1)
    rows, corners = torch.unique(pairs, dim=0, return_inverse=True)
    placed = rows[:, 0].contiguous(), rows[:, 1].contiguous(), corners.reshape(-1, 3)
    return CutMesh(*(value.to(faces.device) for value in placed))
