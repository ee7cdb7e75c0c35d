"""Joints, skinning weights and pose correctives of the built-in head. Centimetres inside this room."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.optimize import nnls
from scipy.sparse.linalg import splu

from flamehead.builtin.fields import bump, mirrored, step
from flamehead.builtin.mesh import EYE_RADIUS, HeadMesh
from flamehead.builtin.sampling import HEAD_VERTICES

__all__ = ["joint_positions", "joint_regressor", "pose_basis", "skin_weights"]

_BALL = 546
_LID_STEP = 1.3
"""How far lids step off the ball per unit of 1 - cos of the gaze's pitch, cm."""


def joint_positions(mesh: HeadMesh) -> Float[np.ndarray, "5 3"]:
    """Root at the base of the neck, neck at the skull's base, jaw between the condyles, eyes in the balls' centres."""
    return np.concatenate([[[0.0, -14.0, -6.8], [0.0, -8.5, -6.2], [0.0, -0.6, -2.2]], mesh.eye_centers])


def joint_regressor(mesh: HeadMesh, joints: Float[np.ndarray, "5 3"]) -> Float[np.ndarray, "5 V"]:
    """Joints as weighted means of vertices: rings of skin around root, neck and jaw, the balls for the eyes."""
    v = mesh.vertices
    out = np.zeros((5, len(v)))
    skin = np.ones(len(v), bool)
    skin[np.concatenate([mesh.socket, mesh.mouth_bag, np.arange(HEAD_VERTICES, len(v))])] = False
    near = {0: (np.abs(v[:, 1] + 14.0) < 1.6), 1: (np.abs(v[:, 1] + 8.3) < 2.2), 2: (np.abs(v[:, 1] + 0.6) < 1.6)}
    for j, band in near.items():
        ids = np.flatnonzero(band & skin & ((v[:, 2] > -9.5) | (j != 2)) & ((v[:, 2] < 3.0) | (j != 1)))
        # Non-negative, close to even, exact in position and sum (heavy rows), symmetric because the ring is.
        even = 0.02 * np.eye(len(ids)), np.full(len(ids), 0.02 / len(ids))
        rows = np.concatenate([100.0 * v[ids].T, np.full((1, len(ids)), 100.0), even[0]])
        target = np.concatenate([100.0 * joints[j], [100.0], even[1]])
        w = nnls(rows, target, maxiter=50 * len(ids))[0]
        out[j, ids] = w
        out[j] = 0.5 * (out[j] + out[j, mesh.mirror])
        out[j] /= out[j].sum()
    out[3, HEAD_VERTICES : HEAD_VERTICES + _BALL] = _ball_weights(v[HEAD_VERTICES : HEAD_VERTICES + _BALL], joints[3])
    out[4, HEAD_VERTICES + _BALL :] = out[3, HEAD_VERTICES : HEAD_VERTICES + _BALL]
    return out


def _ball_weights(ball: Float[np.ndarray, "546 3"], center: np.ndarray) -> Float[np.ndarray, "546"]:
    """Weights of a ball's vertices whose mean is its centre; a plain mean is not, as the rings are uneven."""
    z = ball[:, 2] - center[2]
    w = np.ones(len(ball)) + 0.0 * z
    for _ in range(100):
        w *= np.exp(-0.5 * (w @ z) / w.sum() * z / EYE_RADIUS**2)
    return w / w.sum()


def skin_weights(mesh: HeadMesh) -> Float[np.ndarray, "V 5"]:
    """Linear blend skinning weights: smooth at jaw and neck, rigid eyeballs."""
    v = mesh.vertices
    out = np.zeros((len(v), 5))
    jaw = _jaw_weight(mesh)
    # The neck bends between its ring and the height of the neck joint; chin and nape lie above the bend.
    neck = step(v[:, 1] + 15.2 + 0.15 * (v[:, 2] + 6.0), 0.0, 6.2)
    out[:, 2] = jaw * neck
    out[:, 1] = neck - out[:, 2]
    out[:, 0] = 1.0 - neck
    out[HEAD_VERTICES:] = 0.0
    out[HEAD_VERTICES : HEAD_VERTICES + _BALL, 3] = 1.0
    out[HEAD_VERTICES + _BALL :, 4] = 1.0
    return out


