"""Where the vertices of the head go on the chart: fixed landmark points, pockets, and well-spread free points."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from flamehead.builtin.ears import EAR_CENTER, add_ears, ear_rings, in_ear
from flamehead.builtin.surface import NECK_CUT, Surface, face_table, to_chart
from flamehead.geometry.landmark_sets import LEFT_EYE_RING, LIPS_INNER, LIPS_OUTER

__all__ = ["HEAD_VERTICES", "HalfSamples", "in_polygon", "place_samples"]

HEAD_VERTICES = 3931
NECK_RING = 60
EYE_RINGS = (0.86, 0.70, 0.50, 0.26)
MOUTH_RINGS = (0.80, 0.58, 0.36, 0.15)
_LLOYD_STEPS = 5


@dataclass(frozen=True)
class HalfSamples:
    """Chart points of the half x >= 0; the first `n_middle` lie on the midline, from nape over crown to throat."""

    chart: Float[np.ndarray, "N 2"]
    n_middle: int
    face_ids: Int[np.ndarray, "N"]
    """Which of the 468 face points each sample is; -1 for others."""
    eye_loops: Int[np.ndarray, "R 32"]
    """Lid margin, then the rings of the socket."""
    eye_pole: int
    mouth_loops: Int[np.ndarray, "Q 21"]
    """Inner lips from the upper to the lower midline point, then the rings of the mouth bag."""
    mouth_pole: int
    neck_ring: Int[np.ndarray, "31"]
    """From the nape to the throat."""
    ear_rings: tuple[Int[np.ndarray, "K"], ...]
    """Closed rings of the ear from its border inwards, then the middle."""


def place_samples(surface: Surface) -> HalfSamples:
    """Choose all chart points, so that the mirrored head has exactly `HEAD_VERTICES`."""
    builder = _Builder(surface)
    middle_free = _fill_middle(surface, builder)
    n_side = (HEAD_VERTICES - len(builder.middle) - len(middle_free)) // 2
    if (HEAD_VERTICES - len(builder.middle) - len(middle_free)) % 2:
        middle_free = middle_free[:-1]
    fixed = np.array([*builder.middle, *middle_free, *builder.side])
    n_free = n_side - len(builder.side)
    free = _spread(surface, fixed, builder.holes, n_free)
    return builder.finish(middle_free, free)


class _Builder:
    """Collects the fixed chart points of the half head and remembers what each one is for."""

    def __init__(self, surface: Surface) -> None:
        self.middle: list[tuple[float, float]] = []
        self.side: list[tuple[float, float]] = []
        self._keys: dict[tuple[str, int], int] = {}
        table, chart = face_table(), surface.face_chart
        for i in np.flatnonzero(table.points[:, 0] > -1e-9):
            self._add(("face", int(i)), chart[i], table.mirror[i] == i)
        eye = _subdivide(chart[LEFT_EYE_RING], closed=True)
        upper_left = np.asarray(LIPS_INNER)[5:16]
        mouth = _subdivide(chart[upper_left], closed=False)
        mouth[[0, -1], 0] = 0.0
        self.holes = (eye, np.concatenate([mouth, mouth[::-1] * [-1.0, 1.0]]))
        self._eye_loops = [self._loop("eye", 0, eye, LEFT_EYE_RING)]
        center = eye.mean(0)
        for k, scale in enumerate(EYE_RINGS, 1):
            self._eye_loops.append(self._loop("eye", k, center + scale * (eye - center), None))
        self._eye_pole = self._add(("eye pole", 0), center, False)
        self._mouth_loops = [self._loop("mouth", 0, mouth, upper_left)]
        center = np.array([0.0, 0.5 * (mouth[0, 1] + mouth[-1, 1])])
        for k, scale in enumerate(MOUTH_RINGS, 1):
            self._mouth_loops.append(self._loop("mouth", k, center + scale * (mouth - center), None))
        self._mouth_pole = self._add(("mouth pole", 0), center, True)
        rings = ear_rings()
        flat = np.split(_on_side(surface, np.concatenate(rings)), np.cumsum([len(ring) for ring in rings])[:-1])
        self._ear_rings = [
            [self._add(("ear", 100 * r + k), p, False) for k, p in enumerate(ring)] for r, ring in enumerate(flat)
        ]
        ring = _neck_ring(surface)
        self._ring = [self._add(("neck", k), p, k in (0, len(ring) - 1)) for k, p in enumerate(ring)]

    def _add(self, key: tuple[str, int], chart: np.ndarray, middle: bool) -> tuple[bool, int]:
        target = self.middle if middle else self.side
        target.append((0.0 if middle else float(chart[0]), float(chart[1])))
        self._keys[key] = len(target) - 1 if middle else -len(target)
        return middle, len(target) - 1

    def _loop(self, name: str, ring: int, chart: np.ndarray, face: np.ndarray | None) -> list[tuple[bool, int]]:
        out = []
        for k, p in enumerate(chart):
            if face is not None and k % 2 == 0:
                key = self._keys["face", int(face[k // 2])]
                out.append((True, key) if key >= 0 else (False, -key - 1))
            else:
                out.append(self._add((name, ring * 100 + k), p, abs(p[0]) < 1e-9))
        return out

    def finish(self, middle_free: np.ndarray, free: np.ndarray) -> HalfSamples:
        """Order the midline, number everything."""
        middle = np.array([*self.middle, *middle_free])
        order = np.argsort(middle[:, 1], kind="stable")
        rank = np.empty(len(order), int)
        rank[order] = np.arange(len(order))
        n = len(middle)

        def number(entry: tuple[bool, int]) -> int:
            return int(rank[entry[1]]) if entry[0] else n + entry[1]

        chart = np.concatenate([middle[order], np.array(self.side), free])
        face_ids = np.full(len(chart), -1)
        for (name, i), key in self._keys.items():
            if name == "face":
                face_ids[number((True, key) if key >= 0 else (False, -key - 1))] = i
        return HalfSamples(
            chart,
            n,
            face_ids,
            np.array([[number(e) for e in loop] for loop in self._eye_loops]),
            number(self._eye_pole),
            np.array([[number(e) for e in loop] for loop in self._mouth_loops]),
            number(self._mouth_pole),
            np.array([number(e) for e in self._ring]),
            tuple(np.array([number(e) for e in ring]) for ring in self._ear_rings),
        )


def _subdivide(loop: Float[np.ndarray, "N 2"], *, closed: bool) -> Float[np.ndarray, "M 2"]:
    """Insert the midpoint of every edge."""
    following = np.roll(loop, -1, axis=0) if closed else loop[1:]
    middle = 0.5 * (loop[: len(following)] + following)
    out = np.empty((len(loop) + len(middle), 2))
    out[0::2], out[1::2] = loop, middle
    return out


def _on_side(surface: Surface, yz: Float[np.ndarray, "K 2"]) -> Float[np.ndarray, "K 2"]:
    """Chart points of the left side of the head that have the given height and depth."""
    points = np.column_stack([np.full(len(yz), 7.0), yz])
    for _ in range(15):
        points[:, 0] = surface(to_chart(points))[:, 0]
    return to_chart(points)


def _neck_ring(surface: Surface) -> Float[np.ndarray, "31 2"]:
    """Half of the neck ring, from the nape (v < 0) to the throat (v > 0), evenly spaced in angle."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, NECK_RING // 2 + 1)
    ray = np.stack([np.cos(angle), np.sin(angle)], -1)
    low, high = np.full(len(ray), 1.5), np.full(len(ray), 20.0)
    for _ in range(40):
        middle = 0.5 * (low + high)
        above = surface(middle[:, None] * ray)[:, 1] > NECK_CUT
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    ring = low[:, None] * ray
    ring[[0, -1], 0] = 0.0
    return ring


