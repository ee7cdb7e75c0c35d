"""Texels moved as vectors of four float32, and the bits of a number: what LLVM does not find by itself.

Rows lie one after the other in a flat, contiguous array; nothing is checked. A spot is where to look in one copy of a
texture: the texel, the steps to those on its right and below it, the shares of these along x and y, and a weight.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from flamehead.raster._cpu.lanes import FLOATS

__all__ = [
    "BLOCK",
    "add_quarter",
    "add_texels",
    "as_float",
    "as_int",
    "look_up",
    "look_up_with_slopes",
    "peek",
    "poke",
    "prefetch",
    "totals",
]

# Callers do not give the first argument, which a checker of types cannot know.
_compiled_call: Any = intrinsic
_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_TEXEL = 4
BLOCK = 32
"""Pixels that are worked on together."""
_COLOR = ir.VectorType(_FLOAT, _TEXEL)
# A product and a sum may become one instruction where the machine has it.
_FUSED = ("contract",)


@_compiled_call
def as_int(_context: Any, value: Any) -> Any:
    """The bits of a float32 as int32."""
    return types.int32(types.float32), lambda context, builder, signature, values: builder.bitcast(values[0], _INT)


@_compiled_call
def as_float(_context: Any, value: Any) -> Any:
    """The bits of an int32 as float32."""
    return types.float32(types.int32), lambda context, builder, signature, values: builder.bitcast(values[0], _FLOAT)


def _splat(builder: Any, value: Any) -> Any:
    zeros = ir.Constant(ir.VectorType(_INT, _TEXEL), [0] * _TEXEL)
    empty = ir.Constant(_COLOR, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(empty, value, _INT(0)), empty, zeros)


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    data = cgutils.create_struct_proxy(kind)(context, builder, value=array).data
    return builder.bitcast(builder.gep(data, [at]), _COLOR.as_pointer())


def _corners(context: Any, builder: Any, kind: Any, array: Any, spot: Any) -> tuple[Any, ...]:
    """Places of the four texels around a spot."""
    at, right, down = spot[:3]
    below = builder.add(at, down)
    rows = (at, builder.add(at, right), below, builder.add(below, right))
    numbers = (builder.mul(row, ir.IntType(64)(_TEXEL)) for row in rows)
    return tuple(_place(context, builder, kind, array, number) for number in numbers)


def _plus(builder: Any, a: Any, b: Any) -> Any:
    return builder.fadd(a, b, flags=_FUSED)


def _times(builder: Any, a: Any, b: Any) -> Any:
    return builder.fmul(a, b, flags=_FUSED)


def _times_plus(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(builder.fmul(a, b, flags=_FUSED), c, flags=_FUSED)


@_compiled_call
def peek(_context: Any, array: Any, at: Any) -> Any:
    """`array[at]` of a flat array; a place is not tested for being negative, which for single numbers costs most."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=values[0]).data
        return builder.load(builder.gep(data, [values[1]]))

    return array.dtype(array, types.int64), generate


