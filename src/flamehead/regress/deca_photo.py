"""DECA's pictures over the whole photo instead of the crop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.model import Flame
from flamehead.raster import interpolate
from flamehead.regress._texels import sample_image
from flamehead.regress.deca import Encoded
from flamehead.regress.deca_assets import DecaAssets
from flamehead.regress.deca_decode import Decoded, draw_projected, in_crop, shaded

__all__ = ["PhotoPictures", "in_photo", "photo_pictures"]


@dataclass(frozen=True)
class PhotoPictures:
    """The head over the photo it was read off."""

    pictures: Mapping[str, Float[Tensor, "3 H W"]]
    """`shape_images`, `shape_detail_images` and `rendered_images`, sRGB."""
    landmarks2d: Float[Tensor, "68 2"]
    """Pixels of the photo, its corner at (0, 0)."""
    landmarks3d: Float[Tensor, "68 3"]
    """Pixels, and whether the point is seen."""


def photo_pictures(
    flame: Flame, encoded: Encoded, decoded: Decoded, photo: Float[np.ndarray, "H W 3"], assets: DecaAssets
) -> PhotoPictures:
    """Draw a decoded head where the photo shows it, at the photo's own size.

    Args:
        flame: the model that decoded.
        encoded: where the crop lies in the photo.
        decoded: the head.
        photo: RGB in [0, 1], of the size that was encoded.
        assets: the tables that `decode` was given.
    """
    size = (photo.shape[1], photo.shape[0])
    faces = flame.faces.cpu()
    pixels = in_photo(decoded.trans_verts, encoded)
    picture = draw_projected(decoded.trans_verts, pixels, faces, assets, size)
    covered = picture.fragments.covered
    background = torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1), dtype=np.float32))
    coarse = interpolate(decoded.normals, faces, picture.fragments).permute(2, 0, 1)
    fine = sample_image(decoded.uv_detail_normals, picture.grid, where=covered)
    alpha = covered[None].float()
    pictures = {
        "shape_images": shaded(picture, coarse * alpha, background),
        "shape_detail_images": shaded(picture, fine, background),
        "rendered_images": sample_image(decoded.albedo, picture.grid) * alpha + background * (1 - alpha),
    }
    marks3d = torch.cat([in_photo(decoded.landmarks3d, encoded), decoded.landmarks3d[:, 3:]], dim=1)
    return PhotoPictures(pictures, in_photo(decoded.landmarks2d, encoded), marks3d)


def in_photo(points: Float[Tensor, "N C"], encoded: Encoded) -> Float[Tensor, "N 2"]:
    """From the crop's [-1, 1] to pixels of the photo, its corner at (0, 0).

    DECA was trained with n = pixel / 112 - 1 where the centre of the crop's first pixel is 0, as in `Encoded.matrix`.
    """
    back = torch.from_numpy(np.linalg.inv(encoded.matrix)).to(points)
    return in_crop(points) @ back[:2, :2].T + back[:2, 2] + 0.5
