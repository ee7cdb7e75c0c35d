"""The sRGB curves on tensors, with gradients (IEC 61966-2-1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from flamehead._srgb import decode_tensor, encode_tensor
from flamehead.render._bands import bands

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
        if _is_fast(color):
            from flamehead.render import _cpu_srgb

            out = _over(_cpu_srgb.decode, color)
        else:
            out = decode_tensor(color)
        ctx.save_for_backward(color, out)
        return out

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor):
        color, out = (value.detach() for value in ctx.saved_tensors)
        if _is_fast(color):
            from flamehead.render import _cpu_srgb

            return _over(_cpu_srgb.decode_backward, color, out, grad_outputs[0])
        slope = torch.where(color <= 0.04045, 1.0 / 12.92, 2.4 * out / (color.clamp(min=0.04) + 0.055))
        return grad_outputs[0] * slope


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, color: Tensor) -> Tensor:
        if _is_fast(color):
            from flamehead.render import _cpu_srgb

            out = _over(_cpu_srgb.encode, color)
        else:
            out = encode_tensor(color)
        ctx.save_for_backward(color, out)
        return out

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor):
        color, out = (value.detach() for value in ctx.saved_tensors)
        if _is_fast(color):
            from flamehead.render import _cpu_srgb

            return _over(_cpu_srgb.encode_backward, color, out, grad_outputs[0])
        slope = torch.where(color <= 0.0031308, 12.92, (out + 0.055) / (2.4 * color.clamp(min=0.003)))
        return grad_outputs[0] * slope


def _is_fast(color: Tensor) -> bool:
    return color.device.type == "cpu" and color.dtype == torch.float32


def _over(kernel: Callable[..., None], *values: Tensor) -> Tensor:
    """Call a kernel on flat lists, the last of which is the result."""
    flat = [value.detach().contiguous() for value in values]
    out = torch.empty_like(flat[0])
    bands(kernel, out.numel(), tuple(value.reshape(-1).numpy() for value in (*flat, out)))
    return out
