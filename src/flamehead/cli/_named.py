"""Directions that have names: components of the built-in head, and turns of the joints of any model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flamehead.cli._usage import UsageError
from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.data import FlameParams
    from flamehead.model import Flame

__all__ = ["TURNS", "Direction", "directions", "move_along", "parse_settings"]


_MOST = 100
"""Standard deviations or units of a turn, far beyond any face."""


@dataclass(frozen=True)
class Direction:
    """What a name moves."""

    fields: tuple[str, ...]
    """Of `FlameParams`."""
    rows: tuple[int, ...]
    """Which numbers of them move together."""
    unit: float
    """How far at 1: standard deviations of a coefficient, radians of a joint."""


TURNS = {
    "jaw_open": Direction(("jaw",), (0,), math.radians(20)),
    "look_left": Direction(("left_eye", "right_eye"), (1,), math.radians(20)),
    "look_up": Direction(("left_eye", "right_eye"), (0,), -math.radians(15)),
    "turn_left": Direction(("neck",), (1,), math.radians(30)),
    "nod": Direction(("neck",), (0,), math.radians(20)),
    "tilt_left": Direction(("neck",), (2,), -math.radians(15)),
}
"""Turns of joints, for every model; left is the subject's."""


def directions(flame: Flame) -> dict[str, Direction]:
    """All names of a model; a pair such as `smile_left` and `smile_right` can also be moved as `smile`."""
    from flamehead.builtin import builtin_head
    from flamehead.cli._heads import is_builtin

    if not is_builtin(flame):
        return dict(TURNS)
    head = builtin_head()
    out = {name: Direction(("shape",), (row,), 1.0) for row, name in enumerate(head.shape_names)}
    for row, name in enumerate(head.expression_names):
        out[name] = Direction(("expression",), (row,), 1.0)
        pair = name.removesuffix("_left")
        if pair != name and f"{pair}_right" in head.expression_names:
            out[pair] = Direction(("expression",), (row, head.expression_names.index(f"{pair}_right")), 1.0)
    return TURNS | out


def parse_settings(words: Sequence[str]) -> dict[str, float]:
    """`name=value` words as numbers.

    Raises:
        UsageError: A word is none.
    """
    out: dict[str, float] = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (name and equals and math.isfinite(value)):
            raise UsageError(f"Cannot understand {word!r} after --set; write NAME=NUMBER, for example smile=1.2.")
        if abs(value) > _MOST:
            raise UsageError(f"--set {word} is no head; give an amount from -{_MOST} to {_MOST}.")
        out[name] = value
    return out


def move_along(params: FlameParams, settings: dict[str, float], flame: Flame) -> FlameParams:
    """Add named amounts to the parameters.

    Raises:
        InputError: The model has no such name.
    """
    known = directions(flame)
    for name, amount in settings.items():
        if name not in known:
            raise InputError(f"{_model(flame)} has no direction {name!r}; {_meant(name, list(known))}")
        direction = known[name]
        for field in direction.fields:
            value = getattr(params, field).clone()
            value[..., list(direction.rows)] += amount * direction.unit
            params = replace(params, **{field: value})
    return params


def _model(flame: Flame) -> str:
    """The model at the beginning of a sentence."""
    from flamehead.builtin.head import SOURCE

    source = flame.arrays.source
    return f"The {source}" if source == SOURCE else source


def _meant(name: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(near)}?" if near else "`flamehead pose --list` prints the names."
