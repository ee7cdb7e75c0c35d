"""The kernel of `flamehead.render._regions`."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled

__all__ = ["plan"]


@compiled(nogil=True)
def plan(extents, widths, heights, most, lows, highs, begins, spots, ranges):
    """Rows of a pyramid for each part of a picture; see the fields of `Regions`, whose arrays are written.

    Args:
        extents: The least and the greatest v of every part.
        widths, heights: Of each copy.
        most: Texels in all regions together, at most, unless there is one region only.

    Returns:
        How many parts share a region, how many regions there are, and how many texels they have together.
    """
    parts = 1
    while True:
        groups = total = 0
        for start in range(0, extents.shape[0], parts):
            least, greatest = np.inf, -np.inf
            for n in range(start, min(start + parts, extents.shape[0])):
                least, greatest = min(least, np.float64(extents[n, 0])), max(greatest, np.float64(extents[n, 1]))
            ranges[groups, 0] = 4 * total
            for level in range(widths.shape[0]):
                low = high = 0
                if least <= greatest:
                    # A sample reads two rows; one more on both sides, because v is rounded.
                    height = np.float64(heights[level])
                    low = int(min(max(np.floor((1.0 - greatest) * height - 0.5) - 1.0, 0.0), height - 1.0))
                    high = int(min(max(np.floor((1.0 - least) * height - 0.5) + 3.0, 2.0), height))
                    high = max(high, low)
                lows[groups, level], highs[groups, level], begins[groups, level] = low, high, total
                spots[groups, level] = total - low * widths[level]
                total += (high - low) * widths[level]
            ranges[groups, 1] = 4 * total
            groups += 1
        if parts >= extents.shape[0] or total <= most:
            return parts, groups, total
        parts *= 2
