"""Recipes that fit a head to what was seen, and the residuals they are made of."""

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
from flamehead.fit.residuals import (
    CAMERA_FROM_MODEL,
    ImageTargets,
    gaussian_prior,
    project,
    project_residuals,
    soft_limits,
)

__all__ = [
    "CAMERA_FROM_MODEL",
    "Columns",
    "HeadState",
    "ImageTargets",
    "LandmarkFitSettings",
    "LandmarkModel",
    "bake",
    "build_landmark_model",
    "fit_landmarks",
    "gaussian_prior",
    "landmark_error_percent",
    "landmark_points",
    "landmark_positions",
    "project",
    "project_residuals",
    "soft_limits",
]
