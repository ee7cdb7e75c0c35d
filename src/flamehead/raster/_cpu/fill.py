"""Filling triangles on the CPU: each thread owns some rows, visits the triangles in order, and keeps the nearest.

The picture under work is an array of blocks of 16 pixels. A block holds four runs of 16 float32: the key (the greater
is nearer), the face, and two of the three barycentrics times their weight; all are linear functions of the pixel. The
loop over a block's lanes has no branches, which LLVM turns into masked vector instructions: constant distances between
the runs tell it that they do not overlap.

With corners on the grid of `_grid.SUBPIXEL`, an edge function is an integer, and at pixel centres its value is
`c + SUBPIXEL * (a column + b row)`. Whether that is negative can be told from `floor(c / SUBPIXEL) + a column + b row`,
whose integers stay below 2**24, exact in float32, for all triangles up to `_SMALL` pixels wide and high.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.lanes import LANES, copy_lanes, copy_lanes_as_int
from flamehead.raster._grid import HALF, SUBPIXEL

__all__ = ["BLOCK", "fill", "prepare"]

BLOCK = 4 * LANES
"""Numbers in a block."""

_SMALL = 80.0
"""Pixels: `_SMALL * SUBPIXEL * (_SMALL + LANES) * 2 < 2**24`."""

_BARELY = 1e-300
"""The least value inside an edge whose own pixels belong to the other side: anything above 0."""


@compiled(nogil=True, error_model="numpy")
def prepare(points, faces, width, height, rows, cull, perspective, near):
    """Corners on the grid, with their key and weight: 1/z, or -z and 1 in a parallel projection; and `_list`."""
    corners = np.empty((points.shape[0], 4))
    for v in range(points.shape[0]):
        z = np.float64(points[v, 2])
        corners[v, 0] = np.floor(np.float64(points[v, 0]) * SUBPIXEL + 0.5)
        corners[v, 1] = np.floor(np.float64(points[v, 1]) * SUBPIXEL + 0.5)
        corners[v, 2] = 1.0 / z if perspective else -z
        corners[v, 3] = 1.0 / z if perspective else 1.0
    starts, listed = _list(points, corners, faces, width, height, rows, cull, perspective, near)
    return corners, starts, listed


@compiled(nogil=True, error_model="numpy")
def fill(from_strip, to_strip, corners, starts, listed, points, faces, width, height, rows, cull, perspective, near,
         picture, ids, barycentric, depth):  # fmt: skip
    """Some of the strips of `rows` rows; outputs are the flat arrays of the whole picture, barycentrics planar.

    `picture` has room for a strip, which stays in the core's own cache from the first triangle to the last, so that
    only the outputs go to memory.
    """
    blocks = (width + LANES - 1) // LANES
    for strip in range(from_strip, to_strip):
        first, last = strip * rows, min(strip * rows + rows, height)
        _clear(picture[: (last - first) * blocks * BLOCK], np.float32(0.0 if perspective else -np.inf))
        here = listed[starts[strip] : starts[strip + 1]]
        _fill_small(points, corners, faces, here, width, first, last, cull, perspective, near, picture)
        _resolve(picture, width, first, last, perspective, ids, barycentric, depth)


@compiled(nogil=True, error_model="numpy")
def _list(points, corners, faces, width, height, rows, cull, perspective, near):
    """Which faces each strip has to visit, in their order: where its list starts, and the lists."""
    strips = (height + rows - 1) // rows
    if strips == 1:
        return np.array([0, faces.shape[0]]), np.arange(faces.shape[0], dtype=np.int32)
    drawn = np.empty(faces.shape[0], np.int32)
    upper, lower = np.empty_like(drawn), np.empty_like(drawn)
    # Only to be fast: what is listed is asked again, with the numbers that its pixels come from.
    low, high, scale = HALF, (height - 1) * SUBPIXEL + HALF, 1.0 / (rows * SUBPIXEL)
    right = (width - 1) * SUBPIXEL + HALF
    all_far, count = not perspective, 0
    if perspective:
        behind = 0
        for v in range(points.shape[0]):
            behind += not points[v, 2] > near
        all_far = behind == 0
    for face in range(faces.shape[0]):
        i, j, k = np.uint64(faces[face, 0]), np.uint64(faces[face, 1]), np.uint64(faces[face, 2])
        x0, x1, x2 = corners[i, 0], corners[j, 0], corners[k, 0]
        y0, y1, y2 = corners[i, 1], corners[j, 1], corners[k, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        top, bottom = max(min(y0, y1, y2), low), min(max(y0, y1, y2), high)
        here = (max(x0, x1, x2) >= HALF) & (min(x0, x1, x2) <= right) & (top <= bottom)
        here &= (area < 0.0) | ((area > 0.0) & (not cull))
        # Of those that cross the near plane nothing is known yet.
        far = all_far or ((points[i, 2] > near) & (points[j, 2] > near) & (points[k, 2] > near))
        # No branches, which would be guessed wrong half the time: the next face writes over one that is not drawn.
        drawn[count] = face
        upper[count] = np.int32((top - low) * scale) if here & far else 0
        lower[count] = np.int32((bottom - low) * scale) if here & far else strips - 1
        count += np.int64(here | (not far))
    starts = np.zeros(strips + 1, np.int64)
    for n in range(count):
        for strip in range(upper[n], lower[n] + 1):
            starts[strip + 1] += 1
    for strip in range(strips):
        starts[strip + 1] += starts[strip]
    places, listed = starts[:-1].copy(), np.empty(starts[strips], np.int32)
    for n in range(count):
        for strip in range(upper[n], lower[n] + 1):
            listed[places[strip]] = drawn[n]
            places[strip] += 1
    return starts, listed


@compiled(nogil=True, error_model="numpy")
def _clear(picture, farthest):
    for block in range(picture.shape[0] // BLOCK):
        at = np.uint64(block * BLOCK)
        for lane in range(LANES):
            picture[at + np.uint64(lane)] = farthest
        for lane in range(LANES):
            picture[at + np.uint64(LANES + lane)] = np.float32(-1)


@compiled(inline="always")
def _least(slope_x, slope_y, least):
    """The top-left rule: pixels on an edge belong to the triangle on its right, or below it where it is level."""
    return 0.0 if slope_x > 0.0 or (slope_x == 0.0 and slope_y > 0.0) else least


@compiled(nogil=True, error_model="numpy")
def _fill_small(points, corners, faces, listed, width, first, last, cull, perspective, near, picture):
    """Visit the triangles of a list; the large ones and those that cross the near plane are handed on."""
    blocks = (width + LANES - 1) // LANES
    for face in listed:
        i, j, k = np.uint64(faces[face, 0]), np.uint64(faces[face, 1]), np.uint64(faces[face, 2])
        x0, x1, x2 = corners[i, 0], corners[j, 0], corners[k, 0]
        y0, y1, y2 = corners[i, 1], corners[j, 1], corners[k, 1]
        # Comparisons with NaN are false, so a broken corner goes this way too.
        if perspective and not (points[i, 2] > near and points[j, 2] > near and points[k, 2] > near):
            _fill_crossing(points, corners, face, i, j, k, width, first, last, cull, near, picture)
            continue
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0 or (cull and area > 0.0) or not abs(area) < np.inf:
            continue
        # The columns and rows whose centres lie in the bounding box, still as floats: huge values must not reach int().
        left, right = np.ceil((min(x0, x1, x2) - HALF) / SUBPIXEL), np.floor((max(x0, x1, x2) - HALF) / SUBPIXEL)
        top, bottom = np.ceil((min(y0, y1, y2) - HALF) / SUBPIXEL), np.floor((max(y0, y1, y2) - HALF) / SUBPIXEL)
        from_x, to_x = max(0.0, left), min(width - 1.0, right)
        from_y, to_y = max(np.float64(first), top), min(last - 1.0, bottom)
        if not (from_x <= to_x and from_y <= to_y):
            continue
        sign = 1.0 if area > 0.0 else -1.0
        ax, bx, ay, by, az, bz = y1 - y2, x2 - x1, y2 - y0, x0 - x2, y0 - y1, x1 - x0
        if right - left > _SMALL or bottom - top > _SMALL:
            edges = (
                (sign * ax, sign * bx, sign * (x1 * y2 - x2 * y1)),
                (sign * ay, sign * by, sign * (x2 * y0 - x0 * y2)),
                (sign * az, sign * bz, sign * (x0 * y1 - x1 * y0)),
            )
            keys = (corners[i, 2], corners[j, 2], corners[k, 2])
            weights = (corners[i, 3], corners[j, 3])
            _fill_large(face, edges, keys, weights, abs(area), (from_x, to_x, from_y, to_y), first, blocks, picture)
            continue
        ax, bx, ay, by, az, bz = sign * ax, sign * bx, sign * ay, sign * by, sign * az, sign * bz
        # Everything is measured from the first pixel of the bounding box.
        x, y = left * SUBPIXEL + HALF, top * SUBPIXEL + HALF
        a, b, c = ax * (x - x1) + bx * (y - y1), ay * (x - x2) + by * (y - y2), az * (x - x0) + bz * (y - y0)
        scale = 1.0 / abs(area)
        k0, k1, k2 = corners[i, 2] * scale, corners[j, 2] * scale, corners[k, 2] * scale
        w0, w1 = corners[i, 3] * scale, corners[j, 3] * scale
        # From here on float32: steps along a row and a column, and values at the first block's first lane.
        e0x, e1x, e2x = np.float32(ax), np.float32(ay), np.float32(az)
        e0y, e1y, e2y = np.float32(bx), np.float32(by), np.float32(bz)
        kx, ky = (
            np.float32((k0 * ax + k1 * ay + k2 * az) * SUBPIXEL),
            np.float32((k0 * bx + k1 * by + k2 * bz) * SUBPIXEL),
        )
        px, py = np.float32(w0 * ax * SUBPIXEL), np.float32(w0 * bx * SUBPIXEL)
        qx, qy = np.float32(w1 * ay * SUBPIXEL), np.float32(w1 * by * SUBPIXEL)
        begin, end = np.int64(from_x) // LANES, np.int64(to_x) // LANES
        dx, dy = np.float32(begin * LANES - left), np.float32(from_y - top)
        e0r = np.float32(np.floor((a - _least(ax, bx, 1.0)) / SUBPIXEL)) + e0x * dx + e0y * dy
        e1r = np.float32(np.floor((b - _least(ay, by, 1.0)) / SUBPIXEL)) + e1x * dx + e1y * dy
        e2r = np.float32(np.floor((c - _least(az, bz, 1.0)) / SUBPIXEL)) + e2x * dx + e2y * dy
        key0 = np.float32(k0 * a + k1 * b + k2 * c) + kx * dx
        p0, q0 = np.float32(w0 * a) + px * dx, np.float32(w1 * b) + qx * dx
        values = (e0r, e1r, e2r, key0, p0, q0)
        along, down = (e0x, e1x, e2x, kx, px, qx), (e0y, e1y, e2y, ky, py, qy)
        start = ((np.int64(from_y) - first) * blocks + begin) * BLOCK
        extent = np.int64(to_y) - np.int64(from_y) + 1, end - begin + 1
        _walk(face, values, along, down, dy, start, extent, blocks * BLOCK, picture)


@compiled(nogil=True, error_model="numpy")
def _walk(face, values, along, down, dy, start, extent, stride, picture):
    """Visit the blocks of a small triangle.

    Args:
        face: its number.
        values: the three edge functions at the first lane; the key and two shares in the bounding box's first row.
        along, down: their steps to the right and to the next row.
        dy: of the first row visited, in rows from the bounding box's first.
        start: of the first block.
        extent: rows and blocks per row.
        stride: from one row to the next.
        picture: see the module.
    """
    e0r, e1r, e2r, key0, p0, q0 = values
    e0x, e1x, e2x, kx, px, qx = along
    e0y, e1y, e2y, ky, py, qy = down
    zero, one, run = np.float32(0), np.float32(1), np.float32(LANES)
    number, row_at = np.float32(face), np.uint64(start)
    for _ in range(extent[0]):
        at, e0, e1, e2 = row_at, e0r, e1r, e2r
        # Not summed up from row to row: the value must not depend on the row at which a thread begins.
        key, p, q = key0 + ky * dy, p0 + py * dy, q0 + qy * dy
        for _ in range(extent[1]):
            for lane in range(LANES):
                n, step = at + np.uint64(lane), np.float32(lane)
                old, old_id = picture[n], picture[n + np.uint64(LANES)]
                old_p, old_q = picture[n + np.uint64(2 * LANES)], picture[n + np.uint64(3 * LANES)]
                new = key + kx * step
                seen = (e0 + e0x * step >= zero) & (e1 + e1x * step >= zero) & (e2 + e2x * step >= zero) & (new > old)
                picture[n] = new if seen else old
                picture[n + np.uint64(LANES)] = number if seen else old_id
                picture[n + np.uint64(2 * LANES)] = p + px * step if seen else old_p
                picture[n + np.uint64(3 * LANES)] = q + qx * step if seen else old_q
            at += np.uint64(BLOCK)
            e0, e1, e2 = e0 + e0x * run, e1 + e1x * run, e2 + e2x * run
            key, p, q = key + kx * run, p + px * run, q + qx * run
        dy += one
        e0r, e1r, e2r = e0r + e0y, e1r + e1y, e2r + e2y
        row_at += np.uint64(stride)


@compiled(nogil=True, error_model="numpy")
def _fill_large(face, edges, keys, weights, area, box, first, blocks, picture):
    """One triangle of any size in float64; `edges` are (a, b, c) of `a x + b y + c`, positive inside, sum `area`."""
    (ax, bx, cx), (ay, by, cy), (az, bz, cz) = edges
    least = _least(ax, bx, _BARELY), _least(ay, by, _BARELY), _least(az, bz, _BARELY)
    k0, k1, k2 = keys[0] / area, keys[1] / area, keys[2] / area
    w0, w1 = weights[0] / area, weights[1] / area
    kx, ky, kc = k0 * ax + k1 * ay + k2 * az, k0 * bx + k1 * by + k2 * bz, k0 * cx + k1 * cy + k2 * cz
    begin, end = np.int64(box[0]) // LANES, np.int64(box[1]) // LANES
    for row in range(np.int64(box[2]), np.int64(box[3]) + 1):
        y = row * SUBPIXEL + HALF
        e0r, e1r, e2r, key = bx * y + cx, by * y + cy, bz * y + cz, ky * y + kc
        for block in range(begin, end + 1):
            at = np.uint64(((row - first) * blocks + block) * BLOCK)
            for lane in range(LANES):
                x = (block * LANES + lane) * SUBPIXEL + HALF
                n = at + np.uint64(lane)
                old, old_id = picture[n], picture[n + np.uint64(LANES)]
                old_p, old_q = picture[n + np.uint64(2 * LANES)], picture[n + np.uint64(3 * LANES)]
                e0, e1, e2, new = ax * x + e0r, ay * x + e1r, az * x + e2r, np.float32(kx * x + key)
                seen = (e0 >= least[0]) & (e1 >= least[1]) & (e2 >= least[2]) & (new > old)
                picture[n] = new if seen else old
                picture[n + np.uint64(LANES)] = np.float32(face) if seen else old_id
                picture[n + np.uint64(2 * LANES)] = np.float32(w0 * e0) if seen else old_p
                picture[n + np.uint64(3 * LANES)] = np.float32(w1 * e1) if seen else old_q


@compiled(inline="always")
def _edge(xj, yj, zj, xk, yk, zk, near):
    """The edge function of two corners in homogeneous coordinates; reversing the edge negates every number exactly.

    Between two corners in front it is the one that the neighbour on the screen has, times zj zk.
    """
    if zj > near and zk > near:
        scale = zj * zk
        return scale * (yj - yk), scale * (xk - xj), scale * (xj * yk - xk * yj)
    u, v, s, t = xj * zj, yj * zj, xk * zk, yk * zk
    return v * zk - zj * t, zj * s - u * zk, u * t - s * v


@compiled(nogil=True, error_model="numpy")
def _fill_crossing(points, corners, face, i, j, k, width, first, last, cull, near, picture):
    """A triangle that crosses the near plane, by 2D homogeneous rasterization (Olano and Greer 1997), without clipping.

    With corners `h = (x z, y z, z)`, the barycentrics over z of a pixel are `inverse([h0 h1 h2]) (px, py, 1)`.
    """
    z0, z1, z2 = np.float64(points[i, 2]), np.float64(points[j, 2]), np.float64(points[k, 2])
    if not (z0 > near or z1 > near or z2 > near):
        return
    x0, x1, x2, y0, y1, y2 = corners[i, 0], corners[j, 0], corners[k, 0], corners[i, 1], corners[j, 1], corners[k, 1]
    ax, bx, cx = _edge(x1, y1, z1, x2, y2, z2, near)
    ay, by, cy = _edge(x2, y2, z2, x0, y0, z0, near)
    az, bz, cz = _edge(x0, y0, z0, x1, y1, z1, near)
    volume = (ax * x0 + bx * y0 + cx) * z0
    if volume == 0.0 or (cull and volume > 0.0) or not abs(volume) < np.inf:
        return
    left = top = np.inf
    right = bottom = -np.inf
    ring = ((x0, y0, z0), (x1, y1, z1), (x2, y2, z2))
    for n in range(3):
        (x, y, z), (s, t, w) = ring[n], ring[(n + 1) % 3]
        if z > near:
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
        if (z > near) != (w > near):
            # Where the side meets the near plane.
            share = (near - z) / (w - z)
            x, y = (x * z + share * (s * w - x * z)) / near, (y * z + share * (t * w - y * z)) / near
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
    from_x, to_x = max(0.0, np.floor(left / SUBPIXEL) - 1.0), min(width - 1.0, np.ceil(right / SUBPIXEL) + 1.0)
    from_y, to_y = (
        max(np.float64(first), np.floor(top / SUBPIXEL) - 1.0),
        min(last - 1.0, np.ceil(bottom / SUBPIXEL) + 1.0),
    )
    if not (from_x <= to_x and from_y <= to_y):
        return
    sign, blocks = 1.0 if volume > 0.0 else -1.0, (width + LANES - 1) // LANES
    ax, bx, cx, ay, by, cy = sign * ax, sign * bx, sign * cx, sign * ay, sign * by, sign * cy
    az, bz, cz, volume = sign * az, sign * bz, sign * cz, sign * volume
    least = _least(ax, bx, _BARELY), _least(ay, by, _BARELY), _least(az, bz, _BARELY)
    for row in range(np.int64(from_y), np.int64(to_y) + 1):
        y = row * SUBPIXEL + HALF
        for column in range(np.int64(from_x), np.int64(to_x) + 1):
            x = column * SUBPIXEL + HALF
            e0, e1, e2 = ax * x + (bx * y + cx), ay * x + (by * y + cy), az * x + (bz * y + cz)
            if e0 < least[0] or e1 < least[1] or e2 < least[2]:
                continue
            inverse = (e0 + e1 + e2) / volume
            n = np.uint64(((row - first) * blocks + column // LANES) * BLOCK + column % LANES)
            if inverse * near <= 1.0 and np.float32(inverse) > picture[n]:
                picture[n], picture[n + np.uint64(LANES)] = np.float32(inverse), np.float32(face)
                picture[n + np.uint64(2 * LANES)] = np.float32(e0 / volume)
                picture[n + np.uint64(3 * LANES)] = np.float32(e1 / volume)


@compiled(nogil=True, error_model="numpy")
def _resolve(picture, width, first, last, perspective, ids, barycentric, depth):
    """Divide by the key, and write the rows: ids, three planes of barycentrics, depth."""
    blocks, plane = (width + LANES - 1) // LANES, np.uint64(ids.shape[0])
    zero, one = np.float32(0), np.float32(1)
    for row in range(first, last):
        for block in range(blocks):
            at, to = np.uint64(((row - first) * blocks + block) * BLOCK), np.uint64(row * width + block * LANES)
            here = min(LANES, width - block * LANES)
            if here == LANES:
                copy_lanes_as_int(ids, to, picture, at + np.uint64(LANES))
            else:
                for lane in range(here):
                    ids[to + np.uint64(lane)] = np.int32(picture[at + np.uint64(LANES + lane)])
            for lane in range(LANES):
                n = at + np.uint64(lane)
                key, nothing = picture[n], picture[n + np.uint64(LANES)] < zero
                away = one / key
                share = away if perspective else one
                # The division may leave them a rounding error outside.
                b0 = min(max(picture[n + np.uint64(2 * LANES)] * share, zero), one)
                b1 = min(max(picture[n + np.uint64(3 * LANES)] * share, zero), one)
                picture[n] = away if perspective else -key
                picture[n + np.uint64(LANES)] = zero if nothing else max(one - b0 - b1, zero)
                picture[n + np.uint64(2 * LANES)] = zero if nothing else b0
                picture[n + np.uint64(3 * LANES)] = zero if nothing else b1
            if here == LANES:
                copy_lanes(depth, to, picture, at)
                copy_lanes(barycentric, to, picture, at + np.uint64(2 * LANES))
                copy_lanes(barycentric, to + plane, picture, at + np.uint64(3 * LANES))
                copy_lanes(barycentric, to + plane + plane, picture, at + np.uint64(LANES))
            else:
                for lane in range(here):
                    n, m = at + np.uint64(lane), to + np.uint64(lane)
                    depth[m] = picture[n]
                    barycentric[m] = picture[n + np.uint64(2 * LANES)]
                    barycentric[m + plane] = picture[n + np.uint64(3 * LANES)]
                    barycentric[m + plane + plane] = picture[n + np.uint64(LANES)]
