"""The paint of the built-in head: colour as a function of rest position, part and look. Centimetres inside this room.

Skin is a pale base seen through two pigments, as in biophysical skin models: melanin (brown) and blood (red) absorb
like exp(-amount * absorption). The paint says how much of each there is where; hair, lips and eyes are laid over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from flamehead._srgb import encode
from flamehead.builtin._layers import noise, skin_layers, spots
from flamehead.builtin.fields import step
from flamehead.builtin.mesh import HeadMesh
from flamehead.builtin.sampling import HEAD_VERTICES
from flamehead.geometry.landmark_sets import LEFT_BROW, LIPS_INNER, LIPS_OUTER

__all__ = ["IRIS_RADIUS", "Layers", "Look", "Paint", "make_paint", "part_of_vertex", "to_srgb"]


def _color(red: float, green: float, blue: float) -> Float[np.ndarray, "3"]:
    """Single precision throughout: a texture has a quarter of a million texels, a picture more samples."""
    return np.array([red, green, blue], dtype=np.float32)


IRIS_RADIUS = 0.60
PUPIL_RADIUS = 0.21
_BLOCK = 16384
_SKIN, _SKIN_STEP = _color(0.560, 0.358, 0.258), _color(0.405, 0.272, 0.205)
"""Linear RGB of skin between pale and dark, and half the way to either end."""
_MELANIN = _color(0.55, 0.85, 1.10)
_BLOOD = _color(0.10, 0.62, 0.52)
_BILE = _color(0.00, 0.08, 0.40)
"""How strongly a unit of each pigment absorbs red, green and blue."""


@dataclass(frozen=True)
class Look:
    """How the paint departs from the mean; every field in standard deviations."""

    lightness: float = 0.0
    """Of the skin, from dark brown to pale."""
    redness: float = 0.0
    """Blood under all of the skin."""
    yellowness: float = 0.0
    tan: float = 0.0
    """Of what the sun reaches: forehead, nose, cheekbones."""
    blush: float = 0.0
    """Of the cheeks."""
    nose_redness: float = 0.0
    ear_redness: float = 0.0
    stubble: float = 0.0
    """The shadow of a shaven beard."""
    brow_darkness: float = 0.0
    brow_thickness: float = 0.0
    lip_redness: float = 0.0
    lip_darkness: float = 0.0
    mouth_pallor: float = 0.0
    """Paler skin around the mouth."""
    freckles: float = 0.0
    moles: float = 0.0
    """Moles and age spots, all over the skin."""
    eye_bags: float = 0.0
    """Bluish brown below the eyes."""
    orbit_darkness: float = 0.0
    """Around the eyes, upper lids included."""
    lash_darkness: float = 0.0
    eye_blueness: float = 0.0
    """Of the iris, from brown to blue grey."""
    eye_lightness: float = 0.0
    """Of the iris."""
    eye_redness: float = 0.0
    """Of the white of the eyes."""
    hair_lightness: float = 0.0
    """Of hair and brows, from black to light brown."""
    hair_density: float = 0.0
    """Of the cap of short hair; little of it shows the scalp."""
    mottling: float = 0.0
    """Unevenness of the skin."""
    gloss: float = 0.0
    """Oily or dry skin; only the specular part."""


@dataclass(frozen=True)
class Layers:
    """What the paint knows about a set of points, whatever the look."""

    part: Int[np.ndarray, "N"]
    skin: dict[str, Float[np.ndarray, "S"]]
    """Masks of the points with part 0."""
    eye: dict[str, Float[np.ndarray, "E"]]
    """Masks of the points with part 1."""
    depth: Float[np.ndarray, "N"]
    """How deep in the mouth, 0 at the lips, 1 inside."""


@dataclass(frozen=True)
class Paint:
    """Painted colours; call it with rest positions."""

    contours: dict[str, Float[np.ndarray, "K 3"]]
    """Closed outlines of the left lids, the left brow and the lips, and all face points, in the rest pose."""
    eye_center: Float[np.ndarray, "3"]

    def __call__(self, rest: Float[np.ndarray, "N 3"], part: Int[np.ndarray, "N"]) -> Float[np.ndarray, "N 3"]:
        """Linear RGB of the mean look, with a highlight in the eyes.

        Args:
            rest: positions on the neutral head, cm.
            part: 0 skin, 1 eyeball, 2 mouth bag, 3 eye socket.
        """
        layers = self.layers(rest, part)
        out = self.diffuse(layers, Look())
        glint = np.zeros(len(rest))
        glint[part == 1] = layers.eye["glint"]
        return out + glint[:, None] * (0.90 - out)

    def layers(self, rest: Float[np.ndarray, "N 3"], part: Int[np.ndarray, "N"], *, with_spots: bool = False) -> Layers:
        """Masks of all points; those of freckles and moles, which the mean look has none of, on demand."""
        skin = skin_layers(rest[part == 0], self.contours, self.eye_center)
        if with_spots:
            skin |= self._spots(rest[part == 0], skin)
        return Layers(part, skin, self._eye(rest[part == 1]), (1.0 - step(rest[:, 2], 2.8, 4.4)).astype(np.float32))

    def diffuse(
        self, layers: Layers, look: Look, *, melanin: np.ndarray | float = 0.0, blood: np.ndarray | float = 0.0
    ) -> Float[np.ndarray, "N 3"]:
        """Linear RGB.

        Args:
            layers: of the points.
            look: what to change.
            melanin: more pigment in the skin, at each of its points or everywhere.
            blood: likewise.
        """
        out = np.zeros((len(layers.part), 3), np.float32)
        out[layers.part == 0] = _skin(layers.skin, look, melanin, blood)
        out[layers.part == 1] = _eyeball(layers.eye, look)
        inside = layers.depth[layers.part == 2, None]
        out[layers.part == 2] = (1.0 - inside) * _color(0.30, 0.085, 0.075) + inside * _color(0.05, 0.010, 0.010)
        out[layers.part == 3] = _color(0.34, 0.14, 0.11)
        return out

    def specular(self, layers: Layers, look: Look) -> Float[np.ndarray, "N"]:
        """Share of light that is mirrored rather than scattered, the same for red, green and blue."""
        s = layers.skin
        oily = 0.5 * s["forehead"] + 0.8 * s["nose"] + 0.4 * s["bridge"] + 0.3 * s["chin"]
        skin = 0.042 + 0.016 * oily + 0.0015 * s["medium"] + look.gloss * (0.0055 + 0.0065 * oily)
        skin -= s["beard"] * (0.004 + 0.003 * look.stubble)
        lips = step(s["lips"], -0.10, 0.12)
        skin += lips * (0.016 + 0.003 * look.lip_redness - skin * 0.1)
        hair = np.maximum(_hair_amount(s, look), _brow_amount(s, look))
        skin += hair * (0.030 - skin)
        out = np.full(len(layers.part), 0.050, np.float32)
        out[layers.part == 0] = skin
        out[layers.part == 1] = 0.060 + 0.02 * layers.eye["iris"]
        out[layers.part == 3] = 0.045
        return out

    def _spots(self, p: Float[np.ndarray, "N 3"], skin: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Freckles on cheeks, nose and forehead; a few larger spots anywhere on face and neck."""
        rng = np.random.default_rng(7)
        sunny = skin["cheek"] + skin["bridge"] + skin["nose"] + 0.8 * skin["cheekbone"] + 0.25 * skin["forehead"]
        many = rng.choice(len(p), 420, p=sunny / sunny.sum())
        bare = (1.0 - step(skin["hair"], -0.8, 0.0)) * (skin["lips"] < -0.3) * (1.0 - skin["ear"]) * (p[:, 2] > -3.0)
        few = rng.choice(len(p), 46, p=bare / bare.sum())
        return {
            "freckles": spots(p, p[many], rng.uniform(0.06, 0.13, len(many)))
            * (skin["lips"] < 0.0)
            * (1.0 - skin["waterline"]),
            "moles": spots(p, p[few], rng.uniform(0.08, 0.22, len(few))),
        }

    def _eye(self, p: Float[np.ndarray, "N 3"]) -> dict[str, np.ndarray]:
        side = np.where(p[:, :1] > 0.0, 1.0, -1.0) * [1.0, 0.0, 0.0] + [0.0, 1.0, 1.0]
        d = p - side * self.eye_center
        r, angle = np.hypot(d[:, 0], d[:, 1]), np.arctan2(d[:, 1], d[:, 0] * side[:, 0])
        ahead = d[:, 2] > 0.0
        fibre = np.cos(17.0 * angle + 3.0 * np.sin(2.0 * angle)) + np.cos(
            11.0 * angle + 2.0 + 2.0 * np.cos(3.0 * angle)
        )
        masks = {
            "iris": (1.0 - step(r, IRIS_RADIUS - 0.045, IRIS_RADIUS + 0.035)) * ahead,
            "limbus": np.exp(-(((r - IRIS_RADIUS) / 0.065) ** 2)) * ahead,
            "pupil": (1.0 - step(r, PUPIL_RADIUS - 0.035, PUPIL_RADIUS + 0.02)) * ahead,
            "fibre": 0.5 * fibre * step(r, PUPIL_RADIUS, PUPIL_RADIUS + 0.1),
            "collar": np.exp(-(((r - 0.29) / 0.075) ** 2)),
            "radius": r,
            "edge": step(r, 0.75, 1.20) * ahead + (1.0 - ahead),
            "back": step(-d[:, 2], -0.5, 0.6),
            "vein": np.clip(noise(p, 0.5, seed=4), 0.0, None),
            "shadow": step(d[:, 1], 0.15, 0.55),
            "glint": (1.0 - step(np.hypot(d[:, 0] - 0.17, d[:, 1] - 0.20), 0.04, 0.09)) * ahead,
        }
        return {name: mask.astype(np.float32) for name, mask in masks.items()}


