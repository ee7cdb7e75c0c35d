"""The model as a tracker needs it: landmarks, compared surface and texture, with eyelids among the expressions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from flamehead.data import FlameParams
from flamehead.fit._prepare import Prepared, prepare
from flamehead.fit._so3 import log
from flamehead.fit.landmark_model import Columns, HeadState, LandmarkModel, bake, compiled_landmarks
from flamehead.fit.landmarks import LandmarkFitSettings
from flamehead.fit.pixels import FaceSurface, TextureSpace, face_surface, linear_about
from flamehead.model import Flame

if TYPE_CHECKING:
    from flamehead.model.head import Head

__all__ = ["LID_UNIT", "TrackedFace", "baked_texture", "head_params", "head_vertices", "personal", "tracked_face"]

LID_UNIT = 0.5
"""Closure of an eye by one unit of its coefficient: with a spread of 1, twice that shuts it."""
_SCHEME = "mediapipe478"
_STILL = 1e-6
"""Spread of a jaw that a model is not made to turn, radians."""
_EXPLAINED = 0.3
"""Share of the eyelid fields that expressions may leave open and still stand for them."""


@dataclass(frozen=True)
class TrackedFace:
    """A model reduced to what is compared with the frames."""

    flame: Flame
    """With the leading components only, and the eyelids, if it has any, as the last two expressions."""
    prepared: Prepared
    surface: FaceSurface | None
    """None where only landmarks are followed."""
    n_lids: int
    """0 or 2."""
    believed: LandmarkFitSettings
    """Of the landmarks and the head; a jaw that the model is not made to turn stays shut."""

    @property
    def compared(self) -> FaceSurface:
        """The surface, for those who have pixels."""
        assert self.surface is not None, "a face for landmarks only has no pixels to compare"
        return self.surface

    @property
    def columns(self) -> Columns:
        """Of the unknowns."""
        return self.prepared.model.columns


def tracked_face(flame: Flame, settings: LandmarkFitSettings, *, landmarks_only: bool) -> TrackedFace:
    """Reduce a model; depends on no video."""
    n_shape, n_expression = min(settings.n_shape, flame.n_shape), min(settings.n_expression, flame.n_expression)
    arrays = flame.arrays
    expressions = arrays.expression_basis[:, :, :n_expression]
    lids = _own_lids(flame, expressions)
    n_lids = 0 if lids is None else 2
    if lids is not None:
        expressions = np.concatenate([expressions, LID_UNIT * lids], axis=2)
    small = replace(arrays, shape_basis=arrays.shape_basis[:, :, :n_shape], expression_basis=expressions)
    reduced = Flame(small, embeddings=flame.embeddings, regions=flame.regions)
    prepared = prepare(
        reduced, _SCHEME, n_shape=n_shape, n_expression=n_expression + n_lids,
        with_other=settings.other_sigma is not None,
    )  # fmt: skip
    surface = None
    if not landmarks_only:
        faces = flame.region_faces("face").cpu().numpy()
        surface = face_surface(small, faces, n_shape=n_shape, n_expression=n_expression + n_lids)
    if arrays.variant == "2023-no-jaw":
        settings = replace(settings, jaw_sigma=(_STILL, _STILL, _STILL))
    return TrackedFace(reduced, prepared, surface, n_lids, settings)


def _own_lids(flame: Flame, expressions: Float[np.ndarray, "V 3 E"]) -> Float[np.ndarray, "V 3 2"] | None:
    """The eyelid fields; None where the model has none, or where its expressions shut the eyes as well."""
    if flame.eyelid_basis is None:
        return None
    fields = flame.eyelid_basis.detach().cpu().double().numpy().reshape(2, -1).T
    moved = fields.any(axis=1)
    basis, wanted = expressions.reshape(len(fields), expressions.shape[2])[moved], fields[moved]
    left = wanted - basis @ np.linalg.lstsq(basis, wanted, rcond=None)[0]
    if np.linalg.norm(left) < _EXPLAINED * np.linalg.norm(wanted):
        return None
    return np.moveaxis(fields.T.reshape(2, -1, 3), 0, -1)


def personal(
    face: TrackedFace, shape: Float[np.ndarray, "S"], shift: Float[np.ndarray, "K 3"]
) -> tuple[TrackedFace, Head]:
    """The face with an identity built in, and the head that poses all its vertices.

    Args:
        face: Of anybody.
        shape: The identity.
        shift: How far the landmarks of this person lie from the model's, in the head at rest, metres.
    """
    model = compiled_landmarks(shifted(bake(face.prepared.model, shape=shape), shift))
    everything = compiled_landmarks(bake(face.prepared.everything, shape=shape))
    prepared = replace(face.prepared, model=model, everything=everything)
    surface = face.surface
    if surface is not None:
        basis = np.ascontiguousarray(surface.basis[:, :, len(shape) :])
        surface = replace(surface, model=bake(surface.model, shape=shape), basis=basis)
    like = face.flame.template
    head = face.flame.with_identity(torch.as_tensor(shape).to(like))
    return replace(face, prepared=prepared, surface=surface), head


def shifted(model: LandmarkModel, shift: Float[np.ndarray, "K 3"]) -> LandmarkModel:
    """The landmarks moved on the head at rest."""
    parts = tuple(
        replace(part, template=part.template + part.weights[:, None] * shift[part.rows]) for part in model.parts
    )
    return replace(model, parts=parts)


def baked_texture(texture: TextureSpace, albedo: Float[np.ndarray, "K"]) -> TextureSpace:
    """A texture space without components: the colours of one person, linear."""
    texture = linear_about(texture, albedo)
    mean = np.ascontiguousarray(texture.mean + texture.basis @ albedo.astype(np.float32))
    return TextureSpace(mean, np.zeros((*mean.shape, 0), np.float32), texture.uv)


def head_params(state: HeadState, like: torch.Tensor) -> FlameParams:
    """A state as parameters of the head that it belongs to."""
    left, right = (np.append(eye, 0.0) for eye in state.eyes)
    values = (state.shape, state.expression, log(state.root), state.neck, state.jaw, left, right, state.translation)
    return FlameParams(*(torch.as_tensor(value).to(like) for value in values))


def head_vertices(head: Head, state: HeadState) -> Float[np.ndarray, "V 3"]:
    """The posed head, metres."""
    with torch.no_grad():
        return head(head_params(state, head.template)).vertices.cpu().double().numpy()
