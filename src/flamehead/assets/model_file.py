"""The arrays of a FLAME model file and of landmark embeddings, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

__all__ = ["FlameArrays", "LandmarkEmbedding"]


@dataclass(frozen=True)
class FlameArrays:
    """What a FLAME model file holds, float64, metres. `J` joints are root, neck, jaw, left eye, right eye."""

    template: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    """Counter-clockwise seen from outside."""
    shape_basis: Float[np.ndarray, "V 3 S"]
    """Columns are displacements per standard deviation."""
    expression_basis: Float[np.ndarray, "V 3 E"]
    pose_basis: Float[np.ndarray, "V 3 P"]
    """P = 9 * (J - 1): rows of R - I of neck, jaw, left eye, right eye, row-major."""
    skin_weights: Float[np.ndarray, "V J"]
    """Rows sum to 1."""
    joint_regressor: Float[np.ndarray, "J V"]
    """Dense; rows sum to 1."""
    parents: tuple[int, ...]
    """Parent joint of each joint; -1 for the root."""
    fingerprint: str
    """Identifies the model; parameters of one model mean nothing to another."""
    source: str
    """Where it came from, for messages: a file path or `built-in head`."""


@dataclass(frozen=True)
class LandmarkEmbedding:
    """Landmarks as barycentric points on a mesh: `L_i = sum_k barycentric[i, k] * vertices[faces[face_ids[i], k]]`."""

    face_ids: Int[np.ndarray, "L"]
    barycentric: Float[np.ndarray, "L 3"]