def _skin(
    s: dict[str, np.ndarray], look: Look, melanin: np.ndarray | float, blood: np.ndarray | float
) -> Float[np.ndarray, "S 3"]:
    out = np.empty((len(s["hair"]), 3), np.float32)
    # Blocks that stay in the processor's cache halve the time.
    for first in range(0, len(out), _BLOCK):
        block = slice(first, first + _BLOCK)
        mine = {name: mask[block] for name, mask in s.items()}
        more = (extra[block] if isinstance(extra, np.ndarray) else extra for extra in (melanin, blood))
        out[block] = _pigments(mine, look, *more)
        _cover(out[block], mine, look)
    return out


def _pigments(
    s: dict[str, np.ndarray], look: Look, melanin: np.ndarray | float, blood: np.ndarray | float
) -> Float[np.ndarray, "S 3"]:
    """Bare skin."""
    uneven = 1.0 + 0.5 * look.mottling
    red = blood + (0.20 + 0.12 * look.blush) * s["cheek"] + (0.24 + 0.16 * look.nose_redness) * s["nose"]
    red += (0.22 + 0.14 * look.ear_redness) * s["ear"] + 0.12 * s["chin"] + 0.10 * s["fold"] + 0.20 * s["concha"]
    red += 0.10 * s["lid"] + 0.16 * s["waterline"] - 0.08 * s["forehead"] - 0.06 * s["neck"]
    red += uneven * (0.030 * s["large"] + 0.035 * s["medium"] + 0.012 * s["fine"])
    red += 0.075 * look.redness - 0.12 * look.mouth_pallor * s["mouth"]
    brown = (
        melanin + 0.05 * s["neck"] + (0.12 + 0.09 * look.eye_bags) * s["bag"] - 0.05 * look.mouth_pallor * s["mouth"]
    )
    brown += (0.10 + 0.05 * look.orbit_darkness) * s["lid"] + (0.16 + 0.05 * look.orbit_darkness) * s["socket"]
    brown += (0.14 + 0.10 * look.orbit_darkness) * s["orbit"]
    brown += uneven * (0.020 * s["medium"] - 0.012 * s["large"] + 0.008 * s["fine"])
    if look.tan:
        sun = 0.7 * s["forehead"] + s["nose"] + 0.8 * s["bridge"] + 0.8 * s["cheekbone"] + 0.4 * s["cheek"]
        brown += 0.07 * look.tan * sun
    if "freckles" in s:
        brown += 0.16 * look.freckles * s["freckles"] + 0.20 * look.moles * s["moles"]
    base = _SKIN + 0.5 * look.lightness * _SKIN_STEP
    out = base * np.exp(-brown[:, None] * _MELANIN - red[:, None] * _BLOOD - 0.24 * look.yellowness * _BILE)
    return out * (1.0 - 0.05 * (1.0 + look.eye_bags) * s["bag"][:, None] * _color(1.0, 0.6, 0.2))


