"""Light at all samples of a picture, in numba: temporaries of this size would cost more than the arithmetic."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled

__all__ = ["add_lamps", "shade"]


@compiled(inline="always")
def _power(base, exponent):
    if exponent != np.float32(16.0):
        return base**exponent
    # The usual power, by repeated squaring.
    base *= base
    base *= base
    base *= base
    return base * base


@compiled(nogil=True)
def shade(normals, albedo, towards, half, colors, wraps, up, sky, ground, gloss, sharpness, out):
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
            if diffuse <= np.float32(0.0):
                continue
            shine = max(x * half[light, 0] + y * half[light, 1] + z * half[light, 2], np.float32(0.0))
            shine = gloss * _power(shine, sharpness)
            shine_red += shine * colors[light, 0]
            shine_green += shine * colors[light, 1]
            shine_blue += shine * colors[light, 2]
        row = n if albedo.shape[0] > 1 else 0
        out[n, 0] = albedo[row, 0] * red + shine_red
        out[n, 1] = albedo[row, 1] * green + shine_green
        out[n, 2] = albedo[row, 2] * blue + shine_blue


@compiled(nogil=True)
def add_lamps(normals, points, albedo, positions, colors, wraps, gloss, sharpness, parallel, out):
    """Add the light of lamps near the surface, seen from the origin or along z; see `flamehead.render.shade`."""
    tiny = np.float32(1e-20)
    for n in range(normals.shape[0]):
        x, y, z = normals[n, 0], normals[n, 1], normals[n, 2]
        scale = np.float32(1.0) / max(np.sqrt(x * x + y * y + z * z), tiny)
        x, y, z = x * scale, y * scale, z * scale
        px, py, pz = points[n, 0], points[n, 1], points[n, 2]
        away = np.float32(1.0) / max(np.sqrt(px * px + py * py + pz * pz), tiny)
        row = n if albedo.shape[0] > 1 else 0
        for lamp in range(positions.shape[0]):
            lx, ly, lz = positions[lamp, 0] - px, positions[lamp, 1] - py, positions[lamp, 2] - pz
            square = max(lx * lx + ly * ly + lz * lz, np.float32(1e-12))
            near = np.float32(1.0) / np.sqrt(square)
            lx, ly, lz = lx * near, ly * near, lz * near
            cosine = x * lx + y * ly + z * lz
            diffuse = max((cosine + wraps[lamp]) / (np.float32(1.0) + wraps[lamp]), np.float32(0.0)) / square
            if diffuse <= np.float32(0.0):
                continue
            if parallel:
                hx, hy, hz = lx, ly, lz - np.float32(1.0)
            else:
                hx, hy, hz = lx - px * away, ly - py * away, lz - pz * away
            length = max(np.sqrt(hx * hx + hy * hy + hz * hz), tiny)
            shine = max((x * hx + y * hy + z * hz) / length, np.float32(0.0))
            shine = gloss * _power(shine, sharpness) / square
            for c in range(3):
                out[n, c] += (albedo[row, c] * diffuse + shine) * colors[lamp, c]
