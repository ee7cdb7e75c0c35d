"""The outer surface of the built-in head as a function on a flat chart. Centimetres inside this room.

A direction d from the star centre C has the chart position (d_x, d_z) / (1 + d_y): the stereographic projection with
the pole pointing down. The crown lies at the origin, the face on +v, the neck ring is the outer circle. The surface is

    S(chart) = C + r(d) d + R(d),

where r is the radius of a few blended primitives (skull, jaw, neck; proportions from published head measurements) and R
the radial-basis interpolant of what the 468 face points add to it; R vanishes away from the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from flamehead.geometry.landmark_sets import LIPS_INNER

__all__ = ["CENTER", "FaceTable", "Surface", "face_table", "make_surface", "to_chart", "to_sphere"]

CENTER = np.array([0.0, 1.0, -6.0])
"""Star centre, cm."""
NECK_CUT = -16.5
"""Height of the neck ring, cm."""
_FADE = np.deg2rad(11.0)
"""The face's relief fades out within this angle around the face oval."""


@dataclass(frozen=True)
class FaceTable:
    """The 468 face points of `tools/make_face_table.py`."""

    points: Float[np.ndarray, "468 3"]
    """Centimetres, exactly symmetric."""
    triangles: Int[np.ndarray, "852 3"]
    mirror: Int[np.ndarray, "468"]
    """Mirror image of each point; midline points map to themselves."""


@cache
def face_table() -> FaceTable:
    """The face table that comes with the package."""
    with resources.as_file(resources.files("flamehead.builtin") / "face_table.npz") as path, np.load(path) as table:
        return FaceTable(
            table["points"].astype(np.float64), table["triangles"].astype(np.int64), table["mirror"].astype(np.int64)
        )


