"""FLAME parameters to vertices, joints, landmarks and textures."""

from flamehead.model.appearance import Texture, load_texture
from flamehead.model.directions import TURNS, Direction, directions, is_builtin, move_along
from flamehead.model.flame import Flame, FlameOutput, Paint, load_flame
from flamehead.model.head import Head
from flamehead.model.landmark_head import ContourLandmarkHead, LandmarkHead, LandmarkOutput
from flamehead.model.landmarks import contour_rows, from_camera, head_turn

__all__ = [
    "TURNS",
    "ContourLandmarkHead",
    "Direction",
    "Flame",
    "FlameOutput",
    "Head",
    "LandmarkHead",
    "LandmarkOutput",
    "Paint",
    "Texture",
    "contour_rows",
    "directions",
    "from_camera",
    "head_turn",
    "is_builtin",
    "load_flame",
    "load_texture",
    "move_along",
]
