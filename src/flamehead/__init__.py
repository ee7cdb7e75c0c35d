"""flamehead: open, pose, render and fit the FLAME head model on any machine.

    >>> import flamehead
    >>> flame = flamehead.load_flame()                  # the built-in head; a path opens a licensed FLAME file
    >>> flame(flame.zeros()).vertices.shape
    torch.Size([5023, 3])

Units are metres and radians; x points to the subject's left, y up, z out of the face; cameras follow OpenCV.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flamehead.data import Camera, Fit, FlameParams, FrameStatus, Observation, Track
    from flamehead.detect import detect_face, detect_faces
    from flamehead.errors import (
        AssetNotFound,
        FlameheadError,
        InputError,
        MissingExtra,
        NoFaceFound,
        UnsafeFile,
    )
    from flamehead.fit import (
        LandmarkFitSettings,
        PointFit,
        RegisteredFit,
        fit_landmarks,
        fit_points,
        fit_registered,
        landmark_error_percent,
    )
    from flamehead.io import (
        load_params,
        load_track,
        read_image,
        read_landmarks,
        save_fit,
        save_track,
        write_image,
    )
    from flamehead.model import Flame, FlameOutput, load_flame
    from flamehead.pipeline import ImageFit, fit_image, save_image_fit
    from flamehead.pipeline_scan import ScanFit, fit_scan, save_scan_fit
    from flamehead.render import overlay_sheet

__version__ = "0.1.0"

_HOME = {
    "AssetNotFound": "errors",
    "Camera": "data",
    "Fit": "data",
    "Flame": "model",
    "FlameOutput": "model",
    "FlameParams": "data",
    "FlameheadError": "errors",
    "FrameStatus": "data",
    "ImageFit": "pipeline",
    "InputError": "errors",
    "LandmarkFitSettings": "fit",
    "MissingExtra": "errors",
    "NoFaceFound": "errors",
    "Observation": "data",
    "PointFit": "fit",
    "RegisteredFit": "fit",
    "ScanFit": "pipeline_scan",
    "Track": "data",
    "UnsafeFile": "errors",
    "detect_face": "detect",
    "detect_faces": "detect",
    "fit_image": "pipeline",
    "fit_landmarks": "fit",
    "fit_points": "fit",
    "fit_registered": "fit",
    "fit_scan": "pipeline_scan",
    "landmark_error_percent": "fit",
    "load_flame": "model",
    "load_params": "io",
    "load_track": "io",
    "overlay_sheet": "render",
    "read_image": "io",
    "read_landmarks": "io",
    "save_fit": "io",
    "save_image_fit": "pipeline",
    "save_scan_fit": "pipeline_scan",
    "save_track": "io",
    "write_image": "io",
}
"""The room of each public name; a room is imported when one of its names is first used.

No public name may be a room's: importing the room would put it in the name's place (hence `flamehead.render.render`).
"""

__all__ = [
    "AssetNotFound",
    "Camera",
    "Fit",
    "Flame",
    "FlameOutput",
    "FlameParams",
    "FlameheadError",
    "FrameStatus",
    "ImageFit",
    "InputError",
    "LandmarkFitSettings",
    "MissingExtra",
    "NoFaceFound",
    "Observation",
    "PointFit",
    "RegisteredFit",
    "ScanFit",
    "Track",
    "UnsafeFile",
    "__version__",
    "detect_face",
    "detect_faces",
    "fit_image",
    "fit_landmarks",
    "fit_points",
    "fit_registered",
    "fit_scan",
    "landmark_error_percent",
    "load_flame",
    "load_params",
    "load_track",
    "overlay_sheet",
    "read_image",
    "read_landmarks",
    "save_fit",
    "save_image_fit",
    "save_scan_fit",
    "save_track",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'flamehead' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"flamehead.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
