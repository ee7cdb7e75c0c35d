"""Landmarks and their derivatives in numba: `landmark_model.landmark_points`, for those who ask all the time."""

from __future__ import annotations

import math

import numpy as np

from flamehead._compile import compiled

__all__ = ["landmarks_with_jacobian"]


@compiled(nogil=True, error_model="numpy")
def _turned(r, rotation, jacobian):
    """Rotation matrix of an axis-angle vector, and the left Jacobian of the exponential (Sola, 2018, equation 145)."""
    x, y, z = r[0], r[1], r[2]
    t2 = x * x + y * y + z * z
    t = math.sqrt(t2)
    if t < 1e-3:
        a, b, c = 1.0 - t2 / 6.0, 0.5 - t2 / 24.0, 1.0 / 6.0 - t2 / 120.0
    else:
        half = math.sin(0.5 * t) / t
        a, b, c = math.sin(t) / t, 2.0 * half * half, (t - math.sin(t)) / (t * t2)
    for i in range(3):
        for j in range(3):
            # K = [r]x, and K^2 = r r^T - t^2 I.
            k = 0.0 if i == j else (r[3 - i - j] if (i - j) % 3 == 1 else -r[3 - i - j])
            unit = 1.0 if i == j else 0.0
            square = r[i] * r[j] - t2 * unit
            rotation[i, j] = unit + a * k + b * square
            jacobian[i, j] = unit + b * k + c * square


@compiled(nogil=True, error_model="numpy")
def _multiply(a, b, out):
    for i in range(3):
        for j in range(b.shape[1]):
            out[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]


