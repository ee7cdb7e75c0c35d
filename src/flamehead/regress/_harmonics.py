"""Light in DECA's nine spherical harmonics, and its weak perspective."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.render import HARMONIC_CONSTANTS

__all__ = ["flip", "harmonic_shading", "weak_projection"]


def harmonic_shading(
    normals: Float[Tensor, "*batch 3 H W"], light: Float[Tensor, "*batch 9 3"]
) -> Float[Tensor, "*batch 3 H W"]:
    """Light that falls on surfaces, RGB: `S_c(n) = sum_k light[k, c] Y_k(n)`, not clipped.

    The basis is 1, x, y, z, xy, xz, yz, x^2 - y^2, 3 z^2 - 1 (Ramamoorthi and Hanrahan, SIGGRAPH 2001).

    Args:
        normals: unit vectors in model space.
        light: coefficients, harmonics x RGB.
    """
    x, y, z = normals.unbind(-3)
    basis = torch.stack([torch.ones_like(x), x, y, z, x * y, x * z, y * z, x**2 - y**2, 3 * z**2 - 1], dim=-3)
    factors = torch.tensor(HARMONIC_CONSTANTS, dtype=normals.dtype, device=normals.device)
    return torch.einsum("...khw,...kc->...chw", basis * factors[:, None, None], light)


def weak_projection(
    points: Float[Tensor, "*batch N 3"], camera: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch N 3"]:
    """`s (x + tx, y + ty, z)`: the shift comes before the scale, and depth is scaled as well."""
    shift = torch.nn.functional.pad(camera[..., None, 1:], (0, 1))
    return camera[..., None, :1] * (points + shift)


def flip(projected: Float[Tensor, "*batch N 3"]) -> Float[Tensor, "*batch N 3"]:
    """To the image: x right, y down, both in [-1, 1] over the crop, smaller z nearer to the camera."""
    return projected * torch.tensor([1.0, -1.0, -1.0], dtype=projected.dtype, device=projected.device)
