"""The sRGB curves on tensors, with gradients (IEC 61966-2-1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead._srgb import decode_tensor, encode_tensor
from flamehead.render._bands import bands

__all__ = ["decode_srgb", "encode_srgb"]


def decode_srgb(color: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """sRGB to linear light; not clipped, so that every value has a gradient.

    Float32 on the CPU has first derivatives only.

    Example:
        >>> decode_srgb(torch.tensor([0.0, 0.5, 1.0]))
        tensor([0.0000, 0.2140, 1.0000])
    """
    if not _is_fast(color):
        return decode_tensor(color)
    out = _Decode.apply(color)
    assert isinstance(out, Tensor)
    return out


def encode_srgb(color: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Linear light to sRGB, the inverse of `decode_srgb`; not clipped, with the same derivatives.

    Example:
        >>> encode_srgb(torch.tensor([0.0, 0.2140, 1.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    if not _is_fast(color):
        return encode_tensor(color)
    out = _Encode.apply(color)
    assert isinstance(out, Tensor)
    return out


class _Decode(torch.autograd.Function):
    """The derivative of a power needs no second power, which is what such an image costs."""

    @staticmethod
    def forward(ctx, color: Tensor) -> Tensor:
        from flamehead.render._cpu import srgb as kernels

        out = _over(kernels.decode, color)
        ctx.save_for_backward(color, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        from flamehead.render._cpu import srgb as kernels

        return _over(kernels.decode_backward, *ctx.saved_tensors, grad_outputs[0])


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, color: Tensor) -> Tensor:
        from flamehead.render._cpu import srgb as kernels

        out = _over(kernels.encode, color)
        ctx.save_for_backward(color, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        from flamehead.render._cpu import srgb as kernels

        return _over(kernels.encode_backward, *ctx.saved_tensors, grad_outputs[0])


def _is_fast(color: Tensor) -> bool:
    return color.device.type == "cpu" and color.dtype == torch.float32


def _over(kernel: Callable[..., None], *values: Tensor) -> Tensor:
    """Call a kernel on flat lists, the last of which is the result."""
    flat = [value.detach().contiguous() for value in values]
    out = torch.empty_like(flat[0])
    bands(kernel, out.numel(), tuple(value.reshape(-1).numpy() for value in (*flat, out)))
    return out