def to_chart(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 2"]:
    """Chart position of the direction from the star centre to each point."""
    d = points - CENTER
    d = d / np.linalg.norm(d, axis=-1, keepdims=True)
    return d[..., [0, 2]] / (1.0 + d[..., 1:2])


def to_sphere(chart: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 3"]:
    """Unit direction of each chart position."""
    square = (chart**2).sum(-1)
    scale = 2.0 / (1.0 + square)
    return np.stack([scale * chart[..., 0], (1.0 - square) / (1.0 + square), scale * chart[..., 1]], -1)


def _smooth_min(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    h = np.clip(0.5 + 0.5 * (b - a) / blend, 0.0, 1.0)
    return b + (a - b) * h - blend * h * (1.0 - h)


def _ellipsoid(p: np.ndarray, center: tuple[float, float, float], axes: tuple[float, float, float]) -> np.ndarray:
    q = (p - center) / np.asarray(axes)
    k = np.linalg.norm(q, axis=-1)
    return k * (k - 1.0) / np.maximum(np.linalg.norm(q / np.asarray(axes), axis=-1), 1e-9)


def _inside(p: np.ndarray) -> np.ndarray:
    """Implicit function of the blended skull, jaw and neck; negative inside."""
    skull = _ellipsoid(p, (0.0, 4.3, -4.9), (7.45, 9.0, 9.5))
    jaw = _ellipsoid(p, (0.0, -2.6, -1.2), (6.1, 6.5, 5.4))
    head = _smooth_min(skull, jaw, 2.5)
    start, axis = np.array([0.0, -1.0, -6.4]), np.array([0.0, -19.0, -1.5])
    along = np.clip((p - start) @ axis / (axis @ axis), 0.0, 1.3)
    # The neck is a little wider than deep and flares towards the shoulders.
    side = (p - start - along[..., None] * axis) * [0.97, 1.0, 1.03]
    radius = 5.12 + 0.25 * along + 1.6 * np.clip(along - 0.55, 0.0, None) ** 2 * 2.0
    return _smooth_min(head, np.linalg.norm(side, axis=-1) - radius, 2.4)


def _base_radius(direction: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    """Distance from the star centre to the blended primitives, by bisection; the neck ends at `NECK_CUT`."""
    low, high = np.full(len(direction), 2.0), np.full(len(direction), 40.0)
    for _ in range(44):
        middle = 0.5 * (low + high)
        inside = _inside(CENTER + middle[:, None] * direction) < 0.0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return 0.5 * (low + high)


def _base(chart: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 3"]:
    direction = to_sphere(chart)
    return CENTER + _base_radius(direction)[:, None] * direction


@dataclass(frozen=True)
class Surface:
    """The face chart and the interpolant through the face points."""

    face_chart: Float[np.ndarray, "468 2"]
    """Chart position of each face point. Around the mouth the chart is opened: the inner lips form an ellipse."""
    _centers: Float[np.ndarray, "K 3"]
    _weights: Float[np.ndarray, "K+4 3"]

    def __call__(self, chart: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 3"]:
        """Surface points, cm, lips parted, without ears."""
        out = _base(chart)
        direction = to_sphere(chart)
        for part in range(0, len(chart), 4096):
            d = direction[part : part + 4096]
            kernel = np.concatenate([cdist(d, self._centers) ** 3, np.ones((len(d), 1)), d], axis=1)
            out[part : part + 4096] += kernel @ self._weights
        return out


def make_surface() -> Surface:
    """Fit the interpolant to the face table."""
    table = face_table()
    chart = _open_lips(to_chart(table.points), table)
    sphere = to_sphere(chart)
    outside = _outside_face(_fibonacci_sphere(1300), sphere)
    centers = np.concatenate([sphere, outside])
    values = np.zeros((len(centers), 3))
    values[: len(chart)] = table.points - _base(chart)
    n = len(centers)
    system = np.zeros((n + 4, n + 4))
    system[:n, :n] = cdist(centers, centers) ** 3
    system[:n, n], system[:n, n + 1 :] = 1.0, centers
    system[n:, :n] = system[:n, n:].T
    right = np.concatenate([values, np.zeros((4, 3))])
    return Surface(chart, centers, np.linalg.solve(system, right))


def _fibonacci_sphere(count: int) -> Float[np.ndarray, "N 3"]:
    """Evenly spread directions."""
    i = np.arange(count) + 0.5
    y = 1.0 - 2.0 * i / count
    phi = i * np.pi * (3.0 - np.sqrt(5.0))
    ring = np.sqrt(1.0 - y**2)
    return np.stack([ring * np.cos(phi), y, ring * np.sin(phi)], -1)


def _outside_face(directions: np.ndarray, face: Float[np.ndarray, "468 3"]) -> Float[np.ndarray, "K 3"]:
    """Those directions that lie more than the fade angle away from every face point, and their mirror images."""
    directions = np.concatenate([directions, directions * [-1.0, 1.0, 1.0]])
    angle = np.arccos(np.clip((directions @ face.T).max(axis=1), -1.0, 1.0))
    return directions[angle > _FADE]


def _open_lips(chart: Float[np.ndarray, "468 2"], table: FaceTable) -> Float[np.ndarray, "468 2"]:
    """Open the inner lips to an ellipse and relax the rings between inner and outer lips, so that no triangle flips.

    Directions alone fold at the corners of the mouth, where upper and lower lip look the same way.
    """
    chart = chart.copy()
    inner = np.asarray(LIPS_INNER)
    corners = chart[[78, 308]]
    middle, half_width = corners.mean(0), 0.5 * np.ptp(corners[:, 0]) * 0.90
    # Even angles from the subject's right corner over the upper lip to the left corner and back below.
    angle = np.pi - 2.0 * np.pi * np.arange(len(inner)) / len(inner)
    chart[inner] = middle + np.stack([half_width * np.cos(angle), -0.045 * np.sin(angle)], -1)
    for outer, second, third, last in ((61, 76, 62, 78), (291, 306, 292, 308)):
        chart[[second, third]] = chart[outer] + np.array([[0.30], [0.58]]) * (chart[last] - chart[outer])
    neighbours = _neighbours(table.triangles, len(chart))
    free = [i for i in _between_lips(neighbours, inner) if i not in (76, 62, 306, 292)]
    for _ in range(400):
        chart[free] = [chart[neighbours[i]].mean(0) for i in free]
    return 0.5 * (chart + chart[table.mirror] * [-1.0, 1.0])


def _neighbours(triangles: np.ndarray, count: int) -> list[list[int]]:
    near: list[set[int]] = [set() for _ in range(count)]
    for a, b, c in triangles.tolist():
        near[a] |= {b, c}
        near[b] |= {a, c}
        near[c] |= {a, b}
    return [sorted(s) for s in near]


def _between_lips(neighbours: list[list[int]], inner: np.ndarray) -> list[int]:
    """The two rings of points next to the inner lips; the third ring is the outer contour of the lips, which stays."""
    seen = set(inner.tolist())
    front = seen
    for _ in range(2):
        front = {j for i in front for j in neighbours[i]} - seen
        seen = seen | front
    return sorted(seen - set(inner.tolist()))
