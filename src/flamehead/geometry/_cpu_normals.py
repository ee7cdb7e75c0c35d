"""Kernels of `flamehead.geometry.normals`, forward and backward."""

from __future__ import annotations

import numpy as np

from flamehead._compile import compiled

__all__ = ["normals", "normals_backward"]


@compiled(nogil=True, error_model="numpy")
def normals(vertices, faces, out, lengths):
    """Unit normals, and the lengths of the sums; `out` comes as zeros."""
    for face in range(faces.shape[0]):
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        x0, y0, z0 = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        x1, y1, z1 = vertices[j, 0] - x0, vertices[j, 1] - y0, vertices[j, 2] - z0
        x2, y2, z2 = vertices[k, 0] - x0, vertices[k, 1] - y0, vertices[k, 2] - z0
        x, y, z = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        for corner in (i, j, k):
            out[corner, 0] += x
            out[corner, 1] += y
            out[corner, 2] += z
    for v in range(out.shape[0]):
        length = np.sqrt(out[v, 0] * out[v, 0] + out[v, 1] * out[v, 1] + out[v, 2] * out[v, 2])
        lengths[v] = length
        scale = np.float32(1.0) / length if length > np.float32(0.0) else np.float32(1.0)
        for c in range(3):
            out[v, c] *= scale


@compiled(nogil=True, error_model="numpy")
def normals_backward(vertices, faces, out, lengths, gradient, g_sums, g_vertices):
    """Gradient of the vertices, which comes as zeros; `g_sums` is room for the gradient of the sums."""
    for v in range(out.shape[0]):
        x, y, z = out[v, 0], out[v, 1], out[v, 2]
        along = gradient[v, 0] * x + gradient[v, 1] * y + gradient[v, 2] * z
        # Where there is no area the sum stays zero, and so does its gradient.
        scale = np.float32(1.0) / lengths[v] if lengths[v] > np.float32(0.0) else np.float32(0.0)
        g_sums[v, 0] = (gradient[v, 0] - along * x) * scale
        g_sums[v, 1] = (gradient[v, 1] - along * y) * scale
        g_sums[v, 2] = (gradient[v, 2] - along * z) * scale
    for face in range(faces.shape[0]):
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        x0, y0, z0 = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        x1, y1, z1 = vertices[j, 0] - x0, vertices[j, 1] - y0, vertices[j, 2] - z0
        x2, y2, z2 = vertices[k, 0] - x0, vertices[k, 1] - y0, vertices[k, 2] - z0
        x = g_sums[i, 0] + g_sums[j, 0] + g_sums[k, 0]
        y = g_sums[i, 1] + g_sums[j, 1] + g_sums[k, 1]
        z = g_sums[i, 2] + g_sums[j, 2] + g_sums[k, 2]
        # For n = p x q: dp = q x g, dq = g x p.
        px, py, pz = y2 * z - z2 * y, z2 * x - x2 * z, x2 * y - y2 * x
        qx, qy, qz = y * z1 - z * y1, z * x1 - x * z1, x * y1 - y * x1
        g_vertices[j, 0] += px
        g_vertices[j, 1] += py
        g_vertices[j, 2] += pz
        g_vertices[k, 0] += qx
        g_vertices[k, 1] += qy
        g_vertices[k, 2] += qz
        g_vertices[i, 0] -= px + qx
        g_vertices[i, 1] -= py + qy
        g_vertices[i, 2] -= pz + qz
