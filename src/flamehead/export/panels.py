"""Four views in a row: what was seen, the coloured head over it, detected and fitted landmarks, and the shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.data import Camera, Track
from flamehead.export.landmark_files import seen_points
from flamehead.model import Flame
from flamehead.render import CLAY, Colors, marks, render

__all__ = ["panels"]

_DETECTED = (0.0, 1.0, 0.0)
_FITTED = (1.0, 0.0, 0.0)


def panels(
    image: Float[np.ndarray, "H W 3"],
    vertices: Float[Tensor, "V 3"],
    camera: Camera,
    flame: Flame,
    track: Track,
    row: int,
) -> Float[np.ndarray, "H W4 3"]:
    """The picture of one frame; landmarks are green where detected, red where fitted."""
    seen = np.asarray(image, dtype=np.float32)
    paint: Colors = CLAY if flame.colors is None else np.asarray(flame.colors, dtype=np.float32)
    over = render(vertices, flame.faces, camera, colors=paint, background=seen, cull=True).image
    shape = render(vertices, flame.faces, camera, background=seen, cull=True).image
    # The fitted ones are drawn later and smaller, so that both show where they agree.
    marked, found, dot = seen, seen_points(track, row), max(1.0, min(seen.shape[:2]) / 220)
    if found is not None:
        marked = marks(marked, found, _DETECTED, radius=1.5 * dot)
    if "ibug68" in flame.embeddings:
        points = flame.landmarks(vertices, "ibug68")
        names = ("rotation", "translation", "focal", "center")
        lens = replace(camera, **{name: getattr(camera, name).to(points) for name in names})
        with torch.no_grad():
            marked = marks(marked, lens.project(points).double().numpy(), _FITTED, radius=dot, outline=0.2)
    return np.concatenate([seen, over, marked, shape], axis=1)
