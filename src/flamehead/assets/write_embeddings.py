"""Write landmark embeddings in the official layouts. Every file is written whole or not at all."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.assets.embeddings import MEDIAPIPE_105
from flamehead.assets.legacy_pickle import TorchTensor, write_legacy_npy, write_legacy_pickle
from flamehead.assets.model_file import LandmarkEmbedding

__all__ = [
    "write_dynamic_embedding",
    "write_landmark_embedding",
    "write_mediapipe_embedding",
    "write_static_embedding",
]

_FIRST_FIXED = 17
"""Points 0..16 of the 68 are the jaw line, which some programs let slide with the view."""


def write_static_embedding(path: StrPath, ibug68: LandmarkEmbedding) -> None:
    """Write points 17..67 of the 68 like `flame_static_embedding.pkl`: a text pickle."""
    entries: dict[str, object] = {
        "lmk_face_idx": ibug68.face_ids[_FIRST_FIXED:].astype(np.uint32),
        "lmk_b_coords": ibug68.barycentric[_FIRST_FIXED:].astype(np.float64),
    }
    write_legacy_pickle(path, entries, protocol=0)


def write_dynamic_embedding(
    path: StrPath, faces: Int[np.ndarray, "79 17"], barycentric: Float[np.ndarray, "79 17 3"]
) -> None:
    """Write the table of the sliding jaw contour like `flame_dynamic_embedding.npy`, which Python 2 wrote."""
    entries: dict[str, object] = {
        "lmk_face_idx": [row.astype(np.uint32) for row in faces],
        "lmk_b_coords": [np.asfortranarray(row, dtype=np.float64) for row in barycentric],
    }
    write_legacy_npy(path, entries, protocol=2)


def write_landmark_embedding(
    path: StrPath,
    ibug68: LandmarkEmbedding,
    contour_faces: Int[np.ndarray, "79 17"],
    contour_barycentric: Float[np.ndarray, "79 17 3"],
    *,
    eyes: LandmarkEmbedding | None = None,
) -> None:
    """Write the 51, the 68 and the sliding contour like `landmark_embedding.npy`.

    The contour is stored as torch tensors, which is what programs expect of this file.

    Args:
        path: the file.
        ibug68: the 68 fixed points.
        contour_faces: triangles by yaw row.
        contour_barycentric: barycentric coordinates by yaw row.
        eyes: the front of the right and of the left eyeball, for `landmark_embedding_with_eyes.npy`.
    """
    faces, weights = ibug68.face_ids.astype(np.int64), ibug68.barycentric.astype(np.float64)
    if eyes is not None:
        faces, weights = np.append(faces, eyes.face_ids), np.concatenate([weights, eyes.barycentric])
    entries: dict[str, object] = {
        "static_lmk_faces_idx": faces[_FIRST_FIXED:],
        "static_lmk_bary_coords": np.asfortranarray(weights[_FIRST_FIXED:]),
        "dynamic_lmk_faces_idx": TorchTensor(contour_faces.astype(np.int64)),
        "dynamic_lmk_bary_coords": TorchTensor(contour_barycentric.astype(np.float32)),
        "full_lmk_faces_idx": faces[None],
        "full_lmk_bary_coords": weights[None].astype(np.float32 if eyes is None else np.float64),
    }
    write_legacy_npy(path, entries, protocol=3)


def write_mediapipe_embedding(path: StrPath, mediapipe105: LandmarkEmbedding) -> None:
    """Write the 105 points like `mediapipe_landmark_embedding.npz`."""
    # An open file, because a path without the suffix .npz would get it appended.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            lmk_face_idx=mediapipe105.face_ids.astype(np.uint32),
            lmk_b_coords=mediapipe105.barycentric.astype(np.float64),
            landmark_indices=np.array(MEDIAPIPE_105, dtype=np.int64),
        )
