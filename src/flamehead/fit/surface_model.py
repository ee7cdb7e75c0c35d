"""The whole surface of a FLAME head as a function of its parameters, with the analytic Jacobian of points on it.

The same unknowns and columns as `landmark_model`, but for thousands of surface points that change from one evaluation
to the next. A fit to a surface needs the derivative of each point along one direction only,

    n . dx/dc = sum_k b_k (M_k^T n) . B_k + sum_j w_j n . (dp_j/dc - R_j dJ_j/dc),    M_k = sum_j w_kj R_j

which is a sparse matrix of nine numbers per row times the basis: no Jacobian of the vertices is ever built.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from flamehead.assets.model_file import FlameArrays
from flamehead.fit._so3 import skew
from flamehead.fit.landmark_model import Columns, HeadState, hangs_on, rotation_tangents

__all__ = ["PosedSurface", "SurfaceModel", "build_surface_model", "pose_surface", "surface_rows"]


@dataclass(frozen=True)
class SurfaceModel:
    """A FLAME model with its leading components, laid out for products with sparse matrices."""

    template: Float[np.ndarray, "V 3"]
    basis: Float[np.ndarray, "V3 C"]
    pose_basis: Float[np.ndarray, "V3 P"]
    weights: Float[np.ndarray, "V J"]
    joints_template: Float[np.ndarray, "J 3"]
    joints_basis: Float[np.ndarray, "J 3 C"]
    parents: tuple[int, ...]
    columns: Columns
    faces: Int[np.ndarray, "F 3"]


@dataclass(frozen=True)
class PosedSurface:
    """A head in a state, and what the derivatives need."""

    vertices: Float[np.ndarray, "V 3"]
    """World, metres."""
    blend: Float[np.ndarray, "V 3 3"]
    """M: turns displacements at rest into the world."""
    by_rotations: Float[np.ndarray, "V 3 13"]
    """Columns of `Columns.rotations`."""
    drift: Float[np.ndarray, "J 3 C"]
    """dp_j/dc - R_j dJ_j/dc."""


_HELD: list[tuple[weakref.ref, int, int, SurfaceModel]] = []


def build_surface_model(arrays: FlameArrays, *, n_shape: int, n_expression: int) -> SurfaceModel:
    """Lay out a model for surface fits; the last two results are kept.

    Args:
        arrays: The model.
        n_shape: Leading identity components to keep; at most as many as the model has.
        n_expression: The same for expression components.
    """
    n_shape = min(n_shape, arrays.shape_basis.shape[2])
    n_expression = min(n_expression, arrays.expression_basis.shape[2])
    for owner, s, e, held in list(_HELD):
        if owner() is arrays and (s, e) == (n_shape, n_expression):
            return held
    basis = np.concatenate([arrays.shape_basis[..., :n_shape], arrays.expression_basis[..., :n_expression]], axis=2)
    size = 3 * len(arrays.template)
    flat = np.ascontiguousarray(basis.reshape(size, -1))
    joints = (arrays.joint_regressor @ basis.reshape(len(arrays.template), -1)).reshape(-1, 3, basis.shape[2])
    model = SurfaceModel(
        template=arrays.template,
        basis=flat,
        pose_basis=np.ascontiguousarray(arrays.pose_basis.reshape(size, -1)),
        weights=arrays.skin_weights,
        joints_template=arrays.joint_regressor @ arrays.template,
        joints_basis=joints,
        parents=arrays.parents,
        columns=Columns(n_shape, n_expression),
        faces=arrays.faces,
    )
    _HELD.append((weakref.ref(arrays), n_shape, n_expression, model))
    # Each holds some 50 MB.
    del _HELD[:-2]
    return model


def pose_surface(model: SurfaceModel, state: HeadState) -> PosedSurface:
    """Evaluate all vertices and the small part of their derivatives."""
    coefficients, local = state.coefficients, state.rotations
    rest_joints = model.joints_template + model.joints_basis @ coefficients
    rotations, positions, drift = _chain(model, local, rest_joints)
    feature = (local[1:] - np.eye(3)).reshape(-1)
    rest = model.template + (model.basis @ coefficients + model.pose_basis @ feature).reshape(-1, 3)
    blend = (model.weights @ rotations.reshape(len(rotations), 9)).reshape(-1, 3, 3)
    offset = model.weights @ (positions - np.einsum("jab,jb->ja", rotations, rest_joints))
    vertices = np.einsum("vab,vb->va", blend, rest) + offset + state.translation
    by_rotations = _by_rotations(model, state, rotations, positions, rest_joints, rest, blend)
    return PosedSurface(vertices, blend, by_rotations, drift)


def surface_rows(
    model: SurfaceModel,
    posed: PosedSurface,
    corners: Int[np.ndarray, "N 3"],
    barycentric: Float[np.ndarray, "N 3"],
    directions: Float[np.ndarray, "N 3"],
) -> Float[np.ndarray, "N K"]:
    """Derivative of `directions . points` by every unknown, the points fixed on their triangles.

    Args:
        model: The head.
        posed: Its state.
        corners: Vertex ids of each point's triangle.
        barycentric: Its place there.
        directions: World directions; need not have unit length.

    Returns:
        One row for each point, with the columns of `model.columns`.
    """
    n, columns = len(corners), model.columns
    rows = np.empty((n, len(columns)))
    pulled = np.einsum("nkab,na->nkb", posed.blend[corners], directions) * barycentric[:, :, None]
    where = (3 * corners[:, :, None] + np.arange(3)).reshape(-1)
    sparse = csr_array((pulled.reshape(-1), where, np.arange(0, 9 * n + 1, 9)), shape=(n, len(model.basis)))
    weights = np.einsum("nk,nkj->nj", barycentric, model.weights[corners])
    by_joint = (weights[:, :, None] * directions[:, None, :]).reshape(n, -1)
    rows[:, columns.coefficients] = sparse @ model.basis
    rows[:, columns.coefficients] += by_joint @ posed.drift.reshape(by_joint.shape[1], -1)
    rows[:, columns.translation] = directions
    turned = np.einsum("na,nkac->nkc", directions, posed.by_rotations[corners])
    rows[:, columns.rotations] = np.einsum("nk,nkc->nc", barycentric, turned)
    return rows


def _chain(
    model: SurfaceModel, local: Float[np.ndarray, "J 3 3"], rest: Float[np.ndarray, "J 3"]
) -> tuple[Float[np.ndarray, "J 3 3"], Float[np.ndarray, "J 3"], Float[np.ndarray, "J 3 C"]]:
    """World rotations and positions of the joints, and how the joints move with the coefficients."""
    rotations, positions = np.empty_like(local), np.empty_like(rest)
    basis, moved = model.joints_basis, np.empty_like(model.joints_basis)
    drift = np.empty_like(basis)
    for j, parent in enumerate(model.parents):
        if parent < 0:
            rotations[j], positions[j], moved[j] = local[j], rest[j], basis[j]
        else:
            rotations[j] = rotations[parent] @ local[j]
            positions[j] = positions[parent] + rotations[parent] @ (rest[j] - rest[parent])
            moved[j] = moved[parent] + rotations[parent] @ (basis[j] - basis[parent])
        drift[j] = moved[j] - rotations[j] @ basis[j]
    return rotations, positions, drift


def _by_rotations(
    model: SurfaceModel,
    state: HeadState,
    rotations: Float[np.ndarray, "J 3 3"],
    positions: Float[np.ndarray, "J 3"],
    rest_joints: Float[np.ndarray, "J 3"],
    rest: Float[np.ndarray, "V 3"],
    blend: Float[np.ndarray, "V 3 3"],
) -> Float[np.ndarray, "V 3 13"]:
    """Turning joint k by e moves what hangs on it by e x (x - p_k), and every vertex by the pose correctives."""
    tangents, local = rotation_tangents(state), state.rotations
    feature = np.zeros((9 * len(local) - 9, 13))
    for joint, columns, tangent in tangents:
        if joint > 0:
            feature[9 * joint - 9 : 9 * joint, columns] = (skew(tangent.T) @ local[joint]).reshape(-1, 9).T
    out = np.einsum("vab,vbc->vac", blend, (model.pose_basis @ feature).reshape(-1, 3, 13))
    for joint, columns, tangent in tangents:
        parent = model.parents[joint]
        world = tangent if parent < 0 else rotations[parent] @ tangent
        moving = [j for j in range(len(model.parents)) if hangs_on(j, joint, model.parents)]
        weights = model.weights[:, moving]
        turn = (weights @ rotations[moving].reshape(-1, 9)).reshape(-1, 3, 3)
        shift = positions[moving] - np.einsum("jab,jb->ja", rotations[moving], rest_joints[moving]) - positions[joint]
        lever = np.einsum("vab,vb->va", turn, rest) + weights @ shift
        out[..., columns] -= skew(lever) @ world
    return out
