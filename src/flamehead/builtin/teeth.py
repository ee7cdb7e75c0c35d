"""Simple teeth for the built-in head, as an option: vertices behind the 5023 of the FLAME format. Centimetres inside.

Crown sizes are published means (Wheeler, "Dental Anatomy"), the arches parabolas. The upper teeth belong to the skull,
the lower ones to the jaw joint.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    from flamehead.builtin.head import BuiltinHead

__all__ = ["TEETH_PART", "add_teeth"]

TEETH_PART, GUM_PART = 4, 5
_UPPER_WIDTHS = (0.85, 0.65, 0.75, 0.70, 0.68, 1.00, 0.95)
_LOWER_WIDTHS = (0.53, 0.57, 0.68, 0.70, 0.71, 1.08, 1.02)
_UPPER_HEIGHTS = (1.00, 0.90, 0.98, 0.82, 0.80, 0.74, 0.70)
_LOWER_HEIGHTS = (0.85, 0.88, 0.95, 0.84, 0.80, 0.74, 0.70)
_THICKNESS = 0.50
_COLORS = {TEETH_PART: (0.90, 0.87, 0.80), GUM_PART: (0.66, 0.33, 0.33)}
"""sRGB."""


def add_teeth(head: BuiltinHead) -> BuiltinHead:
    """The head with two rows of teeth: more vertices and triangles, the same parameters and fingerprint."""
    a = head.arrays
    loop = head.outlines["slit"]  # Inner lips: where the rows meet, and how wide the mouth is.
    middle = 0.5 * (loop[5] + loop[15])
    upper = _row(middle, _UPPER_WIDTHS, _UPPER_HEIGHTS, upper=True)
    lower = _row(middle, _LOWER_WIDTHS, _LOWER_HEIGHTS, upper=False)
    points = np.concatenate([upper[0], lower[0]])
    faces = np.concatenate([upper[1], lower[1] + len(upper[0])]) + len(a.template)
    part = np.concatenate([upper[2], lower[2]])
    of_jaw = np.arange(len(points)) >= len(upper[0])
    weights = np.zeros((len(points), a.skin_weights.shape[1]))
    weights[~of_jaw, 1] = weights[of_jaw, 2] = 1.0

    def grow(table: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.concatenate([table, rows])

    def follow(basis: Float[np.ndarray, "V 3 K"], ids: Int[np.ndarray, "N"]) -> Float[np.ndarray, "1 3 K"]:
        return basis[ids].mean(0, keepdims=True)

    # Identity carries the rows along with the mouth as a whole; expression moves the lower one with the jaw bone.
    mouth = np.flatnonzero(head.part == 2)
    bone = np.flatnonzero(a.skin_weights[:, 2] > 0.99)
    shape = np.repeat(follow(a.shape_basis, mouth), len(points), axis=0)
    expression = follow(a.expression_basis, bone) * of_jaw[:, None, None]
    arrays = replace(
        a,
        template=grow(a.template, points / 100.0),
        faces=grow(a.faces, faces),
        shape_basis=grow(a.shape_basis, shape),
        expression_basis=grow(a.expression_basis, expression),
        pose_basis=grow(a.pose_basis, np.zeros((len(points), *a.pose_basis.shape[1:]))),
        skin_weights=grow(a.skin_weights, weights),
        joint_regressor=np.pad(a.joint_regressor, ((0, 0), (0, len(points)))),
    )
    colors = np.array([_COLORS[int(p)] for p in part], dtype=head.colors.dtype)
    regions = dict(head.regions) | {
        "teeth_upper": len(a.template) + np.flatnonzero(~of_jaw & (part == TEETH_PART)),
        "teeth_lower": len(a.template) + np.flatnonzero(of_jaw & (part == TEETH_PART)),
    }
    regions["teeth"] = np.concatenate([regions["teeth_upper"], regions["teeth_lower"]])
    return replace(head, arrays=arrays, colors=grow(head.colors, colors), part=grow(head.part, part), regions=regions)


def _row(
    middle: Float[np.ndarray, "3"], widths: tuple[float, ...], heights: tuple[float, ...], *, upper: bool
) -> tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, "F 3"], Int[np.ndarray, "N"]]:
    """Teeth of one arch and their gum: points, triangles, part."""
    sign = 1.0 if upper else -1.0
    front = middle[2] - (0.72 if upper else 0.92)
    bite = middle[1] - (0.22 if upper else 0.15)
    parts: list[tuple[np.ndarray, np.ndarray, int]] = []
    x = np.linspace(0.0, 2.6, 400)
    z = front - 0.62 * x**2
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    start = 0.0
    for width, height in zip(widths, heights, strict=True):
        at = np.interp(start + 0.5 * width, along, x)
        slope = float(np.arctan2(-1.24 * at, 1.0))
        for side in (1.0, -1.0):
            center = np.array([side * at, bite + sign * 0.5 * height, front - 0.62 * at**2])
            parts.append((*_tooth(center, width, height, side * slope, sign), TEETH_PART))
        start += width
    gum_x = np.linspace(-2.25, 2.25, 33)
    ridge = np.stack([gum_x, np.full(33, bite + sign * 0.92 * heights[0]), front - 0.05 - 0.62 * gum_x**2], -1)
    parts.append((*_tube(ridge, 0.34), GUM_PART))
    offsets = np.cumsum([0, *(len(p) for p, _, _ in parts)])
    return (
        np.concatenate([p for p, _, _ in parts]),
        np.concatenate([f + o for (_, f, _), o in zip(parts, offsets[:-1], strict=True)]),
        np.concatenate([np.full(len(p), kind) for p, _, kind in parts]),
    )


def _tooth(
    center: Float[np.ndarray, "3"], width: float, height: float, turn: float, sign: float
) -> tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, "F 3"]]:
    """A rounded box (superellipsoid), broader at the biting edge than at the gum."""
    rings, turns = 5, 10
    polar = np.pi * np.arange(1, rings + 1) / (rings + 1)
    azimuth = 2.0 * np.pi * np.arange(turns) / turns

    def power(value: np.ndarray) -> np.ndarray:
        return np.sign(value) * np.abs(value) ** 0.45

    y = np.concatenate([[1.0], np.repeat(power(np.cos(polar)), turns), [-1.0]])
    radius = np.concatenate([[0.0], np.repeat(power(np.sin(polar)), turns), [0.0]])
    around = np.concatenate([[0.0], np.tile(azimuth, rings), [0.0]])
    taper = 1.0 - 0.14 * (0.5 + 0.5 * sign * y)
    local = np.stack(
        [
            0.485 * width * radius * power(np.cos(around)) * taper,
            0.5 * height * y,
            0.5 * _THICKNESS * radius * power(np.sin(around)) * (1.0 + 0.25 * sign * y),
        ],
        -1,
    )
    c, s = np.cos(turn), np.sin(turn)
    points = center + local @ np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    return points, _sphere_faces(rings, turns)


def _sphere_faces(rings: int, turns: int) -> Int[np.ndarray, "F 3"]:
    """Triangles of rings from the upper pole (first point) to the lower pole (last), seen from outside."""
    k, following = np.arange(turns), (np.arange(turns) + 1) % turns
    faces = [np.stack([np.zeros(turns, int), 1 + following, 1 + k], -1)]
    for r in range(rings - 1):
        a, b = 1 + turns * r, 1 + turns * (r + 1)
        faces += [np.stack([a + k, a + following, b + following], -1), np.stack([a + k, b + following, b + k], -1)]
    last = 1 + turns * (rings - 1)
    faces.append(np.stack([last + k, last + following, np.full(turns, 1 + turns * rings)], -1))
    return np.concatenate(faces)


def _tube(line: Float[np.ndarray, "N 3"], radius: float) -> tuple[Float[np.ndarray, "M 3"], Int[np.ndarray, "F 3"]]:
    """A tube around a line in a horizontal plane, closed at its ends."""
    turns = 8
    tangent = np.gradient(line, axis=0)
    side = np.stack([-tangent[:, 2], 0.0 * tangent[:, 1], tangent[:, 0]], -1)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    angle = 2.0 * np.pi * np.arange(turns) / turns
    rings = line[:, None] + radius * (
        0.75 * np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * np.array([0.0, 1.0, 0.0])
    )
    points = np.concatenate([line[:1], rings.reshape(-1, 3), line[-1:]])
    return points, _sphere_faces(len(line), turns)
