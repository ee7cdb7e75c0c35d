"""Directions that have names: components of the built-in head, and turns of the joints of any model."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from flamehead.builtin import RECIPE, SOURCE, builtin_head
from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.model.flame import Flame

__all__ = ["TURNS", "Direction", "directions", "is_builtin", "move_along"]


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


def is_builtin(flame: Flame) -> bool:
    """Whether a model is the built-in head, from the package or from an export of it."""
    return flame.fingerprint == f"builtin-{RECIPE}"


def directions(flame: Flame) -> dict[str, Direction]:
    """All names of a model; a pair such as `smile_left` and `smile_right` can also be moved as `smile`."""
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


def move_along(
    params: FlameParams, settings: Mapping[str, float], flame: Flame, *, known: Mapping[str, Direction] | None = None
) -> FlameParams:
    """Add named amounts to the parameters.

    Args:
        params: Any batch.
        settings: Amounts by name; 1 is one `unit` of the direction.
        flame: The model that the parameters belong to.
        known: The names, instead of `directions(flame)`.

    Raises:
        InputError: The model has no such name.
    """
    known = directions(flame) if known is None else known
    moved = {}
    for name, amount in settings.items():
        if name not in known:
            raise InputError(f"{_model(flame)} has no direction {name!r}; {_meant(name, list(known))}")
        direction = known[name]
        for field in direction.fields:
            if field not in moved:
                moved[field] = getattr(params, field).clone()
            moved[field][..., list(direction.rows)] += amount * direction.unit
    return replace(params, **moved)


def _model(flame: Flame) -> str:
    """The model at the beginning of a sentence."""
    source = flame.arrays.source
    return f"The {source}" if source == SOURCE else source


def _meant(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(near)}?" if near else "`flamehead pose --list` prints the names."