@compiled(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _dot(a, b):
    total = 0.0
    for k in range(b.shape[0]):
        total += a[k] * b[k]
    return total


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _add_row(row, values, factor):
    for k in range(values.shape[0]):
        row[k] += factor * values[k]


@compiled(nogil=True, error_model="numpy")
def _cross_into(out, row, axis, lever):
    """Add `axis x lever` to three entries."""
    out[0, row] += axis[1] * lever[2] - axis[2] * lever[1]
    out[1, row] += axis[2] * lever[0] - axis[0] * lever[2]
    out[2, row] += axis[0] * lever[1] - axis[1] * lever[0]


@compiled(nogil=True, error_model="numpy")
def _pose_local(root, turns, local, tangents, feature):
    """Fill in each joint's rotation, its derivative and the pose feature, rotations without the unit matrix."""
    for i in range(3):
        for k in range(3):
            local[0, i, k] = root[i, k]
            tangents[0, i, k] = 1.0 if i == k else 0.0
    for j in range(1, len(local)):
        _turned(turns[j - 1], local[j], tangents[j])
        for i in range(9):
            feature[9 * j - 9 + i] = local[j, i // 3, i % 3] - (1.0 if i % 4 == 0 else 0.0)


@compiled(nogil=True, error_model="numpy")
def _pose_chain(
    joints_template, joints_basis, parents, coefficients, local, tangents, world, axes, rest, position, drift
):  # fmt: skip
    """Fill in each joint's world rotation, turning axes, places at rest and posed, and drift by the coefficients."""
    moved = np.zeros((len(parents), 3, len(coefficients)))
    for j in range(len(parents)):
        for i in range(3):
            rest[j, i] = joints_template[j, i] + _dot(joints_basis[j, i], coefficients)
        parent = parents[j]
        for i in range(3):
            if parent < 0:
                position[j, i] = rest[j, i]
                _add_row(moved[j, i], joints_basis[j, i], 1.0)
                for k in range(3):
                    world[j, i, k], axes[j, i, k] = local[j, i, k], tangents[j, i, k]
            else:
                position[j, i] = position[parent, i]
                _add_row(moved[j, i], moved[parent, i], 1.0)
                for k in range(3):
                    position[j, i] += world[parent, i, k] * (rest[j, k] - rest[parent, k])
                    _add_row(moved[j, i], joints_basis[j, k], world[parent, i, k])
                    _add_row(moved[j, i], joints_basis[parent, k], -world[parent, i, k])
        if parent >= 0:
            _multiply(world[parent], local[j], world[j])
            _multiply(world[parent], tangents[j], axes[j])
        for i in range(3):
            _add_row(drift[j, i], moved[j, i], 1.0)
            for k in range(3):
                _add_row(drift[j, i], joints_basis[j, k], -world[j, i, k])


@compiled(nogil=True, error_model="numpy")
def _feature_changes(local, tangents, change):
    """Fill in the derivative of each joint's rotation by its three unknowns."""
    for j in range(1, len(local)):
        for m in range(3):
            x, y, z = tangents[j, 0, m], tangents[j, 1, m], tangents[j, 2, m]
            for k in range(3):
                change[j, m, k] = y * local[j, 2, k] - z * local[j, 1, k]
                change[j, m, 3 + k] = z * local[j, 0, k] - x * local[j, 2, k]
                change[j, m, 6 + k] = x * local[j, 1, k] - y * local[j, 0, k]


@compiled(nogil=True, error_model="numpy")
def _hangs(joint, ancestor, parents):
    """Whether a joint is `ancestor` or one of its descendants."""
    while joint >= 0:
        if joint == ancestor:
            return True
        joint = parents[joint]
    return False


@compiled(nogil=True, error_model="numpy")
def _add_turns(out, joint, hangs, first, count, share, w, world, position, axes, pose_basis, change, column, lever):
    """Add the derivative of a share by the turns of one joint: the correctives' part, and the lever's if it hangs."""
    for m in range(count):
        at = first + m
        if joint > 0:
            for i in range(3):
                column[i] = _dot(pose_basis[i, 9 * joint - 9 : 9 * joint], change[m])
            for i in range(3):
                out[i, at] += world[i, 0] * column[0] + world[i, 1] * column[1] + world[i, 2] * column[2]
        if hangs:
            for i in range(3):
                lever[i] = share[i, 0] - w * position[i]
            _cross_into(out, at, axes[:, m], lever)


@compiled(nogil=True, error_model="numpy")
def landmarks_with_jacobian(
    joint_of, row_of, template, basis, pose_basis, weight, joints_template, joints_basis, parents, coefficients, root,
    turns, translation, points, jacobian,
):  # fmt: skip
    """Fill in the points (L, 3) and, unless it is empty, the Jacobian (L, 3, C + 16) with the columns of `Columns`.

    Args:
        joint_of, row_of: joint and landmark of each share, (P).
        template, basis, pose_basis, weight: of the shares: (P, 3), (P, 3, C), (P, 3, D) and (P).
        joints_template, joints_basis, parents: of the joints.
        coefficients: shape and expression.
        root: matrix of the root.
        turns: axis-angle vectors of the other joints, (J - 1, 3).
        translation: metres.
        points, jacobian: outputs.
    """
    n_joints, n = len(parents), len(coefficients)
    local, world = np.empty((n_joints, 3, 3)), np.empty((n_joints, 3, 3))
    tangents, axes = np.zeros((n_joints, 3, 3)), np.empty((n_joints, 3, 3))
    rest, position = np.empty((n_joints, 3)), np.empty((n_joints, 3))
    drift, feature = np.zeros((n_joints, 3, n)), np.empty(9 * n_joints - 9)
    _pose_local(root, turns, local, tangents, feature)
    _pose_chain(
        joints_template, joints_basis, parents, coefficients, local, tangents, world, axes, rest, position, drift
    )
    with_jacobian = jacobian.size > 0
    for line in range(len(points)):
        for i in range(3):
            points[line, i] = translation[i]
            if with_jacobian:
                for k in range(jacobian.shape[2]):
                    jacobian[line, i, k] = 1.0 if k == n + i else 0.0
    # Where each joint's columns begin, and how many it has; the eyes turn about two axes only.
    first, counts = (n + 3, n + 13, n + 6, n + 9, n + 11), (3, 3, 3, 2, 2)
    change = np.zeros((n_joints, 3, 9))
    _feature_changes(local, tangents, change)
    y_rest, share, lever, column = np.empty((3, 1)), np.empty((3, 1)), np.empty(3), np.empty(3)
    for p in range(len(joint_of)):
        j, line, w = joint_of[p], row_of[p], weight[p]
        for i in range(3):
            y_rest[i, 0] = template[p, i] + _dot(basis[p, i], coefficients) + _dot(pose_basis[p, i], feature)
        _multiply(world[j], y_rest, share)
        for i in range(3):
            along = position[j, i]
            for k in range(3):
                along -= world[j, i, k] * rest[j, k]
            share[i, 0] += w * along
            points[line, i] += share[i, 0]
        if not with_jacobian:
            continue
        out = jacobian[line]
        for i in range(3):
            for k in range(3):
                _add_row(out[i, :n], basis[p, k], world[j, i, k])
            _add_row(out[i, :n], drift[j, i], w)
        for joint in range(n_joints):
            _add_turns(
                out, joint, _hangs(j, joint, parents), first[joint], counts[joint], share, w, world[j],
                position[joint], axes[joint], pose_basis[p], change[joint], column, lever,
            )  # fmt: skip


@compiled(nogil=True, error_model="numpy")
def whitened_distances(points, seen, whitening, focal, center, out):
    """Fill in `whitening @ (projection - seen)` of each landmark, (L, 2); NaN where one is not before the camera."""
    for line in range(len(points)):
        depth = -points[line, 2] if points[line, 2] < 0.0 else math.nan
        x = center[0] + focal * points[line, 0] / depth - seen[line, 0]
        y = center[1] - focal * points[line, 1] / depth - seen[line, 1]
        for row in range(2):
            out[line, row] = whitening[line, row, 0] * x + whitening[line, row, 1] * y


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def whitened_rows(points, jacobian, whitening, root_weights, focal, rows):
    """Fill in the derivative of the whitened distances, each times the root of its weight, (L, 2, N).

    Args:
        points, jacobian: of `landmarks_with_jacobian`; of the latter the first N columns are used.
        whitening: (L, 2, 2).
        root_weights: (L,), of the robust loss.
        focal: pixels.
        rows: output.
    """
    for line in range(len(points)):
        scale = root_weights[line] * focal / -points[line, 2]
        x, y = points[line, 0] / -points[line, 2], points[line, 1] / -points[line, 2]
        for row in range(2):
            by_x, by_y = scale * whitening[line, row, 0], -scale * whitening[line, row, 1]
            by_z = by_x * x + by_y * y
            for k in range(rows.shape[2]):
                rows[line, row, k] = (
                    by_x * jacobian[line, 0, k] + by_y * jacobian[line, 1, k] + by_z * jacobian[line, 2, k]
                )
