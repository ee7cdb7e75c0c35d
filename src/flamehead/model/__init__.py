"""FLAME parameters to vertices, joints, landmarks and textures."""

from flamehead.model.appearance import Texture, load_texture
from flamehead.model.flame import Flame, FlameOutput, Paint, load_flame
from flamehead.model.head import Head
from flamehead.model.landmark_head import ContourLandmarkHead, LandmarkHead, LandmarkOutput
from flamehead.model.landmarks import contour_rows, from_camera, head_turn

__all__ = [
    "ContourLandmarkHead",
    "Flame",
    "FlameOutput",
    "Head",
    "LandmarkHead",
    "LandmarkOutput",
    "Paint",
    "Texture",
    "contour_rows",
    "from_camera",
    "head_turn",
    "load_flame",
    "load_texture",
]
