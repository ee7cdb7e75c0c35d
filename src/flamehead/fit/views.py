"""Fit one head to photos whose cameras are known: one identity, expression and pose in the world of the cameras."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from flamehead.data import Camera, Fit, Observation, Posterior
from flamehead.errors import InputError
from flamehead.fit._check_cameras import check_cameras
from flamehead.fit._correspondence import OUTER_EYE_CORNERS, rows_of
from flamehead.fit._prepare import Prepared, prepare
from flamehead.fit.landmark_model import HeadState, landmark_points, landmark_positions
from flamehead.fit.landmarks import (
    LandmarkFitSettings,
    believed,
    fit_of,
    landmark_losses,
    landmark_terms,
    moved,
    start_pose,
)
from flamehead.fit.residuals import CAMERA_FROM_MODEL, ImageTargets, project_residuals
from flamehead.fit.uncertainty import System, doubts, linearize, natural_columns, posterior_of
from flamehead.formats import CalibratedCamera, undistort
from flamehead.geometry.similarity import align_points
from flamehead.solve import RobustBlock, Solution, Status, levenberg_marquardt, single_threaded_blas

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["ViewsFit", "fit_views"]


@dataclass(frozen=True)
class ViewsFit:
    """One head in several calibrated photos."""

    fits: tuple[Fit, ...]
    """One per photo: the same parameters, in the world of the cameras (metres), and the photo's camera. Landmarks are
    in pixels of the photo without its lens's distortion."""
    metres_per_unit: float
    """Scale from the cameras' world to that of the fits; 1 where the cameras are metric."""
    status: Status
    loss: float


@dataclass(frozen=True)
class _State:
    head: HeadState
    log_scale: float
    """Logarithm of metres per unit of the cameras."""


@dataclass(frozen=True)
class _Views:
    """The problem: landmarks in several cameras, in units of the focal length."""

    prepared: Prepared
    cameras: tuple[CalibratedCamera, ...]
    targets: tuple[ImageTargets, ...]
    settings: LandmarkFitSettings
    free_scale: bool

    def residuals(self, state: _State) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M N"]]:
        """Landmarks of all photos, then beliefs; the columns of `moved`, and the scale's last if it is free."""
        columns = self.prepared.model.columns
        n, scale = columns.eyes.stop, math.exp(state.log_scale)
        points, jacobian = landmark_points(self.prepared.model, state.head)
        by_scale = np.zeros((len(points), 3, 1))
        residuals, rows = [], []
        for camera, targets in zip(self.cameras, self.targets, strict=True):
            # The axes of the solver's camera: y up, looking along -z.
            turn = CAMERA_FROM_MODEL @ camera.rotation
            place = CAMERA_FROM_MODEL @ camera.translation * scale
            by_scale[:] = place[:, None]
            inside = np.concatenate([turn @ jacobian[..., :n], by_scale], axis=2)
            r, part = project_residuals(points @ turn.T + place, inside, targets, log_focal=0.0)
            residuals.append(r)
            rows.append(part[:, : n + self.free_scale])
        prior, prior_rows = believed(columns, self.settings)(state.head)
        rows.append(np.pad(prior_rows, ((0, 0), (0, self.free_scale))))
        return np.concatenate([*residuals, prior]), np.concatenate(rows)

    def retract(self, state: _State, step: Float[np.ndarray, "N"]) -> _State:
        n = self.prepared.model.columns.eyes.stop
        head = moved(state.head, step[:n], self.prepared.model.columns)
        return _State(head, state.log_scale + float(step[n:].sum()))

    @property
    def losses(self) -> tuple[RobustBlock, ...]:
        """One block over the landmarks of all photos, which stand before the beliefs."""
        seen, whitening = (np.concatenate([getattr(t, name) for t in self.targets]) for name in ("seen", "whitening"))
        whole = ImageTargets(seen, whitening, np.zeros(2))
        return landmark_losses(whole, self.settings)

    def system(self, state: _State) -> System:
        """Around a state."""
        residuals, jacobian = self.residuals(state)
        whitening = np.concatenate([t.whitening for t in self.targets])
        seen, terms = landmark_terms(self.prepared, whitening, len(residuals), views=len(self.targets))
        return linearize(residuals, jacobian, seen, terms, self.losses)


