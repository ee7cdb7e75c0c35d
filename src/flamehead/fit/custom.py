"""Fit a head by any differentiable loss on its picture, with Adam: slower than Gauss-Newton, but free in its aims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.data import Camera, FlameParams
from flamehead.errors import InputError
from flamehead.render import Texture
from flamehead.render.draw import Drawing, draw

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["CustomFit", "Guess", "fit_custom"]

_RATES = {"shape": 0.02, "expression": 0.02, "translation": 5e-4, "albedo": 0.02, "light": 0.01}
"""Steps of Adam for each unknown; rotations take `_TURN`."""
_TURN = 0.005
_STILL = ("neck", "left_eye", "right_eye")


@dataclass(frozen=True)
class Guess:
    """Everything that a picture of a head is made of."""

    params: FlameParams
    camera: Camera
    albedo: Float[Tensor, "K"]
    """Whatever the `paint` of `fit_custom` takes."""
    light: Float[Tensor, "9 3"] | None
    """Spherical harmonics in the world's frame, linear RGB."""


@dataclass(frozen=True)
class CustomFit:
    """Where Adam ended."""

    best: Guess
    """Of the least loss."""
    losses: tuple[float, ...]
    """Before each step, and after the last."""


def fit_custom(
    flame: Flame,
    start: Guess,
    loss: Callable[[Drawing, Guess], Tensor],
    *,
    paint: Callable[[Tensor], Texture | Tensor],
    free: Sequence[str] | None = None,
    steps: int = 100,
    rates: Mapping[str, float] | None = None,
) -> CustomFit:
    """Minimise a loss of the drawn head (Kingma and Ba 2015).

    Args:
        flame: The model.
        start: Where to begin.
        loss: A number from the drawing and the guess that it shows; beliefs about the head belong into it.
        paint: From `albedo` to what `draw` takes: a texture, or sRGB colours at vertices.
        free: What may move: fields of `FlameParams`, `albedo`, `light`; None is all but neck and eyes.
        steps: Of Adam.
        rates: Step lengths by name; good ones for the units of each by default.

    Raises:
        InputError: A name that is no unknown, or a loss that is not a finite number.

    Example:
        >>> def loss(drawing, guess):
        ...     return (drawing.image - photo).abs().mean() + 1e-4 * guess.params.shape.square().sum()
        >>> fit_custom(flame, start, loss, paint=lambda albedo: colors)  # doctest: +SKIP
    """
    values = _values(start)
    free = [name for name in values if name not in _STILL] if free is None else free
    unknown = [name for name in free if name not in values]
    if unknown or not free:
        raise InputError(f"{unknown or 'Nothing'} cannot be fitted; choose from {', '.join(values)}.")
    given = rates or {}
    moving = {name: values[name].detach().clone().requires_grad_() for name in free}
    adam = torch.optim.Adam(
        [{"params": [value], "lr": given.get(name, _RATES.get(name, _TURN))} for name, value in moving.items()]
    )
    best, losses = start, list[float]()
    for step in range(steps + 1):
        guess = _with(start, moving)
        drawing = draw(
            flame(guess.params, backend="reference").vertices,
            flame.faces,
            guess.camera,
            albedo=paint(guess.albedo),
            light=guess.light,
        )
        value = loss(drawing, guess)
        if value.ndim or not torch.isfinite(value):
            raise InputError(f"The loss is {value.tolist()} at step {step}; return one finite number.")
        now = float(value.detach())
        if not losses or now < min(losses):
            best = _with(start, {name: tensor.detach().clone() for name, tensor in moving.items()})
        losses.append(now)
        if step < steps:
            adam.zero_grad()
            value.backward()
            adam.step()
    return CustomFit(best, tuple(losses))


def _values(guess: Guess) -> dict[str, Tensor]:
    """All unknowns by name."""
    values = {field.name: getattr(guess.params, field.name) for field in fields(FlameParams)}
    values["albedo"] = guess.albedo
    return values if guess.light is None else values | {"light": guess.light}


def _with(guess: Guess, moved: Mapping[str, Tensor]) -> Guess:
    """The guess with some of its values replaced."""
    own = {name: value for name, value in moved.items() if name in ("albedo", "light")}
    params = replace(guess.params, **{name: value for name, value in moved.items() if name not in own})
    return replace(guess, params=params, **own)
