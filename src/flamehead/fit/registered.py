"""Parameters of meshes that have FLAME's own topology: one, or a sequence of one person."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.fit._belief import HeadBelief, head_prior
from flamehead.fit._states import Placed, moved_placed, to_params
from flamehead.fit.landmark_model import Columns, HeadState
from flamehead.fit.scan_units import nearest_unit
from flamehead.fit.surface_model import SurfaceModel, build_surface_model, pose_surface, surface_rows
from flamehead.geometry.similarity import align_points
from flamehead.solve import Solution, Status, levenberg_marquardt, single_threaded_blas

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["RegisteredFit", "RegisteredFitSettings", "fit_registered"]


@dataclass(frozen=True)
class RegisteredFitSettings:
    """What a fit to registered meshes believes."""

    sigma: float = 3e-4
    """Standard deviation of a coordinate of a vertex, metres; the smaller, the less the priors count."""
    belief: HeadBelief = field(
        default_factory=lambda: HeadBelief(
            coefficient_limit=10.0,
            jaw_sigma=(0.5, 0.2, 0.2),
            jaw_limits=(-0.3, 1.0),
            eye_sigma=0.5,
            eye_limit=1.0,
            neck_sigma=0.3,
        )
    )
    """Wide, as the mesh says nearly everything."""
    cost_tolerance: float = 1e-4
    """Stop when a step lowers the cost by less than this fraction."""
    max_iterations: int = 20


@dataclass(frozen=True)
class RegisteredFit:
    """Parameters of registered meshes."""

    params: FlameParams
    """In metres; with a leading axis of frames for a sequence. `flame(params).vertices / scale` are the meshes."""
    scale: float
    """Metres per unit of the meshes."""
    statuses: tuple[Status, ...]
    """One for each frame."""
    errors: Float[np.ndarray, "T"]
    """Mean distance of the vertices of each frame, metres."""
    fingerprint: str


@single_threaded_blas()
def fit_registered(
    flame: Flame,
    vertices: Float[np.ndarray, "*frames V 3"],
    *,
    scale: float | None = 1.0,
    settings: RegisteredFitSettings | None = None,
) -> RegisteredFit:
    """Find the parameters of meshes whose vertices correspond to the model's.

    A similarity and a ridge regression in closed form, then Levenberg-Marquardt over everything. In a sequence each
    frame is fitted first with an identity of its own, warm-started by the frame before; then with the mean of these
    identities, the same for all.

    Args:
        flame: The model.
        vertices: One mesh (V, 3), or frames (T, V, 3) of one person.
        scale: Metres per unit; None guesses m, cm or mm from the size of the first mesh.
        settings: Priors and tolerances.

    Raises:
        InputError: The meshes have another number of vertices, are not finite, or the scale is not positive.

    Example:
        >>> fit = fit_registered(load_flame(), read_mesh("registered.ply").vertices)  # doctest: +SKIP
        >>> fit.errors  # doctest: +SKIP
        array([8.1e-05])
    """
    settings = settings or RegisteredFitSettings()
    frames = _checked(flame, vertices)
    if scale is not None and not (math.isfinite(scale) and scale > 0.0):
        raise InputError(f"The scale is {scale}; give the metres per unit, 0.001 for mm, or None to find it.")
    model = build_surface_model(flame.arrays, n_shape=flame.n_shape, n_expression=flame.n_expression)
    if scale is None:
        _, scale = nearest_unit(1.0 / align_points(model.template, frames[0]).scale)
    frames = scale * frames
    heads, statuses, errors = _fit_frames(model, frames, settings)
    params = [to_params(flame, head) for head in heads]
    stacked = FlameParams(*(torch.stack([getattr(p, f.name) for p in params]) for f in fields(FlameParams)))
    return RegisteredFit(
        params[0] if np.ndim(vertices) == 2 else stacked,
        scale,
        statuses,
        errors,
        flame.fingerprint,
    )


def _fit_frames(
    model: SurfaceModel, frames: Float[np.ndarray, "T V 3"], settings: RegisteredFitSettings
) -> tuple[list[HeadState], tuple[Status, ...], Float[np.ndarray, "T"]]:
    """Each frame on its own, then, where there are several, all again with the mean of their identities."""
    solutions: list[Solution[Placed]] = []
    for frame in frames[:: max(1, len(frames) // 20)]:
        start = solutions[-1].state.head if solutions else _closed_form(model, frame)
        solutions.append(_solve(model, frame, _aligned(model, start, frame), settings))
    shape = np.zeros(0)
    if len(frames) > 1:
        shape = np.mean([solution.state.head.shape for solution in solutions], axis=0)
        model, head = _with_shape(model, shape), replace(solutions[0].state.head, shape=np.zeros(0))
        solutions = []
        for frame in frames:
            solutions.append(_solve(model, frame, _aligned(model, head, frame), settings))
            head = solutions[-1].state.head
    found = [solution.state.head for solution in solutions]
    missed = [pose_surface(model, head).vertices - frame for head, frame in zip(found, frames, strict=True)]
    errors = np.array([np.linalg.norm(offset, axis=1).mean() for offset in missed])
    heads = [replace(head, shape=np.append(shape, head.shape)) for head in found]
    return heads, tuple(solution.status for solution in solutions), errors


def _checked(flame: Flame, vertices: Float[np.ndarray, "*frames V 3"]) -> Float[np.ndarray, "T V 3"]:
    frames, wanted = np.asarray(vertices, dtype=np.float64), (len(flame.arrays.template), 3)
    if frames.ndim not in (2, 3) or frames.shape[-2:] != wanted or not len(frames):
        raise InputError(
            f"The meshes have shape {frames.shape}, wanted (V, 3) or (T, V, 3) with the {wanted[0]} vertices of "
            f"{flame.arrays.source}; a mesh of another topology is a scan: use `fit_scan`."
        )
    if not np.isfinite(frames).all():
        raise InputError("The meshes hold NaN or infinite coordinates; leave those frames out.")
    return frames.reshape(-1, *wanted)


def _closed_form(model: SurfaceModel, target: Float[np.ndarray, "V 3"]) -> HeadState:
    """The pose of the mean head, then the coefficients that explain the rest in that pose."""
    columns = model.columns
    found = align_points(model.template, target, scaled=False)
    at_rest = (target - found.translation) @ found.rotation
    rest = (at_rest - model.template).reshape(-1)
    normal = model.basis.T @ model.basis
    # The ridge of the prior under an error of a millimetre.
    normal[np.diag_indices_from(normal)] += 1e-6
    c = np.linalg.solve(normal, model.basis.T @ rest)
    joints = model.joints_template + model.joints_basis @ c
    pivot = joints[0]
    zeros = HeadState.zeros(columns.n_shape, columns.n_expression)
    return replace(
        zeros,
        shape=c[columns.shape],
        expression=c[columns.expression],
        root=found.rotation,
        translation=found.translation + found.rotation @ pivot - pivot,
    )


def _aligned(model: SurfaceModel, state: HeadState, target: Float[np.ndarray, "V 3"]) -> HeadState:
    """The same face, moved rigidly onto a mesh: two frames may look into different directions."""
    found = align_points(pose_surface(model, state).vertices, target, scaled=False)
    pivot = model.joints_template[0] + model.joints_basis[0] @ state.coefficients
    moved = found.rotation @ (pivot + state.translation) + found.translation - pivot
    return replace(state, root=found.rotation @ state.root, translation=moved)


def _with_shape(model: SurfaceModel, shape: Float[np.ndarray, "S"]) -> SurfaceModel:
    """The model with an identity built in: it has no columns for shape."""
    n = len(shape)
    return replace(
        model,
        template=model.template + (model.basis[:, :n] @ shape).reshape(-1, 3),
        basis=np.ascontiguousarray(model.basis[:, n:]),
        joints_template=model.joints_template + model.joints_basis[..., :n] @ shape,
        joints_basis=np.ascontiguousarray(model.joints_basis[..., n:]),
        columns=Columns(0, model.columns.n_expression),
    )


def _solve(
    model: SurfaceModel, target: Float[np.ndarray, "V 3"], start: HeadState, settings: RegisteredFitSettings
) -> Solution[Placed]:
    columns, prior = model.columns, head_prior(model.columns, settings.belief)
    n, size = len(columns), len(target)
    # Each vertex, once for each axis, as a corner of weight one.
    corners = np.repeat(np.arange(size), 3)[:, None] * np.ones((1, 3), dtype=np.int64)
    barycentric = np.tile([1.0, 0.0, 0.0], (3 * size, 1))
    axes = np.tile(np.eye(3) / settings.sigma, (size, 1))

    def residuals(placed: Placed) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M N"]]:
        posed = pose_surface(model, placed.head)
        believed, prior_rows = prior(placed.head)
        rows = np.empty((3 * size + len(believed), n))
        rows[: 3 * size] = surface_rows(model, posed, corners, barycentric, axes)
        rows[3 * size :] = prior_rows
        return np.concatenate([((posed.vertices - target) / settings.sigma).reshape(-1), believed]), rows

    return levenberg_marquardt(
        residuals,
        Placed(start, 0.0),
        retract=lambda placed, step: moved_placed(placed, np.append(step, 0.0), columns, np.zeros(3)),
        cost_tolerance=settings.cost_tolerance,
        max_iterations=settings.max_iterations,
    )
