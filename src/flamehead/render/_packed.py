"""A texture's pyramid in rows of four numbers, which the compiled step reads as vectors; for float32 on the CPU."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead.raster._buffers import empty
from flamehead.raster._threads import run, threads_for
from flamehead.render.sampling import Pyramid, double, halve, pyramid_sizes

__all__ = ["pack_texels"]

_SECONDS = 3e-9
"""What one texel costs on one core, roughly; it only decides how many threads a job is worth."""

Sizes = tuple[tuple[int, int], ...]


def pack_texels(image: Float[Tensor, "h w 3"], *, decode: bool) -> tuple[Float[Tensor, "T4"], Sizes]:
    """`build_pyramid(decode_srgb(image))` in rows of four, flat, and the sizes of its copies; differentiable."""
    sizes = pyramid_sizes(image.shape[1], image.shape[0])
    texels = _Pack.apply(image, sizes, decode)
    assert isinstance(texels, Tensor)
    return texels, sizes


class _Pack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, sizes: Sizes, decode: bool) -> Tensor:
        # Imported here: numba costs a second.
        from flamehead.render._cpu import texels as kernels

        image = image.detach().contiguous()
        ctx.save_for_backward(image)
        ctx.sizes, ctx.decode = sizes, decode
        texels = empty(sum(width * height for width, height in sizes), 4, dtype=torch.float32)
        flat = image.reshape(-1).numpy(), decode, texels.reshape(-1).numpy()
        _share(kernels.pack, image.shape[0] * image.shape[1], 1, *flat, room=kernels.RUN)
        pyramid = Pyramid(texels, sizes)
        for n in range(len(sizes) - 1):
            large, small = pyramid.level(n), pyramid.level(n + 1)
            if _even(sizes[n]):
                width, height = sizes[n + 1]
                rest = large.reshape(-1).numpy(), width, small.reshape(-1).numpy()
                _share(kernels.halve, height, width, *rest)
            else:
                halve(large.numpy(), small.numpy())
        return texels.reshape(-1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        from flamehead.render._cpu import texels as kernels

        (image,), sizes = ctx.saved_tensors, ctx.sizes
        # Summed up in place: the texels have one reader, who made this gradient and does not keep it.
        pyramid = Pyramid(gradients[0].contiguous().reshape(-1, 4), sizes)
        for n in range(len(sizes) - 2, -1, -1):
            large, small = pyramid.level(n), pyramid.level(n + 1)
            if _even(sizes[n]):
                width, height = sizes[n + 1]
                rest = small.reshape(-1).numpy(), width, large.reshape(-1).numpy()
                _share(kernels.double, height, width, *rest)
            else:
                total = torch.empty_like(large)
                double(small.numpy(), total.numpy(), large.numpy())
                large.copy_(total)
        out = empty(*image.shape, dtype=torch.float32)
        flat = image.reshape(-1).numpy(), ctx.decode, pyramid.texels.reshape(-1).numpy(), out.reshape(-1).numpy()
        _share(kernels.unpack, image.shape[0] * image.shape[1], 1, *flat, room=kernels.RUN)
        return out, None, None


def _even(size: tuple[int, int]) -> bool:
    return size[0] % 2 == 0 and size[1] % 2 == 0


def _share(kernel: Any, units: int, texels: int, *arguments: Any, room: int = 0) -> None:
    """Call `kernel(first, last, *arguments)` over units of so many texels; each call gets some room of its own."""
    workers = threads_for(units * texels * _SECONDS, None)
    ends = pairwise(units * part // workers for part in range(workers + 1))
    own = [(np.zeros(room, dtype=np.float32),) if room else () for _ in range(workers)]
    run([partial(kernel, *pair, *arguments, *rest) for pair, rest in zip(ends, own, strict=True)], workers)
