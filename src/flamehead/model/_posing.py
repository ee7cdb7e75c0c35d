"""The loops of posing, compiled: Rodrigues, the kinematic chain and skinning, each with its backward.

Formulas are those of `flamehead.model.lbs` and `flamehead.geometry.rotation`. A rotation has 3 numbers (axis-angle) or
9 (a matrix, row-major).
"""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled

__all__ = ["LANES", "bend", "bend_backward", "pose_few", "ride", "skin", "skin_backward"]

LANES = 16
"""Vertices that are worked on at once."""
_SERIES_BELOW = 0.25


@compiled(inline="always")
def _factors(t):
    """a = sin(x)/x and b = (1 - cos(x))/x^2 at x^2 = t, and their derivatives by t."""
    if t < _SERIES_BELOW:
        a = b = da = db = 0.0
        term = 1.0  # (-t)^k / (2k + 1)!
        before = 0.0  # The same for k - 1, negated.
        for k in range(10):
            a += term
            b += term / (2 * k + 2)
            da += k * before / ((2 * k) * (2 * k + 1)) if k else 0.0
            db += k * before / ((2 * k) * (2 * k + 1) * (2 * k + 2)) if k else 0.0
            before = -term
            term = -term * t / ((2 * k + 2) * (2 * k + 3))
        return a, b, da, db
    x = np.sqrt(t)
    a, half = np.sin(x) / x, np.sin(0.5 * x) / x
    b = 2.0 * half * half
    return a, b, (np.cos(x) - a) / (2.0 * t), (a - 2.0 * b) / (2.0 * t)


