"""A track becomes files for others: tracker folders and data sets for avatars."""

from flamehead.export.crop import face_crop
from flamehead.export.flashavatar import export_flashavatar
from flamehead.export.folders import Exported
from flamehead.export.gaussian_avatars import export_gaussian_avatars, export_vhap
from flamehead.export.head_motion import fold_neck, move_pose, move_track
from flamehead.export.insta import export_insta
from flamehead.export.masks import MaskSettings
from flamehead.export.metrical import export_metrical
from flamehead.export.prepared import CropSettings
from flamehead.export.sources import source_frames

__all__ = [
    "CropSettings",
    "Exported",
    "MaskSettings",
    "export_flashavatar",
    "export_gaussian_avatars",
    "export_insta",
    "export_metrical",
    "export_vhap",
    "face_crop",
    "fold_neck",
    "move_pose",
    "move_track",
    "source_frames",
]
