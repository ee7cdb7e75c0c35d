"""How fast and how well landmarks of one image are fitted: `python benchmarks/fit.py [--quick] [--json FILE]`.

Closed loop: random built-in heads are posed, their 105 + contour + iris landmarks are projected without noise, and a
cold fit has to find the head again. Face vertices are compared after a similarity alignment, and with the mean head's.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

from _common import machine, options, write_figures
from flamehead.data import Camera, FlameParams, Observation
from flamehead.fit import CAMERA_FROM_MODEL, LandmarkFitSettings, fit_landmarks, landmark_error_percent, project
from flamehead.geometry.rotation import exp
from flamehead.model import Flame, load_flame

SIZE = (1024, 1024)
FOCAL = 1.2 * SIZE[0]
EXACT = LandmarkFitSettings(
    n_shape=300,
    n_expression=100,
    landmark_sigma=5e-4,
    iris_sigma=5e-4,
    contour_sigma=5e-4,
    contour_slide_sigma=5e-4,
    expression_sigma=0.4,
    loss="squared",
    cost_tolerance=1e-5,
)
"""Landmarks are exact and the generating distribution is known: the best estimate uses every component."""


@dataclass(frozen=True)
class Scene:
    """A random head and what a camera sees of it."""

    params: FlameParams
    camera: Camera
    vertices: np.ndarray
    seen: Observation


def random_scene(flame: Flame, seed: int) -> Scene:
    """Identity N(0, 1), expression sd 0.4, jaw, gaze, yaw within 30 degrees, in the middle of the image."""
    rng = np.random.default_rng(seed)

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.tensor(values, dtype=flame.template.dtype)

    gaze = rng.uniform(-0.2, 0.2, 2)
    params = FlameParams(
        shape=tensor(rng.normal(size=flame.n_shape)),
        expression=tensor(0.4 * rng.normal(size=flame.n_expression)),
        root=tensor(np.deg2rad(rng.uniform([-10, -30, -10], [10, 30, 10]))),
        neck=tensor(np.zeros(3)),
        jaw=tensor(np.array([rng.uniform(0.0, 0.25), 0.0, 0.0])),
        left_eye=tensor(np.append(gaze, 0.0)),
        right_eye=tensor(np.append(gaze, 0.0)),
        translation=tensor(np.append(rng.uniform(-0.05, 0.05, 2), -rng.uniform(0.45, 0.8))),
    )
    center = 0.5 * np.array(SIZE)
    camera = Camera(tensor(CAMERA_FROM_MODEL), tensor(np.zeros(3)), tensor(np.full(2, FOCAL)), tensor(center), SIZE)
    vertices = flame(params).vertices
    points = project(flame.landmarks(vertices, "mediapipe478").double().numpy(), FOCAL, center)
    return Scene(params, camera, vertices.double().numpy(), Observation(points, "mediapipe478", SIZE))


def aligned_error_mm(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean vertex distance after the similarity alignment of `found` (Umeyama 1991), mm."""
    a, b = found - found.mean(axis=0), truth - truth.mean(axis=0)
    u, sizes, vt = np.linalg.svd(a.T @ b)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (sizes * sign).sum() / (a**2).sum()
    return 1000.0 * float(np.linalg.norm(scale * a @ (u * sign) @ vt - b, axis=1).mean())


def turned_by(a: torch.Tensor, b: torch.Tensor) -> float:
    """Angle between two axis-angle rotations, degrees."""
    trace = float(torch.trace(exp(a.double()).mT @ exp(b.double())))
    return float(np.rad2deg(np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0))))


def closed_loop(
    flame: Flame, scenes: list[Scene], *, focal: float | None, settings: LandmarkFitSettings
) -> dict[str, float]:
    """Accuracy, time and iterations over all scenes."""
    face = np.asarray(flame.regions["face"])
    fit_landmarks(flame, scenes[0].seen, focal=focal, settings=settings)
    rows = []
    for scene in scenes:
        begin = perf_counter()
        fit = fit_landmarks(flame, scene.seen, focal=focal, settings=settings)
        elapsed = 1000.0 * (perf_counter() - begin)
        error = aligned_error_mm(flame(fit.params).vertices[face].double().numpy(), scene.vertices[face])
        mean = aligned_error_mm(flame.arrays.template[face], scene.vertices[face])
        turn, pixels = turned_by(fit.params.root, scene.params.root), landmark_error_percent(scene.seen, fit.fitted)
        rows.append((elapsed, fit.status.iterations, error, error / mean, turn, pixels))
    table = np.array(rows)
    return {
        "ms": float(np.median(table[:, 0])),
        "ms_p95": float(np.percentile(table[:, 0], 95)),
        "iterations": float(np.median(table[:, 1])),
        "face_mm": float(table[:, 2].mean()),
        "face_ratio": float(table[:, 2].sum() / (table[:, 2] / table[:, 3]).sum()),
        "rotation_deg": float(table[:, 4].mean()),
        "rotation_deg_worst": float(table[:, 4].max()),
        "landmark_percent": float(table[:, 5].mean()),
    }


def main() -> None:
    """Run and print."""
    arguments = options(__doc__, quick="6 heads instead of 24").parse_args()
    flame = load_flame()
    scenes = [random_scene(flame, seed) for seed in range(6 if arguments.quick else 24)]
    figures: dict[str, float] = {}
    print(f"{machine(threads='1 BLAS thread')}\n{len(scenes)} heads, {flame.arrays.source}")
    print(f"{'':24}{'ms':>7}{'p95':>7}{'iter':>6}{'face mm':>9}{'of mean':>9}{'rot deg':>9}{'worst':>7}{'lmk %':>7}")
    for name, settings in (("default", LandmarkFitSettings()), ("exact", EXACT)):
        for lens, focal in (("focal known", FOCAL), ("focal unknown", None)):
            row = closed_loop(flame, scenes, focal=focal, settings=settings)
            formats = zip(row.values(), ("7.1f", "7.1f", "6.0f", "9.2f", "9.1%", "9.2f", "7.2f", "7.3f"), strict=True)
            print(f"{name + ', ' + lens:24}" + "".join(format(value, form) for value, form in formats))
            figures |= {f"{name}_{lens}_{key}".replace(" ", "_"): value for key, value in row.items()}
    write_figures(arguments.json, figures)


if __name__ == "__main__":
    main()
