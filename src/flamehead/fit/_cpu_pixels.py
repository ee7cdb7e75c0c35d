"""The sums over pixels of a photometric fit, in numba.

For a pixel that shows face f at barycentrics b, with surface colour a(alpha), normal n and light l, the model is

    c = encode(a * sum_k l_k Y_k(n)),      r = (image - c) / sigma,

in sRGB, for each channel. Moving the surface point by dx slides it over the picture, d image = grad image . d pixel;
turning the face turns the normal. Both depend on the three corners of f only, so that the normal equations with respect
to all vertices are a sum of 9 x 9 blocks, one for each face, whatever the number of pixels and of parameters.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.render.harmonics import HARMONIC_CONSTANTS

__all__ = ["HARMONICS", "accumulate", "by_coefficients", "interior", "shade_pixels", "thin"]

HARMONICS = 9

_C0, _C1, _, _, _C2, _, _, _C3, _C4 = HARMONIC_CONSTANTS
"""Factors of the nine functions: 1; x, y, z; xy, xz, yz; x^2 - y^2; 3 z^2 - 1."""

_LEAST = np.float32(1e-4)
"""Linear light below which a pixel's colour has no slope worth following."""


@compiled(nogil=True)
def interior(ids, local, depth, step, inside):
    """Pixels whose eight neighbours show the mask's faces too, with no jump in depth between them; how many."""
    height, width = ids.shape
    count = 0
    for y in range(height):
        for x in range(width):
            inside[y, x] = False
            if y == 0 or x == 0 or y == height - 1 or x == width - 1 or ids[y, x] < 0 or local[ids[y, x]] < 0:
                continue
            good = True
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    face = ids[y + dy, x + dx]
                    good &= face >= 0 and local[face] >= 0 and abs(depth[y + dy, x + dx] - depth[y, x]) < step
            inside[y, x] = good
            count += good
    return count


@compiled(nogil=True)
def thin(inside, count, most):
    """Keep at most about so many pixels, evenly spread and the same ones every time."""
    if count <= most:
        return
    seen = 0
    for y in range(inside.shape[0]):
        # Every row begins elsewhere, so that no columns are left out altogether.
        seen += (y * 7919) % count
        for x in range(inside.shape[1]):
            if inside[y, x]:
                seen += most
                inside[y, x] = seen >= count
                seen %= count


