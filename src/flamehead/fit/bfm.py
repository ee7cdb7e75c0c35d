"""Basel Face Model meshes as FLAME heads.

The correspondence file says where on the Basel mesh many FLAME vertices lie. A head is fitted to these points: with
V0 = matrix @ V, find scale s, translation t, root and jaw rotations and all coefficients that minimise

    sum over ids |s V0 - v|^2 + |1e-3 shape|^2 + |1e-4 expression|^2 + |1e-4 jaw|^2

The objective and its weights are those of the public BFM_to_FLAME conversion; it starts from the closed-form similarity
instead of s = 1, so that the input may have any unit, and is solved by `flamehead.fit._bfm_system`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from flamehead.assets.kinds import BfmCorrespondence, BfmModel, BfmToFlame
from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.fit._bfm_system import BfmState, BfmSystem, build_system, solve
from flamehead.fit._so3 import log
from flamehead.geometry.similarity import align_points
from flamehead.solve import Status, single_threaded_blas

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["BfmConverter", "BfmFit", "bfm_vertices", "convert_bfm", "prepare_bfm", "recognize_bfm"]

_SAME_FACES = 0.9
"""Share of the correspondence's FLAME triangles that the model must have; another topology has none of them."""


@dataclass(frozen=True)
class BfmConverter:
    """What is computed once for a Basel mesh and a FLAME model; see `prepare_bfm`."""

    name: str
    """Which Basel mesh, as in the correspondence: `BFM2017`, `BFM2009` or `BFM2009_cropped`."""
    flame: Flame
    system: BfmSystem


@dataclass(frozen=True)
class BfmFit:
    """A Basel mesh as a FLAME head."""

    params: FlameParams
    """Of the FLAME model, metres; float64."""
    scale: float
    """Metres of the model for each unit of the input."""
    vertices: Float[np.ndarray, "V 3"]
    """The FLAME mesh in the input's own frame and unit."""
    errors: Float[np.ndarray, "N"]
    """Distances of the corresponding points, metres."""
    status: Status
    """Why the solver stopped; `str(status)` is a sentence."""


def recognize_bfm(correspondence: BfmCorrespondence, *, n_vertices: int, n_faces: int | None = None) -> str:
    """Which Basel mesh has so many vertices, and so many triangles where the vertices do not decide.

    Raises:
        InputError: None has.
    """
    fitting = [name for name, found in correspondence.maps.items() if _shape(found)[1] == n_vertices]
    if len(fitting) > 1 and n_faces is not None:
        fitting = [name for name in fitting if len(correspondence.maps[name].input_faces) == n_faces] or fitting
    if not fitting:
        known = ", ".join(f"{name} {_shape(found)[1]}" for name, found in correspondence.maps.items())
        raise InputError(
            f"The mesh has {n_vertices} vertices, but the correspondence knows {known}; give a mesh of one of these "
            "models with all its vertices in their order."
        )
    return fitting[0]


def prepare_bfm(correspondence: BfmCorrespondence, name: str, flame: Flame) -> BfmConverter:
    """Make ready for `convert_bfm`; takes about a second.

    Args:
        correspondence: From `BFM_to_FLAME_corr.npz`.
        name: Which Basel mesh, from `recognize_bfm`.
        flame: The model to convert to; it must have the correspondence's topology, as all official ones have.

    Raises:
        InputError: The correspondence has no such mesh, or belongs to another topology than the model's.
    """
    if name not in correspondence.maps:
        raise InputError(f"There is no Basel mesh {name!r}; the file knows {', '.join(correspondence.maps)}.")
    found = correspondence.maps[name]
    arrays = flame.arrays
    n_vertices = len(arrays.template)
    if _shape(found)[0] != n_vertices or not _same_topology(found.output_faces, arrays.faces, n_vertices):
        raise InputError(
            f"The correspondence is for FLAME's mesh, and that of {arrays.source} is another; name a FLAME model with "
            "--model."
        )
    # Vertices without a partner would pull to the origin.
    filled = np.asarray(abs(found.matrix).sum(axis=1)).reshape(-1) > 0.0
    ids = correspondence.flame_ids[filled[correspondence.flame_ids]]
    if len(ids) < 100:
        raise InputError(f"The correspondence has {len(ids)} points, wanted 100 or more; download the file again.")
    with single_threaded_blas():
        return BfmConverter(name, flame, build_system(arrays, ids, found.matrix[ids]))


