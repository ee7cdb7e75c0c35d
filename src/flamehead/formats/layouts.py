"""The parameter layouts of other FLAME programs, as tensors in memory: each to ours and back.

All rotations are axis-angle vectors but the tracker's, which are six numbers: the first two rows of the matrix.
Gradients flow through all conversions; leading batches are free, and dtype and device follow the input.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.formats._entries import fit_width
from flamehead.geometry.rotation import exp, from_6d, log, to_6d

__all__ = [
    "FlameFittingLayout",
    "FlamePytorchLayout",
    "SmplxLayout",
    "TfFlameLayout",
    "TrackerLayout",
    "flame_fitting_to_params",
    "flame_pytorch_to_params",
    "params_to_flame_fitting",
    "params_to_flame_pytorch",
    "params_to_smplx",
    "params_to_tf_flame",
    "params_to_tracker_layout",
    "smplx_to_params",
    "tf_flame_to_params",
    "tracker_layout_to_params",
]


@dataclass(frozen=True)
class FlamePytorchLayout:
    """FLAME_PyTorch, photometric_optimization, and MICA's layer; names as in their calls."""

    shape_params: Float[Tensor, "*#batch S"]
    expression_params: Float[Tensor, "*#batch E"]
    pose_params: Float[Tensor, "*#batch 6"]
    """Root, jaw."""
    neck_pose: Float[Tensor, "*#batch 3"]
    eye_pose: Float[Tensor, "*#batch 6"]
    """Left, right."""
    transl: Float[Tensor, "*#batch 3"]
    """Metres."""


@dataclass(frozen=True)
class SmplxLayout:
    """smplx; names as in its calls."""

    betas: Float[Tensor, "*#batch S"]
    expression: Float[Tensor, "*#batch E"]
    global_orient: Float[Tensor, "*#batch 3"]
    neck_pose: Float[Tensor, "*#batch 3"]
    jaw_pose: Float[Tensor, "*#batch 3"]
    leye_pose: Float[Tensor, "*#batch 3"]
    reye_pose: Float[Tensor, "*#batch 3"]
    transl: Float[Tensor, "*#batch 3"]
    """Metres."""


@dataclass(frozen=True)
class TfFlameLayout:
    """TF_FLAME; names as in its files."""

    shape: Float[Tensor, "*#batch S"]
    exp: Float[Tensor, "*#batch E"]
    trans: Float[Tensor, "*#batch 3"]
    """Metres."""
    rot: Float[Tensor, "*#batch 3"]
    pose: Float[Tensor, "*#batch 12"]
    """Neck, jaw, left eye, right eye."""


@dataclass(frozen=True)
class FlameFittingLayout:
    """flame-fitting and BFM_to_FLAME; names as in their model."""

    betas: Float[Tensor, "*#batch S_plus_E"]
    """Identity (300), then expression (100)."""
    pose: Float[Tensor, "*#batch 15"]
    """Root, neck, jaw, left eye, right eye."""
    trans: Float[Tensor, "*#batch 3"]
    """Metres."""


@dataclass(frozen=True)
class TrackerLayout:
    """metrical-tracker's FLAME layer; rotations are the first two rows of each matrix."""

    shape: Float[Tensor, "*#batch S"]
    expression: Float[Tensor, "*#batch E"]
    pose: Float[Tensor, "*#batch 30"]
    """Root, neck, jaw, left eye, right eye: six numbers each."""
    translation: Float[Tensor, "*#batch 3"]
    """Metres; the tracker itself keeps it, the root and the neck at rest and moves the camera."""


def flame_pytorch_to_params(layout: FlamePytorchLayout) -> FlameParams:
    """FLAME_PyTorch's layout in ours."""
    root, jaw = _split(layout.pose_params, 2, "pose_params")
    left, right = _split(layout.eye_pose, 2, "eye_pose")
    return FlameParams(
        layout.shape_params, layout.expression_params, root, layout.neck_pose, jaw, left, right, layout.transl
    )


def params_to_flame_pytorch(params: FlameParams) -> FlamePytorchLayout:
    """Our parameters in FLAME_PyTorch's layout."""
    return FlamePytorchLayout(
        params.shape,
        params.expression,
        _join(params.root, params.jaw),
        params.neck,
        _join(params.left_eye, params.right_eye),
        params.translation,
    )