@single_threaded_blas()
def fit_views(
    flame: Flame,
    seen: Sequence[Observation],
    cameras: Sequence[CalibratedCamera],
    *,
    metric: bool = True,
    settings: LandmarkFitSettings | None = None,
) -> ViewsFit:
    """Find the one head that explains the landmarks in several calibrated photos taken at the same moment.

    Before anything is solved, triangulated landmarks tell whether the cameras are meant as they are read: camera to
    world, OpenGL's axes, another resolution and other units are recognised and named.

    Args:
        flame: The model.
        seen: Landmarks in each photo, all of the same scheme.
        cameras: One per photo, in the same order.
        metric: Whether the cameras are in metres. False estimates their scale, which only the usual size of heads
            tells: to about 5 %.
        settings: Priors and tolerances; those of the focal length are not used.

    Raises:
        InputError: Fewer than two photos, another number of cameras, different schemes, landmarks that cannot be used,
            or cameras that do not fit them: the sentence says why.
        AssetNotFound: The model has no landmarks that match.

    Example:
        >>> rig = read_camera_rig("cameras.json")  # doctest: +SKIP
        >>> fit_views(flame, [seen_a, seen_b], [rig.of("a.jpg"), rig.of("b.jpg")])  # doctest: +SKIP
    """
    settings = settings or LandmarkFitSettings()
    _check(seen, cameras)
    prepared = prepare(
        flame,
        seen[0].scheme,
        n_shape=settings.n_shape,
        n_expression=settings.n_expression,
        with_other=settings.other_sigma is not None,
    )
    straight = [replace(one, points=undistort(one.points, camera)) for one, camera in zip(seen, cameras, strict=True)]
    corners = rows_of(seen[0].scheme, OUTER_EYE_CORNERS)
    world = check_cameras(
        cameras,
        np.stack([one.points for one in straight]),
        sizes=[one.size for one in seen],
        eyes=(int(corners[0]), int(corners[1])),
        eye_distance=prepared.eye_distance,
        metric=metric,
    )
    targets = tuple(_targets(prepared, one, camera, settings) for one, camera in zip(straight, cameras, strict=True))
    problem = _Views(prepared, tuple(cameras), targets, settings, not metric)
    solution = levenberg_marquardt(
        problem.residuals,
        _start(prepared, world, metric=metric),
        retract=problem.retract,
        robust=problem.losses,
        cost_tolerance=settings.cost_tolerance,
        max_iterations=settings.max_iterations,
    )
    scale = math.exp(solution.state.log_scale)
    fits = tuple(_fit_of(flame, problem, solution, one, k, scale) for k, one in enumerate(straight))
    return ViewsFit(fits, scale, solution.status, solution.cost)


def _check(seen: Sequence[Observation], cameras: Sequence[CalibratedCamera]) -> None:
    if len(seen) < 2 or len(seen) != len(cameras):
        raise InputError(f"Got {len(seen)} photos and {len(cameras)} cameras; give two or more, and as many of each.")
    schemes = sorted({one.scheme for one in seen})
    if len(schemes) > 1:
        raise InputError(
            f"The photos have landmarks of different schemes ({', '.join(schemes)}); give the same for all."
        )


def _targets(
    prepared: Prepared, seen: Observation, camera: CalibratedCamera, settings: LandmarkFitSettings
) -> ImageTargets:
    """Landmarks in units of the focal length, with the trust that a fit to this photo alone would give them."""
    focal, center = camera.matrix[[0, 1], [0, 1]], camera.matrix[:2, 2]
    pixels, _ = start_pose(prepared, seen, settings, focal=float(focal.mean()))
    visible = pixels.whitening.any(axis=(1, 2))
    rays = np.where(visible[:, None], (pixels.seen - center) / focal, 0.0)
    return ImageTargets(rays, pixels.whitening * focal, np.zeros(2))


def _start(prepared: Prepared, world: Float[np.ndarray, "L 3"], *, metric: bool) -> _State:
    """The mean head where the triangulated landmarks are; the outline has no fixed place and is left out."""
    points = world[prepared.pairs.seen_rows]
    known = np.isfinite(points).all(axis=1) & ~prepared.pairs.is_kind("contour")
    if known.sum() < 4:
        raise InputError(
            f"Only {int(known.sum())} landmarks were seen in two photos, wanted at least 4; give photos that overlap."
        )
    found = align_points(prepared.mean_points[known], points[known], scaled=not metric)
    turn, place, pivot = found.rotation, found.translation / found.scale, prepared.pivot
    zeros = HeadState.zeros(prepared.model.columns.n_shape, prepared.model.columns.n_expression)
    head = replace(zeros, root=turn, translation=place + turn @ pivot - pivot)
    return _State(head, -math.log(found.scale))


def _fit_of(flame: Flame, problem: _Views, solution: Solution[_State], seen: Observation, k: int, scale: float) -> Fit:
    """The head in the world, with the camera of one photo."""
    prepared, like, camera = problem.prepared, flame.template, problem.cameras[k]
    head = Solution(solution.state.head, solution.status, solution.cost, solution.cost_history)

    def tensor(value: Float[np.ndarray, "..."]) -> torch.Tensor:
        return torch.as_tensor(value).to(dtype=like.dtype, device=like.device)

    focal, center = camera.matrix[[0, 1], [0, 1]], camera.matrix[:2, 2]
    lens = Camera(tensor(camera.rotation), tensor(scale * camera.translation), tensor(focal), tensor(center), seen.size)
    x = landmark_positions(prepared.everything, head.state) @ camera.rotation.T + scale * camera.translation
    depth = np.where(x[:, 2] > 0.0, x[:, 2], np.nan)[:, None]
    placed = focal * x[:, :2] / depth + center
    fitted = np.full(seen.points.shape, np.nan)
    fitted[prepared.all_pairs.seen_rows] = placed[prepared.all_pairs.model_rows]
    found = fit_of(flame, seen, prepared, head)
    return replace(
        found, camera=lens, fitted=fitted, evidence=partial(_posterior, problem, solution.state, placed, k, seen.size)
    )


def _posterior(
    problem: _Views, state: _State, placed: Float[np.ndarray, "L 2"], k: int, size: tuple[int, int]
) -> Posterior:
    """What all photos together know; warnings are about one of them."""
    columns = natural_columns(problem.prepared.model.columns, free_focal=False)
    stop = problem.prepared.model.columns.eyes.stop
    named: Mapping[str, slice] = columns | ({"log_scale": slice(stop, stop + 1)} if problem.free_scale else {})
    units = np.eye(stop + problem.free_scale)
    found = posterior_of(problem.system(state), lambda step: problem.system(problem.retract(state, step)), units, named)
    spreads = {"jaw": problem.settings.jaw_sigma[0]}
    return replace(found, warnings=doubts(found, placed, problem.targets[k], size=size, believed=spreads))
