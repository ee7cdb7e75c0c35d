"""The data set that VHAP exports and GaussianAvatars reads, and VHAP's tracked npz.

The head moves before a camera that stands still. Cameras are camera-to-world matrices in OpenGL's axes; the programs
read the field of view only, so that the principal point has to lie in the middle of the pictures.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.data import Camera, FlameParams, Track
from flamehead.errors import InputError
from flamehead.export.folders import Exported, fresh_folder, write_report
from flamehead.export.masks import MaskSettings, Surface, feathered, surface_of
from flamehead.export.pictures import over_color, write_grey
from flamehead.export.prepared import (
    CropSettings,
    Frames,
    Prepared,
    as_model,
    cut_frames,
    prepare,
    row_eyelids,
)
from flamehead.export.rigid_motion import move_pose
from flamehead.formats import (
    GaussianAvatarsStep,
    camera_to_transforms_entry,
    move_to_vhap_world,
    params_to_gaussian_avatars,
    params_to_vhap,
    write_gaussian_avatars,
    write_vhap,
)
from flamehead.io import write_image
from flamehead.model import Flame
from flamehead.render import turn_light

__all__ = ["export_gaussian_avatars", "export_vhap"]

_WITH_TEETH = 5143
_N_SHAPE, _N_EXPRESSION = 300, 100
_TRAIN_SHARE = 0.7
_CANONICAL_JAW = 0.3
_INTRINSICS = ("cx", "cy", "fl_x", "fl_y", "h", "w", "camera_angle_x", "camera_angle_y")
_CAMERA_ID = "00"


def export_gaussian_avatars(
    track: Track,
    flame: Flame,
    frames: Frames,
    folder: StrPath,
    *,
    crop: CropSettings | None = None,
    mask: MaskSettings | None = None,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
    overwrite: bool = False,
    force: bool = False,
) -> Exported:
    """Write the data set: transforms, parameters of each time step, pictures on one colour, and masks.

    Args:
        track: The track.
        flame: Its model.
        frames: The source pictures by row; read once, in order.
        folder: Where to; appears when it is complete.
        crop: Size of the square; it is always cut around the principal point.
        mask: How the mesh's outline becomes the opacity.
        background: sRGB behind the head.
        overwrite: Replace an earlier export.
        force: Use another model than the track's.

    Raises:
        InputError: The track cannot be exported, pictures are missing, or the folder cannot be written.
    """
    prepared = prepare(track, flame, crop or CropSettings(), centered_principal_point=True, force=force)
    params, camera = _in_vhap_world(prepared, flame)
    # VHAP's export moves the scene so that the head is in the origin on average.
    middle = params.translation.mean(dim=0)
    params = replace(params, translation=params.translation - middle)
    camera = replace(camera, translation=camera.translation + (camera.rotation @ middle[:, None])[:, 0])
    surface, settings = surface_of(flame), mask or MaskSettings()
    with fresh_folder(folder, overwrite=overwrite) as out:
        for name in ("images", "fg_masks", "flame_param"):
            (out / name).mkdir()
        _write_steps(out, params, prepared.track, flame)
        for index, image in cut_frames(prepared, frames):
            alpha = _alpha(params.row(index), camera, prepared.track, index, flame, surface, settings)
            alpha = alpha * prepared.covered
            write_image(out / "images" / _picture(index), over_color(image, alpha, background))
            write_grey(out / "fg_masks" / _picture(index), alpha)
        _write_transforms(out, camera, prepared)
        notes = (
            *prepared.notes,
            *_eyelid_note(prepared.track),
            "Pictures are cut out by the rendered mesh, which knows no hair, glasses or shoulders.",
        )
        write_report(out, prepared, flame, "GaussianAvatars", notes)
    return Exported(Path(folder), len(prepared), prepared.rows.start, notes)


def export_vhap(
    track: Track, flame: Flame, path: StrPath, *, crop: CropSettings | None = None, force: bool = False
) -> Exported:
    """Write VHAP's `tracked_flame_params_*.npz`, in the pixels of pictures cut around the principal point.

    Raises:
        InputError: The track cannot be exported, the suffix is not .npz, or the file cannot be written.
    """
    prepared = prepare(track, flame, crop or CropSettings(), centered_principal_point=True, force=force)
    params, camera = _in_vhap_world(prepared, flame)
    extra: dict[str, np.ndarray] = {"static_offset": np.zeros((1, _WITH_TEETH, 3), np.float32)}
    lids = [_eyelid_offset(prepared.track, flame, row) for row in range(len(prepared))]
    if any(lid is not None for lid in lids):
        extra["dynamic_offset"] = np.concatenate([lid for lid in lids if lid is not None])
    if prepared.track.light is not None:
        light = torch.as_tensor(np.asarray(prepared.track.light)).float().mean(dim=0)
        extra["lights"] = turn_light(light, camera.rotation).numpy()
    write_vhap(path, params_to_vhap(params, camera=camera, fingerprint=flame.fingerprint, extra=extra))
    notes = (*prepared.notes, *_eyelid_note(prepared.track))
    return Exported(Path(path), len(prepared), prepared.rows.start, notes)


def _in_vhap_world(prepared: Prepared, flame: Flame) -> tuple[FlameParams, Camera]:
    """Heads of the programs' widths before the one standing camera."""
    params, camera = move_pose(as_model(prepared.track.params, flame), prepared.track.camera, flame, "head")
    one = camera.row(0).to(dtype=torch.float32)
    moved, fixed = move_to_vhap_world(params, replace(one, focal=one.focal.mean().expand(2)), flame)
    widths = {"shape": _N_SHAPE, "expression": _N_EXPRESSION}
    for name, width in widths.items():
        values = getattr(moved, name)
        if bool((values[..., width:] != 0).any()):
            raise InputError(
                f"The track uses {values.shape[-1]} {name} coefficients, but GaussianAvatars' files hold {width}; "
                "track with fewer."
            )
        values = torch.nn.functional.pad(values, (0, max(0, width - values.shape[-1])))[..., :width]
        moved = replace(moved, **{name: values})
    return moved, fixed