@compiled(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _dot(a, b):
    total = np.float32(0)
    for k in range(b.shape[0]):
        total += a[k] * b[k]
    return total


@compiled(nogil=True, error_model="numpy")
def _fill_row(row, values, factor):
    """The first numbers of a row."""
    for k in range(values.shape[0]):
        row[k] = factor * values[k]


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _add_row(row, values, factor):
    for k in range(values.shape[0]):
        row[k] += factor * values[k]


@compiled(inline="always")
def _encode(light):
    """sRGB of linear light, and its slope."""
    if light <= 0.0031308:
        return np.float32(12.92) * light, np.float32(12.92)
    power = light ** np.float32(1 / 2.4)
    return np.float32(1.055) * power - np.float32(0.055), np.float32(1.055 / 2.4) * power / light


@compiled(nogil=True, error_model="numpy")
def _surface(face, b, faces, normals, uv, mean, basis, alpha, harmonics, slopes, albedo, texel):
    """Fill in the harmonics, their derivative by the normal, the albedo, and the row and column of the texel."""
    x = y = z = np.float32(0)
    u = v = np.float32(0)
    for k in range(3):
        vertex = faces[face, k]
        x += b[k] * normals[vertex, 0]
        y += b[k] * normals[vertex, 1]
        z += b[k] * normals[vertex, 2]
        u += b[k] * uv[face, k, 0]
        v += b[k] * uv[face, k, 1]
    scale = np.float32(1) / max(np.sqrt(x * x + y * y + z * z), np.float32(1e-12))
    x, y, z = x * scale, y * scale, z * scale
    harmonics[0], harmonics[1], harmonics[2], harmonics[3] = _C0, _C1 * x, _C1 * y, _C1 * z
    harmonics[4], harmonics[5], harmonics[6] = _C2 * x * y, _C2 * x * z, _C2 * y * z
    harmonics[7], harmonics[8] = _C3 * (x * x - y * y), _C4 * (3 * z * z - 1)
    slopes[1, 0] = slopes[2, 1] = slopes[3, 2] = _C1
    slopes[4, 0], slopes[4, 1] = _C2 * y, _C2 * x
    slopes[5, 0], slopes[5, 2] = _C2 * z, _C2 * x
    slopes[6, 1], slopes[6, 2] = _C2 * z, _C2 * y
    slopes[7, 0], slopes[7, 1] = 2 * _C3 * x, -2 * _C3 * y
    slopes[8, 2] = 6 * _C4 * z
    # Bilinear for the mean, which has all the detail, and the nearest texel for the components.
    height, width = mean.shape[0], mean.shape[1]
    column, row = min(max(u - np.float32(0.5), np.float32(0)), np.float32(width - 1)), v - np.float32(0.5)
    row = min(max(row, np.float32(0)), np.float32(height - 1))
    j, i = min(int(column), width - 2), min(int(row), height - 2)
    s, t = column - j, row - i
    texel[0], texel[1] = int(row + np.float32(0.5)), int(column + np.float32(0.5))
    for c in range(3):
        albedo[c] = (1 - t) * ((1 - s) * mean[i, j, c] + s * mean[i, j + 1, c]) + t * (
            (1 - s) * mean[i + 1, j, c] + s * mean[i + 1, j + 1, c]
        )
        albedo[c] += _dot(basis[texel[0], texel[1], c], alpha)


@compiled(nogil=True, error_model="numpy")
def shade_pixels(ids, barycentric, inside, faces, normals, uv, mean, basis, alpha, light, out):
    """The model's sRGB at the pixels inside."""
    harmonics, slopes = np.zeros(9, np.float32), np.zeros((9, 3), np.float32)
    albedo, texel, b = np.zeros(3, np.float32), np.zeros(2, np.int64), np.zeros(3, np.float32)
    for row in range(ids.shape[0]):
        for column in range(ids.shape[1]):
            if not inside[row, column]:
                continue
            for k in range(3):
                b[k] = barycentric[k, row, column]
            _surface(ids[row, column], b, faces, normals, uv, mean, basis, alpha, harmonics, slopes, albedo, texel)
            for c in range(3):
                out[row, column, c] = _encode(max(albedo[c] * _dot(light[c], harmonics), _LEAST))[0]


@compiled(nogil=True, error_model="numpy")
def accumulate(
    image, along_x, along_y, ids, barycentric, inside, local, faces, points, normals, uv, mean, basis, alpha, light,
    focal, inverse_sigma, outlier, geometry, rows, pulls, corners, blocks, slope_by_vertex, cross,
):  # fmt: skip
    """Residuals of all pixels by albedo, light and lens, and their sums by the vertices; robust cost and pixel count.

    Args:
        image, along_x, along_y: sRGB and its derivatives per pixel, (H, W, 3).
        ids, barycentric: fragments, (H, W) and (3, H, W).
        inside, local: which pixels count, and the row of a face in the blocks, or -1.
        faces, points, normals: of the head in the camera's frame.
        uv: texture coordinates of each face's corners, in texels.
        mean, basis, alpha: the albedo's space and coefficients, linear RGB.
        light: harmonics by channel.
        focal: pixels.
        inverse_sigma: 1 / noise of a channel.
        outlier: distance in sigmas at which a pixel loses its say (Geman-McClure).
        geometry: whether to fill in what belongs to the vertices.
        rows, pulls: filled with a row for each pixel and channel and with its residual, both times the root of its
            weight, (3 P, A) and (3 P); A is at least the albedo's, the light's and the lens's unknowns (logarithm of
            the focal length, filled in with the geometry only), the rest stays zero.
        corners: of the faces in the blocks, as rows of what follows, (F, 3).
        blocks: added to, by the coordinates of the face's corners, (F, 9, 9).
        slope_by_vertex, cross: added to, (3 M) and (3 M, A).
    """
    n_alpha = alpha.shape[0]
    harmonics, slopes = np.zeros(9, np.float32), np.zeros((9, 3), np.float32)
    albedo, texel, b = np.zeros(3, np.float32), np.zeros(2, np.int64), np.zeros(3, np.float32)
    residual, shading, slope = np.zeros(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    turn, by_vertex, tilt = np.zeros((3, 9), np.float32), np.zeros((3, 9), np.float32), np.zeros(3, np.float32)
    cost, count = 0.0, 0
    for row in range(ids.shape[0]):
        for column in range(ids.shape[1]):
            if not inside[row, column]:
                continue
            face = ids[row, column]
            for k in range(3):
                b[k] = barycentric[k, row, column]
            _surface(face, b, faces, normals, uv, mean, basis, alpha, harmonics, slopes, albedo, texel)
            total = _compare(image, row, column, albedo, light, harmonics, inverse_sigma, residual, shading, slope)
            # The root of the weight, by which both the residual and its derivatives are multiplied.
            bounded = np.float32(1) / (np.float32(1) + total / (outlier * outlier))
            cost += 0.5 * total * bounded
            for c in range(3):
                at = 3 * count + c
                steep = bounded * slope[c] * inverse_sigma
                _fill_row(rows[at], basis[texel[0], texel[1], c], -steep * shading[c])
                for m in range(HARMONICS):
                    rows[at, n_alpha + HARMONICS * c + m] = -steep * albedo[c] * harmonics[m]
                pulls[at] = bounded * residual[c]
                tilt[c] = -steep * albedo[c]
            if geometry:
                _by_corners(
                    faces[face, 0], faces[face, 1], faces[face, 2], points, b, along_x, along_y, row, column, light,
                    slopes, tilt, bounded * inverse_sigma * focal, turn, by_vertex, rows, 3 * count,
                    n_alpha + 3 * HARMONICS,
                )  # fmt: skip
                _add_pixel(
                    by_vertex, rows, pulls, np.uint64(3 * count), corners, local[face], blocks, slope_by_vertex, cross
                )
            count += 1
    return cost, count


@compiled(inline="always")
def _compare(image, row, column, albedo, light, harmonics, inverse_sigma, residual, shading, slope):
    """Fill in a pixel's residual, light and slope of the sRGB curve by channel; the sum of squared residuals."""
    total = np.float32(0)
    for c in range(3):
        shading[c] = _dot(light[c], harmonics)
        value, slope[c] = _encode(max(albedo[c] * shading[c], _LEAST))
        if albedo[c] * shading[c] < _LEAST:
            slope[c] = np.float32(0)
        residual[c] = (image[row, column, c] - value) * inverse_sigma
        total += residual[c] * residual[c]
    return total


@compiled(inline="always")
def _by_corners(
    i, j, k, points, b, along_x, along_y, row, column, light, slopes, tilt, reach, turn, by_vertex, rows, at, lens
):  # fmt: skip
    """Derivative of a pixel's residuals by the corners of its face: the picture slides, and the normal turns.

    Args:
        i, j, k, points, b: vertices of the face, all points, and where in the face.
        along_x, along_y, row, column: of the picture, and where in it.
        light, slopes: harmonics by channel, and the derivative of the nine functions by the normal.
        tilt: of the residual by the light on the surface, by channel.
        reach: of the residual by a step of the picture, for a point one metre aside at one metre's distance.
        turn: scratch.
        by_vertex: filled, (3, 9).
        rows, at, lens: the column `lens` is filled from row `at` on, with the derivative by the logarithm of the focal
            length, the head staying where it is.
    """
    _turning(points, i, j, k, turn)
    # The point that is seen, from the camera.
    depth = b[0] * points[i, 2] + b[1] * points[j, 2] + b[2] * points[k, 2]
    px = (b[0] * points[i, 0] + b[1] * points[j, 0] + b[2] * points[k, 0]) / depth
    py = (b[0] * points[i, 1] + b[1] * points[j, 1] + b[2] * points[k, 1]) / depth
    for c in range(3):
        nx = ny = nz = np.float32(0)
        for m in range(1, 9):
            nx += light[c, m] * slopes[m, 0]
            ny += light[c, m] * slopes[m, 1]
            nz += light[c, m] * slopes[m, 2]
        gx, gy = along_x[row, column, c] * reach / depth, along_y[row, column, c] * reach / depth
        gz = -(gx * px + gy * py)
        rows[at + c, lens] = -gz * depth
        for m in range(3):
            by_vertex[c, 3 * m] = b[m] * gx
            by_vertex[c, 3 * m + 1] = b[m] * gy
            by_vertex[c, 3 * m + 2] = b[m] * gz
        for m in range(9):
            by_vertex[c, m] += tilt[c] * (nx * turn[0, m] + ny * turn[1, m] + nz * turn[2, m])


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _add_pixel(by_vertex, rows, pulls, at, corners, face, blocks, slope_by_vertex, cross):
    """Add the three channels of a pixel, whose rows begin at `at`, to what belongs to the vertices of its face."""
    # Unsigned: numba looks whether signed indices are negative, which keeps LLVM from using vectors.
    one, two, face = at + np.uint64(1), at + np.uint64(2), np.uint64(face)
    for m in range(np.uint64(9)):
        r, g, b = by_vertex[0, m], by_vertex[1, m], by_vertex[2, m]
        for n in range(np.uint64(9)):
            blocks[face, m, n] += r * by_vertex[0, n] + g * by_vertex[1, n] + b * by_vertex[2, n]
        here = np.uint64(3 * corners[face, m // np.uint64(3)]) + m % np.uint64(3)
        slope_by_vertex[here] += r * pulls[at] + g * pulls[one] + b * pulls[two]
        for n in range(np.uint64(cross.shape[1])):
            cross[here, n] += r * rows[at, n] + g * rows[one, n] + b * rows[two, n]


@compiled(nogil=True, error_model="numpy")
def by_coefficients(basis, weights, rotations, drift, out):
    """Derivative of skinned points by coefficients, `sum_j w_j (R_j basis + drift_j)`, into the first columns of `out`.

    Args:
        basis: (M, 3, C), of the points at rest.
        weights: (M, J).
        rotations, drift: of the joints, (J, 3, 3) and (J, 3, C).
        out: (M, 3, N), N >= C.
    """
    mixed, n = np.zeros((3, 3), np.float32), basis.shape[2]
    for point in range(basis.shape[0]):
        mixed[:] = 0
        for joint in range(weights.shape[1]):
            share = weights[point, joint]
            if share != 0:
                for a in range(3):
                    for b in range(3):
                        mixed[a, b] += share * rotations[joint, a, b]
        for a in range(3):
            row = out[point, a, :n]
            row[:] = 0
            for b in range(3):
                _add_row(row, basis[point, b], mixed[a, b])
            for joint in range(weights.shape[1]):
                if weights[point, joint] != 0:
                    _add_row(row, drift[joint, a], weights[point, joint])


@compiled(nogil=True, error_model="numpy")
def _turning(points, i, j, k, turn):
    """Derivative of a face's unit normal by its corners, (3, 9): that of `cross(q - p, r - p)`, across the normal."""
    ax, ay, az = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]
    bx, by, bz = points[k, 0] - points[i, 0], points[k, 1] - points[i, 1], points[k, 2] - points[i, 2]
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    length = max(np.sqrt(nx * nx + ny * ny + nz * nz), np.float32(1e-20))
    nx, ny, nz = nx / length, ny / length, nz / length
    cx, cy, cz = bx - ax, by - ay, bz - az
    # d(a x b) = da x b + a x db, and the first corner moves both: columns are the cross-product matrices of c, -b, a.
    for m in range(3):
        ex, ey, ez = (cx, cy, cz) if m == 0 else ((-bx, -by, -bz) if m == 1 else (ax, ay, az))
        for n in range(3):
            # e x unit(n)
            tx = np.float32(0) if n == 0 else (-ez if n == 1 else ey)
            ty = ez if n == 0 else (np.float32(0) if n == 1 else -ex)
            tz = -ey if n == 0 else (ex if n == 1 else np.float32(0))
            along = tx * nx + ty * ny + tz * nz
            turn[0, 3 * m + n] = (tx - along * nx) / length
            turn[1, 3 * m + n] = (ty - along * ny) / length
            turn[2, 3 * m + n] = (tz - along * nz) / length
