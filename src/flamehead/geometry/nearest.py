"""The nearest points of a triangle mesh: exact, on faces, edges and corners, by a tree of boxes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from flamehead.errors import InputError

__all__ = ["Nearest", "SurfaceTree", "build_surface_tree", "nearest_in_tree", "nearest_on_mesh"]

_CHUNK = 8192
"""Points served in one go. Fixed: the number of threads must not change which of two equal faces is found."""
_THIN = 1e-10
"""Squared sine below which two edges count as parallel, and only the edges of a triangle are searched: its inside is
then nowhere farther from them than 1e-5 of its length."""


@dataclass(frozen=True)
class Nearest:
    """The nearest point of a surface for each of N points."""

    face_ids: Int[np.ndarray, "N"]
    barycentric: Float[np.ndarray, "N 3"]
    """Weights of the face's corners, 0 to 1."""
    points: Float[np.ndarray, "N 3"]
    """On the surface."""
    distances: Float[np.ndarray, "N"]
    """In the unit of the mesh, never negative."""


@dataclass(frozen=True)
class SurfaceTree:
    """A triangle mesh made ready for searches; see `build_surface_tree`."""

    corners: Float[np.ndarray, "F 3 3"]
    """Of the triangles, in the order of the leaves."""
    face_ids: Int[np.ndarray, "F"]
    """Their rows in the faces that were given."""
    thin: Bool[np.ndarray, "F"]
    """Triangles (nearly) without area, which are searched as segments."""
    boxes: Float[np.ndarray, "N 6"]
    """Lower and upper corner of each node's box."""
    links: Int[np.ndarray, "N"]
    counts: Int[np.ndarray, "N"]


def nearest_on_mesh(
    points: Float[np.ndarray, "N 3"],
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    *,
    threads: int | None = None,
) -> Nearest:
    """The point of a mesh nearest to each of some points, exactly; of equally near faces any one.

    Faces without area count as the segments or points that they are. For several searches in one mesh, keep its tree:
    `nearest_in_tree(points, build_surface_tree(vertices, faces))`.

    Args:
        points: In any unit, that of the mesh.
        vertices: Of the mesh; those of no face count nothing.
        faces: Corners of each triangle.
        threads: How many to use; by default as many as torch may use.

    Raises:
        InputError: NaN or infinite coordinates, no face, or faces that name vertices that are not there.

    Example:
        >>> corner = np.eye(3)
        >>> nearest_on_mesh(np.ones((1, 3)), corner, np.array([[0, 1, 2]])).points.round(3)
        array([[0.333, 0.333, 0.333]])
    """
    return nearest_in_tree(points, build_surface_tree(vertices, faces), threads=threads)


def build_surface_tree(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> SurfaceTree:
    """Make a mesh ready for `nearest_in_tree`.

    Raises:
        InputError: NaN or infinite coordinates, no face, or faces that name vertices that are not there.
    """
    from flamehead.geometry._cpu_nearest import build

    corners = _checked_corners(np.asarray(vertices, dtype=np.float64), np.asarray(faces))
    # Every leaf but the first holds two triangles at least, so there are fewer nodes than triangles and one.
    most = len(corners) + 1
    order, boxes = np.arange(len(corners)), np.empty((most, 6))
    links, counts = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    nodes = build(corners, order, boxes, links, counts)
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    cross = np.cross(u, v)
    thin = (cross**2).sum(1) <= _THIN * (u**2).sum(1) * (v**2).sum(1)
    return SurfaceTree(
        np.ascontiguousarray(corners[order]), order, thin[order], boxes[:nodes].copy(), links[:nodes], counts[:nodes]
    )


def nearest_in_tree(points: Float[np.ndarray, "N 3"], tree: SurfaceTree, *, threads: int | None = None) -> Nearest:
    """As `nearest_on_mesh`, in a mesh made ready by `build_surface_tree`.

    Raises:
        InputError: NaN or infinite coordinates, or `threads` below 1.
    """
    from flamehead.geometry._cpu_nearest import search

    points = _checked_points(points)
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}; give 1 or more, or None for as many as torch may use.")
    found = np.empty(len(points), dtype=np.int64)
    weights, squares = np.empty((len(points), 3)), np.empty(len(points))
    order = _neighbours_in_turn(points)

    def serve(start: int) -> None:
        # Gathered first: the search is a third faster when its points lie one behind the other.
        rows = order[start : start + _CHUNK]
        near, weight, squared = np.empty(len(rows), dtype=np.int64), np.empty((len(rows), 3)), np.empty(len(rows))
        tables = tree.corners, tree.thin, tree.boxes, tree.links, tree.counts
        search(points[rows], *tables, near, weight, squared)
        found[rows], weights[rows], squares[rows] = near, weight, squared

    starts = range(0, len(points), _CHUNK)
    workers = min(threads or torch.get_num_threads(), len(starts))
    if workers < 2:
        for start in starts:
            serve(start)
    else:
        list(_pool(workers).map(serve, starts))
    on_surface = np.einsum("nk,nkx->nx", weights, tree.corners[found])
    return Nearest(tree.face_ids[found], weights, on_surface, np.sqrt(squares))


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "flamehead-nearest")


if hasattr(os, "register_at_fork"):
    # A forked child has none of the pool's threads, and would wait for them for ever.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _neighbours_in_turn(points: Float[np.ndarray, "N 3"]) -> Int[np.ndarray, "N"]:
    """Rows sorted along a Z-curve of 1024 cells a side, so that each search is bounded well by the one before."""
    if not len(points):
        return np.arange(0)
    offsets = points - points.min(axis=0)
    side = float(offsets.max())
    if side <= 0.0:
        return np.arange(len(points))
    cells = np.minimum(offsets / side * 1024.0, 1023.0).astype(np.uint32)
    code = np.zeros(len(points), dtype=np.uint32)
    for axis in range(3):
        spread = cells[:, axis]
        for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
            spread = (spread | (spread << np.uint32(shift))) & np.uint32(mask)
        code |= spread << np.uint32(axis)
    return np.argsort(code, kind="stable")


def _checked_points(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    points = np.ascontiguousarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"The points have shape {points.shape}; give one row of x, y, z for each.")
    if not np.isfinite(points).all():
        raise InputError("The points hold NaN or infinite coordinates; leave those points out.")
    return points


def _checked_corners(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "F 3 3"]:
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise InputError(
            f"A surface needs vertices (V, 3) and faces (F, 3), but these are {vertices.shape} and {faces.shape}; give "
            "a mesh of triangles."
        )
    if not len(faces):
        raise InputError("The mesh has no faces, so it has no surface to measure to; give a mesh with triangles.")
    if faces.dtype.kind not in "iu" or faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(
            f"The faces name vertices {faces.min()} to {faces.max()} of {len(vertices)}; they belong to another mesh."
        )
    corners = vertices[faces]
    if not np.isfinite(corners).all():
        raise InputError("The vertices of the mesh hold NaN or infinite coordinates; repair or export it again.")
    return np.ascontiguousarray(corners)
