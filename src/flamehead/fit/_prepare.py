"""A FLAME model reduced to the landmarks that an observation shares with it."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from flamehead.assets.model_file import LandmarkEmbedding
from flamehead.data import LandmarkScheme
from flamehead.fit._correspondence import OUTER_EYE_CORNERS, Correspondence, correspond, select
from flamehead.fit.landmark_model import HeadState, LandmarkModel, build_landmark_model, landmark_positions

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """The model side of a landmark fit; depends on no image."""

    pairs: Correspondence
    model: LandmarkModel
    """The paired landmarks that are fitted."""
    all_pairs: Correspondence
    everything: LandmarkModel
    """All landmarks of the model's scheme, for the result."""
    mean_points: Float[np.ndarray, "K 3"]
    """The paired landmarks on the mean head, metres."""
    pivot: Float[np.ndarray, "3"]
    """The root joint of the mean head."""
    eye_distance: float
    """Between the outer eye corners of the mean head, metres."""


_MAX_HELD = 4
# Reducing a model costs as much as several fits, and every frame of a video asks for the same reduction.
_HELD: dict[tuple, tuple[weakref.ref, weakref.ref, Prepared]] = {}


def prepare(flame: Flame, scheme: LandmarkScheme, *, n_shape: int, n_expression: int, with_other: bool) -> Prepared:
    """Pair the landmarks and reduce the model to them; the last few results are kept.

    Args:
        flame: The model.
        scheme: Of the observation.
        n_shape: Leading identity components to keep.
        n_expression: Leading expression components to keep.
        with_other: Fit the face-mesh points on smooth skin, too.

    Raises:
        AssetNotFound: The model has no landmarks that match.
    """
    pairs = correspond(scheme, tuple(flame.embeddings), source=flame.arrays.source)
    arrays, embedding = flame.arrays, flame.embeddings[pairs.scheme]
    key = (id(arrays), id(embedding), scheme, n_shape, n_expression, with_other)
    held = _HELD.get(key)
    # An id can be that of a newer object once the older one is gone; the weak references tell.
    if held is not None and held[0]() is arrays and held[1]() is embedding:
        return held[2]
    fitted = pairs if with_other else select(pairs, ~pairs.is_kind("other"))
    rows = LandmarkEmbedding(embedding.face_ids[fitted.model_rows], embedding.barycentric[fitted.model_rows])
    model = build_landmark_model(arrays, rows, n_shape=n_shape, n_expression=n_expression)
    mean_points = landmark_positions(model, HeadState.zeros(model.columns.n_shape, model.columns.n_expression))
    corners = mean_points[np.isin(fitted.mesh_ids, OUTER_EYE_CORNERS)]
    prepared = Prepared(
        pairs=fitted,
        model=model,
        all_pairs=pairs,
        everything=build_landmark_model(arrays, embedding, n_shape=n_shape, n_expression=n_expression),
        mean_points=mean_points,
        pivot=model.joints_template[0],
        eye_distance=float(np.linalg.norm(corners[0] - corners[1])),
    )
    while len(_HELD) >= _MAX_HELD:
        _HELD.pop(next(iter(_HELD)), None)
    _HELD[key] = (weakref.ref(arrays), weakref.ref(embedding), prepared)
    return prepared