@compiled(nogil=True)
def bend(rotations, joints, parents, shift, matrices, turned, rigid, posed, feature):
    """The chain: world rotations `turned`, `rigid` = [G_j | posed_j - G_j J_j], joints + shift, pose feature."""
    n = joints.shape[1]
    world = np.empty((n, 3))
    own = np.empty((3, 3))
    for b in range(rotations.shape[0]):
        for j in range(n):
            _matrix(rotations[b, j], own)
            matrices[b, j] = own
            if j:
                for i in range(9):
                    feature[b, 9 * (j - 1) + i] = own[i // 3, i % 3] - (1.0 if i % 4 == 0 else 0.0)
            p = parents[j]
            for row in range(3):
                if p < 0:
                    world[j, row] = joints[b, j, row]
                    for column in range(3):
                        turned[b, j, row, column] = own[row, column]
                    continue
                world[j, row] = world[p, row]
                for k in range(3):
                    world[j, row] += turned[b, p, row, k] * (joints[b, j, k] - joints[b, p, k])
                for column in range(3):
                    total = 0.0
                    for k in range(3):
                        total += turned[b, p, row, k] * own[k, column]
                    turned[b, j, row, column] = total
            for row in range(3):
                offset = world[j, row]
                posed[b, j, row] = offset + shift[b, row]
                for k in range(3):
                    rigid[b, j, 4 * row + k] = turned[b, j, row, k]
                    offset -= turned[b, j, row, k] * joints[b, j, k]
                rigid[b, j, 4 * row + 3] = offset


@compiled(inline="always")
def _matrix(r, out):
    if r.shape[0] == 9:
        for i in range(9):
            out[i // 3, i % 3] = r[i]
        return
    x, y, z = np.float64(r[0]), np.float64(r[1]), np.float64(r[2])
    a, b, _, _ = _factors(x * x + y * y + z * z)
    out[0, 0], out[0, 1], out[0, 2] = 1.0 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y
    out[1, 0], out[1, 1], out[1, 2] = b * x * y + a * z, 1.0 - b * (x * x + z * z), b * y * z - a * x
    out[2, 0], out[2, 1], out[2, 2] = b * x * z - a * y, b * y * z + a * x, 1.0 - b * (x * x + y * y)


@compiled(inline="always")
def _matrix_backward(r, g, out):
    if r.shape[0] == 9:
        for i in range(9):
            out[i] = g[i // 3, i % 3]
        return
    # R = (1 - b t) I + a K + b r r^T, so dR/dr has a part through t = |r|^2 and one through K and r r^T.
    t = 0.0
    for i in range(3):
        t += np.float64(r[i]) * r[i]
    a, b, da, db = _factors(t)
    twist0, twist1, twist2 = g[2, 1] - g[1, 2], g[0, 2] - g[2, 0], g[1, 0] - g[0, 1]
    quadratic = 0.0
    for i in range(3):
        for k in range(3):
            quadratic += r[i] * g[i, k] * r[k]
    trace = g[0, 0] + g[1, 1] + g[2, 2]
    along = da * (twist0 * r[0] + twist1 * r[1] + twist2 * r[2]) + db * quadratic - (db * t + b) * trace
    for i in range(3):
        both = 0.0
        for k in range(3):
            both += (g[i, k] + g[k, i]) * r[k]
        twist = twist0 if i == 0 else (twist1 if i == 1 else twist2)
        out[i] = a * twist + b * both + 2.0 * along * r[i]


@compiled(nogil=True)
def bend_backward(
    rotations, joints, matrices, turned, parents, g_rigid, g_posed, g_feature, g_rotations, g_joints, g_shift
):
    """Gradients by rotations and joints at rest from those by `rigid`, `posed` and `feature` of `bend`.

    That by the shift is added to what `skin_backward` found.
    """
    n = joints.shape[1]
    g_world, g_turned, g_own = np.empty((n, 3)), np.empty((n, 3, 3)), np.empty((3, 3))
    place = np.empty((n, 3))
    for b in range(rotations.shape[0]):
        for j in range(n):
            for row in range(3):
                g_offset = g_rigid[b, j, 4 * row + 3]
                g_world[j, row] = g_offset + g_posed[b, j, row]
                g_shift[b, row] += g_posed[b, j, row]
                for k in range(3):
                    g_turned[j, row, k] = g_rigid[b, j, 4 * row + k] - g_offset * joints[b, j, k]
            for k in range(3):
                place[j, k] = 0.0
                for row in range(3):
                    place[j, k] -= turned[b, j, row, k] * g_rigid[b, j, 4 * row + 3]
        for j in range(n - 1, -1, -1):
            p = parents[j]
            for row in range(3):
                for k in range(3):
                    g_own[row, k] = g_turned[j, row, k] if p < 0 else 0.0
                if p < 0:
                    place[j, row] += g_world[j, row]
            if p >= 0:
                for row in range(3):
                    g_world[p, row] += g_world[j, row]
                    for k in range(3):
                        bone = joints[b, j, k] - joints[b, p, k]
                        g_turned[p, row, k] += g_world[j, row] * bone
                        for i in range(3):
                            g_turned[p, row, k] += g_turned[j, row, i] * matrices[b, j, k, i]
                            g_own[k, i] += turned[b, p, row, k] * g_turned[j, row, i]
                        place[j, k] += turned[b, p, row, k] * g_world[j, row]
                        place[p, k] -= turned[b, p, row, k] * g_world[j, row]
            if j:
                for i in range(9):
                    g_own[i // 3, i % 3] += g_feature[b, 9 * (j - 1) + i]
            _matrix_backward(rotations[b, j], g_own, g_rotations[b, j])
        for j in range(n):
            for k in range(3):
                g_joints[b, j, k] = place[j, k]


@compiled(inline="always")
def _mix(rigid, weights, first, mixed):
    """`mixed[e, lane] = sum_j weights[j, first + lane] rigid[j, e]`, the transforms of a block of vertices."""
    mixed[:] = 0.0
    for j in range(weights.shape[0]):
        block = weights[j, first : first + LANES]
        for e in range(12):
            factor = rigid[j, e]
            for lane in range(LANES):
                mixed[e, lane] += factor * block[lane]


@compiled(inline="always")
def _load(points, first, count, block):
    for lane in range(count):
        for k in range(3):
            block[k, lane] = points[first + lane, k]


@compiled(nogil=True, fastmath={"contract", "reassoc"})
def skin(rest, rigid, shift, out, weights):
    """`out_i = sum_j weights_ji (rigid_j [rest_i, 1]) + shift`; weights need not sum to exactly 1.

    Weights are padded with zeros to whole blocks.
    """
    size = rest.shape[1]
    mixed, block = np.empty((12, LANES), rest.dtype), np.zeros((3, LANES), rest.dtype)
    moved = np.empty((3, LANES), rest.dtype)
    for b in range(rest.shape[0]):
        for first in range(0, size, LANES):
            count = min(LANES, size - first)
            _mix(rigid[b], weights, first, mixed)
            _load(rest[b], first, count, block)
            for row in range(3):
                for lane in range(LANES):
                    turned = mixed[4 * row, lane] * block[0, lane] + mixed[4 * row + 1, lane] * block[1, lane]
                    turned += mixed[4 * row + 2, lane] * block[2, lane] + mixed[4 * row + 3, lane]
                    moved[row, lane] = turned + shift[b, row]
            for lane in range(count):
                for k in range(3):
                    out[b, first + lane, k] = moved[k, lane]


@compiled(nogil=True, fastmath={"contract", "reassoc"})
def skin_backward(rest, rigid, g_out, g_rest, g_rigid, g_shift, weights):
    """Gradients by `rest`, `rigid` and `shift`; sums over vertices are taken lane by lane, then added in float64."""
    n, size = weights.shape[0], rest.shape[1]
    mixed, block = np.empty((12, LANES), rest.dtype), np.zeros((3, LANES), rest.dtype)
    g, pulled = np.zeros((3, LANES), rest.dtype), np.empty((3, LANES), rest.dtype)
    sums, plain = np.empty((n, 12, LANES), rest.dtype), np.empty((3, LANES), rest.dtype)
    for b in range(rest.shape[0]):
        sums[:] = 0.0
        plain[:] = 0.0
        for first in range(0, size, LANES):
            count = min(LANES, size - first)
            if count < LANES:
                g[:] = 0.0
            _mix(rigid[b], weights, first, mixed)
            _load(rest[b], first, count, block)
            _load(g_out[b], first, count, g)
            for k in range(3):
                for lane in range(LANES):
                    pulled[k, lane] = (
                        mixed[k, lane] * g[0, lane] + mixed[4 + k, lane] * g[1, lane] + mixed[8 + k, lane] * g[2, lane]
                    )
                    plain[k, lane] += g[k, lane]
            for lane in range(count):
                for k in range(3):
                    g_rest[b, first + lane, k] = pulled[k, lane]
            for j in range(n):
                share = weights[j, first : first + LANES]
                for row in range(3):
                    for lane in range(LANES):
                        part = share[lane] * g[row, lane]
                        sums[j, 4 * row, lane] += part * block[0, lane]
                        sums[j, 4 * row + 1, lane] += part * block[1, lane]
                        sums[j, 4 * row + 2, lane] += part * block[2, lane]
                        sums[j, 4 * row + 3, lane] += part
        for row in range(3):
            g_shift[b, row] = _total(plain[row])
        for j in range(n):
            for e in range(12):
                g_rigid[b, j, e] = _total(sums[j, e])


@compiled(inline="always")
def _total(lanes):
    total = 0.0
    for lane in range(LANES):
        total += np.float64(lanes[lane])
    return total


@compiled(nogil=True, fastmath={"contract", "reassoc"})
def _add_rows(points, basis, coefficients):
    """`points[b] += sum_k coefficients[b, k] basis[k]`."""
    for b in range(points.shape[0]):
        line = points[b]
        for k in range(coefficients.shape[1]):
            factor, row = coefficients[b, k], basis[k]
            for i in range(line.shape[0]):
                line[i] += factor * row[i]


@compiled(nogil=True)
def pose_few(rotations, coefficients, shift, parents, weights, template, joint_template, bases, joint_bases):
    """A whole head in one call, for tables that fit into the processor's cache, where torch's BLAS gains nothing.

    Args:
        rotations: (B, J, 3 or 9).
        coefficients: of shape and of expression, (B, s) and (B, e).
        shift: (B, 3).
        parents: of the joints.
        weights: (J, V), padded.
        template: (1 or B, V3).
        joint_template: (1 or B, J3).
        bases: of shape, expression and pose.
        joint_bases: of shape and expression.
    """
    size, n = rotations.shape[:2]
    kind = template.dtype
    joints, rest = np.empty((size, joint_template.shape[1]), kind), np.empty((size, template.shape[1]), kind)
    joints[:] = joint_template
    rest[:] = template
    for i in range(2):
        _add_rows(joints, joint_bases[i], coefficients[i])
        _add_rows(rest, bases[i], coefficients[i])
    places, points = joints.reshape(size, n, 3), rest.reshape(size, -1, 3)
    matrices, turned = np.empty((size, n, 3, 3)), np.empty((size, n, 3, 3))
    rigid, posed, feature = (
        np.empty((size, n, 12), kind),
        np.empty((size, n, 3), kind),
        np.empty((size, 9 * n - 9), kind),
    )
    bend(rotations, places, parents, shift, matrices, turned, rigid, posed, feature)
    _add_rows(rest, bases[2], feature)
    vertices = np.empty_like(points)
    skin(points, rigid, shift, vertices, weights)
    return vertices, posed, points, places, matrices, turned, rigid


@compiled(nogil=True)
def ride(vertices, corners, weights, out):
    """`out_i = sum_k weights_ik vertices[corners_ik]`."""
    for b in range(vertices.shape[0]):
        for i in range(corners.shape[0]):
            for k in range(3):
                total = weights[i, 0] * vertices[b, corners[i, 0], k]
                total += weights[i, 1] * vertices[b, corners[i, 1], k]
                out[b, i, k] = total + weights[i, 2] * vertices[b, corners[i, 2], k]
