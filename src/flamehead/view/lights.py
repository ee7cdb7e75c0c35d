"""Light for the browser: lamps around the head in its frame, x to the subject's left, y up, z out of the face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LIGHTS", "Lamp", "Light"]


@dataclass(frozen=True)
class Lamp:
    """A distant lamp."""

    towards: tuple[float, float, float]
    """From the head to the lamp."""
    intensity: float
    """pi makes white of a white surface that faces it."""
    color: tuple[int, int, int] = (255, 255, 255)


@dataclass(frozen=True)
class Light:
    """All the light of a scene."""

    lamps: tuple[Lamp, ...]
    ambient: float
    """From everywhere; pi makes white of a white surface."""


LIGHTS: Mapping[str, Light] = {
    "studio": Light(
        (
            Lamp((-0.55, 0.60, 0.75), 2.1, (255, 246, 236)),
            Lamp((0.90, 0.10, 0.55), 0.55, (236, 242, 255)),
            Lamp((0.55, 0.45, -0.70), 0.6, (236, 242, 255)),
            Lamp((-0.70, 0.30, -0.70), 0.3),
        ),
        0.95,
    ),
    "front": Light((Lamp((0.0, 0.25, 1.0), 2.0),), 1.0),
    "left": Light((Lamp((1.0, 0.25, 0.35), 2.6), Lamp((-1.0, 0.0, 0.3), 0.15)), 0.5),
    "right": Light((Lamp((-1.0, 0.25, 0.35), 2.6), Lamp((1.0, 0.0, 0.3), 0.15)), 0.5),
    "top": Light((Lamp((0.0, 1.0, 0.35), 2.4),), 0.6),
    "even": Light((Lamp((0.0, 0.3, 1.0), 0.35),), 2.5),
}
"""By name; left is the subject's."""
