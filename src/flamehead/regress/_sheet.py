"""Pictures beside one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

__all__ = ["side_by_side"]


def side_by_side(panels: Sequence[Float[np.ndarray, "_ _ 3"]], height: int) -> Float[np.ndarray, "h w 3"]:
    """Pictures in one row, each scaled to the same height."""
    from PIL import Image

    scaled = []
    for panel in panels:
        width = max(round(panel.shape[1] * height / panel.shape[0]), 1)
        picture = Image.fromarray(np.rint(np.clip(panel, 0, 1) * 255).astype(np.uint8))
        scaled.append(np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS), dtype=np.float32) / 255)
    return np.concatenate(scaled, axis=1)
