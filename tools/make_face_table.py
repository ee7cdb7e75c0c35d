"""Make the face table of the built-in head: 468 landmark positions of a neutral face.

Nothing here is measured on a person or copied from a model. A crude head is composed of three blended ellipsoids and
a few Gaussian bumps, with proportions from published head measurements (adult means after Farkas, "Anthropometry of
the Head and Face", 1994: exocanthion distance 8.9 cm, intercanthal 3.2, mouth width 5.1, nose width 3.4, sellion to
menton 11.9, head breadth 15.2, head length 19.5 cm). It is painted, rendered by ray marching, and shown once to
MediaPipe's face mesh, which answers with 468 points in three dimensions. They are made symmetric and scaled. The
triangles come from the public list of edges `FACEMESH_TESSELATION` (all 3-cycles that bound a face), the mirror map
from matching the detected points with their own reflection.

    python tools/make_face_table.py src/flamehead/builtin/face_table.npz [--picture crude.png]
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

SIZE = 512
DISTANCE = 80.0  # Camera distance in cm.
FOCAL = 1500.0  # Pixels.
CENTER_Y = 1.0
OUTER_EYE_DISTANCE = 8.9  # Between points 33 and 263, cm.
EYE_HEIGHT = 2.66  # Of the middle of the eyes above the origin, cm.


def ellipsoid(p: np.ndarray, center: tuple, axes: tuple) -> np.ndarray:
    """Signed distance, exact on the surface and first-order nearby."""
    q = (p - np.array(center)) / np.array(axes)
    k = np.linalg.norm(q, axis=-1)
    g = np.linalg.norm(q / np.array(axes), axis=-1)
    return k * (k - 1) / np.maximum(g, 1e-9)


def smooth_min(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    h = np.clip(0.5 + 0.5 * (b - a) / blend, 0, 1)
    return b + (a - b) * h - blend * h * (1 - h)


def bump(x: np.ndarray, y: np.ndarray, cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
    return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))


def relief(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the features above the blended ellipsoids, cm; x is mirrored, so both sides are equal."""
    x = np.abs(x)
    t = np.clip((3.6 - y) / 4.5, 0, 1.25)  # 0 at the sellion, 1 at the tip of the nose.
    ridge = (0.25 + 2.0 * t**1.35) * np.exp(-0.5 * (x / (0.50 + 0.42 * t)) ** 2)
    ridge *= 1 / (1 + np.exp(np.clip((-1.45 - y) / 0.16, -60, 60))) / (1 + np.exp(np.clip((y - 3.9) / 0.4, -60, 60)))
    out = ridge + 0.75 * bump(x, y, 1.30, -1.05, 0.42, 0.45)
    out -= 0.85 * bump(x, y, 3.1, 2.6, 1.45, 0.80) + 0.30 * bump(x, y, 1.6, 2.6, 0.5, 0.9)
    out += 0.35 * bump(x, y, 2.9, 4.2, 2.0, 0.55)
    out += 0.62 * bump(x, y, 0.0, -3.55, 1.75, 0.42) + 0.62 * bump(x, y, 0.0, -4.95, 1.45, 0.45)
    out -= 0.35 * bump(x, y, 0.0, -5.85, 1.7, 0.40)
    out += 0.55 * bump(x, y, 0.0, -7.35, 1.3, 0.95)
    return out + 0.45 * bump(x, y, 4.3, 0.1, 1.6, 1.4)


def crude_head(p: np.ndarray) -> np.ndarray:
    """Implicit surface of the crude head, cm; negative inside."""
    skull = ellipsoid(p, (0, 4.3, -4.9), (7.6, 9.2, 9.6))
    jaw = ellipsoid(p, (0, -2.4, -0.8), (6.2, 6.3, 5.5))
    f = smooth_min(skull, jaw, 2.5)
    axis = np.array([0.0, -20.0, -1.6])
    q = p - np.array([0.0, 0.0, -6.0])
    along = np.clip((q @ axis) / (axis @ axis), 0, 1)
    f = smooth_min(f, np.linalg.norm(q - along[..., None] * axis, axis=-1) - 5.5, 2.2)
    ear = ellipsoid(np.stack([np.abs(p[..., 0]), p[..., 1], p[..., 2]], -1), (7.9, 1.0, -4.2), (0.9, 3.1, 1.7))
    f = smooth_min(f, ear, 0.6)
    front = 1 / (1 + np.exp(-np.clip((p[..., 2] + 0.5) / 0.7, -40, 40)))
    return f - relief(p[..., 0], p[..., 1]) * front


