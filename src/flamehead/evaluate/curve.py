"""The cumulative error curve as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from flamehead.errors import InputError
from flamehead.evaluate.summary import cumulative_share

__all__ = ["draw_curves"]

_COLORS = ((38, 92, 160), (214, 86, 40), (52, 140, 82), (142, 74, 150), (120, 110, 40), (90, 90, 96))
_PAPER, _INK, _GRID = (255, 255, 255), (52, 54, 58), (224, 226, 228)
_WIDTH, _HEIGHT = 720, 480
_LEFT, _TOP, _RIGHT, _BOTTOM = 70, 24, 24, 58
_FINE = 2
"""Drawn this many times larger and then made smaller, because Pillow draws lines without smoothing."""


def draw_curves(
    errors: Mapping[str, Float[np.ndarray, "_"]], *, largest: float | None = None, unit: str = "mm"
) -> Float[np.ndarray, "480 720 3"]:
    """One curve per name: the share of points (up) whose error is at most the distance (across).

    Args:
        errors: By the name that the legend shows.
        largest: Right end of the axis; by default a round number above 98 % of the errors.
        unit: Of the errors, for the axis.

    Raises:
        InputError: There is nothing to draw.
    """
    # Pillow is slow to import, and only pictures need it.
    from PIL import Image, ImageDraw, ImageFont

    if not errors or not all(len(values) for values in errors.values()):
        raise InputError("There are no errors to draw a curve of; evaluate at least one prediction.")
    step, end = _axis(errors, largest)
    image = Image.new("RGB", (_FINE * _WIDTH, _FINE * _HEIGHT), _PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14 * _FINE)

    def place(x: float, share: float) -> tuple[float, float]:
        across = _LEFT + (_WIDTH - _LEFT - _RIGHT) * x / end
        return _FINE * across, _FINE * (_TOP + (_HEIGHT - _TOP - _BOTTOM) * (1.0 - share))

    for share in np.linspace(0.0, 1.0, 6):
        draw.line([place(0.0, share), place(end, share)], fill=_GRID, width=_FINE)
        x, y = place(0.0, share)
        draw.text((x - 8 * _FINE, y), f"{100 * share:.0f} %", fill=_INK, font=font, anchor="rm")
    for value in np.arange(0.0, end + 0.5 * step, step):
        draw.line([place(value, 0.0), place(value, 1.0)], fill=_GRID, width=_FINE)
        x, y = place(value, 0.0)
        draw.text((x, y + 8 * _FINE), f"{value:.4g}", fill=_INK, font=font, anchor="mt")
    x, y = place(0.5 * end, 0.0)
    draw.text((x, y + 32 * _FINE), f"error ({unit})", fill=_INK, font=font, anchor="mt")
    limits = np.linspace(0.0, end, 400)
    for row, (name, values) in enumerate(errors.items()):
        color = _COLORS[row % len(_COLORS)]
        shares = cumulative_share(values, limits)
        draw.line([place(*point) for point in zip(limits, shares, strict=True)], fill=color, width=2 * _FINE + 1)
        _legend(draw, font, row, len(errors), f"{name}: median {np.median(values):#.3g} {unit}", color)
    small = image.resize((_WIDTH, _HEIGHT), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255.0


def _legend(draw: Any, font: Any, row: int, rows: int, text: str, color: tuple[int, int, int]) -> None:
    """In the lower right corner, where cumulative curves never are."""
    x = _FINE * (_WIDTH - _RIGHT - 14)
    y = _FINE * (_HEIGHT - _BOTTOM - 20 - 22 * (rows - 1 - row))
    left = draw.textbbox((x, y), text, font=font, anchor="rm")[0]
    draw.rectangle([left - 34 * _FINE, y - 10 * _FINE, x + 4 * _FINE, y + 10 * _FINE], fill=_PAPER)
    draw.text((x, y), text, fill=_INK, font=font, anchor="rm")
    draw.line([(left - 28 * _FINE, y), (left - 8 * _FINE, y)], fill=color, width=3 * _FINE)


def _axis(errors: Mapping[str, Float[np.ndarray, "_"]], largest: float | None) -> tuple[float, float]:
    """Distance between marks, and the right end."""
    reach = largest or max(float(np.quantile(values, 0.98)) for values in errors.values()) or 1.0
    rough = reach / 6.0
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(power * min((factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough), default=10))
    return step, largest or step * float(np.ceil(reach / step))
