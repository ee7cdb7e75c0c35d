"""How well and how fast scans are registered: `benchmarks/scan.py [SCAN --landmarks FILE] [--quick] [--json FILE]`.

Without a SCAN a known built-in head serves, in millimetres, each of its triangles cut in four. Distances are those of
the scan's vertices inside the face sphere of the NoW benchmark, whose centre and radius come from the given landmarks.
A first registration warms the process up before anything is timed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from _common import machine, options, write_figures
from flamehead import FlameheadError, fit_points, fit_scan, load_flame
from flamehead.fit import mouth_intersections
from flamehead.geometry.nearest import nearest_on_mesh
from flamehead.io import Mesh, read_points, read_scan
from flamehead.model import Flame

Figures = dict[str, float]


@dataclass(frozen=True)
class Case:
    """A scan with landmarks, and the vertices that are measured."""

    mesh: Mesh
    landmarks: np.ndarray
    measured: np.ndarray


def known_head(flame: Flame) -> Case:
    """A head with a random identity and an open mouth, in millimetres."""
    rng = np.random.default_rng(5)
    shape = torch.zeros(flame.n_shape, dtype=torch.float64)
    shape[:60] = torch.tensor(rng.normal(size=60))
    jaw = torch.tensor([0.12, 0.0, 0.0], dtype=torch.float64)
    head = 1000.0 * flame(replace(flame.zeros(), shape=shape, jaw=jaw)).vertices.numpy()
    hidden = np.zeros(len(head), bool)
    hidden[flame.regions["lip_inside"]] = True
    faces = flame.arrays.faces[~hidden[flame.arrays.faces].all(axis=1)]
    points, faces = cut_in_four(head, faces)
    marks = flame.embeddings["ibug51"]
    landmarks = np.einsum("lk,lka->la", marks.barycentric, head[flame.arrays.faces[marks.face_ids]])
    return case_of(Mesh(points, faces), landmarks + 0.3 * rng.normal(size=landmarks.shape))


def case_of(mesh: Mesh, landmarks: np.ndarray) -> Case:
    """Measure inside the sphere that the landmarks (51 or 68) span."""
    inner = landmarks[-51:]
    nose, corners = inner[16], (inner[22] + inner[25]) / 2
    radius = 0.7 * (np.linalg.norm(inner[19] - inner[28]) + np.linalg.norm(corners - nose))
    inside = np.linalg.norm(mesh.vertices - nose - 0.3 * (corners - nose), axis=1) < radius
    return Case(mesh, landmarks, mesh.vertices[inside])


def cut_in_four(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same surface with four times the triangles."""
    sides = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]], axis=2).reshape(-1, 2)
    edges, middle = np.unique(sides, axis=0, return_inverse=True)
    (a, b, c), (ab, bc, ca) = faces.T, (len(points) + middle.reshape(-1, 3)).T
    parts = ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))
    cut = np.concatenate([np.stack(part, axis=1) for part in parts])
    return np.concatenate([points, points[edges].mean(axis=1)]), cut


