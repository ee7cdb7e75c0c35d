"""A scan made ready for registration: without broken triangles, with normals, and a few thousand points for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from flamehead.errors import InputError

__all__ = ["Samples", "Scan", "choose_samples", "clean_scan"]

_NEIGHBOURS = 16
_FEWEST_POINTS = 100


@dataclass(frozen=True)
class Scan:
    """A surface in its own frame and unit."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    """Those with an area; none for a point cloud."""
    normals: Float[np.ndarray, "V 3"] | None
    """Unit length, zero where no face is; None for a point cloud."""
    areas: Float[np.ndarray, "V"]
    """A third of the area around each vertex; 1 for each point of a cloud."""


@dataclass(frozen=True)
class Samples:
    """Points that stand for the surface."""

    points: Float[np.ndarray, "N 3"]
    normals: Float[np.ndarray, "N 3"]
    oriented: bool
    """Whether normals point out of the surface; otherwise their sign means nothing."""


def clean_scan(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Scan:
    """Leave out what is no surface: triangles without area, and vertices that no triangle uses where there are any.

    Raises:
        InputError: Too few points, or they are not finite, or all on one line.
    """
    vertices, faces = np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64).reshape(-1, 3)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not np.isfinite(vertices).all():
        raise InputError(f"The scan's vertices have shape {vertices.shape} or are not finite; repair the scan first.")
    if len(faces) and not (0 <= faces.min() and faces.max() < len(vertices)):
        raise InputError("The scan's faces name vertices that it does not have; export it again.")
    extent = float(np.linalg.norm(np.ptp(vertices, axis=0))) if len(vertices) else 0.0
    if len(vertices) < _FEWEST_POINTS or not extent > 0.0:
        raise InputError(f"The scan holds {len(vertices)} points of extent {extent:g}; give the surface of a head.")
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    cross = np.cross(b - a, c - a)
    double = np.linalg.norm(cross, axis=1)
    good = double > 1e-14 * extent**2
    if not good.any():
        return Scan(vertices, np.zeros((0, 3), dtype=np.int64), None, np.ones(len(vertices)))
    faces, cross, double = faces[good], cross[good], double[good]
    areas = np.bincount(faces.reshape(-1), np.repeat(double / 6.0, 3), len(vertices))
    # NumPy adds at repeated places fastest by counting.
    normals = np.stack(
        [np.bincount(faces.reshape(-1), np.repeat(cross[:, k], 3), len(vertices)) for k in range(3)], axis=1
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return Scan(vertices, faces, normals / np.where(length > 0.0, length, 1.0), areas)


def choose_samples(scan: Scan, weights: Float[np.ndarray, "V"], count: int) -> Samples:
    """Draw vertices without replacement, each with a chance in proportion to its area times its weight.

    The draw is the same on every run. A dense region does not outweigh a coarse one, as areas count.

    Args:
        scan: The surface.
        weights: Not negative; zero leaves a vertex out.
        count: At most so many.
    """
    chance = scan.areas * weights
    usable = np.flatnonzero(chance > 0.0)
    # Efraimidis and Spirakis (2006): the largest u^(1/w) are such a draw.
    keys = np.log(np.random.default_rng(0).random(len(usable))) / chance[usable]
    if len(usable) > count:
        usable = usable[np.argpartition(-keys, count - 1)[:count]]
    usable = np.sort(usable)
    points = scan.vertices[usable]
    if scan.normals is not None:
        return Samples(points, scan.normals[usable], oriented=True)
    return Samples(points, _cloud_normals(points, scan.vertices[_thinned(weights > 0.0)]), oriented=False)


def _thinned(inside: Bool[np.ndarray, "V"]) -> Int[np.ndarray, "N"]:
    """At most 60,000 rows: normals of a cloud need no more."""
    rows = np.flatnonzero(inside)
    return rows[:: max(1, len(rows) // 60_000)]


def _cloud_normals(points: Float[np.ndarray, "N 3"], cloud: Float[np.ndarray, "M 3"]) -> Float[np.ndarray, "N 3"]:
    """The direction in which the neighbours of each point spread least."""
    rows = KDTree(cloud).query(points, k=min(_NEIGHBOURS, len(cloud)))[1]
    near = cloud[rows] - cloud[rows].mean(axis=1, keepdims=True)
    return np.linalg.eigh(np.einsum("nka,nkb->nab", near, near))[1][:, :, 0]
