"""The FLAME head: parameters to vertices, joints and landmarks.

Follows Li, Bolkart, Black, Li, Romero, "Learning a model of facial shape and expression from 4D scans" (2017), with
exact rotations. In the symbols of the code, for coefficients c, rotations R_j and translation t:

    v = template + basis c          (identity and expression)
    J = regressor v                 (joints depend on both, not on the pose)
    p = v + pose_basis (R - I)      (pose correctives of neck, jaw and eyes)
    vertices_i = sum_j w_ij (G_j (p_i - J_j) + posed_j) + t
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead._types import StrPath
from flamehead.assets import FlameArrays, LandmarkEmbedding, find_beside, read_model
from flamehead.data import FlameParams
from flamehead.errors import AssetNotFound, InputError
from flamehead.geometry.rotation import exp
from flamehead.model.landmarks import barycentric_points
from flamehead.model.lbs import add_basis, joint_transforms, pose_feature, skin

__all__ = ["Flame", "FlameOutput", "Paint", "load_flame"]

_FIELDS = tuple(field.name for field in fields(FlameParams))


@dataclass(frozen=True)
class FlameOutput:
    """A posed head, metres."""

    vertices: Float[Tensor, "*batch V 3"]
    joints: Float[Tensor, "*batch J 3"]
    """Root, neck, jaw, left eye, right eye."""


Paint: TypeAlias = Callable[[Int[np.ndarray, "N"], Float[np.ndarray, "N 3"]], Float[np.ndarray, "N 3"]]
"""The colour of points on the surface, given by triangle and barycentric weights."""


class Flame(torch.nn.Module):
    """A FLAME model as a differentiable layer; owns its arrays as buffers, so `.to()`, `.double()` and `.cuda()` work.

    Example:
        >>> flame = load_flame()
        >>> flame(flame.zeros(batch=(2,))).vertices.shape[:1]
        torch.Size([2])
    """

    template: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    skin_weights: Float[Tensor, "V J"]
    shape_basis: Float[Tensor, "S V3"]
    expression_basis: Float[Tensor, "E V3"]
    pose_basis: Float[Tensor, "P V3"]
    joint_template: Float[Tensor, "J 3"]
    """The joint regressor applied to the template; below, to the bases."""
    joint_shape_basis: Float[Tensor, "S J3"]
    joint_expression_basis: Float[Tensor, "E J3"]

    def __init__(
        self,
        arrays: FlameArrays,
        *,
        embeddings: Mapping[str, LandmarkEmbedding] | None = None,
        regions: Mapping[str, Int[np.ndarray, "N"]] | None = None,
        colors: Float[np.ndarray, "V 3"] | None = None,
        paint: Paint | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        """Put a model's arrays on a device.

        Args:
            arrays: the model.
            embeddings: landmarks by scheme, for `landmarks`.
            regions: named sets of vertex ids.
            colors: sRGB in [0, 1] per vertex, when the model has a colour.
            paint: sRGB of points on the surface given as (face ids, barycentric weights), finer than `colors`.
            dtype: of the buffers; parameters must have the same. `.double()` later keeps the rounding of float32.
            device: of the buffers.
        """
        super().__init__()
        self.arrays = arrays
        self.embeddings = dict(embeddings or {})
        self.regions = dict(regions or {})
        self.colors = colors
        self.paint = paint
        self.n_shape = int(arrays.shape_basis.shape[-1])
        self.n_expression = int(arrays.expression_basis.shape[-1])
        self.parents = arrays.parents
        for name, value in _constants(arrays).items():
            self._keep(name, torch.tensor(value, dtype=dtype, device=device).contiguous())
        self._keep("faces", torch.tensor(arrays.faces, dtype=torch.int64, device=device))
        for scheme, embedding in self.embeddings.items():
            corners = _corners(arrays, scheme, embedding)
            self._keep(f"{scheme}_corners", torch.tensor(corners, dtype=torch.int64, device=device))
            self._keep(f"{scheme}_weights", torch.tensor(embedding.barycentric, dtype=dtype, device=device))

    @property
    def fingerprint(self) -> str:
        """Identifies the model; parameters of one model mean nothing to another."""
        return self.arrays.fingerprint

    def zeros(self, batch: tuple[int, ...] = ()) -> FlameParams:
        """The mean head in the rest pose, in this model's sizes, dtype and device."""
        like = self.template
        return FlameParams.zeros(self.n_shape, self.n_expression, batch=batch, dtype=like.dtype, device=like.device)

    def forward(self, params: FlameParams) -> FlameOutput:
        """Shape and pose the head.

        Args:
            params: any leading batch; the batches of the fields are broadcast against each other. Fewer coefficients
                than the model has mean zeros for the rest.

        Returns:
            Vertices and posed joints in metres, translation included.

        Raises:
            InputError: a field has the wrong size, dtype or batch.
        """
        self._check(params)
        joints = add_basis(self.joint_template, self.joint_shape_basis, params.shape)
        joints = add_basis(joints, self.joint_expression_basis, params.expression)
        rest = add_basis(self.template, self.shape_basis, params.shape)
        rest = add_basis(rest, self.expression_basis, params.expression)
        rotations = exp(_rotation_vectors(params))
        rest = add_basis(rest, self.pose_basis, pose_feature(rotations))
        turned, posed = joint_transforms(rotations, joints, self.parents)
        shift = params.translation[..., None, :]
        return FlameOutput(skin(rest, self.skin_weights, turned, posed, joints) + shift, posed + shift)

    def landmarks(self, vertices: Float[Tensor, "*batch V 3"], scheme: str) -> Float[Tensor, "*batch L 3"]:
        """The landmarks of a scheme, such as `"ibug68"`, on posed vertices.

        Raises:
            InputError: this model has no embedding for the scheme.
        """
        if scheme not in self.embeddings:
            known = ", ".join(sorted(self.embeddings)) or "none"
            raise InputError(
                f"{self.arrays.source} has no landmarks {scheme!r} (it has: {known}); put the file that holds them "
                "(landmark_embedding.npy or mediapipe_landmark_embedding.npz) beside the model file."
            )
        return barycentric_points(vertices, self.get_buffer(f"{scheme}_corners"), self.get_buffer(f"{scheme}_weights"))

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)  # Licensed numbers stay out of a user's checkpoints.

    def _check(self, params: FlameParams) -> None:
        limits = {"shape": self.n_shape, "expression": self.n_expression}
        for name in _FIELDS:
            value: Tensor = getattr(params, name)
            size = value.shape[-1] if value.ndim else 0
            if name in limits and not (value.ndim and size <= limits[name]):
                raise InputError(
                    f"{name} has shape {tuple(value.shape)}, but {self.arrays.source} has {limits[name]} {name} "
                    f"coefficients; give (*batch, {limits[name]}) or fewer in the last axis."
                )
            if name not in limits and size != 3:
                raise InputError(f"{name} has shape {tuple(value.shape)}, wanted (*batch, 3): three numbers per head.")
            if value.dtype != self.template.dtype or value.device != self.template.device:
                raise InputError(
                    f"{name} is {value.dtype} on {value.device}, but the model is {self.template.dtype} on "
                    f"{self.template.device}; call params.to(dtype=..., device=...) or model.to(...) first."
                )
        _check_batches({name: getattr(params, name).shape[:-1] for name in _FIELDS})