def _cover(out: Float[np.ndarray, "S 3"], s: dict[str, np.ndarray], look: Look) -> None:
    """What lies over the bare skin."""
    _blend(out, s["beard"] * (0.090 + 0.072 * look.stubble), _color(0.125, 0.105, 0.100))
    _lips(out, s, look)
    _blend(out, 0.88 * s["nostril"], _color(0.055, 0.018, 0.015))
    _blend(out, 0.30 * s["waterline"] * (1.0 - s["lash"]), _color(0.40, 0.19, 0.16))
    color = _color(0.042, 0.028, 0.019) * (1.0 + 0.36 * look.hair_lightness)
    _blend(out, _hair_amount(s, look), color * (1.0 + 0.10 * s["strands"])[:, None])
    _blend(out, _brow_amount(s, look), 0.95 * color)
    _blend(out, (0.86 + 0.06 * look.lash_darkness) * s["lash"], _color(0.020, 0.012, 0.010))


def _lips(out: Float[np.ndarray, "S 3"], s: dict[str, np.ndarray], look: Look) -> None:
    near = np.flatnonzero(s["lips"] > -0.2)
    edge = s["lips"][near]
    deep = step(edge, 0.05, 0.55)
    blood = 0.66 + 0.17 * deep + 0.13 * look.lip_redness
    brown = 0.14 + 0.22 * deep + 0.10 * look.lip_darkness + 0.03 * s["fine"][near]
    red = (_SKIN + 0.35 * look.lightness * _SKIN_STEP) * np.exp(-brown[:, None] * _MELANIN - blood[:, None] * _BLOOD)
    out[near] += (0.92 * step(edge, -0.20, 0.22))[:, None] * (red - out[near])
    _blend(out, 0.72 * s["slit"], _color(0.085, 0.024, 0.022))


