"""Masks and depth from the mesh itself. They know no hair, no glasses and no shoulders: that is what matting is for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8, UInt16
from torch import Tensor

from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.export._loops import mouth_triangles
from flamehead.model import Flame
from flamehead.render import depth_to_millimetres, maps

__all__ = ["MaskSettings", "Surface", "feathered", "surface_of"]

_LABELS = {
    "face": 1, "neck": 2, "scalp": 3, "left_ear": 4, "right_ear": 5, "nose": 6, "lips": 7, "lip_inside": 8,
    "left_eyeball": 9, "right_eyeball": 10,
}  # fmt: skip
"""Numbers in `seg_mask` pictures; later ones lie over earlier ones."""


@dataclass(frozen=True)
class MaskSettings:
    """How the mesh's outline becomes an opacity."""

    grow: float = 0.0
    """Pixels by which the outline is moved outward, to take in what lies close to the mesh, such as short hair."""
    feather: float = 2.0
    """Width of the ramp from opaque to transparent across the outline, pixels."""

    def __post_init__(self) -> None:
        if not 0 <= self.grow <= 1000 or not 0 <= self.feather <= 1000:
            raise InputError(f"The mask is to grow by {self.grow} and fade over {self.feather} pixels; give 0 to 1000.")


@dataclass(frozen=True)
class Surface:
    """The triangles that are drawn for masks and depth, and what each of them is."""

    faces: Int[Tensor, "G 3"]
    """Those that close the mouth come first, then the model's."""
    dropped: Bool[np.ndarray, "G"]
    """Left out of depth: on the rim of the neck and on the ears, where trackers trust nothing; they hide others."""
    mouth: Bool[np.ndarray, "G"]
    """Lips, and the mouth behind them."""
    labels: UInt8[np.ndarray, "G"]
    """By region; 255 for skin of no known region."""

    def depth(self, vertices: Float[Tensor, "V 3"], camera: Camera) -> UInt16[np.ndarray, "H W"]:
        """View depth in whole millimetres, rounded down; 0 is nothing."""
        seen = maps(vertices, self.faces, camera, want=("depth", "faces"), cull=True)
        assert seen.depth is not None and seen.faces is not None
        hidden = (seen.faces < 0) | self.dropped[seen.faces]
        return depth_to_millimetres(np.where(hidden, np.inf, seen.depth))

    def seen(self, vertices: Float[Tensor, "V 3"], camera: Camera) -> Int[np.ndarray, "H W"]:
        """The row of `faces` at each pixel; -1 in the background."""
        found = maps(vertices, self.faces, camera, want=("faces",))
        assert found.faces is not None
        return found.faces


def surface_of(flame: Flame) -> Surface:
    """What is drawn of a model; regions that it does not name are treated as empty."""
    regions, corners = flame.regions, flame.faces.cpu().numpy()
    template = flame.template.detach().cpu().numpy()
    extra = mouth_triangles(template, flame.faces, regions.get("lips"))
    outside = np.zeros(len(template), dtype=bool)
    for name in ("boundary", "left_ear", "right_ear"):
        outside[regions.get(name, [])] = True

    def inside(name: str) -> Bool[np.ndarray, "F"]:
        return np.isin(corners, regions.get(name, [])).all(axis=1)

    labels = np.full(len(corners), 255, dtype=np.uint8)
    # Triangles across the border of two regions would be in none.
    for name, number in _LABELS.items():
        labels[np.isin(corners, regions.get(name, [])).any(axis=1) & (labels == 255)] = number
    for name, number in _LABELS.items():
        labels[inside(name)] = number
    closing = np.full(len(extra), True)
    return Surface(
        faces=torch.cat([torch.from_numpy(extra).to(flame.faces), flame.faces]),
        dropped=np.concatenate([~closing, outside[corners].all(axis=1)]),
        mouth=np.concatenate([closing, inside("lips") | inside("lip_inside")]),
        labels=np.concatenate([np.full(len(extra), _LABELS["lip_inside"], dtype=np.uint8), labels]),
    )


def feathered(inside: Bool[np.ndarray, "H W"], settings: MaskSettings) -> Float[np.ndarray, "H W"]:
    """An opacity in [0, 1] from a mask: `0.5 + (grow - d) / feather` with d the distance to the outline, outward."""
    from scipy.ndimage import distance_transform_edt

    if not inside.any() or inside.all():
        return inside.astype(np.float32)
    # Distances run from pixel centre to pixel centre; the outline lies half a pixel before the first other pixel.
    away = np.asarray(distance_transform_edt(~inside)) - np.asarray(distance_transform_edt(inside))
    away = away - np.where(inside, -0.5, 0.5)
    if settings.feather == 0:
        return (away <= settings.grow).astype(np.float32)
    return np.clip(0.5 + (settings.grow - away) / settings.feather, 0.0, 1.0).astype(np.float32)
