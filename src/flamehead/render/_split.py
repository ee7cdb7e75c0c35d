"""A picture of four channels as colour and alpha, each in memory of its own, which later steps read faster."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead.raster._buffers import empty
from flamehead.raster._threads import ranges, run, threads_for

__all__ = ["split"]

_SECONDS = 1e-9
"""What one pixel costs on one core, roughly; it only decides how many threads a job is worth."""


def split(both: Float[Tensor, "*batch 4"]) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch"]]:
    """The first three channels, and the last; differentiable."""
    if both.dtype != torch.float32 or both.device.type != "cpu":
        return both[..., :3], both[..., 3]
    found = _Split.apply(both)
    assert isinstance(found, tuple)
    return found


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> tuple[Tensor, Tensor]:
        # Imported here: numba costs a second.
        from flamehead.render._cpu import split as kernels

        both, shape = both.detach().contiguous(), both.shape[:-1]
        ctx.set_materialize_grads(False)
        ctx.shape = shape
        image, alpha = empty(*shape, 3, dtype=torch.float32), empty(*shape, dtype=torch.float32)
        _over(kernels.split, alpha.numel(), both, image, alpha)
        return image, alpha

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor | None
    ) -> Tensor:
        from flamehead.render._cpu import split as kernels

        image, alpha = gradients
        both = empty(*ctx.shape, 4, dtype=torch.float32)
        if image is None:
            image = torch.zeros(*ctx.shape, 3)
        alpha = torch.empty(0) if alpha is None else alpha
        _over(kernels.join, both.numel() // 4, image.contiguous(), alpha.contiguous(), both)
        return both


def _over(kernel: Any, pixels: int, *values: Tensor) -> None:
    workers = threads_for(pixels * _SECONDS, None)
    run(ranges(kernel, pixels, workers, *(value.reshape(-1).numpy() for value in values)), workers)
