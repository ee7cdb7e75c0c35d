"""Texture loops in numba: halving an image, sampling a pyramid, how fine to sample, and their backward passes.

Formulas are those of `flamehead.render.sampling` and `flamehead.render.texture`. A pyramid is one list of texels with
the place and size of each level, so that no picture size needs a kernel of its own.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled

__all__ = [
    "between",
    "double_even",
    "halve",
    "halve_even",
    "levels",
    "place",
    "pull_texels",
    "pull_uv",
    "sample",
    "unseen",
]


@compiled(nogil=True)
def halve(out, first, image, rows, row_weights, columns, column_weights):
    """Weighted sums of a few rows and columns; `out` holds the rows from `first` on. Serves both directions."""
    channels = image.shape[2]
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for c in range(channels):
                out[i, j, c] = np.float32(0.0)
            for a in range(rows.shape[1]):
                y, wy = rows[first + i, a], row_weights[first + i, a]
                for b in range(columns.shape[1]):
                    x, weight = columns[j, b], wy * column_weights[j, b]
                    for c in range(channels):
                        out[i, j, c] += weight * image[y, x, c]


@compiled(inline="always")
def place(coordinate, size):
    """The texel before a position, the one after it, the share of the second, and whether the position is inside."""
    x = coordinate * np.float32(size) - np.float32(0.5)
    inside = (x >= np.float32(0.0)) and (x <= np.float32(size - 1))
    x = min(max(x, np.float32(0.0)), np.float32(size - 1))
    before = np.int64(x)
    return before, min(before + 1, size - 1), x - np.float32(before), inside


@compiled(inline="always")
def between(level, n_levels):
    """The finer level and the share of the coarser one."""
    level = min(max(level, np.float32(0.0)), np.float32(n_levels - 1))
    fine = np.int64(level)
    return fine, level - np.float32(fine)


@compiled(inline="always")
def unseen(u, v, level):
    """Whether anything is NaN or infinite, or the pixel is background."""
    return not (u - u == np.float32(0.0) and v - v == np.float32(0.0)) or level != level


@compiled(nogil=True)
def sample(uv, level, out, texels, starts, widths, heights):
    """Bilinear within a level, linear between two; NaN leaves a row 0."""
    channels = texels.shape[1]
    for n in range(uv.shape[0]):
        for c in range(channels):
            out[n, c] = np.float32(0.0)
        u, v = uv[n, 0], uv[n, 1]
        if unseen(u, v, level[n]):
            continue
        fine, share = between(level[n], widths.shape[0])
        for step in range(2):
            weight = share if step else np.float32(1.0) - share
            if weight == np.float32(0.0):
                continue
            which = fine + step
            x0, x1, fx, _ = place(u, widths[which])
            y0, y1, fy, _ = place(np.float32(1.0) - v, heights[which])
            top, bottom = starts[which] + y0 * widths[which], starts[which] + y1 * widths[which]
            w00 = weight * (np.float32(1.0) - fy) * (np.float32(1.0) - fx)
            w01 = weight * (np.float32(1.0) - fy) * fx
            w10, w11 = weight * fy * (np.float32(1.0) - fx), weight * fy * fx
            for c in range(channels):
                out[n, c] += (
                    w00 * texels[top + x0, c]
                    + w01 * texels[top + x1, c]
                    + w10 * texels[bottom + x0, c]
                    + w11 * texels[bottom + x1, c]
                )


@compiled(nogil=True)
def pull_uv(uv, level, g_out, g_uv, texels, starts, widths, heights):
    """From the gradient of `sample`'s result to that of uv."""
    channels = texels.shape[1]
    for n in range(uv.shape[0]):
        g_uv[n, 0] = g_uv[n, 1] = np.float32(0.0)
        u, v = uv[n, 0], uv[n, 1]
        if unseen(u, v, level[n]):
            continue
        fine, share = between(level[n], widths.shape[0])
        for step in range(2):
            weight = share if step else np.float32(1.0) - share
            if weight == np.float32(0.0):
                continue
            which = fine + step
            x0, x1, fx, x_inside = place(u, widths[which])
            y0, y1, fy, y_inside = place(np.float32(1.0) - v, heights[which])
            top, bottom = starts[which] + y0 * widths[which], starts[which] + y1 * widths[which]
            along_x = along_y = np.float32(0.0)
            for c in range(channels):
                a, b = texels[top + x0, c], texels[top + x1, c]
                d, e = texels[bottom + x0, c], texels[bottom + x1, c]
                along_x += g_out[n, c] * ((np.float32(1.0) - fy) * (b - a) + fy * (e - d))
                along_y += g_out[n, c] * ((np.float32(1.0) - fx) * (d - a) + fx * (e - b))
            if x_inside:
                g_uv[n, 0] += weight * np.float32(widths[which]) * along_x
            if y_inside:
                g_uv[n, 1] -= weight * np.float32(heights[which]) * along_y


