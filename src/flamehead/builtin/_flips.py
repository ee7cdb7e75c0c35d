"""Edge flips on a triangulated disc: enforce edges, then make the triangles well-shaped in space."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

__all__ = ["FlipMesh"]

Edge = tuple[int, int]


class FlipMesh:
    """Triangles by directed edge: `opposite[a, b]` is the third corner of the triangle on the left of a -> b."""

    def __init__(self, triangles: Int[np.ndarray, "T 3"]) -> None:
        self.opposite: dict[Edge, int] = {}
        for a, b, c in triangles.tolist():
            self.opposite[a, b], self.opposite[b, c], self.opposite[c, a] = c, a, b

    def triangles(self) -> Int[np.ndarray, "T 3"]:
        """Every triangle once, smallest corner first, sorted."""
        out = {(a, b, c) for (a, b), c in self.opposite.items() if a < b and a < c}
        return np.array(sorted(out))

    def _flip(self, a: int, b: int) -> Edge:
        """Replace edge a-b by the other diagonal of its quadrilateral; counts stay the same."""
        c, d = self.opposite.pop((a, b)), self.opposite.pop((b, a))
        # Quadrilateral a, d, b, c counter-clockwise.
        self.opposite[a, d], self.opposite[d, c], self.opposite[c, a] = c, a, d
        self.opposite[d, b], self.opposite[b, c], self.opposite[c, d] = c, d, b
        return min(c, d), max(c, d)

    def insert(self, edge: Edge, flat: Float[np.ndarray, "N 2"]) -> None:
        """Flip the edges that cross `edge` until it exists (Sloan 1993)."""
        p, q = edge
        if (p, q) in self.opposite or (q, p) in self.opposite:
            return
        queue = self._crossed(p, q, flat)
        for _ in range(10 * len(queue) + 10):
            if not queue:
                return
            a, b = queue.pop(0)
            c, d = self.opposite[a, b], self.opposite[b, a]
            if not _convex(flat, a, d, b, c):
                queue.append((a, b))
                continue
            new = self._flip(a, b)
            if set(new) != {p, q} and _cross(flat, p, q, *new):
                queue.append(new)
        raise AssertionError(f"edge {edge} cannot be inserted")

    def _crossed(self, p: int, q: int, flat: Float[np.ndarray, "N 2"]) -> list[Edge]:
        """All edges that the segment p-q crosses."""
        edges = np.array(list(self.opposite))
        edges = edges[(edges[:, 0] < edges[:, 1]) & ~((edges == p) | (edges == q)).any(axis=1)]
        a, b = flat[edges[:, 0]], flat[edges[:, 1]]

        def side(u: np.ndarray, v: np.ndarray, w: np.ndarray) -> Float[np.ndarray, "E"]:
            return (v[..., 0] - u[..., 0]) * (w[..., 1] - u[..., 1]) - (v[..., 1] - u[..., 1]) * (w[..., 0] - u[..., 0])

        apart = side(flat[p], flat[q], a) * side(flat[p], flat[q], b) < 0
        between = side(a, b, flat[p]) * side(a, b, flat[q]) < 0
        return [(i, j) for i, j in edges[apart & between].tolist()]

    def improve(self, points: Float[np.ndarray, "N 3"], fixed: set[Edge], flat: Float[np.ndarray, "N 2"]) -> None:
        """Delaunay flips in space: flip where the angles opposite to an edge add up to more than 180 degrees.

        A flip must not fold the surface (the two new normals stay within 90 degrees of the two old ones) nor the chart.
        """
        for _ in range(12):
            flips = 0
            for a, b in sorted(e for e in self.opposite if e[0] < e[1]):
                if (b, a) not in self.opposite or (a, b) not in self.opposite or (a, b) in fixed:
                    continue
                c, d = self.opposite[a, b], self.opposite[b, a]
                if (min(c, d), max(c, d)) in fixed or (c, d) in self.opposite or (d, c) in self.opposite:
                    continue
                if _angle(points, c, a, b) + _angle(points, d, a, b) <= np.pi + 0.05:
                    continue
                if not _convex(flat, a, d, b, c):
                    continue
                old = _normal(points, a, b, c), _normal(points, b, a, d)
                new = _normal(points, a, d, c), _normal(points, d, b, c)
                if min(_dot(m, n) for m in old for n in new) > 0.0:
                    self._flip(a, b)
                    flips += 1
            if not flips:
                return


def _turn(flat: np.ndarray, a: int, b: int, c: int) -> float:
    (ax, ay), (bx, by), (cx, cy) = flat[a], flat[b], flat[c]
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


def _cross(flat: np.ndarray, p: int, q: int, a: int, b: int) -> bool:
    if len({p, q, a, b}) < 4:
        return False
    return _turn(flat, p, q, a) * _turn(flat, p, q, b) < 0 and _turn(flat, a, b, p) * _turn(flat, a, b, q) < 0


def _convex(flat: np.ndarray, a: int, b: int, c: int, d: int) -> bool:
    corners = (a, b, c, d)
    return all(_turn(flat, corners[i - 2], corners[i - 1], corners[i]) > 1e-12 for i in range(4))


def _dot(a: list[float], b: list[float]) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _normal(points: np.ndarray, a: int, b: int, c: int) -> list[float]:
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[a].tolist(), points[b].tolist(), points[c].tolist()
    ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    return [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx]


def _angle(points: np.ndarray, apex: int, a: int, b: int) -> float:
    (px, py, pz), (ax, ay, az), (bx, by, bz) = points[apex].tolist(), points[a].tolist(), points[b].tolist()
    u, v = [ax - px, ay - py, az - pz], [bx - px, by - py, bz - pz]
    cosine = _dot(u, v) / max((_dot(u, u) * _dot(v, v)) ** 0.5, 1e-30)
    return float(np.arccos(min(1.0, max(-1.0, cosine))))
