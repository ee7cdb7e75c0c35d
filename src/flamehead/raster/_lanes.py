"""Sixteen pixels moved at once between two arrays.

LLVM does not turn such a loop into vector instructions by itself: it cannot know that two arrays do not overlap.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["LANES", "copy_lanes", "copy_lanes_as_int"]

LANES = 16
"""Pixels in a block: one AVX-512 register of float32, two of AVX2, four of SSE and NEON."""


def _copier(*, as_int: bool) -> Any:
    def copy(_context: Any, target: Any, to: Any, source: Any, at: Any) -> Any:
        """`target[to + k] = source[at + k]` for the lanes k; arrays are contiguous rows, and large enough."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            floats, ints = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(32), LANES)
            start, end = (
                cgutils.create_struct_proxy(signature.args[k])(context, builder, value=arguments[k]).data
                for k in (2, 0)
            )
            values = builder.load(builder.bitcast(builder.gep(start, [arguments[3]]), floats.as_pointer()), align=4)
            if as_int:
                values = builder.fptosi(values, ints)
            kind = ints if as_int else floats
            builder.store(values, builder.bitcast(builder.gep(end, [arguments[1]]), kind.as_pointer()), align=4)
            return context.get_dummy_value()

        return types.void(target, types.uint64, source, types.uint64), generate

    return intrinsic(copy)


copy_lanes = _copier(as_int=False)
copy_lanes_as_int = _copier(as_int=True)
