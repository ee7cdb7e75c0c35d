"""metrical-tracker's output folder, complete, as INSTA and others read it, and the landmark files of its input folder.

The head rests in its canonical frame (no root, neck or translation) and the camera moves. Ids are contiguous from
00000; nothing but one file per id lies in the numbered folders.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flamehead._types import StrPath
from flamehead.data import Camera, FlameParams, Track
from flamehead.export.folders import Exported, fresh_folder, link_or_copy, write_report
from flamehead.export.landmark_files import landmark_arrays
from flamehead.export.masks import Surface, surface_of
from flamehead.export.prepared import CropSettings, Frames, Prepared, as_model, cut_frames, prepare, row_eyelids
from flamehead.export.rigid_motion import fold_neck
from flamehead.formats import (
    TrackerFrame,
    params_to_mica,
    params_to_tracker_frames,
    tracker_frames_to_params,
    write_mica,
    write_tracker_frame,
)
from flamehead.io import atomic_path, read_image, write_grey16, write_image, write_obj, write_ply, write_video
from flamehead.model import Flame
from flamehead.render import turn_light
from flamehead.track.show import head_views

__all__ = ["Canonical", "canonical_head", "canonical_track", "export_metrical"]

_FOLDERS = ("checkpoint", "depth", "images", "input", "kpt", "kpt_dense", "mesh", "video")
_JAW_OPEN = math.radians(12.0)
_N_TEXTURE = 140


@dataclass(frozen=True)
class Canonical:
    """A track as metrical-tracker knows it: `.frame` contents, and what they say when they are read again."""

    frames: list[TrackerFrame]
    params: FlameParams
    camera: Camera
    notes: tuple[str, ...]


def export_metrical(
    track: Track,
    flame: Flame,
    frames: Frames,
    folder: StrPath,
    *,
    crop: CropSettings | None = None,
    centered_principal_point: bool = False,
    pictures: bool = True,
    overwrite: bool = False,
    force: bool = False,
) -> Exported:
    """Write metrical-tracker's folder.

    Args:
        track: The track.
        flame: Its model.
        frames: The source pictures by row; read once, in order.
        folder: Where to; appears when it is complete.
        crop: Size and place of the square.
        centered_principal_point: See `face_crop`.
        pictures: Write `video/` and `video.avi` too, which no program reads.
        overwrite: Replace an earlier export.
        force: Use another model than the track's.

    Raises:
        InputError: The track cannot be exported, pictures are missing, or the folder cannot be written.
        MissingExtra: `pictures` without PyAV.

    Example:
        >>> export_metrical(track, flame, source_frames(track, "clip.mp4"), "out/metrical")  # doctest: +SKIP
    """
    prepared = prepare(
        track, flame, crop or CropSettings(), centered_principal_point=centered_principal_point, force=force
    )
    canonical = canonical_track(prepared, flame)
    surface = surface_of(flame)
    with fresh_folder(folder, overwrite=overwrite) as out:
        for name in _FOLDERS:
            if pictures or name != "video":
                (out / name).mkdir()
        _write_once(out, prepared, canonical, flame)
        for index, image in cut_frames(prepared, frames):
            _write_frame(out, index, image, prepared, canonical, flame, surface, pictures)
        if pictures:
            write_video(out / "video.avi", _pictures(out, len(prepared)), fps=prepared.track.fps)
        notes = prepared.notes + canonical.notes
        write_report(out, prepared, flame, "metrical-tracker", notes)
    return Exported(Path(folder), len(prepared), prepared.rows.start, notes)


def canonical_track(prepared: Prepared, flame: Flame) -> Canonical:
    """The `.frame` contents of the exported rows."""
    track = prepared.track
    folded = fold_neck(track.params, flame)
    params = as_model(folded.params, flame)
    notes = []
    if folded.largest:
        notes.append(
            f"The neck turns by up to {math.degrees(folded.largest):.1f} degrees, which these files cannot hold; it "
            "went into the camera, so that the skull stays where it was and the throat does not."
        )
    eyelids = None if track.eyelids is None else torch.as_tensor(np.asarray(track.eyelids)).to(params.root)
    frames = params_to_tracker_frames(
        params,
        track.camera.to(dtype=params.root.dtype, device=params.root.device),
        flame,
        eyelids=eyelids,
        texture=_texture(track, params.root),
    )
    if track.light is not None:
        # Theirs shines on the canonical head, ours is the camera's.
        light = torch.as_tensor(np.asarray(track.light)).float()
        turned = turn_light(light, torch.from_numpy(np.concatenate([frame.opencv_R for frame in frames])))
        frames = [replace(frame, sh=row[None]) for frame, row in zip(frames, turned.numpy(), strict=True)]
    if track.albedo is not None and len(track.albedo) > _N_TEXTURE:
        notes.append(f"Of {len(track.albedo)} texture coefficients the first {_N_TEXTURE} were written.")
    one_k = np.mean([frame.opencv_K for frame in frames], axis=0).astype(np.float32)
    frames = [replace(f, opencv_K=one_k, extra={"global_step": i + 1}) for i, f in enumerate(frames)]
    read, camera = tracker_frames_to_params(frames)
    return Canonical(frames, as_model(read, flame), camera.to(dtype=torch.float32), tuple(notes))


def canonical_head(canonical: Canonical, track: Track, flame: Flame, row: int) -> Float[Tensor, "V 3"]:
    """The vertices of `mesh/*.ply`: at rest but for jaw, eyes and expression, lids added after skinning."""
    head = _fitting(canonical.params.row(row), flame)
    with torch.no_grad():
        return flame(head, eyelids=row_eyelids(track, flame, row), eyelids_after_skinning=True).vertices


def neutral_head(canonical: Canonical, flame: Flame) -> Float[Tensor, "V 3"]:
    """The vertices of `canonical.obj`: identity only, jaw open by 12 degrees."""
    rest = flame.zeros()
    shape = canonical.params.shape[0, : flame.n_shape]
    jaw = rest.jaw.new_tensor([_JAW_OPEN, 0.0, 0.0])
    with torch.no_grad():
        return flame(replace(rest, shape=shape, jaw=jaw)).vertices


def _fitting(params: FlameParams, flame: Flame) -> FlameParams:
    """Without the zeros that the files' fixed widths added."""
    return replace(
        params, shape=params.shape[..., : flame.n_shape], expression=params.expression[..., : flame.n_expression]
    )