@compiled(nogil=True)
def pull_texels(low, high, uv, level, g_out, g_texels, starts, widths, heights):
    """From the gradient of `sample`'s result to that of the texels between relative rows `low` and `high`.

    Each caller owns rows, not pixels: no two write the same texel, and every texel is summed in the order of pixels.
    """
    channels = g_texels.shape[1]
    n_levels = widths.shape[0]
    first, end = np.empty(n_levels, dtype=np.int64), np.empty(n_levels, dtype=np.int64)
    for which in range(n_levels):
        first[which] = np.int64(np.floor(low * heights[which] + 0.5))
        end[which] = np.int64(np.floor(high * heights[which] + 0.5))
    for n in range(uv.shape[0]):
        u, v = uv[n, 0], uv[n, 1]
        if unseen(u, v, level[n]):
            continue
        fine, share = between(level[n], n_levels)
        for step in range(2):
            weight = share if step else np.float32(1.0) - share
            if weight == np.float32(0.0):
                continue
            which = fine + step
            y0, y1, fy, _ = place(np.float32(1.0) - v, heights[which])
            upper, lower = first[which] <= y0 < end[which], first[which] <= y1 < end[which]
            if not (upper or lower):
                continue
            x0, x1, fx, _ = place(u, widths[which])
            top, bottom = starts[which] + y0 * widths[which], starts[which] + y1 * widths[which]
            left, right = weight * (np.float32(1.0) - fx), weight * fx
            a, b = np.uintp(top + x0), np.uintp(top + x1)
            d, e = np.uintp(bottom + x0), np.uintp(bottom + x1)
            for c in range(channels):
                k = np.uintp(c)
                high_share, low_share = (np.float32(1.0) - fy) * g_out[n, c], fy * g_out[n, c]
                if upper:
                    g_texels[a, k] += left * high_share
                    g_texels[b, k] += right * high_share
                if lower:
                    g_texels[d, k] += left * low_share
                    g_texels[e, k] += right * low_share


@compiled(nogil=True)
def halve_even(out, first, image):
    """`halve` where both sides are even: means of four."""
    quarter = np.float32(0.25)
    for i in range(out.shape[0]):
        above, below, row = image[2 * (first + i)], image[2 * (first + i) + 1], out[i]
        for j in range(out.shape[1]):
            for c in range(out.shape[2]):
                total = above[2 * j, c] + above[2 * j + 1, c] + below[2 * j, c] + below[2 * j + 1, c]
                row[j, c] = quarter * total


@compiled(nogil=True)
def double_even(out, first, image, level):
    """The transpose of `halve_even`, added to `level`."""
    quarter = np.float32(0.25)
    for i in range(out.shape[0]):
        small, own, row = image[(first + i) // 2], level[first + i], out[i]
        for j in range(small.shape[0]):
            for c in range(small.shape[1]):
                g = quarter * small[j, c]
                row[2 * j, c] = own[2 * j, c] + g
                row[2 * j + 1, c] = own[2 * j + 1, c] + g


@compiled(nogil=True)
def levels(face_ids, depth, uv, out, points, faces, corner_uv, uv_faces, perspective, width, height):
    """See `flamehead.render.texture.texture_level`; NaN in the background. The setup is shared along a run."""
    last = -1
    ux = uy = vx = vy = wx = wy = 0.0
    for n in range(face_ids.shape[0]):
        face = face_ids[n]
        if face < 0:
            out[n] = np.float32(np.nan)
            continue
        if face != last:
            last = face
            i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
            x0, y0, x1, y1 = np.float64(points[i, 0]), np.float64(points[i, 1]), points[j, 0], points[j, 1]
            x2, y2 = points[k, 0], points[k, 1]
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            scale = 1.0 / area if area != 0.0 else np.inf
            w0 = scale / points[i, 2] if perspective else scale
            w1 = scale / points[j, 2] if perspective else scale
            w2 = scale / points[k, 2] if perspective else scale
            a, b, c = uv_faces[face, 0], uv_faces[face, 1], uv_faces[face, 2]
            # How each corner's weight over depth changes along x and along y.
            px0, px1, px2 = (y1 - y2) * w0, (y2 - y0) * w1, (y0 - y1) * w2
            py0, py1, py2 = (x2 - x1) * w0, (x0 - x2) * w1, (x1 - x0) * w2
            wx, wy = px0 + px1 + px2, py0 + py1 + py2
            ux = px0 * corner_uv[a, 0] + px1 * corner_uv[b, 0] + px2 * corner_uv[c, 0]
            uy = py0 * corner_uv[a, 0] + py1 * corner_uv[b, 0] + py2 * corner_uv[c, 0]
            vx = px0 * corner_uv[a, 1] + px1 * corner_uv[b, 1] + px2 * corner_uv[c, 1]
            vy = py0 * corner_uv[a, 1] + py1 * corner_uv[b, 1] + py2 * corner_uv[c, 1]
        z = np.float64(depth[n]) if perspective else 1.0
        u, v = uv[n, 0], uv[n, 1]
        u_right, v_right = z * (ux - u * wx) * width, z * (vx - v * wx) * height
        u_down, v_down = z * (uy - u * wy) * width, z * (vy - v * wy) * height
        square = max(u_right * u_right + v_right * v_right, u_down * u_down + v_down * v_down)
        out[n] = np.float32(0.5 * np.log2(square)) if square > 1.0 else np.float32(0.0)
