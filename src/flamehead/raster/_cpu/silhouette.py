"""The silhouette pass in numba; see `raster._silhouette` for what it finds, and for the same in plain Python.

Positions are those of the rasterizer, whole numbers of 1/1024 pixel. Along axis 0 pairs are neighbours in a row, and a
line is a row's centre; along axis 1 pairs are neighbours in a column.
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled
from flamehead.raster._cpu.lanes import fetch
from flamehead.raster._grid import HALF, SUBPIXEL

__all__ = ["cross", "nearest", "silhouettes"]

_AHEAD = 3
"""Lines whose pixels are asked for before they are read."""


@compiled(nogil=True)
def silhouettes(points, vertices, neighbours, half_edges, starts, faces, perspective, height, width, corners, sides,
                chosen, inside, before):  # fmt: skip
    """Find the silhouettes of one picture; returns how many there are.

    Args:
        points: (V, 3); the rest up to `width` is the mesh, see `Edges`, and the picture.
        corners: (V, 2), set to the corners on the grid.
        sides: (F,), set to the sides of faces.
        chosen: (E,), whose first rows are set to the edges.
        inside: (E,), to on which side of them their faces lie.
        before: (E + 1,), to how many lines are crossed at most by the edges before each, and by all of them.
    """
    _corners(points, corners)
    _sides(points, faces, perspective, sides)
    return _silhouettes(points, corners, vertices, neighbours, half_edges, starts, faces, sides, perspective, height,
                        width, chosen, inside, before)  # fmt: skip


@compiled(nogil=True, error_model="numpy")
def cross(begin, end, points, corners, sides, chosen, inside, vertices, half_edges, starts, face_edges, faces,
          face_ids, depth, perspective, tolerance, steps, numbers, values, depths, counts):  # fmt: skip
    """The pairs of some silhouettes, into rows that are theirs alone; `counts[0]` is how many.

    `numbers` (., 5) holds pixel A, pixel B, axis, vertex at the low end and at the high end of the edge along the
    column or row; `values` (., 4) crossing t, weight, place s between the ends, slope d along / d across.
    """
    height, width = face_ids.shape
    found = 0
    for n in range(begin, end):
        edge = chosen[n]
        for axis in range(2):
            low, high = vertices[edge, 0], vertices[edge, 1]
            # Clockwise around a face that shows its front the inside is on the right; along y it is on the left.
            inward = inside[n] * (-1 if axis == 0 else 1)
            if corners[low, 1 - axis] > corners[high, 1 - axis]:
                low, high, inward = high, low, -inward
            pixels, lines = (width, height) if axis == 0 else (height, width)
            first, last = _lines(corners[low, 1 - axis], corners[high, 1 - axis], lines)
            across = corners[high, 1 - axis] - corners[low, 1 - axis]
            if last < first:
                continue
            along = corners[high, axis] - corners[low, axis]
            slope, rate = along / across, 1.0 / across
            base, level = (corners[low, axis] - HALF) / SUBPIXEL, HALF - corners[low, 1 - axis]
            # Depth, or its inverse under perspective, is linear on the screen.
            z0, z1 = np.float64(points[low, 2]), np.float64(points[high, 2])
            if perspective:
                z0, z1 = 1.0 / z0, 1.0 / z1
            for line in range(first, last + 1):
                place = (line * SUBPIXEL + level) * rate
                where = base + (line * SUBPIXEL + level) * slope / SUBPIXEL
                # Pixels along an edge are far from one another in memory.
                ahead = np.int64(min(max(where + _AHEAD * slope, 0.0), pixels - 1.0))
                ahead = (line + _AHEAD) * width + ahead if axis == 0 else ahead * width + line + _AHEAD
                fetch(face_ids, np.uint64(ahead))
                fetch(depth, np.uint64(ahead))
                # A centre on the edge belongs to the surface on the right, or below where the edge is level.
                cell = np.ceil(where) - 1.0 if axis == 0 or along <= 0.0 else np.floor(where)
                if not 0.0 <= cell <= pixels - 2.0:
                    continue
                cell = int(cell)
                inner, outer = (cell + 1, cell) if inward > 0 else (cell, cell + 1)
                y, x = (line, inner) if axis == 0 else (inner, line)
                wanted = face_ids[y, x]
                if wanted < 0:
                    continue
                near = z0 + place * (z1 - z0)
                near = 1.0 / near if perspective else near
                y, x = (line, outer) if axis == 0 else (outer, line)
                shown, limit = face_ids[y, x], near - tolerance * abs(near)
                if shown >= 0 and depth[y, x] < limit and _hidden(points, corners, faces, shown, where, line, axis,
                                                                  limit, perspective):  # fmt: skip
                    continue
                own = False
                for m in range(starts[edge], starts[edge + 1]):
                    own |= _face(half_edges[m]) == wanted
                if not own and not _reaches(edge, wanted, inner, inward, line, axis, low, high, corners, points, faces,
                                            sides, half_edges, starts, face_edges, perspective, steps):  # fmt: skip
                    continue
                numbers[found, 0] = line * width + cell if axis == 0 else cell * width + line
                numbers[found, 1] = numbers[found, 0] + (1 if axis == 0 else width)
                numbers[found, 2], numbers[found, 3], numbers[found, 4] = axis, low, high
                values[found, 0], values[found, 1] = where - cell, 1.0 / (1.0 + slope * slope)
                values[found, 2], values[found, 3] = place, slope
                depths[found] = near
                found += 1
    counts[0] = found


@compiled(nogil=True)
def _corners(points, corners):
    """Corners on the rasterizer's grid."""
    for n in range(points.shape[0]):
        corners[n, 0] = np.floor(np.float64(points[n, 0]) * SUBPIXEL + 0.5)
        corners[n, 1] = np.floor(np.float64(points[n, 1]) * SUBPIXEL + 0.5)


