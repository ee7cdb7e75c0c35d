"""Where the paint of the built-in head goes: masks over the skin as functions of rest position. Centimetres."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from flamehead.builtin.ears import EAR_CENTER
from flamehead.builtin.fields import bump, step

__all__ = ["noise", "skin_layers", "spots"]

_REACH = 1.6
"""Outlines colour nothing further away than this, cm."""
_EAR_HALF = (3.10, 2.10)
_HAIRLINE = np.array(
    [
        # z and y, cm: nape, behind the ear, over it, sideburn, temple, forehead.
        (-16.0, -5.6),
        (-12.6, -5.4),
        (-10.6, -4.6),
        (-9.0, -3.0),
        (-7.8, -0.8),
        (-6.8, 1.2),
        (-3.6, 2.6),
        (-2.9, 1.0),
        (-2.0, 0.6),
        (-1.5, 2.2),
        (-0.6, 4.3),
        (0.6, 5.6),
        (2.0, 6.9),
        (3.4, 8.0),
        (6.0, 8.6),
    ]
)
_BEARDLINE = np.array(
    [
        # |x| and y, cm: under the nose, beside the mouth, along the cheek, up to the sideburn.
        (0.0, -2.45),
        (1.2, -2.55),
        (2.2, -3.10),
        (3.2, -3.90),
        (4.4, -3.75),
        (5.4, -3.00),
        (6.2, -1.80),
        (6.8, -0.30),
        (7.4, 1.40),
    ]
)


def skin_layers(
    p: Float[np.ndarray, "N 3"], contours: Mapping[str, Float[np.ndarray, "K 3"]], eye: Float[np.ndarray, "3"]
) -> dict[str, Float[np.ndarray, "N"]]:
    """Masks between 0 and 1, noises of unit variance, and signed distances (positive inside, cm).

    Args:
        p: rest positions of skin.
        contours: `lids`, `brow` (left), `lips`, `slit` as closed outlines, `face` the 468 face points.
        eye: centre of the left eyeball.
    """
    q = np.stack([np.abs(p[:, 0]), p[:, 1], p[:, 2]], -1)
    face = contours["face"]
    front = step(p[:, 2], 0.5, 2.5)
    brow, brow_hair = _brow(q, contours["brow"])
    lids, inner = _distance(q, contours["lids"]), face[362]
    above = step(q[:, 1] - eye[1], -0.25, 0.15)
    out = {
        "front": front,
        "brow": brow * front - 9.0 * (1.0 - front),
        "brow_hair": brow_hair,
        "lips": _signed(p, contours["lips"]) - 9.0 * (1.0 - step(p[:, 2], 1.5, 2.5)),
        "slit": np.exp(-((_distance(p, contours["slit"]) / 0.06) ** 2)) * step(p[:, 2], 2.2, 3.0),
        "lash": np.exp(-((lids / (0.06 + 0.085 * above)) ** 3)) * front * (0.30 + 0.70 * above),
        "waterline": np.exp(-((lids / 0.14) ** 2)) * front,
        "lid": np.exp(-((lids / 0.42) ** 2)) * front * above,
        "bag": front * bump(q, (eye[0] - 0.25, eye[1] - 1.15, inner[2]), (1.05, 0.36, 1.4)),
        "socket": front * (bump(q, (inner[0] - 0.1, inner[1] + 0.5, inner[2]), (0.6, 0.7, 1.0))),
        "orbit": front * bump(q, (eye[0] - 0.1, eye[1] + 0.55, inner[2]), (1.7, 1.0, 1.6)),
        "cheek": bump(q, tuple(0.5 * (face[280] + face[425])), (1.35, 1.15, 1.8)),
        "cheekbone": bump(q, tuple(face[352] + [-0.6, 0.5, 0.6]), (1.4, 0.8, 2.0)),
        "nose": np.maximum(
            bump(q, tuple(face[4]), (0.85, 0.75, 1.0)), 0.8 * bump(q, tuple(face[331]), (0.45, 0.55, 0.6))
        ),
        "bridge": bump(q, tuple(face[197]), (0.55, 1.3, 0.9)),
        "chin": bump(q, tuple(face[200]), (1.1, 0.9, 1.3)),
        "forehead": bump(q, tuple(face[151] + [0.0, 0.4, 0.0]), (3.4, 1.6, 2.2)),
        "mouth": bump(q, tuple(0.5 * (face[0] + face[17])), (2.2, 1.9, 1.6)),
        "fold": bump(q, tuple(face[331] + [0.45, -0.55, -0.25]), (0.35, 0.55, 0.6)),
        "nostril": front * bump(q, tuple(face[2] + [0.66, 0.14, 0.14]), (0.28, 0.13, 0.45)),
        "ear": _ear(q),
        "concha": bump(q, (7.6, EAR_CENTER[0] - 0.2, EAR_CENTER[1] + 0.3), (0.5, 0.75, 0.5)),
        "neck": 1.0 - step(p[:, 1] - 0.45 * np.clip(p[:, 2], -8.0, 2.0), -9.5, -6.5),
        "large": noise(p, 4.5, seed=1),
        "medium": noise(p, 1.6, seed=2),
        "strands": noise(p * [1.5, 1.1, 0.45], 1.1, seed=5, waves=18),
        "fine": noise(p, 0.6, seed=3, waves=24),
    }
    out["beard"] = _beard(q, out)
    out["hair"] = _hair(q, out)
    return {name: mask.astype(np.float32) for name, mask in out.items()}


def noise(p: Float[np.ndarray, "N 3"], wavelength: float, *, seed: int, waves: int = 12) -> Float[np.ndarray, "N"]:
    """Smooth random field of unit variance: a sum of plane waves of about the given length, cm."""
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal((waves, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    turns = direction * (2.0 * np.pi / wavelength * rng.uniform(0.7, 1.4, (waves, 1)))
    phase = rng.uniform(0.0, 2.0 * np.pi, waves)
    # Single precision: half of the paint's time goes into these cosines.
    angles = (p @ turns.T + phase).astype(np.float32)
    return np.float32(np.sqrt(2.0 / waves)) * np.cos(angles).sum(1)


def spots(
    p: Float[np.ndarray, "N 3"], centers: Float[np.ndarray, "K 3"], radii: Float[np.ndarray, "K"]
) -> Float[np.ndarray, "N"]:
    """Round soft spots; the strongest one counts."""
    out = np.zeros(len(p))
    tree = KDTree(p)
    for near, center, radius in zip(tree.query_ball_point(centers, 2.5 * radii), centers, radii, strict=True):
        d = ((p[near] - center) ** 2).sum(1) / radius**2
        out[near] = np.maximum(out[near], np.exp(-(d**1.5)))
    return out


def _ear(q: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    """The auricle, seen from the side."""
    r = np.hypot((q[:, 1] - EAR_CENTER[0]) / _EAR_HALF[0], (q[:, 2] - EAR_CENTER[1] + 0.35) / _EAR_HALF[1])
    return (1.0 - step(r, 0.82, 1.12)) * step(q[:, 0], 5.5, 6.5)


def _beard(q: Float[np.ndarray, "N 3"], layers: Mapping[str, np.ndarray]) -> Float[np.ndarray, "N"]:
    """Where a beard grows: moustache, chin, jaw up to the sideburns, and the throat below the jaw."""
    edge = np.interp(q[:, 0], *_BEARDLINE.T) + 0.10 * layers["medium"]
    below = step(edge - q[:, 1], -0.35, 0.45)
    jaw = step(q[:, 2] + 0.25 * layers["large"], -4.4, -2.6)
    throat = step(q[:, 1] + 0.2 * layers["large"], -10.8, -8.6)
    return below * jaw * throat * (1.0 - step(layers["lips"], -0.28, 0.05)) * (1.0 - layers["ear"])


def _hair(q: Float[np.ndarray, "N 3"], layers: Mapping[str, np.ndarray]) -> Float[np.ndarray, "N"]:
    """Signed height above the hairline, cm: forehead, temples, sideburns, around the ears, nape."""
    edge = np.interp(q[:, 2], *_HAIRLINE.T)
    middle = 8.75 - 0.03 * (q[:, 0] - 1.8) ** 2
    edge = np.where(q[:, 2] > 0.6, np.minimum(edge, middle), edge)
    edge = edge + 0.13 * layers["medium"] + 0.09 * layers["fine"]
    r = np.hypot((q[:, 1] - EAR_CENTER[0]) / _EAR_HALF[0], (q[:, 2] - EAR_CENTER[1] + 0.35) / _EAR_HALF[1])
    # The rim of the ear leans out of its ellipse, but no skull is as wide as that.
    return np.minimum(np.minimum(q[:, 1] - edge, 5.0 * (r - 1.0)), 5.0 * (7.7 - q[:, 0]))


def _brow(q: Float[np.ndarray, "N 3"], brow: Float[np.ndarray, "10 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to the brow's outline, the inner end rounded off, and strokes of hair of unit variance.

    The strokes lean outwards, more so towards the outer end, and are wide enough not to alias in small pictures.
    """
    inner, outer = brow[[4, 5]].mean(0)[:2], brow[0, :2]
    along = outer - inner
    length = np.linalg.norm(along)
    x = (q[:, :2] - inner) @ along / length
    y = (q[:, :2] - inner) @ np.array([-along[1], along[0]]) / length
    lean = np.interp(x / length, [0.0, 0.3, 1.0], [0.4, 1.5, 2.6])
    wander = 0.10 * np.sin(2.9 * x + 1.0) + 0.06 * np.sin(7.3 * x + 4.0 * y)
    strokes = np.cos(2.0 * np.pi * (x + wander - lean * y) / 0.31) + 0.5 * np.cos(17.0 * x - 21.0 * y)
    return _signed(q, brow) - 0.20 * step(0.55 - x, 0.0, 0.75), strokes


