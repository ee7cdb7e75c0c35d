"""Kernels of `flamehead.geometry.nearest`: a tree of boxes over triangles, and the search in it.

A node's left child follows it; `links` holds the right child of an inner node, or the first triangle of a leaf, whose
`counts` is positive. The triangles lie in the order of the leaves.
"""

from __future__ import annotations

import numpy as np

from flamehead._compile import compiled

__all__ = ["LEAF", "build", "search"]

LEAF = 4
"""Triangles in a leaf at most; measured: 2 and 8 are slower."""
_DEPTH = 64
"""Deeper than any tree that halves its triangles."""


@compiled(nogil=True)
def build(corners, order, boxes, links, counts):
    """Halve the triangles at the median of the longest side of their centres' box until few are left.

    Args:
        corners: (F, 3, 3) corners of the triangles.
        order: (F,) ids of the triangles, sorted in place.
        boxes: (N, 6) lower and upper corner of each node, filled.
        links: (N,) filled.
        counts: (N,) filled.

    Returns:
        The number of nodes.
    """
    centres = np.empty((len(corners), 3))
    for f in range(len(corners)):
        for axis in range(3):
            centres[f, axis] = (corners[f, 0, axis] + corners[f, 1, axis] + corners[f, 2, axis]) / 3.0
    starts, ends, parents = np.empty(_DEPTH, np.int64), np.empty(_DEPTH, np.int64), np.empty(_DEPTH, np.int64)
    starts[0], ends[0], parents[0] = 0, len(corners), -1
    waiting, nodes = 1, 0
    while waiting:
        waiting -= 1
        start, end = starts[waiting], ends[waiting]
        if parents[waiting] >= 0:
            links[parents[waiting]] = nodes
        node = nodes
        nodes += 1
        longest, side = 0, -1.0
        for axis in range(3):
            low = high = corners[order[start], 0, axis]
            first = last = centres[order[start], axis]
            for k in range(start, end):
                f = order[k]
                first, last = min(first, centres[f, axis]), max(last, centres[f, axis])
                for corner in range(3):
                    low, high = min(low, corners[f, corner, axis]), max(high, corners[f, corner, axis])
            boxes[node, axis], boxes[node, 3 + axis] = low, high
            if last - first > side:
                longest, side = axis, last - first
        if end - start <= LEAF:
            links[node], counts[node] = start, end - start
            continue
        counts[node] = 0
        part = order[start:end].copy()
        # Stable, so that equal centres keep the order of the file on every machine.
        order[start:end] = part[np.argsort(centres[part, longest], kind="mergesort")]
        middle = (start + end) // 2
        starts[waiting], ends[waiting], parents[waiting] = middle, end, node
        starts[waiting + 1], ends[waiting + 1], parents[waiting + 1] = start, middle, -1
        waiting += 2
    return nodes


@compiled(nogil=True, inline="always")
def _to_box(box, x, y, z):
    """Squared distance from a point to a box, zero inside."""
    dx = max(max(box[0] - x, x - box[3]), 0.0)
    dy = max(max(box[1] - y, y - box[4]), 0.0)
    dz = max(max(box[2] - z, z - box[5]), 0.0)
    return dx * dx + dy * dy + dz * dz


@compiled(nogil=True, inline="always")
def _along(x, y, z, ex, ey, ez):
    """Where a point falls on the segment from the origin to e, as a fraction; 0 for a segment without length."""
    length = ex * ex + ey * ey + ez * ez
    if length <= 0.0:
        return 0.0
    return min(max((x * ex + y * ey + z * ez) / length, 0.0), 1.0)


@compiled(nogil=True)
def _to_edges(t, x, y, z):
    """Squared distance and the last two barycentrics of the nearest point on the three edges of a triangle."""
    best, best_b, best_c = np.inf, 0.0, 0.0
    for k in range(3):
        i, j = k, (k + 1) % 3
        ex, ey, ez = t[j, 0] - t[i, 0], t[j, 1] - t[i, 1], t[j, 2] - t[i, 2]
        px, py, pz = x - t[i, 0], y - t[i, 1], z - t[i, 2]
        s = _along(px, py, pz, ex, ey, ez)
        px, py, pz = px - s * ex, py - s * ey, pz - s * ez
        squared = px * px + py * py + pz * pz
        if squared < best:
            best = squared
            if k == 0:
                best_b, best_c = s, 0.0
            elif k == 1:
                best_b, best_c = 1.0 - s, s
            else:
                best_b, best_c = 0.0, 1.0 - s
    return best, best_b, best_c


@compiled(nogil=True)
def _to_triangle(t, flat, x, y, z):
    """Squared distance and the last two barycentrics of the nearest point of a triangle."""
    ux, uy, uz = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1], t[1, 2] - t[0, 2]
    vx, vy, vz = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1], t[2, 2] - t[0, 2]
    px, py, pz = x - t[0, 0], y - t[0, 1], z - t[0, 2]
    if not flat:
        uu, uv, vv = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
        pu, pv = px * ux + py * uy + pz * uz, px * vx + py * vy + pz * vz
        area = uu * vv - uv * uv
        b, c = (vv * pu - uv * pv) / area, (uu * pv - uv * pu) / area
        if b >= 0.0 and c >= 0.0 and b + c <= 1.0:
            dx, dy, dz = px - b * ux - c * vx, py - b * uy - c * vy, pz - b * uz - c * vz
            return dx * dx + dy * dy + dz * dz, b, c
    return _to_edges(t, x, y, z)


@compiled(nogil=True)
def search(points, visit, corners, flat, boxes, links, counts, found, weights, squares):
    """The nearest point of the surface for some of the points.

    The face found for a point bounds the search for the next one, so neighbours should follow each other.

    Args:
        points: (N, 3).
        visit: Rows of `points` to serve, in turn.
        corners: (F, 3, 3) in the order of the leaves.
        flat: (F,) whether a triangle is too thin for a solution inside.
        boxes: The tree, as are `links` and `counts`.
        found: (N,) the triangle, filled, as are `weights` (N, 3), its barycentrics, and `squares` (N,), metres squared.
    """
    stack, bounds = np.empty(_DEPTH, np.int64), np.empty(_DEPTH)
    nearest = 0
    for n in visit:
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        best, b, c = _to_triangle(corners[nearest], flat[nearest], x, y, z)
        stack[0], bounds[0] = 0, _to_box(boxes[0], x, y, z)
        waiting = 1
        while waiting:
            waiting -= 1
            if bounds[waiting] >= best:
                continue
            node = stack[waiting]
            while counts[node] == 0:
                left, right = node + 1, links[node]
                near, far = _to_box(boxes[left], x, y, z), _to_box(boxes[right], x, y, z)
                if far < near:
                    left, right = right, left
                    near, far = far, near
                if far < best:
                    stack[waiting], bounds[waiting] = right, far
                    waiting += 1
                if near >= best:
                    node = -1
                    break
                node = left
            if node < 0:
                continue
            for f in range(links[node], links[node] + counts[node]):
                squared, other_b, other_c = _to_triangle(corners[f], flat[f], x, y, z)
                if squared < best:
                    best, b, c, nearest = squared, other_b, other_c, f
        found[n], squares[n] = nearest, best
        weights[n, 0], weights[n, 1], weights[n, 2] = max(1.0 - b - c, 0.0), b, c