def _hair_amount(s: dict[str, np.ndarray], look: Look) -> Float[np.ndarray, "S"]:
    cover = step(s["hair"], -0.45, 0.95)
    return cover * (0.90 + 0.050 * look.hair_density)


def _brow_amount(s: dict[str, np.ndarray], look: Look) -> Float[np.ndarray, "S"]:
    edge = s["brow"] + 0.022 * s["brow_hair"] + 0.045 * look.brow_thickness
    return step(edge, -0.26, 0.20) * (0.74 + 0.065 * look.brow_darkness + 0.055 * s["brow_hair"])


def _eyeball(e: dict[str, np.ndarray], look: Look) -> Float[np.ndarray, "E 3"]:
    red = 0.5 * e["edge"] + 0.20 * e["vein"] * e["edge"]
    absorbed = (red * (0.30 + 0.20 * look.eye_redness) + 0.04 * look.eye_redness)[:, None] * _color(0.15, 0.75, 0.75)
    out = _color(0.66, 0.63, 0.595) * np.exp(-absorbed) * (1.0 - 0.30 * e["shadow"])[:, None]
    _blend(out, e["back"], _color(0.55, 0.25, 0.22))
    color = _color(0.112, 0.084, 0.064) + 0.5 * look.eye_blueness * _color(-0.008, 0.045, 0.066)
    shade = (1.0 + 0.22 * look.eye_lightness) * (1.0 + 0.22 * e["fibre"] + 0.45 * e["collar"])
    shade = shade * (1.15 - 0.45 * step(e["radius"], 0.38, 0.60))
    _blend(out, e["iris"], color * shade[:, None])
    _blend(out, 0.62 * e["limbus"], _color(0.045, 0.040, 0.040))
    _blend(out, 0.97 * e["pupil"], _color(0.006, 0.006, 0.006))
    return out


def _blend(out: Float[np.ndarray, "N 3"], amount: Float[np.ndarray, "N"], color: np.ndarray) -> None:
    """Lay a colour, one or one for each point, over what is there; most masks leave most points alone."""
    near = np.flatnonzero(np.abs(amount) > 1e-4)
    out[near] += amount[near, None] * ((color if color.ndim == 1 else color[near]) - out[near])


def make_paint(mesh: HeadMesh) -> Paint:
    """Take the outlines from the mesh's own landmarks."""
    at = mesh.vertices[mesh.face_vertices]
    return Paint(
        {
            "lids": mesh.vertices[mesh.lid_loop],
            "brow": at[LEFT_BROW],
            "lips": at[LIPS_OUTER],
            "slit": at[LIPS_INNER],
            "face": at,
        },
        mesh.eye_centers[0],
    )


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB (IEC 61966-2-1)."""
    return encode(np.clip(linear, 0.0, 1.0))


def part_of_vertex(mesh: HeadMesh) -> Int[np.ndarray, "V"]:
    """0 skin, 1 eyeball, 2 mouth bag, 3 eye socket."""
    part = np.zeros(len(mesh.vertices), np.int64)
    part[mesh.mouth_bag], part[mesh.socket] = 2, 3
    part[HEAD_VERTICES:] = 1
    return part
