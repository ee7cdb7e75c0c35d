"""Textures on meshes: an image, and where the corners of each triangle lie on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.errors import InputError, check_choice
from flamehead.raster._checks import check_faces, look_at
from flamehead.raster._remember import extent
from flamehead.render._bands import bands
from flamehead.render.sampling import build_pyramid, sample_image
from flamehead.render.srgb import decode_srgb

__all__ = ["Encoding", "Texture", "check_same_faces", "sample_texture", "texture_level"]

Encoding = Literal["srgb", "linear"]


@dataclass(frozen=True)
class Texture:
    """The colour of a surface.

    u runs to the right and v up: texel (row, column) has its centre at u = (column + 0.5) / W, v = 1 - (row + 0.5) / H,
    as in FLAME's texture files and in OBJ. At a seam, `uv_faces` names other rows for the triangles on its two sides.
    """

    image: Float[Tensor, "H W 3"]
    """In [0, 1]; row 0 at the top, v = 1. May carry a gradient."""
    uv: Float[Tensor, "T 2"]
    uv_faces: Int[Tensor, "F 3"]
    """Rows of `uv` at the corners of each triangle of the mesh."""
    encoding: Encoding = "srgb"
    """Whether `image` holds sRGB, as picture files and FLAME's texture space do, or linear light, as AlbedoMM does."""

    @staticmethod
    def of(
        image: Tensor | np.ndarray,
        uv: Tensor | np.ndarray,
        uv_faces: Tensor | np.ndarray,
        *,
        encoding: Encoding = "srgb",
    ) -> Texture:
        """A texture from arrays or tensors; whole numbers are divided by their largest, a fourth channel is dropped.

        Raises:
            InputError: Shapes that are no texture, or triangles that name missing rows of `uv`.

        Example:
            >>> from flamehead.builtin.head import builtin_head
            >>> head = builtin_head()
            >>> Texture.of(np.full((8, 8, 3), 128, np.uint8), head.uv, head.uv_faces).image.shape
            torch.Size([8, 8, 3])
        """
        pixels, places, corners = (torch.as_tensor(value) for value in (image, uv, uv_faces))
        if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
            raise InputError(f"A texture's image needs the shape (H, W, 3), got {tuple(pixels.shape)}.")
        if not pixels.is_floating_point():
            # A boolean image is black and white.
            most = 1 if pixels.dtype == torch.bool else torch.iinfo(pixels.dtype).max
            pixels = pixels.float() / most
        pixels = pixels[..., :3]
        if pixels.dtype in (torch.float16, torch.bfloat16):
            pixels = pixels.float()
        if not corners.is_floating_point():
            corners = corners.long()
        return Texture(pixels, places.to(pixels.dtype), corners, encoding)

    def __post_init__(self) -> None:
        """Refuse what is no texture; compiled code would read foreign memory."""
        check_choice("encoding", self.encoding, get_args(Encoding))
        image, uv, corners = self.image, self.uv, self.uv_faces
        if not all(isinstance(value, Tensor) for value in (image, uv, corners)):
            kinds = ", ".join(type(value).__name__ for value in (image, uv, corners))
            raise InputError(f"A texture holds tensors, got {kinds}; `Texture.of` takes other kinds.")
        if image.ndim != 3 or image.shape[2] != 3 or not image.numel() or not image.is_floating_point():
            raise InputError(
                f"A texture's image needs floating-point numbers of shape (H, W, 3), got {image.dtype} "
                f"{tuple(image.shape)}; `Texture.of` takes other kinds."
            )
        if uv.ndim != 2 or uv.shape[1] != 2 or corners.ndim != 2 or corners.shape[1] != 3:
            raise InputError(
                f"A texture needs uv of shape (T, 2) and uv_faces of shape (F, 3), got {tuple(uv.shape)} and "
                f"{tuple(corners.shape)}; give uv per corner of each triangle."
            )
        check_faces(corners)
        self.check_rows()

    def check_rows(self) -> None:
        """Refuse triangles that name missing rows of `uv`; again before use, for numpy may have written to them.

        Raises:
            InputError: There are such.
        """
        low, high = look_at(self.uv_faces)[1]
        if low < 0 or high >= len(self.uv):
            raise InputError(f"uv_faces name rows {low} to {high} of uv, which has {len(self.uv)}; count from 0.")

    def linear(self) -> Texture:
        """The same texture in linear light, where averages are those of light; differentiable."""
        if self.encoding == "linear":
            return self
        return Texture(decode_srgb(self.image), self.uv, self.uv_faces, "linear")


