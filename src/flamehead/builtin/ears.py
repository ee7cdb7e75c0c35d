"""The ears: a displacement of the side of the head. Centimetres."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["EAR_CENTER", "add_ears", "ear_rings", "in_ear"]

EAR_CENTER = np.array([0.75, -4.55])
"""Middle of the ear patch, (y, z), cm."""
_HALF_HEIGHT, _HALF_WIDTH, _TILT = 3.15, 1.80, np.deg2rad(-14.0)
_RIM = 0.80  # Radius of the helix in patch coordinates; what lies outside is the back of the ear.


def _patch(points: Float[np.ndarray, "N 3"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patch coordinates: s up along the ear, t forward, and the radius, 1 on the border of the patch."""
    y, z = points[:, 1] - EAR_CENTER[0], points[:, 2] - EAR_CENTER[1]
    s = (np.cos(_TILT) * y + np.sin(_TILT) * z) / _HALF_HEIGHT
    t = (-np.sin(_TILT) * y + np.cos(_TILT) * z) / _HALF_WIDTH
    # An egg: wide at the top, narrow at the lobe.
    t = t / (1.0 + 0.22 * np.clip(s, -1.2, 1.2))
    return s, t, np.hypot(s, t)


_RINGS = (
    *((rho, 36) for rho in (1.0, 0.95, 0.90, 0.85, 0.80, 0.76, 0.70, 0.62)),
    (0.53, 30),
    (0.44, 24),
    (0.34, 18),
    (0.24, 12),
    (0.12, 6),
)
"""Radius and number of vertices of the rings of an ear; close where the surface will be steep."""


def ear_rings() -> list[Float[np.ndarray, "K 2"]]:
    """(y, z) of the vertices of the left ear before it is raised: rings from the border inwards, the middle."""
    out = []
    for rho, count in _RINGS:
        angle = 2.0 * np.pi * (np.arange(count) + 0.5) / count
        s, t = rho * np.sin(angle), rho * np.cos(angle)
        out.append(_from_patch(s, t))
    return [*out, _from_patch(np.zeros(1), np.zeros(1))]


def _from_patch(s: np.ndarray, t: np.ndarray) -> Float[np.ndarray, "K 2"]:
    """The inverse of `_patch`."""
    t = t * (1.0 + 0.22 * np.clip(s, -1.2, 1.2)) * _HALF_WIDTH
    s = s * _HALF_HEIGHT
    return EAR_CENTER + np.stack([np.cos(_TILT) * s - np.sin(_TILT) * t, np.sin(_TILT) * s + np.cos(_TILT) * t], -1)


def in_ear(points: Float[np.ndarray, "N 3"], *, margin: float = 0.0) -> Bool[np.ndarray, "N"]:
    """Which surface points, ears not yet added, belong to an ear."""
    return (_patch(points)[2] < 1.0 + margin) & (np.abs(points[:, 0]) > 4.0)


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    u = np.clip((x - low) / (high - low), 0.0, 1.0)
    return u * u * (3.0 - 2.0 * u)


def add_ears(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Raise the auricles out of the smooth sides of the head.

    Inside the rim the patch becomes the outer face of the ear (concha, antihelix, helix, tragus); the ring outside the
    rim becomes its back, which runs from the helix down to the skull.
    """
    s, t, r = _patch(points)
    chosen = in_ear(points)
    rear = np.clip(0.5 - 0.5 * t / np.maximum(r, 1e-6), 0.0, 1.0)
    rear = _step(rear, 0.05, 0.75)
    lobe = _step(-s, 0.45, 0.95)
    height = (0.12 + 1.10 * rear) * (1.0 - 0.40 * lobe) + 0.08 * _step(s, 0.3, 0.9)
    face = 0.26 + 0.74 * _step(r, 0.22, _RIM)
    back = 1.0 - _step(r, _RIM, 1.0)
    out = height * np.where(r < _RIM, face, back)
    ridge = np.clip(rear + _step(s, 0.3, 0.8), 0.0, 1.0)
    out += 0.16 * ridge * np.exp(-(((r - 0.78) / 0.085) ** 2)) * (1.0 - 0.7 * lobe)
    out -= 0.13 * ridge * np.exp(-(((r - 0.64) / 0.08) ** 2)) * (1.0 - lobe)
    out += 0.15 * rear * np.exp(-(((r - 0.50) / 0.11) ** 2)) * (1.0 - lobe)
    out -= 0.30 * np.exp(-(((s + 0.10) / 0.30) ** 2 + ((t - 0.12) / 0.34) ** 2))
    out += 0.34 * np.exp(-(((s + 0.14) / 0.15) ** 2 + ((t - 0.62) / 0.17) ** 2))
    # The rim leans backwards over the ring behind it.
    lean = -0.45 * rear * np.exp(-(((r - 0.84) / 0.16) ** 2))
    fade = chosen * (1.0 - _step(r, 0.97, 1.0))
    side = np.sign(points[:, 0])
    shift = np.stack([side * out, 0.10 * out, -0.42 * out * rear + lean], -1)
    return points + shift * fade[:, None]
