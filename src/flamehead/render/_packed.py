"""A texture's pyramid in rows of four numbers, which the compiled step reads as vectors, and its way back.

For float32 on the CPU. `build_pyramid(decode_srgb(image))` is the same in plain torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.raster._buffers import empty, empty_like
from flamehead.raster._jobs import Countdown, Job
from flamehead.raster._threads import ranges, run, threads_for
from flamehead.render._regions import Regions
from flamehead.render.sampling import Pyramid, double, halve, pyramid_sizes

__all__ = ["Packing", "double_up", "is_even", "unpack_texels"]

_SECONDS = 3e-9
"""What one texel costs on one core, roughly; it only decides how many threads a job is worth."""

Sizes = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Packing:
    """What there is to do for a pyramid, for callers that have other work to share among the same threads."""

    texels: Float[Tensor, "T4"]
    """The copies in rows of four, flat and without gradients, when the jobs are done."""
    sizes: Sizes
    jobs: list[Job]
    workers: int
    """Threads that they are worth."""

    @staticmethod
    def of(image: Float[Tensor, "h w 3"], *, decode: bool) -> Packing:
        # Imported here: numba costs a second.
        from flamehead.render._cpu import texels as kernels

        image, sizes = image.detach().contiguous(), pyramid_sizes(image.shape[1], image.shape[0])
        texels = empty(sum(width * height for width, height in sizes), 4, dtype=torch.float32)
        flat, pyramid = (image.reshape(-1).numpy(), decode, texels.reshape(-1).numpy()), Pyramid(texels, sizes)
        workers = threads_for(image.shape[0] * image.shape[1] * _SECONDS, None)
        # The first halving is shared as well; all others together are less than that.
        shared = is_even(sizes[0]) and bool(sizes[1:])

        def halve_on() -> None:
            for n in range(1 if shared else 0, len(sizes) - 1):
                large, small = pyramid.level(n), pyramid.level(n + 1)
                if is_even(sizes[n]):
                    width, height = sizes[n + 1]
                    kernels.halve(0, height, large.reshape(-1).numpy(), width, small.reshape(-1).numpy())
                else:
                    halve(large.numpy(), small.numpy())

        after: list[Job] = [halve_on]
        if shared:
            (width, height), large, small = sizes[1], pyramid.level(0), pyramid.level(1)
            views = large.reshape(-1).numpy(), width, small.reshape(-1).numpy()
            last = Countdown(max(1, min(workers, height)), after)
            after = [last.after(job) for job in ranges(kernels.halve, height, workers, *views)]
        jobs = _shares(kernels.pack, image.shape[0] * image.shape[1], workers, *flat, rooms=(kernels.RUN,))
        first = Countdown(len(jobs), after)
        return Packing(texels.reshape(-1), sizes, [first.after(job) for job in jobs], workers)


def double_up(gradient: Float[Tensor, "T4"], sizes: Sizes) -> None:
    """Hand gradients of texels on to the copy twice as fine, from the coarsest to the one before the full image.

    To the full image too where its sides are not even, as `unpack_texels` expects; the rows of four are overwritten.
    """
    # Imported here: numba costs a second.
    from flamehead.render._cpu import texels as kernels

    pyramid = Pyramid(gradient.reshape(-1, 4), sizes)
    for n in range(len(sizes) - 2, -1, -1):
        large, small = pyramid.level(n), pyramid.level(n + 1)
        if not is_even(sizes[n]):
            total = torch.empty_like(large)
            double(small.numpy(), total.numpy(), large.numpy())
            large.copy_(total)
        elif n > 0:
            width, height = sizes[n + 1]
            kernels.double(0, height, small.reshape(-1).numpy(), width, large.reshape(-1).numpy())


def unpack_texels(
    image: Float[Tensor, "h w 3"], gradient: Float[Tensor, "T4"], finest: Regions | None, *, decode: bool
) -> Float[Tensor, "h w 3"]:
    """The gradient of the image from that of the texels, after `double_up`.

    Args:
        image: What was packed.
        gradient: Of the texels, rows of four, flat.
        finest: Where the gradient of the full image is, which then has even sides, instead of in `gradient`.
        decode: As it was packed.
    """
    from flamehead.render._cpu import texels as kernels

    image, sizes = image.detach().contiguous(), pyramid_sizes(image.shape[1], image.shape[0])
    pyramid, coarse = Pyramid(gradient.reshape(-1, 4), sizes), np.empty(0, dtype=np.float32)
    if is_even(sizes[0]) and sizes[1:]:
        coarse = pyramid.level(1).reshape(-1).numpy()
    found, out = finest or Regions.whole(gradient.numpy(), sizes), empty_like(image)
    rows = (np.ascontiguousarray(each[:, 0]) for each in (found.lows, found.highs, found.begins))
    flat = image.reshape(-1).numpy(), decode, *rows, sizes[0][0], found.texels, coarse, out.reshape(-1).numpy()
    workers = threads_for(image.shape[0] * image.shape[1] * _SECONDS, None)
    run(_shares(kernels.unpack, image.shape[0], workers, *flat, rooms=(kernels.RUN, 4 * kernels.RUN // 3)), workers)
    return out


def is_even(size: tuple[int, int]) -> bool:
    """Whether halving takes means of four."""
    return size[0] % 2 == 0 and size[1] % 2 == 0


def _shares(kernel: Any, units: int, workers: int, *arguments: Any, rooms: tuple[int, ...]) -> list[Job]:
    """Jobs `kernel(first, last, *arguments)` over units; each gets some rooms of its own."""
    ends = pairwise(units * part // workers for part in range(workers + 1))
    return [partial(kernel, *pair, *arguments, *(np.zeros(room, dtype=np.float32) for room in rooms)) for pair in ends]
