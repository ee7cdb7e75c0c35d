"""A pickle reader that can only build plain data.

It interprets the pickle instructions itself, so Python's own unpickler - which calls whatever a file names - never sees
the file. A name is looked up in the table of `Allowed` builders that the caller gives; any other name stops the reading
before anything is built. Every length is compared with the bytes that are left and all work is paid from a budget, so a
small file cannot claim a large memory.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Allowed", "Damaged", "Holder", "Machine", "Refused"]

_MOST_STEPS = 500_000
"""Instructions per file; an official file needs a few thousand."""


class Damaged(Exception):
    """The bytes are not one whole, sensible pickle; `str` says what is wrong with them."""


class Refused(Exception):
    """The pickle asks for something outside the table; `str` is its name."""


@dataclass(frozen=True, eq=False)
class Allowed:
    """A name that pickles may use, and the safe builder that answers for it."""

    name: str
    build: Callable[..., object]
    """Called as `build(machine, *arguments)`."""


class Holder:
    """An object of the pickle, as its class name and the state it was given; it has no behaviour."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.state: object = None


class Machine:
    """Runs one pickle out of `data`; afterwards `position` is the byte behind it."""

    def __init__(
        self,
        data: bytes,
        allowed: Mapping[str, Allowed],
        *,
        position: int = 0,
        persistent: Callable[[object], object] | None = None,
    ) -> None:
        self.data = data
        self.position = position
        self.budget = 8 * len(data) + 65536
        """Bytes and items that builders may still copy."""
        self._allowed = allowed
        self._persistent = persistent
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}

    def run(self) -> object:
        """The pickled value, objects as `Holder`s.

        Raises:
            Damaged: the pickle is cut short or makes no sense.
            Refused: it names something that is not allowed.
        """
        try:
            for _ in range(_MOST_STEPS):
                code = self._take(1)[0]
                if code == ord("."):
                    return self._stack.pop()
                self._step(code)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, struct.error, Warning) as error:
            raise Damaged(f"makes no sense at byte {self.position}") from error
        raise Damaged(f"has more than {_MOST_STEPS} instructions")

    def spend(self, amount: int) -> None:
        """Pay for work that is not bounded by the instruction itself."""
        self.budget -= amount
        if self.budget < 0:
            raise Damaged("unfolds to far more than its own size")

    def find(self, module: object, name: object) -> Allowed:
        """The builder for a global name."""
        found = self._allowed.get(f"{module}.{name}") if isinstance(module, str) and isinstance(name, str) else None
        if found is None:
            raise Refused(f"{module}.{name}"[:80].encode("unicode_escape").decode())
        return found

    def call(self, target: object, arguments: object) -> object:
        """Let a builder answer a call."""
        if not isinstance(target, Allowed) or not isinstance(arguments, tuple):
            raise Damaged(f"calls something that is not a function at byte {self.position}")
        return target.build(self, *arguments)

    def _step(self, code: int) -> None:
        if code in _CONSTANT:
            self._stack.append(_CONSTANT[code])
        elif code in _FRESH:
            self._stack.append(_FRESH[code]())
        elif code in _FIXED:
            form = _FIXED[code]
            self._stack.append(struct.unpack(form, self._take(struct.calcsize(form)))[0])
        elif code in _SIZED:
            width, convert = _SIZED[code]
            self._stack.append(convert(self._take(self._number(width))))
        elif code in _LINE:
            self._stack.append(_LINE[code](self._line()))
        elif code in _TUPLE:
            self._stack.append(tuple(self._pop(_TUPLE[code])))
        elif code in _ACTION:
            _ACTION[code](self)
        else:
            raise Damaged(f"has an unknown instruction at byte {self.position - 1}")

    def _take(self, size: int) -> bytes:
        start, stop = self.position, self.position + size
        if stop > len(self.data):
            raise Damaged("is cut short")
        self.position = stop
        return self.data[start:stop]

    def _number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _line(self) -> bytes:
        stop = self.data.find(b"\n", self.position)
        if stop < 0:
            raise Damaged("is cut short")
        line = self._take(stop - self.position)
        self.position = stop + 1
        return line

    def _pop(self, count: int) -> list[object]:
        floor = self._marks[-1] if self._marks else 0
        if len(self._stack) - count < floor:
            raise Damaged(f"makes no sense at byte {self.position}")
        taken = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return taken

    def _pop_mark(self) -> list[object]:
        start = self._marks.pop()
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _discard(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop(1)

    def _repeat(self) -> None:
        self._stack.append(self._stack[-1])

    def _protocol(self) -> None:
        if self._number(1) > 5:
            raise Damaged("uses a pickle protocol newer than 5")

    def _frame(self) -> None:
        if self._number(8) > len(self.data) - self.position:
            raise Damaged("is cut short")

    def _remember(self, key: int) -> None:
        self._memo[key] = self._stack[-1]

    def _recall(self, key: int) -> None:
        self._stack.append(self._memo[key])

    def _make_list(self) -> None:
        self._stack.append(self._pop_mark())

    def _make_tuple(self) -> None:
        self._stack.append(tuple(self._pop_mark()))

    def _make_set(self) -> None:
        self._stack.append(frozenset(_key(item) for item in self._pop_mark()))

    def _make_dict(self) -> None:
        items = self._pop_mark()
        self._stack.append({})
        self._set_items(items)

    def _extend(self, items: list[object]) -> None:
        target = self._stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is set:
            target.update(_key(item) for item in items)
        else:
            raise Damaged(f"adds items to something that is not a list at byte {self.position}")

    def _set_items(self, items: list[object]) -> None:
        target = self._stack[-1]
        if type(target) is not dict:
            raise Damaged(f"adds entries to something that is not a dictionary at byte {self.position}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _global(self) -> None:
        self._stack.append(self.find(self._line().decode(), self._line().decode()))

    def _stack_global(self) -> None:
        self._stack.append(self.find(*self._pop(2)))

    def _reduce(self) -> None:
        self._stack.append(self.call(*self._pop(2)))

    def _new_with_keywords(self) -> None:
        target, arguments, keywords = self._pop(3)
        if keywords:
            raise Damaged(f"calls a class with keywords at byte {self.position}")
        self._stack.append(self.call(target, arguments))

    def _instance(self) -> None:
        target = self.find(self._line().decode(), self._line().decode())
        self._stack.append(self.call(target, tuple(self._pop_mark())))

    def _object(self) -> None:
        target, *arguments = self._pop_mark()
        self._stack.append(self.call(target, tuple(arguments)))

    def _set_state(self) -> None:
        (state,) = self._pop(1)
        target = self._stack[-1]
        if type(target) is dict and isinstance(state, dict):
            return  # The attributes of an ordered dictionary, such as torch's `_metadata`, are of no use.
        if not isinstance(target, Holder):
            raise Damaged(f"gives a state to something that has none at byte {self.position}")
        target.state = state

    def _persist(self, key: object) -> None:
        if self._persistent is None:
            raise Refused("a persistent object")
        self._stack.append(self._persistent(key))

    def _extension(self) -> None:
        raise Refused("a registered extension")

    def _buffer(self) -> None:
        raise Damaged("keeps its arrays in another file")


def _key(value: object) -> object:
    """A set member or dictionary key whose hash costs little and cannot be made to collide."""
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if value is None or isinstance(value, str | bytes | Holder | Allowed):
        return value
    raise Damaged(f"uses a {type(value).__name__} as a key")


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _latin(data: bytes) -> str:
    return data.decode("latin-1")


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _quoted(line: bytes) -> str:
    """A Python 2 string literal; its bytes become code points 0..255."""
    text = line.strip()
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise Damaged("has a string without its quotes")
    return text[1:-1].decode("unicode_escape")


def _integer(line: bytes) -> int:
    return line == b"01" if line in (b"00", b"01") else int(line)


_CONSTANT = {ord("N"): None, 0x88: True, 0x89: False}
_FRESH: dict[int, Callable[[], object]] = {ord("]"): list, ord("}"): dict, ord(")"): tuple, 0x8F: set}
_FIXED = {ord("K"): "<B", ord("M"): "<H", ord("J"): "<i", ord("G"): ">d"}
_TUPLE = {0x85: 1, 0x86: 2, 0x87: 3}
_SIZED: dict[int, tuple[int, Callable[[bytes], object]]] = {
    ord("U"): (1, _latin),
    ord("T"): (4, _latin),
    ord("C"): (1, bytes),
    ord("B"): (4, bytes),
    0x8E: (8, bytes),
    0x96: (8, bytes),
    0x8C: (1, _utf8),
    ord("X"): (4, _utf8),
    0x8D: (8, _utf8),
    0x8A: (1, _signed),
    0x8B: (4, _signed),
}
"""Bytes of the length field, and how the payload becomes a value."""
_LINE: dict[int, Callable[[bytes], object]] = {
    ord("F"): float,
    ord("I"): _integer,
    ord("L"): lambda line: int(line.rstrip(b"L")),
    ord("S"): _quoted,
    ord("V"): lambda line: line.decode("raw_unicode_escape"),
}
_ACTION: dict[int, Callable[[Machine], None]] = {
    ord("("): Machine._mark,
    ord("0"): Machine._discard,
    ord("1"): lambda m: m._pop_mark().clear(),
    ord("2"): Machine._repeat,
    0x80: Machine._protocol,
    0x95: Machine._frame,
    ord("p"): lambda m: m._remember(int(m._line())),
    ord("q"): lambda m: m._remember(m._number(1)),
    ord("r"): lambda m: m._remember(m._number(4)),
    0x94: lambda m: m._remember(len(m._memo)),
    ord("g"): lambda m: m._recall(int(m._line())),
    ord("h"): lambda m: m._recall(m._number(1)),
    ord("j"): lambda m: m._recall(m._number(4)),
    ord("l"): Machine._make_list,
    ord("t"): Machine._make_tuple,
    ord("d"): Machine._make_dict,
    0x91: Machine._make_set,
    ord("a"): lambda m: m._extend(m._pop(1)),
    ord("e"): lambda m: m._extend(m._pop_mark()),
    0x90: lambda m: m._extend(m._pop_mark()),
    ord("s"): lambda m: m._set_items(m._pop(2)),
    ord("u"): lambda m: m._set_items(m._pop_mark()),
    ord("c"): Machine._global,
    0x93: Machine._stack_global,
    ord("R"): Machine._reduce,
    0x81: Machine._reduce,
    0x92: Machine._new_with_keywords,
    ord("i"): Machine._instance,
    ord("o"): Machine._object,
    ord("b"): Machine._set_state,
    ord("P"): lambda m: m._persist(m._line()),
    ord("Q"): lambda m: m._persist(m._pop(1)[0]),
    0x82: Machine._extension,
    0x83: Machine._extension,
    0x84: Machine._extension,
    0x97: Machine._buffer,
    0x98: Machine._buffer,
}
