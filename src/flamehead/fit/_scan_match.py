"""Which place on the head each scan point belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from flamehead.errors import InputError
from flamehead.fit.scan_samples import Samples, Scan
from flamehead.geometry.nearest import build_surface_tree, nearest_in_tree

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["Match", "SkinSurface", "match_samples", "near_head", "skin_surface"]

_HIDDEN_REGIONS = ("lip_inside",)
"""What no scanner sees; without a table of regions, normals keep the scan from lying on it."""
_FEWEST_POINTS = 100


@dataclass(frozen=True)
class SkinSurface:
    """The part of a head that a scanner can see."""

    faces: Int[np.ndarray, "F 3"]
    border: Bool[np.ndarray, "F 3"]
    """Whether the edge that faces a corner is a border of this part."""


@dataclass(frozen=True)
class Match:
    """Where each sample lies on the head."""

    corners: Int[np.ndarray, "N 3"]
    """Vertex ids of its triangle."""
    barycentric: Float[np.ndarray, "N 3"]
    directions: Float[np.ndarray, "N 3"]
    """Unit vectors along which the distances are measured."""
    distance: Float[np.ndarray, "N"]
    """Metres, `directions . (place on the head - sample)`."""
    valid: Bool[np.ndarray, "N"]
    """Not on a border, normals compatible."""


def skin_surface(flame: Flame) -> SkinSurface:
    """The faces that a scanner can see: without the inside of the mouth, where the model names it."""
    faces = flame.arrays.faces
    hidden = np.zeros(len(flame.arrays.template), dtype=bool)
    for name in _HIDDEN_REGIONS:
        hidden[np.asarray(flame.regions.get(name, ()), dtype=np.int64)] = True
    faces = faces[~hidden[faces].all(axis=1)]
    edges = np.sort(faces[:, [[1, 2], [2, 0], [0, 1]]], axis=2).astype(np.int64)
    keys = edges[..., 0] * len(hidden) + edges[..., 1]
    _, inverse, counts = np.unique(keys.reshape(-1), return_inverse=True, return_counts=True)
    return SkinSurface(faces, (counts[inverse.reshape(-1)] == 1).reshape(-1, 3))


def match_samples(
    vertices: Float[np.ndarray, "V 3"], samples: Samples, surface: SkinSurface, *, scale: float, cosine: float
) -> Match:
    """Find the place nearest to each sample.

    Args:
        vertices: Of the posed head, metres.
        samples: Of the scan, in its unit.
        surface: The part of the head that counts.
        scale: Metres per unit of the scan.
        cosine: Least cosine between the normals of a sample and of the place.
    """
    points = scale * samples.points
    found = nearest_in_tree(points, build_surface_tree(vertices, surface.faces))
    corners = surface.faces[found.face_ids]
    a, b, c = np.moveaxis(vertices[corners], 1, 0)
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    offset = found.points - points
    # Over an edge or a corner the distance is not along a normal.
    apart = np.linalg.norm(offset, axis=1)
    steep = (found.barycentric.min(axis=1) <= 1e-9) & (apart > 1e-9)
    directions = np.where(steep[:, None], offset / np.maximum(apart, 1e-30)[:, None], normals)
    agreement = np.einsum("na,na->n", normals, samples.normals)
    compatible = (agreement if samples.oriented else np.abs(agreement)) > cosine
    on_border = ((found.barycentric < 1e-9) & surface.border[found.face_ids]).any(axis=1)
    distance = np.einsum("na,na->n", directions, offset)
    return Match(corners, found.barycentric, directions, distance, compatible & ~on_border)


def near_head(
    scan: Scan, head: Float[np.ndarray, "V 3"], surface: SkinSurface, *, reach: float, most: int
) -> Int[np.ndarray, "N"]:
    """Rows of the scan's vertices that lie near the head; of a large scan every n-th only.

    Args:
        scan: The scan.
        head: Vertices of the head in the scan's frame and unit.
        surface: The part of the head that counts.
        reach: Largest distance, in the unit of the scan.
        most: About how many distances to compute.

    Raises:
        InputError: There are hardly any.
    """
    low, high = head.min(axis=0) - reach, head.max(axis=0) + reach
    inside = np.flatnonzero(((scan.vertices > low) & (scan.vertices < high)).all(axis=1) & (scan.areas > 0.0))
    inside = inside[:: max(1, len(inside) // most)]
    if len(inside):
        tree = build_surface_tree(head, surface.faces)
        inside = inside[nearest_in_tree(scan.vertices[inside], tree).distances < reach]
    if len(inside) < _FEWEST_POINTS:
        raise InputError(
            f"Only {len(inside)} points of the scan lie near the head that the landmarks show; give landmarks in the "
            "frame and unit of this scan, or none to find them."
        )
    return inside
