"""Let every vertex of a registered head leave the model to lie on the scan.

Displacements D minimise, with the weights w of a Geman-McClure loss and the umbrella Laplacian L,

    sum_s w_s |sum_k b_sk (v + D)_sk - q_s|^2 + stiffness^2 |L D|^2 + hold^2 |D|^2

for scan points q_s and the places b_s nearest to them, found anew in each round. Axes do not mix, so one sparse
factorisation of a V x V matrix serves all three. What no scan point reaches follows smoothly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array, csc_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from flamehead.fit._scan_match import Match, SkinSurface, match_samples, near_head, skin_surface
from flamehead.fit._states import to_state
from flamehead.fit.points import lip_line
from flamehead.fit.scan_samples import Samples, Scan, choose_samples
from flamehead.fit.surface_model import PosedSurface, build_surface_model, pose_surface
from flamehead.geometry.intersections import self_intersections
from flamehead.solve import geman_mcclure, single_threaded_blas

if TYPE_CHECKING:
    from flamehead.data import FlameParams
    from flamehead.model import Flame

__all__ = ["OffsetSettings", "free_vertices", "mouth_intersections"]

_SPARE_COMPONENTS = 1000
"""Vertices below which a separate part of the mesh is an eyeball, which stays as it is."""


@dataclass(frozen=True)
class OffsetSettings:
    """How freely vertices move. Lengths are metres."""

    stiffness: float = 1.5
    """Weight of the Laplacian against one scan point per vertex."""
    hold: float = 0.02
    """Weight of staying where the model is."""
    width: float = 3e-3
    """Distance at which a scan point starts to look like an outlier."""
    normal_cosine: float = 0.5
    """Least cosine between the normals of a scan point and of the head where it lies."""
    samples: int = 20_000
    """Scan points that take part."""
    rounds: int = 4
    """How often nearest points are found anew."""
    mouth_stiffness: float = 3.0
    """The stiffness around the lips is multiplied by this, again and again while the lips would cut each other."""


@single_threaded_blas()
def free_vertices(
    flame: Flame, params: FlameParams, scan: Scan, *, scale: float = 1.0, settings: OffsetSettings | None = None
) -> Float[torch.Tensor, "V 3"]:
    """Displacements that take a registered head onto the scan.

    Args:
        flame: The model.
        params: Of one head, metres.
        scan: From `clean_scan`.
        scale: Metres per unit of the scan.
        settings: Weights.

    Returns:
        Metres, in the head at rest: `flame(params, frame_offsets=offsets)`. Zero around the mouth where no displacement
        keeps the lips from cutting each other.

    Raises:
        InputError: No part of the scan lies near the head.
    """
    settings = settings or OffsetSettings()
    model = build_surface_model(flame.arrays, n_shape=flame.n_shape, n_expression=flame.n_expression)
    posed, surface = pose_surface(model, to_state(params)), skin_surface(flame)
    samples = _samples(scan, posed, surface, scale, settings)
    laplacian, loose = _umbrella(flame.arrays.faces, len(posed.vertices))
    mouth = _around_mouth(flame)
    allowed = len(mouth_intersections(flame, posed.vertices))
    stiffness = np.full(len(loose), settings.stiffness)
    moved = posed.vertices
    for _ in range(5):
        moved = _settle(posed, samples, surface, laplacian, loose, stiffness, scale, settings)
        if len(mouth_intersections(flame, moved)) <= allowed:
            break
        stiffness[mouth] *= settings.mouth_stiffness
    else:
        moved = np.where(mouth[:, None], posed.vertices, moved)
    at_rest = np.linalg.solve(posed.blend, (moved - posed.vertices)[..., None])[..., 0]
    return torch.as_tensor(at_rest).to(dtype=flame.template.dtype, device=flame.template.device)


def mouth_intersections(flame: Flame, vertices: Float[np.ndarray, "V 3"]) -> Int[np.ndarray, "P 2"]:
    """Pairs of triangles around the mouth that cut each other, rows of the model's faces.

    Args:
        flame: The model.
        vertices: Of the posed head.
    """
    rows = np.flatnonzero(_around_mouth(flame)[flame.arrays.faces].all(axis=1))
    return rows[self_intersections(vertices, flame.arrays.faces[rows])]


def _around_mouth(flame: Flame) -> Bool[np.ndarray, "V"]:
    """Vertices of the lips and what lies behind them."""
    template, (corners, barycentric) = flame.arrays.template, lip_line(flame)
    lips = np.einsum("gck,gcka->gca", barycentric, template[corners]).reshape(-1, 3)
    middle, radius = lips.mean(axis=0), 0.8 * float(np.ptp(lips[:, 0]))
    return np.linalg.norm((template - middle) / [1.0, 0.6, 1.0], axis=1) < radius


def _samples(scan: Scan, posed: PosedSurface, surface: SkinSurface, scale: float, settings: OffsetSettings) -> Samples:
    near = near_head(
        scan, posed.vertices / scale, surface, reach=4.0 * settings.width / scale, most=4 * settings.samples
    )
    weights = np.zeros(len(scan.vertices))
    # Areas play no part here: a dense region is known better.
    weights[near] = 1.0 / np.maximum(scan.areas[near], 1e-30)
    return choose_samples(replace(scan), weights, settings.samples)


def _umbrella(faces: Int[np.ndarray, "F 3"], n: int) -> tuple[csr_array, Bool[np.ndarray, "V"]]:
    """The Laplacian x_i - mean of its neighbours, and the vertices that may move."""
    a, b = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    edges = csr_array(coo_array((np.ones(2 * len(a)), (np.append(a, b), np.append(b, a))), shape=(n, n)))
    edges.data[:] = 1.0
    degree = np.maximum(np.asarray(edges.sum(axis=1)), 1.0)
    laplacian = csr_array(diags_array(np.ones(n)) - diags_array(1.0 / degree) @ edges)
    parts = connected_components(edges, directed=False)[1]
    return laplacian, np.bincount(parts)[parts] >= min(_SPARE_COMPONENTS, n // 2)


def _settle(
    posed: PosedSurface,
    samples: Samples,
    surface: SkinSurface,
    laplacian: csr_array,
    loose: Bool[np.ndarray, "V"],
    stiffness: Float[np.ndarray, "V"],
    scale: float,
    settings: OffsetSettings,
) -> Float[np.ndarray, "V 3"]:
    """Displace the vertices until nearest points hardly change."""
    stiff = diags_array(stiffness) @ laplacian
    # What is not loose is held by a weight that leaves nothing to the rest.
    smooth = stiff.T @ stiff + diags_array(np.where(loose, settings.hold**2, 1e6))
    moved = posed.vertices
    for _ in range(settings.rounds):
        match = match_samples(moved, samples, surface, scale=scale, cosine=settings.normal_cosine)
        data, pull = _pull(posed.vertices, samples, match, scale, settings.width)
        moved = posed.vertices + splu(csc_array(data + smooth), permc_spec="MMD_AT_PLUS_A").solve(pull)
    return moved


def _pull(
    vertices: Float[np.ndarray, "V 3"], samples: Samples, match: Match, scale: float, width: float
) -> tuple[csr_array, Float[np.ndarray, "V 3"]]:
    """Normal matrix and right side of the data term, scaled to one scan point per vertex that is reached."""
    rows = np.flatnonzero(match.valid)
    weights = geman_mcclure(match.distance[rows] ** 2, width)[1]
    corners, barycentric = match.corners[rows], match.barycentric[rows]
    n, size = len(rows), len(vertices)
    places = csr_array((barycentric.reshape(-1), corners.reshape(-1), np.arange(0, 3 * n + 1, 3)), shape=(n, size))
    reached = np.bincount(corners.reshape(-1), barycentric.reshape(-1), size)
    weights = weights / np.maximum((barycentric * reached[corners]).sum(axis=1), 1.0)
    weighted = diags_array(weights) @ places
    return csr_array(weighted.T @ places), weighted.T @ (scale * samples.points[rows] - places @ vertices)
