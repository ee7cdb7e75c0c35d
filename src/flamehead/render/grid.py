"""Pictures side by side on paper, with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from flamehead.errors import InputError
from flamehead.render._text import PAPER, text_width, write

__all__ = ["grid"]


def grid(
    images: Sequence[Float[np.ndarray, "h w 3"]],
    *,
    captions: Sequence[str] | None = None,
    columns: int | None = None,
    gap: int | None = None,
    color: tuple[float, float, float] = PAPER,
) -> Float[np.ndarray, "H W 3"]:
    """Arrange pictures in rows, each in the middle of a cell of the largest one's size.

    Args:
        images: sRGB in [0, 1], of any sizes; shown pixel by pixel.
        captions: A line below each picture, made smaller where it is wider than a cell; may be empty.
        columns: `None` makes the sheet about as wide as high.
        gap: Between cells, pixels; `None` is 1/24 of a cell's height.
        color: sRGB of the paper.

    Raises:
        InputError: No pictures, pictures that are not `H W 3`, or another number of captions.

    Example:
        >>> grid([np.zeros((20, 30, 3)), np.ones((20, 30, 3))], columns=2, gap=2).shape
        (24, 66, 3)
    """
    shapes = [np.shape(image) for image in images]
    if not images or any(len(shape) != 3 or shape[2] != 3 for shape in shapes):
        raise InputError(f"A grid needs pictures of shape (H, W, 3), got {shapes}.")
    if captions is not None and len(captions) != len(images):
        raise InputError(f"There are {len(captions)} captions for {len(images)} pictures; give one for each.")
    if columns is not None and columns < 1:
        raise InputError(f"columns is {columns}; give 1 or more, or None.")
    height, width = max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)
    across = columns or max(1, round(math.sqrt(len(images) * height / width)))
    across = min(across, len(images))
    down = -(-len(images) // across)
    space = max(2, round(height / 24)) if gap is None else gap
    line = max(14, round(height / 12)) if captions is not None else 0
    paper = np.empty((down * (height + line + space) + space, across * (width + space) + space, 3), dtype=np.float32)
    paper[:] = color
    corners = [
        (space + k // across * (height + line + space), space + k % across * (width + space))
        for k in range(len(images))
    ]
    for image, (first, side), (h, w, _) in zip(images, corners, shapes, strict=True):
        top, left = first + (height - h) // 2, side + (width - w) // 2
        paper[top : top + h, left : left + w] = image
    if captions is None:
        return paper
    size = 0.62 * line
    size /= max(1.0, *(text_width(caption, size) / width for caption in captions))
    words = [
        (left + width / 2, top + height + line / 2, caption)
        for (top, left), caption in zip(corners, captions, strict=True)
    ]
    return write(paper, words, size)
