"""The paint of the built-in head: colour as a function of rest position and part. Centimetres inside this room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from flamehead.builtin.fields import bump, step
from flamehead.builtin.mesh import HeadMesh
from flamehead.builtin.sampling import HEAD_VERTICES
from flamehead.geometry.landmark_sets import LEFT_BROW, LIPS_INNER, LIPS_OUTER

__all__ = ["IRIS_RADIUS", "Paint", "make_paint", "part_of_vertex", "to_srgb"]

IRIS_RADIUS = 0.60
PUPIL_RADIUS = 0.21
_SKIN = np.array([0.60, 0.37, 0.27])
_REACH = 0.6
"""Outlines colour nothing further away than this, cm."""


@dataclass(frozen=True)
class Paint:
    """Painted colours; call it with rest positions."""

    contours: dict[str, Float[np.ndarray, "K 3"]]
    """Closed outlines of the left lids, the left brow and the lips, in the rest pose."""
    eye_center: Float[np.ndarray, "3"]

    def __call__(self, rest: Float[np.ndarray, "N 3"], part: Int[np.ndarray, "N"]) -> Float[np.ndarray, "N 3"]:
        """Linear RGB.

        Args:
            rest: positions on the neutral head, cm.
            part: 0 skin, 1 eyeball, 2 mouth bag, 3 eye socket.
        """
        out = self._skin(rest)
        ball = part == 1
        out[ball] = self._eyeball(rest[ball])
        deep = 1.0 - step(rest[:, 2], 2.8, 4.4)[:, None]
        inner = (1.0 - deep) * [0.36, 0.10, 0.09] + deep * [0.07, 0.012, 0.012]
        out = np.where((part == 2)[:, None], inner, out)
        return np.where((part == 3)[:, None], [0.42, 0.19, 0.15], out)

    def _skin(self, p: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        q = np.stack([np.abs(p[:, 0]), p[:, 1], p[:, 2]], -1)
        out = np.broadcast_to(_SKIN, p.shape).copy()

        def blend(amount: np.ndarray, color: tuple[float, float, float]) -> None:
            out[:] += amount[:, None] * (np.array(color) - out)

        front = step(p[:, 2], 0.5, 2.5)
        blend(0.32 * bump(q, (4.1, -0.6, 3.2), (1.5, 1.3, 2.0)), (0.62, 0.24, 0.18))
        blend(0.22 * bump(q, (0.0, -0.9, 6.8), (0.9, 0.8, 1.2)), (0.62, 0.25, 0.19))
        blend(0.30 * bump(q, (8.4, 0.8, -5.0), (0.9, 2.4, 1.6)), (0.62, 0.24, 0.18))
        blend(0.34 * bump(q, (2.9, 2.9, 3.0), (1.7, 0.9, 1.5)), (0.38, 0.19, 0.14))
        blend(0.20 * front * bump(q, (2.4, 1.6, 3.4), (1.2, 0.45, 1.5)), (0.40, 0.20, 0.17))
        lips = _inside(p[:, :2], self.contours["lips"], 0.07) * step(p[:, 2], 1.5, 2.5)
        blend(0.85 * lips, (0.47, 0.165, 0.145))
        slit = np.exp(-((_distance(p[:, :2], self.contours["slit"]) / 0.05) ** 2)) * step(p[:, 2], 2.4, 3.2)
        blend(0.75 * slit, (0.10, 0.03, 0.03))
        brow = _inside(q[:, :2], self.contours["brow"], 0.16) * front
        blend(0.82 * brow, (0.085, 0.050, 0.034))
        lids = _distance(q[:, :2], self.contours["lids"])
        upper = step(q[:, 1] - self.eye_center[1], -0.25, 0.15)
        blend(0.80 * np.exp(-((lids / 0.085) ** 2)) * front * (0.35 + 0.65 * upper), (0.07, 0.035, 0.03))
        blend(0.85 * front * bump(q, (0.66, -1.93, 5.3), (0.30, 0.13, 0.5)), (0.06, 0.02, 0.018))
        hair, color = _hair(q)
        blend(hair, color)
        return out

    def _eyeball(self, p: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        center = np.where(p[:, :1] > 0, 1.0, -1.0) * [1.0, 0.0, 0.0] * self.eye_center + self.eye_center * [0, 1, 1]
        d = p - center
        r = np.hypot(d[:, 0], d[:, 1])
        back = step(-d[:, 2], -0.5, 0.6)[:, None]
        white = (1.0 - back) * [0.76, 0.73, 0.70] + back * [0.55, 0.25, 0.22]
        iris = np.stack([0.22 - 0.10 * r, 0.125 - 0.05 * r, 0.065 - 0.03 * r], -1).clip(0.02)
        rim = step(r, 0.50, 0.60)[:, None]
        iris = iris * (1.0 - 0.75 * rim)
        inside = (1.0 - step(r, IRIS_RADIUS - 0.03, IRIS_RADIUS + 0.02))[:, None] * (d[:, 2:] > 0)
        out = white * (1.0 - inside) + iris * inside
        out *= 1.0 - (0.98 * (1.0 - step(r, PUPIL_RADIUS - 0.03, PUPIL_RADIUS + 0.02)) * (d[:, 2] > 0))[:, None]
        glint = (1.0 - step(np.hypot(d[:, 0] - 0.17, d[:, 1] - 0.20), 0.04, 0.09)) * (d[:, 2] > 0)
        return out + glint[:, None] * (0.95 - out)


def make_paint(mesh: HeadMesh) -> Paint:
    """Take the outlines from the mesh's own landmarks."""
    at = mesh.vertices[mesh.face_vertices]
    # The brow's outline is drawn a little fuller than the detector's hairline loop.
    return Paint(
        {
            "lids": mesh.vertices[mesh.lid_loop],
            "brow": at[LEFT_BROW],
            "lips": at[LIPS_OUTER],
            "slit": at[LIPS_INNER],
        },
        mesh.eye_centers[0],
    )


