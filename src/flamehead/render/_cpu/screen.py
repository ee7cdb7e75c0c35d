"""Vertices on the picture in numba, forward and backward; formulas are those of `flamehead.geometry.camera`."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled

__all__ = ["place", "place_backward"]


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


@compiled(inline="always")
def _seen(vertices, n, rotation, translation):
    """A vertex in the camera's frame."""
    x, y, z = vertices[n, 0], vertices[n, 1], vertices[n, 2]
    return (
        rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z + translation[0],
        rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z + translation[1],
        rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z + translation[2],
    )