def load_flame(
    path: StrPath | None = None,
    *,
    teeth: bool = False,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Flame:
    """Open a FLAME model: an official file, or the built-in licence-free head.

    Args:
        path: an official `.pkl` or an `.npz` with the same keys; landmark embeddings and masks are taken from its
            folder. None means the built-in head.
        teeth: add two rows of simple teeth to the built-in head; its mesh then has more than 5023 vertices.
        dtype: of the layer.
        device: of the layer.

    Raises:
        AssetNotFound: there is no such file.
        InputError: the file is not a FLAME model.

    Example:
        >>> load_flame().arrays.source
        'built-in head'
    """
    if path is None:
        from flamehead.builtin import add_teeth, builtin_head

        head = add_teeth(builtin_head()) if teeth else builtin_head()
        return Flame(
            head.arrays,
            embeddings=head.embeddings,
            regions=head.regions,
            colors=head.colors,
            paint=head.paint,
            dtype=dtype,
            device=device,
        )
    if teeth:
        raise InputError("Only the built-in head has teeth; leave out the model path, or `teeth`.")
    if not Path(path).exists():
        raise AssetNotFound(
            f"There is no FLAME model at {path}; download one from the FLAME site (licence and sign-up required) and "
            "pass its path, or pass no path to use the built-in head."
        )
    arrays, beside = read_model(path), find_beside(path)
    return Flame(arrays, embeddings=beside["embeddings"], regions=beside["regions"], dtype=dtype, device=device)


def _constants(arrays: FlameArrays) -> dict[str, np.ndarray]:
    """The float buffers: bases rows first, and the regressor already applied to template and bases."""

    def rows(basis: np.ndarray) -> np.ndarray:
        return basis.reshape(-1, basis.shape[-1]).T

    def regressed(basis: np.ndarray) -> np.ndarray:
        return rows(np.einsum("jv,vcs->jcs", arrays.joint_regressor, basis, optimize=True))

    return {
        "template": arrays.template,
        "skin_weights": arrays.skin_weights,
        "shape_basis": rows(arrays.shape_basis),
        "expression_basis": rows(arrays.expression_basis),
        "pose_basis": rows(arrays.pose_basis),
        "joint_template": arrays.joint_regressor @ arrays.template,
        "joint_shape_basis": regressed(arrays.shape_basis),
        "joint_expression_basis": regressed(arrays.expression_basis),
    }


def _corners(arrays: FlameArrays, scheme: str, embedding: LandmarkEmbedding) -> np.ndarray:
    """Vertex ids of the triangles that landmarks lie on."""
    if embedding.face_ids.size and embedding.face_ids.max() >= len(arrays.faces):
        raise InputError(
            f"The landmarks {scheme!r} use triangle {embedding.face_ids.max()}, but {arrays.source} has "
            f"{len(arrays.faces)} triangles; use the embedding that was made for this model."
        )
    return arrays.faces[embedding.face_ids].astype(np.int64)


def _rotation_vectors(params: FlameParams) -> Float[Tensor, "*batch 5 3"]:
    """The five rotations in joint order, their batches broadcast."""
    vectors = (params.root, params.neck, params.jaw, params.left_eye, params.right_eye)
    return torch.stack(torch.broadcast_tensors(*vectors), dim=-2)


def _check_batches(batches: dict[str, tuple[int, ...]]) -> None:
    """Raise when leading shapes cannot be broadcast, naming them."""
    sizes: dict[int, int] = {}
    for shape in batches.values():
        for axis, size in enumerate(reversed(shape)):
            if size != 1 and sizes.setdefault(axis, size) != size:
                listed = ", ".join(f"{name} {tuple(shape)}" for name, shape in batches.items())
                raise InputError(f"The batches of the parameters do not fit together: {listed}; make them broadcast.")