def _distance(p: Float[np.ndarray, "N 3"], loop: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, "N"]:
    """Distance to a closed polyline in the frontal plane, at most `_REACH`."""
    low, high = loop[:, :2].min(0) - _REACH, loop[:, :2].max(0) + _REACH
    near = np.flatnonzero(((p[:, :2] > low) & (p[:, :2] < high)).all(1) & (p[:, 2] > 0.0))
    q, best = p[near, :2], np.full(len(near), _REACH)
    for a, b in zip(loop[:, :2], np.roll(loop[:, :2], -1, axis=0), strict=True):
        t = np.clip((q - a) @ (b - a) / max(float((b - a) @ (b - a)), 1e-12), 0.0, 1.0)
        best = np.minimum(best, np.hypot(*(q - a - t[:, None] * (b - a)).T))
    out = np.full(len(p), _REACH)
    out[near] = best
    return out


def _signed(p: Float[np.ndarray, "N 3"], loop: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, "N"]:
    """The same distance, positive inside, negative outside."""
    odd = np.zeros(len(p), bool)
    for (x0, y0), (x1, y1) in zip(loop[:, :2], np.roll(loop[:, :2], -1, axis=0), strict=True):
        crosses = (y0 > p[:, 1]) != (y1 > p[:, 1])
        rise = y1 - y0 if y1 != y0 else 1.0
        odd ^= crosses & (p[:, 0] < (x1 - x0) * (p[:, 1] - y0) / rise + x0)
    return np.where(odd, 1.0, -1.0) * _distance(p, loop)
