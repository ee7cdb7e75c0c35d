"""The arrays of a FLAME model file and of landmark embeddings, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

__all__ = ["VARIANTS", "ContourEmbedding", "FlameArrays", "LandmarkEmbedding", "Variant"]

Variant = Literal["unknown", "2017", "2019", "2020", "2023", "2023-no-jaw", "2023-open"]
"""A release of FLAME. Most files do not say theirs: it is recognised by a hash, or said by the user."""
VARIANTS: tuple[Variant, ...] = get_args(Variant)


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
    variant: Variant = "unknown"
    """The release, where the file or the user says it. With `2023-no-jaw` the jaw rotation is meant to stay zero."""


@dataclass(frozen=True)
class LandmarkEmbedding:
    """Landmarks as barycentric points on a mesh: `L_i = sum_k barycentric[i, k] * vertices[faces[face_ids[i], k]]`."""

    face_ids: Int[np.ndarray, "L"]
    barycentric: Float[np.ndarray, "L 3"]


@dataclass(frozen=True)
class ContourEmbedding:
    """The jaw contour that slides with the view: 17 points on the mesh for each of 79 rows, chosen by the head's yaw.

    Row 0 is the frontal view. Which way the rows turn is a choice of the program that uses the table.
    """

    face_ids: Int[np.ndarray, "79 17"]
    barycentric: Float[np.ndarray, "79 17 3"]
