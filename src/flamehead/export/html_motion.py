"""A track for a one-file page: each column of numbers as 16-bit steps between its lowest and its highest value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from flamehead.data import Track
from flamehead.export.html_head import HeadChoice, packed
from flamehead.export.rigid_motion import move_pose

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["motion_data"]

_STEPS = 65535


def motion_data(flame: Flame, track: Track, choice: HeadChoice) -> dict[str, Any]:
    """Columns of coefficients, pose and translation over time; the head is seen from where the camera stood."""
    coefficients = choice.expressions_of(flame, track)
    pose, translation = _seen_pose(flame, track)
    values = np.concatenate([coefficients, pose, translation], axis=1)
    lowest, span = values.min(0), np.ptp(values, axis=0)
    # In single precision first, as the page has it.
    lowest, steps = lowest.astype(np.float32), (span / _STEPS).astype(np.float32)
    whole = np.round((values - lowest) / np.where(steps > 0.0, steps, 1.0)).clip(0, _STEPS)
    count, first = coefficients.shape[1], len(choice.shape_rows)
    return {
        "times": packed(np.asarray(track.times) - track.times[0], np.float32),
        "lowest": packed(lowest, np.float32),
        "steps": packed(steps, np.float32),
        "values": packed(whole, np.uint16),
        "rows": list(range(first, first + count)),
        "columns": {
            "coefficients": [0, count],
            "pose": [count, count + 15],
            "translation": [count + 15, count + 18],
        },
    }


def _seen_pose(flame: Flame, track: Track) -> tuple[Float[np.ndarray, "T 15"], Float[np.ndarray, "T 3"]]:
    """Axis-angle vectors and translations with the camera's own motion folded into the head's.

    The mean of the translations is taken out, so that the head stands in the middle.
    """
    count = len(track)
    params, _ = move_pose(track.params.to(dtype=torch.float64, device="cpu"), track.camera, flame, "head")
    names = ("root", "neck", "jaw", "left_eye", "right_eye")
    pose = torch.cat([getattr(params, name).expand(count, 3) for name in names], -1)
    place = params.translation.expand(count, 3)
    return pose.numpy(), (place - place.mean(0)).numpy()
