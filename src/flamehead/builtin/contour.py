"""The jaw contour that slides with the view: where the outline of the face lies for each degree of yaw."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d

from flamehead.builtin.mesh import HeadMesh
from flamehead.geometry.landmark_sets import IBUG68_IN_MEDIAPIPE

__all__ = ["ROWS", "dynamic_contour"]

ROWS = 79
"""Yaw 0, then +1..+39 degrees (the face turned towards its own left), then -1..-39."""
_MOST_YAW = 39
_CHIN = 8
_SMOOTH = 3.0
"""Standard deviation in degrees of the smoothing over yaw: the outline jumps from vertex to vertex otherwise."""
_MARGIN = 12
"""Degrees computed beyond the table, so that its ends are smoothed like its middle."""


class _Slice(NamedTuple):
    """Where a level plane cuts the left half of the face: one row per triangle, sorted from the nose to the ear."""

    faces: Int[np.ndarray, "N"]
    barycentric: Float[np.ndarray, "N 2 3"]
    """Of the two ends of the cut, the one nearer to the nose first."""
    ends: Float[np.ndarray, "N 2 3"]
    azimuth: Float[np.ndarray, "N 2"]
    """About the head's vertical axis; 0 in front, rising to the left."""


def dynamic_contour(
    mesh: HeadMesh, face: Int[np.ndarray, "N"]
) -> tuple[Int[np.ndarray, "79 17"], Float[np.ndarray, "79 17 3"]]:
    """Landmarks 0..16 for each degree of yaw, from the outline of the neutral face.

    Each point keeps the height of its fixed twin on the jaw. At that height, turned by yaw q, the outline of the left
    half is the point of largest `x cos(q) + z sin(q)`: the cheek's silhouette on the far side. No point moves behind
    its fixed twin, in front of the ear, where it rests on the near side. The right half mirrors the left one at -q;
    point 8 is the tip of the chin in every row.

    Args:
        mesh: the head.
        face: ids of the vertices of the face, without ears and pockets.

    Returns:
        Triangles and barycentric coordinates in the layout of FLAME's table. Rows r and r + 39 are mirror images.
    """
    fixed = mesh.face_vertices[IBUG68_IN_MEDIAPIPE[:17]]
    patch = _left_patch(mesh, face)
    yaw = np.arange(-_MOST_YAW, _MOST_YAW + 1)
    left_faces = np.empty((len(yaw), 8), np.int64)
    left_weights = np.empty((len(yaw), 8, 3))
    for k, vertex in enumerate(fixed[_CHIN + 1 :]):
        cut = _cut(mesh, patch, vertex)
        left_faces[:, k], left_weights[:, k] = _places(cut, _slide(cut))
    right_faces, right_weights = _mirrored(mesh, left_faces[::-1], left_weights[::-1])
    chin_face = int(np.flatnonzero((mesh.faces == fixed[_CHIN]).any(1))[0])
    chin_weights = (mesh.faces[chin_face] == fixed[_CHIN]).astype(float)
    rows = len(yaw)
    faces = np.concatenate(
        [right_faces[:, ::-1], np.full((rows, 1), chin_face), left_faces],
        axis=1,
    )
    weights = np.concatenate([right_weights[:, ::-1], np.tile(chin_weights, (rows, 1, 1)), left_weights], axis=1)
    order = np.concatenate([np.arange(0, _MOST_YAW + 1), np.arange(-1, -_MOST_YAW - 1, -1)]) + _MOST_YAW
    return faces[order], weights[order]


def _left_patch(mesh: HeadMesh, face: Int[np.ndarray, "N"]) -> Int[np.ndarray, "T"]:
    inside = np.zeros(len(mesh.vertices), bool)
    inside[face] = True
    # One ring of triangles more than the face has, so that a cut surely reaches the landmark at its border.
    return np.flatnonzero(inside[mesh.faces].any(1) & (mesh.vertices[mesh.faces, 0].mean(1) > 0.0))


