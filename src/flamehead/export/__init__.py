"""Results as files for other programs: rigs, animations and sequences of meshes."""

from flamehead.export.blender import write_blender
from flamehead.export.gltf import write_gltf_rig
from flamehead.export.motion import Motion, joint_shift, motion_of
from flamehead.export.rig import Rig, build_rig, expression_names
from flamehead.export.sequence import write_sequence
from flamehead.export.usd import write_usd

__all__ = [
    "Motion",
    "Rig",
    "build_rig",
    "expression_names",
    "joint_shift",
    "motion_of",
    "write_blender",
    "write_gltf_rig",
    "write_sequence",
    "write_usd",
]
