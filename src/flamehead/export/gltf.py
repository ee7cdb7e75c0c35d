"""A rig as one GLB file: skeleton, skin, morph targets, texture and animation in core glTF 2.0, without extensions.

Follows the specification, Khronos glTF 2.0: 3.7.2.2 (morph targets), 3.7.3 (skins) and 3.11 (animations). Our axes and
units are glTF's own: y up, the face looks along +z, metres.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from flamehead._atomic import atomic_path
from flamehead._srgb import decode
from flamehead._types import StrPath
from flamehead.errors import InputError
from flamehead.export.rig import JOINT_NAMES, Rig
from flamehead.export.rig_motion import Motion
from flamehead.geometry.normals import vertex_normals
from flamehead.io import UvMap
from flamehead.io.glb import GlbBuffer, glb_bytes, split_seams
from flamehead.io.textured import CLAY, embedded_picture, png_bytes

__all__ = ["VERTEX_IDS", "write_gltf_rig"]

VERTEX_IDS = "_FLAME_VERTEX"
"""Attribute that tells which vertex of the model each vertex of the file is: those on texture seams are repeated."""

_MESH, _SKELETON = 0, 1
"""Nodes: the mesh, then the joints in the model's order."""


def write_gltf_rig(
    path: StrPath,
    rig: Rig,
    motion: Motion,
    *,
    uv_map: UvMap | None = None,
    colors: Float[np.ndarray, "V 3"] | None = None,
    extras: dict[str, Any] | None = None,
) -> None:
    """Write a rig and its motion as GLB.

    A motion of one frame is the pose in which the file opens; a longer one becomes an animation, and the file opens in
    its first frame. The mesh node's `extras.flamehead` hold the model's fingerprint, the identity, the neutral weights
    and what drives the correctives.

    Args:
        path: Where to; written whole or not at all.
        rig: Of `build_rig`.
        motion: Of `motion_of`.
        uv_map: Texture coordinates with or without a picture, which is embedded as PNG.
        colors: sRGB in [0, 1] for each vertex; left out when `uv_map` has a picture.
        extras: More to keep beside the fingerprint; plain JSON values.

    Raises:
        InputError: The texture coordinates are of another mesh, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> from flamehead import load_flame
        >>> from flamehead.export import build_rig, motion_of
        >>> flame = load_flame()
        >>> rig = build_rig(flame, flame.zeros())
        >>> write_gltf_rig(tempfile.mkdtemp() + "/head.glb", rig, motion_of(rig, flame.zeros()))
    """
    buffer = GlbBuffer()
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "flamehead"},
        "scene": 0,
        # A skinned mesh is a root of the scene: its own place does not count.
        "scenes": [{"nodes": [_MESH, _SKELETON]}],
        "nodes": [_mesh_node(rig, extras or {}), *_joint_nodes(rig, motion)],
        "meshes": [_mesh(path, buffer, rig, motion, uv_map, colors)],
        "skins": [_skin(buffer, rig)],
        "materials": [_material(uv_map, colors)],
    }
    if uv_map is not None and uv_map.picture is not None:
        document |= embedded_picture(buffer, png_bytes(path, uv_map.picture))
    if len(motion.times) > 1:
        document["animations"] = [_animation(buffer, rig, motion)]
    data = glb_bytes(document, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _mesh_node(rig: Rig, extras: dict[str, Any]) -> dict[str, Any]:
    about = {
        "fingerprint": rig.fingerprint,
        "model": rig.source,
        "shape": [float(value) for value in np.trim_zeros(np.round(rig.shape, 6), "b")],
        "neutral_weights": [0.0] * len(rig.morphs),
        "expressions": {morph.name: morph.row for morph in rig.expressions},
        "drivers": [
            {"target": driver.name, "joint": JOINT_NAMES[driver.joint], "row": driver.row, "column": driver.column}
            for driver in rig.drivers
        ],
    }
    return {"name": "head", "mesh": 0, "skin": 0, "extras": {"flamehead": about | extras}}


def _joint_nodes(rig: Rig, motion: Motion) -> list[dict[str, Any]]:
    nodes = []
    for j, name in enumerate(JOINT_NAMES):
        node: dict[str, Any] = {
            "name": name,
            "translation": _single(motion.translations[0, j]),
            "rotation": _single(motion.rotations[0, j]),
        }
        children = [_SKELETON + k for k, parent in enumerate(rig.parents) if parent == j]
        nodes.append(node | ({"children": children} if children else {}))
    return nodes


def _mesh(
    path: StrPath,
    buffer: GlbBuffer,
    rig: Rig,
    motion: Motion,
    uv_map: UvMap | None,
    colors: Float[np.ndarray, "V 3"] | None,
) -> dict[str, Any]:
    rows, uv_rows, triangles = _rows(path, rig, uv_map)
    normals = _normals(rig.vertices, rig.faces)
    columns: dict[str, np.ndarray] = {"POSITION": rig.vertices, "NORMAL": normals}
    if colors is not None and (uv_map is None or uv_map.picture is None):
        # Colours of glTF are linear light.
        columns["COLOR_0"] = decode(np.asarray(colors, dtype=np.float64))
    columns = {name: column[rows] for name, column in columns.items()}
    if uv_map is not None:
        # glTF counts v from the top of the picture.
        columns["TEXCOORD_0"] = uv_map.uv[uv_rows] * [1.0, -1.0] + [0.0, 1.0]
    attributes = {name: _vertex_data(buffer, column, name) for name, column in columns.items()}
    for number, (joints, weights) in enumerate(_influences(rig.skin_weights)):
        attributes[f"JOINTS_{number}"] = buffer.add(joints[rows], use="vertices")
        attributes[f"WEIGHTS_{number}"] = buffer.add(weights[rows], use="vertices")
    # Whole numbers up to 2^24 are exact in float32; wider integers are not allowed here.
    attributes[VERTEX_IDS] = buffer.add(rows.astype(np.float32), use="vertices")
    primitive: dict[str, Any] = {
        "attributes": attributes,
        "indices": buffer.add(triangles.reshape(-1).astype(np.uint32), use="triangles"),
        "material": 0,
    }
    mesh: dict[str, Any] = {"name": "head_mesh", "primitives": [primitive]}
    if rig.morphs:
        primitive["targets"] = [_target(buffer, rig, morph.offsets, normals, rows) for morph in rig.morphs]
        mesh |= {
            "weights": _single(motion.weights[0]),
            # Not in the specification, but how every program keeps the names.
            "extras": {"targetNames": [morph.name for morph in rig.morphs]},
        }
    return mesh


def _target(
    buffer: GlbBuffer,
    rig: Rig,
    offsets: Float[np.ndarray, "V 3"],
    normals: Float[np.ndarray, "V 3"],
    rows: Int[np.ndarray, "N"],
) -> dict[str, int]:
    turned = _normals(rig.vertices + offsets, rig.faces) - normals
    return {
        "POSITION": _vertex_data(buffer, offsets[rows], "POSITION"),
        "NORMAL": _vertex_data(buffer, turned[rows], "NORMAL"),
    }


def _vertex_data(buffer: GlbBuffer, column: np.ndarray, name: str) -> int:
    return buffer.add(column.astype(np.float32), use="vertices", bounds=name == "POSITION")


def _rows(
    path: StrPath, rig: Rig, uv_map: UvMap | None
) -> tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"], Int[np.ndarray, "F 3"]]:
    """Vertices and uv of the file's vertices, and its triangles."""
    if uv_map is None:
        rows = np.arange(len(rig.vertices))
        return rows, rows, rig.faces
    faces, uv = uv_map.faces, uv_map.uv
    inside = faces.shape == rig.faces.shape and 0 <= faces.min() and faces.max() < len(uv)
    if not inside or not np.isfinite(uv).all():
        raise InputError(
            f"Cannot write {path}: the texture coordinates {uv.shape} with faces {faces.shape} do not belong to a mesh "
            f"of {len(rig.faces)} triangles; give the UV layout of this mesh."
        )
    rows, uv_rows, triangles = split_seams(rig.faces, faces)
    # Vertices that no triangle has stay out: nothing would draw them.
    return rows, uv_rows, triangles


def _normals(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "V 3"]:
    normals = vertex_normals(torch.from_numpy(vertices), torch.from_numpy(np.asarray(faces, dtype=np.int64))).numpy()
    # glTF wants unit normals, also at vertices that no triangle has.
    return np.where(np.linalg.norm(normals, axis=1, keepdims=True) > 0.5, normals, [0.0, 1.0, 0.0])


def _influences(skin_weights: Float[np.ndarray, "V 5"]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Joints and weights in sets of four, largest first; a second set only where a vertex follows five joints."""
    order = np.argsort(-skin_weights, axis=1, kind="stable")
    sorted_weights = np.take_along_axis(skin_weights, order, axis=1)
    # Rounding of the weights below this moves nothing by a micrometre.
    sorted_weights = np.where(sorted_weights < 1e-7, 0.0, sorted_weights)
    sets = 2 if skin_weights.shape[1] > 4 and sorted_weights[:, 4:].any() else 1
    width = 4 * sets
    weights, joints = np.zeros((len(order), width)), np.zeros((len(order), width), dtype=np.uint8)
    kept = min(width, skin_weights.shape[1])
    weights[:, :kept], joints[:, :kept] = sorted_weights[:, :kept], order[:, :kept]
    single = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    # What rounding leaves goes to the largest: the sum of the stored numbers is to be 1.
    single[:, 0] = (1.0 - single[:, 1:].astype(np.float64).sum(1)).astype(np.float32)
    # Joints without weight are to be number 0.
    joints[single == 0] = 0
    return [(joints[:, k : k + 4], single[:, k : k + 4]) for k in range(0, width, 4)]


def _skin(buffer: GlbBuffer, rig: Rig) -> dict[str, Any]:
    """Inverse bind matrices take the mesh at rest into each joint's frame, which at rest is not turned."""
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(rig.joints), 1, 1))
    inverse[:, :3, 3] = -rig.joints
    joints = [_SKELETON + j for j in range(len(rig.joints))]
    return {"name": "head", "joints": joints, "skeleton": _SKELETON, "inverseBindMatrices": buffer.add(inverse)}


