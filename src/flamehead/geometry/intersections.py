"""Where a mesh passes through itself."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

__all__ = ["self_intersections"]


def self_intersections(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Int[np.ndarray, "P 2"]:
    """Pairs of faces that cut each other, rows of `faces`; faces with a common corner are neighbours and do not count.

    Two triangles cut each other when an edge of one passes through the inside of the other; touching does not count.
    Meant for parts of a mesh: the work grows with the size of the largest face.

    Example:
        >>> v = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [0.5, 0.5, -1], [0.5, 0.5, 1], [3, 3, 1.0]])
        >>> self_intersections(v, np.array([[0, 1, 2], [3, 4, 5]]))
        array([[0, 1]])
    """
    corners = vertices[faces]
    pairs = _near_pairs(corners)
    if not len(pairs):
        return pairs
    shared = (faces[pairs[:, 0], :, None] == faces[pairs[:, 1], None, :]).any(axis=(1, 2))
    low, high = corners.min(axis=1), corners.max(axis=1)
    overlap = ((low[pairs[:, 0]] <= high[pairs[:, 1]]) & (low[pairs[:, 1]] <= high[pairs[:, 0]])).all(axis=1)
    pairs = pairs[~shared & overlap]
    first, second = corners[pairs[:, 0]], corners[pairs[:, 1]]
    return pairs[_edges_pierce(first, second) | _edges_pierce(second, first)]


def _near_pairs(corners: Float[np.ndarray, "F 3 3"]) -> Int[np.ndarray, "P 2"]:
    """Pairs whose circles about their centres may meet."""
    if not len(corners):
        return np.zeros((0, 2), dtype=np.int64)
    centres = corners.mean(axis=1)
    radius = np.linalg.norm(corners - centres[:, None], axis=2).max()
    return KDTree(centres).query_pairs(2.0 * radius, output_type="ndarray").astype(np.int64)


def _edges_pierce(edges: Float[np.ndarray, "P 3 3"], triangles: Float[np.ndarray, "P 3 3"]) -> Bool[np.ndarray, "P"]:
    """Whether an edge of the first triangle of each pair passes through the second."""
    a, b, c = np.moveaxis(triangles, 1, 0)
    normal = np.cross(b - a, c - a)
    found = np.zeros(len(edges), dtype=bool)
    for k in range(3):
        p, q = edges[:, k], edges[:, (k + 1) % 3]
        above, below = (np.einsum("pa,pa->p", x - a, normal) for x in (p, q))
        crosses = above * below < 0.0
        share = np.where(crosses, above / np.where(crosses, above - below, 1.0), 0.0)
        x = p + share[:, None] * (q - p)
        inside = crosses
        for start, end in ((a, b), (b, c), (c, a)):
            inside = inside & (np.einsum("pa,pa->p", np.cross(end - start, x - start), normal) > 0.0)
        found |= inside
    return found
