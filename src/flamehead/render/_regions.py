"""Where parts of a picture look on a texture, so that each can sum its own gradients there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from flamehead.raster._buffers import empty
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
    spots: Int[np.ndarray, "G L"]
    """Where the first texel of each copy would lie in `texels`; it may have to be counted from before its start."""
    ranges: Int[np.ndarray, "G 2"]
    """Where every region begins and ends in `texels`."""
    texels: Float[np.ndarray, "T4"]
    """Gradients, rows of four; not set to zero."""

    @staticmethod
    def of(extents: Float[np.ndarray, "parts 2"], sizes: tuple[tuple[int, int], ...]) -> Regions:
        """From the least and the greatest v that each part looked up."""
        # Imported here: numba costs a second.
        from flamehead.render._cpu.regions import plan

        starts, widths, heights = layout(sizes)
        whole, rows = int(starts[-1] + widths[-1] * heights[-1]), (len(extents), len(sizes))
        lows, highs, begins, spots = np.empty((4, *rows), dtype=np.int64)
        ranges = np.empty((len(extents), 2), dtype=np.int64)
        tables = lows, highs, begins, spots, ranges
        parts, groups, count = plan(extents, widths, heights, _MOST * whole, *tables)
        # In halves of a pyramid, so that memory fits the next picture too, and is used again.
        room = -(-2 * count // whole) * (whole // 2 + 1)
        texels = empty(4 * room, dtype=torch.float32).numpy()
        lows, highs, begins, spots, ranges = (table[:groups] for table in tables)
        return Regions(parts, lows, highs, begins, spots, ranges, texels)

    @staticmethod
    def whole(texels: Float[np.ndarray, "T4"], sizes: tuple[tuple[int, int], ...]) -> Regions:
        """A pyramid as one region."""
        starts, _, heights = (each[None] for each in layout(sizes))
        return Regions(1, np.zeros_like(heights), heights, starts, starts, np.array([[0, len(texels)]]), texels)
