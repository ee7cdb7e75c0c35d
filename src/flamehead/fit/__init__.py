"""Recipes that fit a head to what was seen, and the residuals they are made of."""

from flamehead.fit.bfm import BfmConverter, BfmFit, bfm_vertices, convert_bfm, prepare_bfm, recognize_bfm
from flamehead.fit.bfm_colors import convert_bfm_colors
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
from flamehead.fit.several import SharedFit, fit_same_person
from flamehead.fit.uncertainty import describe_uncertainty, expected_params, vertex_deviation
from flamehead.fit.views import ViewsFit, fit_views

__all__ = [
    "BfmConverter",
    "BfmFit",
    "CAMERA_FROM_MODEL",
    "Columns",
    "HeadState",
    "ImageTargets",
    "LandmarkFitSettings",
    "LandmarkModel",
    "SharedFit",
    "ViewsFit",
    "bake",
    "bfm_vertices",
    "build_landmark_model",
    "convert_bfm",
    "convert_bfm_colors",
    "describe_uncertainty",
    "expected_params",
    "fit_landmarks",
    "fit_same_person",
    "fit_views",
    "gaussian_prior",
    "landmark_error_percent",
    "landmark_points",
    "landmark_positions",
    "prepare_bfm",
    "project",
    "project_residuals",
    "recognize_bfm",
    "soft_limits",
    "vertex_deviation",
]
