"""Silhouettes and the pixel pairs they cross, in plain Python and torch: slow, to check the kernels against.

A silhouette is an edge whose faces lie on one side of it on the screen: the border of a sheet, or a fold between a
front and a back. Every edge is walked over the lines of pixel centres that it crosses, rows and columns alike, so every
crossed pair of neighbours A, B is found whichever faces the two pixels show. A pair counts when

- the surface of the inner pixel is the edge's own: going from the edge to the inner centre face by face, without a fold
  or a border, ends at the face which that pixel shows. At a limb, many faces are narrower than a pixel, so the face at
  the edge itself is rarely seen;
- the outer pixel's surface does not lie before the edge;
- no nearer edge crosses the same pair.

Colours mix as in Laine et al. 2020 (arXiv 2011.03277, section 3.6): with the crossing at t between A (0) and B (1), the
pixel into whose half the other side reaches takes |t - 1/2| of the other colour. They use rows for steep edges and
columns for level ones; here both count, with weights n_x^2 and n_y^2 (n is the edge's normal on the screen) that sum to
1, so that no crossed pair is left without a gradient, and the total change of covered area stays right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._grid import HALF, SUBPIXEL
from flamehead.raster.edges import Edges

__all__ = ["STEPS", "TOLERANCE", "Pairs", "blend", "find_pairs"]

TOLERANCE = 1e-4
"""An edge is hidden when the outer pixel's surface is nearer by more than this share of the depth."""

STEPS = 256
"""Faces between an edge and the next pixel centre, at most."""


@dataclass(frozen=True)
class Pairs:
    """Neighbouring pixels with a visible silhouette between their centres, in one picture."""

    numbers: Int[np.ndarray, "N 5"]
    """int32: pixel A, pixel B, axis (0: neighbours in a row), vertices at the low and high end of the edge."""
    values: Float[np.ndarray, "N 4"]
    """float64: crossing t, weight, place s on the edge (0 at the low end), slope d along / d across."""


def blend(
    image: Float[Tensor, "P C"], points: Float[Tensor, "V 3"], pairs: Pairs, size: tuple[int, int]
) -> Float[Tensor, "P C"]:
    """Mix the colours of pairs; differentiable with respect to the image and, through t, to the points."""
    numbers = torch.from_numpy(pairs.numbers).to(image.device).long()
    first, second, axis, low, high = numbers.unbind(1)
    line, cell = first // size[0], first % size[0]
    line, cell = torch.where(axis == 0, line, cell), torch.where(axis == 0, cell, line)
    (along0, across0), (along1, across1) = (_turned(points[rows], axis) for rows in (low, high))
    place = (line + 0.5 - across0) / (across1 - across0)
    t = along0 + place * (along1 - along0) - cell - 0.5
    left = torch.from_numpy(pairs.values[:, 0]).to(image.device) < 0.5
    share = torch.from_numpy(pairs.values[:, 1]).to(points) * torch.where(left, 0.5 - t, t - 0.5)
    to, source = torch.where(left, first, second), torch.where(left, second, first)
    return image.index_add(0, to, share.to(image.dtype)[:, None] * (image[source] - image[to]))


