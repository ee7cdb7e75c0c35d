"""Errors of meshes that share one topology, vertex by vertex."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from flamehead.errors import InputError
from flamehead.geometry.similarity import Similarity, align_points, moved

__all__ = ["Alignment", "PairedError", "vertex_error"]

Alignment = Literal["none", "rigid", "similarity"]
"""What is taken out before measuring: nothing, rotation and translation, or those and the scale."""


@dataclass(frozen=True)
class PairedError:
    """Distances between points with known partners."""

    distances: Float[np.ndarray, "N"]
    """In the unit of the points; NaN where either side has no point."""
    placed: Similarity
    """From the prediction to the truth."""


def vertex_error(
    predicted: Float[np.ndarray, "V 3"],
    truth: Float[np.ndarray, "V 3"],
    *,
    align: Alignment = "none",
    ids: Int[np.ndarray, "K"] | None = None,
) -> PairedError:
    """Distance of each vertex from its partner, after an alignment in closed form.

    Args:
        predicted: Vertices.
        truth: The same vertices as they should be, in the same unit.
        align: What is taken out first, by least squares over the vertices that are measured.
        ids: The vertices to align and to measure, a region for example; all when None.

    Raises:
        InputError: The meshes do not match, the alignment is unknown, or `ids` names other vertices.

    Example:
        >>> cube = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
        >>> vertex_error(cube + 0.5, cube, align="rigid").distances.max() < 1e-12
        True
    """
    x, y = (np.asarray(points, dtype=np.float64) for points in (predicted, truth))
    if x.shape != y.shape or x.ndim != 2 or x.shape[1] != 3:
        raise InputError(
            f"The prediction has vertices {x.shape} and the truth {y.shape}; give meshes of one topology, or measure "
            "with `flamehead evaluate now`."
        )
    if ids is not None:
        rows = np.asarray(ids)
        if not rows.size or rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= len(x):
            raise InputError(f"The ids name vertices outside 0..{len(x) - 1}, or none; give ids of these meshes.")
        x, y = x[rows], y[rows]
    return paired_error(x, y, align=align)


def paired_error(x: Float[np.ndarray, "N 3"], y: Float[np.ndarray, "N 3"], *, align: Alignment) -> PairedError:
    """Distances from x to y; pairs with a NaN are left out of the alignment and stay NaN."""
    if align not in ("none", "rigid", "similarity"):
        raise InputError(f"There is no alignment {align!r}; choose 'none', 'rigid' or 'similarity'.")
    both = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    if not both.any():
        raise InputError("No point is on both sides; give a prediction and a truth that overlap.")
    placed = Similarity(1.0, np.eye(3), np.zeros(3))
    if align != "none":
        placed = align_points(x[both], y[both], scaled=align == "similarity")
    distances = np.linalg.norm(moved(x, placed) - y, axis=1)
    return PairedError(np.where(both, distances, np.nan), placed)
