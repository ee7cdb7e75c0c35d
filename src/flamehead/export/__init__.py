"""Results as files for other programs: rigs, meshes, ARKit tables, a page that shows it, data sets."""

from flamehead.export.arkit import ArkitFit, from_arkit, to_arkit, track_to_arkit
from flamehead.export.arkit_csv import (
    ANGLE_NAMES,
    LiveLinkTake,
    arkit_take,
    head_and_eye_angles,
    read_live_link,
    write_live_link,
)
from flamehead.export.arkit_names import ARKIT_NAMES, arkit_index
from flamehead.export.arkit_rig import ArkitRig, arkit_rig
from flamehead.export.blender import write_blender
from flamehead.export.crop import face_crop
from flamehead.export.flashavatar import export_flashavatar
from flamehead.export.folders import Exported
from flamehead.export.gaussian_avatars import export_gaussian_avatars, export_vhap
from flamehead.export.gltf import write_gltf_rig
from flamehead.export.html import write_html
from flamehead.export.insta import export_insta
from flamehead.export.masks import MaskSettings
from flamehead.export.metrical import export_metrical
from flamehead.export.prepared import CropSettings
from flamehead.export.rig import Rig, build_rig, expression_names
from flamehead.export.rig_motion import Motion, joint_shift, motion_of
from flamehead.export.rigid_motion import fold_neck, move_pose, move_track
from flamehead.export.sequence import write_sequence
from flamehead.export.sources import source_frames
from flamehead.export.texture import built_in_texture
from flamehead.export.usd import write_usd

__all__ = [
    "ANGLE_NAMES",
    "ARKIT_NAMES",
    "ArkitFit",
    "ArkitRig",
    "CropSettings",
    "Exported",
    "LiveLinkTake",
    "MaskSettings",
    "Motion",
    "Rig",
    "arkit_index",
    "arkit_rig",
    "arkit_take",
    "build_rig",
    "built_in_texture",
    "export_flashavatar",
    "export_gaussian_avatars",
    "export_insta",
    "export_metrical",
    "export_vhap",
    "expression_names",
    "face_crop",
    "fold_neck",
    "from_arkit",
    "head_and_eye_angles",
    "joint_shift",
    "motion_of",
    "move_pose",
    "move_track",
    "read_live_link",
    "source_frames",
    "to_arkit",
    "track_to_arkit",
    "write_blender",
    "write_gltf_rig",
    "write_html",
    "write_live_link",
    "write_sequence",
    "write_usd",
]
