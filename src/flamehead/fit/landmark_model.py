"""The landmarks of a FLAME head as a function of its parameters, with the analytic Jacobian.

Skinning is linear in the vertices, so a landmark `sum_k b_k v_k` is a sum over joints of rigidly moved points:

    x = sum_j [ R_j y_j + w_j (p_j - R_j J_j) ] + t,    y_j = sum_k b_k w_kj (template + basis c + pose_basis f)_k

with R_j and p_j the world rotation and position of joint j, J_j its rest position, w_j = sum_k b_k w_kj. The terms of
y_j are built once: nothing of the mesh is left, and a landmark costs the same on a vertex and inside a triangle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from flamehead.assets.model_file import FlameArrays, LandmarkEmbedding
from flamehead.fit._so3 import exp, left_jacobian, skew

__all__ = [
    "Columns",
    "HeadState",
    "LandmarkModel",
    "Posed",
    "bake",
    "build_landmark_model",
    "by_rotations",
    "compiled_landmarks",
    "hangs_on",
    "joint_drift",
    "landmark_points",
    "landmark_positions",
    "pose_joints",
    "rotation_tangents",
]

_NECK, _JAW, _LEFT_EYE, _RIGHT_EYE = 1, 2, 3, 4


@dataclass(frozen=True)
class HeadState:
    """What the fitter solves for, in float64. Rotations are axis-angle, except the root's, which may be any size."""

    shape: Float[np.ndarray, "S"]
    expression: Float[np.ndarray, "E"]
    neck: Float[np.ndarray, "3"]
    jaw: Float[np.ndarray, "3"]
    eyes: Float[np.ndarray, "2 2"]
    """(pitch, yaw) of the left and the right eye: the x and y components of their axis-angle vectors, radians."""
    root: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]
    log_focal: float
    """Logarithm of the focal length in pixels."""

    @staticmethod
    def zeros(n_shape: int, n_expression: int) -> HeadState:
        """The mean head in the rest pose, with a focal length of one pixel."""
        zero = np.zeros
        return HeadState(zero(n_shape), zero(n_expression), zero(3), zero(3), zero((2, 2)), np.eye(3), zero(3), 0.0)

    @property
    def coefficients(self) -> Float[np.ndarray, "C"]:
        """Shape, then expression."""
        return np.concatenate([self.shape, self.expression])

    @property
    def rotations(self) -> Float[np.ndarray, "5 3 3"]:
        """Relative to the parent joint: root, neck, jaw, left eye, right eye."""
        eyes = (exp(np.array([pitch, yaw, 0.0])) for pitch, yaw in self.eyes)
        return np.stack([self.root, exp(self.neck), exp(self.jaw), *eyes])


@dataclass(frozen=True)
class Columns:
    """Which column of a Jacobian belongs to which unknown."""

    n_shape: int
    n_expression: int

    def __len__(self) -> int:
        return self.n_shape + self.n_expression + 16

    def _after_coefficients(self, start: int, stop: int) -> slice:
        offset = self.n_shape + self.n_expression
        return slice(offset + start, offset + stop)

    @property
    def shape(self) -> slice:
        return slice(0, self.n_shape)

    @property
    def expression(self) -> slice:
        return slice(self.n_shape, self.n_shape + self.n_expression)

    @property
    def coefficients(self) -> slice:
        return slice(0, self.n_shape + self.n_expression)

    @property
    def translation(self) -> slice:
        return self._after_coefficients(0, 3)

    @property
    def root(self) -> slice:
        """A small rotation that multiplies the root's matrix from the left."""
        return self._after_coefficients(3, 6)

    @property
    def jaw(self) -> slice:
        return self._after_coefficients(6, 9)

    @property
    def eyes(self) -> slice:
        """Left pitch, left yaw, right pitch, right yaw."""
        return self._after_coefficients(9, 13)

    @property
    def neck(self) -> slice:
        """Last, so that a fitter that keeps the neck straight can cut it off."""
        return self._after_coefficients(13, 16)

    @property
    def rotations(self) -> slice:
        """Root, jaw, eyes and neck."""
        return self._after_coefficients(3, 16)


