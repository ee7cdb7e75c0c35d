"""The nine spherical harmonics of light, in the order and with the constants of the FLAME trackers."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["HARMONIC_CONSTANTS", "harmonics", "turn_light"]

_FIRST = 2 * math.pi / 3 * math.sqrt(3 / (4 * math.pi))
_SECOND = math.sqrt(5 / (12 * math.pi))

HARMONIC_CONSTANTS = (
    1 / math.sqrt(4 * math.pi),
    *(3 * (_FIRST,)),
    *(3 * (3 * math.pi / 4 * _SECOND,)),
    3 * math.pi / 8 * _SECOND,
    math.pi / 8 * math.sqrt(5 / (4 * math.pi)),
)
"""Factors of 1, x, y, z, xy, xz, yz, x^2 - y^2, 3 z^2 - 1."""


def harmonics(normals: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 9"]:
    """The nine functions at unit normals: constant times 1, x, y, z, xy, xz, yz, x^2 - y^2, 3 z^2 - 1.

    Example:
        >>> harmonics(torch.tensor([0.0, 0.0, 1.0]))[[0, 3, 8]]
        tensor([0.2821, 1.0233, 0.4954])
    """
    x, y, z = normals.unbind(-1)
    rows = [torch.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1]
    return torch.stack(rows, dim=-1) * normals.new_tensor(HARMONIC_CONSTANTS)


def turn_light(
    coefficients: Float[Tensor, "*#batch 9 3"], rotation: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*batch 9 3"]:
    """The same light in another frame: at a normal n it is the given one at `rotation @ n`.

    Exact, because the nine functions of turned normals are sums of the nine functions. Light in the camera's frame
    goes to the world's with the camera's own `rotation`, and back with its transpose.
    """
    # As many normals as functions would do; more of them, spread over the sphere, keep the system well conditioned.
    count = 32
    height = 1 - (2 * torch.arange(count, dtype=torch.float64) + 1) / count
    angle = math.pi * (1 + math.sqrt(5)) * torch.arange(count, dtype=torch.float64)
    around = (1 - height**2).sqrt()
    normals = torch.stack([around * angle.cos(), around * angle.sin(), height], dim=-1).to(rotation.device)
    turned = harmonics(normals @ rotation.double().mT)
    return (torch.linalg.pinv(harmonics(normals)) @ turned @ coefficients.double()).to(coefficients.dtype)
