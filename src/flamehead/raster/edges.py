"""The edges of a triangle mesh, and which faces meet at each."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int
from torch import Tensor

from flamehead._triangles import Triangles, triangles_of
from flamehead.raster._checks import check_faces
from flamehead.raster._remember import remembered

__all__ = ["Edges", "belong_to", "edges_among", "edges_of"]


@dataclass(frozen=True)
class Edges:
    """Unique edges and their faces. Vertices that coincide but have different rows are different: weld seams first.

    A half-edge `3 f + k` is the side of face `f` from its corner `k` to the next one.
    """

    vertices: Int[np.ndarray, "E 2"]
    """int32 rows of the vertices at both ends, the lower one first."""
    half_edges: Int[np.ndarray, "3F"]
    """int32 half-edges, grouped by edge; one in a group for a border, two inside a surface, more where sheets meet."""
    starts: Int[np.ndarray, "E+1"]
    """int32; the half-edges of edge `e` are `half_edges[starts[e] : starts[e + 1]]`."""
    face_edges: Int[np.ndarray, "F 3"]
    """int32 edge of every half-edge."""
    faces: Int[np.ndarray, "F 3"]
    """int32 corners of the faces."""

    @cached_property
    def sides(self) -> Int[np.ndarray, "E 2"]:
        """int32 faces on both sides of the edges inside a surface, where two faces run along them in opposite ways; -1
        for all others."""
        first, last = self.starts[:-1], self.starts[1:] - 1
        ends = self.half_edges[np.stack([first, last], axis=1)]
        from_low = self.faces.reshape(-1)[ends] == self.vertices[:, :1]
        plain = (last - first == 1) & (from_low[:, 0] != from_low[:, 1])
        return np.where(plain[:, None], ends // 3, -1).astype(np.int32)


def edges_of(faces: Int[Tensor, "F 3"]) -> Edges:
    """The edges of a mesh; remembered for as long as the tensor lives and is not written to.

    Example:
        >>> import torch
        >>> edges_of(torch.tensor([[0, 1, 2], [2, 1, 3]])).vertices.tolist()
        [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    """
    check_faces(faces)
    if faces.device.type == "cpu":
        return edges_among(triangles_of(faces))
    return remembered(faces, "edges", lambda rows: _find(rows.detach().cpu().numpy().astype(np.int32)))


_AMONG: weakref.WeakKeyDictionary[Triangles, Edges] = weakref.WeakKeyDictionary()


def edges_among(triangles: Triangles) -> Edges:
    """The same for faces as kernels read them; their rows are those of the edges' `faces`."""
    if (found := _AMONG.get(triangles)) is None:
        found = _AMONG[triangles] = _find(triangles.rows)
    return found


def belong_to(edges: Edges, faces: Int[Tensor, "F 3"]) -> bool:
    """Whether these are the edges of that mesh."""
    known = edges_of(faces)
    return edges is known or np.array_equal(edges.faces, known.faces)


def _find(faces: Int[np.ndarray, "F 3"]) -> Edges:
    ends = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2).astype(np.int64)
    low, high = ends.min(axis=1), ends.max(axis=1)
    count = int(high.max()) + 1 if len(high) else 1
    unique, edge = np.unique(low * count + high, return_inverse=True)
    edge = edge.reshape(-1)
    return Edges(
        vertices=np.stack([unique // count, unique % count], axis=1).astype(np.int32),
        half_edges=np.argsort(edge, kind="stable").astype(np.int32),
        starts=np.searchsorted(np.sort(edge), np.arange(len(unique) + 1)).astype(np.int32),
        face_edges=edge.reshape(-1, 3).astype(np.int32),
        faces=faces,
    )
