"""How far landmarks are trusted before they are seen: features all around, the outline across but hardly along."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from flamehead.fit._correspondence import Correspondence, Kind

if TYPE_CHECKING:
    from flamehead.fit.landmarks import LandmarkFitSettings

__all__ = ["LandmarkWhitening", "landmark_whitening"]


@dataclass(frozen=True)
class LandmarkWhitening:
    """How far landmarks are trusted before they are seen."""

    still: Float[np.ndarray, "K 2 2"]
    """1 / standard deviation along x and y, in units of the eye distance."""
    outline: Int[np.ndarray, "C"]
    """Rows of the points that slide along the outline of the face."""
    neighbours: Int[np.ndarray, "C 2"]
    """The seen points before and after each of those."""
    sharpness: Float[np.ndarray, "2"]
    """1 / standard deviation of those, across the outline and along it."""

    def of(self, points: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "K 2 2"]:
        """1 / standard deviation of each point of what was seen; on the outline first across, then along."""
        whitening = self.still.copy()
        along = points[self.neighbours[:, 1]] - points[self.neighbours[:, 0]]
        length = np.sqrt((along**2).sum(axis=1))
        slides = np.flatnonzero(length > 0.0)
        along = along[slides] / length[slides, None]
        across = np.stack([-along[:, 1], along[:, 0]], axis=1)
        whitening[self.outline[slides]] = np.stack([across, along], axis=1) * self.sharpness[:, None]
        return whitening


def landmark_whitening(pairs: Correspondence, settings: LandmarkFitSettings) -> LandmarkWhitening:
    """How far the landmarks of a correspondence are trusted."""
    sigmas: dict[Kind, float] = {
        "inner": settings.landmark_sigma,
        "iris": settings.iris_sigma,
        "contour": settings.contour_slide_sigma,
        "other": settings.other_sigma or math.inf,
    }
    still = np.eye(2) / np.array([sigmas[kind] for kind in pairs.kinds])[:, None, None]
    outline = np.flatnonzero(pairs.is_kind("contour"))
    sharpness = 1.0 / np.array([settings.contour_sigma, settings.contour_slide_sigma])
    return LandmarkWhitening(still, outline, pairs.neighbours[outline], sharpness)
