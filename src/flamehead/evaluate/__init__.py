"""The field's measures of how well a head was reconstructed."""

from flamehead.evaluate.curve import draw_curves
from flamehead.evaluate.landmarks import Normalization, landmark_error_2d, landmark_error_3d
from flamehead.evaluate.now import NOW_LANDMARKS, NowError, now_crop, now_error, seven_of
from flamehead.evaluate.regions import REGIONS, RegionError, face_regions, region_errors, regions_of_scan
from flamehead.evaluate.summary import MILLIMETRES, ErrorSummary, Unit, cumulative_share, summarize
from flamehead.evaluate.vertices import Alignment, PairedError, vertex_error

__all__ = [
    "Alignment",
    "ErrorSummary",
    "MILLIMETRES",
    "NOW_LANDMARKS",
    "Normalization",
    "NowError",
    "PairedError",
    "REGIONS",
    "RegionError",
    "Unit",
    "cumulative_share",
    "draw_curves",
    "face_regions",
    "landmark_error_2d",
    "landmark_error_3d",
    "now_crop",
    "now_error",
    "region_errors",
    "regions_of_scan",
    "seven_of",
    "summarize",
    "vertex_error",
]
