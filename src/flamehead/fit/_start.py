"""Where a landmark fit starts: the pose of the mean head in closed form.

Weak perspective is linear: the affine map from the head's points to the pixels is a least-squares solution, and the
scaled rotation nearest to it (a polar decomposition) gives the pose for any roll, and for yaw as far as the points are
visible. Levenberg-Marquardt then moves the rigid head under the true perspective.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from flamehead.errors import InputError
from flamehead.fit._so3 import exp, skew
from flamehead.fit.residuals import CAMERA_FROM_MODEL, ImageTargets, project_residuals
from flamehead.solve import RobustBlock, Solution, levenberg_marquardt, robust_cost

__all__ = ["RigidPose", "WeakPose", "mirrored", "pose_rigid_head", "weak_perspective"]

RigidPose = tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]
"""Rotation about the root joint, then translation in metres: model to world."""


@dataclass(frozen=True)
class WeakPose:
    """pixel = scale * (rotation @ (x - centroid))[:2] + pixel_centroid, in the camera's axes."""

    rotation: Float[np.ndarray, "3 3"]
    """Model to camera."""
    scale: float
    """Pixels per metre at the head's distance."""
    centroid: Float[np.ndarray, "3"]
    pixel_centroid: Float[np.ndarray, "2"]
    normal: Float[np.ndarray, "3"]
    """The direction in which the head's points spread least."""


def weak_perspective(
    points: Float[np.ndarray, "L 3"], seen: Float[np.ndarray, "L 2"], weights: Float[np.ndarray, "L"]
) -> WeakPose:
    """The weak-perspective pose that takes model points nearest to pixels.

    Args:
        points: Landmarks of the mean head in model space, metres; not all in one plane.
        seen: Pixels.
        weights: Of the squared distances.

    Raises:
        InputError: The seen points all coincide.
    """
    total = weights.sum()
    centroid, pixel_centroid = weights @ points / total, weights @ seen / total
    x, u = points - centroid, seen - pixel_centroid
    scatter = (x * weights[:, None]).T @ x
    affine = np.linalg.solve(scatter, (x * weights[:, None]).T @ u).T
    left, sizes, right = np.linalg.svd(affine, full_matrices=False)
    scale = float(sizes.mean())
    if not scale * np.sqrt(np.trace(scatter) / total) > 1.0:
        raise InputError("The landmarks all lie within one pixel; give the landmarks of one face, in pixels.")
    normal = np.linalg.eigh(scatter)[1][:, 0]
    return WeakPose(_complete(left @ right), scale, centroid, pixel_centroid, normal)


def mirrored(pose: WeakPose) -> WeakPose:
    """The other pose that nearly flat points allow: they turn the opposite way and look alike without perspective."""
    flip = np.eye(3) - 2.0 * np.outer(pose.normal, pose.normal)
    return WeakPose(_complete(pose.rotation[:2] @ flip), pose.scale, pose.centroid, pose.pixel_centroid, pose.normal)


def _complete(rows: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "3 3"]:
    return np.vstack([rows, np.cross(rows[0], rows[1])])


def pose_rigid_head(
    points: Float[np.ndarray, "L 3"],
    targets: ImageTargets,
    start: WeakPose,
    *,
    focal: float,
    pivot: Float[np.ndarray, "3"],
    robust: Sequence[RobustBlock],
) -> Solution[RigidPose]:
    """The pose of a rigid head that explains the landmarks best, from a weak-perspective start.

    Args:
        points: Landmarks of the mean head in model space, metres.
        targets: What was seen.
        start: Where to begin, unless its mirrored twin explains the landmarks better in true perspective.
        focal: Pixels.
        pivot: The root joint, about which the head turns, in model space.
        robust: Losses of the residuals, two rows per point.
    """

    def residuals(pose: RigidPose) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M 6"]]:
        lever = (points - pivot) @ pose[0].T
        jacobian = np.concatenate([np.broadcast_to(np.eye(3), (len(points), 3, 3)), -skew(lever)], axis=2)
        r, rows = project_residuals(lever + pivot + pose[1], jacobian, targets, log_focal=math.log(focal))
        return r, rows[:, :6]

    def cost(pose: RigidPose) -> float:
        value = robust_cost(residuals(pose)[0], robust)[0]
        return value if math.isfinite(value) else math.inf

    candidates = [_placed(pose, focal, targets.center, pivot) for pose in (start, mirrored(start))]
    return levenberg_marquardt(
        residuals,
        min(candidates, key=cost),
        retract=lambda pose, step: (exp(step[3:]) @ pose[0], pose[1] + step[:3]),
        robust=robust,
        cost_tolerance=1e-3,
        max_iterations=20,
    )


def _placed(pose: WeakPose, focal: float, center: Float[np.ndarray, "2"], pivot: Float[np.ndarray, "3"]) -> RigidPose:
    """Put the head where a pinhole camera sees it as under weak perspective."""
    in_camera = np.append((pose.pixel_centroid - center) / pose.scale, focal / pose.scale)
    root = CAMERA_FROM_MODEL.T @ pose.rotation
    return root, CAMERA_FROM_MODEL.T @ in_camera - root @ (pose.centroid - pivot) - pivot
