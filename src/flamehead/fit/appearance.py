"""The colours that a photometric fit may give a head: texture spaces of any origin, brought onto its triangles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from flamehead._types import StrPath
from flamehead.errors import InputError
from flamehead.fit.pixels import TextureSpace, linear_about, texture_space

if TYPE_CHECKING:
    from flamehead.model import Flame
    from flamehead.model.appearance import Texture

__all__ = ["Appearance", "load_appearance"]


@dataclass(frozen=True)
class Appearance:
    """A texture space and where it lies on a head."""

    space: TextureSpace
    uv: Float[np.ndarray, "T 2"]
    """u to the right, v up, in [0, 1]."""
    uv_faces: Int[np.ndarray, "F 3"]
    source: str
    """A path, or `the built-in albedo`."""
    texture: Texture

    def picture(self, coefficients: Float[np.ndarray, "K"]) -> Float[np.ndarray, "H W 3"]:
        """The texture as a screen wants it, sRGB clipped to [0, 1], row 0 at v = 1; see `flamehead.model.Texture`."""
        with torch.no_grad():
            shown = self.texture(torch.as_tensor(np.asarray(coefficients)).to(self.texture.mean))
        return np.clip(shown.cpu().float().numpy(), 0.0, 1.0)

    def linear(self, coefficients: Float[np.ndarray, "K"]) -> Float[np.ndarray, "H W 3"]:
        """The albedo in linear light, as the fit shades it."""
        space = linear_about(self.space, np.asarray(coefficients))
        return np.maximum(space.mean + space.basis @ np.asarray(coefficients, dtype=np.float32), 0.0)


def load_appearance(
    flame: Flame, path: StrPath | None = None, *, uv: StrPath | None = None, n_components: int = 50
) -> Appearance:
    """The built-in albedo for the built-in head, or an official texture space for a licensed model.

    Diffuse albedo of AlbedoMM is taken as linear light, up to an exposure that the fitted light takes up. The colours
    of `FLAME_texture.npz` and of the Basel Face Model are sRGB; the fit decodes them.

    Args:
        flame: The model whose triangles are coloured.
        path: `FLAME_texture.npz`, the albedo part of AlbedoMM, or `FLAME_albedo_from_BFM.npz`; None: the built-in.
        uv: An OBJ with texture coordinates of this model, for a file that holds none (the one from BFM).
        n_components: How many components to keep.

    Raises:
        InputError: The texture belongs to another mesh, or has no layout.
        AssetNotFound: There is no such file.
    """
    from flamehead.model import is_builtin, load_texture

    builtin = is_builtin(flame)
    if path is None and not builtin:
        raise InputError(
            f"The built-in albedo does not lie on {flame.arrays.source}; name a texture space of FLAME, such as "
            "FLAME_texture.npz (`--texture FILE`)."
        )
    if path is not None and builtin:
        raise InputError(
            f"The texture {path} is laid out for FLAME's mesh, not for the built-in head; name a FLAME file (`--model "
            "FILE`), or leave the texture out to use the built-in albedo."
        )
    texture = load_texture(path, n_components=n_components)
    layout, faces = _layout(texture, flame, uv)
    if len(faces) != len(flame.faces):
        raise InputError(
            f"The texture {texture.source} has {len(faces)} triangles, but {flame.arrays.source} has "
            f"{len(flame.faces)}; give the texture of this model."
        )
    basis = np.moveaxis(texture.basis.numpy().reshape(texture.n_components, *texture.mean.shape), 0, -1)
    space = texture_space(texture.mean.numpy(), basis, layout, faces, encoded=texture.curve == "none")
    return Appearance(space, layout, faces, texture.source, texture)


def _layout(
    texture: Texture, flame: Flame, uv: StrPath | None
) -> tuple[Float[np.ndarray, "T 2"], Int[np.ndarray, "F 3"]]:
    """Texture coordinates: of the file itself, else of the OBJ that is given."""
    if texture.uv is not None and texture.uv_faces is not None:
        return texture.uv.double().numpy(), texture.uv_faces.numpy()
    if uv is None:
        raise InputError(
            f"The texture {texture.source} holds no texture coordinates; give an OBJ with them (`--uv FILE`), such as "
            "head_template.obj of the FLAME site."
        )
    from flamehead.assets import read_template

    template = read_template(uv)
    if template.uv is None or template.uv_faces is None:
        raise InputError(f"The mesh {uv} has no texture coordinates; give an OBJ file with `vt` lines.")
    if not np.array_equal(template.faces, flame.faces.cpu().numpy()):
        raise InputError(
            f"The mesh {uv} has other triangles than {flame.arrays.source}; give the template of this model."
        )
    return np.asarray(template.uv, dtype=np.float64), np.asarray(template.uv_faces)
