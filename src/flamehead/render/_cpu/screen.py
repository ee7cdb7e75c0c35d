"""Vertices on the picture in numba, forward and backward; formulas are those of `flamehead.geometry.camera`."""

from __future__ import annotations

import numpy as np

from flamehead.geometry._cpu_normals import normals as find_normals
from flamehead.geometry._cpu_normals import normals_backward
from flamehead.raster._compile import compiled

__all__ = ["place", "place_backward", "place_with_normals", "place_with_normals_backward"]


@compiled(nogil=True, error_model="numpy")
def place(vertices, rotation, translation, focal, center, perspective, out):
    """x and y in pixels, and view depth."""
    for n in range(vertices.shape[0]):
        x, y, z = _seen(vertices, n, rotation, translation)
        if perspective:
            x, y = x / z, y / z
        out[n, 0], out[n, 1], out[n, 2] = focal[0] * x + center[0], focal[1] * y + center[1], z


@compiled(nogil=True, error_model="numpy")
def place_backward(vertices, rotation, translation, focal, perspective, gradient, out):
    """From the gradient of what `place` found to that of the vertices."""
    for n in range(vertices.shape[0]):
        gx, gy, gz = focal[0] * gradient[n, 0], focal[1] * gradient[n, 1], gradient[n, 2]
        if perspective:
            x, y, z = _seen(vertices, n, rotation, translation)
            near = np.float32(1.0) / z
            gx, gy = gx * near, gy * near
            gz -= (gx * x + gy * y) * near
        for c in range(3):
            out[n, c] = rotation[0, c] * gx + rotation[1, c] * gy + rotation[2, c] * gz


@compiled(nogil=True)
def place_with_normals(vertices, faces, rotation, translation, focal, center, perspective, points, normals, lengths):
    """`place`, and the normals of every mesh with the lengths they had; vertices (B, V, 3)."""
    normals[:] = 0.0
    for n in range(vertices.shape[0]):
        place(vertices[n], rotation, translation, focal, center, perspective, points[n])
        find_normals(vertices[n], faces, normals[n], lengths[n])


@compiled(nogil=True)
def place_with_normals_backward(vertices, faces, rotation, translation, focal, perspective, normals, lengths, g_points,
                                g_normals, out):  # fmt: skip
    """The sum of both gradients."""
    room, more = np.empty(out.shape[1:], np.float32), np.empty(out.shape[1:], np.float32)
    for n in range(vertices.shape[0]):
        out[n] = 0.0
        normals_backward(vertices[n], faces, normals[n], lengths[n], g_normals[n], room, out[n])
        place_backward(vertices[n], rotation, translation, focal, perspective, g_points[n], more)
        for v in range(more.shape[0]):
            for c in range(3):
                out[n, v, c] += more[v, c]


@compiled(inline="always")
def _seen(vertices, n, rotation, translation):
    """A vertex in the camera's frame."""
    x, y, z = vertices[n, 0], vertices[n, 1], vertices[n, 2]
    return (
        rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z + translation[0],
        rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z + translation[1],
        rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z + translation[2],
    )
