"""The sRGB curves (IEC 61966-2-1), for arrays and for tensors.

Linear light x up to 0.0031308 is stored as 12.92 x, beyond as 1.055 x^(1/2.4) - 0.055. Nothing is clipped: the straight
part goes on below 0 and the curve above 1, so that every value has an image and, in tensors, a gradient. Compiled
kernels repeat the formulas, because they cannot call these.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["decode", "decode_slope", "decode_tensor", "encode", "encode_tensor"]

_ENCODED = 0.04045
_LINEAR = 0.0031308
"""Where the straight part ends, as stored and as light."""


def decode(color: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """sRGB to linear light.

    Example:
        >>> decode(np.array([0.0, 0.5, 1.0])).round(4)
        array([0.   , 0.214, 1.   ])
    """
    # The curve gets arguments at which it is finite; `where` drops them.
    return np.where(color <= _ENCODED, color / 12.92, ((np.maximum(color, _ENCODED) + 0.055) / 1.055) ** 2.4)


def decode_slope(color: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Derivative of `decode`."""
    # A straight part of the curve's own type: `where` would take a bare number for double precision.
    flat = np.full_like(color, 1 / 12.92)
    return np.where(color <= _ENCODED, flat, 2.4 / 1.055 * ((np.maximum(color, _ENCODED) + 0.055) / 1.055) ** 1.4)


def encode(light: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Linear light to sRGB, the inverse of `decode`.

    Example:
        >>> encode(np.array([0.0, 0.214, 1.0])).round(3)
        array([0. , 0.5, 1. ])
    """
    return np.where(light <= _LINEAR, light * 12.92, 1.055 * np.maximum(light, _LINEAR) ** (1 / 2.4) - 0.055)


def decode_tensor(color: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`decode` in plain torch, differentiable to every order."""
    return torch.where(color <= _ENCODED, color / 12.92, ((color.clamp(min=_ENCODED) + 0.055) / 1.055) ** 2.4)


def encode_tensor(light: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`encode` in plain torch, differentiable to every order."""
    return torch.where(light <= _LINEAR, light * 12.92, 1.055 * light.clamp(min=_LINEAR) ** (1 / 2.4) - 0.055)