@dataclass(frozen=True)
class _JointPart:
    """The share of one joint in the landmarks it moves."""

    rows: Int[np.ndarray, "P"] | slice
    """A slice when the joint moves them all, which NumPy adds to faster."""
    template: Float[np.ndarray, "P 3"]
    basis: Float[np.ndarray, "P 3 C"]
    pose_basis: Float[np.ndarray, "P 3 D"]
    weights: Float[np.ndarray, "P"]


@dataclass(frozen=True)
class LandmarkModel:
    """All that FLAME landmarks depend on; see the module's formula."""

    parts: tuple[_JointPart, ...]
    """One per joint, possibly empty."""
    weights: Float[np.ndarray, "L J"]
    joints_template: Float[np.ndarray, "J 3"]
    joints_basis: Float[np.ndarray, "J 3 C"]
    """The joint regressor applied to the bases."""
    parents: tuple[int, ...]
    columns: Columns
    n_landmarks: int
    shares: _Shares | None = None
    """All parts in one piece, for the compiled kernel; see `compiled_landmarks`."""


@dataclass(frozen=True)
class _Shares:
    """The parts of all joints, one after the other."""

    joint: Int[np.ndarray, "P"]
    row: Int[np.ndarray, "P"]
    template: Float[np.ndarray, "P 3"]
    basis: Float[np.ndarray, "P 3 C"]
    pose_basis: Float[np.ndarray, "P 3 D"]
    weights: Float[np.ndarray, "P"]


def compiled_landmarks(model: LandmarkModel) -> LandmarkModel:
    """The same model, evaluated by a compiled kernel: four times as fast, after half a second to load it.

    Worth it for videos. Models that are changed afterwards must be compiled again.
    """
    rows = [np.arange(model.n_landmarks)[part.rows] for part in model.parts]
    joint = np.repeat(np.arange(len(rows)), [len(each) for each in rows])

    def joined(name: str) -> np.ndarray:
        return np.ascontiguousarray(np.concatenate([getattr(part, name) for part in model.parts]), dtype=np.float64)

    shares = _Shares(
        joint, np.concatenate(rows), joined("template"), joined("basis"), joined("pose_basis"), joined("weights")
    )
    return replace(model, shares=shares)


def _evaluate(model: LandmarkModel, state: HeadState, *, derivatives: bool) -> tuple[np.ndarray, np.ndarray]:
    """Points and Jacobian by the kernel; an empty Jacobian if it is not wanted."""
    from flamehead.fit._cpu_landmarks import landmarks_with_jacobian

    shares = model.shares
    assert shares is not None
    points = np.empty((model.n_landmarks, 3))
    jacobian = np.empty((model.n_landmarks if derivatives else 0, 3, len(model.columns)))
    eyes = np.zeros((2, 3))
    eyes[:, :2] = state.eyes
    landmarks_with_jacobian(
        shares.joint, shares.row, shares.template, shares.basis, shares.pose_basis, shares.weights,
        np.ascontiguousarray(model.joints_template), np.ascontiguousarray(model.joints_basis), model.parents,
        state.coefficients, np.ascontiguousarray(state.root), np.stack([state.neck, state.jaw, *eyes]),
        np.ascontiguousarray(state.translation), points, jacobian,
    )  # fmt: skip
    return points, jacobian


def build_landmark_model(
    arrays: FlameArrays, embedding: LandmarkEmbedding, *, n_shape: int, n_expression: int
) -> LandmarkModel:
    """Reduce a FLAME model to some landmarks and its leading components.

    Args:
        arrays: The model.
        embedding: The landmarks.
        n_shape: Leading identity components to keep; at most as many as the model has.
        n_expression: The same for expression components.
    """
    n_shape = min(n_shape, arrays.shape_basis.shape[2])
    n_expression = min(n_expression, arrays.expression_basis.shape[2])
    basis = np.concatenate([arrays.shape_basis[..., :n_shape], arrays.expression_basis[..., :n_expression]], axis=2)
    joints_basis = np.tensordot(arrays.joint_regressor, basis, axes=1)
    corners = arrays.faces[embedding.face_ids]
    weights = np.einsum("lk,lkj->lj", embedding.barycentric, arrays.skin_weights[corners])
    parts = []
    for joint in range(len(arrays.parents)):
        share = embedding.barycentric * arrays.skin_weights[corners, joint]
        rows = np.flatnonzero(np.any(share != 0.0, axis=1))
        share, ids = share[rows], corners[rows]
        template, bases, pose = (
            np.ascontiguousarray(np.einsum("pk,pk...->p...", share, x[ids]))
            for x in (arrays.template, basis, arrays.pose_basis)
        )
        where = slice(None) if len(rows) == len(corners) else rows
        parts.append(_JointPart(where, template, bases, pose, weights[rows, joint]))
    return LandmarkModel(
        parts=tuple(parts),
        weights=weights,
        joints_template=arrays.joint_regressor @ arrays.template,
        joints_basis=joints_basis,
        parents=arrays.parents,
        columns=Columns(n_shape, n_expression),
        n_landmarks=len(embedding.face_ids),
    )


