"""Quantities as the colour of a surface: each function makes the `colors` of `render`, best with `UNLIT` light."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.data import Camera
from flamehead.geometry.normals import vertex_normals
from flamehead.render._samples import to_camera
from flamehead.render.shade import Lighting

__all__ = [
    "UNLIT",
    "SurfacePaint",
    "depth_paint",
    "normal_paint",
    "texture_paint",
    "uv_paint",
]

SurfacePaint: TypeAlias = Callable[[Int[np.ndarray, "N"], Float[np.ndarray, "N 3"]], Float[np.ndarray, "N 3"]]
"""sRGB of surface points given by triangle and barycentric weights."""

UNLIT = Lighting((), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
"""Light that is one everywhere: the picture shows the paint itself."""


def depth_paint(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], camera: Camera) -> SurfacePaint:
    """Grey by view depth: 1 at the vertex nearest to the camera, 0.1 at the farthest."""
    depth = to_camera(vertices, camera)[:, 2].numpy()
    low, high = float(depth.min()), float(depth.max())
    grey = 1.0 - 0.9 * (depth - low) / max(high - low, 1e-12)
    return _interpolated(np.repeat(grey[:, None], 3, axis=1), faces)


def normal_paint(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], camera: Camera) -> SurfacePaint:
    """Smooth normals as `(n + 1) / 2` in x right, y up, z towards the viewer, the habit of normal maps."""
    normals = vertex_normals(to_camera(vertices, camera), faces.cpu()).numpy() * np.array([1, -1, -1], dtype=np.float32)
    spread = _interpolated(normals, faces)

    def paint(face_ids: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
        out = spread(face_ids, barycentric)
        length = np.linalg.norm(out, axis=1, keepdims=True)
        return 0.5 + 0.5 * out / np.maximum(length, 1e-12)

    return paint


def uv_paint(uv: Float[np.ndarray, "T 2"], uv_faces: Int[np.ndarray, "F 3"]) -> SurfacePaint:
    """Texture coordinates as red (u) and green (v)."""
    wide = np.concatenate([np.clip(uv, 0.0, 1.0), np.zeros((len(uv), 1))], axis=1)
    return _interpolated(wide, uv_faces)


def texture_paint(
    picture: Float[np.ndarray, "H W 3"], uv: Float[np.ndarray, "T 2"], uv_faces: Int[np.ndarray, "F 3"]
) -> SurfacePaint:
    """A picture on the surface, bilinear; u to the right, v up, the picture's row 0 at v = 1, its border repeated."""
    height, width = picture.shape[:2]
    places = _interpolated(np.asarray(uv, dtype=np.float64), uv_faces)

    def paint(face_ids: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
        u, v = places(face_ids, barycentric).T
        x, y = np.clip(u * width - 0.5, 0, width - 1), np.clip((1.0 - v) * height - 0.5, 0, height - 1)
        left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
        a, b = (x - left)[:, None], (y - top)[:, None]
        upper = (1 - a) * picture[top, left] + a * picture[top, right]
        lower = (1 - a) * picture[below, left] + a * picture[below, right]
        return (1 - b) * upper + b * lower

    return paint


def _interpolated(values: Float[np.ndarray, "V C"], faces: Tensor | np.ndarray) -> SurfacePaint:
    corners = _array(faces)
    return lambda face_ids, barycentric: np.einsum("nk,nkc->nc", barycentric, values[corners[face_ids]])


def _array(faces: Tensor | np.ndarray) -> Int[np.ndarray, "F 3"]:
    return faces.detach().cpu().numpy() if isinstance(faces, Tensor) else np.asarray(faces)
