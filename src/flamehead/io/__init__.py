"""Pictures, meshes, landmarks and our own results on disk; every file is written whole or not at all."""

from flamehead._atomic import atomic_folder, atomic_path
from flamehead.io.images import read_focal, read_image, write_image
from flamehead.io.landmarks import read_landmarks, write_landmarks
from flamehead.io.meshes import Mesh, read_mesh, write_obj, write_ply
from flamehead.io.points import read_points
from flamehead.io.results import SavedFit, load_params, save_fit, write_json
from flamehead.io.scans import read_scan, save_registration

__all__ = [
    "Mesh",
    "SavedFit",
    "atomic_folder",
    "atomic_path",
    "load_params",
    "read_focal",
    "read_image",
    "read_landmarks",
    "read_mesh",
    "read_points",
    "read_scan",
    "save_fit",
    "save_registration",
    "write_image",
    "write_json",
    "write_landmarks",
    "write_obj",
    "write_ply",
]