def _alpha(
    params: FlameParams,
    camera: Camera,
    track: Track,
    row: int,
    flame: Flame,
    surface: Surface,
    settings: MaskSettings,
) -> Float[np.ndarray, "H W"]:
    head = replace(
        params, shape=params.shape[..., : flame.n_shape], expression=params.expression[..., : flame.n_expression]
    )
    with torch.no_grad():
        vertices = flame(head, eyelids=row_eyelids(track, flame, row)).vertices
    return feathered(surface.seen(vertices, camera) >= 0, settings)


def _write_steps(out: Path, params: FlameParams, track: Track, flame: Flame) -> None:
    steps = params_to_gaussian_avatars(params, fingerprint=flame.fingerprint)
    for row, step in enumerate(steps):
        offset = _eyelid_offset(track, flame, row)
        write_gaussian_avatars(out / "flame_param" / f"{row:05d}.npz", replace(step, dynamic_offset=offset))
    first = steps[0]
    rest = {
        key: np.zeros_like(getattr(first, key)) for key in ("rotation", "translation", "neck_pose", "eyes_pose", "expr")
    }
    jaw = np.array([[_CANONICAL_JAW, 0.0, 0.0]], dtype=np.float64)
    canonical = GaussianAvatarsStep(
        **rest, jaw_pose=jaw, shape=first.shape, static_offset=first.static_offset, fingerprint=flame.fingerprint
    )
    write_gaussian_avatars(out / "canonical_flame_param.npz", canonical)


def _eyelid_offset(track: Track, flame: Flame, row: int) -> Float[np.ndarray, "1 5143 3"] | None:
    """Closed lids as displacements of the head at rest, for which these files have no coefficients."""
    lids = row_eyelids(track, flame, row)
    if lids is None or flame.eyelid_basis is None:
        return None
    offset = (lids @ flame.eyelid_basis).reshape(-1, 3).detach().cpu().numpy().astype(np.float32)
    return np.pad(offset, ((0, _WITH_TEETH - len(offset)), (0, 0)))[None]


def _eyelid_note(track: Track) -> tuple[str, ...]:
    if track.eyelids is None or not np.any(track.eyelids):
        return ()
    return ("Closed lids are in dynamic_offset, which GaussianAvatars does not read.",)


def _write_transforms(out: Path, camera: Camera, prepared: Prepared) -> None:
    entry = camera_to_transforms_entry(camera)
    entries = [_frame_entry(entry, prepared, index) for index in range(len(prepared))]
    train = math.ceil(_TRAIN_SHARE * len(entries))
    split = {
        "transforms.json": entries,
        "transforms_train.json": entries[:train],
        # With one camera none is left out of training.
        "transforms_val.json": [],
        "transforms_test.json": entries[train:],
    }
    for name, chosen in split.items():
        content: dict[str, Any] = {key: entry[key] for key in _INTRINSICS}
        content |= {
            "timestep_indices": [one["timestep_index"] for one in chosen],
            "camera_indices": [0] if chosen else [],
        }
        content["frames"] = chosen
        with atomic_path(out / name) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _frame_entry(entry: dict[str, Any], prepared: Prepared, index: int) -> dict[str, Any]:
    source = int(prepared.track.frames[index])
    return {
        "timestep_index": index,
        "timestep_index_original": source,
        "timestep_id": f"{source:05d}",
        "camera_index": 0,
        "camera_id": _CAMERA_ID,
        **entry,
        "file_path": f"images/{_picture(index)}",
        "fg_mask_path": f"fg_masks/{_picture(index)}",
        "flame_param_path": f"flame_param/{index:05d}.npz",
    }


def _picture(index: int) -> str:
    return f"{index:05d}_{_CAMERA_ID}.png"
