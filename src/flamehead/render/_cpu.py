"""The loops over all samples of a picture, in numba: temporaries of this size would cost more than the arithmetic."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled

__all__ = ["merge", "shade"]


@compiled(nogil=True)
def shade(normals, albedo, towards, half, colors, wraps, up, sky, ground, gloss, out):
    """See `flamehead.render.shade`; directions have unit length, and one row of albedo serves all points."""
    for n in range(normals.shape[0]):
        x, y, z = normals[n, 0], normals[n, 1], normals[n, 2]
        scale = np.float32(1.0) / max(np.sqrt(x * x + y * y + z * z), np.float32(1e-20))
        x, y, z = x * scale, y * scale, z * scale
        high = np.float32(0.5) + np.float32(0.5) * (x * up[0] + y * up[1] + z * up[2])
        red = ground[0] + high * (sky[0] - ground[0])
        green = ground[1] + high * (sky[1] - ground[1])
        blue = ground[2] + high * (sky[2] - ground[2])
        shine_red = shine_green = shine_blue = np.float32(0.0)
        for light in range(towards.shape[0]):
            cosine = x * towards[light, 0] + y * towards[light, 1] + z * towards[light, 2]
            diffuse = max((cosine + wraps[light]) / (np.float32(1.0) + wraps[light]), np.float32(0.0))
            red += diffuse * colors[light, 0]
            green += diffuse * colors[light, 1]
            blue += diffuse * colors[light, 2]
            # The 16th power by repeated squaring.
            shine = max(x * half[light, 0] + y * half[light, 1] + z * half[light, 2], np.float32(0.0))
            shine *= shine
            shine *= shine
            shine *= shine
            shine *= shine * gloss
            shine_red += shine * colors[light, 0]
            shine_green += shine * colors[light, 1]
            shine_blue += shine * colors[light, 2]
        row = n if albedo.shape[0] > 1 else 0
        out[n, 0] = albedo[row, 0] * red + shine_red
        out[n, 1] = albedo[row, 1] * green + shine_green
        out[n, 2] = albedo[row, 2] * blue + shine_blue


@compiled(nogil=True)
def merge(ids, barycentric, supersample, pixels, face_ids, means, counts):
    """List each face seen in each pixel once, with the mean of its barycentrics and how many samples see it."""
    height, width = ids.shape[0] // supersample, ids.shape[1] // supersample
    n = 0
    for row in range(height):
        for column in range(width):
            first = n
            for y in range(row * supersample, (row + 1) * supersample):
                for x in range(column * supersample, (column + 1) * supersample):
                    face = ids[y, x]
                    if face < 0:
                        continue
                    m = first
                    while m < n and face_ids[m] != face:
                        m += 1
                    if m == n:
                        pixels[n], face_ids[n], counts[n] = row * width + column, face, np.float32(0.0)
                        means[n, 0] = means[n, 1] = means[n, 2] = np.float32(0.0)
                        n += 1
                    counts[m] += np.float32(1.0)
                    for k in range(3):
                        means[m, k] += barycentric[y, x, k]
            for m in range(first, n):
                scale = np.float32(1.0) / counts[m]
                for k in range(3):
                    means[m, k] *= scale
    return n  # How many rows of the lists are filled.
