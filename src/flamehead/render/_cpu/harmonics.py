"""Spherical-harmonics light in numba, forward and backward; formulas are those of `flamehead.render.harmonics`."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled

__all__ = ["light", "light_backward", "unit"]


@compiled(inline="always")
def unit(normals, n):
    """A row of unit length, and one over its length; zeros stay zeros."""
    x, y, z = normals[n, 0], normals[n, 1], normals[n, 2]
    square = x * x + y * y + z * z
    inverse = np.float32(1.0) / np.sqrt(square) if square > np.float32(0.0) else np.float32(0.0)
    return x * inverse, y * inverse, z * inverse, inverse


@compiled(nogil=True)
def light(normals, out, scaled):
    """`scaled` holds coefficients times constants; a zero normal gets no light."""
    for n in range(normals.shape[0]):
        x, y, z, inverse = unit(normals, n)
        seen = np.float32(1.0) if inverse > np.float32(0.0) else np.float32(0.0)
        xy, xz, yz, square, polar = x * y, x * z, y * z, x * x - y * y, np.float32(3.0) * z * z - np.float32(1.0)
        for c in range(3):
            out[n, c] = seen * (
                scaled[0, c]
                + scaled[1, c] * x
                + scaled[2, c] * y
                + scaled[3, c] * z
                + scaled[4, c] * xy
                + scaled[5, c] * xz
                + scaled[6, c] * yz
                + scaled[7, c] * square
                + scaled[8, c] * polar
            )


@compiled(nogil=True)
def light_backward(normals, g_out, g_normals, scaled, sums):
    """Gradient of the normals, and the sum over these rows of each basis function times the gradient."""
    total = np.zeros((9, 3), dtype=np.float32)
    for n in range(normals.shape[0]):
        x, y, z, inverse = unit(normals, n)
        if inverse == np.float32(0.0):
            g_normals[n, 0] = g_normals[n, 1] = g_normals[n, 2] = np.float32(0.0)
            continue
        polar = np.float32(3.0) * z * z - np.float32(1.0)
        gx = gy = gz = np.float32(0.0)
        for c in range(3):
            g = g_out[n, c]
            total[0, c] += g
            total[1, c] += g * x
            total[2, c] += g * y
            total[3, c] += g * z
            total[4, c] += g * (x * y)
            total[5, c] += g * (x * z)
            total[6, c] += g * (y * z)
            total[7, c] += g * (x * x - y * y)
            total[8, c] += g * polar
            two_square = np.float32(2.0) * scaled[7, c]
            gx += g * (scaled[1, c] + scaled[4, c] * y + scaled[5, c] * z + two_square * x)
            gy += g * (scaled[2, c] + scaled[4, c] * x + scaled[6, c] * z - two_square * y)
            gz += g * (scaled[3, c] + scaled[5, c] * x + scaled[6, c] * y + np.float32(6.0) * scaled[8, c] * z)
        # The length of a normal has no effect, so the gradient along it is taken out.
        along = gx * x + gy * y + gz * z
        g_normals[n, 0] = (gx - along * x) * inverse
        g_normals[n, 1] = (gy - along * y) * inverse
        g_normals[n, 2] = (gz - along * z) * inverse
    for k in range(9):
        for c in range(3):
            sums[k, c] = total[k, c]