@compiled(nogil=True)
def _sides(points, faces, perspective, sides):
    """-1 for faces that show their front, 1 for their back, 0 for those that are not drawn; signs survive snapping."""
    for face in range(faces.shape[0]):
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        x, y = np.float64(points[i, 0]), np.float64(points[i, 1])
        area = (points[j, 0] - x) * (points[k, 1] - y) - (points[k, 0] - x) * (points[j, 1] - y)
        z0, z1, z2 = points[i, 2], points[j, 2], points[k, 2]
        if perspective and (z0 <= 0.0 or z1 <= 0.0 or z2 <= 0.0):
            # Corners behind the camera are mirrored on the screen.
            area = 0.0 if z0 <= 0.0 and z1 <= 0.0 and z2 <= 0.0 else area * np.sign(z0) * np.sign(z1) * np.sign(z2)
        known = np.isfinite(area) and np.isfinite(z0 + z1 + z2)
        sides[face] = 0 if not known or area == 0.0 else (1 if area > 0.0 else -1)


@compiled(nogil=True)
def _silhouettes(points, corners, vertices, neighbours, half_edges, starts, faces, sides, perspective, height, width,
                 chosen, inside, before):  # fmt: skip
    """Edges with faces on one side only, that side seen from the first vertex to the second, and sums of lines."""
    before[0] = found = 0
    for edge in range(vertices.shape[0]):
        one, other = neighbours[edge, 0], neighbours[edge, 1]
        if one >= 0 and sides[one] == sides[other]:
            # Nearly all edges: inside a surface, whose faces here show the same side, or none.
            continue
        side, mixed = 0, False
        for n in range(starts[edge], starts[edge + 1]):
            one = sides[_face(half_edges[n])] * _direction(faces, half_edges[n], vertices[edge, 0])
            mixed = mixed or one * side < 0
            side = one if one != 0 else side
        if mixed or side == 0:
            continue
        i, j = vertices[edge, 0], vertices[edge, 1]
        if perspective and not (points[i, 2] > 0.0 and points[j, 2] > 0.0):
            continue
        lines = 0
        for axis in range(2):
            a, b = corners[i, axis], corners[j, axis]
            first, last = _lines(min(a, b), max(a, b), width if axis == 0 else height)
            lines += max(0, last - first + 1)
        if lines > 0:
            chosen[found], inside[found], before[found + 1] = edge, side, before[found] + lines
            found += 1
    return found


@compiled(inline="always")
def _face(half_edge):
    """Without a sign, division by 3 is a multiplication."""
    return np.uint32(half_edge) // np.uint32(3)


@compiled(inline="always")
def _direction(faces, half_edge, vertex):
    """1 where the half-edge starts at the vertex, -1 where it ends there."""
    face = _face(half_edge)
    return 1 if faces[face, np.uint32(half_edge) - np.uint32(3) * face] == vertex else -1


@compiled(inline="always")
def _lines(low, high, lines):
    """First and last line with `low <= centre < high`, clipped to the picture while they are floats."""
    first = max(0.0, np.ceil((low - HALF) / SUBPIXEL))
    last = min(lines - 1.0, np.ceil((high - HALF) / SUBPIXEL) - 1.0)
    # Not finite corners fail the comparison.
    return (int(first), int(last)) if first <= last else (0, -1)


