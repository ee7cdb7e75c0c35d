"""The kernel of `flamehead._triangles`."""

from __future__ import annotations

from flamehead._compile import compiled

__all__ = ["same"]


@compiled(nogil=True)
def same(rows, others):
    """Whether two tables of whole numbers, (F, 3) each, are equal."""
    if rows.shape[0] != others.shape[0]:
        return False
    one, other = rows.reshape(-1), others.reshape(-1)
    different = one.dtype.type(0)
    # Without an early end LLVM takes many at a time.
    for n in range(one.shape[0]):
        different |= one[n] ^ other[n]
    return different == 0
