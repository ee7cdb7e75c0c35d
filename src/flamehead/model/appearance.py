"""Texture models: coefficients to a texture of the head, whatever the file, in one convention.

A texture is `(*batch, H, W, 3)`, sRGB as a screen wants it, nominally in [0, 1], row 0 at v = 1. It is not clipped:
a linear space leaves the range for large coefficients, and clipping would stop the gradients there. Clip what you show.

    FLAME_texture, BFM:   texture = mean + basis c
    AlbedoMM:             texture = (0.6 (diffuse + specular))^(1 / 2.2),  both linear in c     (as its authors show it)
    built-in head:        texture = sRGB curve of diffuse
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead._srgb import encode_tensor
from flamehead._types import StrPath
from flamehead.assets import AlbedoSpace, BfmAlbedo, TextureSpace, open_asset
from flamehead.errors import InputError

__all__ = ["Texture", "load_texture"]

Curve = Literal["none", "albedo_mm", "srgb"]
"""From the numbers of a space to what a screen wants."""

_EXPOSURE = 0.6
_GAMMA = 2.2
_DARKEST = 1e-8
"""Linear light from which the power law serves: its slope at zero is infinite, and it has no values below."""


class Texture(torch.nn.Module):
    """A linear space of textures as a differentiable layer; made by `load_texture`.

    Example:
        >>> texture = load_texture(n_components=2)  # doctest: +SKIP
        >>> texture(torch.zeros(5, 2)).shape  # doctest: +SKIP
        torch.Size([5, 512, 512, 3])
    """

    mean: Float[Tensor, "H W 3"]
    """In the space's own numbers: sRGB, or linear diffuse albedo."""
    basis: Float[Tensor, "K HW3"]
    """One texture per row, for one standard deviation."""
    specular_mean: Float[Tensor, "H W 3"] | None
    specular_basis: Float[Tensor, "K HW3"] | None
    uv: Float[Tensor, "T 2"] | None
    """v up; None when the file holds no layout: take the one of FLAME's template."""
    uv_faces: Int[Tensor, "F 3"] | None

    def __init__(
        self,
        diffuse: tuple[Float[np.ndarray, "H W 3"], Float[np.ndarray, "H W 3 K"]],
        *,
        curve: Curve,
        specular: tuple[Float[np.ndarray, "H W 3"], Float[np.ndarray, "H W 3 K"]] | None = None,
        layout: tuple[Float[np.ndarray, "T 2"], Int[np.ndarray, "F 3"]] | None = None,
        source: str = "texture space",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        """Put a space on a device.

        Args:
            diffuse: mean and basis, RGB, row 0 at v = 1.
            curve: how the sum becomes sRGB, see the module.
            specular: likewise, of the same coefficients.
            layout: texture coordinates (v up) and their triangles.
            source: for messages.
            dtype: of the buffers and of what comes out; coefficients must have the same.
            device: of the buffers.
        """
        super().__init__()
        self.curve: Curve = curve
        self.source = source
        self._keep("mean", torch.tensor(diffuse[0], dtype=dtype, device=device))
        self._keep("basis", _rows(diffuse[1], dtype, device))
        self._keep("specular_mean", None if specular is None else torch.tensor(specular[0], dtype=dtype, device=device))
        self._keep("specular_basis", None if specular is None else _rows(specular[1], dtype, device))
        uv, faces = (None, None) if layout is None else layout
        self._keep("uv", None if uv is None else torch.tensor(uv, dtype=dtype, device=device))
        self._keep("uv_faces", None if faces is None else torch.tensor(faces, dtype=torch.int64, device=device))

    @property
    def n_components(self) -> int:
        """How many coefficients there are at most."""
        return len(self.basis)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, texels."""
        return self.mean.shape[0], self.mean.shape[1]

    def zeros(self, batch: tuple[int, ...] = ()) -> Float[Tensor, "*batch K"]:
        """The coefficients of the mean."""
        return self.mean.new_zeros(*batch, self.n_components)

    def forward(self, coefficients: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch H W 3"]:
        """The texture as sRGB, not clipped; fewer coefficients than components mean zeros for the rest.

        Args:
            coefficients: in standard deviations.

        Raises:
            InputError: there are too many, or they have another dtype or device.
        """
        self._check(coefficients)
        values = _sum(self.mean, self.basis, coefficients)
        if self.curve == "none":
            return values
        if self.curve == "srgb":
            return encode_tensor(values)
        if self.specular_mean is not None and self.specular_basis is not None:
            values = values + _sum(self.specular_mean, self.specular_basis, coefficients)
        return (_EXPOSURE * values).clamp_min(_DARKEST) ** (1 / _GAMMA)

    def albedo(
        self, coefficients: Float[Tensor, "*batch k"]
    ) -> tuple[Float[Tensor, "*batch H W 3"], Float[Tensor, "*batch H W 3"]]:
        """Diffuse and specular albedo in linear light, not clipped, for rendering with lights.

        Raises:
            InputError: this space holds colours as they were photographed, or see `forward`.
        """
        if self.specular_mean is None or self.specular_basis is None:
            raise InputError(
                f"{self.source} holds colours and no albedo; load an albedo space (AlbedoMM) or the built-in one."
            )
        self._check(coefficients)
        diffuse = _sum(self.mean, self.basis, coefficients)
        return diffuse, _sum(self.specular_mean, self.specular_basis, coefficients)

    def _keep(self, name: str, value: Tensor | None) -> None:
        self.register_buffer(name, value, persistent=False)  # Licensed numbers stay out of a user's checkpoints.

    def _check(self, coefficients: Tensor) -> None:
        if not coefficients.ndim or coefficients.shape[-1] > self.n_components:
            raise InputError(
                f"The texture coefficients have shape {tuple(coefficients.shape)}, but {self.source} was loaded with "
                f"{self.n_components} components; give (*batch, {self.n_components}) or fewer, or load more."
            )
        dtype, device = self.mean.dtype, self.mean.device
        if coefficients.dtype != dtype or coefficients.device != device:
            raise InputError(
                f"The texture coefficients are {coefficients.dtype} on {coefficients.device}, but the texture is "
                f"{dtype} on {device}; convert one of them with `.to(...)`."
            )


def load_texture(
    path: StrPath | None = None,
    *,
    n_components: int = 50,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Texture:
    """Open a texture space: an official file, or the built-in licence-free one.

    Only the first components are read from the file, 157 MB for 50 of FLAME_texture.npz.

    Args:
        path: `FLAME_texture.npz`, the albedo part of AlbedoMM, or `FLAME_albedo_from_BFM.npz`, recognised by what they
            hold; channel order and range are converted. None means the albedo space of the built-in head.
        n_components: how many components to keep, the strongest first.
        dtype: of the layer.
        device: of the layer.

    Raises:
        AssetNotFound: there is no such file.
        InputError: it is damaged or no texture space.
    """
    if n_components < 0:
        raise InputError(f"n_components is {n_components}, wanted 0 or more.")
    if path is None:
        return _builtin(n_components, dtype, device)
    space = open_asset(path, n_components=n_components)
    source = str(path)
    if isinstance(space, TextureSpace):
        layout = space.uv, space.uv_faces
        return Texture(
            (space.mean, space.basis), curve="none", layout=layout, source=source, dtype=dtype, device=device
        )
    if isinstance(space, BfmAlbedo):
        return Texture((space.mean, space.basis), curve="none", source=source, dtype=dtype, device=device)
    if isinstance(space, AlbedoSpace):
        return Texture(
            (space.diffuse_mean, space.diffuse_basis),
            curve="albedo_mm",
            specular=(space.specular_mean, space.specular_basis),
            layout=(space.uv, space.uv_faces),
            source=source,
            dtype=dtype,
            device=device,
        )
    raise InputError(
        f"{path} is no texture space but a {type(space).__name__}; pass FLAME_texture.npz, the albedo part of AlbedoMM "
        "or FLAME_albedo_from_BFM.npz."
    )


def _builtin(n_components: int, dtype: torch.dtype, device: torch.device | str | None) -> Texture:
    from flamehead.builtin.albedo_space import builtin_albedo

    space = builtin_albedo()
    return Texture(
        (space.mean_diffuse, space.diffuse_basis[..., :n_components]),
        curve="srgb",
        specular=(space.mean_specular, space.specular_basis[..., :n_components]),
        layout=(space.uv, space.uv_faces),
        source="the built-in albedo",
        dtype=dtype,
        device=device,
    )


def _rows(basis: Float[np.ndarray, "H W 3 K"], dtype: torch.dtype, device: torch.device | str | None) -> Tensor:
    """The components one after the other, each a contiguous row: what is used of them is then one block."""
    rows = torch.empty(basis.shape[-1], math.prod(basis.shape[:-1]), dtype=dtype, device=device)
    for k, row in enumerate(rows):
        row.copy_(torch.from_numpy(np.ascontiguousarray(basis[..., k])).flatten())
    return rows


def _sum(mean: Tensor, basis: Tensor, coefficients: Tensor) -> Tensor:
    return mean + (coefficients @ basis[: coefficients.shape[-1]]).unflatten(-1, mean.shape)