def _fill_middle(surface: Surface, builder: _Builder) -> Float[np.ndarray, "M 2"]:
    """Midline points between the fixed ones, where the gap is larger than the wanted spacing."""
    v = np.sort(np.array(builder.middle)[:, 1])
    low, high = (p[1] for p in builder.holes[1][[0, len(builder.holes[1]) // 2 - 1]])
    out = []
    for a, b in itertools.pairwise(v.tolist()):
        if a >= low - 1e-9 and b <= high + 1e-9:
            continue  # Inside the mouth.
        fine = np.stack([np.zeros(65), np.linspace(a, b, 65)], -1)
        points = surface(fine)
        wanted = np.concatenate(
            [
                [0.0],
                np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1) / spacing(0.5 * (points[1:] + points[:-1]))),
            ]
        )
        count = round(wanted[-1])
        out += [np.interp(k * wanted[-1] / count, wanted, fine[:, 1]) for k in range(1, count)]
    return np.stack([np.zeros(len(out)), np.array(out)], -1)


def spacing(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    """Wanted distance between vertices, cm: fine at lids and lips, nose and ears, coarse on skull and neck."""
    table = face_table().points
    folded = points * [1.0, 1.0, 1.0]
    folded[:, 0] = np.abs(folded[:, 0])
    to_lids = KDTree(table[LEFT_EYE_RING]).query(folded)[0]
    to_lips = KDTree(table[np.concatenate([LIPS_OUTER, LIPS_INNER])]).query(points)[0]
    to_face = KDTree(table).query(points)[0]
    nose = np.linalg.norm((folded - [0.6, -1.2, 5.8]) / [1.7, 1.6, 2.2], axis=1)
    to_ear = np.linalg.norm((folded[:, 1:] - EAR_CENTER) / [3.15, 1.9], axis=1) + 9.0 * (folded[:, 0] < 4.0)
    face = np.where(to_face < 1.5, 0.44 + 0.30 * np.clip(to_face - 0.6, 0.0, None), 0.7 + 0.25 * (to_face - 1.5))
    out = np.minimum(np.clip(face, 0.42, 1.15), 0.23 + 0.14 * np.minimum(to_lids, to_lips))
    out = np.minimum(out, np.where(nose < 1.0, 0.27, 0.27 + 0.12 * (nose - 1.0)))
    return np.minimum(out, 0.36 + 0.45 * np.clip(to_ear - 1.0, 0.0, None))


def _candidates(surface: Surface, holes: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Chart points to choose from, denser where the wanted spacing is small, and their positions."""
    parts = []
    for step, dense in ((0.008, True), (0.030, False)):
        count = int(4 * np.pi / step**2)
        i = np.arange(count) + 0.5
        y = 1.0 - 2.0 * i / count
        phi = i * np.pi * (3.0 - np.sqrt(5.0))
        d = np.stack([np.sqrt(1.0 - y**2) * np.cos(phi), y, np.sqrt(1.0 - y**2) * np.sin(phi)], -1)
        d = d[(d[:, 0] > 0.004) & (d[:, 1] > -0.97)]
        fine = (d[:, 2] > 0.45) & (d[:, 1] > -0.75) & (d[:, 1] < 0.45)
        parts.append(d[fine if dense else ~fine])
    d = np.concatenate(parts)
    chart = d[:, [0, 2]] / (1.0 + d[:, 1:2])
    chart = chart[~np.any([in_polygon(chart, hole) for hole in holes], axis=0)]
    points = surface(chart)
    keep = (points[:, 1] > NECK_CUT + 0.35) & ~in_ear(points, margin=0.03)
    return chart[keep], points[keep]


def in_polygon(points: Float[np.ndarray, "N 2"], polygon: Float[np.ndarray, "M 2"]) -> np.ndarray:
    """Even-odd rule."""
    inside = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > points[:, 1]) != (y1 > points[:, 1])
        inside ^= crosses & (points[:, 0] < (x1 - x0) * (points[:, 1] - y0) / (y1 - y0) + x0)
    return inside


def _spread(
    surface: Surface, fixed: Float[np.ndarray, "K 2"], holes: tuple[np.ndarray, ...], count: int
) -> Float[np.ndarray, "N 2"]:
    """Farthest-point sampling in units of the wanted spacing, then density-weighted Lloyd steps."""
    chart, smooth = _candidates(surface, holes)
    wanted = spacing(smooth)
    points = add_ears(smooth)
    inside = np.any([in_polygon(fixed, hole * 0.999 + 0.001 * hole.mean(0)) for hole in holes], axis=0)
    fixed_points = add_ears(surface(fixed[~inside]))
    distance = KDTree(fixed_points).query(points)[0] / wanted
    # Near the midline a point also repels its own mirror image.
    distance = np.minimum(distance, 2.0 * points[:, 0] / wanted)
    chosen = np.empty(count, int)
    for k in range(count):
        i = int(distance.argmax())
        chosen[k] = i
        distance = np.minimum(distance, np.sqrt(((points - points[i]) ** 2).sum(1)) / wanted)
    free = chart[chosen]
    # In two dimensions a centroidal tessellation with density rho spaces its sites like rho ** (-1/4).
    weight = _area(points) * wanted**-4.0
    for _ in range(_LLOYD_STEPS):
        sites = np.concatenate([fixed_points, add_ears(surface(free))])
        owner = np.asarray(KDTree(sites).query(points)[1]) - len(fixed_points)
        mine = owner >= 0
        total = np.bincount(owner[mine], weight[mine], minlength=count)
        moved = np.stack([np.bincount(owner[mine], weight[mine] * chart[mine, c], minlength=count) for c in (0, 1)], -1)
        free = np.where(total[:, None] > 0, moved / np.maximum(total, 1e-300)[:, None], free)
    return free


def _area(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    """Area that each candidate stands for, up to a factor."""
    return KDTree(points).query(points, k=4)[0][:, 1:].mean(1) ** 2
