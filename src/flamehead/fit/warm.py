"""Every kernel of the photometric fit, compiled once and kept on disk."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from flamehead.data import Camera, FlameParams, Observation
from flamehead.fit.landmarks import LandmarkFitSettings, fit_landmarks
from flamehead.fit.photometric import PhotometricSettings, fit_photometric
from flamehead.fit.pixels import texture_space

__all__ = ["warmup"]

_SIZE = 64


def warmup() -> None:
    """Fit one small grey picture of the built-in head with two colours, and forget the result."""
    from flamehead.model import load_flame

    flame = load_flame()
    params = FlameParams.zeros(flame.n_shape, flame.n_expression)
    params = replace(params, translation=torch.tensor([0.0, 0.0, -0.6]))
    turn, middle = torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.full((2,), _SIZE / 2)
    camera = Camera(turn, torch.zeros(3), torch.full((2,), 2.0 * _SIZE), middle, (_SIZE, _SIZE))
    with torch.no_grad():
        points = camera.project(flame.landmarks(flame(params).vertices, "mediapipe105")).numpy()
    seen = Observation(points, "mediapipe105", camera.size)
    few = LandmarkFitSettings(n_shape=2, n_expression=2, max_iterations=1)
    settings = PhotometricSettings(sizes=(48,), iterations=(1,), landmarks=few)
    uv = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    faces = np.tile([0, 1, 2], (len(flame.faces), 1))
    colors = texture_space(np.full((4, 4, 3), 0.5), np.full((4, 4, 3, 1), 0.1), uv, faces)
    start = fit_landmarks(flame, seen, focal=float(camera.focal[0]), settings=few)
    photo = np.full((_SIZE, _SIZE, 3), math.sqrt(0.5), np.float32)
    fit_photometric(flame, photo, seen, start, colors, settings=settings)
