"""Write template meshes and eyelid offsets in the official layouts. Every file is written whole or not at all."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from flamehead._atomic import atomic_path
from flamehead._types import StrPath

__all__ = ["write_offsets", "write_template"]


def write_template(
    path: StrPath,
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    *,
    uv: Float[np.ndarray, "T 2"] | None = None,
    uv_faces: Int[np.ndarray, "F 3"] | None = None,
) -> None:
    """Write an OBJ of the neutral head, metres, in the model's order of vertices and triangles.

    Args:
        path: the file.
        vertices: corners.
        faces: triangles.
        uv: UV coordinates, v up, for a file like `head_template_mesh.obj`; without them one like `head_template.obj`.
        uv_faces: the UV corners of each triangle.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        np.savetxt(file, vertices, fmt="v %.9f %.9f %.9f")
        if uv is None or uv_faces is None:
            np.savetxt(file, faces + 1, fmt="f %d %d %d")
        else:
            np.savetxt(file, uv, fmt="vt %.8f %.8f")
            pairs = np.stack([faces, uv_faces], axis=-1).reshape(len(faces), 6) + 1
            np.savetxt(file, pairs, fmt="f %d/%d %d/%d %d/%d")


def write_offsets(path: StrPath, offsets: Float[np.ndarray, "V 3"]) -> None:
    """Write vertex offsets in metres, such as `l_eyelid.npy`."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(offsets, dtype=np.float64), allow_pickle=False)
