"""The identity space: named anthropometric directions, then modes of a Gaussian process. Centimetres inside.

The amplitudes of the named directions follow published standard deviations of head measurements (Farkas 1994), pooled
over sexes and ages; the process has three squared-exponential kernels (Luethi et al. 2018, "Gaussian process
morphable models").
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from flamehead.builtin.fields import bump, by_energy, parity_functions, remove_span, rigid_fields, step
from flamehead.builtin.mesh import HeadMesh
from flamehead.builtin.sampling import HEAD_VERTICES

__all__ = ["shape_basis"]

_KERNELS = ((7.5, 0.64), (4.0, 0.20), (2.2, 0.075))
"""Length and amplitude (one standard deviation of each coordinate) of the kernels, cm."""
_ASYMMETRY = 0.3
_SAMPLES = 900
_LID_REST = 0.6
"""Share of the lids' own up and down motion that identity gives up; `squint` and `wide` do the same without harm."""


def shape_basis(mesh: HeadMesh, count: int) -> tuple[Float[np.ndarray, "V 3 S"], tuple[str, ...]]:
    """Columns are displacements (cm) per standard deviation; rigid motion is projected out of all of them."""
    named = _named(mesh)
    fixed = np.stack([_slide_on_balls(mesh, f).ravel() for f in named.values()], -1)
    rigid = rigid_fields(mesh.vertices)
    fixed = remove_span(fixed, rigid)
    modes = _slide_on_balls(mesh, _process_modes(mesh))
    modes = remove_span(modes.reshape(len(modes), -1).T, np.concatenate([rigid, fixed], axis=1))
    order = by_energy(modes)[: count - fixed.shape[1]]
    columns = np.concatenate([fixed, modes[:, order]], axis=1)
    names = (*named, *(f"mode_{k}" for k in range(count - len(named))))
    return columns.reshape(len(mesh.vertices), 3, count), names


def _slide_on_balls(mesh: HeadMesh, fields: Float[np.ndarray, "*M V 3"]) -> Float[np.ndarray, "*M V 3"]:
    """Take out of each field what would push lids and sockets into the eyeballs, or pull them off.

    Near a ball only the motion along its surface is kept, relative to the ball's own. A point that leaves a sphere
    along its tangent plane moves outwards, so no identity can make ball and lid cross.
    """
    out = fields.copy()
    for center, first in zip(mesh.eye_centers, (HEAD_VERTICES, HEAD_VERTICES + 546), strict=True):
        arm = mesh.vertices[:HEAD_VERTICES] - center
        distance = np.linalg.norm(arm, axis=1)
        near = np.flatnonzero(distance < 3.0)
        outward = arm[near] / distance[near, None]
        share = 1.0 - step(distance[near], 1.75, 3.0)
        relative = fields[..., near, :] - fields[..., first, None, :]
        radial = (relative * outward).sum(-1, keepdims=True)
        # Up and down along the ball, where a closing lid travels: far from its place it would cut into the ball.
        down = np.cross([1.0, 0.0, 0.0], outward)
        down /= np.linalg.norm(down, axis=1, keepdims=True)
        along = (relative * down).sum(-1, keepdims=True)
        out[..., near, :] -= share[:, None] * (radial * outward + _LID_REST * along * down)
    return out


