"""The UV layout of the built-in head: seven islands, mirror-symmetric about u = 0.5. Centimetres inside this room.

The skin is one island without a seam in front; it is cut up the back of the head from the nape to the crown. Eye
sockets and mouth bag, which nobody looks at, lie in the lower corners (the bag as two halves, so that the layout stays
symmetric), the eyeballs in the upper ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from flamehead.builtin._flatten import (
    Outline,
    boundary_loop,
    flat_corners,
    reduce_stretch,
    signed_areas,
    spread_inside,
)
from flamehead.builtin.mesh import HeadMesh
from flamehead.builtin.sampling import HEAD_VERTICES

__all__ = ["ISLANDS", "UvLayout", "uv_layout"]

ISLANDS = (
    "skin",
    "left_eyeball",
    "right_eyeball",
    "left_socket",
    "right_socket",
    "left_mouth_bag",
    "right_mouth_bag",
)
"""Names of the island ids; the right of a pair follows its left."""
MARGIN = 0.0075
"""The layout stays this far away from the border of the texture."""
_SIZE = (23.0, 21.0)
"""Width and height of the outline into which the skin is drawn, cm at the wanted scale of the face."""
_POWERS = (3.0, 3.2)
"""How square the upper and the lower half of that outline are; their corners leave room for the other islands."""
_SEAM_END = np.deg2rad(20.0)
"""The seam ends this far behind the vertical through the middle of the skull."""
_SKULL = np.array([0.0, 4.0, -5.0])
_BACK_SCALE, _BACK_WEIGHT = 0.12, 0.2
_FADE = 5.5
"""From the face to the back of the head the wanted scale and its weight fall off over this distance, cm."""
_LIP_OPENING = 0.22
"""Half the height to which the mouth is drawn open, cm, so that upper and lower lip share no texel."""
_EYEBALL = (0.9400, 0.9200, 0.0525)
_SOCKET = (0.9613, 0.0853, 0.0300)
_BAG = (0.9147, 0.0387, 0.0300)
"""Middle and radius of the round islands of the left side."""


@dataclass(frozen=True)
class UvLayout:
    """Texture coordinates: u to the right, v up, the subject's left at larger u."""

    uv: Float[np.ndarray, "T 2"]
    """In [0, 1]."""
    faces: Int[np.ndarray, "9976 3"]
    """Rows of `uv`; triangle i belongs to triangle i of the mesh."""
    island: Int[np.ndarray, "9976"]
    """Of each triangle: an index into `ISLANDS`."""


def uv_layout(mesh: HeadMesh) -> UvLayout:
    """Unwrap the left half of the head and mirror it.

    The skin minimises the symmetric Dirichlet energy from a start without flips, and never flips a triangle on the way;
    its holes, eyes and mouth, are closed by the triangles behind them, so that none can close or turn over either.
    """
    island = _islands(mesh)
    left = mesh.vertices[mesh.faces, 0].sum(1) > 0.0
    head = left & np.isin(island, (0, 3, 5))
    places = {
        0: _skin(mesh, mesh.faces[head], island[head]),
        3: _pocket(mesh, mesh.faces[island == 3], int(mesh.lid_loop[0]), _SOCKET),
        5: _pocket(mesh, mesh.faces[island == 5], int(mesh.lip_loop[10]), _BAG),
    }
    corners = np.empty((*mesh.faces.shape, 2))
    for side, vertices in ((left, mesh.faces), (~left, mesh.mirror[mesh.faces])):
        for first, place in places.items():
            mine = side & np.isin(island, (first, first + 1) if first else (0,))
            corners[mine] = place[vertices[mine]]
        ball = side & np.isin(island, (1, 2))
        corners[ball] = _eyeball(mesh.vertices[vertices[ball]] - mesh.eye_centers[0])
    corners[~left, :, 0] = 1.0 - corners[~left, :, 0]
    return _weld(mesh, corners, island)


def _weld(mesh: HeadMesh, corners: Float[np.ndarray, "F 3 2"], island: Int[np.ndarray, "F"]) -> UvLayout:
    """Corners of one vertex at one place become one row."""
    rows = np.column_stack([mesh.faces.ravel(), corners.reshape(-1, 2)])
    unique, inverse = np.unique(rows, axis=0, return_inverse=True)
    layout = UvLayout(np.ascontiguousarray(unique[:, 1:]), inverse.reshape(mesh.faces.shape), island)
    if signed_areas(layout.uv, layout.faces).min() <= 0.0:
        raise AssertionError("the UV layout has a flipped triangle")
    return layout


