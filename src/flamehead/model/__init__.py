"""FLAME parameters to vertices, joints and landmarks."""

from flamehead.model.flame import Flame, FlameOutput, Paint, load_flame
from flamehead.model.head import Head
from flamehead.model.landmark_head import LandmarkHead, LandmarkOutput
from flamehead.model.landmarks import contour_rows, from_camera, head_turn

__all__ = [
    "Flame",
    "FlameOutput",
    "Head",
    "LandmarkHead",
    "LandmarkOutput",
    "Paint",
    "contour_rows",
    "from_camera",
    "head_turn",
    "load_flame",
]