def _named(mesh: HeadMesh) -> dict[str, Float[np.ndarray, "V 3"]]:
    """One smooth field per measurement that anthropometry names."""
    v = _ball_centred(mesh)
    x, y, z = v.T
    side = np.sign(x) * step(np.abs(x), 0.0, 0.8)
    zero = np.zeros(len(v))
    front = step(z, -3.0, 2.5)
    above_neck = step(y, -15.0, -7.0)

    def field(dx: np.ndarray, dy: np.ndarray, dz: np.ndarray) -> Float[np.ndarray, "V 3"]:
        return np.stack(np.broadcast_arrays(dx, dy, dz), -1).astype(float)

    def both(center: tuple[float, float, float], widths: tuple[float, float, float]) -> np.ndarray:
        return bump(v, center, widths) + bump(v, (-center[0], *center[1:]), widths)

    below_eyes = 1.0 - step(y, -6.0, 4.0)
    nose, tip = bump(v, (0.0, -0.6, 6.0), (1.5, 1.9, 2.2)), bump(v, (0.0, -1.0, 6.9), (1.1, 1.0, 1.5))
    lips = bump(v, (0.0, -4.4, 4.8), (2.2, 1.0, 1.6))
    ear = both((7.9, 0.75, -5.2), (1.1, 2.4, 1.6))
    return {
        "head_size": 0.046 * (v - [0.0, 0.0, -4.0]) * (0.45 + 0.55 * above_neck)[:, None],
        "head_width": field(0.045 * x * above_neck, zero, zero),
        "head_length": field(zero, zero, 0.042 * (z + 2.0) * above_neck * step(-z, -4.0, 8.0)),
        "face_height": field(zero, -0.55 * below_eyes * step(y, -14.0, -8.0) * (0.35 + 0.65 * front), zero),
        "forehead_height": field(zero, 0.42 * bump(v, (0.0, 10.0, -2.0), (9.0, 4.5, 8.0)), zero),
        "forehead_slope": field(zero, zero, -0.30 * bump(v, (0.0, 7.5, 4.5), (4.5, 2.6, 3.0))),
        "jaw_width": field(0.46 * side * both((5.2, -5.0, -0.5), (2.2, 2.4, 3.0)), zero, zero),
        "cheekbones": field(
            0.24 * side * both((5.2, 0.4, 1.6), (1.8, 1.5, 2.2)), zero, 0.14 * both((4.4, 0.2, 3.0), (1.6, 1.4, 1.8))
        ),
        "chin_forward": field(zero, zero, 0.36 * bump(v, (0.0, -7.4, 3.8), (2.6, 1.7, 2.6))),
        "chin_height": field(zero, -0.34 * bump(v, (0.0, -8.2, 3.0), (3.2, 1.7, 2.8)), zero),
        "nose_length": field(zero, -0.30 * nose * step(-y, -2.6, 0.6), 0.10 * tip),
        "nose_width": field(0.22 * side * both((1.3, -1.3, 5.0), (0.8, 0.8, 1.2)), zero, zero),
        "nose_height": field(zero, zero, 0.26 * nose),
        "nose_bridge": field(zero, zero, 0.20 * bump(v, (0.0, 2.2, 5.2), (1.2, 1.3, 1.5))),
        "eye_distance": field(0.17 * side * both((3.1, 2.7, 2.6), (1.9, 1.3, 2.6)), zero, zero),
        "eye_height": field(zero, 0.20 * both((3.2, 2.9, 3.0), (2.6, 1.9, 2.8)), zero),
        "eye_depth": field(zero, zero, 0.18 * both((3.1, 2.7, 2.8), (2.0, 1.4, 2.2))),
        "mouth_height": field(zero, 0.22 * bump(v, (0.0, -4.4, 4.4), (3.0, 1.6, 2.6)), zero),
        "mouth_width": field(0.26 * side * both((2.3, -4.4, 3.6), (1.1, 1.0, 1.5)), zero, zero),
        "lip_fullness": field(zero, 0.22 * lips * (y + 4.45), 0.14 * lips),
        "ears": ear[:, None] * (v - [0.0, 0.75, -4.6]) * [0.035, 0.10, 0.10],
        "neck_width": np.stack([x, zero, z + 6.5], -1) * (0.055 * (1.0 - step(y, -11.0, -5.0)))[:, None],
    }


def _ball_centred(mesh: HeadMesh) -> Float[np.ndarray, "V 3"]:
    """Where fields are evaluated: eyeball vertices sit at their centre, so that the balls shift rigidly."""
    v = mesh.vertices.copy()
    half = HEAD_VERTICES + 546
    v[HEAD_VERTICES:half], v[half:] = mesh.eye_centers
    return v


def _process_modes(mesh: HeadMesh) -> Float[np.ndarray, "M V 3"]:
    """Modes of the process, symmetric and (weaker) antisymmetric, each along one coordinate axis."""
    v = _ball_centred(mesh)
    step_size = max(1, HEAD_VERTICES // _SAMPLES)
    samples = np.arange(0, HEAD_VERTICES, step_size)
    masks = _masks(mesh, v)
    near, far = (cdist(v, v[samples] * [side, 1.0, 1.0], "sqeuclidean") for side in (1.0, -1.0))
    here, there = np.zeros_like(near), np.zeros_like(far)
    for (length, amplitude), mask in zip(_KERNELS, masks, strict=True):
        scale = amplitude**2 * mask[:, None] * mask[samples]
        here += scale * np.exp(-0.5 * near / length**2)
        there += scale * np.exp(-0.5 * far / length**2)
    out = []
    for parity, functions in parity_functions(here, there, samples, 110, left=v[:, 0] >= 0.0).items():
        for axis in range(3):
            # A symmetric displacement is odd across the midline in x and even in y and z.
            symmetric = (parity > 0) == (axis > 0)
            column = np.zeros((functions.shape[1], len(v), 3))
            column[..., axis] = functions.T * (1.0 if symmetric else _ASYMMETRY)
            out.append(column)
    return np.concatenate(out)


def _masks(mesh: HeadMesh, v: Float[np.ndarray, "V 3"]) -> list[Float[np.ndarray, "V"]]:
    """Where each kernel acts: all over but less on the neck; more on the face; only on the face, not on the lids."""
    to_face = KDTree(mesh.vertices[mesh.face_vertices]).query(v)[0]
    face = 1.0 - step(to_face, 0.5, 3.0)
    neck = 0.35 + 0.65 * step(v[:, 1], -15.0, -8.0)
    lids = KDTree(np.concatenate([mesh.vertices[mesh.lid_loop], mesh.vertices[mesh.mirror[mesh.lid_loop]]]))
    away = step(lids.query(v)[0], 0.2, 1.4)
    away[HEAD_VERTICES:] = 0.0
    return [neck, neck * (0.35 + 0.65 * face), face * away]
