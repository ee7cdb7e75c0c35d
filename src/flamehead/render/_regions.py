"""Where parts of a picture look on a texture, so that each can sum its own gradients there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from flamehead.raster._buffers import empty
from flamehead.raster._jobs import Job
from flamehead.render.sampling import layout

__all__ = ["Regions"]

_MOST = 3
"""Texels in all regions together, at most, in pyramids; parts of a picture share a region where they have more."""


@dataclass(frozen=True)
class Regions:
    """Rows of a pyramid for each of several parts of a picture."""

    parts: int
    """How many of the parts share each region."""
    lows: Int[np.ndarray, "G L"]
    highs: Int[np.ndarray, "G L"]
    """First row, and the one after the last, in each copy."""
    begins: Int[np.ndarray, "G L"]
    """First texel of each copy in `texels`."""
    layout: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Of the pyramid: start, width and height of each copy."""
    texels: Float[np.ndarray, "T4"]
    """Gradients, rows of four; not set to zero."""

    @staticmethod
    def of(extents: Float[np.ndarray, "parts 2"], sizes: tuple[tuple[int, int], ...]) -> Regions:
        """From the least and the greatest v that each part looked up."""
        starts, widths, heights = layout(sizes)
        parts, whole = 1, int((widths * heights).sum())
        while True:
            firsts = np.arange(0, len(extents), parts)
            least = np.minimum.reduceat(extents[:, 0], firsts)[:, None]
            greatest = np.maximum.reduceat(extents[:, 1], firsts)[:, None]
            # A sample reads two rows; one more on both sides, because v is rounded.
            lows = np.clip(np.floor((1.0 - greatest) * heights - 0.5) - 1, 0, heights - 1)
            highs = np.minimum(np.maximum(np.floor((1.0 - least) * heights - 0.5) + 3, 2), heights)
            rows = np.where(least <= greatest, np.maximum(highs - lows, 0), 0).astype(np.int64)
            counts = (rows * widths).reshape(-1)
            if parts >= len(extents) or counts.sum() <= _MOST * whole:
                break
            parts *= 2
        lows = lows.astype(np.int64)
        begins = (np.cumsum(counts) - counts).reshape(rows.shape)
        # In halves of a pyramid, so that memory fits the next picture too, and is used again.
        room = -(-2 * int(counts.sum()) // whole) * (whole // 2 + 1)
        texels = empty(4 * room, dtype=torch.float32).numpy()
        return Regions(parts, lows, lows + rows, begins, (starts, widths, heights), texels)

    @staticmethod
    def whole(texels: Float[np.ndarray, "T4"], sizes: tuple[tuple[int, int], ...]) -> Regions:
        """A pyramid as one region."""
        starts, widths, heights = layout(sizes)
        return Regions(1, np.zeros_like(heights)[None], heights[None], starts[None], (starts, widths, heights), texels)

    @property
    def ranges(self) -> Int[np.ndarray, "G 2"]:
        """Where every region begins and ends in `texels`."""
        begins = 4 * self.begins[:, 0]
        return np.stack([begins, begins + 4 * ((self.highs - self.lows) * self.layout[1]).sum(axis=1)], axis=1)

    @property
    def spots(self) -> Int[np.ndarray, "G L"]:
        """Where the first texel of each copy would lie in `texels`; it may have to be counted from before its start."""
        return self.begins - self.lows * self.layout[1]

    def jobs(self, out: np.ndarray, *, finest: int, more: bool, workers: int) -> list[Job]:
        """What sums all regions in the order of the parts, into a pyramid's texels or in addition to them.

        Args:
            out: Texels in rows of four, flat.
            finest: The first copy that is wanted.
            more: Whether `out` holds something already.
            workers: How many jobs there shall be.
        """
        # Imported here: numba costs a second.
        from flamehead.render._cpu import texels as kernels

        starts, widths, heights = self.layout
        fixed: tuple[Any, ...] = finest, self.lows, self.highs, self.begins, widths, heights, starts, self.texels, more
        ends = [part / workers for part in range(workers + 1)]
        return [partial(kernels.add_regions, *pair, *fixed, out) for pair in pairwise(ends)]
