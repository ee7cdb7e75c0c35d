"""Several threads inside a compiled function: torch's own team goes through a kernel, and the caller with it.

Jobs in Python need the interpreter's lock to begin, and a thread that waits for it sleeps: longer than a picture takes.
A kernel that is forked runs on all threads with the same arguments and shares its work by tickets: numbers that an
array counts up, each of which one thread gets. Where no team is to be had the caller goes alone and takes all tickets.

Who wants the same bits with a team and without sends everything through the same compiled function, with `ALONE` for a
crew: in another one LLVM may unroll a loop in another way, and fuse other products with other sums.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from flamehead.raster._threads import forking, run

__all__ = ["ALONE", "fork", "reached", "share", "ticket"]

# Type checkers would count the compiler's own first argument.
_intrinsic: Any = intrinsic

ALONE = np.zeros(4, dtype=np.int64)
"""A crew of nobody but the caller."""

_INT, _LONG, _BYTES = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
_VOID = ir.VoidType()
_CLOCK = ir.FunctionType(_INT, [_INT, ir.ArrayType(_LONG, 2).as_pointer()])
"""`clock_gettime`, with seconds and nanoseconds."""

_MONOTONIC = 1


def share(kernel: Any, workers: int, *arguments: Any, even: bool = True) -> None:
    """Send so many threads through `kernel(crew, *arguments)`, which forks, and deals out its work by tickets.

    The counters are among the arguments, so that those who come as a crew and those who come one by one, where there is
    no team, get tickets of the same.

    Args:
        kernel: Returns what `fork` does.
        workers: How many threads.
        arguments: Of the kernel.
        even: Whether all threads end at nearly the same time if none is late; else nobody judges.
    """
    if workers < 2:
        kernel(ALONE, *arguments)
    elif (team := forking(workers)) is not None:
        late = kernel(team.crew(), *arguments)
        team.late(late if even else 0)
    else:
        run([partial(kernel, ALONE, *arguments)] * workers, workers)


@_intrinsic
def ticket(_context, counters, at):
    """The number in `counters[at]`, of int64, which is one greater for whoever comes next."""

    def generate(context, builder, made, arguments):
        data = cgutils.create_struct_proxy(made.args[0])(context, builder, value=arguments[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [arguments[1]]), _LONG(1), "seq_cst")

    return types.int64(counters, types.int64), generate


@_intrinsic
def reached(_context, counters, at):
    """How many tickets of `counters[at]` have been taken."""

    def generate(context, builder, made, arguments):
        data = cgutils.create_struct_proxy(made.args[0])(context, builder, value=arguments[0]).data
        return builder.load_atomic(builder.gep(data, [arguments[1]]), "seq_cst", 8)

    return types.int64(counters, types.int64), generate


@_intrinsic
def fork(typing, crew, kernel, arguments):
    """Run `kernel(*arguments)`, which returns nothing, on every thread of a crew, and wait for all of them.

    Args:
        crew: What `Team.crew` hands out, (4,) of int64; or `ALONE`.
        kernel: A compiled function.
        arguments: A tuple.

    Returns:
        By how many nanoseconds the others were late: how much longer they took than this thread for its own share.
    """
    made = kernel.get_call_type(typing, tuple(arguments.types), {})

    def generate(context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        compiled = kernel.dispatcher.get_compile_result(made)
        context.add_linking_libs([compiled.library])
        values = cgutils.unpack_tuple(builder, given[2])
        body = _body(context, builder.module, compiled, made, [value.type for value in values])
        kept = cgutils.pack_struct(builder, values)
        place = builder.bitcast(cgutils.alloca_once_value(builder, kept), _BYTES)
        start, end, clock, threads = _words(context, builder, crew, given[0])
        late = cgutils.alloca_once_value(builder, _LONG(0))
        with builder.if_else(builder.icmp_unsigned("!=", start, _LONG(0))) as (together, alone):
            with together:
                entry = ir.FunctionType(_VOID, [body.type, _BYTES, _INT]).as_pointer()
                begin = _now(builder, clock)
                builder.call(builder.inttoptr(start, entry), [body, place, builder.trunc(threads, _INT)])
                builder.call(body, [place])
                middle = _now(builder, clock)
                builder.call(builder.inttoptr(end, ir.FunctionType(_VOID, []).as_pointer()), [])
                waited, worked = builder.sub(_now(builder, clock), middle), builder.sub(middle, begin)
                builder.store(builder.sub(waited, worked), late)
            with alone:
                builder.call(body, [place])
        return builder.load(late)

    return types.int64(crew, kernel, arguments), generate


def _body(context: Any, module: Any, compiled: Any, made: Any, kinds: list[Any]) -> Any:
    """A function of one pointer, which every thread calls: it reads the arguments and runs the kernel."""
    name = module.get_unique_name(f"{compiled.fndesc.mangled_name}.fork")
    body = ir.Function(module, ir.FunctionType(_VOID, [_BYTES]), name=name)
    body.linkage = "internal"
    # One machine code for everybody: the caller must not get a copy of its own.
    body.attributes.add("noinline")
    builder = ir.IRBuilder(body.append_basic_block("entry"))
    place = builder.bitcast(body.args[0], ir.LiteralStructType(kinds).as_pointer())
    loaded = [builder.load(builder.gep(place, [_INT(0), _INT(n)])) for n in range(len(kinds))]
    # There is nobody to hand an error to; kernels raise none but for want of memory.
    context.call_internal_no_propagate(builder, compiled.fndesc, made, loaded)
    builder.ret_void()
    return body


def _words(context: Any, builder: Any, kind: Any, array: Any) -> list[Any]:
    data = cgutils.create_struct_proxy(kind)(context, builder, value=array).data
    return [builder.load(builder.gep(data, [_LONG(n)])) for n in range(4)]


def _now(builder: Any, clock: Any) -> Any:
    """Nanoseconds of a clock that never goes back."""
    place = cgutils.alloca_once(builder, ir.ArrayType(_LONG, 2))
    builder.call(builder.inttoptr(clock, _CLOCK.as_pointer()), [_INT(_MONOTONIC), place])
    seconds, rest = (builder.load(builder.gep(place, [_INT(0), _INT(n)])) for n in range(2))
    return builder.add(builder.mul(seconds, _LONG(1_000_000_000)), rest)
