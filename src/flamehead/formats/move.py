"""A head seen from another world frame, in the same parameters."""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from flamehead.data import Camera, FlameParams
from flamehead.formats._entries import fit_width
from flamehead.geometry.rotation import exp, log
from flamehead.model import Flame
from flamehead.model.lbs import add_basis

__all__ = ["move_camera", "move_head", "rest_joints", "root_joint"]


def root_joint(params: FlameParams, flame: Flame) -> Float[Tensor, "*batch 3"]:
    """The point J0 about which `root` turns, metres, before translation; depends on identity and expression."""
    return rest_joints(params, flame)[..., 0, :]


def rest_joints(params: FlameParams, flame: Flame) -> Float[Tensor, "*batch J 3"]:
    """The joints of the shaped head at rest, metres, in the type of the parameters."""
    shape = fit_width(params.shape, flame.n_shape, "shape", flame.arrays.source)
    expression = fit_width(params.expression, flame.n_expression, "expression", flame.arrays.source)
    joints = add_basis(flame.joint_template.to(shape), flame.joint_shape_basis.to(shape), shape)
    return add_basis(joints, flame.joint_expression_basis.to(shape), expression)


def move_head(
    params: FlameParams,
    flame: Flame,
    *,
    rotation: Float[Tensor, "*#batch 3 3"],
    translation: Float[Tensor, "*#batch 3"],
) -> FlameParams:
    """Parameters whose vertices are `rotation @ v + translation` of the given ones'.

    With v = R (u - J0) + J0 + t, the new root is rotation R and the new translation
    rotation (J0 + t) + translation - J0.

    Args:
        params: the head.
        flame: the model they belong to: the root turns about a joint that depends on the identity.
        rotation: old world to new world.
        translation: metres, in the new world.
    """
    joint = root_joint(params, flame)
    moved = (rotation @ (joint + params.translation)[..., None])[..., 0] + translation - joint
    return replace(params, root=log(rotation @ exp(params.root)), translation=moved)


def move_camera(
    camera: Camera, *, rotation: Float[Tensor, "*#batch 3 3"], translation: Float[Tensor, "*#batch 3"]
) -> Camera:
    """The same camera when the world's points become `rotation @ x + translation`; pictures stay the same."""
    turned = camera.rotation @ rotation.mT
    moved = camera.translation - (turned @ translation[..., None])[..., 0]
    return replace(camera, rotation=turned, translation=moved)
