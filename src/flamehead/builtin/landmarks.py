"""Landmark embeddings of the built-in head: every landmark is a vertex."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from flamehead.assets import LandmarkEmbedding
from flamehead.builtin.mesh import HeadMesh
from flamehead.builtin.sampling import HEAD_VERTICES
from flamehead.geometry.landmark_sets import IBUG68_IN_MEDIAPIPE, MEDIAPIPE_105

__all__ = ["landmark_embeddings"]

_IRIS_RING = 4  # Ring of an eyeball that is the border of the iris, see `mesh.BALL_RINGS`.


def landmark_embeddings(mesh: HeadMesh) -> dict[str, LandmarkEmbedding]:
    """Embeddings by landmark scheme."""
    face = mesh.face_vertices
    iris = np.concatenate([_iris(HEAD_VERTICES + 546, mirrored=True), _iris(HEAD_VERTICES, mirrored=False)])
    vertices = {
        "ibug68": face[IBUG68_IN_MEDIAPIPE],
        "mediapipe105": face[MEDIAPIPE_105],
        "mediapipe468": face,
        "mediapipe478": np.concatenate([face, iris]),
    }
    return {name: _at_vertices(mesh, ids) for name, ids in vertices.items()}


def _iris(first: int, *, mirrored: bool) -> Int[np.ndarray, "5"]:
    """Centre, then the border towards the subject's left, up, the subject's right, down (MediaPipe's order)."""
    turn = np.array([16, 8, 0, 24]) if mirrored else np.array([0, 8, 16, 24])
    return np.concatenate([[first], first + 1 + 32 * _IRIS_RING + turn])


def _at_vertices(mesh: HeadMesh, ids: Int[np.ndarray, "L"]) -> LandmarkEmbedding:
    """Any triangle that has the vertex as a corner, with weight 1 there."""
    corner_of = np.full((len(mesh.vertices), 2), -1)
    for k in (2, 1, 0):
        corner_of[mesh.faces[:, k]] = np.stack([np.arange(len(mesh.faces)), np.full(len(mesh.faces), k)], -1)
    chosen = corner_of[ids]
    return LandmarkEmbedding(chosen[:, 0], np.eye(3)[chosen[:, 1]])