def _jaw_weight(mesh: HeadMesh) -> Float[np.ndarray, "V"]:
    """Smoothest weights (bi-Laplacian) between the jaw bone and the skull; the slit of the mouth parts the lips."""
    v, n = mesh.vertices[:HEAD_VERTICES], HEAD_VERTICES
    f = mesh.faces[(mesh.faces < n).all(1)]
    i = np.concatenate([f[:, 0], f[:, 1], f[:, 2]])
    j = np.concatenate([f[:, 1], f[:, 2], f[:, 0]])
    adjacency = sparse.coo_matrix((np.ones(len(i)), (i, j)), (n, n)).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(float)
    degree = np.asarray(adjacency.sum(1)).ravel()
    laplacian = sparse.eye(n) - sparse.diags(1.0 / degree) @ adjacency
    side = mesh.upper_lip[:n]
    bag = np.zeros(n, bool)
    bag[mesh.mouth_bag] = True
    inside = bag & (v[:, 2] < 2.6)
    low = (v[:, 1] < -6.2 + 0.55 * (4.0 - v[:, 2]).clip(0)) & (v[:, 2] > 0.2) & (v[:, 1] > -9.2) & ~bag & (side <= 0)
    one = low
    zero = ((v[:, 1] > -2.0) & ~bag) | (v[:, 2] < -3.6) | (v[:, 1] < -11.0) | ((v[:, 2] < 0.5) & (v[:, 1] < -9.0))
    # Along the inner lips the weight follows an ellipse, so that the opened mouth is one.
    loop = np.zeros(n, bool)
    loop[mesh.lip_loop] = True
    across = np.abs(v[:, 0]) / np.abs(v[mesh.face_vertices[308], 0])
    ellipse = np.clip(1.0 - across**2, 0.0, 1.0) ** 0.9
    low_bag = inside & (v[:, 1] < -4.6)
    high_bag = inside & (v[:, 1] > -4.2)
    known = one | zero | low_bag | high_bag | loop
    value = np.where(one | low_bag, 1.0, 0.0)
    value[loop] = (0.45 + np.where(side < 0, 0.55, -0.45) * ellipse)[loop]
    free = ~known
    energy = (laplacian.T @ laplacian).tocsc()
    solution = value.copy()
    solution[free] = splu(energy[free][:, free].tocsc()).solve(-energy[free][:, known] @ value[known])
    out = np.zeros(len(mesh.vertices))
    out[:n] = np.clip(solution, 0.0, 1.0)
    return 0.5 * (out + out[mesh.mirror])


def pose_basis(mesh: HeadMesh, weights: Float[np.ndarray, "V 5"]) -> Float[np.ndarray, "V 3 36"]:
    """Pose correctives: cheeks and chin for the jaw, throat and nape for the neck, lids that follow the gaze.

    Column 9 (j - 1) + 3 r + c multiplies entry (r, c) of R_j - I. A rotation by a about x has -sin a at (1, 2) and
    sin a at (2, 1), so half of each field goes to either.
    """
    v = mesh.vertices
    out = np.zeros((len(v), 3, 36))

    def add(joint: int, field: np.ndarray, axis: int) -> None:
        r, c = ((1, 2), (2, 0), (0, 1))[axis]
        out[..., 9 * (joint - 1) + 3 * c + r] += 0.5 * field
        out[..., 9 * (joint - 1) + 3 * r + c] -= 0.5 * field

    skin = np.ones(len(v))
    skin[HEAD_VERTICES:] = 0.0
    for x in (-1.0, 1.0):
        cheek = bump(v, (5.0 * x, -3.6, 0.6), (1.5, 1.8, 2.2)) * skin
        add(2, cheek[:, None] * [-0.75 * x, 0.0, 0.0], 0)
    add(2, (bump(v, (0.0, -9.3, -0.5), (3.5, 1.2, 2.0)) * skin)[:, None] * [0.0, -0.5, 0.3], 0)
    throat, nape = bump(v, (0.0, -10.0, -1.0), (4.0, 2.0, 2.5)), bump(v, (0.0, -7.5, -12.0), (4.0, 2.5, 2.5))
    add(1, (throat * skin)[:, None] * [0.0, 0.0, 0.5], 0)
    add(1, (nape * skin)[:, None] * [0.0, 0.0, 0.35], 0)
    upper, lower = _lid_rotation(mesh, upper=True), _lid_rotation(mesh, upper=False)
    left = 0.45 * upper + 0.22 * lower
    add(3, left, 0)
    add(4, mirrored(left, mesh.mirror), 0)
    # Lids that follow a steep gaze step off the ball: entry (1, 1) is cos a - 1 for a turn about x.
    arm = v - mesh.eye_centers[0]
    off = np.linalg.norm(upper + lower, axis=1, keepdims=True) * arm / (arm**2).sum(1, keepdims=True)
    out[..., 18 + 4] -= _LID_STEP * off
    out[..., 27 + 4] -= _LID_STEP * mirrored(off, mesh.mirror)
    return out


def _lid_rotation(mesh: HeadMesh, *, upper: bool) -> Float[np.ndarray, "V 3"]:
    """Displacement of the left lid per radian of looking down: a fading turn about the ball's horizontal axis."""
    v, center = mesh.vertices, mesh.eye_centers[0]
    loop = mesh.lid_loop[1:16] if upper else mesh.lid_loop[17:32]
    margin = v[loop]
    d = np.sqrt(((v[:, None] - margin[None]) ** 2).sum(-1)).min(1)
    half = 0.5 * np.ptp(v[mesh.lid_loop, 0])
    across = np.clip(1.0 - ((v[:, 0] - center[0]) / half) ** 2, 0.0, 1.0) ** 0.7
    side = step((v[:, 1] - center[1]) * (1.0 if upper else -1.0), -0.15, 0.25)
    weight = np.exp(-((d / 0.5) ** 2)) * across * side * (v[:, 2] > center[2])
    weight[HEAD_VERTICES:] = 0.0
    arm = v - center
    return weight[:, None] * np.stack([np.zeros(len(v)), -arm[:, 2], arm[:, 1]], -1)