def _write_once(out: Path, prepared: Prepared, canonical: Canonical, flame: Flame) -> None:
    write_obj(out / "canonical.obj", neutral_head(canonical, flame), flame.faces)
    write_mica(out / "identity.npy", params_to_mica(prepared.track.params.row(0)))


def _write_frame(
    out: Path,
    index: int,
    image: Float[np.ndarray, "H W 3"],
    prepared: Prepared,
    canonical: Canonical,
    flame: Flame,
    surface: Surface,
    pictures: bool,
) -> None:
    name, track = f"{index:05d}", prepared.track
    vertices = canonical_head(canonical, track, flame, index)
    camera = canonical.camera.row(index)
    write_tracker_frame(out / "checkpoint" / f"{name}.frame", canonical.frames[index])
    write_ply(out / "mesh" / f"{name}.ply", vertices, flame.faces)
    write_grey16(out / "depth" / f"{name}.png", surface.depth(vertices, camera))
    write_image(out / "input" / f"{name}.png", image)
    link_or_copy(out / "input" / f"{name}.png", out / "images" / f"{name}.png")
    sparse, dense = landmark_arrays(track, index)
    for folder, points in (("kpt", sparse), ("kpt_dense", dense)):
        with atomic_path(out / folder / f"{name}.npy") as temporary:
            np.save(temporary, points)
    if pictures:
        seen = None if track.landmarks is None else np.asarray(track.landmarks[index], dtype=np.float64)
        shown = head_views(image, vertices, camera, flame, seen=seen)
        write_image(out / "video" / f"{name}.jpg", np.concatenate(shown, axis=1))


def _pictures(out: Path, count: int) -> Iterator[Float[np.ndarray, "H W 3"]]:
    for index in range(count):
        yield read_image(out / "video" / f"{index:05d}.jpg")


def _texture(track: Track, like: Tensor) -> Float[Tensor, "140"] | None:
    if track.albedo is None:
        return None
    codes = torch.as_tensor(np.asarray(track.albedo)).to(like)[:_N_TEXTURE]
    return torch.nn.functional.pad(codes, (0, _N_TEXTURE - len(codes)))
