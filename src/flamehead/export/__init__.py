"""Results as files for other programs: rigs, animations, sequences of meshes, tracker folders and avatar data sets."""

from flamehead.export.blender import write_blender
from flamehead.export.crop import face_crop
from flamehead.export.flashavatar import export_flashavatar
from flamehead.export.folders import Exported
from flamehead.export.gaussian_avatars import export_gaussian_avatars, export_vhap
from flamehead.export.gltf import write_gltf_rig
from flamehead.export.head_motion import fold_neck, move_pose, move_track
from flamehead.export.insta import export_insta
from flamehead.export.masks import MaskSettings
from flamehead.export.metrical import export_metrical
from flamehead.export.motion import Motion, joint_shift, motion_of
from flamehead.export.prepared import CropSettings
from flamehead.export.rig import Rig, build_rig, expression_names
from flamehead.export.sequence import write_sequence
from flamehead.export.sources import source_frames
from flamehead.export.usd import write_usd

__all__ = [
    "CropSettings",
    "Exported",
    "MaskSettings",
    "Motion",
    "Rig",
    "build_rig",
    "export_flashavatar",
    "export_gaussian_avatars",
    "export_insta",
    "export_metrical",
    "export_vhap",
    "expression_names",
    "face_crop",
    "fold_neck",
    "joint_shift",
    "motion_of",
    "move_pose",
    "move_track",
    "source_frames",
    "write_blender",
    "write_gltf_rig",
    "write_sequence",
    "write_usd",
]
