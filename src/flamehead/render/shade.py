"""Light on a surface: lamps near and far, an ambient hemisphere and a little gloss, all linear; and the sRGB curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from flamehead._srgb import decode, encode
from flamehead.errors import InputError

__all__ = ["STUDIO", "DirectionalLight", "Lighting", "PointLight", "linear_to_srgb", "shade", "srgb_to_linear"]

Color = tuple[float, float, float]


@dataclass(frozen=True)
class DirectionalLight:
    """A distant light, in the frame of the normals."""

    towards: tuple[float, float, float]
    """Direction from the surface to the light; any length."""
    color: Color
    """Linear RGB: what a white surface that faces the light sends back."""
    wrap: float = 0.0
    """How far the light reaches around the surface, as a large lamp does: 0 is Lambert, 1 ends at the far side."""


@dataclass(frozen=True)
class PointLight:
    """A lamp at a place, in the frame of the points; its light falls off with the square of the distance."""

    position: tuple[float, float, float]
    """Metres."""
    color: Color
    """Linear RGB: what a white surface that faces the lamp sends back at `distance`."""
    distance: float = 1.0
    """Metres."""
    wrap: float = 0.0
    """As for `DirectionalLight`."""


@dataclass(frozen=True)
class Lighting:
    """All the light in a scene. The default frame is the camera's: x right, y down, z away from the viewer."""

    lights: tuple[DirectionalLight | PointLight, ...]
    sky: Color
    """Linear ambient light on surfaces that face `up`."""
    ground: Color
    """Linear ambient light on surfaces that face away from `up`."""
    up: tuple[float, float, float] = (0.0, -1.0, 0.0)
    gloss: float = 0.0
    """Strength of the highlight that each light leaves; skin has about 0.04."""
    sharpness: float = 16.0
    """Exponent of the highlight: the higher, the smaller and crisper."""

    @property
    def needs_points(self) -> bool:
        """Whether light depends on where a surface is, not only on how it is turned."""
        return any(isinstance(light, PointLight) for light in self.lights)


STUDIO = Lighting(
    lights=(
        DirectionalLight(towards=(-0.55, -0.60, -0.75), color=(0.76, 0.73, 0.70), wrap=0.15),
        DirectionalLight(towards=(0.90, -0.10, -0.55), color=(0.17, 0.18, 0.20), wrap=0.35),
        DirectionalLight(towards=(0.55, -0.45, 0.70), color=(0.18, 0.19, 0.21), wrap=0.0),
    ),
    sky=(0.21, 0.22, 0.24),
    ground=(0.085, 0.078, 0.074),
    gloss=0.045,
)
"""Portrait light that travels with the camera: warm key from the upper left, cool fill from the right, a faint rim."""


def shade(
    normals: Float[np.ndarray, "N 3"],
    albedo: Float[np.ndarray, "#N 3"] | Float[np.ndarray, "3"],
    lighting: Lighting = STUDIO,
    *,
    points: Float[np.ndarray, "N 3"] | None = None,
    orthographic: bool = False,
) -> Float[np.ndarray, "N 3"]:
    """Light that leaves the surface towards the viewer: linear, float32, not clipped above 1.

    For each light: `albedo * color * max(0, (n.l + wrap) / (1 + wrap)) + gloss * color * max(0, n.h)**sharpness`, with
    `h` halfway between the light and the viewer (Blinn, "Models of light reflection", 1977), the highlight only where
    the light reaches, `n.l + wrap > 0`; the ambient light blends from `ground` to `sky` with `(1 + n.up) / 2`.
    Directional lights see a distant viewer at -z, point lights one at the origin, or at -z too if `orthographic`, and
    their colour is scaled by `(distance / d)**2`.

    Args:
        normals: Of any length, in the frame of the lights; a zero normal receives the mean ambient light.
        albedo: Linear RGB in [0, 1], for each point or for all.
        lighting: The lights.
        points: Where the surface is, metres, in the frame of the lights; for point lights only.
        orthographic: Rays to the viewer are parallel, as for a camera of that kind.

    Raises:
        InputError: There are point lights but no points, or shapes do not fit together.
    """
    rows = np.shape(albedo)
    if np.ndim(normals) != 2 or np.shape(normals)[1] != 3 or rows not in ((3,), (1, 3), (len(normals), 3)):
        raise InputError(
            f"shade() needs normals (N, 3), and one albedo or one for each, got {np.shape(normals)} and {rows}."
        )
    # Imported here: numba costs a second, and the sRGB curves need none of it.
    from flamehead.render._cpu import shade as kernels

    distant = [light for light in lighting.lights if isinstance(light, DirectionalLight)]
    towards = _unit(np.array([light.towards for light in distant], dtype=np.float32).reshape(-1, 3))
    out = np.empty((len(normals), 3), dtype=np.float32)
    kernels.shade(
        np.ascontiguousarray(normals, dtype=np.float32),
        np.ascontiguousarray(albedo, dtype=np.float32).reshape(-1, 3),
        towards,
        _unit(towards - np.array([0.0, 0.0, 1.0], dtype=np.float32)),
        np.array([light.color for light in distant], dtype=np.float32).reshape(-1, 3),
        np.array([light.wrap for light in distant], dtype=np.float32),
        _unit(np.array(lighting.up, dtype=np.float32)),
        np.array(lighting.sky, dtype=np.float32),
        np.array(lighting.ground, dtype=np.float32),
        np.float32(lighting.gloss),
        np.float32(lighting.sharpness),
        out,
    )
    if lighting.needs_points:
        _add_lamps(normals, albedo, lighting, points, orthographic, out)
    return out


def _add_lamps(
    normals: Float[np.ndarray, "N 3"],
    albedo: Float[np.ndarray, "#N 3"] | Float[np.ndarray, "3"],
    lighting: Lighting,
    points: Float[np.ndarray, "N 3"] | None,
    orthographic: bool,
    out: Float[np.ndarray, "N 3"],
) -> None:
    from flamehead.render._cpu import shade as kernels

    if points is None or points.shape != out.shape:
        got = None if points is None else points.shape
        raise InputError(f"Point lights need the place of each of the {len(out)} points, got {got}; pass points=.")
    lamps = [light for light in lighting.lights if isinstance(light, PointLight)]
    # The square law is folded into the colours, so that the kernel divides by the distance only.
    colors = [[light.distance**2 * channel for channel in light.color] for light in lamps]
    kernels.add_lamps(
        np.ascontiguousarray(normals, dtype=np.float32),
        np.ascontiguousarray(points, dtype=np.float32),
        np.ascontiguousarray(albedo, dtype=np.float32).reshape(-1, 3),
        np.array([light.position for light in lamps], dtype=np.float32),
        np.array(colors, dtype=np.float32),
        np.array([light.wrap for light in lamps], dtype=np.float32),
        np.float32(lighting.gloss),
        np.float32(lighting.sharpness),
        orthographic,
        out,
    )


def _unit(directions: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    return directions / np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), np.float32(1e-20))


def srgb_to_linear(color: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Decode sRGB in [0, 1] to linear light (IEC 61966-2-1), float32; values outside are clipped."""
    color = np.clip(np.asarray(color, dtype=np.float32), 0.0, 1.0)
    return decode(color).astype(np.float32)


def linear_to_srgb(color: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Encode linear light as sRGB in [0, 1] (IEC 61966-2-1), float32; values outside are clipped."""
    color = np.clip(np.asarray(color, dtype=np.float32), 0.0, 1.0)
    return encode(color).astype(np.float32)
