"""What other programs make of the rigs: three.js, and Blender with the script that comes with them.

Blender runs where FLAMEHEAD_BPY names a Python that has the `bpy` package.
"""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flamehead.export import build_rig, motion_of, write_blender, write_gltf_rig
from flamehead.geometry.rotation import exp, to_quaternion

HERE = Path(__file__).parent
BLENDER = os.environ.get("FLAMEHEAD_BPY", "")
blender = pytest.mark.skipif(not BLENDER, reason="FLAMEHEAD_BPY names no Python with bpy")
TIMES = np.arange(12) / 25.0
TENTH_OF_A_MICROMETRE = 1e-7


@pytest.mark.node("three")
def test_three_js_plays_what_the_model_does(flame, moving, tmp_path, node_modules):
    rig = build_rig(flame, moving)
    # Without a picture, which Node.js cannot decode.
    write_gltf_rig(tmp_path / "head.glb", rig, motion_of(rig, moving, times=TIMES))
    node, shown = shutil.which("node"), (0, 5, 11)
    assert node is not None
    times = [str(float(np.float32(TIMES[k]))) for k in shown]
    files = [str(HERE / "read_with_three.mjs"), str(node_modules), str(tmp_path / "head.glb"), str(tmp_path / "out")]
    subprocess.run([node, *files, *times], check=True, capture_output=True)
    found = np.fromfile(tmp_path / "out", dtype=np.float32).reshape(len(shown), -1, 4)
    assert farthest(found, flame(moving).vertices[list(shown)]) < 10 * TENTH_OF_A_MICROMETRE


def farthest(found, vertices):
    """The largest distance of (T, N, 4) points with their vertex numbers to the model's vertices."""
    rows = found[..., 3].astype(int)
    wanted = np.take_along_axis(vertices.numpy(), rows[..., None], axis=1)
    return np.abs(found[..., :3] - wanted).max()


def in_blender(folder, out):
    """The frames that Blender shows, and its frame rate."""
    reader = str(HERE / "read_with_blender.py")
    subprocess.run([BLENDER, reader, str(folder / "import_head.py"), str(out)], check=True, capture_output=True)
    with np.load(out.with_suffix(".npz")) as read:
        return read["frames"], float(read["rate"])


@blender
def test_blender_plays_what_the_model_does(flame, moving, tmp_path):
    rig = build_rig(flame, moving)
    write_blender(tmp_path / "b", rig, motion_of(rig, moving, times=TIMES))
    frames, rate = in_blender(tmp_path / "b", tmp_path / "out")
    assert len(frames) == 12 and abs(rate - 25.0) < 1e-3
    assert farthest(frames, flame(moving).vertices) < 20 * TENTH_OF_A_MICROMETRE


@blender
def test_blender_keeps_a_still_pose_with_negative_weights(flame, moving, tmp_path):
    params = replace(moving, **{name: getattr(moving, name)[8] for name in moving.__dataclass_fields__})
    assert params.expression.min() < -0.1
    rig = build_rig(flame, params)
    write_blender(tmp_path / "b", rig, motion_of(rig, params))
    frames, _ = in_blender(tmp_path / "b", tmp_path / "out")
    assert farthest(frames, flame(params).vertices[None]) < 20 * TENTH_OF_A_MICROMETRE


@blender
def test_in_blender_the_correctives_follow_the_bones(flame, tmp_path):
    rest = flame.zeros()
    rig = build_rig(flame, rest)
    write_blender(tmp_path / "b", rig, motion_of(rig, rest))
    params = replace(
        rest,
        neck=torch.tensor([0.2, 0.5, -0.1]),
        jaw=torch.tensor([0.35, 0.05, 0.02]),
        left_eye=torch.tensor([0.1, 0.4, 0.0]),
        right_eye=torch.tensor([-0.2, 0.3, 0.0]),
    )
    np.save(tmp_path / "out.npy", to_quaternion(exp(params.pose)).numpy())
    frames, _ = in_blender(tmp_path / "b", tmp_path / "out.npy")
    assert farthest(frames, flame(params).vertices[None]) < 20 * TENTH_OF_A_MICROMETRE
