"""Which seen landmark is which landmark of the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Int

from flamehead.data import LandmarkScheme
from flamehead.errors import AssetNotFound
from flamehead.geometry.landmark_sets import FACE_OVAL, IBUG68_IN_MEDIAPIPE, LEFT_IRIS, MEDIAPIPE_105, RIGHT_IRIS

__all__ = ["OUTER_EYE_CORNERS", "Correspondence", "Kind", "correspond", "mesh_ids", "rows_of", "select"]

Kind = Literal["inner", "contour", "iris", "other"]
"""Features of the face, its outline (which slides), pupils, and the smooth skin between them."""

OUTER_EYE_CORNERS = np.array([33, 263])
"""Right and left, as face-mesh points."""

_RICHEST_FIRST = ("mediapipe478", "mediapipe468", "mediapipe105", "ibug68", "ibug51")
_IBUG_CONTOUR = 17


@dataclass(frozen=True)
class Correspondence:
    """Pairs of a seen landmark and a landmark of the model, sorted by the seen row."""

    scheme: str
    """Of the model's landmarks: those of `LandmarkScheme`, or `ibug51`, the 68 without the contour."""
    seen_rows: Int[np.ndarray, "K"]
    model_rows: Int[np.ndarray, "K"]
    mesh_ids: Int[np.ndarray, "K"]
    """The face-mesh point of each pair."""
    kinds: tuple[Kind, ...]
    neighbours: Int[np.ndarray, "K 2"]
    """Seen rows before and after a contour point along the contour; its own row where there is none."""

    def is_kind(self, kind: Kind) -> np.ndarray:
        """Mask of the pairs of a kind."""
        return np.array([k == kind for k in self.kinds], dtype=bool)


def mesh_ids(scheme: str) -> Int[np.ndarray, "L"]:
    """The face-mesh point of each landmark of a scheme."""
    if scheme.startswith("ibug"):
        return IBUG68_IN_MEDIAPIPE[_IBUG_CONTOUR if scheme == "ibug51" else 0 :]
    return MEDIAPIPE_105 if scheme == "mediapipe105" else np.arange(int(scheme.removeprefix("mediapipe")))


def rows_of(scheme: str, points: Int[np.ndarray, "K"]) -> Int[np.ndarray, "K"]:
    """The rows of a scheme that hold some face-mesh points; -1 for points it does not hold."""
    row = np.full(478, -1)
    ids = mesh_ids(scheme)
    row[ids] = np.arange(len(ids))
    return row[points]


@lru_cache(maxsize=16)
def correspond(seen: str, available: tuple[str, ...], *, source: str) -> Correspondence:
    """Choose the model's landmarks that serve a set of seen ones best, and pair them.

    Points of different schemes are paired when they are the same point of the face mesh. The definitions of iBUG and
    MediaPipe differ by a few percent of the eye distance, so the same scheme is preferred, then the same family.

    Args:
        seen: What was detected.
        available: The schemes that the model has landmarks for.
        source: The model's name in the error.

    Raises:
        AssetNotFound: The model has no usable landmarks.
    """
    candidates = [s for s in _RICHEST_FIRST if s in available]
    if not candidates:
        raise AssetNotFound(
            f"{source} has no landmarks to fit (it has: {', '.join(sorted(available)) or 'none'}, wanted one of "
            f"{', '.join(get_args(LandmarkScheme))}); put mediapipe_landmark_embedding.npz from the FLAME website's "
            'download page ("MediaPipe landmark embedding", licence required) into the model\'s folder.'
        )
    candidates.sort(key=lambda scheme: (scheme != seen, scheme[:4] != seen[:4]))
    return _pair(seen, candidates[0])


def _pair(seen: str, scheme: str) -> Correspondence:
    points = mesh_ids(seen)
    model_rows = rows_of(scheme, points)
    seen_rows = np.flatnonzero(model_rows >= 0)
    inner = rows_of(seen, MEDIAPIPE_105)
    contour, loop = _contour(seen)
    neighbours = np.repeat(np.arange(len(points))[:, None], 2, axis=1)
    neighbours[contour] = loop
    kinds = np.full(len(points), "other", dtype=object)
    kinds[inner[inner >= 0]] = "inner"
    kinds[contour] = "contour"
    if seen == "mediapipe478":
        kinds[np.concatenate([LEFT_IRIS, RIGHT_IRIS])] = "iris"
    return Correspondence(
        scheme=scheme,
        seen_rows=seen_rows,
        model_rows=model_rows[seen_rows],
        mesh_ids=points[seen_rows],
        kinds=tuple(kinds[seen_rows]),
        neighbours=neighbours[seen_rows],
    )


def _contour(seen: str) -> tuple[Int[np.ndarray, "C"], Int[np.ndarray, "C 2"]]:
    """Rows of the face's outline, and the rows before and after each."""
    if seen == "ibug68":
        rows = np.arange(_IBUG_CONTOUR)
        return rows, np.clip(np.stack([rows - 1, rows + 1], axis=1), 0, _IBUG_CONTOUR - 1)
    rows = rows_of(seen, FACE_OVAL)
    if (rows < 0).any():
        return np.zeros(0, dtype=int), np.zeros((0, 2), dtype=int)
    return rows, np.stack([np.roll(rows, 1), np.roll(rows, -1)], axis=1)


def select(pairs: Correspondence, used: Bool[np.ndarray, "K"]) -> Correspondence:
    """Some of the pairs."""
    return replace(
        pairs,
        seen_rows=pairs.seen_rows[used],
        model_rows=pairs.model_rows[used],
        mesh_ids=pairs.mesh_ids[used],
        kinds=tuple(kind for kind, keep in zip(pairs.kinds, used, strict=True) if keep),
        neighbours=pairs.neighbours[used],
    )
