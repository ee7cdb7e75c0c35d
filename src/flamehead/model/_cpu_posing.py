"""The loops of posing, compiled: Rodrigues, the kinematic chain and skinning, each with its backward.

Formulas are those of `flamehead.model.lbs` and `flamehead.geometry.rotation`. A rotation has 3 numbers (axis-angle) or
9 (a matrix, row-major). Vertices and gradients lie as (x, y, z) one after the other, like the rows of the bases; blocks
of them are taken apart into one row for each coordinate, so that the inner loops become vector instructions.
"""

from __future__ import annotations

import numpy as np

from flamehead.model._cpu_products import add_rows, add_small
from flamehead.raster._compile import compiled

__all__ = ["BLOCK", "bend_backward", "prepare", "ride", "skin_backward", "surface", "whole"]

BLOCK = 256
"""Vertices that are skinned at once: what they need stays in the processor's first cache."""
_SERIES_BELOW = 0.25
_SWEEP_BELOW = 8
"""Fewer heads read the bases in long rows, as memory likes it best; more read them block by block, each block once."""


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
def _bend(rotations, joints, parents, shift, matrices, turned, rigid, posed, feature):
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
    """Gradients by rotations and joints at rest from those by `rigid`, `posed` and `feature` of `_bend`.

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
def _apart(points, first, planes):
    """Take the vertices from `first` on apart: one row for each coordinate."""
    x, y, z = planes[0], planes[1], planes[2]
    for i in range(planes.shape[1]):
        x[i], y[i], z[i] = points[3 * (first + i)], points[3 * (first + i) + 1], points[3 * (first + i) + 2]


@compiled(inline="always")
def _together(planes, points, first):
    x, y, z = planes[0], planes[1], planes[2]
    for i in range(planes.shape[1]):
        points[3 * (first + i)], points[3 * (first + i) + 1], points[3 * (first + i) + 2] = x[i], y[i], z[i]


@compiled(nogil=True, fastmath={"contract"})
def _skin(rest, rigid, shift, out, first, last, weights, used, work):
    """`out_i = sum_j weights_ji (rigid_j [rest_i, 1]) + shift`; weights need not sum to exactly 1.

    Args:
        rest: (V3,), may be `out` itself.
        rigid: (J, 12).
        shift: (3,).
        out: (V3,).
        first: vertex, a multiple of BLOCK.
        last: vertex after the last one.
        weights: (J, V).
        used: (J, blocks), whether a joint moves anything in a block of BLOCK vertices.
        work: (6, BLOCK).
    """
    for start in range(first, last, BLOCK):
        count = min(BLOCK, last - start)
        planes, moved = work[:3, :count], work[3:6, :count]
        _apart(rest, start, planes)
        x, y, z, u, v, w = planes[0], planes[1], planes[2], moved[0], moved[1], moved[2]
        u[:], v[:], w[:] = shift[0], shift[1], shift[2]
        for j in range(weights.shape[0]):
            if not used[j, start // BLOCK]:
                continue
            share, g = weights[j, start : start + count], rigid[j]
            g0, g1, g2, g3, g4, g5 = g[0], g[1], g[2], g[3], g[4], g[5]
            g6, g7, g8, g9, g10, g11 = g[6], g[7], g[8], g[9], g[10], g[11]
            for i in range(count):
                u[i] += share[i] * (g3 + g0 * x[i] + g1 * y[i] + g2 * z[i])
                v[i] += share[i] * (g7 + g4 * x[i] + g5 * y[i] + g6 * z[i])
                w[i] += share[i] * (g11 + g8 * x[i] + g9 * y[i] + g10 * z[i])
        _together(moved, out, start)


@compiled(nogil=True)
def surface(tables, coefficients, feature, extra, rigid, shift, rest, out, first, last):
    """Rest positions of some vertices of all heads, skinned; no vertex depends on which others are asked for.

    Args:
        tables: template (1 or B, V3), weights (J, V), where they are used (J, blocks), the three bases.
        coefficients: of shape and of expression, (B, s) and (B, e).
        feature: (B, P).
        extra: (B, V3), added to the rest positions; no heads when there is nothing to add.
        rigid: (B, J, 12).
        shift: (B, 3).
        rest: (B, V3), written; may be `out`.
        out: (B, V3), written.
        first: vertex, a multiple of BLOCK.
        last: vertex after the last one.
    """
    template, weights, used, shape_basis, expression_basis, pose_basis = tables
    size = len(feature)
    step = last - first if size < _SWEEP_BELOW else BLOCK
    work = np.empty((6, BLOCK), template.dtype)
    for start in range(first, last, step):
        stop = min(start + step, last)
        a, z = 3 * start, 3 * stop
        b = 0
        while b < size:
            count = 4 if b + 4 <= size else 1
            for head in range(b, b + count):
                rest[head, a:z] = template[head if len(template) > 1 else 0, a:z]
                if len(extra):
                    rest[head, a:z] += extra[head, a:z]
            add_rows(rest, shape_basis, coefficients[0], b, count, a, z)
            add_rows(rest, expression_basis, coefficients[1], b, count, a, z)
            add_rows(rest, pose_basis, feature, b, count, a, z)
            for head in range(b, b + count):
                _skin(rest[head], rigid[head], shift[head], out[head], start, stop, weights, used, work)
            b += count


@compiled(nogil=True)
def prepare(rotations, coefficients, shift, parents, joint_tables):
    """Joints and rotations of all heads: what `surface` and the backward pass need.

    Args:
        rotations: (B, J, 3 or 9).
        coefficients: of shape and of expression, (B, s) and (B, e).
        shift: (B, 3).
        parents: of the joints.
        joint_tables: template (1 or B, J3), bases of shape and expression.

    Returns:
        Joints at rest (B, J, 3), rotations and world rotations (B, J, 3, 3), `rigid`, posed joints, pose feature.
    """
    size, n = rotations.shape[:2]
    template, shape_basis, expression_basis = joint_tables
    kind = template.dtype
    joints = np.empty((size, 3 * n), kind)
    joints[:] = template
    add_small(joints, shape_basis, coefficients[0])
    add_small(joints, expression_basis, coefficients[1])
    places = joints.reshape(size, n, 3)
    matrices, turned = np.empty((size, n, 3, 3)), np.empty((size, n, 3, 3))
    rigid, posed = np.empty((size, n, 12), kind), np.empty((size, n, 3), kind)
    feature = np.empty((size, 9 * n - 9), kind)
    _bend(rotations, places, parents, shift, matrices, turned, rigid, posed, feature)
    return places, matrices, turned, rigid, posed, feature


@compiled(nogil=True)
def whole(rotations, coefficients, shift, extra, parents, joint_tables, tables, keep):
    """`prepare` and `surface` in one call, which matters where a head is a few microseconds.

    Args:
        rotations: (B, J, 3 or 9).
        coefficients: of shape and of expression, (B, s) and (B, e).
        shift: (B, 3).
        extra: see `surface`.
        parents: of the joints.
        joint_tables: see `prepare`.
        tables: see `surface`.
        keep: whether the rest positions are needed afterwards.

    Returns:
        Vertices (B, V3), rest positions, and what `prepare` returns.
    """
    state = prepare(rotations, coefficients, shift, parents, joint_tables)
    template = tables[0]
    out = np.empty((len(rotations), template.shape[1]), template.dtype)
    rest = np.empty_like(out) if keep else out
    surface(tables, coefficients, state[5], extra, state[3], shift, rest, out, 0, template.shape[1] // 3)
    return out, rest, state


@compiled(nogil=True, fastmath={"contract", "reassoc", "nsz"})
def skin_backward(rest, rigid, g_out, g_rest, g_rigid, g_shift, weights, used):
    """Gradients by `rest`, `rigid` and `shift` of all heads given; sums over blocks are added in float64."""
    n, size = weights.shape[0], weights.shape[1]
    work = np.empty((9, BLOCK), rest.dtype)
    for b in range(rest.shape[0]):
        g_rigid[b], g_shift[b] = 0.0, 0.0
        for start in range(0, size, BLOCK):
            count = min(BLOCK, size - start)
            planes, pulls, back = work[:3, :count], work[3:6, :count], work[6:9, :count]
            _apart(rest[b], start, planes)
            _apart(g_out[b], start, pulls)
            back[:] = 0.0
            for k in range(3):
                g_shift[b, k] += pulls[k].sum()
            for j in range(n):
                if used[j, start // BLOCK]:
                    share = weights[j, start : start + count]
                    _pull_joint(planes, pulls, back, share, rigid[b, j], g_rigid[b, j])
            _together(back, g_rest[b], start)


@compiled(inline="always")
def _pull_joint(planes, pulls, back, share, g, out):
    """What one joint adds to the gradients of a block."""
    x, y, z = planes[0], planes[1], planes[2]
    p, q, r = pulls[0], pulls[1], pulls[2]
    u, v, w = back[0], back[1], back[2]
    g0, g1, g2, g4, g5, g6, g8, g9, g10 = g[0], g[1], g[2], g[4], g[5], g[6], g[8], g[9], g[10]
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = s10 = s11 = planes.dtype.type(0.0)
    for i in range(share.shape[0]):
        a, b, c = share[i] * p[i], share[i] * q[i], share[i] * r[i]
        u[i] += g0 * a + g4 * b + g8 * c
        v[i] += g1 * a + g5 * b + g9 * c
        w[i] += g2 * a + g6 * b + g10 * c
        s0, s1, s2, s3 = s0 + a * x[i], s1 + a * y[i], s2 + a * z[i], s3 + a
        s4, s5, s6, s7 = s4 + b * x[i], s5 + b * y[i], s6 + b * z[i], s7 + b
        s8, s9, s10, s11 = s8 + c * x[i], s9 + c * y[i], s10 + c * z[i], s11 + c
    for e, total in enumerate((s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11)):
        out[e] += total


@compiled(nogil=True)
def ride(vertices, corners, weights, out):
    """`out_i = sum_k weights_ik vertices[corners_ik]`."""
    for b in range(vertices.shape[0]):
        for i in range(corners.shape[0]):
            for k in range(3):
                total = weights[i, 0] * vertices[b, corners[i, 0], k]
                total += weights[i, 1] * vertices[b, corners[i, 1], k]
                out[b, i, k] = total + weights[i, 2] * vertices[b, corners[i, 2], k]
