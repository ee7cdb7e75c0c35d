"""A mesh cut open along the seams of its texture, so that one list of rows holds positions and texture coordinates."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from flamehead.render.texture import check_same_faces

__all__ = ["CutMesh", "cut_mesh"]


@dataclass(frozen=True)
class CutMesh:
    """One row for each vertex and texture coordinate that meet at a corner."""

    vertex_rows: Int[Tensor, "N"]
    uv_rows: Int[Tensor, "N"]
    faces: Int[Tensor, "F 3"]
    """Rows of these lists; triangle i is triangle i of the mesh."""


_kept: list[tuple[weakref.ref, weakref.ref, tuple[int, int], tuple[Tensor, Tensor], CutMesh]] = []
"""The last few meshes: a fit draws the same one thousands of times."""
_KEEP = 8


def cut_mesh(faces: Int[Tensor, "F 3"], uv_faces: Int[Tensor, "F 3"]) -> CutMesh:
    """Cut a mesh; the result is kept as long as the two tensors live and are not written to.

    Raises:
        InputError: The texture belongs to another mesh.
    """
    versions = faces._version, uv_faces._version
    for known_faces, known_uv, known_versions, copies, found in _kept:
        same = known_faces() is faces and known_uv() is uv_faces and known_versions == versions
        if same and _unchanged(faces, copies[0]) and _unchanged(uv_faces, copies[1]):
            return found
    check_same_faces(faces, uv_faces)
    pairs = torch.stack([faces.long().cpu().flatten(), uv_faces.long().cpu().flatten()], dim=1)
    rows, corners = torch.unique(pairs, dim=0, return_inverse=True)
    placed = rows[:, 0].contiguous(), rows[:, 1].contiguous(), corners.reshape(-1, 3)
    found = CutMesh(*(value.to(faces.device) for value in placed))
    copies = faces.detach().clone(), uv_faces.detach().clone()
    _kept.insert(0, (weakref.ref(faces), weakref.ref(uv_faces), versions, copies, found))
    del _kept[_KEEP:]
    return found


def _unchanged(rows: Tensor, copy: Tensor) -> bool:
    """Writes through numpy do not count as changes of a tensor; other devices have no such writes."""
    return rows.device.type != "cpu" or torch.equal(rows, copy)
