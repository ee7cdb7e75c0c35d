"""What lies under each texel of the built-in head's texture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["Texels", "find_texels", "uv_masks"]


@dataclass(frozen=True)
class Texels:
    """Points on the surface by texel; row 0 at v = 1, texel centres at +0.5."""

    face_ids: Int[np.ndarray, "R R"]
    """-1 where the layout is empty."""
    barycentric: Float[np.ndarray, "R R 3"]


def find_texels(uv: Float[np.ndarray, "T 2"], uv_faces: Int[np.ndarray, "F 3"], size: int) -> Texels:
    """Draw the UV layout: a texel belongs to the triangle that covers its centre."""
    # Imported here: the head itself needs no torch.
    import torch

    from flamehead.raster import rasterize

    points = np.column_stack([size * uv[:, 0], size * (1.0 - uv[:, 1]), np.ones(len(uv))])
    found = rasterize(torch.from_numpy(points), torch.from_numpy(np.ascontiguousarray(uv_faces)), (size, size))
    return Texels(found.face_ids.numpy(), found.barycentric.numpy())


def uv_masks(
    texels: Texels,
    template: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    regions: Mapping[str, Int[np.ndarray, "N"]],
    part: Int[np.ndarray, "V"],
) -> dict[str, Bool[np.ndarray, "R R"]]:
    """Boolean images by the names of VHAP's `uv_masks.npz`, as far as this head has such a part.

    A triangle belongs to a region when its three corners do; the skin ends where a pocket begins.
    """
    inside = {name: np.isin(faces, ids).all(1) for name, ids in regions.items()}
    for both in ("ear", "eyeball"):
        inside[f"{both}s"] = inside[f"left_{both}"] | inside[f"right_{both}"]
    side = template[faces, 0].mean(1)
    inside |= {"left_half": side > 0.0, "right_half": side < 0.0, "skin": part[faces].max(1) == 0}
    # One entry more, for the texels of no triangle: index -1.
    return {name: np.append(mask, False)[texels.face_ids] for name, mask in sorted(inside.items())}