def _islands(mesh: HeadMesh) -> Int[np.ndarray, "F"]:
    """Which island each triangle belongs to: what hangs together once lid margins and inner lips are cut."""
    faces, n = mesh.faces, len(mesh.vertices)
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1) @ [n, 1]
    owner = np.tile(np.arange(len(faces)), 3)
    loops = (mesh.lid_loop, mesh.mirror[mesh.lid_loop], mesh.lip_loop)
    cuts = [np.sort(np.stack([loop, np.roll(loop, -1)], -1), axis=1) @ [n, 1] for loop in loops]
    order = np.argsort(edges, kind="stable")
    edges, owner = edges[order], owner[order]
    pair = np.flatnonzero(edges[1:] == edges[:-1])
    pair = pair[~np.isin(edges[pair], np.concatenate(cuts))]
    graph = coo_matrix((np.ones(len(pair)), (owner[pair], owner[pair + 1])), (len(faces), len(faces)))
    count, label = connected_components(graph, directed=False)
    if count != 6:
        raise AssertionError(f"the mesh falls into {count} parts instead of 6: a lid or lip edge is missing")
    right = mesh.vertices[faces, 0].sum(1) < 0.0
    out = np.where((faces >= HEAD_VERTICES).all(1), 1 + right, 3 + right)
    out[label == label[np.flatnonzero((faces == mesh.neck_ring[0]).any(1))[0]]] = 0
    bag = label == label[np.flatnonzero((faces == mesh.mouth_bag[0]).any(1))[0]]
    out[bag] = 5 + right[bag]
    return out


def _skin(mesh: HeadMesh, faces: Int[np.ndarray, "K 3"], island: Int[np.ndarray, "K"]) -> Float[np.ndarray, "5023 2"]:
    """UV of the left half's skin vertices; `faces` hold the pockets as well."""
    points = mesh.vertices
    nape, throat = _ring_ends(mesh)
    loop = boundary_loop(faces, nape)
    away = points[loop] - _SKULL
    end = int(np.argmax(np.arctan2(-away[:, 2], away[:, 1]) < _SEAM_END))
    middle = np.arange(end, int(np.flatnonzero(loop == throat)[0]) + 1)
    outer = np.concatenate([np.arange(middle[-1], len(loop)), np.arange(end + 1)])
    half = 0.5 * np.array(_SIZE)
    outline = Outline((half[0], half[1]), _POWERS, stiffness=5000.0)
    near = _nearness(mesh, points[loop])
    border = np.zeros((len(loop), 2))
    border[outer] = outline.at(np.pi * (_along(points[loop[outer]], near[outer]) - 0.5))
    border[middle] = np.stack(
        [np.zeros(len(middle)), half[1] * (1.0 - 2.0 * _along(points[loop[middle]], near[middle]))], -1
    )
    free = np.zeros((len(points), 2), bool)
    free[faces] = True
    free[loop[middle], 0] = False
    rest, weight = _wishes(mesh, faces, island)
    flat = spread_inside(points, faces, loop, border)
    flat = reduce_stretch(flat, faces, rest, weight, free=free, border=loop[outer], outline=outline)
    used = flat[np.unique(faces)]
    low, high, width = used[:, 1].min(), used[:, 1].max(), used[:, 0].max()
    room = 1.0 - 2.0 * MARGIN
    return np.stack([0.5 + 0.5 * room * flat[:, 0] / width, MARGIN + room * (flat[:, 1] - low) / (high - low)], -1)


def _ring_ends(mesh: HeadMesh) -> tuple[int, int]:
    """Nape and throat: where the neck ring meets the midline."""
    ends = mesh.neck_ring[mesh.mirror[mesh.neck_ring] == mesh.neck_ring]
    behind, front = ends[np.argsort(mesh.vertices[ends, 2])]
    return int(behind), int(front)