def _turned(points: Tensor, axis: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates along the pairs and across."""
    x, y = points[:, 0], points[:, 1]
    return torch.where(axis == 0, x, y), torch.where(axis == 0, y, x)


class _Scene:
    """One picture for `find_pairs`: corners on the grid, sides of faces, and what is seen."""

    def __init__(
        self, points: np.ndarray, edges: Edges, face_ids: np.ndarray, depth: np.ndarray, perspective: bool
    ) -> None:
        self.points, self.edges, self.face_ids, self.depth = points.astype(np.float64), edges, face_ids, depth
        self.perspective = perspective
        self.corners = np.floor(self.points[:, :2] * SUBPIXEL + 0.5)
        with np.errstate(invalid="ignore", over="ignore"):
            self.sides = _sides(self.points[edges.faces], perspective)

    def side(self, half: int, vertex: int) -> int:
        """On which side of an edge that starts at `vertex` the face of a half-edge lies; 0 if it is not drawn."""
        starts = self.edges.faces[half // 3, half % 3] == vertex
        return int(self.sides[half // 3]) * (1 if starts else -1)

    def around(self, edge: int) -> list[int]:
        """The half-edges of an edge."""
        return self.edges.half_edges[self.edges.starts[edge] : self.edges.starts[edge + 1]].tolist()


def _sides(around: Float[np.ndarray, "F 3 3"], perspective: bool) -> Int[np.ndarray, "F"]:
    """-1 for faces that show their front, 1 for their back, 0 for those that are not drawn."""
    a, b = around[:, 1, :2] - around[:, 0, :2], around[:, 2, :2] - around[:, 0, :2]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    if perspective:
        # Corners behind the camera are mirrored on the screen; nothing of a face is seen when all are.
        sign = np.sign(around[..., 2]).prod(axis=1)
        area = np.where((around[..., 2] <= 0).all(axis=1), 0.0, area * sign)
    known = np.isfinite(area) & np.isfinite(around[..., 2]).all(axis=1)
    return np.sign(np.where(known, area, 0.0)).astype(int)


def find_pairs(
    points: Float[np.ndarray, "V 3"],
    edges: Edges,
    face_ids: Int[np.ndarray, "H W"],
    depth: Float[np.ndarray, "H W"],
    *,
    perspective: bool,
) -> Pairs:
    """See the head of this file."""
    scene = _Scene(points, edges, face_ids, depth, perspective)
    best: dict[tuple[int, int], tuple[float, list, list]] = {}
    for edge, (i, j) in enumerate(edges.vertices.tolist()):
        found = {scene.side(half, i) for half in scene.around(edge)} - {0}
        if len(found) != 1 or (perspective and not scene.points[[i, j], 2].min() > 0):
            continue
        for axis in (0, 1):
            for near, numbers, values in _crossings(scene, edge, found.copy().pop(), axis):
                key = numbers[0], axis
                if key not in best or near < best[key][0]:
                    best[key] = near, numbers, values
    numbers = np.array([n for _, n, _ in best.values()], np.int32).reshape(-1, 5)
    return Pairs(numbers, np.array([v for _, _, v in best.values()]).reshape(-1, 4))


def _crossings(scene: _Scene, edge: int, inside: int, axis: int):
    """Depth, numbers and values of the pairs along one axis where the edge counts."""
    low, high = scene.edges.vertices[edge].tolist()
    inward = inside if axis else -inside
    if scene.corners[low, 1 - axis] > scene.corners[high, 1 - axis]:
        low, high, inward = high, low, -inward
    (along0, across0), (along1, across1) = (scene.corners[v][[axis, 1 - axis]] for v in (low, high))
    height, width = scene.face_ids.shape
    pixels, lines = (width, height) if axis == 0 else (height, width)
    centers = [line * SUBPIXEL + HALF for line in range(lines)]
    for line in [n for n, center in enumerate(centers) if across0 <= center < across1]:
        place = (centers[line] - across0) / (across1 - across0)
        where = (along0 + place * (along1 - along0) - HALF) / SUBPIXEL
        # A centre on the edge belongs to the surface on the right, or below where the edge is level.
        cell = math.ceil(where) - 1 if axis == 0 or along1 <= along0 else math.floor(where)
        if not 0 <= cell <= pixels - 2:
            continue
        inner, outer = (cell + 1, cell) if inward > 0 else (cell, cell + 1)
        z0, z1 = scene.points[[low, high], 2]
        near = 1 / ((1 - place) / z0 + place / z1) if scene.perspective else z0 + place * (z1 - z0)
        inner_id, outer_id = (int(scene.face_ids[(line, n) if axis == 0 else (n, line)]) for n in (inner, outer))
        outer_depth = scene.depth[(line, outer) if axis == 0 else (outer, line)]
        spot = np.array(
            [where * SUBPIXEL + HALF, centers[line]] if axis == 0 else [centers[line], where * SUBPIXEL + HALF]
        )
        if _hidden(scene, outer_id, outer_depth, spot, near):
            continue
        if not _reaches(scene, edge, inner_id, inner * SUBPIXEL + HALF, inward, centers[line], axis, (low, high)):
            continue
        a = line * width + cell if axis == 0 else cell * width + line
        slope = (along1 - along0) / (across1 - across0)
        yield near, [a, a + (width if axis else 1), axis, low, high], [where - cell, 1 / (1 + slope**2), place, slope]


def _hidden(scene: _Scene, face: int, depth: float, spot: np.ndarray, near: float) -> bool:
    """Whether the outer pixel's surface lies before the edge, at the pixel and, continued as a plane, at the edge."""
    limit = near - TOLERANCE * abs(near)
    if face < 0 or depth >= limit:
        return False
    rows = scene.edges.faces[face]
    corners, z = scene.corners[rows], scene.points[rows, 2]
    system = np.concatenate([corners - spot, np.ones((3, 1))], axis=1)
    if np.linalg.matrix_rank(system) < 3:
        return True
    plane = np.linalg.solve(system, 1 / z if scene.perspective else z)[2]
    return bool(plane * limit > 1 if scene.perspective else plane < limit)


def _reaches(
    scene: _Scene, edge: int, wanted: int, goal: float, inward: int, level: float, axis: int, ends: tuple[int, int]
) -> bool:
    """Whether the surface that ends at the edge is what the inner pixel shows: walk to its centre, face by face."""
    starts = [half // 3 for half in scene.around(edge)]
    return wanted >= 0 and (
        wanted in starts or any(_walk(scene, face, wanted, goal, inward, level, axis, ends) for face in starts)
    )


def _walk(
    scene: _Scene, face: int, wanted: int, goal: float, inward: int, level: float, axis: int, ends: tuple[int, int]
) -> bool:
    faces, below, above = scene.edges.faces, *ends
    for _ in range(STEPS):
        if face == wanted:
            return True
        apex = next(v for v in faces[face].tolist() if v not in (below, above))
        if scene.sides[face] == 0 or (scene.perspective and scene.points[apex, 2] <= 0):
            return False
        below, above = (apex, above) if scene.corners[apex, 1 - axis] <= level else (below, apex)
        (along0, across0), (along1, across1) = (scene.corners[v][[axis, 1 - axis]] for v in (below, above))
        if (along0 + (level - across0) / (across1 - across0) * (along1 - along0) - goal) * inward > 0:
            return False
        corner = next(k for k in range(3) if {int(faces[face, k]), int(faces[face, (k + 1) % 3])} == {below, above})
        start = int(faces[face, corner])
        beyond = [h // 3 for h in scene.around(scene.edges.face_edges[face, corner])
                  if scene.side(h, start) == -scene.sides[face]]  # fmt: skip
        if not beyond:
            return False
        face = beyond[0]
    return False