def smplx_to_params(layout: SmplxLayout) -> FlameParams:
    """smplx's layout in ours."""
    return FlameParams(
        layout.betas,
        layout.expression,
        layout.global_orient,
        layout.neck_pose,
        layout.jaw_pose,
        layout.leye_pose,
        layout.reye_pose,
        layout.transl,
    )


def params_to_smplx(params: FlameParams) -> SmplxLayout:
    """Our parameters in smplx's layout."""
    return SmplxLayout(
        params.shape,
        params.expression,
        params.root,
        params.neck,
        params.jaw,
        params.left_eye,
        params.right_eye,
        params.translation,
    )


def tf_flame_to_params(layout: TfFlameLayout) -> FlameParams:
    """TF_FLAME's layout in ours."""
    neck, jaw, left, right = _split(layout.pose, 4, "pose")
    return FlameParams(layout.shape, layout.exp, layout.rot, neck, jaw, left, right, layout.trans)


def params_to_tf_flame(params: FlameParams) -> TfFlameLayout:
    """Our parameters in TF_FLAME's layout."""
    pose = _join(params.neck, params.jaw, params.left_eye, params.right_eye)
    return TfFlameLayout(params.shape, params.expression, params.translation, params.root, pose)


def flame_fitting_to_params(layout: FlameFittingLayout, *, n_shape: int = 300) -> FlameParams:
    """flame-fitting's layout in ours.

    Args:
        layout: the parameters.
        n_shape: how many of `betas` are identity; 300 in the official models.
    """
    betas = layout.betas
    if betas.shape[-1] < n_shape:
        raise InputError(f"betas has {betas.shape[-1]} numbers, wanted {n_shape} for the identity and more after them.")
    root, neck, jaw, left, right = _split(layout.pose, 5, "pose")
    return FlameParams(betas[..., :n_shape], betas[..., n_shape:], root, neck, jaw, left, right, layout.trans)


def params_to_flame_fitting(params: FlameParams, *, n_shape: int = 300, n_expression: int = 100) -> FlameFittingLayout:
    """Our parameters in flame-fitting's layout, which has places for all coefficients of its model.

    Args:
        params: the parameters; missing coefficients become zeros.
        n_shape: identity coefficients of the model.
        n_expression: expression coefficients of the model.

    Raises:
        InputError: there are more coefficients than places.
    """
    shape = fit_width(params.shape, n_shape, "shape", "the flame-fitting layout")
    expression = fit_width(params.expression, n_expression, "expression", "the flame-fitting layout")
    pose = _join(params.root, params.neck, params.jaw, params.left_eye, params.right_eye)
    return FlameFittingLayout(_join(shape, expression), pose, params.translation)


def tracker_layout_to_params(layout: TrackerLayout) -> FlameParams:
    """metrical-tracker's layout in ours."""
    root, neck, jaw, left, right = log(from_6d(_rows(layout.pose, 5, "pose"))).unbind(-2)
    return FlameParams(layout.shape, layout.expression, root, neck, jaw, left, right, layout.translation)


def params_to_tracker_layout(params: FlameParams) -> TrackerLayout:
    """Our parameters in metrical-tracker's layout."""
    vectors = (params.root, params.neck, params.jaw, params.left_eye, params.right_eye)
    pose = _join(*(to_6d(exp(vector)) for vector in vectors))
    return TrackerLayout(params.shape, params.expression, pose, params.translation)


def _rows(values: Tensor, count: int, name: str) -> Tensor:
    """Several rotations of six numbers behind one another, as an axis of their own."""
    if values.shape[-1] != 6 * count:
        raise InputError(f"{name} has {values.shape[-1]} numbers, wanted {6 * count}: {count} rotations of six.")
    return values.unflatten(-1, (count, 6))


def _split(values: Tensor, count: int, name: str) -> tuple[Tensor, ...]:
    """Several rotation vectors behind one another."""
    if values.shape[-1] != 3 * count:
        raise InputError(f"{name} has {values.shape[-1]} numbers, wanted {3 * count}: {count} rotation vectors.")
    return values.unflatten(-1, (count, 3)).unbind(-2)


def _join(*parts: Tensor) -> Tensor:
    """Parts behind one another, their batches broadcast."""
    batch = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return torch.cat([part.expand(*batch, part.shape[-1]) for part in parts], dim=-1)
