"""The ARKit shapes of other models: displacements of the built-in head, carried over from surface to surface.

The built-in head takes on the other model's identity as far as landmarks tell it. Both heads open their mouths, so that
upper and lower lip lie apart, and each vertex of the other model rides on the nearest point of the built-in surface.
Its displacement by each shape is then fitted by the other model's own parameters.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from flamehead.builtin import builtin_head
from flamehead.errors import InputError
from flamehead.export.arkit_names import ARKIT_NAMES, arkit_index
from flamehead.export.arkit_recipe import JAW_OPEN, builtin_directions, turn_joints
from flamehead.export.arkit_space import ParameterSpace, fitted, moved, parameter_space, pose_vectors, posed_basis
from flamehead.fit import fit_points
from flamehead.geometry.nearest import nearest_on_mesh
from flamehead.geometry.rotation import exp
from flamehead.model import Flame, load_flame

__all__ = ["carried_directions"]

_SCHEMES = ("mediapipe478", "mediapipe468", "mediapipe105", "ibug51", "ibug68")
_REACH = 0.015
"""Vertices further than this from the built-in surface ride less and less, metres."""
_JAW_UNIT = 0.1
"""Turn of the jaw that counts like one standard deviation of an expression, radians."""
_WITH_JAW = ("jawForward", "jawLeft", "jawRight")


def carried_directions(
    space: ParameterSpace,
) -> tuple[Float[np.ndarray, "52 P"], dict[str, Float[np.ndarray, "V 3"]]]:
    """Parameters at coefficient 1, and the displacements that they are fitted to.

    Raises:
        InputError: the model has no landmarks that the built-in head has as well.
    """
    wanted = _carried_fields(space)
    directions = np.zeros((52, space.size))
    turn_joints(directions, space)
    hinged = space.flame.arrays.variant != "2023-no-jaw"
    if not hinged:
        directions[arkit_index("jawOpen")] = 0.0
    plain = posed_basis(space, np.zeros(space.size))
    jaw = _jaw_columns(space) if hinged else plain[:, :0]
    for name in ARKIT_NAMES:
        if name.startswith("eyeLook") or name in ("mouthClose", "tongueOut") or (hinged and name == "jawOpen"):
            continue
        row = directions[arkit_index(name)]
        if name.startswith("eyeBlink") and space.flame.eyelid_basis is not None:
            row[space.columns["eyelids"].start + name.endswith("Right")] = 1.0
            continue
        extra = jaw if name in _WITH_JAW else jaw[:, :0]
        found = fitted(np.concatenate([plain, extra], axis=1), wanted[name])
        row[space.columns["expression"]] = found[: plain.shape[1]]
        row[space.columns["jaw"]][: extra.shape[1]] = _JAW_UNIT * found[plain.shape[1] :]
    # Exact opposites, so that the two can be one unknown.
    for name, other in (("jawRight", "jawLeft"), ("mouthRight", "mouthLeft")):
        directions[arkit_index(name)] = -directions[arkit_index(other)]
    opened = posed_basis(space, directions[arkit_index("jawOpen")])
    directions[arkit_index("mouthClose"), space.columns["expression"]] = fitted(opened, wanted["mouthClose"])
    return directions, {name: field for name, field in wanted.items() if not name.startswith("eyeLook")}


def _jaw_columns(space: ParameterSpace) -> Float[np.ndarray, "V3 3"]:
    """Displacements by small turns of the jaw, for `_JAW_UNIT` each."""
    rows = np.zeros((4, space.size))
    rows[:3, space.columns["jaw"]] = _JAW_UNIT * np.eye(3)
    posed = pose_vectors(space, rows).reshape(4, -1)
    return (posed[:3] - posed[3]).T


def _carried_fields(space: ParameterSpace) -> dict[str, Float[np.ndarray, "V 3"]]:
    """The displacement of each shape on the other model, metres; none for the eyeballs."""
    source = load_flame(dtype=torch.float64)
    own = parameter_space(source)
    head = builtin_head()
    directions, exact = builtin_directions(head, own)
    start = fit_points(source, _landmarks(space.flame, source)).params
    faces = head.arrays.faces[(head.part[head.arrays.faces] != 1).all(1)]
    opened = torch.tensor([JAW_OPEN, 0.0, 0.0], dtype=torch.float64)
    hinged = space.flame.arrays.variant != "2023-no-jaw"
    with torch.no_grad():
        surface = source(replace(start, jaw=start.jaw + opened) if hinged else start).vertices.numpy()
    rows = np.zeros((1, space.size))
    rows[0, space.columns["jaw"].start] = JAW_OPEN if hinged else 0.0
    found = nearest_on_mesh(pose_vectors(space, rows)[0], surface, faces)
    riding = np.exp(-((np.maximum(found.distances - _REACH, 0.0) / _REACH) ** 2))
    riding[space.flame.arrays.skin_weights[:, 3:].sum(1) > 0.5] = 0.0
    weights = (riding[:, None] * found.barycentric)[..., None]
    fields = moved(own, directions, shape=start.shape)
    for name, field in exact.items():
        fields[arkit_index(name)] = field
    turn = exp(start.root).numpy()
    corners = faces[found.face_ids]
    return {name: (weights * fields[row][corners]).sum(1) @ turn.T for row, name in enumerate(ARKIT_NAMES)}


def _landmarks(flame: Flame, source: Flame) -> Float[np.ndarray, "L 3"]:
    scheme = next((name for name in _SCHEMES if name in flame.embeddings and name in source.embeddings), None)
    if scheme is None:
        raise InputError(
            f"{flame.source} has no landmarks by which the ARKit shapes could be carried over; put "
            "landmark_embedding.npy or mediapipe_landmark_embedding.npz beside the model file."
        )
    return flame.landmarks(flame.template, scheme).double().cpu().numpy()
