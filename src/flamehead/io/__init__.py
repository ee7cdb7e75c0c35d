"""Pictures, videos, meshes, landmarks and our own results on disk; every file is written whole or not at all."""

from flamehead._atomic import atomic_folder, atomic_path
from flamehead.io.images import read_focal, read_image, write_grey16, write_image
from flamehead.io.landmarks import read_landmarks, write_landmarks
from flamehead.io.meshes import Mesh, read_mesh, write_obj, write_ply
from flamehead.io.points import read_points
from flamehead.io.results import SavedAppearance, SavedFit, load_params, save_fit, save_params, write_json
from flamehead.io.scans import read_scan, save_registration
from flamehead.io.textured import write_glb, write_textured_obj
from flamehead.io.tracks import is_track_file, load_track, save_track
from flamehead.io.uv_maps import UvMap
from flamehead.io.video import VideoFrame, VideoInfo, describe_video, read_video, write_video

__all__ = [
    "Mesh",
    "SavedAppearance",
    "SavedFit",
    "UvMap",
    "VideoFrame",
    "VideoInfo",
    "atomic_folder",
    "atomic_path",
    "describe_video",
    "is_track_file",
    "load_params",
    "load_track",
    "read_focal",
    "read_image",
    "read_landmarks",
    "read_mesh",
    "read_points",
    "read_scan",
    "read_video",
    "save_fit",
    "save_params",
    "save_registration",
    "save_track",
    "write_glb",
    "write_grey16",
    "write_image",
    "write_json",
    "write_landmarks",
    "write_obj",
    "write_ply",
    "write_textured_obj",
    "write_video",
]
