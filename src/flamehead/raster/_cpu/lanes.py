"""Several pixels at once in compiled kernels: values of their own type, which stay in vector registers.

LLVM turns a loop into vector instructions only where it can prove that its arrays do not overlap, and keeps sums in
memory from one run of a loop to the next. Kernels that need more say what they want: `load(ids, at) == spread(face)`
is a mask, `pick(mask, new, old)` chooses, `+ - *` work on all numbers and `/` on floats, `totals` sums. Arrays are
contiguous; nobody checks that `at + FEW` lies within them. Conditions on NaN are false, and `least` and `greatest` of
it are their second value.
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
    "as_doubles",
    "as_floats",
    "as_ints",
    "bits",
    "count",
    "down",
    "fetch",
    "first",
    "greatest",
    "least",
    "load",
    "load_three",
    "order",
    "pick",
    "span",
    "spread",
    "store",
    "store_three",
    "take",
    "take_eights",
    "take_rows",
    "times_plus",
    "totals",
    "up",
]

# Type checkers would count the compiler's own first argument.
_intrinsic: Any = intrinsic

FEW = 8
"""Pixels in a value: triangles of a head are about six wide, and more lanes would be idle."""

_FLOATS, _INTS = ir.VectorType(ir.FloatType(), FEW), ir.VectorType(ir.IntType(32), FEW)
_DOUBLES, _MASK = ir.VectorType(ir.DoubleType(), FEW), ir.VectorType(ir.IntType(1), FEW)
_HALF = ir.VectorType(ir.DoubleType(), FEW // 2)


class _Lanes(types.Type):
    def __init__(self, name: str, vector: ir.VectorType) -> None:
        self.vector = vector
        super().__init__(name)


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _Lanes) -> None:
        super().__init__(manager, kind, kind.vector)


FLOATS, INTS, MASK = _Lanes("FloatLanes", _FLOATS), _Lanes("IntLanes", _INTS), _Lanes("MaskLanes", _MASK)
DOUBLES = _Lanes("DoubleLanes", _DOUBLES)

_OF = {types.float32: FLOATS, types.float64: DOUBLES, types.int32: INTS}
"""Which lanes hold numbers of a type."""


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any, vector: ir.VectorType, ahead: int = 0) -> Any:
    """Where lanes lie in an array."""
    start = cgutils.create_struct_proxy(kind)(context, builder, value=array).data
    at = builder.add(at, ir.Constant(at.type, ahead)) if ahead else at
    return builder.bitcast(builder.gep(start, [at]), vector.as_pointer())


@_intrinsic
def load(_context, array, at):
    """`array[at + k]`."""
    kind = _OF[array.dtype]

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
def fetch(_context, array, at):
    """Ask for the cache line of `array[at]`, which will be read soon; any number will do."""

    def generate(context, builder, made, arguments):
        place = _place(context, builder, made.args[0], *arguments, vector=_FLOATS)
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, flag, flag, flag])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(call, [place, flag(0), flag(2), flag(1)])
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate


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
    kind = _OF[value]

    def generate(context, builder, made, arguments):
        first = builder.insert_element(ir.Constant(kind.vector, ir.Undefined), arguments[0], ir.IntType(32)(0))
        return builder.shuffle_vector(first, first, _numbers([0] * FEW))

    return kind(value), generate


@_intrinsic
def order(_context):
    """0 to 7."""
    return INTS(), lambda context, builder, made, arguments: _numbers(list(range(FEW)))


@_intrinsic
def take(_context, array, rows):
    """`array[rows[k]]`."""
    kind = _OF[array.dtype]

    def generate(context, builder, made, arguments):
        start = cgutils.create_struct_proxy(made.args[0])(context, builder, value=arguments[0]).data
        found = ir.Constant(kind.vector, ir.Undefined)
        for lane in range(FEW):
            number = builder.load(builder.gep(start, [_row(builder, arguments[1], lane)]))
            found = builder.insert_element(found, number, ir.IntType(32)(lane))
        return found

    return kind(array, INTS), generate


@_intrinsic
def take_rows(_context, table, rows):
    """`table[rows[k], c]` for c = 0 to 3, all columns of a table of float64."""

    def generate(context, builder, made, arguments):
        start = cgutils.create_struct_proxy(made.args[0])(context, builder, value=arguments[0]).data
        halves = []
        for lane in range(FEW):
            at = builder.mul(_row(builder, arguments[1], lane), ir.IntType(64)(FEW // 2))
            halves.append(builder.load(builder.bitcast(builder.gep(start, [at]), _HALF.as_pointer()), align=8))
        # Rows k and k + 4 side by side; then columns of two of them together, then of four.
        wide = [builder.shuffle_vector(halves[k], halves[k + 4], _numbers(list(range(FEW)))) for k in range(4)]
        even, odd = [0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]
        pairs = [[builder.shuffle_vector(wide[k], wide[k + 1], _numbers(n)) for k in (0, 2)] for n in (even, odd)]
        lower, upper = [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]
        columns = [builder.shuffle_vector(*pairs[c % 2], _numbers(upper if c > 1 else lower)) for c in range(4)]
        return context.make_tuple(builder, made.return_type, columns)

    return types.UniTuple(DOUBLES, 4)(table, INTS), generate


@_intrinsic
def take_eights(_context, table, starts):
    """`table[starts[k] + c]` for c = 0 to 7."""

    def generate(context, builder, made, arguments):
        start = cgutils.create_struct_proxy(made.args[0])(context, builder, value=arguments[0]).data
        values = []
        for lane in range(FEW):
            place = builder.gep(start, [_row(builder, arguments[1], lane)])
            values.append(builder.load(builder.bitcast(place, _FLOATS.as_pointer()), align=4))
        # A matrix is turned by halves: those of two neighbours, of two pairs, of two quarters.
        for step in (1, 2, 4):
            lower = [n if not n & step else FEW + n - step for n in range(FEW)]
            turned = list(values)
            for row in range(FEW):
                if not row & step:
                    one, two = values[row], values[row + step]
                    turned[row] = builder.shuffle_vector(one, two, _numbers(lower))
                    turned[row + step] = builder.shuffle_vector(one, two, _numbers([n + step for n in lower]))
            values = turned
        return context.make_tuple(builder, made.return_type, values)

    return types.UniTuple(FLOATS, FEW)(table, INTS), generate


def _row(builder: Any, rows: Any, lane: int) -> Any:
    return builder.zext(builder.extract_element(rows, ir.IntType(32)(lane)), ir.IntType(64))


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
def least(_context, one, two):
    """The smaller lanes."""
    return one(one, two), lambda context, builder, made, arguments: _choose(builder, "<", *arguments)


@_intrinsic
def greatest(_context, one, two):
    """The greater lanes."""
    return one(one, two), lambda context, builder, made, arguments: _choose(builder, ">", *arguments)


def _choose(builder: Any, which: str, one: Any, two: Any) -> Any:
    compare = builder.icmp_signed if one.type == _INTS else builder.fcmp_ordered
    return builder.select(compare(which, one, two), one, two)


def _rounder(name: str) -> Any:
    def round_(_context: Any, lanes: Any) -> Any:
        def generate(context: Any, builder: Any, made: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(lanes.vector, [lanes.vector])
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

        return lanes(lanes), generate

    return _intrinsic(round_)


down, up = _rounder(f"llvm.floor.v{FEW}f64"), _rounder(f"llvm.ceil.v{FEW}f64")


@_intrinsic
def times_plus(_context, one, two, three):
    """`one * two + three` of float32, rounded once if the machine has such an instruction.

    Written with `*` and `+` that is up to the compiler, which may decide otherwise where the same loop is unrolled.
    """
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)

    def generate(context, builder, made, arguments):
        call = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{FEW}f32")
        return builder.call(call, arguments)

    return one(FLOATS, FLOATS, FLOATS), generate


@_intrinsic
def as_floats(_context, lanes):
    """Lanes of int32 or float64 as float32."""
    change = "sitofp" if lanes is INTS else "fptrunc"
    return FLOATS(lanes), lambda context, builder, made, arguments: getattr(builder, change)(arguments[0], _FLOATS)


@_intrinsic
def as_doubles(_context, lanes):
    """Lanes of any kind as float64."""
    change = {INTS: "sitofp", FLOATS: "fpext", DOUBLES: "bitcast"}[lanes]
    return DOUBLES(lanes), lambda context, builder, made, arguments: getattr(builder, change)(arguments[0], _DOUBLES)


@_intrinsic
def as_ints(_context, lanes):
    """Lanes of float32 or float64, within the range of int32, as that; towards 0."""
    return INTS(lanes), lambda context, builder, made, arguments: builder.fptosi(arguments[0], _INTS)


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
def totals(_context, lanes):
    """The sums of all lanes of eight values, in eight lanes."""

    def generate(context, builder, made, arguments):
        values = cgutils.unpack_tuple(builder, arguments[0])
        # Neighbours side by side, then pairs of them, then halves: each time half as many values.
        for order in ([0, 8, 2, 10, 4, 12, 6, 14], [0, 1, 8, 9, 4, 5, 12, 13], [0, 1, 2, 3, 8, 9, 10, 11]):
            others = [n + FEW // len(values) for n in order]
            values = [
                builder.fadd(*(builder.shuffle_vector(one, two, _numbers(n)) for n in (order, others)))
                for one, two in zip(values[::2], values[1::2], strict=True)
            ]
        return values[0]

    return FLOATS(lanes), generate


def _define(symbol: Any, kind: _Lanes, result: _Lanes, make: Callable[..., Any], operands: int = 2) -> None:
    kinds = (kind,) * operands
    learn: Any = infer_global(symbol)
    learn(type("_LanesTemplate", (ConcreteTemplate,), {"cases": [signature(result, *kinds)]}))
    lower_builtin(symbol, *kinds)(lambda _context, builder, _signature, arguments: make(builder, *arguments))


def _define_arithmetic(symbol: Any, name: str, of_ints: str | None) -> None:
    def fused(builder: Any, a: Any, b: Any) -> Any:
        return getattr(builder, name)(a, b, flags=("contract",))

    def exact(builder: Any, a: Any, b: Any) -> Any:
        return getattr(builder, name)(a, b)

    # Products of float32 may be fused into the sums that take them: one instruction, and one rounding less.
    _define(symbol, FLOATS, FLOATS, fused)
    _define(symbol, DOUBLES, DOUBLES, exact)
    if of_ints is not None:
        _define(symbol, INTS, INTS, lambda builder, a, b: getattr(builder, of_ints)(a, b))


def _define_comparison(symbol: Any, sign: str) -> None:
    _define(symbol, INTS, MASK, lambda builder, a, b: builder.icmp_signed(sign, a, b))
    for kind in (FLOATS, DOUBLES):
        _define(symbol, kind, MASK, lambda builder, a, b: builder.fcmp_ordered(sign, a, b))


for _symbol, _name, _of_ints in (
    (operator.add, "fadd", "add"),
    (operator.sub, "fsub", "sub"),
    (operator.mul, "fmul", "mul"),
    (operator.truediv, "fdiv", None),
):
    _define_arithmetic(_symbol, _name, _of_ints)
for _symbol, _sign in (
    (operator.eq, "=="),
    (operator.ge, ">="),
    (operator.gt, ">"),
    (operator.le, "<="),
    (operator.lt, "<"),
):
    _define_comparison(_symbol, _sign)
_define(operator.and_, MASK, MASK, lambda builder, a, b: builder.and_(a, b))
_define(operator.or_, MASK, MASK, lambda builder, a, b: builder.or_(a, b))
_define(operator.invert, MASK, MASK, lambda builder, a: builder.not_(a), operands=1)