def _nearness(mesh: HeadMesh, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    """1 on the face, falling to 0 at the back of the head."""
    distance = np.asarray(KDTree(mesh.vertices[mesh.face_vertices]).query(points)[0])
    return np.exp(-((distance / _FADE) ** 1.5))


def _along(line: Float[np.ndarray, "N 3"], near: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """Place along a line from 0 to 1, in lengths at the wanted scale."""
    scale = _BACK_SCALE + (1.0 - _BACK_SCALE) * near
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1) * 0.5 * (scale[1:] + scale[:-1])
    total = np.concatenate([[0.0], np.cumsum(steps)])
    return total / total[-1]


def _wishes(
    mesh: HeadMesh, faces: Int[np.ndarray, "K 3"], island: Int[np.ndarray, "K"]
) -> tuple[Float[np.ndarray, "K 3 2"], Float[np.ndarray, "K"]]:
    """The flat shape that each triangle would like to have, and how much it matters."""
    near = _nearness(mesh, mesh.vertices[faces].mean(1))
    rest = flat_corners(mesh.vertices, faces) * (_BACK_SCALE + (1.0 - _BACK_SCALE) * near)[:, None, None]
    importance = _BACK_WEIGHT + (1.0 - _BACK_WEIGHT) * near
    lids = 0.5 * np.ptp(mesh.vertices[mesh.lid_loop], axis=0)
    lips = (float(mesh.vertices[mesh.lip_loop[10], 0]), _LIP_OPENING)
    for pocket, axes in ((3, (float(lids[0]), float(lids[1]))), (5, lips)):
        mine = island == pocket
        rest[mine] = _closed_hole(mesh, faces[mine], axes)[faces[mine]]
        importance[mine] *= 0.3
    a, b = rest[:, 1] - rest[:, 0], rest[:, 2] - rest[:, 0]
    return rest, importance * 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def _closed_hole(
    mesh: HeadMesh, faces: Int[np.ndarray, "K 3"], axes: tuple[float, float]
) -> Float[np.ndarray, "5023 2"]:
    """A pocket pressed flat into an ellipse, or the right half of one where the midline cuts it."""
    start = int(mesh.lid_loop[0])
    if start not in faces:
        # The upper lip's middle follows the midline of the bag, the lower one's precedes it, or the other way round.
        start = int(mesh.lip_loop[0])
        if boundary_loop(faces, start)[1] in mesh.mouth_bag:
            start = int(mesh.lip_loop[20])
    border = boundary_loop(faces, start)
    rim = int(np.isin(border, np.concatenate([mesh.lid_loop, mesh.lip_loop])).sum())
    if rim == len(border):
        angle = 2.0 * np.pi * np.arange(rim) / rim
    else:
        angle = np.pi * (np.arange(rim) / (rim - 1) - 0.5)
        angle = angle if mesh.vertices[start, 1] < mesh.vertices[border[rim - 1], 1] else -angle
    outline = np.zeros((len(border), 2))
    outline[:rim] = np.stack([np.cos(angle), np.sin(angle)], -1) * axes
    outline[rim:, 1] = np.linspace(outline[rim - 1, 1], outline[0, 1], len(border) - rim + 2)[1:-1]
    return spread_inside(mesh.vertices, faces, border, outline)


def _pocket(
    mesh: HeadMesh, faces: Int[np.ndarray, "K 3"], start: int, place: tuple[float, float, float]
) -> Float[np.ndarray, "5023 2"]:
    """A pocket as a round island, its border spaced as on the head."""
    border = boundary_loop(faces, start)
    circle = Outline((1.0, 1.0), (2.0, 2.0), stiffness=100.0)
    closed = mesh.vertices[np.append(border, start)]
    turn = 2.0 * np.pi * _along(closed, np.ones(len(closed)))[:-1]
    flat = spread_inside(mesh.vertices, faces, border, circle.at(turn))
    rest = flat_corners(mesh.vertices, faces)
    a, b = rest[:, 1] - rest[:, 0], rest[:, 2] - rest[:, 0]
    area = 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    shrink = np.pi / area.sum()
    free = np.zeros(flat.shape, bool)
    free[faces] = True
    flat = reduce_stretch(
        flat, faces, rest * np.sqrt(shrink), area * shrink, free=free, border=border, outline=circle, steps=12
    )
    used = flat[np.unique(faces)]
    return np.array(place[:2]) + place[2] * flat / np.linalg.norm(used, axis=1).max()


def _eyeball(corners: Float[np.ndarray, "K 3 3"]) -> Float[np.ndarray, "K 3 2"]:
    """The ball around its front pole, the front magnified; behind, each triangle has a back pole of its own."""
    polar = np.arctan2(np.hypot(corners[..., 0], corners[..., 1]), corners[..., 2])
    flat = np.hypot(corners[..., :1], corners[..., 1:2])
    pole = polar > np.pi - 1e-6
    direction = np.where(pole[..., None], 0.0, corners[..., :2] / np.maximum(flat, 1e-12))
    between = direction.sum(1, keepdims=True)
    between /= np.maximum(np.linalg.norm(between, axis=-1, keepdims=True), 1e-12)
    direction = np.where(pole[..., None], between, direction)
    u, v, radius = _EYEBALL
    return [u, v] + radius * ((1.0 - np.exp(-1.1 * polar)) / (1.0 - np.exp(-1.1 * np.pi)))[..., None] * direction
