"""A rig with a script that opens it in Blender and does what Blender's own importer leaves out."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import Float

from flamehead._atomic import atomic_folder, disk_errors_explained
from flamehead._types import StrPath
from flamehead.export.gltf import write_gltf_rig
from flamehead.export.rig import Rig
from flamehead.export.rig_motion import Motion
from flamehead.io import UvMap

__all__ = ["write_blender"]


def write_blender(
    folder: StrPath,
    rig: Rig,
    motion: Motion,
    *,
    uv_map: UvMap | None = None,
    colors: Float[np.ndarray, "V 3"] | None = None,
    extras: dict[str, Any] | None = None,
) -> None:
    """Write `head.glb` and `import_head.py`, which imports it, drives the pose correctives and frees the sliders.

    Args:
        folder: Where to; files of other names in it stay.
        rig: As of `write_gltf_rig`, like the rest.
        motion: Its frames.
        uv_map: Texture coordinates.
        colors: sRGB of each vertex.
        extras: More to keep in the file.

    Raises:
        InputError: As of `write_gltf_rig`.
    """
    about = {"times": [round(float(time), 6) for time in motion.times]}
    with atomic_folder(folder) as stage, disk_errors_explained(folder):
        write_gltf_rig(stage / "head.glb", rig, motion, uv_map=uv_map, colors=colors, extras=(extras or {}) | about)
        script = files("flamehead.export").joinpath("blender_script.txt").read_text(encoding="utf-8")
        (stage / "import_head.py").write_text(script, encoding="utf-8")