def sample_texture(
    texture: Texture, uv: Float[Tensor, "*batch 2"], *, level: Float[Tensor, "*batch"] | None = None
) -> Float[Tensor, "*batch 3"]:
    """Linear colour of a texture at texture coordinates; differentiable with respect to its image and `uv`.

    Args:
        texture: In either encoding; it is decoded before it is averaged.
        uv: u to the right, v up.
        level: From `texture_level`; `None` is the full image without averaging.
    """
    image = texture.linear().image
    return sample_image(build_pyramid(image, n_levels=1 if level is None else None), uv, level=level)


def texture_level(
    texture: Texture,
    points: Float[Tensor, "*batch V 3"],
    faces: Int[Tensor, "F 3"],
    face_ids: Int[Tensor, "*seen"],
    depth: Float[Tensor, "*seen"],
    uv: Float[Tensor, "*seen 2"],
    *,
    perspective: bool = True,
) -> Float[Tensor, "*seen"]:
    """How small a copy of a texture each pixel should look at: log2 of the texels under it; no gradients.

    With barycentrics `b_k = z l_k / z_k`, where `l_k` is affine on the screen, `du/dx = z sum_k (dl_k/dx) (u_k - u) /
    z_k`, exactly. A pixel is as wide as the longer of its two steps, to the right and down, on the texture.

    Args:
        texture: What is sampled.
        points: As they were rasterized, pixels and view depth.
        faces: Of the mesh.
        face_ids: What is seen: pixels, or any list of surface points, for each of the batch; -1 is background.
        depth: View depth there.
        uv: Texture coordinates there.
        perspective: As they were rasterized.

    Returns:
        At least 0; NaN in the background.
    """
    # Imported here: numba costs a second, and textures themselves need none of it.
    from flamehead.render._cpu import texture as kernels

    check_same_faces(faces, texture.uv_faces)
    texture.check_rows()
    _check_seen(points, faces, face_ids, depth, uv)
    height, width = texture.image.shape[:2]
    corners = _plain(points).reshape(-1, *points.shape[-2:])
    level = torch.empty(len(corners), face_ids.numel() // len(corners))
    rows = (_plain(face_ids.int()), _plain(depth), _plain(uv))
    shaped = (row.reshape(*level.shape, *row.shape[face_ids.ndim :]) for row in rows)
    tables = _plain(faces.int()), _plain(texture.uv), _plain(texture.uv_faces.int())
    rest = (perspective, float(width), float(height))
    for *item, out, placed in zip(*shaped, level.numpy(), corners, strict=True):
        bands(kernels.levels, len(out), (*item, out), (placed, *tables, *rest))
    return level.reshape(face_ids.shape).to(uv.device)


def _check_seen(points: Tensor, faces: Tensor, face_ids: Tensor, depth: Tensor, uv: Tensor) -> None:
    for what, (low, high), least, end in (
        ("faces", look_at(faces)[1], 0, points.shape[-2]),
        ("face_ids", extent(face_ids), -1, len(faces)),
    ):
        if low < least or high >= end:
            raise InputError(
                f"{what} hold rows {low} to {high}, but there are {end} rows from 0 on; "
                "points, faces and what is seen must belong to one mesh."
            )
    if depth.shape != face_ids.shape or uv.shape != (*face_ids.shape, 2):
        raise InputError(
            f"Each of {tuple(face_ids.shape)} face_ids needs a depth and (u, v), got {tuple(depth.shape)} and "
            f"{tuple(uv.shape)}."
        )


def check_same_faces(faces: Int[Tensor, "F 3"], uv_faces: Int[Tensor, "F 3"]) -> None:
    """Refuse a texture that belongs to another mesh."""
    check_faces(faces)
    if faces.shape != uv_faces.shape:
        raise InputError(
            f"The mesh has {len(faces)} triangles, the texture's uv_faces have shape {tuple(uv_faces.shape)}; "
            "give the texture of this mesh, with a row for each triangle."
        )


def _plain(value: Tensor) -> np.ndarray:
    value = value.detach().cpu()
    return (value.float() if value.is_floating_point() else value).contiguous().numpy()
