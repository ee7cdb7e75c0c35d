"""The open rims of a mesh, and triangles that close a mouth."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster.edges import edges_of

__all__ = ["boundary_loops", "mouth_triangles", "zip_loop"]


def boundary_loops(faces: Int[Tensor, "F 3"]) -> list[Int[np.ndarray, "N"]]:
    """The closed loops of edges that a single triangle uses, each in the order of the triangles' own sides.

    A rim that touches itself in a vertex is walked as it comes; one that does not close is left out.
    """
    edges = edges_of(faces)
    once = np.flatnonzero(np.diff(edges.starts) == 1)
    sides = edges.half_edges[edges.starts[once]]
    corners = edges.faces
    starts, ends = corners[sides // 3, sides % 3], corners[sides // 3, (sides % 3 + 1) % 3]
    following = dict(zip(starts.tolist(), ends.tolist(), strict=True))
    loops = []
    while following:
        first = here = next(iter(following))
        loop = []
        while here in following:
            loop.append(here)
            here = following.pop(here)
        if here == first and len(loop) > 2:
            loops.append(np.array(loop, dtype=np.int64))
    return loops


def mouth_triangles(
    vertices: Float[np.ndarray, "V 3"], faces: Int[Tensor, "F 3"], lips: Int[np.ndarray, "N"] | None = None
) -> Int[np.ndarray, "N 3"]:
    """Triangles without new vertices that close the open rim of the lips; none where the mouth has no open rim.

    FLAME's mesh has two rims, the neck's and the lips' (32 vertices, so 30 triangles); the built-in head's mouth is
    closed by a bag. The mouth's rim is the one that lies in the lips, or, where no region is known, the one in front of
    all vertices' middle whose middle is highest, unless it is the only and lowest one.

    Args:
        vertices: At rest, y up, z out of the face.
        faces: Counter-clockwise seen from outside.
        lips: Vertices of the region, if the model knows it.
    """
    none = np.empty((0, 3), dtype=np.int64)
    loops = boundary_loops(faces)
    if lips is not None:
        loops = [loop for loop in loops if np.isin(loop, lips).mean() > 0.5]
    else:
        low, high = vertices[:, 1].min(), vertices[:, 1].max()
        middle = vertices[:, 2].mean()
        # The neck's rim lies at the very bottom of the mesh.
        loops = [
            loop
            for loop in loops
            if vertices[loop, 1].min() > low + 0.05 * (high - low) and vertices[loop, 2].mean() > middle
        ]
    if not loops:
        return none
    return zip_loop(vertices, max(loops, key=len))


def zip_loop(vertices: Float[np.ndarray, "V 3"], loop: Int[np.ndarray, "N"]) -> Int[np.ndarray, "M 3"]:
    """Close a loop by N - 2 triangles between its two sides, from the corner of least x to that of greatest x.

    The loop runs as the triangles around the hole do; the new ones run against it, so that they agree with their
    neighbours about what is outside. The side whose next vertex is nearer in x goes on, which keeps the teeth upright.
    """
    around = np.roll(loop, -int(np.argmin(vertices[loop, 0])))
    turn = int(np.argmax(vertices[around, 0]))
    one, other = around[: turn + 1], np.concatenate([around[:1], around[: turn - 1 : -1]])
    triangles, i, j = [], 0, 0
    while i + 1 < len(one) or j + 1 < len(other):
        at_end = j + 1 == len(other)
        if at_end or (i + 1 < len(one) and vertices[one[i + 1], 0] <= vertices[other[j + 1], 0]):
            corners = (one[i + 1], one[i], other[j])
            i += 1
        else:
            corners = (other[j], other[j + 1], one[i])
            j += 1
        # At both corners the sides share a vertex.
        if len(set(corners)) == 3:
            triangles.append(corners)
    return np.array(triangles, dtype=np.int64)
