"""Named vertex regions of the built-in head. Centimetres inside this room."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import ConvexHull, KDTree

from flamehead.builtin.ears import EAR_CENTER
from flamehead.builtin.mesh import BALL_RINGS, EYE_RADIUS, HeadMesh
from flamehead.builtin.sampling import HEAD_VERTICES, in_polygon
from flamehead.builtin.surface import to_chart
from flamehead.geometry.landmark_sets import FACE_OVAL, LEFT_BROW, LEFT_EYE_RING, LIPS_OUTER

__all__ = ["vertex_regions"]

IRIS_COSINE = float(np.cos(BALL_RINGS[4])) - 1e-6
"""Of the polar angle of the border of the iris."""


def vertex_regions(mesh: HeadMesh, hair: Bool[np.ndarray, "V"]) -> dict[str, Int[np.ndarray, "N"]]:
    """Sorted vertex ids by the names of FLAME_masks, then lids, irises, sclerae, inner mouth, hair; some overlap.

    Args:
        mesh: the head.
        hair: vertices that the paint covers with hair.
    """
    v = mesh.vertices
    ids = np.arange(len(v))
    pocket = np.zeros(len(v), bool)
    pocket[mesh.socket] = pocket[mesh.mouth_bag] = True
    skin = (ids < HEAD_VERTICES) & ~pocket
    # The landmark loops lie on the mesh, so a vertex is inside a loop on the chart or belongs to it.
    oval = skin & _inside_loop(mesh, FACE_OVAL)
    lips = skin & (_inside_loop(mesh, LIPS_OUTER) & (v[:, 2] > 2.0))
    lips[mesh.lip_loop] = True
    left = np.concatenate([LEFT_EYE_RING, LEFT_BROW])
    to_lid = KDTree(v[mesh.lid_loop]).query(v)[0]
    left_eye = oval & (_inside_hull(mesh, left, 1.12) | (to_lid < 0.9)) & (v[:, 0] > 0.3)
    right_eye = left_eye[mesh.mirror]
    nose = oval & (np.abs(v[:, 0]) < 2.0) & (v[:, 1] < 2.4) & (v[:, 1] > -2.3) & (v[:, 2] > 3.6)
    ear = (
        skin
        & (np.abs(v[:, 0]) > 6.3)
        & (np.hypot((v[:, 1] - EAR_CENTER[0]) / 3.3, (v[:, 2] - EAR_CENTER[1] + 0.3) / 2.3) < 1)
    )
    forehead = oval & (v[:, 1] > 4.5) & ~left_eye & ~right_eye
    # Up to the jaw in front, up to the hair behind.
    top = -6.5 + 0.35 * np.clip(v[:, 2] + 6.0, 0.0, 3.0) + 0.45 * np.clip(-6.0 - v[:, 2], 0.0, 8.0)
    neck = skin & ~oval & (v[:, 1] < top)
    scalp = skin & ~oval & ~ear & ~neck & (v[:, 1] > np.where(v[:, 2] > -5.0, 3.0, -3.5))
    boundary = skin & (v[:, 1] < -15.2)
    left_lid = skin & left_eye & (to_lid < 0.6)
    forward = [(v - center)[:, 2] / EYE_RADIUS for center in mesh.eye_centers]
    left_ball, right_ball = (ids >= HEAD_VERTICES) & (ids < HEAD_VERTICES + 546), ids >= HEAD_VERTICES + 546
    left_iris = left_ball & (forward[0] > IRIS_COSINE)
    right_iris = right_ball & (forward[1] > IRIS_COSINE)
    white = (left_ball & (forward[0] > 0.0)) | (right_ball & (forward[1] > 0.0))
    bag = np.zeros(len(v), bool)
    bag[mesh.mouth_bag] = bag[mesh.lip_loop] = True
    masks: dict[str, Bool[np.ndarray, "V"]] = {
        "face": oval & ~ear,
        "eye_region": left_eye | right_eye,
        "left_eye_region": left_eye,
        "right_eye_region": right_eye,
        "forehead": forehead,
        "nose": nose,
        "lips": lips,
        "left_ear": ear & (v[:, 0] > 0),
        "right_ear": ear & (v[:, 0] < 0),
        "neck": neck,
        "scalp": scalp,
        "boundary": boundary,
        "left_eyeball": left_ball,
        "right_eyeball": right_ball,
        "left_eyelid": left_lid,
        "right_eyelid": left_lid[mesh.mirror],
        "eyelids": left_lid | left_lid[mesh.mirror],
        "left_iris": left_iris,
        "right_iris": right_iris,
        "irises": left_iris | right_iris,
        "sclerae": white & ~left_iris & ~right_iris,
        "lip_inside": bag,
        "hair": skin & hair,
    }
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}


def _inside_hull(mesh: HeadMesh, points: Int[np.ndarray, "K"], scale: float) -> Bool[np.ndarray, "V"]:
    """Vertices whose direction lies inside the convex hull of some face points, enlarged about its middle."""
    chart = to_chart(mesh.vertices)
    corners = chart[mesh.face_vertices[points]]
    hull = corners[ConvexHull(corners).vertices]
    middle = hull.mean(0)
    return in_polygon(chart, middle + scale * (hull - middle))


def _inside_loop(mesh: HeadMesh, loop: Int[np.ndarray, "K"]) -> Bool[np.ndarray, "V"]:
    """Vertices whose direction from the star centre lies inside a loop of face points, the loop included."""
    chart = to_chart(mesh.vertices)
    corners: Float[np.ndarray, "K 2"] = chart[mesh.face_vertices[loop]]
    inside = in_polygon(chart, corners)
    inside[mesh.face_vertices[loop]] = True
    return inside