def _material(uv_map: UvMap | None, colors: np.ndarray | None) -> dict[str, Any]:
    base: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.6}
    if uv_map is not None and uv_map.picture is not None:
        base["baseColorTexture"] = {"index": 0}
    elif colors is None:
        base["baseColorFactor"] = CLAY
    return {"name": "skin", "pbrMetallicRoughness": base, "doubleSided": True}


def _animation(buffer: GlbBuffer, rig: Rig, motion: Motion) -> dict[str, Any]:
    """A channel for everything that moves: linear between the frames, spherically so for rotations."""
    times = buffer.add(motion.times.astype(np.float32), bounds=True)
    tracks: list[tuple[int, str, np.ndarray]] = []
    for j in range(len(rig.joints)):
        tracks.append((_SKELETON + j, "rotation", motion.rotations[:, j]))
        # Expressions move the joints by fractions of a millimetre.
        if np.ptp(motion.translations[:, j], axis=0).max() > 1e-7:
            tracks.append((_SKELETON + j, "translation", motion.translations[:, j]))
    if rig.morphs:
        tracks.append((_MESH, "weights", motion.weights.reshape(-1)))
    samplers, channels = [], []
    for node, what, values in tracks:
        channels.append({"sampler": len(samplers), "target": {"node": node, "path": what}})
        output = buffer.add(values.astype(np.float32))
        samplers.append({"input": times, "output": output, "interpolation": "LINEAR"})
    return {"name": "track", "samplers": samplers, "channels": channels}


def _single(values: np.ndarray) -> list[float]:
    """As numbers of single precision, which is what programs make of them."""
    return values.astype(np.float32).tolist()