@_compiled_call
def poke(_context: Any, array: Any, at: Any, value: Any) -> Any:
    """`array[at] = value` of a flat array."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=values[0]).data
        builder.store(values[2], builder.gep(data, [values[1]]))
        return context.get_dummy_value()

    return types.void(array, types.int64, array.dtype), generate


def _bilinear(context: Any, builder: Any, kind: Any, array: Any, spot: Any) -> tuple[Any, Any, Any]:
    """The value at a spot, and its change along x and along y."""
    a, b, c, d = (builder.load(place, align=4) for place in _corners(context, builder, kind, array, spot))
    fx, fy = _splat(builder, spot[3]), _splat(builder, spot[4])
    above, under = builder.fsub(b, a), builder.fsub(d, c)
    upper, lower = _times_plus(builder, fx, above, a), _times_plus(builder, fx, under, c)
    along_y = builder.fsub(lower, upper)
    along_x = _times_plus(builder, fy, builder.fsub(under, above), above)
    return _times_plus(builder, fy, along_y, upper), along_x, along_y


def _looker(*, slopes: bool) -> Any:
    def look(_context: Any, texels: Any, near: Any, far: Any, out: Any, to: Any) -> Any:
        """Write the weighted sum of two spots to `out[to:to + 4]`.

        With slopes, spots end with how x changes along u and y along v, times the weight; the changes of the sum along
        u and v are written behind the colours of a block.
        """

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            array, *spots, into, at = values
            sums: list[Any] = [None, None, None]
            for spot in spots:
                parts = cgutils.unpack_tuple(builder, spot)
                found = _bilinear(context, builder, signature.args[0], array, parts)
                for n, (value, weight) in enumerate(zip(found, parts[5:], strict=False)):
                    weighted = _times(builder, _splat(builder, weight), value)
                    sums[n] = weighted if sums[n] is None else _plus(builder, sums[n], weighted)
            for n, total in enumerate(sums[: 3 if slopes else 1]):
                number = builder.add(at, ir.IntType(64)(_TEXEL * BLOCK * n))
                builder.store(total, _place(context, builder, signature.args[3], into, number), align=4)
            return context.get_dummy_value()

        return types.void(texels, near, far, out, types.int64), generate

    return _compiled_call(look)


look_up, look_up_with_slopes = _looker(slopes=False), _looker(slopes=True)


@_compiled_call
def prefetch(_context: Any, texels: Any, at: Any) -> Any:
    """Ask for a texel that will be looked at soon; any place will do."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, row = values
        number = builder.mul(row, ir.IntType(64)(_TEXEL))
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=array).data
        place = builder.bitcast(builder.gep(data, [number]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, _INT, _INT, _INT])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(call, [place, _INT(0), _INT(3), _INT(1)])
        return context.get_dummy_value()

    return types.void(texels, types.int64), generate


@_compiled_call
def add_texels(_context: Any, texels: Any, spot: Any, colors: Any, at: Any) -> Any:
    """Add the color `colors[at:at + 4]` to the texels around a spot by their shares; some of them may be one."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, spot, colors, number = values
        parts = cgutils.unpack_tuple(builder, spot)
        fx, fy, weight = parts[3:6]
        lower = builder.fmul(weight, fy)
        upper = builder.fsub(weight, lower)
        shares = []
        for row in (upper, lower):
            right = builder.fmul(row, fx)
            shares += [builder.fsub(row, right), right]
        color = builder.load(_place(context, builder, signature.args[2], colors, number), align=4)
        for place, share in zip(_corners(context, builder, signature.args[0], array, parts), shares, strict=True):
            old = builder.load(place, align=4)
            builder.store(_times_plus(builder, _splat(builder, share), color, old), place, align=4)
        return context.get_dummy_value()

    return types.void(texels, spot, colors, types.int64), generate


@_compiled_call
def add_quarter(_context: Any, out: Any, to: Any, texels: Any, at: Any) -> Any:
    """Add a quarter of `texels[at:at + 4]` to `out[to:to + 4]` and to the four numbers behind these."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        into, number, array, source = values
        color = builder.load(_place(context, builder, signature.args[2], array, source), align=4)
        lanes = ir.Constant(ir.VectorType(_INT, 8), [0, 1, 2, 3, 0, 1, 2, 3])
        both = builder.shuffle_vector(color, color, lanes)
        quarter = ir.Constant(FLOATS.vector, [0.25] * 8)
        place = builder.bitcast(_place(context, builder, signature.args[0], into, number), FLOATS.vector.as_pointer())
        builder.store(_times_plus(builder, both, quarter, builder.load(place, align=4)), place, align=4)
        return context.get_dummy_value()

    return types.void(out, types.int64, texels, types.int64), generate


@_compiled_call
def totals(_context: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """The sums of six lanes of eight in the first six lanes, zeros in the others."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        zeros = ir.Constant(FLOATS.vector, [0.0] * 8)
        rows = [*values, zeros, zeros]
        # Two rows become one of half as many numbers each, three times.
        for width in (4, 2, 1):
            pairs = zip(rows[::2], rows[1::2], strict=True)
            rows = [_folded(builder, one, other, width) for one, other in pairs]
        return rows[0]

    return FLOATS(*(6 * (FLOATS,))), generate


def _folded(builder: Any, one: Any, other: Any, width: int) -> Any:
    """Halves of the runs of `2 width` numbers in two rows, added."""
    low = [lane for lane in range(16) if lane // width % 2 == 0]
    kind = ir.VectorType(_INT, 8)
    lower = builder.shuffle_vector(one, other, ir.Constant(kind, low))
    upper = builder.shuffle_vector(one, other, ir.Constant(kind, [lane + width for lane in low]))
    return builder.fadd(lower, upper)
