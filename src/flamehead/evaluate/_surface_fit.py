"""Move a mesh onto points of a scan: sum of squared scan-to-mesh distances over a similarity or a rigid motion."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from flamehead.geometry.nearest import SurfaceTree, nearest_in_tree
from flamehead.geometry.similarity import Similarity, inverted, moved
from flamehead.solve import Solution, levenberg_marquardt

__all__ = ["distances_to_moved_mesh", "move_mesh_onto_points"]

_COST_TOLERANCE = 1e-7
"""A hundredth of the published stop: the result must not depend on where the search began."""
_ON_SURFACE = 1e-9
"""Share of the scan's size below which a distance has no direction of its own."""


def distances_to_moved_mesh(
    points: Float[np.ndarray, "N 3"], tree: SurfaceTree, placed: Similarity
) -> Float[np.ndarray, "N"]:
    """Distances from points to a mesh that a similarity has moved; the tree stays that of the mesh where it was."""
    return placed.scale * nearest_in_tree(moved(points, inverted(placed)), tree).distances


def move_mesh_onto_points(
    points: Float[np.ndarray, "N 3"],
    tree: SurfaceTree,
    start: Similarity,
    *,
    scaled: bool,
    weights: Float[np.ndarray, "N"] | None = None,
) -> Solution[Similarity]:
    """Minimise 0.5 * sum_i (w_i distance(points_i, s R mesh + t))^2, the nearest points found anew each time.

    Args:
        points: Of the scan.
        tree: The mesh.
        start: From mesh to scan.
        scaled: Whether the scale moves as well.
        weights: Of the distances; 1 when None.
    """
    normals = _normals(tree)
    center = points.mean(axis=0)
    size = float(np.abs(points - center).max())

    def residuals(placed: Similarity) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N P"]]:
        found = nearest_in_tree(moved(points, inverted(placed)), tree)
        on_mesh = moved(found.points, placed)
        distances = placed.scale * found.distances
        apart = distances > _ON_SURFACE * size
        away = np.where(apart[:, None], points - on_mesh, normals[found.face_ids] @ placed.rotation.T)
        away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), np.finfo(float).tiny)
        # With the nearest element held, a point of the mesh that moves by m changes the distance by -away @ m.
        lever = on_mesh - center
        columns = [-away, -np.cross(lever, away)]
        if scaled:
            columns.append(-(away * lever).sum(axis=1, keepdims=True))
        jacobian = np.hstack(columns)
        if weights is None:
            return distances, jacobian
        return weights * distances, weights[:, None] * jacobian

    def retract(placed: Similarity, step: Float[np.ndarray, "P"]) -> Similarity:
        """About the middle of the scan, where turning and shifting hardly mix; the scale cannot become negative."""
        turn, growth = _exp(step[3:6]), float(np.exp(np.clip(step[6], -1.0, 1.0))) if scaled else 1.0
        shift = growth * (turn @ (placed.translation - center)) + center + step[:3]
        return Similarity(growth * placed.scale, turn @ placed.rotation, shift)

    return levenberg_marquardt(residuals, start, retract=retract, cost_tolerance=_COST_TOLERANCE, max_iterations=100)


def _normals(tree: SurfaceTree) -> Float[np.ndarray, "F 3"]:
    """Unnormalised normals, in the order of the faces; the tree holds them in the order of its leaves."""
    normals = np.empty((len(tree.face_ids), 3))
    a, b, c = tree.corners[:, 0], tree.corners[:, 1], tree.corners[:, 2]
    normals[tree.face_ids] = np.cross(b - a, c - a)
    return normals


def _exp(axis_angle: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Rodrigues' formula."""
    angle = float(np.linalg.norm(axis_angle))
    x, y, z = axis_angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    half = np.sinc(angle / (2.0 * np.pi))
    return np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * half * half * (cross @ cross)
