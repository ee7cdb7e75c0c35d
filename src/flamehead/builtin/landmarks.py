"""Landmark embeddings of the built-in head: every landmark is a vertex."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from flamehead.assets import LandmarkEmbedding
from flamehead.builtin.mesh import HeadMesh
from flamehead.geometry.landmark_sets import IBUG68_IN_MEDIAPIPE, MEDIAPIPE_105

__all__ = ["landmark_embeddings"]

RIGHT_IRIS_VERTICES = np.array([4597, 4542, 4510, 4603, 4570])
LEFT_IRIS_VERTICES = np.array([4051, 3996, 3964, 3932, 4028])
"""Centre, then the border towards the subject's left, up, the subject's right, down (MediaPipe's order)."""


def landmark_embeddings(mesh: HeadMesh) -> dict[str, LandmarkEmbedding]:
    """Embeddings by landmark scheme."""
    face = mesh.face_vertices
    vertices = {
        "ibug68": face[IBUG68_IN_MEDIAPIPE],
        "ibug51": face[IBUG68_IN_MEDIAPIPE[17:]],
        "mediapipe105": face[MEDIAPIPE_105],
        "mediapipe468": face,
        "mediapipe478": np.concatenate([face, RIGHT_IRIS_VERTICES, LEFT_IRIS_VERTICES]),
    }
    return {name: _at_vertices(mesh, ids) for name, ids in vertices.items()}


def _at_vertices(mesh: HeadMesh, ids: Int[np.ndarray, "L"]) -> LandmarkEmbedding:
    """Any triangle that has the vertex as a corner, with weight 1 there."""
    corner_of = np.full((len(mesh.vertices), 2), -1)
    for k in (2, 1, 0):
        corner_of[mesh.faces[:, k]] = np.stack([np.arange(len(mesh.faces)), np.full(len(mesh.faces), k)], -1)
    chosen = corner_of[ids]
    return LandmarkEmbedding(chosen[:, 0], np.eye(3)[chosen[:, 1]])
