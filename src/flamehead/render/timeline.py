"""Curves over time above one another, and below them bands that say what state each moment is in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from flamehead.errors import InputError
from flamehead.render._text import INK, PAPER

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = ["Band", "Curve", "timeline"]

Color = tuple[float, float, float]

_FINE = 2
"""Drawn so many times as large, then reduced, for smooth lines."""
_LEFT, _RIGHT, _TITLE, _BELOW, _STRIP = 58, 18, 26, 30, 16
_GRID = (0.86, 0.86, 0.85)
_MEAN = (0.55, 0.56, 0.58)


@dataclass(frozen=True)
class Curve:
    """One value over time."""

    title: str
    """Above the curve: what it is, and its unit."""
    values: Float[np.ndarray, "T"]
    """NaN leaves a gap."""
    color: Color = (0.16, 0.40, 0.68)


@dataclass(frozen=True)
class Band:
    """A state in which moments can be."""

    name: str
    color: Color


def timeline(
    times: Float[np.ndarray, "T"],
    curves: Sequence[Curve],
    *,
    states: Int[np.ndarray, "T"] | None = None,
    bands: Sequence[Band] = (),
    lines: Sequence[float] = (),
    width: int = 1000,
    height: int = 200,
) -> Float[np.ndarray, "H W 3"]:
    """Draw curves over a common axis of seconds, from 0 up, with the mean of each as a thin line.

    Args:
        times: Seconds, increasing.
        curves: From the top down, each as long as `times`.
        states: Which of `bands` each moment is in.
        bands: Their names and colours, in a strip below with a legend.
        lines: Times of vertical lines, such as cuts.
        width: Of the picture, pixels.
        height: Of each curve, pixels.

    Raises:
        InputError: There are no moments or curves, or they differ in length.
    """
    from PIL import Image, ImageDraw

    if not len(times) or not curves or any(len(curve.values) != len(times) for curve in curves):
        raise InputError("A timeline needs moments, and curves with a value for each of them.")
    strip = _STRIP + 24 if states is not None else 0
    size = (width, len(curves) * (height + _TITLE) + strip + _BELOW)
    picture = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), _bytes(PAPER))
    axis = _Axis(float(times[0]), max(float(times[-1]), float(times[0]) + 1e-3), width)
    draw = ImageDraw.Draw(picture)
    for k, curve in enumerate(curves):
        top = _TITLE + k * (height + _TITLE)
        _draw_curve(draw, axis, times, curve, lines, top, top + height - 14)
    bottom = len(curves) * (height + _TITLE)
    if states is not None:
        _draw_states(draw, axis, times, states, bands, bottom + 6)
    _draw_seconds(draw, axis, size[1] - _BELOW)
    return np.asarray(picture.reduce(_FINE), dtype=np.float32) / np.float32(255)


@dataclass(frozen=True)
class _Axis:
    first: float
    last: float
    width: int

    def x(self, time: float) -> float:
        """Fine pixels."""
        share = (time - self.first) / (self.last - self.first)
        return _FINE * (_LEFT + share * (self.width - _LEFT - _RIGHT))


def _draw_curve(
    draw: ImageDraw, axis: _Axis, times: np.ndarray, curve: Curve, lines: Sequence[float], top: int, bottom: int
) -> None:
    known = curve.values[np.isfinite(curve.values)]
    step = _nice(float(known.max()) / 3 if len(known) and known.max() > 0 else 1.0)
    most = step * max(1, math.ceil(float(known.max()) / step - 1e-9)) if len(known) else step

    def y(value: float) -> float:
        return _FINE * (bottom - value / most * (bottom - top))

    left, right = axis.x(axis.first), axis.x(axis.last)
    for k in range(round(most / step) + 1):
        draw.line([left, y(k * step), right, y(k * step)], fill=_bytes(_GRID), width=_FINE // 2 + 1)
        _write(draw, left - 6 * _FINE, y(k * step), f"{k * step:g}", "rm")
    for line in lines:
        draw.line([axis.x(line), y(0.0), axis.x(line), y(most)], fill=_bytes(_MEAN), width=_FINE)
    words = curve.title
    if len(known):
        draw.line([left, y(known.mean()), right, y(known.mean())], fill=_bytes(_MEAN), width=_FINE // 2 + 1)
        words += f": mean {known.mean():.3g}, 95 % below {np.percentile(known, 95):.3g}, largest {known.max():.3g}"
    _write(draw, left, _FINE * (top - 13), words if len(known) else f"{words}: not measured", "lm")
    points = [(axis.x(float(t)), y(float(v))) for t, v in zip(times, curve.values, strict=True)]
    for run in _runs(np.isfinite(curve.values)):
        part = points[run]
        if len(part) > 1:
            draw.line(part, fill=_bytes(curve.color), width=round(1.5 * _FINE), joint="curve")
        else:
            (x, at), r = part[0], 1.5 * _FINE
            draw.ellipse([x - r, at - r, x + r, at + r], fill=_bytes(curve.color))


def _draw_states(
    draw: ImageDraw, axis: _Axis, times: np.ndarray, states: np.ndarray, bands: Sequence[Band], top: int
) -> None:
    # A moment lasts until half way to its neighbours.
    middles = (times[1:] + times[:-1]) / 2
    edges = [axis.x(float(t)) for t in (axis.first, *middles, axis.last)]
    for start, stop, state in zip(edges[:-1], edges[1:], states, strict=True):
        box = [start, _FINE * top, max(stop, start + 1), _FINE * (top + _STRIP)]
        draw.rectangle(box, fill=_bytes(bands[int(state)].color))
    x = _FINE * _LEFT
    for k, band in enumerate(bands):
        y = _FINE * (top + _STRIP + 12)
        draw.rectangle([x, y - 4 * _FINE, x + 8 * _FINE, y + 4 * _FINE], fill=_bytes(band.color))
        words = f"{band.name}: {int((np.asarray(states) == k).sum())}"
        _write(draw, x + 13 * _FINE, y, words, "lm")
        x += 13 * _FINE + draw.textlength(words, font=_font()) + 20 * _FINE


def _draw_seconds(draw: ImageDraw, axis: _Axis, top: int) -> None:
    step = _nice((axis.last - axis.first) / 8)
    for k in range(math.ceil(axis.first / step - 1e-9), math.floor(axis.last / step + 1e-9) + 1):
        draw.line([axis.x(k * step), _FINE * top, axis.x(k * step), _FINE * (top + 5)], fill=_bytes(INK), width=_FINE)
        _write(draw, axis.x(k * step), _FINE * (top + 16), f"{k * step:g} s", "mm")


def _nice(step: float) -> float:
    """The next of 1, 2, 5, 10, ... that is not smaller."""
    power = 10.0 ** math.floor(math.log10(max(step, 1e-9)))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _runs(known: np.ndarray) -> list[slice]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _write(draw: ImageDraw, x: float, y: float, text: str, anchor: str) -> None:
    draw.text((x, y), text, fill=_bytes(INK), font=_font(), anchor=anchor)


def _font() -> FreeTypeFont | ImageFont:
    from PIL.ImageFont import load_default

    return load_default(size=11 * _FINE)


def _bytes(color: Color) -> tuple[int, int, int]:
    red, green, blue = (round(255 * value) for value in color)
    return red, green, blue
