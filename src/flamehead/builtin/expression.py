"""The expression space: named action-unit-like fields, then local modes. Centimetres inside this room.

Names follow the Facial Action Coding System where there is an action unit (Ekman and Friesen 1978). A coefficient of 1
is a clear, natural movement; left and right are separate.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from flamehead.builtin.fields import bump, mirrored, parity_functions, remove_span, step
from flamehead.builtin.mesh import HeadMesh
from flamehead.builtin.sampling import HEAD_VERTICES

__all__ = ["expression_basis"]

_LID_LIFT = 0.10
"""The closed lid stands this much further off the ball, cm: half-way it takes the short cut of a straight line."""
_LOCAL_LENGTH, _LOCAL_AMPLITUDE = 1.5, 0.085


def expression_basis(
    mesh: HeadMesh, jaw_weight: Float[np.ndarray, "V"], count: int
) -> tuple[Float[np.ndarray, "V 3 E"], tuple[str, ...]]:
    """Columns are displacements (cm) per unit coefficient; the eyeballs never move."""
    fields = _named(mesh, jaw_weight)
    fixed = np.stack([f.ravel() for f in fields.values()], -1)
    modes = _local_modes(mesh, jaw_weight)
    modes = remove_span(modes.reshape(len(modes), -1).T, fixed)
    columns = np.concatenate([fixed, modes[:, : count - len(fields)]], axis=1).reshape(len(mesh.vertices), 3, count)
    columns[HEAD_VERTICES:] = 0.0
    return columns, (*fields, *(f"local_{k}" for k in range(count - len(fields))))


def _named(mesh: HeadMesh, jaw_weight: Float[np.ndarray, "V"]) -> dict[str, Float[np.ndarray, "V 3"]]:
    v = mesh.vertices
    upper = _upper_share(mesh, jaw_weight)
    out: dict[str, Float[np.ndarray, "V 3"]] = {}
    for name, field in (_eye_fields(mesh) | _brow_fields(v) | _mouth_side_fields(v, upper)).items():
        field = field * _skin(mesh)[:, None]
        out[f"{name}_left"] = field
        out[f"{name}_right"] = mirrored(field, mesh.mirror)
    for name, field in _middle_fields(v, upper, jaw_weight).items():
        out[name] = field * _skin(mesh)[:, None]
    return out


def _skin(mesh: HeadMesh) -> Float[np.ndarray, "V"]:
    """1 on the outside and the front of the pockets, 0 on what lies deep inside and on the eyeballs."""
    out = np.ones(len(mesh.vertices))
    out[mesh.socket] = step(mesh.vertices[mesh.socket, 2] - mesh.eye_centers[0, 2], 0.0, 0.8)
    out[mesh.mouth_bag] = step(mesh.vertices[mesh.mouth_bag, 2], 1.5, 3.8)
    out[HEAD_VERTICES:] = 0.0
    return out


def _upper_share(mesh: HeadMesh, jaw_weight: Float[np.ndarray, "V"]) -> Float[np.ndarray, "V"]:
    """1 on the upper lip, 0 on the lower, passing through a half at the corner of the mouth."""
    near = bump(mesh.vertices, (0.0, -4.4, 4.4), (2.6, 1.0, 2.0))
    smooth = 1.0 - np.clip(jaw_weight, 0.0, 1.0)
    return np.where(np.abs(mesh.upper_lip) > 0.99, (1 - near) * smooth + near * (mesh.upper_lip > 0), smooth)


def _eye_fields(mesh: HeadMesh) -> dict[str, Float[np.ndarray, "V 3"]]:
    """Lids of the left eye; they slide around the ball."""
    v, center = mesh.vertices, mesh.eye_centers[0]
    upper, lower = mesh.lid_loop[:17], np.append(mesh.lid_loop[16:], mesh.lid_loop[0])

    def elevation(p: np.ndarray) -> np.ndarray:
        return np.arctan2(p[:, 1] - center[1], p[:, 2] - center[2])

    def at(loop: np.ndarray) -> np.ndarray:
        order = loop[np.argsort(v[loop, 0])]
        return np.interp(v[:, 0], v[order, 0], elevation(v[order]))

    opening = np.clip(at(upper) - at(lower), 0.0, None)
    half = 0.5 * np.ptp(v[mesh.lid_loop, 0])
    inside = np.clip(1.0 - (np.abs(v[:, 0] - center[0]) / (1.12 * half)) ** 4, 0.0, 1.0)
    front = (v[:, 2] > center[2] - 0.2) * inside
    near_upper = np.exp(-((KDTree(v[upper]).query(v)[0] / 0.55) ** 2)) * front
    near_lower = np.exp(-((KDTree(v[lower]).query(v)[0] / 0.50) ** 2)) * front
    middle = 0.5 * (at(upper) + at(lower))
    above = step(elevation(v) - middle, -0.02, 0.10)
    up, low = near_upper * above, near_lower * (1.0 - above)
    cheek = bump(v, (3.6, 0.9, 3.2), (1.5, 0.8, 1.5))[:, None] * [0.05, 0.28, 0.08]

    def turn(angle: np.ndarray) -> Float[np.ndarray, "V 3"]:
        """Displacement by a turn of `angle` radians downwards around the ball: the end lies on the sphere again."""
        return _turn_down(v - center, angle)

    lift = _LID_LIFT * (up * inside)[:, None] * (v - center) / np.linalg.norm(v - center, axis=1, keepdims=True)
    return {
        "blink": turn(0.90 * up * opening - 0.10 * low * opening) + _turn_only(lift, 0.90 * up * opening),
        "wide": turn(-0.22 * up + 0.06 * low),
        "squint": turn(-0.42 * low * opening) + 0.5 * cheek,
        "cheek_raise": cheek + turn(-0.15 * low * opening),
    }


def _turn_only(field: Float[np.ndarray, "V 3"], angle: Float[np.ndarray, "V"]) -> Float[np.ndarray, "V 3"]:
    """A field of directions, turned as the points are."""
    return field + _turn_down(field, angle)


def _turn_down(arm: Float[np.ndarray, "V 3"], angle: Float[np.ndarray, "V"]) -> Float[np.ndarray, "V 3"]:
    """Displacement of points by a turn about the x axis through the origin; positive moves the front down."""
    c, s = np.cos(angle) - 1.0, np.sin(angle)
    return np.stack([0.0 * angle, c * arm[:, 1] - s * arm[:, 2], s * arm[:, 1] + c * arm[:, 2]], -1)


def _brow_fields(v: Float[np.ndarray, "V 3"]) -> dict[str, Float[np.ndarray, "V 3"]]:
    inner, outer = bump(v, (1.5, 4.6, 4.4), (1.0, 1.15, 1.6)), bump(v, (4.0, 4.6, 3.4), (1.3, 1.15, 1.6))
    whole = bump(v, (2.6, 4.3, 4.2), (1.7, 1.0, 1.6))
    return {
        "brow_raise_inner": inner[:, None] * [0.0, 0.62, 0.05],
        "brow_raise_outer": outer[:, None] * [0.0, 0.62, 0.02],
        "brow_lower": whole[:, None] * [-0.24, -0.48, 0.06],
    }


def _mouth_side_fields(
    v: Float[np.ndarray, "V 3"], upper: Float[np.ndarray, "V"]
) -> dict[str, Float[np.ndarray, "V 3"]]:
    corner = bump(v, (2.5, -4.4, 3.6), (1.05, 1.15, 1.5))[:, None]
    cheek = bump(v, (3.7, -1.6, 3.2), (1.3, 1.5, 1.6))[:, None]
    fold = bump(v, (2.1, -2.2, 4.2), (0.8, 1.1, 1.3))[:, None]
    up, low = upper[:, None], 1.0 - upper[:, None]
    lip_up = bump(v, (1.1, -3.9, 4.8), (0.85, 0.75, 1.2))[:, None] * up
    lip_low = bump(v, (1.1, -4.9, 4.6), (0.85, 0.75, 1.2))[:, None] * low
    return {
        "smile": corner * [0.48, 0.52, -0.18] + cheek * [0.10, 0.22, 0.22],
        "frown": corner * [0.08, -0.52, -0.08],
        "mouth_stretch": corner * [0.62, -0.06, -0.30],
        "dimple": corner * [0.20, 0.04, -0.28],
        "upper_lip_raise": lip_up * [0.0, 0.48, 0.05] + fold * [0.05, 0.20, 0.05],
        "lower_lip_depress": lip_low * [0.04, -0.50, 0.02],
        "nose_wrinkle": bump(v, (1.0, -0.3, 4.9), (0.8, 1.1, 1.2))[:, None] * [0.03, 0.28, 0.05]
        + bump(v, (1.2, -1.3, 4.9), (0.5, 0.5, 0.9))[:, None] * [0.10, 0.14, 0.0],
        "cheek_puff": bump(v, (4.1, -3.7, 2.4), (1.5, 1.5, 1.8))[:, None] * [0.55, 0.0, 0.42],
    }


def _middle_fields(
    v: Float[np.ndarray, "V 3"], upper: Float[np.ndarray, "V"], jaw: Float[np.ndarray, "V"]
) -> dict[str, Float[np.ndarray, "V 3"]]:
    lips = bump(v, (0.0, -4.4, 4.4), (2.1, 1.05, 1.6))[:, None]
    rim = bump(v, (0.0, -4.4, 4.8), (1.9, 0.55, 1.2))[:, None]
    up, low = upper[:, None], 1.0 - upper[:, None]
    x = v[:, :1]
    inward = np.concatenate([-x, 0 * x, 0 * x], 1)
    upper_mid = bump(v, (0.0, -3.9, 5.0), (1.4, 0.75, 1.2))[:, None] * up
    lower_mid = bump(v, (0.0, -4.9, 4.8), (1.3, 0.75, 1.2))[:, None] * low
    chin = bump(v, (0.0, -6.6, 4.3), (1.5, 1.1, 1.5))[:, None]
    corners = bump(np.abs(v) * [1, 0, 0] + v * [0, 1, 1], (2.6, -4.4, 3.5), (0.8, 0.8, 1.3))[:, None]
    outward = np.concatenate([0.30 * np.sign(x), 0 * x, 0 * x - 0.08], 1)
    return {
        "pucker": lips * (0.26 * inward + [0.0, 0.0, 0.45]),
        "funnel": lips * (0.18 * inward + [0.0, 0.0, 0.35]) + upper_mid * [0, 0.30, 0.1] - lower_mid * [0, 0.30, -0.1],
        "lips_press": rim * (up * [0.0, -0.03, -0.14] + low * [0.0, 0.03, -0.14]),
        "upper_lip_roll": rim * up * [0.0, -0.05, -0.20],
        "lower_lip_roll": rim * low * [0.0, 0.05, -0.20],
        "lips_part": upper_mid * [0.0, 0.16, 0.0] + lower_mid * [0.0, -0.20, 0.0],
        "mouth_sideways": lips * [0.55, 0.0, 0.0],
        "chin_raise": chin * [0.0, 0.30, 0.12] + (lower_mid + upper_mid) * [0.0, 0.18, 0.08],
        "jaw_sideways": jaw[:, None] * [0.55, 0.0, 0.0],
        "jaw_forward": jaw[:, None] * [0.0, 0.02, 0.50],
        "viseme_fv": lower_mid * [0.0, 0.20, -0.16] + upper_mid * [0.0, 0.10, 0.02],
        "viseme_sh": rim * (up * [0.0, 0.14, 0.24] + low * [0.0, -0.14, 0.24]) + lips * 0.10 * inward,
        "viseme_ee": upper_mid * [0.0, 0.12, -0.05] + lower_mid * [0.0, -0.16, -0.05] + corners * outward,
        "nostrils_flare": bump(np.abs(v) * [1, 0, 0] + v * [0, 1, 1], (1.4, -1.4, 4.9), (0.5, 0.5, 0.8))[:, None]
        * np.concatenate([0.16 * np.sign(x), 0 * x, 0 * x], 1),
    }


def _local_modes(mesh: HeadMesh, jaw_weight: Float[np.ndarray, "V"]) -> Float[np.ndarray, "M V 3"]:
    """Modes of a short-range process on the front of the face that keeps upper and lower lip apart."""
    v = mesh.vertices
    upper = _upper_share(mesh, jaw_weight)
    to_face = KDTree(v[mesh.face_vertices]).query(v)[0]
    lids = KDTree(np.concatenate([v[mesh.lid_loop], v[mesh.mirror[mesh.lid_loop]]])).query(v)[0]
    mask = (1.0 - step(to_face, 0.4, 1.6)) * step(v[:, 2], -1.5, 2.0) * (1.0 - step(v[:, 1], 4.5, 7.0)) * _skin(mesh)
    mask = mask * (0.25 + 0.75 * step(lids, 0.1, 1.0))
    samples = np.flatnonzero(mask[:HEAD_VERTICES] > 0.05)
    samples = samples[:: max(1, len(samples) // 700)]
    lips = ((upper[:, None] - upper[samples]) / 0.5) ** 2
    scale = _LOCAL_AMPLITUDE**2 * mask[:, None] * mask[samples]
    near, far = (
        scale * np.exp(-0.5 * (cdist(v, v[samples] * [side, 1.0, 1.0], "sqeuclidean") / _LOCAL_LENGTH**2 + lips))
        for side in (1.0, -1.0)
    )
    functions = parity_functions(near, far, samples, 20, left=v[:, 0] >= 0.0)
    # Strongest first, both parities in turn, each along the three axes.
    return np.stack([functions[sign][:, k, None] * axis for k in range(20) for sign in (1, -1) for axis in np.eye(3)])
