"""Whether fits know how wrong they are: `python benchmarks/calibration.py [--quick] [--json FILE]`.

Heads are drawn from the priors of the fit, seen by a camera from the prior of the focal length, and their landmarks
move by the noise that the fit assumes. If the posterior is right, the truth lies within 1 (2) of its standard
deviations in 68 % (95 %) of all fits. The outline's noise is the same along and across it, here and in the fit's
assumption: independent slides of the usual ten percent of the eye distance would shuffle its points, and with them the
direction that is called "along".
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from _common import machine, options, write_figures
from flamehead import load_flame
from flamehead.data import Fit, Observation
from flamehead.fit import (
    HeadState,
    LandmarkFitSettings,
    expected_params,
    fit_landmarks,
    landmark_positions,
    project,
    vertex_deviation,
)
from flamehead.fit._prepare import Prepared, prepare
from flamehead.fit.landmarks import start_pose
from flamehead.model import Flame

SIZE = (1000, 1000)
YAW, PITCH, ROLL = 30.0, 15.0, 20.0
"""Standard deviations of the pose, degrees."""


def drawn_head(prepared: Prepared, settings: LandmarkFitSettings, rng: np.random.Generator) -> HeadState:
    """A head from the priors, in front of the camera."""
    columns = prepared.model.columns

    def limited(size: int, sigma: float, low: float, high: float, excess: float) -> np.ndarray:
        while True:
            values = sigma * rng.normal(size=size)
            beyond = (values - np.clip(values, low, high)) / excess
            if rng.random() < np.exp(-0.5 * float(beyond @ beyond)):
                return values

    def coefficients(count: int, sigma: float) -> np.ndarray:
        limit, excess = settings.coefficient_limit, settings.coefficient_excess_sigma
        return np.concatenate([np.zeros(0), *(limited(1, sigma, -limit, limit, excess) for _ in range(count))])

    def gaze() -> np.ndarray:
        while True:
            limit, excess = settings.eye_limit, settings.angle_excess_sigma
            eyes = limited(4, settings.eye_sigma, -limit, limit, excess).reshape(2, 2)
            apart = (eyes[0] - eyes[1]) / settings.eye_difference_sigma
            if rng.random() < np.exp(-0.5 * float(apart @ apart)):
                return eyes

    opening = limited(1, settings.jaw_sigma[0], *settings.jaw_limits, settings.angle_excess_sigma)
    turn = np.array([ROLL, YAW, PITCH]) * np.clip(rng.normal(size=3), -1.5, 1.5)
    focal = settings.focal_ratio * max(SIZE) * np.exp(settings.focal_spread * rng.normal())
    return HeadState(
        shape=coefficients(columns.n_shape, settings.shape_sigma),
        expression=coefficients(columns.n_expression, settings.expression_sigma),
        neck=np.zeros(3),
        jaw=np.append(opening, np.array(settings.jaw_sigma[1:]) * rng.normal(size=2)),
        eyes=gaze(),
        root=Rotation.from_euler("zyx", turn, degrees=True).as_matrix(),
        translation=np.append(rng.uniform(-0.05, 0.05, 2), rng.uniform(-1.0, -0.5)),
        log_focal=float(np.log(focal)),
    )


def noisy_landmarks(
    prepared: Prepared, state: HeadState, settings: LandmarkFitSettings, rng: np.random.Generator
) -> Observation:
    """What a detector with the assumed noise would see."""
    points = np.full((478, 2), np.nan)
    placed = project(landmark_positions(prepared.everything, state), np.exp(state.log_focal), 0.5 * np.array(SIZE))
    points[prepared.all_pairs.seen_rows] = placed[prepared.all_pairs.model_rows]
    seen = Observation(points, "mediapipe478", SIZE)
    targets, _ = start_pose(prepared, seen, settings, focal=float(np.exp(state.log_focal)))
    noise = rng.normal(size=(len(targets.seen), 2))
    points[prepared.pairs.seen_rows] += np.linalg.solve(targets.whitening, noise[..., None])[..., 0]
    return replace(seen, points=points)


def deviations(flame: Flame, prepared: Prepared, fit: Fit, truth: HeadState, ids: np.ndarray) -> dict[str, np.ndarray]:
    """(found - true) / posterior standard deviation."""
    posterior = fit.posterior
    assert posterior is not None
    spread, params = posterior.deviation, expected_params(fit)
    turned = Rotation.from_rotvec(params.root.numpy()) * Rotation.from_matrix(truth.root).inv()
    found = {
        "pose": turned.as_rotvec() / spread["root"],
        "translation": (params.translation.numpy() - truth.translation) / spread["translation"],
        "jaw": (params.jaw.numpy() - truth.jaw)[:1] / spread["jaw"][:1],
        "shape": (params.shape.numpy()[: len(truth.shape)] - truth.shape) / spread["shape"],
        "expression": (params.expression.numpy()[: len(truth.expression)] - truth.expression) / spread["expression"],
    }
    if "log_focal" in spread:
        found["focal"] = (np.log(fit.camera.focal.numpy()[:1]) + posterior.shift[-1] - truth.log_focal) / spread[
            "log_focal"
        ]
    for frame in ("head", "world"):
        apart = 1000.0 * (positions(flame, fit, None, ids, frame) - positions(flame, fit, truth, ids, frame))
        found[f"vertex ({frame})"] = (apart / vertex_deviation(flame, fit, vertices=ids, frame=frame)).ravel()
    return found


def positions(flame: Flame, fit: Fit, truth: HeadState | None, ids: np.ndarray, frame: str) -> np.ndarray:
    """Vertices of the fitted or the true head, metres."""
    import torch

    params = expected_params(fit)
    if truth is not None:
        pad = torch.zeros_like
        shape, expression = pad(params.shape), pad(params.expression)
        shape[: len(truth.shape)] = torch.tensor(truth.shape)
        expression[: len(truth.expression)] = torch.tensor(truth.expression)
        left, right = (torch.tensor(np.append(eye, 0.0)) for eye in truth.eyes)
        root = torch.tensor(Rotation.from_matrix(truth.root).as_rotvec())
        params = replace(
            params, shape=shape, expression=expression, root=root, jaw=torch.tensor(truth.jaw), left_eye=left,
            right_eye=right, translation=torch.tensor(truth.translation),
        )  # fmt: skip
    if frame == "head":
        params = replace(params, root=torch.zeros_like(params.root), translation=torch.zeros_like(params.translation))
    with torch.no_grad():
        return flame(params.to(dtype=torch.float64)).vertices.numpy()[ids]


def coverage(count: int, *, seed: int = 0, focal_known: bool = False) -> dict[str, tuple[float, float]]:
    """Percent of the truth within 1 and within 1.96 standard deviations, by quantity; and the mean noise estimate."""
    import torch

    settings = LandmarkFitSettings(contour_slide_sigma=LandmarkFitSettings().contour_sigma)
    flame = load_flame(dtype=torch.float64)
    sizes = {"n_shape": settings.n_shape, "n_expression": settings.n_expression}
    prepared = prepare(flame, "mediapipe478", **sizes, with_other=False)
    ids = np.asarray(flame.regions["face"])[::40]
    rng, found = np.random.default_rng(seed), list[dict[str, np.ndarray]]()
    noise = []
    for _ in range(count):
        truth = drawn_head(prepared, settings, rng)
        seen = noisy_landmarks(prepared, truth, settings, rng)
        fit = fit_landmarks(
            flame, seen, focal=float(np.exp(truth.log_focal)) if focal_known else None, settings=settings
        )
        found.append(deviations(flame, prepared, fit, truth, ids))
        noise.append(fit.posterior.noise if fit.posterior else np.nan)
    every = {name: np.abs(np.concatenate([row[name] for row in found])) for name in found[0]}
    inside = {n: (100 * float((z < 0.9945).mean()), 100 * float((z < 1.96).mean())) for n, z in every.items()}
    return inside | {"noise": (float(np.mean(noise)), float(np.std(noise)))}


def main() -> int:
    """Run and print."""
    arguments = options(__doc__, quick="30 fits").parse_args()
    count = 30 if arguments.quick else 200
    print(machine(threads="1 BLAS thread in the fit"))
    figures: dict[str, float] = {}
    for known in (False, True):
        print(f"\n{count} fits, focal length {'known' if known else 'estimated'}\n{'':22}{'68 %':>8}{'95 %':>8}")
        for name, (inner, outer) in coverage(count, focal_known=known).items():
            if name == "noise":
                print(f"estimated noise {inner:.3f} +- {outer:.3f} of the assumed")
            else:
                print(f"{name:22}{inner:8.1f}{outer:8.1f}")
            key = f"{name.replace(' ', '_').strip(')').replace('(', '')}_{'known' if known else 'free'}"
            figures |= {f"{key}_68": inner, f"{key}_95": outer}
    write_figures(arguments.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