def almond(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Below 1 inside the opening of an eye, in |x|."""
    u = (np.abs(x) - 3.02) / 1.43
    lift = 0.10 * u
    return np.abs(u) ** 2.2 + ((y - 2.62 - lift) / np.where(y > 2.62 + lift, 0.56, 0.44)) ** 2


def paint(p: np.ndarray) -> np.ndarray:
    """Linear RGB of the crude head."""
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    front = z > 0
    out = np.broadcast_to(np.array([0.60, 0.37, 0.27]), p.shape).copy()

    def blend(mask: np.ndarray, color: tuple) -> None:
        out[:] = out * (1 - mask[..., None]) + np.array(color) * mask[..., None]

    a = np.abs(x)
    blend(0.30 * bump(a, y, 4.0, -0.4, 1.6, 1.3), (0.62, 0.25, 0.19))
    blend(0.35 * bump(a, y, 3.0, 2.9, 1.9, 1.0), (0.36, 0.19, 0.14))
    arch = 4.45 + 0.42 * np.sin(np.clip((a - 1.2) / 3.6, 0, 1) * np.pi * 0.85) - 0.10 * (a - 1.2)
    blend(0.9 * front * np.exp(-(((y - arch) / 0.32) ** 4)) * (a > 1.2) * (a < 5.0), (0.10, 0.06, 0.04))
    mouth = 1 - (a / 2.6) ** 2
    bow = 0.82 * np.sqrt(np.clip(mouth, 0, 1)) - 0.10 * np.exp(-((a / 0.35) ** 2))
    half_gap = 0.26 * np.clip(mouth, 0, 1) ** 0.7  # Parted: with closed lips the inner loops of the detection cross.
    lips = (y < -4.15 + bow) & (y > -4.25 - 0.95 * np.clip(mouth, 0, 1) ** 0.6) & (mouth > 0) & front
    blend(lips.astype(float), (0.42, 0.13, 0.11))
    blend(((np.abs(y + 4.2) < half_gap) & (mouth > 0) & front).astype(float), (0.05, 0.015, 0.015))
    blend(0.9 * front * bump(a, y, 0.62, -1.75, 0.32, 0.14), (0.08, 0.03, 0.025))
    eye = almond(x, y)
    blend(((eye < 1.35) & (eye >= 1) & front).astype(float), (0.13, 0.07, 0.05))
    blend(((eye < 1) & front).astype(float), (0.72, 0.70, 0.68))
    r = np.hypot(a - 3.05, y - 2.66)
    blend(((eye < 1) & (r < 0.58) & front).astype(float), (0.16, 0.09, 0.05))
    blend(((eye < 1) & (r < 0.22) & front).astype(float), (0.01, 0.01, 0.01))
    blend(((eye < 1) & (np.hypot(x + 0.16 - np.sign(x) * 3.05, y - 2.86) < 0.08) & front).astype(float), (1, 1, 1))
    hairline = (y > 8.2 - 0.045 * x**2 - 0.25 * np.clip(-z, 0, 30)) & (z < 4.6)
    blend(hairline.astype(float), (0.05, 0.035, 0.025))
    return out


def render() -> np.ndarray:
    """A frontal picture of the crude head, uint8 sRGB."""
    u, v = np.meshgrid(np.arange(SIZE) + 0.5 - SIZE / 2, np.arange(SIZE) + 0.5 - SIZE / 2)
    ray = np.stack([u / FOCAL, -v / FOCAL, -np.ones_like(u)], -1).reshape(-1, 3)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    p = np.array([0.0, CENTER_Y, DISTANCE]) + ray * (DISTANCE - 12.0)
    alive = np.ones(len(p), bool)
    for _ in range(70):
        d = crude_head(p[alive])
        p[alive] += ray[alive] * np.clip(0.55 * d, -1.0, 1.5)[:, None]
        alive[alive] = (np.abs(d) > 1e-3) & (p[alive][:, 2] > -25)
    hit = p[:, 2] > -20
    h = 1e-3
    normal = np.stack([crude_head(p[hit] + h * e) - crude_head(p[hit] - h * e) for e in np.eye(3)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    key, fill = np.array([0.35, 0.5, 0.8]), np.array([-0.35, 0.5, 0.8])  # Symmetric light: a symmetric detection.
    light = 0.35 + 0.42 * sum(np.clip(normal @ (d / np.linalg.norm(d)), 0, None) for d in (key, fill))
    picture = np.full((SIZE * SIZE, 3), 0.6)
    picture[hit] = paint(p[hit]) * light[:, None]
    picture = np.clip(picture, 0, 1) ** (1 / 2.2)
    return (picture.reshape(SIZE, SIZE, 3) * 255 + 0.5).astype(np.uint8)


def detect(picture: np.ndarray) -> np.ndarray:
    """468 points, cm, model axes: x subject's left, y up, z forward."""
    import mediapipe as mp

    with mp.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
        found = mesh.process(picture).multi_face_landmarks
    if not found:
        raise SystemExit("The detector does not see a face in the crude head.")
    points = np.array([[p.x, p.y, p.z] for p in found[0].landmark])[:468] * SIZE
    return points * [1.0, -1.0, -1.0]


def triangles() -> np.ndarray:
    """The 852 triangles bounded by the public tessellation edges, counter-clockwise seen from outside."""
    import mediapipe as mp

    edges = {frozenset(edge) for edge in mp.solutions.face_mesh.FACEMESH_TESSELATION}
    near: dict[int, set[int]] = {}
    for a, b in edges:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    cycles = {frozenset((a, b, c)) for a, b in edges for c in near[a] & near[b]}
    use = Counter(side for cycle in cycles for side in sides(cycle))
    # A cycle around a vertex of degree three bounds no face of its own: all of its sides are used three times.
    faces = {cycle for cycle in cycles if min(use[side] for side in sides(cycle)) < 3}
    by_side: dict[frozenset[int], list[frozenset[int]]] = {}
    for face in faces:
        for side in sides(face):
            by_side.setdefault(side, []).append(face)
    start = next(face for face in faces if {33, 246} <= face)
    # Going outwards around the subject's right eye, 33 -> 246 has the skin on its left when seen from outside.
    apex = next(iter(start - {33, 246}))
    oriented, queue = {start: (33, 246, apex)}, [start]
    while queue:
        a, b, c = oriented[queue[-1]]
        queue.pop()
        for p, q in ((a, b), (b, c), (c, a)):
            for other in by_side[frozenset((p, q))]:
                if other not in oriented:
                    oriented[other] = (q, p, next(iter(other - {p, q})))
                    queue.append(other)
    return np.array(sorted(oriented.values()))


def sides(face: frozenset[int]) -> list[frozenset[int]]:
    a, b, c = sorted(face)
    return [frozenset((a, b)), frozenset((b, c)), frozenset((a, c))]


def mirror_map(points: np.ndarray) -> np.ndarray:
    """Which point is the mirror image of which: the cheapest matching of the points with their own reflection."""
    centred = points - [(points[33, 0] + points[263, 0]) / 2, 0, 0]
    cost = ((centred[:, None] - centred[None] * [-1.0, 1.0, 1.0]) ** 2).sum(-1)
    _, out = linear_sum_assignment(cost)
    if not (out[out] == np.arange(len(points))).all():
        raise SystemExit("The mirror map is not an involution: the detection is too asymmetric.")
    return out


def place(points: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Symmetric, in cm, and where the crude head has its face."""
    points = points - points[mirror].mean(0) * [1, 0, 0]
    points = 0.5 * (points + points[mirror] * [-1.0, 1.0, 1.0])
    points = points * (OUTER_EYE_DISTANCE / np.linalg.norm(points[33] - points[263]))
    eyes = [33, 133, 159, 145]
    points = points - [0.0, points[eyes, 1].mean() - EYE_HEIGHT, 0.0]
    for _ in range(20):
        points = points - [0.0, 0.0, crude_head(points).mean()]
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    picture = render()
    if args.picture:
        from PIL import Image

        Image.fromarray(picture).save(args.picture)
    faces = triangles()
    detected = detect(picture)
    mirror = mirror_map(detected)
    points = place(detected, mirror)
    np.savez(
        args.out, points=points.astype(np.float32), triangles=faces.astype(np.int16), mirror=mirror.astype(np.int16)
    )
    print(
        f"{len(points)} points, {len(faces)} triangles; mean distance to the crude head "
        f"{np.abs(crude_head(points)).mean():.2f} cm; written to {args.out}"
    )


if __name__ == "__main__":
    main()