def _hair(q: Float[np.ndarray, "N 3"]) -> tuple[np.ndarray, tuple[float, float, float]]:
    """A short cap of hair: over the forehead, down the temples into sideburns, around the ears, down to the nape."""
    x, y, z = q.T
    # Height of the hairline along the side of the head, from the nape to the forehead.
    depth = np.array([-16.0, -13.0, -11.0, -9.2, -7.4, -6.4, -2.9, -2.5, -1.4, -1.0, 0.2, 1.6, 3.0, 4.2, 6.0])
    height = np.array([-5.0, -5.0, -4.4, -2.6, 1.5, 3.0, 3.3, 1.2, 0.9, 1.4, 3.9, 5.2, 6.8, 8.3, 9.2])
    edge = np.interp(z, depth, height) + 0.15 * np.sin(1.3 * x)
    edge = np.where(z > 0.0, np.minimum(edge, 9.0 - 0.012 * x**2), edge)
    ear = bump(q, (8.6, 0.9, -5.2), (1.3, 2.2, 1.35))
    return 0.94 * step(y - edge, -0.40, 0.40) * (1.0 - step(ear, 0.12, 0.30)), (0.045, 0.030, 0.022)


def _distance(p: Float[np.ndarray, "N 2"], loop: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, "N"]:
    """Distance to a closed polyline in the frontal plane; infinite further than `_REACH` from its bounding box."""
    low, high = loop[:, :2].min(0) - _REACH, loop[:, :2].max(0) + _REACH
    near = np.flatnonzero(((p > low) & (p < high)).all(1))
    q, best = p[near], np.full(len(near), np.inf)
    for a, b in zip(loop[:, :2], np.roll(loop[:, :2], -1, axis=0), strict=True):
        t = np.clip((q - a) @ (b - a) / max(float((b - a) @ (b - a)), 1e-12), 0.0, 1.0)
        best = np.minimum(best, np.hypot(*(q - a - t[:, None] * (b - a)).T))
    out = np.full(len(p), np.inf)
    out[near] = best
    return out


def _inside(p: Float[np.ndarray, "N 2"], loop: Float[np.ndarray, "K 3"], soft: float) -> Float[np.ndarray, "N"]:
    """1 inside a closed polyline, 0 outside, with a soft edge."""
    odd = np.zeros(len(p), bool)
    for (x0, y0), (x1, y1) in zip(loop[:, :2], np.roll(loop[:, :2], -1, axis=0), strict=True):
        crosses = (y0 > p[:, 1]) != (y1 > p[:, 1])
        rise = y1 - y0 if y1 != y0 else 1.0
        odd ^= crosses & (p[:, 0] < (x1 - x0) * (p[:, 1] - y0) / rise + x0)
    signed = np.where(odd, 1.0, -1.0) * _distance(p, loop)
    return step(signed, -soft, soft)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB (IEC 61966-2-1)."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def part_of_vertex(mesh: HeadMesh) -> Int[np.ndarray, "V"]:
    """0 skin, 1 eyeball, 2 mouth bag, 3 eye socket."""
    part = np.zeros(len(mesh.vertices), np.int64)
    part[mesh.mouth_bag], part[mesh.socket] = 2, 3
    part[HEAD_VERTICES:] = 1
    return part