def bake(
    model: LandmarkModel, *, shape: Float[np.ndarray, "S"], expression: Float[np.ndarray, "E"] | None = None
) -> LandmarkModel:
    """Freeze the identity, and the expression if given: the result has no columns for them and is faster."""
    columns = model.columns
    values = shape if expression is None else np.concatenate([shape, expression])
    n = len(values)

    def frozen(part: _JointPart) -> _JointPart:
        template, basis = part.template + part.basis[..., :n] @ values, np.ascontiguousarray(part.basis[..., n:])
        return replace(part, template=template, basis=basis)

    return replace(
        model,
        parts=tuple(frozen(part) for part in model.parts),
        joints_template=model.joints_template + model.joints_basis[..., :n] @ values,
        joints_basis=model.joints_basis[..., n:],
        shares=None,
        columns=Columns(0, columns.n_expression if expression is None else 0),
    )


@dataclass(frozen=True)
class Posed:
    """The joint chain of a state, and each joint's share of the landmarks in the world, translation left out."""

    local: Float[np.ndarray, "J 3 3"]
    rotations: Float[np.ndarray, "J 3 3"]
    """World rotation of each joint."""
    rest: Float[np.ndarray, "J 3"]
    positions: Float[np.ndarray, "J 3"]
    shares: tuple[Float[np.ndarray, "_ 3"], ...]


def pose_joints(model: LandmarkModel, state: HeadState) -> Posed:
    """Evaluate the chain and every part of the landmarks."""
    coefficients, local = state.coefficients, state.rotations
    rest = model.joints_template + model.joints_basis @ coefficients
    feature = (local[1:] - np.eye(3)).reshape(-1)
    rotations, positions = np.empty_like(local), np.empty_like(rest)
    for j, parent in enumerate(model.parents):
        if parent < 0:
            rotations[j], positions[j] = local[j], rest[j]
        else:
            rotations[j] = rotations[parent] @ local[j]
            positions[j] = positions[parent] + rotations[parent] @ (rest[j] - rest[parent])
    shares = []
    for j, part in enumerate(model.parts):
        # Flat products: NumPy would multiply the small matrices of a stack one by one.
        size = part.template.size
        flat = part.basis.reshape(size, coefficients.size) @ coefficients
        flat += part.pose_basis.reshape(size, feature.size) @ feature
        drift = positions[j] - rotations[j] @ rest[j]
        shares.append((part.template + flat.reshape(-1, 3)) @ rotations[j].T + part.weights[:, None] * drift)
    return Posed(local, rotations, rest, positions, tuple(shares))


def _sum_shares(model: LandmarkModel, posed: Posed, state: HeadState) -> Float[np.ndarray, "L 3"]:
    points = np.tile(state.translation, (model.n_landmarks, 1))
    for part, share in zip(model.parts, posed.shares, strict=True):
        points[part.rows] += share
    return points


def landmark_positions(model: LandmarkModel, state: HeadState) -> Float[np.ndarray, "L 3"]:
    """World positions of the landmarks, metres."""
    if model.shares is not None:
        return _evaluate(model, state, derivatives=False)[0]
    return _sum_shares(model, pose_joints(model, state), state)


