"""A texture's pyramid in rows of four numbers, which the compiled step reads as vectors, and its way back.

For float32 on the CPU. `build_pyramid(decode_srgb(image))` is the same in plain torch.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.raster._buffers import empty, empty_like
from flamehead.raster._threads import run, threads_for
from flamehead.render._regions import Regions
from flamehead.render.sampling import Pyramid, double, halve, pyramid_sizes

__all__ = ["is_even", "pack_texels", "unpack_texels"]

_SECONDS = 3e-9
"""What one texel costs on one core, roughly; it only decides how many threads a job is worth."""

Sizes = tuple[tuple[int, int], ...]


def pack_texels(image: Float[Tensor, "h w 3"], *, decode: bool) -> tuple[Float[Tensor, "T4"], Sizes]:
    """The copies in rows of four, flat, and their sizes; without gradients."""
    # Imported here: numba costs a second.
    from flamehead.render._cpu import texels as kernels

    image, sizes = image.detach().contiguous(), pyramid_sizes(image.shape[1], image.shape[0])
    texels = empty(sum(width * height for width, height in sizes), 4, dtype=torch.float32)
    flat = image.reshape(-1).numpy(), decode, texels.reshape(-1).numpy()
    _share(kernels.pack, image.shape[0] * image.shape[1], 1, *flat, rooms=(kernels.RUN,))
    pyramid = Pyramid(texels, sizes)
    for n in range(len(sizes) - 1):
        large, small = pyramid.level(n), pyramid.level(n + 1)
        if is_even(sizes[n]):
            width, height = sizes[n + 1]
            _share(kernels.halve, height, width, large.reshape(-1).numpy(), width, small.reshape(-1).numpy())
        else:
            halve(large.numpy(), small.numpy())
    return texels.reshape(-1), sizes


def unpack_texels(
    image: Float[Tensor, "h w 3"], gradient: Float[Tensor, "T4"], finest: Regions | None, *, decode: bool
) -> Float[Tensor, "h w 3"]:
    """The gradient of the image from that of the texels, which is overwritten.

    Args:
        image: What was packed.
        gradient: Of the texels, rows of four, flat.
        finest: Where the gradient of the full image is, which then has even sides, instead of in `gradient`.
        decode: As it was packed.
    """
    from flamehead.render._cpu import texels as kernels

    image, sizes = image.detach().contiguous(), pyramid_sizes(image.shape[1], image.shape[0])
    pyramid, coarse = Pyramid(gradient.reshape(-1, 4), sizes), np.empty(0, dtype=np.float32)
    for n in range(len(sizes) - 2, -1, -1):
        large, small = pyramid.level(n), pyramid.level(n + 1)
        if not is_even(sizes[n]):
            total = torch.empty_like(large)
            double(small.numpy(), total.numpy(), large.numpy())
            large.copy_(total)
        elif n == 0:
            coarse = small.reshape(-1).numpy()
        else:
            width, height = sizes[n + 1]
            _share(kernels.double, height, width, small.reshape(-1).numpy(), width, large.reshape(-1).numpy())
    found, out = finest or Regions.whole(gradient.numpy(), sizes), empty_like(image)
    rows = (np.ascontiguousarray(each[:, 0]) for each in (found.lows, found.highs, found.begins))
    flat = image.reshape(-1).numpy(), decode, *rows, sizes[0][0], found.texels, coarse, out.reshape(-1).numpy()
    _share(kernels.unpack, image.shape[0], image.shape[1], *flat, rooms=(kernels.RUN, 4 * kernels.RUN // 3))
    return out


def is_even(size: tuple[int, int]) -> bool:
    """Whether halving takes means of four."""
    return size[0] % 2 == 0 and size[1] % 2 == 0


def _share(kernel: Any, units: int, texels: int, *arguments: Any, rooms: tuple[int, ...] = ()) -> None:
    """Call `kernel(first, last, *arguments)` over units of so many texels; each call gets some rooms of its own."""
    workers = threads_for(units * texels * _SECONDS, None)
    ends = pairwise(units * part // workers for part in range(workers + 1))
    jobs = [partial(kernel, *pair, *arguments, *(np.zeros(room, dtype=np.float32) for room in rooms)) for pair in ends]
    run(jobs, workers)
