"""Several pixels at once in compiled kernels: values of their own type, which stay in vector registers.

LLVM turns a loop into vector instructions only where it can prove that its arrays do not overlap, and keeps sums in
memory from one run of a loop to the next. Kernels that need more say what they want: `load(ids, at) == spread(face)`
is a mask, `pick(mask, new, old)` chooses, `+ - *` work on floats, `total` sums. Arrays are contiguous; nobody checks
that `at + FEW` lies within them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model

__all__ = [
    "FEW",
    "LANES",
    "bits",
    "copy_lanes",
    "copy_lanes_as_int",
    "count",
    "first",
    "load",
    "load_three",
    "pick",
    "span",
    "spread",
    "store",
    "store_three",
    "total",
]

# Type checkers would count the compiler's own first argument.
_intrinsic: Any = intrinsic

LANES = 16
"""Pixels in a block: one AVX-512 register of float32, two of AVX2, four of SSE and NEON."""

FEW = 8
"""Pixels in a value: triangles of a head are about six wide, and more lanes would be idle."""

_FLOATS, _INTS = ir.VectorType(ir.FloatType(), FEW), ir.VectorType(ir.IntType(32), FEW)
_MASK = ir.VectorType(ir.IntType(1), FEW)
_MANY, _MANY_INTS = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(32), LANES)


class _Lanes(types.Type):
    def __init__(self, name: str, vector: ir.VectorType) -> None:
        self.vector = vector
        super().__init__(name)


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _Lanes) -> None:
        super().__init__(manager, kind, kind.vector)


FLOATS, INTS, MASK = _Lanes("FloatLanes", _FLOATS), _Lanes("IntLanes", _INTS), _Lanes("MaskLanes", _MASK)


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any, vector: ir.VectorType, ahead: int = 0) -> Any:
    """Where lanes lie in an array."""
    start = cgutils.create_struct_proxy(kind)(context, builder, value=array).data
    at = builder.add(at, ir.Constant(at.type, ahead)) if ahead else at
    return builder.bitcast(builder.gep(start, [at]), vector.as_pointer())


def _copier(*, as_int: bool) -> Any:
    def copy(_context: Any, target: Any, to: Any, source: Any, at: Any) -> Any:
        """`target[to + k] = source[at + k]` for LANES numbers k."""

        def generate(context: Any, builder: Any, made: Any, arguments: Any) -> Any:
            kinds = made.args
            values = builder.load(_place(context, builder, kinds[2], arguments[2], arguments[3], _MANY), align=4)
            values = builder.fptosi(values, _MANY_INTS) if as_int else values
            place = _place(context, builder, kinds[0], arguments[0], arguments[1], _MANY_INTS if as_int else _MANY)
            builder.store(values, place, align=4)
            return context.get_dummy_value()

        return types.void(target, types.uint64, source, types.uint64), generate

    return _intrinsic(copy)


copy_lanes = _copier(as_int=False)
copy_lanes_as_int = _copier(as_int=True)


@_intrinsic
def load(_context, array, at):
    """`array[at + k]`, of float32 or int32."""
    kind = FLOATS if array.dtype == types.float32 else INTS

    def generate(context, builder, made, arguments):
        return builder.load(_place(context, builder, made.args[0], *arguments, vector=kind.vector), align=4)

    return kind(array, types.uint64), generate


@_intrinsic
def store(_context, array, at, lanes):
    """`array[at + k] = lanes[k]`."""

    def generate(context, builder, made, arguments):
        place = _place(context, builder, made.args[0], *arguments[:2], vector=lanes.vector)
        builder.store(arguments[2], place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.uint64, lanes), generate


@_intrinsic
def load_three(_context, array, at):
    """`array[at + 3 k + c]` for c = 0, 1, 2."""

    def generate(context, builder, made, arguments):
        one, two, three = (
            builder.load(_place(context, builder, made.args[0], *arguments, vector=_FLOATS, ahead=n * FEW), align=4)
            for n in range(3)
        )
        found = []
        for c in range(3):
            wanted = [3 * k + c for k in range(FEW)]
            both = builder.shuffle_vector(one, two, _numbers([n if n < 2 * FEW else 0 for n in wanted]))
            last = [k if n < 2 * FEW else n - FEW for k, n in enumerate(wanted)]
            found.append(builder.shuffle_vector(both, three, _numbers(last)))
        return context.make_tuple(builder, made.return_type, found)

    return types.UniTuple(FLOATS, 3)(array, types.uint64), generate


@_intrinsic
def store_three(_context, array, at, first, second, third):
    """`array[at + 3 k + c]` from lanes k for c = 0, 1, 2."""

    def generate(context, builder, made, arguments):
        for n in range(3):
            wanted = [divmod(n * FEW + lane, 3) for lane in range(FEW)]
            both = builder.shuffle_vector(arguments[2], arguments[3], _numbers([k + FEW * (c % 2) for k, c in wanted]))
            last = [k + FEW if c == 2 else lane for lane, (k, c) in enumerate(wanted)]
            values = builder.shuffle_vector(both, arguments[4], _numbers(last))
            place = _place(context, builder, made.args[0], *arguments[:2], vector=_FLOATS, ahead=n * FEW)
            builder.store(values, place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.uint64, FLOATS, FLOATS, FLOATS), generate


def _numbers(values: list[int]) -> ir.Constant:
    return ir.Constant(_INTS, values)


@_intrinsic
def spread(_context, value):
    """One number in all lanes."""
    kind = FLOATS if value == types.float32 else INTS

    def generate(context, builder, made, arguments):
        first = builder.insert_element(ir.Constant(kind.vector, ir.Undefined), arguments[0], ir.IntType(32)(0))
        return builder.shuffle_vector(first, first, _numbers([0] * FEW))

    return kind(types.float32 if kind is FLOATS else types.int32), generate


@_intrinsic
def span(_context, begin, end):
    """The lanes from `begin` on and before `end`."""

    def generate(context, builder, made, arguments):
        lanes, parts = _numbers(list(range(FEW))), []
        for compare, edge in zip((">=", "<"), arguments, strict=True):
            one = builder.insert_element(ir.Constant(_INTS, ir.Undefined), edge, ir.IntType(32)(0))
            parts.append(builder.icmp_signed(compare, lanes, builder.shuffle_vector(one, one, _numbers([0] * FEW))))
        return builder.and_(*parts)

    return MASK(types.int32, types.int32), generate


@_intrinsic
def pick(_context, mask, new, old):
    """New lanes where the mask is set, old ones elsewhere."""
    return new(MASK, new, new), lambda context, builder, made, arguments: builder.select(*arguments)


@_intrinsic
def bits(_context, mask):
    """The mask as a number, lane k its bit k."""

    def generate(context, builder, made, arguments):
        return builder.zext(builder.bitcast(arguments[0], ir.IntType(FEW)), ir.IntType(64))

    return types.uint64(MASK), generate


@_intrinsic
def first(_context, number):
    """The lowest set bit of a number that is not 0."""

    def generate(context, builder, made, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.uint64(types.uint64), generate


@_intrinsic
def count(_context, number):
    """How many bits are set."""
    return types.uint64(types.uint64), lambda context, builder, made, arguments: builder.ctpop(arguments[0])


@_intrinsic
def total(_context, lanes):
    """The sum of all lanes, halves added to halves."""

    def generate(context, builder, made, arguments):
        value, width = arguments[0], FEW
        while width > 1:
            width //= 2
            moved = builder.shuffle_vector(value, value, _numbers([(k + width) % FEW for k in range(FEW)]))
            value = builder.fadd(value, moved)
        return builder.extract_element(value, ir.IntType(32)(0))

    return types.float32(FLOATS), generate


def _define(symbol: Any, kind: _Lanes, result: _Lanes, make: Callable[[Any, Any, Any], Any]) -> None:
    case = signature(result, kind, kind)
    learn: Any = infer_global(symbol)
    learn(type("_LanesTemplate", (ConcreteTemplate,), {"cases": [case]}))
    lower_builtin(symbol, kind, kind)(lambda _context, builder, _signature, arguments: make(builder, *arguments))


# Products may be fused into the sums that take them: one instruction, and one rounding less.
_define(operator.add, FLOATS, FLOATS, lambda builder, a, b: builder.fadd(a, b, flags=("contract",)))
_define(operator.sub, FLOATS, FLOATS, lambda builder, a, b: builder.fsub(a, b, flags=("contract",)))
_define(operator.mul, FLOATS, FLOATS, lambda builder, a, b: builder.fmul(a, b, flags=("contract",)))
_define(operator.eq, INTS, MASK, lambda builder, a, b: builder.icmp_signed("==", a, b))
_define(operator.ge, INTS, MASK, lambda builder, a, b: builder.icmp_signed(">=", a, b))
_define(operator.and_, MASK, MASK, lambda builder, a, b: builder.and_(a, b))