def _cut(mesh: HeadMesh, patch: Int[np.ndarray, "T"], last: int) -> _Slice:
    """The cut at the height of a landmark, from the nose to that landmark; what lies on the plane counts as below."""
    height = mesh.vertices[last, 1]
    heights = mesh.vertices[mesh.faces[patch], 1]
    crossed = patch[(heights > height).any(1) & (heights <= height).any(1)]
    corners = mesh.vertices[mesh.faces[crossed]]
    above = corners[..., 1] > height
    # The corner that is alone on its side is an end of both crossed edges.
    alone = np.where(above.sum(1) == 1, above.argmax(1), above.argmin(1))
    row = np.arange(len(crossed))
    barycentric = np.zeros((len(crossed), 2, 3))
    for end in range(2):
        other = (alone + 1 + end) % 3
        from_alone, to_other = corners[row, alone, 1], corners[row, other, 1]
        share = (from_alone - height) / (from_alone - to_other)
        barycentric[row, end, alone], barycentric[row, end, other] = 1.0 - share, share
    ends = np.einsum("nek,nkc->nec", barycentric, corners)
    return _sorted(mesh, last, crossed, barycentric, ends)


def _sorted(
    mesh: HeadMesh,
    last: int,
    faces: Int[np.ndarray, "N"],
    barycentric: Float[np.ndarray, "N 2 3"],
    ends: Float[np.ndarray, "N 2 3"],
) -> _Slice:
    # The axis runs through the head's middle, so that the azimuth grows from the nose to the ear.
    axis = mesh.vertices[mesh.face_vertices, 2].min()
    azimuth = np.arctan2(ends[..., 0], ends[..., 2] - axis)
    border = np.arctan2(mesh.vertices[last, 0], mesh.vertices[last, 2] - axis)
    swap = azimuth.argsort(1)
    barycentric, ends = (np.take_along_axis(part, swap[..., None], 1) for part in (barycentric, ends))
    azimuth = np.take_along_axis(azimuth, swap, 1)
    order = azimuth.sum(1).argsort(kind="stable")
    order = order[azimuth[order, 1] <= border + 1e-9]
    return _Slice(faces[order], barycentric[order], ends[order], azimuth[order])


def _slide(cut: _Slice) -> Float[np.ndarray, "79"]:
    """Azimuth of the outline for yaw -39..39: it only ever moves forward as the face turns away."""
    yaw = np.deg2rad(np.arange(-_MOST_YAW - _MARGIN, _MOST_YAW + _MARGIN + 1))
    points, azimuth = cut.ends.reshape(-1, 3), cut.azimuth.ravel()
    reach = np.cos(yaw)[:, None] * points[:, 0] + np.sin(yaw)[:, None] * points[:, 2]
    found = np.minimum.accumulate(azimuth[reach.argmax(1)])
    return gaussian_filter1d(found, _SMOOTH, mode="nearest")[_MARGIN:-_MARGIN]


def _places(cut: _Slice, azimuth: Float[np.ndarray, "Q"]) -> tuple[Int[np.ndarray, "Q"], Float[np.ndarray, "Q 3"]]:
    """The points of the cut at some azimuths; in a gap, the nearest end."""
    low, high = cut.azimuth.T
    off = np.maximum(np.maximum(low - azimuth[:, None], azimuth[:, None] - high), 0.0)
    row = off.argmin(1)
    share = np.clip((azimuth - low[row]) / np.maximum(high[row] - low[row], 1e-12), 0.0, 1.0)[:, None]
    return cut.faces[row], (1.0 - share) * cut.barycentric[row, 0] + share * cut.barycentric[row, 1]


def _mirrored(
    mesh: HeadMesh, faces: Int[np.ndarray, "Q 8"], weights: Float[np.ndarray, "Q 8 3"]
) -> tuple[Int[np.ndarray, "Q 8"], Float[np.ndarray, "Q 8 3"]]:
    """The same points on the other half: the twin triangle lists the twins of the corners in its own order."""
    rows = {tuple(sorted(corners)): row for row, corners in enumerate(mesh.faces.tolist())}
    twins = mesh.mirror[mesh.faces[faces]]
    found = [rows[tuple(sorted(corners))] for corners in twins.reshape(-1, 3).tolist()]
    other = np.array(found).reshape(faces.shape)
    same = mesh.faces[other][..., :, None] == twins[..., None, :]
    return other, np.einsum("qkij,qkj->qki", same.astype(float), weights)
