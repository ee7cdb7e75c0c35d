"""The edges of a triangle mesh, and which faces meet at each."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from torch import Tensor

__all__ = ["Edges", "edges_of"]


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


_KNOWN: dict[int, tuple[weakref.ref[Tensor], int, Edges]] = {}
"""By identity of the tensor of faces, with the version of its contents; entries leave with their tensor."""


def edges_of(faces: Int[Tensor, "F 3"]) -> Edges:
    """The edges of a mesh; remembered for as long as the tensor lives and is not written to.

    Example:
        >>> edges_of(torch.tensor([[0, 1, 2], [2, 1, 3]])).vertices.tolist()
        [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    """
    key, version = id(faces), faces._version
    known = _KNOWN.get(key)
    if known is not None and known[0]() is faces and known[1] == version:
        return known[2]
    edges = _find(faces.detach().cpu().numpy())
    _KNOWN[key] = (weakref.ref(faces, lambda _: _KNOWN.pop(key, None)), version, edges)
    return edges


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
        faces=np.ascontiguousarray(faces, dtype=np.int32),
    )
