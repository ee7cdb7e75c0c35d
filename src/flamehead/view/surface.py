"""How a head looks in the browser: plain parts that move at once, or a painted mesh that is made when all is still.

The browser draws two kinds of mesh: one of a single colour whose vertices are replaced in place, which is fast, and
GLB, which carries texture and colours per vertex but is parsed anew at every change.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int

from flamehead.io import UvMap, write_glb
from flamehead.model import Flame
from flamehead.render import CLAY, face_regions, region_colors

if TYPE_CHECKING:
    from flamehead.model import Texture

__all__ = ["Part", "Surface", "glb_bytes", "plain_parts", "region_parts", "texture_picture"]

Surface: TypeAlias = Literal["texture", "photo", "plain", "clay", "regions"]
"""Painted by the texture space, by the fitted photo, in plain colours, all grey, or by the names of its regions."""

Color = tuple[float, float, float]

_SKIN: Color = (0.84, 0.66, 0.57)
_PLAIN: Mapping[str, Color] = {
    "lips": (0.72, 0.45, 0.42),
    "lip_inside": (0.50, 0.22, 0.22),
    "hair": (0.27, 0.22, 0.19),
    "left_eyeball": (0.95, 0.94, 0.92),
    "right_eyeball": (0.95, 0.94, 0.92),
    "left_iris": (0.30, 0.38, 0.42),
    "right_iris": (0.30, 0.38, 0.42),
}
"""sRGB of the regions that are not skin, where the model names them."""


@dataclass(frozen=True)
class Part:
    """Triangles of one colour."""

    name: str
    rows: Int[np.ndarray, "N"]
    """Of the head's vertices."""
    faces: Int[np.ndarray, "M 3"]
    """Into `rows`."""
    color: Color
    """sRGB in [0, 1]."""


def plain_parts(flame: Flame, *, colored: bool = True) -> tuple[Part, ...]:
    """Skin, lips, eyeballs and irises in one colour each; one grey part where the model names no regions.

    Args:
        flame: The model.
        colored: Otherwise all of the head is one part in the grey of a head without colours.
    """
    faces = _near_first(flame)
    regions = {name: flame.regions[name] for name in _PLAIN if name in flame.regions} if colored else {}
    if not regions:
        return (_part("head", faces, CLAY),)
    of_face, names = face_regions(torch.from_numpy(faces), regions)
    made = _parts(faces, of_face, names, dict(_PLAIN), rest=("skin", _SKIN))
    if flame.colors is None:
        return made
    # The colours of a painted model, so that nothing flashes when the paint goes and comes.
    return tuple(replace(part, color=_middle(flame.colors[part.rows])) for part in made)


def region_parts(flame: Flame) -> tuple[Part, ...]:
    """One part for each named region, in colours that differ."""
    faces = _near_first(flame)
    of_face, names = face_regions(torch.from_numpy(faces), flame.regions)
    return _parts(faces, of_face, names, region_colors(names), rest=("no region", (0.62, 0.62, 0.62)))


def _parts(
    faces: Int[np.ndarray, "F 3"],
    of_face: Int[np.ndarray, "F"],
    names: tuple[str, ...],
    colors: Mapping[str, Color],
    *,
    rest: tuple[str, Color],
) -> tuple[Part, ...]:
    named = [(name, faces[of_face == k], colors[name]) for k, name in enumerate(names)]
    made = [(rest[0], faces[of_face < 0], rest[1]), *named]
    return tuple(_part(name, chosen, color) for name, chosen, color in made if len(chosen))


def _near_first(flame: Flame) -> Int[np.ndarray, "F 3"]:
    """Triangles from the tip of the nose backwards, so that from the front a half transparent head hides its inside."""
    faces = flame.faces.cpu().numpy()
    depth = flame.template.cpu().numpy()[faces].mean(axis=1)[:, 2]
    return faces[np.argsort(-depth, kind="stable")]


def _part(name: str, faces: Int[np.ndarray, "M 3"], color: Color) -> Part:
    rows, own = np.unique(faces, return_inverse=True)
    return Part(name, rows, own.reshape(-1, 3), color)


def _middle(colors: Float[np.ndarray, "N 3"]) -> Color:
    red, green, blue = np.median(colors, axis=0).tolist()
    return red, green, blue


def glb_bytes(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    *,
    uv_map: UvMap | None = None,
    colors: Float[np.ndarray, "V 3"] | None = None,
) -> bytes:
    """A painted mesh as the browser loads it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "head.glb"
        write_glb(path, vertices, faces, uv_map=uv_map, colors=colors)
        return path.read_bytes()


def texture_picture(texture: Texture, albedo: tuple[float, ...]) -> Float[np.ndarray, "H W 3"]:
    """The texture of some coefficients as sRGB in [0, 1]; those beyond the loaded components are left out."""
    known = torch.tensor(albedo[: texture.n_components], dtype=texture.mean.dtype)
    with torch.no_grad():
        return texture(known).clamp(0.0, 1.0).numpy()
