"""What the viewer shows as plain values: the head's state, its history, presets, and the text that it is copied as."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.model import Direction, Flame, move_along
from flamehead.view.controls import EYELIDS

__all__ = [
    "PRESETS", "HeadState", "History", "eyelids_of", "from_text", "moved", "params_of", "preset", "pushed",
    "random_person", "redone", "to_text", "undone",
]  # fmt: skip

PRESETS: Mapping[str, Mapping[str, float]] = {
    "neutral": {},
    "smile": {"smile": 1.0, "cheek_raise": 0.6, "squint": 0.3, "lips_part": 0.3},
    "surprise": {"brow_raise_inner": 1.0, "brow_raise_outer": 1.0, "wide": 0.9, "jaw_open": 0.8},
    "anger": {"brow_lower": 1.2, "squint": 0.6, "lips_press": 0.9, "nostrils_flare": 0.6},
    "sadness": {"brow_raise_inner": 1.0, "brow_lower": 0.4, "frown": 0.9, "chin_raise": 0.5, "look_up": -0.6},
    "disgust": {"nose_wrinkle": 1.0, "upper_lip_raise": 0.8, "brow_lower": 0.6},
    "kiss": {"pucker": 1.2, "blink": 0.3},
    "eyes closed": {"blink": 1.0, EYELIDS[0]: 1.0, EYELIDS[1]: 1.0},
    "mouth open": {"jaw_open": 1.0},
    "look aside": {"look_left": 1.0, "turn_left": 0.5},
}
"""Amounts by name; names that a model does not have are left out."""

_MOST_STEPS = 200
"""That can be undone."""
_MOST = 100.0
"""Beyond any face, as on the command line."""


@dataclass(frozen=True)
class HeadState:
    """What the sliders say; what was loaded from a file is added to it."""

    amounts: Mapping[str, float] = field(default_factory=dict)
    """By name of the direction, in its unit; zeros are left out."""
    shape: tuple[float, ...] = ()
    """Identity coefficients beyond the sliders, such as those of a random person; standard deviations."""
    albedo: tuple[float, ...] = ()
    """Coefficients of the texture, standard deviations."""


def moved(state: HeadState, name: str, amount: float) -> HeadState:
    """The state with one slider elsewhere."""
    others = {key: value for key, value in state.amounts.items() if key != name}
    return replace(state, amounts=others | {name: float(amount)} if amount else others)


def params_of(state: HeadState, flame: Flame, known: Mapping[str, Direction], base: FlameParams) -> FlameParams:
    """The parameters: those of the file, the random person's, and the sliders', added up.

    Args:
        state: What the sliders say.
        flame: The model.
        known: From `all_directions`.
        base: What was loaded, or `flame.zeros()`; with all coefficients of the model, no batch.
    """
    if state.shape:
        extra = torch.tensor(state.shape, dtype=base.shape.dtype)
        shape = base.shape.clone()
        shape[: len(extra)] += extra[: len(shape)]
        base = replace(base, shape=shape)
    return move_along(base, {k: v for k, v in state.amounts.items() if k in known}, flame, known=known)


def eyelids_of(state: HeadState, flame: Flame) -> Float[Tensor, "2"] | None:
    """How far the lids are closed, for `Flame`; None where the sliders do not move them."""
    lids = [state.amounts.get(name, 0.0) for name in EYELIDS]
    return torch.tensor(lids, dtype=flame.template.dtype) if any(lids) and flame.eyelid_basis is not None else None


def preset(state: HeadState, name: str, known: Mapping[str, Direction]) -> HeadState:
    """The same person with a prepared expression and pose."""
    kept = {key: value for key, value in state.amounts.items() if key in known and known[key].fields == ("shape",)}
    wanted = {key: value for key, value in PRESETS[name].items() if key in known or key in EYELIDS}
    return replace(state, amounts=kept | wanted)


def random_person(state: HeadState, seed: int, flame: Flame, known: Mapping[str, Direction]) -> HeadState:
    """Another identity with the same expression: all coefficients of the model drawn from its prior, N(0, 1).

    Those that have a slider move it; the others are kept in `HeadState.shape`.
    """
    drawn = np.random.default_rng(seed).standard_normal(flame.n_shape).clip(-2.5, 2.5)
    amounts = {key: value for key, value in state.amounts.items() if key in known and known[key].fields != ("shape",)}
    amounts |= {key: value for key, value in state.amounts.items() if key in EYELIDS}
    for name, way in known.items():
        if way.fields == ("shape",) and len(way.rows) == 1 and not name.startswith("mode_"):
            amounts[name] = round(float(drawn[way.rows[0]]) / way.unit, 2)
            drawn[way.rows[0]] = 0.0
    return replace(state, amounts=amounts, shape=tuple(float(value) for value in drawn.round(3)))


@dataclass(frozen=True)
class History:
    """The states so far."""

    now: HeadState = HeadState()
    past: tuple[HeadState, ...] = ()
    """Oldest first."""
    future: tuple[HeadState, ...] = ()
    """What was undone, the nearest first."""


def pushed(history: History, state: HeadState) -> History:
    """A new state; what was undone before is forgotten."""
    if state == history.now:
        return history
    return History(state, (*history.past, history.now)[-_MOST_STEPS:])


def undone(history: History) -> History:
    """One step back, or the same where there is none."""
    if not history.past:
        return history
    return History(history.past[-1], history.past[:-1], (history.now, *history.future))


def redone(history: History) -> History:
    """One step forward, or the same where there is none."""
    if not history.future:
        return history
    return History(history.future[0], (*history.past, history.now), history.future[1:])


def to_text(state: HeadState, params: FlameParams, fingerprint: str) -> str:
    """The head as JSON: the sliders, and the parameters that they make, for use in other programs.

    Args:
        state: What the sliders say.
        params: What `params_of` made of it.
        fingerprint: Of the model that the parameters belong to.
    """
    vectors = {name: getattr(params, name).tolist() for name in FlameParams.__dataclass_fields__}
    plain = {
        "model": fingerprint,
        "set": dict(state.amounts),
        "shape": list(state.shape),
        "albedo": list(state.albedo),
        "params": {name: _trimmed(values, 3) for name, values in vectors.items()},
    }
    return json.dumps(plain)


def from_text(text: str, fingerprint: str, names: Collection[str]) -> HeadState:
    """The sliders from what `to_text` wrote, or from `{"smile": 1.0}`.

    Args:
        text: JSON.
        fingerprint: Of the model.
        names: That the model has.

    Raises:
        InputError: The text is neither, belongs to another model, or names what the model does not have.
    """
    try:
        plain: Any = json.loads(text)
    except ValueError as error:
        raise InputError(f"The text is no JSON ({error}); paste what Copy shows.") from error
    if not isinstance(plain, dict):
        raise InputError('The text is no JSON object; paste what Copy shows, or {"smile": 1.0}.')
    if plain.get("model", fingerprint) != fingerprint:
        raise InputError(f"These parameters belong to the model {plain['model']!r}, this one is {fingerprint!r}.")
    whole = "set" in plain
    amounts = plain["set"] if whole else plain
    if not isinstance(amounts, dict):
        raise InputError("`set` must be an object of names and numbers; paste what Copy shows.")
    numbers = {str(name): _number(str(name), value) for name, value in amounts.items()}
    if unknown := sorted(set(numbers) - {*names, *EYELIDS}):
        raise InputError(f"This model has no direction {unknown[0]!r}; `flamehead pose --list` prints the names.")
    shape, albedo = (_numbers(key, plain.get(key, []) if whole else []) for key in ("shape", "albedo"))
    return HeadState({name: value for name, value in numbers.items() if value}, shape, albedo)


def _numbers(name: str, values: object) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise InputError(f"{name!r} must be a list of numbers; paste what Copy shows.")
    return tuple(_number(name, value) for value in values)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > _MOST:
        raise InputError(f"{name!r} is {value!r:.40}; give a number from -{_MOST:.0f} to {_MOST:.0f}.")
    return float(value)


def _trimmed(values: list[float], least: int) -> list[float]:
    """Without the zeros at the end, rounded to what float32 holds."""
    while len(values) > least and values[-1] == 0.0:
        values = values[:-1]
    return [float(f"{value:.7g}") for value in values]
