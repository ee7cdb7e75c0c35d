"""INSTA's data set: cameras in `transforms*.json`, pictures with opacity, meshes, expressions, depth and labels.

Cameras are camera-to-world matrices in OpenCV's axes. INSTA makes these files itself from metrical-tracker's folder,
with a matting network for the opacity; here the opacity is the rendered mesh's: no hair, no glasses, no shoulders.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.data import Track
from flamehead.errors import InputError
from flamehead.export.folders import Exported, fresh_folder, write_report
from flamehead.export.masks import MaskSettings, Surface, feathered, surface_of
from flamehead.export.metrical import Canonical, canonical_head, canonical_track, neutral_head
from flamehead.export.pictures import write_grey, write_rgba
from flamehead.export.prepared import CropSettings, Frames, Prepared, cut_frames, prepare
from flamehead.formats import TrackerFrame
from flamehead.io import write_grey16, write_obj
from flamehead.model import Flame

__all__ = ["export_insta"]

_FOLDERS = ("depth", "flame/exp", "images", "meshes", "seg_mask")
_TEST, _VALIDATION = 350, 20


def export_insta(
    track: Track,
    flame: Flame,
    frames: Frames,
    folder: StrPath,
    *,
    crop: CropSettings | None = None,
    mask: MaskSettings | None = None,
    test_frames: int | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> Exported:
    """Write INSTA's data set.

    Args:
        track: The track.
        flame: Its model.
        frames: The source pictures by row; read once, in order.
        folder: Where to; appears when it is complete.
        crop: Size and place of the square.
        mask: How the mesh's outline becomes the pictures' opacity.
        test_frames: How many of the last frames are for tests; `None` is INSTA's 350, or 30 % of a short track. The
            last 20 of them (or all, if fewer) are for validation as well.
        overwrite: Replace an earlier export.
        force: Use another model than the track's.

    Raises:
        InputError: The track cannot be exported, no frames are left for training, pictures are missing, or the folder
            cannot be written.
    """
    prepared = prepare(track, flame, crop or CropSettings(), force=force)
    tests = _test_count(len(prepared), test_frames)
    canonical, surface, settings = canonical_track(prepared, flame), surface_of(flame), mask or MaskSettings()
    with fresh_folder(folder, overwrite=overwrite) as out:
        for name in _FOLDERS:
            (out / name).mkdir(parents=True)
        write_obj(out / "canonical.obj", neutral_head(canonical, flame), flame.faces)
        for index, image in cut_frames(prepared, frames):
            _write_frame(out, index, image, prepared, canonical, flame, surface, settings)
        _write_transforms(out, canonical, tests)
        notes = (
            *prepared.notes,
            *canonical.notes,
            "The pictures' opacity is the rendered mesh's and knows no hair, glasses or shoulders.",
        )
        write_report(out, prepared, flame, "INSTA", notes)
    return Exported(Path(folder), len(prepared), prepared.rows.start, notes)


def _write_frame(
    out: Path,
    index: int,
    image: Float[np.ndarray, "H W 3"],
    prepared: Prepared,
    canonical: Canonical,
    flame: Flame,
    surface: Surface,
    settings: MaskSettings,
) -> None:
    name = f"{index:05d}"
    vertices, camera = canonical_head(canonical, prepared.track, flame, index), canonical.camera.row(index)
    seen = surface.seen(vertices, camera)
    opacity = feathered(seen >= 0, settings) * prepared.covered
    write_rgba(out / "images" / f"{name}.png", image, opacity)
    write_grey(
        out / "seg_mask" / f"{name}.png",
        np.where((seen >= 0) & prepared.covered, surface.labels[seen], 0).astype(np.uint8),
    )
    write_grey16(out / "depth" / f"{name}.png", surface.depth(vertices, camera))
    write_obj(out / "meshes" / f"{name}.obj", vertices, flame.faces)
    with atomic_path(out / "flame" / "exp" / f"{name}.txt") as temporary:
        np.savetxt(temporary, canonical.frames[index].exp[0], fmt="%.8f")


def _write_transforms(out: Path, canonical: Canonical, tests: int) -> None:
    head, entries = _intrinsics(canonical.frames[0]), [_entry(frame) for frame in canonical.frames]
    split = {
        "transforms.json": entries,
        "transforms_train.json": entries[: len(entries) - tests],
        "transforms_test.json": entries[len(entries) - tests :],
        "transforms_val.json": entries[len(entries) - min(tests, _VALIDATION) :],
    }
    for name, chosen in split.items():
        with atomic_path(out / name) as temporary:
            temporary.write_text(json.dumps(head | {"frames": chosen}, indent=2) + "\n", encoding="utf-8")


def _intrinsics(frame: TrackerFrame) -> dict[str, Any]:
    matrix, (height, width) = frame.opencv_K[0].astype(float), (int(n) for n in frame.img_size)
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    across, down = 2 * math.atan(width / 2 / fx), 2 * math.atan(height / 2 / fy)
    return {
        "w": width, "h": height, "cx": cx, "cy": cy, "fl_x": fx, "fl_y": fy,
        "camera_angle_x": across, "camera_angle_y": down,
        "x_fov": math.degrees(across), "y_fov": math.degrees(down), "integer_depth_scale": 0.001,
    }  # fmt: skip


def _entry(frame: TrackerFrame) -> dict[str, Any]:
    name, rotation = frame.frame_id, frame.opencv_R[0].astype(float)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.T, -rotation.T @ frame.opencv_t[0].astype(float)
    return {
        "transform_matrix": matrix.tolist(),
        "file_path": f"images/{name}.png",
        "mesh_path": f"meshes/{name}.obj",
        "exp_path": f"flame/exp/{name}.txt",
        "depth_path": f"depth/{name}.png",
        "seg_mask_path": f"seg_mask/{name}.png",
    }


def _test_count(count: int, asked: int | None) -> int:
    tests = min(_TEST, math.floor(0.3 * count)) if asked is None else asked
    if not 0 <= tests < count:
        raise InputError(
            f"{tests} of {count} frames are to be for tests, which leaves none for training; ask for fewer."
        )
    return tests
