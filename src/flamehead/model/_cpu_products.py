"""Products of few rows with a large basis, compiled: what a head spends its time on.

A basis of FLAME has 24 MB, so that one head costs what reading it costs, and more heads what their arithmetic costs.
Four heads times four rows of the basis are worked on at once: each number that is read then serves four times, and
the sixteen factors stay in registers.
"""

from __future__ import annotations

from flamehead.raster._compile import compiled

__all__ = ["add_rows", "add_small", "pull_rows"]


@compiled(inline="always")
def _four_by_four(out, basis, factors, b, k, first, last):
    o0, o1, o2, o3 = out[b, first:last], out[b + 1, first:last], out[b + 2, first:last], out[b + 3, first:last]
    r0, r1, r2, r3 = basis[k, first:last], basis[k + 1, first:last], basis[k + 2, first:last], basis[k + 3, first:last]
    a0, a1, a2, a3 = factors[b, k], factors[b, k + 1], factors[b, k + 2], factors[b, k + 3]
    b0, b1, b2, b3 = factors[b + 1, k], factors[b + 1, k + 1], factors[b + 1, k + 2], factors[b + 1, k + 3]
    c0, c1, c2, c3 = factors[b + 2, k], factors[b + 2, k + 1], factors[b + 2, k + 2], factors[b + 2, k + 3]
    d0, d1, d2, d3 = factors[b + 3, k], factors[b + 3, k + 1], factors[b + 3, k + 2], factors[b + 3, k + 3]
    for i in range(last - first):
        x0, x1, x2, x3 = r0[i], r1[i], r2[i], r3[i]
        o0[i] = o0[i] + a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
        o1[i] = o1[i] + b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
        o2[i] = o2[i] + c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
        o3[i] = o3[i] + d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3


@compiled(inline="always")
def _one_by_four(line, basis, factors, b, k, first, last):
    r0, r1, r2, r3 = basis[k, first:last], basis[k + 1, first:last], basis[k + 2, first:last], basis[k + 3, first:last]
    a0, a1, a2, a3 = factors[b, k], factors[b, k + 1], factors[b, k + 2], factors[b, k + 3]
    for i in range(last - first):
        line[i] = line[i] + a0 * r0[i] + a1 * r1[i] + a2 * r2[i] + a3 * r3[i]


@compiled(inline="always")
def _one_by_one(line, row, factor):
    for i in range(line.shape[0]):
        line[i] = line[i] + factor * row[i]


@compiled(nogil=True, fastmath={"contract"})
def add_rows(out, basis, factors, b, count, first, last):
    """`out[b + i] += factors[b + i] @ basis` for four heads or for one, in the columns `first..last - 1`."""
    n = factors.shape[1]
    whole = n - n % 4
    if count == 4:
        for k in range(0, whole, 4):
            _four_by_four(out, basis, factors, b, k, first, last)
    else:
        line = out[b, first:last]
        for k in range(0, whole, 4):
            _one_by_four(line, basis, factors, b, k, first, last)
    for k in range(whole, n):
        for head in range(b, b + count):
            _one_by_one(out[head, first:last], basis[k, first:last], factors[head, k])


@compiled(nogil=True, fastmath={"contract"})
def add_small(out, basis, factors):
    """`out += factors @ basis` for a basis with short rows, such as that of the joints."""
    for b in range(out.shape[0]):
        for k in range(factors.shape[1]):
            _one_by_one(out[b], basis[k], factors[b, k])


@compiled(inline="always")
def _sixteen_sums(out, left, basis, b, k, first, last):
    g0, g1, g2, g3 = left[b, first:last], left[b + 1, first:last], left[b + 2, first:last], left[b + 3, first:last]
    r0, r1, r2, r3 = basis[k, first:last], basis[k + 1, first:last], basis[k + 2, first:last], basis[k + 3, first:last]
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = out.dtype.type(0.0)
    for i in range(last - first):
        x0, x1, x2, x3 = r0[i], r1[i], r2[i], r3[i]
        a0, a1, a2, a3 = a0 + g0[i] * x0, a1 + g0[i] * x1, a2 + g0[i] * x2, a3 + g0[i] * x3
        b0, b1, b2, b3 = b0 + g1[i] * x0, b1 + g1[i] * x1, b2 + g1[i] * x2, b3 + g1[i] * x3
        c0, c1, c2, c3 = c0 + g2[i] * x0, c1 + g2[i] * x1, c2 + g2[i] * x2, c3 + g2[i] * x3
        d0, d1, d2, d3 = d0 + g3[i] * x0, d1 + g3[i] * x1, d2 + g3[i] * x2, d3 + g3[i] * x3
    for head, sums in enumerate(((a0, a1, a2, a3), (b0, b1, b2, b3), (c0, c1, c2, c3), (d0, d1, d2, d3))):
        for i in range(4):
            out[b + head, k + i] += sums[i]


@compiled(inline="always")
def _four_sums(out, left, basis, b, k, first, last):
    g = left[b, first:last]
    r0, r1, r2, r3 = basis[k, first:last], basis[k + 1, first:last], basis[k + 2, first:last], basis[k + 3, first:last]
    a0 = a1 = a2 = a3 = out.dtype.type(0.0)
    for i in range(last - first):
        a0, a1, a2, a3 = a0 + g[i] * r0[i], a1 + g[i] * r1[i], a2 + g[i] * r2[i], a3 + g[i] * r3[i]
    for i, total in enumerate((a0, a1, a2, a3)):
        out[b, k + i] += total


@compiled(nogil=True, fastmath={"contract", "reassoc", "nsz"})
def pull_rows(out, left, basis, low, high, width):
    """`out[:, k] += left @ basis[k]` for the rows `low..high - 1`, in blocks of `width` columns."""
    size, columns = left.shape
    quads = size - size % 4
    whole = low + (high - low) // 4 * 4
    for first in range(0, columns, width):
        last = min(first + width, columns)
        for k in range(low, whole, 4):
            for b in range(0, quads, 4):
                _sixteen_sums(out, left, basis, b, k, first, last)
            for b in range(quads, size):
                _four_sums(out, left, basis, b, k, first, last)
        for k in range(whole, high):
            for b in range(size):
                total = out.dtype.type(0.0)
                line, row = left[b, first:last], basis[k, first:last]
                for i in range(last - first):
                    total += line[i] * row[i]
                out[b, k] += total