def convert_bfm(vertices: Float[np.ndarray, "B 3"], converter: BfmConverter) -> BfmFit:
    """Fit a FLAME head to a Basel mesh.

    Args:
        vertices: All vertices of the Basel mesh in its order, in any unit and place.
        converter: From `prepare_bfm`.

    Raises:
        InputError: Another number of vertices than the Basel mesh has, or coordinates that are not finite.
    """
    system = converter.system
    points = np.asarray(vertices, dtype=np.float64)
    if points.shape != (system.n_inputs, 3) or not np.isfinite(points).all():
        raise InputError(
            f"The mesh has vertices {points.shape}, some perhaps NaN, wanted ({system.n_inputs}, 3) for "
            f"{converter.name}; give the whole mesh."
        )
    targets = np.asarray(system.matrix @ points)
    start = BfmState(align_points(targets, system.template), np.zeros(3), np.zeros(system.n_coefficients))
    with single_threaded_blas():
        state, residuals, status = solve(system, targets, start)
    params = _params(converter, state)
    dtype = converter.flame.template.dtype
    with torch.no_grad():
        placed = converter.flame(params.to(dtype=dtype, device=converter.flame.template.device)).vertices
    scale = state.placed.scale
    return BfmFit(
        params,
        scale,
        placed.double().cpu().numpy() / scale,
        np.linalg.norm(residuals.reshape(-1, 3), axis=1),
        status,
    )


def bfm_vertices(
    model: BfmModel, shape: Float[np.ndarray, "S"], expression: Float[np.ndarray, "E"] | None = None
) -> Float[np.ndarray, "B 3"]:
    """The Basel mesh of coefficient vectors, metres.

    Args:
        model: From `read_bfm`.
        shape: In standard deviations; missing trailing ones are zero.
        expression: The same, for the model of 2017.

    Raises:
        InputError: More coefficients than the model has, or expressions for a model without.
    """
    vertices = model.shape_mean.astype(np.float64) + _moved_by(model.shape_basis, shape, "shape")
    if model.expression_mean is not None:
        vertices += model.expression_mean
    if expression is not None and np.any(expression):
        if model.expression_basis is None:
            raise InputError(f"The Basel Face Model {model.release} has no expressions; leave those coefficients out.")
        vertices += _moved_by(model.expression_basis, expression, "expression")
    return vertices


def _moved_by(
    basis: Float[np.ndarray, "B 3 K"], coefficients: Float[np.ndarray, "C"], what: str
) -> Float[np.ndarray, "B 3"]:
    values = np.asarray(coefficients, dtype=np.float64).reshape(-1)
    if len(values) > basis.shape[2] or not np.isfinite(values).all():
        raise InputError(
            f"There are {len(values)} {what} coefficients, some perhaps NaN, and the model has {basis.shape[2]}; give "
            "finite ones, that many at most."
        )
    return basis[..., : len(values)] @ values


def _params(converter: BfmConverter, state: BfmState) -> FlameParams:
    """The state as parameters: FLAME turns the root about its joint, the solver about the origin."""
    n_shape = converter.flame.arrays.shape_basis.shape[2]
    shape, expression = state.coefficients[:n_shape], state.coefficients[n_shape:]
    joint = converter.system.root + converter.system.root_basis @ state.coefficients
    root = state.placed.rotation.T
    translation = -root @ state.placed.translation + root @ joint - joint
    zeros = FlameParams.zeros(n_shape, len(expression), dtype=torch.float64)
    return FlameParams(
        torch.from_numpy(shape.copy()),
        torch.from_numpy(expression.copy()),
        torch.from_numpy(log(root)),
        zeros.neck,
        torch.from_numpy(state.jaw.copy()),
        zeros.left_eye,
        zeros.right_eye,
        torch.from_numpy(translation),
    )


def _same_topology(some: np.ndarray, faces: np.ndarray, n_vertices: int) -> bool:
    """Whether most of some triangles are among the faces, in any order of their corners."""

    def keys(triangles: np.ndarray) -> np.ndarray:
        a, b, c = np.sort(np.asarray(triangles, dtype=np.int64), axis=1).T
        return (a * n_vertices + b) * n_vertices + c

    return bool(np.isin(keys(some), keys(faces)).mean() >= _SAME_FACES)


def _shape(found: BfmToFlame) -> tuple[int, int]:
    """FLAME's vertices and the Basel mesh's; the types of older SciPy allow a matrix without a shape."""
    shape: Any = found.matrix.shape
    return shape