def spoiled(case: Case) -> dict[str, Mesh]:
    """The scan as bad scanners would give it."""
    rng, (v, f) = np.random.default_rng(0), (case.mesh.vertices, case.mesh.faces)
    spread = float(np.linalg.norm(case.landmarks[-51:][19] - case.landmarks[-51:][28]))
    wrong = rng.choice(len(v), len(v) // 20, replace=False)
    push = rng.normal(size=(len(wrong), 3))
    outliers = v.copy()
    # 5 cm, told by the distance of the outer eye corners, some 9 cm.
    outliers[wrong] += 0.55 * spread * push / np.linalg.norm(push, axis=1, keepdims=True)
    across = case.landmarks[-51:][28] - case.landmarks[-51:][19]
    left = (v - case.landmarks[-51:].mean(axis=0)) @ across > 0
    holes = f
    for center in v[rng.choice(len(v), 40)]:
        holes = holes[np.linalg.norm(v[holes[:, 0]] - center, axis=1) > 0.12 * spread]
    many_v, many_f = v, f
    while len(many_v) < 1_000_000:
        many_v, many_f = cut_in_four(many_v, many_f)
    same = np.repeat(rng.integers(0, len(v), 5000)[:, None], 3, axis=1)
    return {
        "outliers": Mesh(outliers, f),
        "half": Mesh(v, f[left[f].all(axis=1)]),
        "holes": Mesh(v, holes),
        "million": Mesh(many_v, many_f),
        "degenerate": Mesh(v, np.concatenate([f, same])),
        "cloud": Mesh(v, np.zeros((0, 3), dtype=np.int64)),
    }


def measure(name: str, case: Case, flame: Flame, run: Callable[[], object]) -> Figures:
    """One registration: a line, and its figures."""
    start = perf_counter()
    try:
        fit = run()
    except FlameheadError as error:
        print(f"{name:<22}{error}")
        return {}
    seconds = perf_counter() - start
    vertices = fit.vertices  # pyright: ignore[reportAttributeAccessIssue]
    scale = fit.registration.scale  # pyright: ignore[reportAttributeAccessIssue]
    d = 1000.0 * scale * nearest_on_mesh(case.measured, vertices, flame.arrays.faces).distances
    crossing = len(mouth_intersections(flame, vertices))
    print(f"{name:<22}{np.median(d):>8.3f}{d.mean():>8.3f}{np.percentile(d, 95):>8.3f}{crossing:>8}{seconds:>9.2f}")
    return {f"{name}_median_mm": float(np.median(d)), f"{name}_seconds": seconds, f"{name}_mouth": float(crossing)}


def main() -> int:
    parser = options(__doc__, quick="leave out the spoiled scans")
    parser.add_argument("scan", nargs="?", type=Path, help="a scan of a head (obj, ply, stl, npz)")
    parser.add_argument("--landmarks", type=Path, help="51 or 68 landmarks of it")
    arguments = parser.parse_args()
    if (arguments.scan is None) != (arguments.landmarks is None):
        parser.error("give a scan and its landmarks, or neither")
    flame = load_flame(dtype=torch.float64)
    if arguments.scan is None:
        case = known_head(flame)
    else:
        case = case_of(read_scan(arguments.scan), read_points(arguments.landmarks))
    print(machine(threads=f"{torch.get_num_threads()} threads"))
    print(f"{len(case.mesh.vertices)} vertices, {len(case.measured)} of them measured, millimetres\n")
    mesh, marks = case.mesh, case.landmarks
    fit_scan(mesh, flame=flame, landmarks=marks, offsets=True)
    start = fit_scan(mesh, flame=flame, landmarks=marks)
    metres = start.registration.scale
    times = []
    for _ in range(10):
        begin = perf_counter()
        fit_points(flame, marks, scale=metres)
        times.append(1000.0 * (perf_counter() - begin))
    figures: Figures = {"points_ms": min(times), "points_ms_median": float(np.median(times))}
    print(f"{len(marks)} landmarks in space: {min(times):.1f} ms at best, {np.median(times):.1f} ms median of 10\n")
    print(f"{'':<22}{'median':>8}{'mean':>8}{'p95':>8}{'mouth':>8}{'seconds':>9}")
    figures |= measure("parameters", case, flame, lambda: fit_scan(mesh, flame=flame, landmarks=marks))
    figures |= measure("offsets", case, flame, lambda: fit_scan(mesh, flame=flame, landmarks=marks, offsets=True))
    figures |= measure("found landmarks", case, flame, lambda: fit_scan(mesh, flame=flame))
    figures |= measure("found, offsets", case, flame, lambda: fit_scan(mesh, flame=flame, offsets=True))
    for name, bad in () if arguments.quick else spoiled(case).items():
        figures |= measure(name, case, flame, lambda bad=bad: fit_scan(bad, flame=flame, landmarks=marks))
        if name == "million":
            figures |= measure("million, found", case, flame, lambda bad=bad: fit_scan(bad, flame=flame))
    write_figures(arguments.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
