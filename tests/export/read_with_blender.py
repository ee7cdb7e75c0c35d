"""Runs an import_head.py in Blender and writes where its vertices are: PYTHON_WITH_BPY read_with_blender.py SCRIPT OUT

Turns bones by hand first if OUT names quaternions: OUT.npy is read as rows (w, x, y, z) of the five joints.
"""

import sys
from pathlib import Path

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np
from mathutils import Matrix, Quaternion  # pyright: ignore[reportMissingImports]

JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")


def turn(armature, quaternions):
    """Turn the bones as glTF's joints are turned, in Blender's axes and in each bone's own."""
    axes = Matrix(((1, 0, 0), (0, 0, -1), (0, 1, 0)))
    for name, quaternion in zip(JOINTS, quaternions, strict=True):
        rest = armature.data.bones[name].matrix_local.to_3x3()
        turned = axes @ Quaternion([float(x) for x in quaternion]).to_matrix() @ axes.inverted()
        bone = armature.pose.bones[name]
        # Artists use Euler angles, too.
        bone.rotation_mode = "XYZ"
        bone.rotation_euler = (rest.inverted() @ turned @ rest).to_euler("XYZ")


def positions(head):
    """Of the deformed mesh, in the axes of glTF, with the model's vertex of each."""
    graph = bpy.context.evaluated_depsgraph_get()
    graph.update()
    evaluated = head.evaluated_get(graph)
    mesh = evaluated.to_mesh()
    points, ids = np.zeros(3 * len(mesh.vertices)), np.zeros(len(mesh.vertices))
    mesh.vertices.foreach_get("co", points)
    head.data.attributes["_FLAME_VERTEX"].data.foreach_get("value", ids)
    matrix = np.array(evaluated.matrix_world)
    x, y, z = matrix[:3, :3] @ points.reshape(-1, 3).T + matrix[:3, 3:]
    return np.stack([x, z, -y, ids], axis=1)


def main():
    script, out = Path(sys.argv[1]), Path(sys.argv[2])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    space = {"__file__": str(script), "__name__": "__main__"}
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), space)
    head = next(item for item in bpy.data.objects if item.type == "MESH" and item.find_armature())
    scene = bpy.context.scene
    if out.is_file():
        turn(head.find_armature(), np.load(out))
        frames = [positions(head)]
    else:
        last = scene.frame_end if head.find_armature().animation_data else scene.frame_start
        frames = []
        for frame in range(scene.frame_start, last + 1):
            scene.frame_set(frame)
            frames.append(positions(head))
    np.savez(out.with_suffix(".npz"), frames=np.stack(frames), rate=scene.render.fps / scene.render.fps_base)


main()