@compiled(nogil=True)
def _hidden(points, corners, faces, face, where, line, axis, limit, perspective):
    """Whether a surface that lies before the edge at the outer pixel does so at the edge too, continued as a plane."""
    i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
    x, y = (where, float(line)) if axis == 0 else (float(line), where)
    x, y = x * SUBPIXEL + HALF - corners[i, 0], y * SUBPIXEL + HALF - corners[i, 1]
    x1, y1 = corners[j, 0] - corners[i, 0], corners[j, 1] - corners[i, 1]
    x2, y2 = corners[k, 0] - corners[i, 0], corners[k, 1] - corners[i, 1]
    area = x1 * y2 - x2 * y1
    if area == 0.0:
        return True
    z0, z1, z2 = np.float64(points[i, 2]), np.float64(points[j, 2]), np.float64(points[k, 2])
    if perspective:
        z0, z1, z2 = 1.0 / z0, 1.0 / z1, 1.0 / z2
    plane = z0 + ((x * y2 - x2 * y) * (z1 - z0) + (x1 * y - x * y1) * (z2 - z0)) / area
    if perspective:
        return plane * limit > 1.0
    return plane < limit


@compiled(nogil=True)
def _reaches(edge, wanted, inner, inward, line, axis, low, high, corners, points, faces, sides, half_edges, starts,
             face_edges, perspective, steps):  # fmt: skip
    """Whether the surface that ends at the edge is what the inner pixel shows: walk to its centre, face by face.

    The faces at the edge have been asked already.
    """
    level, goal = line * SUBPIXEL + HALF, inner * SUBPIXEL + HALF
    for n in range(starts[edge], starts[edge + 1]):
        face, below, above = np.int64(_face(half_edges[n])), low, high
        for _ in range(steps):
            if sides[face] == 0:
                break
            corner = _apex(faces, face, below, above)
            apex = faces[face, corner]
            if perspective and points[apex, 2] <= 0.0:
                break
            if corners[apex, 1 - axis] <= level:
                below = apex
            else:
                above = apex
            rise = corners[above, 1 - axis] - corners[below, 1 - axis]
            where = corners[below, axis] + (level - corners[below, 1 - axis]) / rise * (
                corners[above, axis] - corners[below, axis]
            )
            if not (where - goal) * inward <= 0.0:
                # The centre lies in this face, and yet the pixel shows another one.
                break
            # The half-edge from the apex, or the one that ends there.
            after = faces[face, (corner + 1) % 3]
            half = 3 * face + (corner if after == below or after == above else (corner + 2) % 3)
            face = _across(half, faces, sides, half_edges, starts, face_edges)
            if face == wanted:
                return True
            if face < 0:
                break
    return False


@compiled(inline="always")
def _apex(faces, face, a, b):
    """The corner of a face that is neither of two vertices."""
    if faces[face, 0] != a and faces[face, 0] != b:
        return 0
    return 1 if faces[face, 1] != a and faces[face, 1] != b else 2


@compiled(inline="always")
def _across(half, faces, sides, half_edges, starts, face_edges):
    """The face on the other side of a half-edge, on the screen too; -1 where the surface ends or turns back."""
    face, corner = half // 3, half % 3
    vertex, edge = faces[face, corner], face_edges[face, corner]
    for n in range(starts[edge], starts[edge + 1]):
        other = half_edges[n]
        if sides[_face(other)] * _direction(faces, other, vertex) == -sides[face]:
            return np.int64(_face(other))
    return -1


@compiled(nogil=True)
def nearest(numbers, values, depths, firsts, counts):
    """Where several edges cross one pair, the nearest, the first of equals; found in a table with open addresses.

    Rows come in parts: `counts[n, 0]` of them from `firsts[n]` on. Those that are kept move to the first rows, in their
    order; returns how many they are.
    """
    total, size = counts[:, 0].sum(), 16
    while size < 2 * total:
        size *= 2
    mask, table, slots = np.uint64(size - 1), np.full(size, -1, np.int32), np.empty(total, np.uint32)
    place = 0
    for part in range(counts.shape[0]):
        for n in range(firsts[part], firsts[part] + counts[part, 0]):
            # Knuth's multiplicative hash of pixel and axis.
            slot = np.uint64(2 * np.int64(numbers[n, 0]) + numbers[n, 2]) * np.uint64(2654435761) & mask
            while table[slot] >= 0 and (
                numbers[table[slot], 0] != numbers[n, 0] or numbers[table[slot], 2] != numbers[n, 2]
            ):
                slot = (slot + np.uint64(1)) & mask
            if table[slot] < 0 or depths[n] < depths[table[slot]]:
                table[slot] = n
            slots[place] = slot
            place += 1
    place = kept = 0
    for part in range(counts.shape[0]):
        for n in range(firsts[part], firsts[part] + counts[part, 0]):
            if table[slots[place]] == n:
                for column in range(5):
                    numbers[kept, column] = numbers[n, column]
                for column in range(4):
                    values[kept, column] = values[n, column]
                kept += 1
            place += 1
    return kept
