"""The mesh of the built-in head: 5023 vertices, 9976 triangles, exactly symmetric. Centimetres inside this room.

Euler's formula fixes the counts whatever the points are: a disc with V vertices, B of them on its border, has
2 V - 2 - B triangles, hence 2 * 3931 - 2 - 60 = 7800 for the head (pockets closed, neck ring of 60 open), and each
eyeball of 17 rings by 32 and 2 poles has 546 vertices and 1088 triangles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import least_squares
from scipy.spatial import Delaunay

from flamehead.builtin._flips import FlipMesh
from flamehead.builtin.ears import add_ears
from flamehead.builtin.sampling import EYE_RINGS, HEAD_VERTICES, HalfSamples, place_samples
from flamehead.builtin.surface import Surface, face_table, make_surface
from flamehead.geometry.landmark_sets import LEFT_EYE_RING

__all__ = ["EYE_RADIUS", "HeadMesh", "build_mesh"]

EYE_RADIUS = 1.25
"""Of the eyeballs, cm."""
LID_GAP = 0.035
"""Between the eyeball and the nearest lid margin point, cm."""
LIP_GAP = 0.022
"""Between the closed lips, cm."""
BALL_RINGS = np.deg2rad(
    [4.0, 9.5, 17.0, 24.0, 28.7, 34.0, 41.0, 49.0, 58.0, 68.0, 79.0, 91.0, 104.0, 118.0, 133.0, 148.0, 164.0]
)
"""Polar angles of the rings of an eyeball, from its front pole; rings 2 and 5 are the borders of pupil and iris."""
_IRIS = 1 + 32 * 4
"""First vertex of the ring that is the border of the iris."""
LEFT_IRIS_IDS = {0: 120, _IRIS: 65, _IRIS + 8: 33, _IRIS + 16: 1, _IRIS + 24: 97}
RIGHT_IRIS_IDS = {0: 120, _IRIS + 16: 65, _IRIS + 8: 33, _IRIS: 126, _IRIS + 24: 93}
"""Ball vertex -> place in the ball's block, so that the iris ids which FLAME programs hard-code mean the same here:
centre, image-right, top, image-left, bottom are 4051 3996 3964 3932 4028 (left), 4597 4542 4510 4603 4570 (right)."""
EYE_FACES = (4053, 4628)
"""Triangles whose second corner is the front pole of the left and the right eyeball, as in the official embeddings."""
_MOUTH_DEPTH = (0.45, 1.10, 2.40, 3.60)
_MOUTH_HALF_HEIGHT = (0.35, 0.80, 1.15, 0.75)


@dataclass(frozen=True)
class HeadMesh:
    """Neutral geometry with what the later steps need to know about it."""

    vertices: Float[np.ndarray, "5023 3"]
    """Centimetres."""
    faces: Int[np.ndarray, "9976 3"]
    mirror: Int[np.ndarray, "5023"]
    """Mirror image of each vertex."""
    face_vertices: Int[np.ndarray, "468"]
    """Vertex of each of the 468 face points."""
    eye_centers: Float[np.ndarray, "2 3"]
    """Left, right."""
    lid_loop: Int[np.ndarray, "32"]
    """Left lid margin, from the outer corner over the upper lid."""
    socket: Int[np.ndarray, "N"]
    """Vertices of the two eye sockets, lid margins excluded."""
    mouth_bag: Int[np.ndarray, "M"]
    """Vertices of the mouth bag, inner lips excluded."""
    lip_loop: Int[np.ndarray, "40"]
    """Inner lips: upper middle, left corner, lower middle, right corner."""
    upper_lip: Float[np.ndarray, "5023"]
    """+1 above the mouth slit, -1 below, 0 on the line through its corners and far away."""
    neck_ring: Int[np.ndarray, "60"]


def build_mesh() -> HeadMesh:
    """Sample, triangulate, close the lips, fill the pockets, mirror, add the eyeballs."""
    surface = make_surface()
    half = place_samples(surface)
    points = add_ears(surface(half.chart))
    points[: half.n_middle, 0] = 0.0
    center = _eye_center()
    _fill_socket(points, half, center)
    side = _mouth_side(half, surface)
    _close_lips(points, half, side)
    _fill_mouth(points, half)
    faces = _triangulate(half, points)
    return _assemble(half, points, faces, side, center)


def _eye_center() -> Float[np.ndarray, "3"]:
    """Centre of the left eyeball: the best sphere behind the lid margins, pushed back until it touches none."""
    lids = face_table().points[LEFT_EYE_RING]
    x = 0.5 * (lids[0, 0] + lids[8, 0])
    central = lids[np.abs(lids[:, 0] - x) < 0.8 * EYE_RADIUS]

    def spread(center: np.ndarray) -> np.ndarray:
        return np.linalg.norm(central - [x, *center], axis=1) - EYE_RADIUS - 2.0 * LID_GAP

    y, z = least_squares(spread, [lids[:, 1].mean(), lids[:, 2].mean() - EYE_RADIUS]).x
    flat = (lids[:, 0] - x) ** 2 + (lids[:, 1] - y) ** 2
    reach = np.sqrt(np.clip((EYE_RADIUS + LID_GAP) ** 2 - flat, 0.0, None))
    return np.array([x, y, min(z, (lids[:, 2] - reach)[flat < EYE_RADIUS**2].min())])


def _fill_socket(points: np.ndarray, half: HalfSamples, center: np.ndarray) -> None:
    """The socket: continue the lid margins around the back of the ball, first close to it, to stay hidden."""
    loop = points[half.eye_loops[0]] - center
    radius = np.linalg.norm(loop, axis=1)
    polar = np.arccos(np.clip(loop[:, 2] / radius, -1.0, 1.0))
    azimuth = np.arctan2(loop[:, 1], loop[:, 0])
    for ring, scale in zip(half.eye_loops[1:], EYE_RINGS, strict=True):
        angle = polar + (np.pi - polar) * (1.0 - scale) ** 1.6
        r = EYE_RADIUS + 0.16 * (1.0 - scale) ** 0.9 + 0.3 * (radius - EYE_RADIUS) * scale**4
        away = np.stack([np.sin(angle) * np.cos(azimuth), np.sin(angle) * np.sin(azimuth), np.cos(angle)], -1)
        points[ring] = center + r[:, None] * away
    points[half.eye_pole] = center - [0.0, 0.0, EYE_RADIUS + 0.16]


def _mouth_side(half: HalfSamples, surface: Surface) -> Float[np.ndarray, "N"]:
    """+1 for samples above the mouth slit on the opened chart, -1 below, fading to 0 sideways of the corner."""
    loop = half.chart[half.mouth_loops[0]]
    corner = loop[10]
    v = 0.5 * (loop[0, 1] + loop[-1, 1])
    line = v + (corner[1] - v) * np.clip(half.chart[:, 0] / corner[0], 0.0, 1.0) ** 2
    beyond = np.clip((half.chart[:, 0] - corner[0]) / 0.10, 0.0, None)
    blend = np.tanh((line - half.chart[:, 1]) / np.maximum(0.06 * beyond, 1e-9))
    out = np.where(beyond > 0, blend, np.sign(line - half.chart[:, 1]))
    out[half.mouth_loops[:, 10]] = 0.0
    out[half.mouth_pole] = 0.0
    return out


def _close_lips(points: np.ndarray, half: HalfSamples, side: np.ndarray) -> None:
    """Bring the parted lips of the table together, each by a field of its own that fades out over the lip."""
    loop = half.mouth_loops[0]
    upper, lower = points[loop[:11]].copy(), points[loop[20:9:-1]].copy()
    middle = 0.5 * (upper + lower)
    gap = 0.5 * LIP_GAP * np.sqrt(np.clip(1.0 - (middle[:, 0] / middle[-1, 0]) ** 2, 0.0, 1.0))
    pull_up = middle + gap[:, None] * [0.0, 1.0, 0.0] - upper
    pull_down = middle - gap[:, None] * [0.0, 1.0, 0.0] - lower
    outer = np.setdiff1d(np.arange(len(points)), np.concatenate([half.eye_loops.ravel(), half.mouth_loops[1:].ravel()]))
    before = points.copy()
    for rim, pull, sign in ((upper, pull_up, 1.0), (lower, pull_down, -1.0)):
        mine = outer[side[outer] * sign > 0.0]
        p = before[mine]
        at = [np.interp(np.abs(p[:, 0]), rim[:, 0], rim[:, c]) for c in range(3)]
        d = np.linalg.norm(p - np.stack(at, -1), axis=1)
        move = np.stack([np.interp(np.abs(p[:, 0]), rim[:, 0], pull[:, c], right=0.0) for c in range(3)], -1)
        move[:, 0] *= np.sign(p[:, 0])
        points[mine] += np.exp(-((d / 0.85) ** 2))[:, None] * move * np.abs(side[mine])[:, None]
    for rim, pull, ids in ((upper, pull_up, loop[:11]), (lower, pull_down, loop[20:9:-1])):
        points[ids] = rim + pull
    points[: half.n_middle, 0] = 0.0


def _fill_mouth(points: np.ndarray, half: HalfSamples) -> None:
    """The bag behind the lips: wider and higher inside, closed at the back."""
    loop = points[half.mouth_loops[0]]
    corner, middle = loop[10], 0.5 * (loop[0] + loop[-1])
    turn = np.linspace(0.0, np.pi, 21)
    for ring, depth, height in zip(half.mouth_loops[1:], _MOUTH_DEPTH, _MOUTH_HALF_HEIGHT, strict=True):
        # Follow the curve of the lips first, then become a flat ellipse.
        flat = min(depth / 2.4, 1.0)
        width = corner[0] * (1.0 - 0.04 * depth) * (1.0 if depth < 3 else 0.55)
        x = width * np.sin(turn)
        curve = np.interp(x, loop[:11, 0], loop[:11, 2]) * (1 - flat) + flat * (0.4 * middle[2] + 0.6 * corner[2])
        y = 0.5 * (loop[:, 1] + loop[::-1, 1]) * (1 - flat) + flat * middle[1] + height * np.cos(turn)
        points[ring] = np.stack([x, y, curve - depth], -1)
        points[ring[[0, -1]], 0] = 0.0
    points[half.mouth_pole] = [0.0, middle[1], 0.4 * middle[2] + 0.6 * corner[2] - _MOUTH_DEPTH[-1] - 0.3]


def _triangulate(half: HalfSamples, points: np.ndarray) -> Int[np.ndarray, "T 3"]:
    """Delaunay triangles of the half chart, loops enforced, then improved on the surface."""
    chart = half.chart.copy()
    radius, angle = np.hypot(*chart.T), np.arctan2(chart[:, 1], chart[:, 0])
    ring = half.neck_ring
    border = np.interp(angle, angle[ring], radius[ring])
    t = radius / border
    # The neck ring becomes a circle and the midline bulges by a hair: a convex outline has no slivers.
    warped = radius * (1.0 + (radius[ring].mean() / border - 1.0) * t**2)
    flat = np.stack([warped * np.cos(angle), warped * np.sin(angle)], -1)
    flat[ring] *= (radius[ring].mean() / np.linalg.norm(flat[ring], axis=1))[:, None]
    m = half.n_middle
    flat[:m, 0] = -1e-5 * (1.0 - (flat[:m, 1] / np.abs(flat[:m, 1]).max()) ** 2)
    triangles = Delaunay(flat, qhull_options="Qbb Qc Qz Q12").simplices
    a, b, c = (flat[triangles[:, k]] for k in range(3))
    turn = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    triangles = np.where((turn > 0)[:, None], triangles, triangles[:, [0, 2, 1]])
    mesh = FlipMesh(triangles)
    closed = [*half.eye_loops, *half.ear_rings[:8]]
    loops = [np.append(loop, loop[0]) for loop in closed] + list(half.mouth_loops)
    fixed = {(min(e), max(e)) for loop in loops for e in zip(loop[:-1].tolist(), loop[1:].tolist(), strict=True)}
    for edge in sorted(fixed):
        mesh.insert(edge, flat)
    mesh.improve(points, fixed, flat)
    # Chart (x, z) seen from above is mirrored against the outside of the head.
    return mesh.triangles()[:, [0, 2, 1]]


def _assemble(
    half: HalfSamples, points: np.ndarray, faces: np.ndarray, side: np.ndarray, center: np.ndarray
) -> HeadMesh:
    """Mirror the half, append the eyeballs."""
    m, n = half.n_middle, len(points)
    twin = np.concatenate([np.arange(m), np.arange(n, 2 * n - m)])
    vertices = np.concatenate([points, points[m:] * [-1.0, 1.0, 1.0]])
    if len(vertices) != HEAD_VERTICES:
        raise AssertionError(f"the head has {len(vertices)} vertices")
    ball, ball_faces = _eyeball()
    first = HEAD_VERTICES + _numbering(len(ball), LEFT_IRIS_IDS)
    second = HEAD_VERTICES + len(ball) + _numbering(len(ball), RIGHT_IRIS_IDS)
    balls = np.empty((2 * len(ball), 3))
    balls[first - HEAD_VERTICES] = ball + center
    balls[second - HEAD_VERTICES] = (ball + center) * [-1.0, 1.0, 1.0]
    mirror = np.empty(HEAD_VERTICES + 2 * len(ball), int)
    mirror[np.arange(n)], mirror[twin] = twin, np.arange(n)
    mirror[first], mirror[second] = second, first
    faces = np.concatenate([faces, twin[faces][:, [0, 2, 1]], first[ball_faces], second[ball_faces[:, [0, 2, 1]]]])
    _put_first(faces, EYE_FACES[0], first[0])
    _put_first(faces, EYE_FACES[1], second[0])
    face_vertices = np.empty(468, int)
    known = np.flatnonzero(half.face_ids >= 0)
    face_vertices[half.face_ids[known]] = known
    face_vertices[face_table().mirror[half.face_ids[known]]] = twin[known]
    socket = np.concatenate([half.eye_loops[1:].ravel(), [half.eye_pole]])
    bag = np.concatenate([half.mouth_loops[1:].ravel(), [half.mouth_pole]])
    loop, ring = half.mouth_loops[0], half.neck_ring
    zero = np.zeros(2 * len(ball))
    return HeadMesh(
        vertices=np.concatenate([vertices, balls]),
        faces=faces,
        mirror=mirror,
        face_vertices=face_vertices,
        eye_centers=np.stack([center, center * [-1.0, 1.0, 1.0]]),
        lid_loop=half.eye_loops[0],
        socket=np.concatenate([socket, twin[socket]]),
        mouth_bag=np.unique(np.concatenate([bag, twin[bag]])),
        lip_loop=np.concatenate([loop, twin[loop[-2:0:-1]]]),
        upper_lip=np.concatenate([side, side[m:], zero]),
        neck_ring=np.concatenate([ring, twin[ring[-2:0:-1]]]),
    )


def _numbering(count: int, ids: dict[int, int]) -> Int[np.ndarray, "N"]:
    """The place of each ball vertex within its block: given ones for some, the others in order."""
    out = np.full(count, -1)
    out[list(ids)] = list(ids.values())
    out[out < 0] = np.setdiff1d(np.arange(count), list(ids.values()))
    return out


def _put_first(faces: Int[np.ndarray, "F 3"], place: int, pole: int) -> None:
    """Swap a triangle at the front pole of an eyeball to a given place, the pole as its second corner."""
    at = int(np.flatnonzero((faces == pole).any(axis=1))[0])
    triangle = np.roll(faces[at], 1 - int(np.flatnonzero(faces[at] == pole)[0]))
    faces[at], faces[place] = faces[place].copy(), triangle


def _eyeball() -> tuple[Float[np.ndarray, "546 3"], Int[np.ndarray, "1088 3"]]:
    """A ball of rings about the z axis around the origin; front pole first, back pole last."""
    turn = 2.0 * np.pi * np.arange(32) / 32
    rings = [
        EYE_RADIUS * np.stack([np.sin(a) * np.cos(turn), np.sin(a) * np.sin(turn), np.full(32, np.cos(a))], -1)
        for a in BALL_RINGS
    ]
    points = np.concatenate([[[0.0, 0.0, EYE_RADIUS]], *rings, [[0.0, 0.0, -EYE_RADIUS]]])
    k, following = np.arange(32), (np.arange(32) + 1) % 32
    faces = [np.stack([np.zeros(32, int), 1 + k, 1 + following], -1)]
    for r in range(len(BALL_RINGS) - 1):
        a, b = 1 + 32 * r, 1 + 32 * (r + 1)
        faces += [np.stack([a + k, b + k, b + following], -1), np.stack([a + k, b + following, a + following], -1)]
    last = 1 + 32 * (len(BALL_RINGS) - 1)
    faces.append(np.stack([last + k, np.full(32, len(points) - 1), last + following], -1))
    return points, np.concatenate(faces)
