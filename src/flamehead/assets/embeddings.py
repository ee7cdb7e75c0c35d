"""Landmark embeddings: where landmarks lie on the triangles of FLAME's mesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flamehead._types import StrPath
from flamehead.assets.model_file import ContourEmbedding, LandmarkEmbedding
from flamehead.assets.safe_numpy import is_npy, is_zip, parse_npy, read_npz
from flamehead.assets.safe_pickle import read_bytes, unpickle
from flamehead.errors import InputError

__all__ = ["MEDIAPIPE_105", "contour_in", "embeddings_in", "eyes_in", "read_contour", "read_embedding"]

# fmt: off
MEDIAPIPE_105 = (
    276, 282, 283, 285, 293, 295, 296, 300, 334, 336,  # Left brow.
    46, 52, 53, 55, 63, 65, 66, 70, 105, 107,  # Right brow.
    249, 263, 362, 373, 374, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466,  # Left eye.
    7, 33, 133, 144, 145, 153, 154, 155, 157, 158, 159, 160, 161, 163, 173, 246,  # Right eye.
    168, 6, 197, 195, 5, 4, 129, 98, 97, 2, 326, 327, 358,  # Nose.
    0, 13, 14, 17, 37, 39, 40, 61, 78, 80, 81, 82, 84, 87, 88, 91, 95, 146, 178, 181,
    185, 191, 267, 269, 270, 291, 308, 310, 311, 312, 314, 317, 318, 321, 324, 375, 402, 405, 409, 415,  # Lips.
)
# fmt: on
"""MediaPipe Face Mesh ids of the `mediapipe105` scheme, in its order."""

MOST_BYTES = 2**22
"""Embedding files have some kilobytes."""
_N_FACES = 9976
_CONTOUR_ROWS = 79


def read_embedding(path: StrPath) -> dict[str, LandmarkEmbedding]:
    """The static landmark sets of an official embedding file, by scheme; the content decides, not the name.

    | file | schemes |
    |---|---|
    | `mediapipe_landmark_embedding.npz` | `mediapipe105` |
    | `flame_static_embedding.pkl` | `ibug51`: points 17..67 of the 68, without the jaw line |
    | `flame_static_embedding_68.pkl` | `ibug68` |
    | `landmark_embedding.npy`, `landmark_embedding_with_eyes.npy` | `ibug68` (fixed jaw line), `ibug51` |

    The contour that slides with the view has its own reader, `read_contour`; the eye centres of the file with eyes are
    in what `open_asset` returns.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that a FLAME file never needs.
        InputError: it is damaged or not a landmark embedding.
    """
    found = embeddings_in(_open(path), str(path))
    if not found:
        raise InputError(
            f"{path} is not a landmark embedding with fixed points; pass landmark_embedding.npy or similar."
        )
    return found


def read_contour(path: StrPath) -> ContourEmbedding:
    """The table of the sliding jaw contour in `flame_dynamic_embedding.npy` or `landmark_embedding.npy`.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that a FLAME file never needs.
        InputError: it is damaged or holds no such table.
    """
    found = contour_in(_open(path), str(path))
    if found is None:
        raise InputError(
            f"{path} holds no table of the sliding contour; pass landmark_embedding.npy or flame_dynamic_embedding.npy."
        )
    return found


def embeddings_in(content: object, name: str) -> dict[str, LandmarkEmbedding]:
    """The landmark sets in the entries of a file; none when it is something else. `name` is used in messages."""
    if not isinstance(content, dict):
        return {}
    entries: dict[str, Any] = content
    if "landmark_indices" in entries:
        return {"mediapipe105": _mediapipe(entries, name)}
    if "full_lmk_faces_idx" in entries:
        return _landmark_embedding(entries, name)
    faces = entries.get("lmk_face_idx")
    if isinstance(faces, np.ndarray):
        return _static(faces, entries.get("lmk_b_coords"), "lmk_face_idx", name)
    return {}


def contour_in(content: object, name: str) -> ContourEmbedding | None:
    """The sliding contour in the entries of a file; None when there is none. `name` is used in messages."""
    if not isinstance(content, dict):
        return None
    for faces_key, weights_key in (
        ("lmk_face_idx", "lmk_b_coords"),
        ("dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords"),
    ):
        faces, weights = content.get(faces_key), content.get(weights_key)
        # A plain array under the first name is a table of fixed points.
        if faces is None or (faces_key == "lmk_face_idx" and not isinstance(faces, list)):
            continue
        if not isinstance(faces, list | np.ndarray) or len(faces) != _CONTOUR_ROWS:
            found = len(faces) if isinstance(faces, list | np.ndarray) else type(faces).__name__
            raise InputError(f"{name}: key {faces_key!r} has {found} rows, wanted {_CONTOUR_ROWS}; download it again.")
        rows = [_row(row, faces_key, name) for row in faces], [_row(row, weights_key, name) for row in _rows(weights)]
        if {row.shape for row in rows[0]} != {(17,)} or [row.shape for row in rows[1]] != [(17, 3)] * _CONTOUR_ROWS:
            raise InputError(
                f"{name}: keys {faces_key!r} and {weights_key!r} do not have {_CONTOUR_ROWS} rows of shapes (17,) and "
                "(17, 3), as wanted; download it again."
            )
        flat = _checked(np.concatenate(rows[0]), np.concatenate(rows[1]), faces_key, name)
        shape = (_CONTOUR_ROWS, 17)
        return ContourEmbedding(flat.face_ids.reshape(shape), flat.barycentric.reshape(*shape, 3))
    return None


def eyes_in(content: object, name: str) -> LandmarkEmbedding | None:
    """The fronts of the right and of the left eyeball, which follow the 68 in `landmark_embedding_with_eyes.npy`."""
    if not isinstance(content, dict) or "full_lmk_faces_idx" not in content:
        return None
    faces, weights = (np.asarray(content.get(f"full_lmk_{part}")) for part in ("faces_idx", "bary_coords"))
    if faces.shape != (1, 70) or weights.shape != (1, 70, 3):
        return None
    return _checked(faces[0, 68:], weights[0, 68:], "full_lmk_faces_idx", name)


def _rows(value: object) -> list[object]:
    return list(value) if isinstance(value, list | np.ndarray) else []


def _row(row: object, key: str, name: str) -> np.ndarray:
    if not isinstance(row, np.ndarray):
        raise InputError(f"{name}: key {key!r} holds a {type(row).__name__}, wanted arrays; download it again.")
    return row


def _open(path: StrPath) -> object:
    if Path(path).is_file():
        with Path(path).open("rb") as stream:
            if is_zip(stream.read(8)):
                return read_npz(path, most=MOST_BYTES)
    data = read_bytes(path, most=MOST_BYTES)
    return parse_npy(data, str(path)) if is_npy(data) else unpickle(data, str(path))


def _static(faces: Any, weights: Any, key: str, name: str) -> dict[str, LandmarkEmbedding]:
    """51 points, or all 68; points behind these (eye centres) are left out."""
    embedding = _checked(faces, weights, key, name)
    count = len(embedding.face_ids)
    if count not in (51, 53, 68, 70):
        raise InputError(f"{name} holds {count} landmarks, wanted 51 or 68; pass an official embedding file.")
    scheme, kept = ("ibug51", 51) if count < 68 else ("ibug68", 68)
    return {scheme: LandmarkEmbedding(embedding.face_ids[:kept], embedding.barycentric[:kept])}


def _landmark_embedding(entries: dict[str, Any], name: str) -> dict[str, LandmarkEmbedding]:
    found = {}
    for part in ("full", "static"):
        faces, weights = (entries.get(f"{part}_lmk_{what}") for what in ("faces_idx", "bary_coords"))
        if part == "static" and faces is None:
            continue
        if isinstance(faces, np.ndarray) and isinstance(weights, np.ndarray) and faces.ndim == 2 and len(faces) == 1:
            faces, weights = faces[0], weights[0]
        found |= _static(faces, weights, f"{part}_lmk_faces_idx", name)
    contour_in(entries, name)  # Only for its checks.
    return found


def _mediapipe(entries: dict[str, Any], name: str) -> LandmarkEmbedding:
    """The 105 points in the scheme's order, whatever the order of the file."""
    embedding = _checked(entries.get("lmk_face_idx"), entries.get("lmk_b_coords"), "lmk_face_idx", name)
    ids = np.asarray(entries["landmark_indices"]).tolist()
    if len(ids) != len(embedding.face_ids) or sorted(ids) != sorted(MEDIAPIPE_105):
        raise InputError(
            f"{name}: key 'landmark_indices' has {len(ids)} MediaPipe ids for {len(embedding.face_ids)} points, wanted "
            "the 105 of the official file, each once; download it again."
        )
    rows = [ids.index(wanted) for wanted in MEDIAPIPE_105]
    return LandmarkEmbedding(embedding.face_ids[rows], embedding.barycentric[rows])


def _checked(faces: Any, weights: Any, key: str, name: str) -> LandmarkEmbedding:
    if not (
        isinstance(faces, np.ndarray)
        and isinstance(weights, np.ndarray)
        and faces.dtype.kind in "iu"
        and weights.dtype.kind == "f"
        and faces.ndim == 1
        and weights.shape == (len(faces), 3)
    ):
        found = " and ".join(f"{getattr(value, 'shape', type(value).__name__)}" for value in (faces, weights))
        raise InputError(f"{name}: key {key!r} and its barycentrics have shapes {found}, wanted (L,) and (L, 3).")
    ids, barycentric = faces.astype(np.int64), weights.astype(np.float64)
    if len(ids) and not 0 <= ids.min() <= ids.max() < _N_FACES:
        raise InputError(f"{name}: key {key!r} uses triangles {ids.min()}..{ids.max()}, wanted 0..{_N_FACES - 1}.")
    if not np.abs(barycentric.sum(axis=1) - 1).max(initial=0) <= 1e-5:
        raise InputError(
            f"{name}: the barycentric coordinates of key {key!r} do not sum to 1 within 1e-5; download it again."
        )
    return LandmarkEmbedding(ids, barycentric)
