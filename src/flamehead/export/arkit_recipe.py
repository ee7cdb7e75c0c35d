"""What the ARKit coefficients mean on the built-in head: named fields, turns of jaw and eyes, and three fitted fields.

The published names come without numbers, so how far a movement goes at coefficient 1 is a choice, made here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree

from flamehead.builtin import BuiltinHead
from flamehead.export.arkit_names import arkit_index
from flamehead.export.arkit_space import ParameterSpace, fitted, posed_basis
from flamehead.geometry.rotation import exp

__all__ = ["JAW_OPEN", "builtin_directions", "turn_joints"]

JAW_OPEN = math.radians(20.0)
"""Turn of the jaw at jawOpen = 1."""
_LOOK_ASIDE, _LOOK_UPRIGHT = math.radians(30.0), math.radians(25.0)
"""Turns of the eyes at eyeLookIn, eyeLookOut = 1, and at eyeLookUp, eyeLookDown = 1."""
_LIP_REACH = 8e-3
"""How far from the lips' line mouthClose acts, metres."""
_PRESS_BLEND = 6e-3
"""Over which width the left half of the mouth becomes the right one, metres."""
_INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 95, 88, 178, 87, 14, 317, 402, 318, 324)
"""Face-mesh points of the line between the lips."""
_EYEBALL = 1

_SIDES = {
    "eyeBlink": "blink",
    "eyeSquint": "squint",
    "eyeWide": "wide",
    "mouthSmile": "smile",
    "mouthFrown": "frown",
    "mouthDimple": "dimple",
    "mouthStretch": "mouth_stretch",
    "mouthLowerDown": "lower_lip_depress",
    "mouthUpperUp": "upper_lip_raise",
    "browDown": "brow_lower",
    "browOuterUp": "brow_raise_outer",
    "cheekSquint": "cheek_raise",
    "noseSneer": "nose_wrinkle",
}
"""Coefficients with a left and a right one, and the fields that they are."""
_MIDDLE: Mapping[str, Mapping[str, float]] = {
    "jawForward": {"jaw_forward": 1.0},
    "jawLeft": {"jaw_sideways": 1.0},
    "jawRight": {"jaw_sideways": -1.0},
    "mouthFunnel": {"funnel": 1.0},
    "mouthPucker": {"pucker": 1.0},
    "mouthLeft": {"mouth_sideways": 1.0},
    "mouthRight": {"mouth_sideways": -1.0},
    "mouthRollLower": {"lower_lip_roll": 1.0},
    "mouthRollUpper": {"upper_lip_roll": 1.0},
    "mouthShrugLower": {"chin_raise": 1.0},
    # Both lips come forward, then the lower one goes back.
    "mouthShrugUpper": {"viseme_sh": 1.0, "lower_lip_roll": 1.0},
    "browInnerUp": {"brow_raise_inner_left": 1.0, "brow_raise_inner_right": 1.0},
    "cheekPuff": {"cheek_puff_left": 1.0, "cheek_puff_right": 1.0},
}


def builtin_directions(
    head: BuiltinHead, space: ParameterSpace
) -> tuple[Float[np.ndarray, "52 P"], dict[str, Float[np.ndarray, "V 3"]]]:
    """Parameters at coefficient 1, and the fields that three coefficients are meant to be but only come near.

    `mouthClose` lets the lips of the mouth that is open at jawOpen = 1 meet half-way; `mouthPressLeft` and
    `mouthPressRight` are the halves of the one field that the head has. The bases hold these only nearly.
    """
    out = np.zeros((52, space.size))
    column = {name: row for row, name in enumerate(head.expression_names)}
    for name, field in _SIDES.items():
        for side in ("Left", "Right"):
            out[arkit_index(name + side), column[f"{field}_{side.lower()}"]] = 1.0
    for name, amounts in _MIDDLE.items():
        for field, amount in amounts.items():
            out[arkit_index(name), column[field]] = amount
    turn_joints(out, space)
    wanted = _press_fields(head, column["lips_press"])
    plain = posed_basis(space, np.zeros(space.size))
    for name, field in wanted.items():
        out[arkit_index(name), space.columns["expression"]] = fitted(plain, field)
    wanted["mouthClose"] = _closing_field(head, space)
    opened = posed_basis(space, out[arkit_index("jawOpen")])
    out[arkit_index("mouthClose"), space.columns["expression"]] = fitted(opened, wanted["mouthClose"])
    return out, wanted


def turn_joints(directions: Float[np.ndarray, "52 P"], space: ParameterSpace) -> None:
    """Write the turns that mean the same on every FLAME head: jawOpen and the eyes'. Down and left are positive."""
    directions[arkit_index("jawOpen"), space.columns["jaw"].start] = JAW_OPEN
    for side, outward in (("left", 1.0), ("right", -1.0)):
        eye, name = space.columns[f"{side}_eye"].start, side.capitalize()
        directions[arkit_index(f"eyeLookDown{name}"), eye] = _LOOK_UPRIGHT
        directions[arkit_index(f"eyeLookUp{name}"), eye] = -_LOOK_UPRIGHT
        directions[arkit_index(f"eyeLookOut{name}"), eye + 1] = outward * _LOOK_ASIDE
        directions[arkit_index(f"eyeLookIn{name}"), eye + 1] = -outward * _LOOK_ASIDE


def _press_fields(head: BuiltinHead, column: int) -> dict[str, Float[np.ndarray, "V 3"]]:
    whole = head.arrays.expression_basis[..., column]
    left = 1.0 / (1.0 + np.exp(-head.arrays.template[:, :1] / _PRESS_BLEND))
    return {"mouthPressLeft": whole * left, "mouthPressRight": whole * (1.0 - left)}


def _closing_field(head: BuiltinHead, space: ParameterSpace) -> Float[np.ndarray, "V 3"]:
    """Displacements, in the posed frame of jawOpen = 1, that bring both lips to where half the turn would put them."""
    arrays = head.arrays
    turn = exp(torch.tensor([JAW_OPEN, 0.0, 0.0], dtype=torch.float64)).numpy()
    arm = arrays.template - arrays.joint_regressor[2] @ arrays.template
    line = head.embeddings["mediapipe478"]
    corners = arrays.template[arrays.faces[line.face_ids[list(_INNER_LIPS)]]]
    points = (line.barycentric[list(_INNER_LIPS), :, None] * corners).sum(1)
    near = np.exp(-((KDTree(points).query(arrays.template)[0] / _LIP_REACH) ** 2)) * (head.part != _EYEBALL)
    field = (near * (0.5 - arrays.skin_weights[:, 2]))[:, None] * (arm @ turn.T - arm)
    return np.pad(field, ((0, space.n_vertices - len(field)), (0, 0)))
