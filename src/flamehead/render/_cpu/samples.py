"""Samples of a picture to faces in pixels, in numba; see `flamehead.render._samples`."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled

__all__ = ["merge"]


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
