"""The sRGB curves on tensors, with gradients (IEC 61966-2-1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["decode_srgb", "encode_srgb"]


def decode_srgb(color: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """sRGB to linear light; not clipped, so that every value has a gradient.

    Example:
        >>> decode_srgb(torch.tensor([0.0, 0.5, 1.0]))
        tensor([0.0000, 0.2140, 1.0000])
    """
    out = _Decode.apply(color)
    assert isinstance(out, Tensor)
    return out


def encode_srgb(color: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Linear light to sRGB, the inverse of `decode_srgb`; not clipped.

    Example:
        >>> encode_srgb(torch.tensor([0.0, 0.2140, 1.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    out = _Encode.apply(color)
    assert isinstance(out, Tensor)
    return out


class _Decode(torch.autograd.Function):
    """The derivative of a power needs no second power, which is what such an image costs."""

    @staticmethod
    def forward(ctx, color: Tensor) -> Tensor:
        out = torch.where(color <= 0.04045, color / 12.92, ((color.clamp(min=0.04) + 0.055) / 1.055) ** 2.4)
        ctx.save_for_backward(color, out)
        return out

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor):
        color, out = ctx.saved_tensors
        slope = torch.where(color <= 0.04045, 1.0 / 12.92, 2.4 * out / (color.clamp(min=0.04) + 0.055))
        return grad_outputs[0] * slope


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, color: Tensor) -> Tensor:
        curve = color.clamp(min=0.003).pow(1.0 / 2.4).mul_(1.055).sub_(0.055)
        out = torch.where(color <= 0.0031308, color * 12.92, curve)
        ctx.save_for_backward(color, out)
        return out

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor):
        color, out = ctx.saved_tensors
        slope = torch.where(color <= 0.0031308, 12.92, (out + 0.055) / (2.4 * color.clamp(min=0.003)))
        return grad_outputs[0] * slope
