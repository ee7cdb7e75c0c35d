"""The built-in head: build time, and how well a face detector agrees with it: `python benchmarks/head.py [--quick]`.

The neutral head is rendered at 512 px from eleven sides and shown to MediaPipe; the error is the mean distance between
what it sees and the head's own 105 landmarks, in percent of the outer-eye distance of the head facing the camera at the
same distance ("view %" divides by the foreshortened distance in the view instead). Then random people are shown.
The build runs in processes of its own, with cold caches.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from jaxtyping import Float

from _common import machine, options, write_figures
from flamehead import Camera, FlameParams, NoFaceFound, detect_face, load_flame
from flamehead.builtin import builtin_head
from flamehead.geometry.camera import project, world_to_camera
from flamehead.geometry.landmark_sets import FACE_OVAL, IBUG68_IN_MEDIAPIPE, MEDIAPIPE_105
from flamehead.geometry.rotation import exp
from flamehead.model import Flame
from flamehead.render import render

VIEWS = ((0, 0), (-15, 0), (15, 0), (-30, 0), (30, 0), (0, 20), (0, -20), (-45, 0), (45, 0), (-60, 0), (60, 0))
"""Yaw and pitch in degrees."""
BUILD = """
from time import perf_counter
from flamehead.builtin import builtin_head
begin = perf_counter()
builtin_head()
print(perf_counter() - begin)
"""


def camera(yaw: float, pitch: float) -> Camera:
    """0.7 m away, 512 px, the head turned by yaw, then by pitch."""
    angles = torch.deg2rad(torch.tensor([pitch, yaw], dtype=torch.float32))
    turn = exp(torch.stack([angles[0], *torch.zeros(2)])) @ exp(
        torch.stack([*torch.zeros(1), angles[1], *torch.zeros(1)])
    )
    rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ turn
    translation = -rotation @ torch.tensor([0.0, 0.0, -0.04]) + torch.tensor([0.0, 0.0, 0.7])
    return Camera(rotation, translation, torch.full((2,), 900.0), torch.full((2,), 256.0), (512, 512))


def look(flame: Flame, params: FlameParams, view: Camera) -> tuple[np.ndarray, Float[np.ndarray, "478 2"]]:
    """The picture, and where the head's landmarks are in it."""
    with torch.no_grad():
        vertices = flame(params).vertices
        points = world_to_camera(flame.landmarks(vertices, "mediapipe478"), view.rotation, view.translation)
    picture = render(vertices, flame.faces, view, colors=flame.paint, background=(0.62, 0.64, 0.66)).image
    return picture, project(points, view.focal, view.center).numpy()


def by_view(flame: Flame) -> dict[str, float]:
    """Print a line per view, return the figures."""
    figures: dict[str, float] = {}
    print(f"{'yaw':>4} {'pitch':>5} {'105 %':>6} {'68 %':>6} {'all %':>6} {'oval %':>6} {'view %':>7}")
    facing = None
    for yaw, pitch in VIEWS:
        picture, known = look(flame, flame.zeros(), camera(yaw, pitch))
        if facing is None:
            facing = float(np.linalg.norm(known[33] - known[263]))
        try:
            seen = detect_face(picture).points
        except NoFaceFound:
            print(f"{yaw:4d} {pitch:5d} not detected")
            figures[f"error105_yaw{yaw}_pitch{pitch}"] = float("inf")
            continue
        off = np.linalg.norm(seen - known, axis=1)
        shares = [
            100.0 * off[ids].mean() / facing for ids in (MEDIAPIPE_105, IBUG68_IN_MEDIAPIPE, np.arange(468), FACE_OVAL)
        ]
        in_view = 100.0 * off[MEDIAPIPE_105].mean() / float(np.linalg.norm(seen[33] - seen[263]))
        print(f"{yaw:4d} {pitch:5d} " + " ".join(f"{share:6.2f}" for share in shares) + f" {in_view:7.2f}")
        figures[f"error105_yaw{yaw}_pitch{pitch}"] = shares[0]
        figures[f"error68_yaw{yaw}_pitch{pitch}"] = shares[1]
    near = [figures[f"error105_yaw{y}_pitch{p}"] for y, p in VIEWS if abs(y) <= 30 and p == 0]
    figures["error105_within_30"] = float(np.mean(near))
    print(f"mean of the 105 within 30 degrees of yaw: {figures['error105_within_30']:.2f} %")
    return figures


def random_people(flame: Flame, count: int) -> dict[str, float]:
    """How many random heads the detector finds."""
    generator = torch.Generator().manual_seed(0)
    found = 0
    for _ in range(count):
        params = dataclasses.replace(
            flame.zeros(),
            shape=torch.randn(flame.n_shape, generator=generator),
            expression=0.5 * torch.randn(flame.n_expression, generator=generator),
        )
        yaw = 60.0 * float(torch.rand(1, generator=generator)) - 30.0
        try:
            detect_face(look(flame, params, camera(yaw, 0.0))[0])
            found += 1
        except NoFaceFound:
            pass
    print(f"random heads detected: {found} of {count}")
    return {"random_detected": found, "random_shown": count}


def build_times(repeats: int) -> dict[str, float]:
    """Seconds to build the head with an empty cache, and to load it again."""
    built, loaded = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            for times in (built, loaded):
                environment = os.environ | {"FLAMEHEAD_CACHE": folder}
                run = subprocess.run(
                    [sys.executable, "-c", BUILD], env=environment, capture_output=True, text=True, check=True
                )
                times.append(float(run.stdout))
    figures = {"build_s": float(np.median(built)), "load_s": float(np.median(loaded))}
    print(f"build {figures['build_s']:.1f} s, load from cache {figures['load_s']:.2f} s (medians of {repeats})")
    return figures


def main() -> int:
    arguments = options(__doc__, quick="one build, ten random heads").parse_args()
    print(machine(threads="2 threads"))
    basis = builtin_head().arrays.shape_basis
    total = 1000.0 * float(np.sqrt((basis**2).sum(1).mean(0).sum()))
    last = 1000.0 * float(np.sqrt((basis[..., -1] ** 2).sum(1).mean()))
    print(f"identity space: {total:.2f} mm rms at one sigma; its last column moves {last:.3f} mm rms")
    flame = load_flame()
    figures = {"identity_rms_mm": total, **by_view(flame)}
    figures |= random_people(flame, 10 if arguments.quick else 50)
    figures |= build_times(1 if arguments.quick else 3)
    write_figures(arguments.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
