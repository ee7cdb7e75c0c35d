"""Compile what a tracker needs before it is needed."""

from __future__ import annotations

import numpy as np
import torch

from flamehead.data import Camera, FlameParams
from flamehead.fit.landmarks import LandmarkFitSettings
from flamehead.fit.photometric import PhotometricSettings
from flamehead.fit.pixels import texture_space
from flamehead.track.calibrate import calibrate
from flamehead.track.follow import Follower
from flamehead.track.settings import TrackSettings

__all__ = ["warmup"]

_SIZE = 64


def warmup() -> None:
    """Follow one small grey picture of the built-in head, and forget the result."""
    from flamehead.model import load_flame

    flame = load_flame()
    params = FlameParams.zeros(flame.n_shape, flame.n_expression)
    turn, middle = torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.full((2,), _SIZE / 2)
    camera = Camera(turn, torch.tensor([0.0, 0.0, 0.6]), torch.full((2,), 2.0 * _SIZE), middle, (_SIZE, _SIZE))
    with torch.no_grad():
        points = camera.project(flame.landmarks(flame(params).vertices, "mediapipe478")).double().numpy()
    few = LandmarkFitSettings(n_shape=2, n_expression=2)
    settings = TrackSettings(
        sizes=(48,), iterations=(1,), calibration_sizes=(48,), calibration_iterations=(1,),
        photometric=PhotometricSettings(landmarks=few),
    )  # fmt: skip
    uv, faces = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.tile([0, 1, 2], (len(flame.faces), 1))
    colors = texture_space(np.full((4, 4, 3), 0.5), np.full((4, 4, 3, 1), 0.1), uv, faces)
    picture = np.full((_SIZE, _SIZE, 3), 180, np.uint8)
    found = calibrate(flame, [picture], points[None], camera.size, settings=settings, texture=colors)
    follower = Follower(flame, found, settings, colors)
    row = follower.step(picture, points)
    follower.step(picture, points, [row])
