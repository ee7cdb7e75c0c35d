"""Recipes that fit a head to what was seen, and the residuals they are made of."""

from flamehead.fit.appearance import Appearance, load_appearance
from flamehead.fit.bfm import BfmConverter, BfmFit, bfm_vertices, convert_bfm, prepare_bfm, recognize_bfm
from flamehead.fit.bfm_colors import convert_bfm_colors
from flamehead.fit.custom import CustomFit, Guess, fit_custom
from flamehead.fit.identity_prior import IdentityPrior
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
from flamehead.fit.offsets import OffsetSettings, free_vertices, mouth_intersections
from flamehead.fit.painted import PaintedHead, PixelError, paint_head
from flamehead.fit.person import PersonFit, fit_person
from flamehead.fit.photometric import PhotometricFit, PhotometricSettings, fit_photometric
from flamehead.fit.pixels import TextureSpace, texture_space
from flamehead.fit.points import PointFit, PointFitSettings, fit_points
from flamehead.fit.registered import RegisteredFit, RegisteredFitSettings, fit_registered
from flamehead.fit.residuals import (
    CAMERA_FROM_MODEL,
    ImageTargets,
    gaussian_prior,
    project,
    project_residuals,
    soft_limits,
)
from flamehead.fit.scan import ScanFitSettings, ScanRegistration, ScanStage, register_scan
from flamehead.fit.scan_distance import ScanDistances, face_sphere, scan_distances
from flamehead.fit.scan_landmarks import ScanLandmarks, find_scan_landmarks
from flamehead.fit.scan_samples import Scan, clean_scan
from flamehead.fit.scan_units import ScanUnit, guess_unit
from flamehead.fit.several import SharedFit, fit_same_person
from flamehead.fit.uncertainty import describe_uncertainty, expected_params, vertex_deviation
from flamehead.fit.unwrap import PhotoTexture, merge_photos, unwrap_photo
from flamehead.fit.views import ViewsFit, fit_views

__all__ = [
    "CAMERA_FROM_MODEL",
    "Appearance",
    "BfmConverter",
    "BfmFit",
    "Columns",
    "CustomFit",
    "Guess",
    "HeadState",
    "IdentityPrior",
    "ImageTargets",
    "LandmarkFitSettings",
    "LandmarkModel",
    "OffsetSettings",
    "PaintedHead",
    "PersonFit",
    "PhotoTexture",
    "PhotometricFit",
    "PhotometricSettings",
    "PixelError",
    "PointFit",
    "PointFitSettings",
    "RegisteredFit",
    "RegisteredFitSettings",
    "Scan",
    "ScanDistances",
    "ScanFitSettings",
    "ScanLandmarks",
    "ScanRegistration",
    "ScanStage",
    "ScanUnit",
    "TextureSpace",
    "SharedFit",
    "ViewsFit",
    "bake",
    "bfm_vertices",
    "build_landmark_model",
    "clean_scan",
    "convert_bfm",
    "convert_bfm_colors",
    "face_sphere",
    "find_scan_landmarks",
    "fit_custom",
    "fit_landmarks",
    "fit_person",
    "fit_photometric",
    "fit_points",
    "fit_registered",
    "free_vertices",
    "describe_uncertainty",
    "expected_params",
    "fit_same_person",
    "fit_views",
    "gaussian_prior",
    "guess_unit",
    "landmark_error_percent",
    "landmark_points",
    "landmark_positions",
    "load_appearance",
    "merge_photos",
    "mouth_intersections",
    "paint_head",
    "prepare_bfm",
    "project",
    "project_residuals",
    "recognize_bfm",
    "register_scan",
    "scan_distances",
    "soft_limits",
    "texture_space",
    "unwrap_photo",
    "vertex_deviation",
]
