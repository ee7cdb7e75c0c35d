"""A texture's pyramid in rows of four numbers, which the compiled step reads as vectors, and its way back.

For float32 on the CPU. `build_pyramid(decode_srgb(image))` is the same in plain torch.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._buffers import empty
from flamehead.render._regions import Regions
from flamehead.render.sampling import Pyramid, double, halve, layout, pyramid_sizes

__all__ = ["Packing", "Unpacking", "double_up", "halve_on"]

Sizes = tuple[tuple[int, int], ...]


@cache
def _sizes_of(width: int, height: int) -> Sizes:
    """(width, height) of a texture and its copies."""
    return pyramid_sizes(width, height)


@cache
def _halvings(sizes: Sizes) -> int:
    """How many copies are means of four, from the first on, because both sides of the one before are even."""
    return next((n for n, size in enumerate(sizes) if size[0] % 2 or size[1] % 2), len(sizes) - 1)


class Packing(NamedTuple):
    """Arguments of kernels that pack a texture and halve it while that is easy; then comes `halve_on`."""

    image: Float[np.ndarray, "h w 3"]
    """Flat."""
    decode: bool
    texels: Float[np.ndarray, "T 4"]
    """All copies in rows of four, flat: filled."""
    starts: Int[np.ndarray, "L"]
    widths: Int[np.ndarray, "L"]
    heights: Int[np.ndarray, "L"]
    halvings: int

    @staticmethod
    def of(image: Float[Tensor, "h w 3"], *, decode: bool) -> Packing:
        """Before anything is packed."""
        sizes = _sizes_of(image.shape[1], image.shape[0])
        starts, widths, heights = layout(sizes)
        texels = empty(4 * int(starts[-1] + widths[-1] * heights[-1]), dtype=torch.float32).numpy()
        flat = image.detach().contiguous().numpy().reshape(-1)
        return Packing(flat, decode, texels, starts, widths, heights, _halvings(sizes))

    @property
    def sizes(self) -> Sizes:
        """(width, height) of all copies."""
        return _sizes_of(int(self.widths[0]), int(self.heights[0]))


def halve_on(texels: np.ndarray, sizes: Sizes) -> None:
    """The copies that are no means of four."""
    pyramid = Pyramid(torch.from_numpy(texels).reshape(-1, 4), sizes)
    for n in range(_halvings(sizes), len(sizes) - 1):
        halve(pyramid.level(n).numpy(), pyramid.level(n + 1).numpy())


def double_up(texels: np.ndarray, sizes: Sizes) -> None:
    """Hand gradients of texels on to the copy twice as fine, from the coarsest on, as `Unpacking` expects.

    Kernels do so where all copies are means of four. The rows of four are overwritten.
    """
    pyramid = Pyramid(torch.from_numpy(texels).reshape(-1, 4), sizes)
    for n in range(len(sizes) - 2, -1, -1):
        large, small = pyramid.level(n), pyramid.level(n + 1)
        total = torch.empty_like(large)
        # Kernels add the second copy to the full image where that is a mean of four.
        if n or not _halvings(sizes):
            double(small.numpy(), total.numpy(), large.numpy())
            large.copy_(total)


class Unpacking(NamedTuple):
    """Arguments of kernels that make the gradient of an image from that of its texels, after `double_up`."""

    image: Float[np.ndarray, "h w 3"]
    decode: bool
    lows: Int[np.ndarray, "G"]
    highs: Int[np.ndarray, "G"]
    begins: Int[np.ndarray, "G"]
    width: int
    height: int
    regions: Float[np.ndarray, "T 4"]
    coarse: Float[np.ndarray, "t 4"]
    out: Float[np.ndarray, "h w 3"]
    """Filled; flat, as all others."""

    @staticmethod
    def of(packing: Packing, gradient: Float[np.ndarray, "T4"], finest: Regions | None) -> Unpacking:
        """What was packed; the gradient of the texels; and where that of the full image is, if not there too.

        An empty gradient is one that nobody wants.
        """
        image, decode, _, starts, widths, heights, count = packing
        coarse = gradient[:0]
        if count and len(gradient):
            begin = 4 * int(starts[1])
            coarse = gradient[begin : begin + 4 * int(widths[1] * heights[1])]
        found = finest or Regions.whole(gradient, packing.sizes)
        lows, highs, begins = (np.ascontiguousarray(each[:, 0]) for each in (found.lows, found.highs, found.begins))
        out = empty(len(image) if len(gradient) else 0, dtype=torch.float32).numpy()
        return Unpacking(image, decode, lows, highs, begins, int(widths[0]), int(heights[0]), found.texels, coarse, out)