def landmark_points(
    model: LandmarkModel, state: HeadState
) -> tuple[Float[np.ndarray, "L 3"], Float[np.ndarray, "L 3 N"]]:
    """World positions of the landmarks, metres, and their derivative by every unknown.

    Returns:
        The points, and the Jacobian with the columns of `model.columns`: axis-angle components for neck, jaw and eyes,
        a small rotation from the left for the root.
    """
    if model.shares is not None:
        return _evaluate(model, state, derivatives=True)
    posed, columns = pose_joints(model, state), model.columns
    jacobian = np.empty((model.n_landmarks, 3, len(columns)))
    jacobian[..., columns.coefficients] = _by_coefficients(model, posed)
    jacobian[..., columns.translation] = np.eye(3)
    jacobian[..., columns.rotations] = by_rotations(model, posed, state)
    return _sum_shares(model, posed, state), jacobian


def _by_coefficients(model: LandmarkModel, posed: Posed) -> Float[np.ndarray, "L 3 C"]:
    """dx/dc = sum_j [ R_j dy_j/dc + w_j (dp_j/dc - R_j dJ_j/dc) ]: the bases turn, and the joints move."""
    drift = joint_drift(model, posed)
    flat = drift.reshape(len(drift), drift[0].size)
    out = (model.weights @ flat).reshape(model.n_landmarks, *drift.shape[1:])
    for part, rotation in zip(model.parts, posed.rotations, strict=True):
        out[part.rows] += rotation @ part.basis
    return out


def joint_drift(model: LandmarkModel, posed: Posed) -> Float[np.ndarray, "J 3 C"]:
    """How far each joint carries its points as the coefficients move it: dp_j/dc - R_j dJ_j/dc."""
    rest, moved, drift = model.joints_basis, np.empty_like(model.joints_basis), np.empty_like(model.joints_basis)
    for j, parent in enumerate(model.parents):
        if parent < 0:
            moved[j] = rest[j]
        else:
            moved[j] = moved[parent] + posed.rotations[parent] @ (rest[j] - rest[parent])
        drift[j] = moved[j] - posed.rotations[j] @ rest[j]
    return drift


def by_rotations(model: LandmarkModel, posed: Posed, state: HeadState) -> Float[np.ndarray, "L 3 13"]:
    """Turning joint k by e moves what hangs on it by e x (x - p_k), and every landmark by the pose correctives."""
    tangents = rotation_tangents(state)
    feature = np.zeros((9 * len(posed.local) - 9, 13))
    for joint, columns, tangent in tangents:
        if joint > 0:
            feature[9 * joint - 9 : 9 * joint, columns] = (skew(tangent.T) @ posed.local[joint]).reshape(-1, 9).T
    out = np.zeros((model.n_landmarks, 3, 13))
    for j, part in enumerate(model.parts):
        by_feature = part.pose_basis.reshape(part.template.size, len(feature)) @ feature
        moved = posed.rotations[j] @ by_feature.reshape(*part.template.shape, 13)
        for joint, columns, tangent in tangents:
            if hangs_on(j, joint, model.parents):
                parent = model.parents[joint]
                world = tangent if parent < 0 else posed.rotations[parent] @ tangent
                lever = posed.shares[j] - part.weights[:, None] * posed.positions[joint]
                moved[..., columns] -= skew(lever) @ world
        out[part.rows] += moved
    return out


def rotation_tangents(state: HeadState) -> list[tuple[int, slice, Float[np.ndarray, "3 n"]]]:
    """Joint, its columns within `Columns.rotations`, and its unknowns as small rotations from the left."""
    left, right = (left_jacobian(np.array([pitch, yaw, 0.0]))[:, :2] for pitch, yaw in state.eyes)
    return [
        (0, slice(0, 3), np.eye(3)),
        (_JAW, slice(3, 6), left_jacobian(state.jaw)),
        (_LEFT_EYE, slice(6, 8), left),
        (_RIGHT_EYE, slice(8, 10), right),
        (_NECK, slice(10, 13), left_jacobian(state.neck)),
    ]


def hangs_on(joint: int, ancestor: int, parents: tuple[int, ...]) -> bool:
    """Whether a joint is `ancestor` or one of its descendants."""
    while joint >= 0:
        if joint == ancestor:
            return True
        joint = parents[joint]
    return False
