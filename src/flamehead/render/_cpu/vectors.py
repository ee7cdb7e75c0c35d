"""Rows of four and eight float32 moved as vectors, and the bits of a number: what LLVM does not find by itself.

Rows lie one after the other in a flat, contiguous array; nothing is checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["add_outer", "as_float", "as_int", "bilinear", "mix", "peek", "poke", "spread"]

# Callers do not give the first argument, which a checker of types cannot know.
_compiled_call: Any = intrinsic
_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_TEXEL, _ROW = 4, 8
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


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    zeros = ir.Constant(ir.VectorType(_INT, lanes), [0] * lanes)
    empty = ir.Constant(ir.VectorType(_FLOAT, lanes), ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(empty, value, _INT(0)), empty, zeros)


def _packed(builder: Any, values: Any, lanes: int) -> Any:
    """Numbers in the first lanes, zeros in the others."""
    row = ir.Constant(ir.VectorType(_FLOAT, lanes), [0.0] * lanes)
    for n, value in enumerate(values):
        row = builder.insert_element(row, value, _INT(n))
    return row


def _place(context: Any, builder: Any, kind: Any, array: Any, row: Any, lanes: int) -> Any:
    data = cgutils.create_struct_proxy(kind)(context, builder, value=array).data
    at = builder.gep(data, [builder.mul(row, ir.IntType(64)(lanes))])
    return builder.bitcast(at, ir.VectorType(_FLOAT, lanes).as_pointer())


def _times_plus(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(builder.fmul(a, b, flags=_FUSED), c, flags=_FUSED)


def _tuple(context: Any, builder: Any, signature: Any, rows: Any, lanes: int) -> Any:
    """The first lanes of each vector, one after the other."""
    parts = [builder.extract_element(row, _INT(n)) for row in rows for n in range(lanes)]
    return context.make_tuple(builder, signature.return_type, parts)


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


@_compiled_call
def mix(_context: Any, table: Any, i: Any, j: Any, k: Any, a: Any, b: Any, c: Any) -> Any:
    """The first five of `a table[i] + b table[j] + c table[k]`, rows of eight."""
    number, real = types.int64, types.float32

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, rows, weights = values[0], values[1:4], values[4:7]
        places = [_place(context, builder, signature.args[0], array, row, _ROW) for row in rows]
        loaded = [builder.load(place, align=4) for place in places]
        first, second, third = (_splat(builder, weight, _ROW) for weight in weights)
        total = builder.fmul(third, loaded[2], flags=_FUSED)
        total = _times_plus(builder, second, loaded[1], total)
        return _tuple(context, builder, signature, [_times_plus(builder, first, loaded[0], total)], 5)

    return types.UniTuple(real, 5)(table, number, number, number, real, real, real), generate


@_compiled_call
def add_outer(_context: Any, table: Any, row: Any, a: Any, b: Any, c: Any, g0: Any, g1: Any, g2: Any, g3: Any, g4: Any,
              g5: Any) -> Any:  # fmt: skip
    """Add `a g`, `b g` and `c g` to three rows of eight, of which the last two numbers are not used."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vector = _packed(builder, values[5:], _ROW)
        for n, weight in enumerate(values[2:5]):
            at = builder.add(values[1], ir.IntType(64)(n))
            place = _place(context, builder, signature.args[0], values[0], at, _ROW)
            old = builder.load(place, align=4)
            builder.store(_times_plus(builder, _splat(builder, weight, _ROW), vector, old), place, align=4)
        return context.get_dummy_value()

    return types.void(table, types.int64, *(9 * (types.float32,))), generate


@_compiled_call
def bilinear(_context: Any, texels: Any, at: Any, right: Any, down: Any, fx: Any, fy: Any) -> Any:
    """Between the texels `at`, `at + right`, `at + down` and both: the value, and its change along x and along y."""
    number, real = types.int64, types.float32

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, at, right, down, fx, fy = values
        below = builder.add(at, down)
        rows = (at, builder.add(at, right), below, builder.add(below, right))
        places = [_place(context, builder, signature.args[0], array, row, _TEXEL) for row in rows]
        a, b, c, d = (builder.load(place, align=4) for place in places)
        fx, fy = _splat(builder, fx, _TEXEL), _splat(builder, fy, _TEXEL)
        above, under = builder.fsub(b, a), builder.fsub(d, c)
        upper, lower = _times_plus(builder, fx, above, a), _times_plus(builder, fx, under, c)
        along_y = builder.fsub(lower, upper)
        along_x = _times_plus(builder, fy, builder.fsub(under, above), above)
        value = _times_plus(builder, fy, along_y, upper)
        return _tuple(context, builder, signature, [value, along_x, along_y], 3)

    return types.UniTuple(real, 9)(texels, number, number, number, real, real), generate


@_compiled_call
def spread(_context: Any, texels: Any, wanted: Any, at: Any, right: Any, left_weight: Any, right_weight: Any,
           red: Any, green: Any, blue: Any) -> Any:  # fmt: skip
    """If wanted, add a colour to the texels `at` and `at + right`, by weights; they may be one."""
    number, real = types.int64, types.float32

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, wanted, at, right, *weights = values[:6]
        with builder.if_then(wanted):
            color = _packed(builder, values[6:], _TEXEL)
            for row, weight in zip((at, builder.add(at, right)), weights, strict=True):
                place = _place(context, builder, signature.args[0], array, row, _TEXEL)
                old = builder.load(place, align=4)
                builder.store(_times_plus(builder, _splat(builder, weight, _TEXEL), color, old), place, align=4)
        return context.get_dummy_value()

    return types.void(texels, types.boolean, number, number, *(5 * (real,))), generate
