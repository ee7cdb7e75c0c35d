"""What stands around the rendered head of `_sequence.py`, none of it known to a tracker: hair, a body, a hand, lamps.

Solids are closed meshes in metres (x to the subject's left, y up, z out of the face) that are drawn together with the
head; one picture, the atlas, holds the colours of all of them side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter, zoom

from flamehead.render import DirectionalLight, Lighting, PointLight, Texture

__all__ = ["CLOTH", "HAIR", "SKIN", "Solid", "atlas", "background", "body", "hair", "hand", "join", "lighting"]

HAIR, SKIN, CLOTH = 1, 2, 3
"""Panels of the atlas; panel 0 is the head's own texture."""
_PANELS, _SIDE = 4, 512
_RINGS, _STEPS = 18, 28


@dataclass(frozen=True)
class Solid:
    """A mesh with its place in the atlas."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    uv: Float[np.ndarray, "V 2"]

    def moved(self, rotation: Float[np.ndarray, "3 3"], place: Float[np.ndarray, "3"]) -> Solid:
        """Turned about its origin, then put somewhere."""
        return Solid(self.vertices @ rotation.T + place, self.faces, self.uv)


def join(solids: list[Solid]) -> Solid:
    """Several solids as one."""
    starts = np.cumsum([0, *(len(solid.vertices) for solid in solids[:-1])])
    return Solid(
        np.concatenate([solid.vertices for solid in solids]),
        np.concatenate([solid.faces + start for solid, start in zip(solids, starts, strict=True)]),
        np.concatenate([solid.uv for solid in solids]),
    )


def _blob(
    center: tuple[float, float, float],
    radii: tuple[float, float, float],
    panel: int,
    random: np.random.Generator,
    *,
    roll: float = 0.0,
    rough: float = 0.0,
) -> Solid:
    """An ellipsoid with bumps, its poles up and down, turned by `roll` radians about z; its seam is at the back."""
    v, u = np.meshgrid(np.linspace(0, 1, _RINGS), np.linspace(0, 1, _STEPS), indexing="ij")
    polar, around = np.pi * v, 2 * np.pi * u + np.pi
    unit = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], -1)
    bumps = np.ones_like(u)
    for _ in range(6):
        bumps += rough / 3 * np.sin(4 * unit @ random.standard_normal(3) + random.uniform(0, 6))
    c, s = math.cos(roll), math.sin(roll)
    points = (unit * bumps[..., None] * radii).reshape(-1, 3) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T
    a = (np.arange(_RINGS - 1)[:, None] * _STEPS + np.arange(_STEPS - 1)).ravel()
    # Both triangles of a cell, counter-clockwise from outside.
    faces = np.concatenate([np.stack([a, a + _STEPS, a + 1], 1), np.stack([a + 1, a + _STEPS, a + _STEPS + 1], 1)])
    uv = np.stack([(panel + 0.04 + 0.92 * u) / _PANELS, 0.96 - 0.92 * v], -1).reshape(-1, 2)
    return Solid(points + center, faces, uv)


def hair(
    vertices: Float[np.ndarray, "V 3"],
    normals: Float[np.ndarray, "V 3"],
    cap: Int[np.ndarray, "F 3"],
    random: np.random.Generator,
) -> Solid:
    """A thick cap over the triangles `cap` of the head at rest, locks at both sides, and a fringe on one side.

    The fringe hides a corner of the forehead and the locks the ears, as hair does to a tracker.
    """
    ids, faces = np.unique(cap, return_inverse=True)
    points, out = vertices[ids], normals[ids]
    rim = _rim_distance(points, faces.reshape(-1, 3))
    wild = 1 + 0.25 * np.sin(60 * points @ random.standard_normal(3) + 1) + 0.2 * np.sin(90 * points[:, 1] + 2)
    # The rim dips below the skin, so that no edge floats.
    thick = 0.018 * wild * np.clip(rim / 0.02, 0, 1) - 0.003
    around = np.arctan2(points[:, 0], points[:, 2] + 0.02) / (2 * np.pi) + 0.5
    height = (points[:, 1] - points[:, 1].min()) / np.ptp(points[:, 1])
    uv = np.stack([(HAIR + 0.04 + 0.92 * around) / _PANELS, 0.04 + 0.92 * height], 1)
    solids = [Solid(points + thick[:, None] * out, faces.reshape(-1, 3), uv)]
    low, high = vertices.min(0), vertices.max(0)
    top = float(high[1])
    for side in (-1.0, 1.0):
        x = side * (0.006 + max(high[0], -low[0]))
        for k in range(4):
            place = (x * (0.88 + 0.02 * k), top - 0.10 - 0.035 * k, -0.012 * k + float(random.normal(0, 0.004)))
            radii = (0.020, 0.060 - 0.004 * k, 0.030)
            solids.append(_blob(place, radii, HAIR, random, roll=0.1 * side, rough=0.12))
    front = float(vertices[np.abs(vertices[:, 1] - (top - 0.05)) < 0.01, 2].max())
    lean = float(random.choice([-1.0, 1.0]))
    for k in range(3):
        place = (lean * (0.018 + 0.022 * k), top - 0.046 - 0.005 * k, front - 0.004 - 0.010 * k)
        solids.append(_blob(place, (0.022, 0.024, 0.012), HAIR, random, roll=0.6 * lean, rough=0.12))
    return join(solids)


def _rim_distance(points: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "V"]:
    """Distance of each point to the nearest open edge."""
    from scipy.spatial import KDTree

    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return KDTree(points[np.unique(unique[count == 1])]).query(points)[0]


def body(random: np.random.Generator) -> Solid:
    """Neck and shoulders below the origin, which is the lower end of the neck."""
    return join(
        [
            _blob((0.0, 0.0, -0.03), (0.054, 0.09, 0.054), SKIN, random),
            _blob((0.0, -0.115, -0.05), (0.23, 0.13, 0.11), CLOTH, random, rough=0.03),
        ]
    )


def hand(random: np.random.Generator) -> Solid:
    """A flat hand around the origin, its fingers pointing up."""
    solids = [_blob((0.0, -0.045, 0.0), (0.043, 0.050, 0.016), SKIN, random, rough=0.05)]
    for k, length in enumerate((0.034, 0.042, 0.044, 0.038)):
        solids.append(
            _blob((-0.033 + 0.022 * k, 0.020 + length / 3, 0.002), (0.0105, length, 0.0100), SKIN, random, rough=0.05)
        )
    solids.append(_blob((0.050, -0.020, 0.005), (0.011, 0.036, 0.011), SKIN, random, roll=-0.6, rough=0.05))
    return join(solids)


def atlas(
    face: Float[np.ndarray, "512 512 3"],
    uv: Float[np.ndarray, "T 2"],
    uv_faces: Int[np.ndarray, "F 3"],
    extra: Solid,
    random: np.random.Generator,
) -> Texture:
    """One texture of the head (sRGB, from the albedo space) and of everything else, its triangles after the head's."""
    streaks = gaussian_filter(random.standard_normal((_SIDE, _SIDE)), (25, 1.5), mode="wrap")
    streaks = np.clip(0.5 + 0.22 * streaks / streaks.std(), 0, 1)[..., None]
    strands = np.array([0.07, 0.045, 0.03]) + streaks * np.array([0.20, 0.14, 0.10])
    cheek = np.median(face[_SIDE // 3 : 2 * _SIDE // 3, _SIDE // 3 : 2 * _SIDE // 3].reshape(-1, 3), axis=0)
    skin = cheek * (1 + 0.05 * _cloud(random, _SIDE, (8, 60)))
    weave = np.array([0.22, 0.27, 0.38]) * (1 + 0.25 * _cloud(random, _SIDE, (2, 2)))
    panels = [np.broadcast_to(panel, face.shape) for panel in (face, strands, skin, weave)]
    image = np.clip(np.concatenate(panels, axis=1), 0, 1).astype(np.float32)
    places = np.concatenate([uv * [1 / _PANELS, 1.0], extra.uv]).astype(np.float32)
    faces = np.concatenate([uv_faces, extra.faces + len(uv)])
    return Texture.of(torch.from_numpy(image), places, faces).linear()


def _cloud(random: np.random.Generator, side: int, scales: tuple[int, ...]) -> Float[np.ndarray, "H W 1"]:
    """Noise of unit deviation with features of these sizes, pixels."""
    total = np.zeros((side, side))
    for scale in scales:
        total += gaussian_filter(random.standard_normal((side, side)), scale, mode="wrap") * scale
    return (total / total.std())[..., None]


def background(size: int, random: np.random.Generator) -> Float[np.ndarray, "H W 3"]:
    """A wall with a shelf of books, a little out of focus; linear light."""
    tint = random.uniform(0.25, 0.5, 3)
    side = 256
    wall = tint * (1 + 0.18 * _cloud(random, side, (3, 30)))
    for shelf in range(3):
        top, x = 20 + 80 * shelf, 0
        while x < side:
            width, tall = int(random.integers(6, 18)), int(random.integers(35, 60))
            if random.random() < 0.75:
                wall[top + 62 - tall : top + 62, x : x + width] = random.uniform(0.02, 0.55, 3)
            x += width + 1
        wall[top + 62 : top + 66] = 0.12
    blurred = gaussian_filter(wall, (1.2, 1.2, 0))
    return np.clip(np.asarray(zoom(blurred, (size / side, size / side, 1), order=1)), 0, 1)


def lighting(share: float, phase: float) -> Lighting:
    """The light at a time between 0 and 1: a lamp that wanders and is dimmed for a while, a near lamp, a sky, gloss.

    No spherical harmonics hold the highlights, the near lamp's falloff and the edge of the first lamp's light.
    """
    dim = 1.0 - 0.35 * (_ease((share - 0.52) / 0.02) - _ease((share - 0.80) / 0.08))
    turn = math.radians(-35 + 60 * math.sin(2 * math.pi * share * 0.8 + phase))
    warm = 0.06 * math.sin(2 * math.pi * share + 2 * phase)
    key = (dim * (0.72 + warm), dim * 0.69, dim * (0.66 - warm))
    lamps = (
        DirectionalLight((math.sin(turn), -0.55, -math.cos(turn)), key, wrap=0.05),
        DirectionalLight((0.8, -0.1, -0.6), (0.13, 0.15, 0.18), wrap=0.4),
        PointLight((-0.25, 0.25, 0.1), (0.16, 0.14, 0.11), distance=0.45),
    )
    sky = 0.22 + 0.05 * math.sin(5 * share + phase)
    return Lighting(lamps, sky=(sky, sky, 1.06 * sky), ground=(0.09, 0.08, 0.07), gloss=0.06, sharpness=28.0)


def _ease(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)
