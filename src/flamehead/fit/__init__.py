"""Recipes that fit a head to what was seen, and the residuals they are made of."""

from flamehead.fit.appearance import Appearance, load_appearance
from flamehead.fit.custom import CustomFit, Guess, fit_custom
from flamehead.fit.landmark_model import (
    Columns,
    HeadState,
    LandmarkModel,
    bake,
    build_landmark_model,
    landmark_points,
    landmark_positions,
)
from flamehead.fit.landmarks import LandmarkFitSettings, fit_landmarks
from flamehead.fit.metrics import landmark_error_percent
from flamehead.fit.painted import PaintedHead, PixelError, paint_head
from flamehead.fit.photometric import PhotometricFit, PhotometricSettings, fit_photometric
from flamehead.fit.pixels import TextureSpace, texture_space
from flamehead.fit.residuals import (
    CAMERA_FROM_MODEL,
    ImageTargets,
    gaussian_prior,
    project,
    project_residuals,
    soft_limits,
)
from flamehead.fit.unwrap import PhotoTexture, unwrap_photo

__all__ = [
    "CAMERA_FROM_MODEL",
    "Appearance",
    "Columns",
    "CustomFit",
    "Guess",
    "HeadState",
    "ImageTargets",
    "LandmarkFitSettings",
    "LandmarkModel",
    "PaintedHead",
    "PhotoTexture",
    "PhotometricFit",
    "PhotometricSettings",
    "PixelError",
    "TextureSpace",
    "bake",
    "build_landmark_model",
    "fit_custom",
    "fit_landmarks",
    "fit_photometric",
    "gaussian_prior",
    "landmark_error_percent",
    "landmark_points",
    "landmark_positions",
    "load_appearance",
    "paint_head",
    "project",
    "project_residuals",
    "soft_limits",
    "texture_space",
    "unwrap_photo",
]
