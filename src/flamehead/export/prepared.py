"""What every exporter of a track begins with: the frames that go out, under contiguous numbers, cut to one square."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float

from flamehead.data import Camera, FlameParams, FrameStatus, Track
from flamehead.errors import InputError
from flamehead.export.crop import crop_camera, face_crop, whole_crop
from flamehead.formats import check_fingerprint
from flamehead.model import Flame
from flamehead.render import Crop

__all__ = ["CropSettings", "Frames", "Prepared", "cut_frames", "prepare"]

Frames = Iterable[tuple[int, Float[np.ndarray, "H W 3"]]]
"""Pairs of a row of the track and its source picture, sRGB in [0, 1], in increasing order; rows that are not exported
may be among them."""


@dataclass(frozen=True)
class CropSettings:
    """How pictures are cut; see `face_crop`."""

    size: int = 512
    """Of the exported pictures, pixels along each side."""
    bbox_scale: float = 2.5
    """Room around the face: side of the square over the longer side of the face."""
    whole: bool = False
    """Keep the source pictures as they are, of any shape and size."""


@dataclass(frozen=True)
class Prepared:
    """A track as it goes out: row i has the number i."""

    track: Track
    """The exported rows, with the cameras of the cut-out pictures and landmarks in their pixels."""
    rows: slice
    """Those rows in the track that was given."""
    crop: Crop
    source_size: tuple[int, int]
    notes: tuple[str, ...]
    """What a user should know, one sentence each."""

    def __len__(self) -> int:
        return len(self.track)

    @cached_property
    def covered(self) -> Bool[np.ndarray, "h w"]:
        """Which exported pixels show something of the source; the others are black because the square left it."""
        (width, height), size = self.crop.size, self.source_size
        axes = [(np.arange(n) + 0.5) / scale for n, scale in zip((width, height), self.crop.scale, strict=True)]
        x, y = (axis + corner for axis, corner in zip(axes, self.crop.corner, strict=True))
        return ((y > 0) & (y < size[1]))[:, None] & ((x > 0) & (x < size[0]))[None]


def prepare(
    track: Track, flame: Flame, settings: CropSettings, *, centered_principal_point: bool = False, force: bool = False
) -> Prepared:
    """Choose the rows, the square and the cameras.

    Frames in which the face is lost are left out at both ends; between tracked frames they stay, with the head that
    the track holds for them, because readers count files and a hole would shift all later frames.

    Raises:
        InputError: The track belongs to another model, no frame is tracked, or there is no one lens.
    """
    check_fingerprint(track.fingerprint, flame, force=force)
    if centered_principal_point and settings.whole:
        raise InputError("The whole picture cannot be cut around its principal point; leave one of the two out.")
    rows, notes = _exported_rows(track)
    chosen = select_rows(track, rows)
    if settings.whole:
        crop = whole_crop(chosen)
    else:
        crop = face_crop(
            chosen, flame, size=settings.size, bbox_scale=settings.bbox_scale,
            centered_principal_point=centered_principal_point,
        )  # fmt: skip
    camera = crop_camera(chosen.camera, crop)
    if centered_principal_point:
        camera = replace(camera, center=(camera.center.new_tensor(crop.size) / 2).expand_as(camera.center))
    points = chosen.landmarks
    if points is not None:
        points = crop.points(points)
    return Prepared(replace(chosen, camera=camera, landmarks=points), rows, crop, track.camera.size, notes)


def cut_frames(prepared: Prepared, frames: Frames) -> Iterator[tuple[int, Float[np.ndarray, "h w 3"]]]:
    """The exported pictures with their numbers, one at a time.

    Raises:
        InputError: A picture is missing, has another size than the track was made with, or comes in the wrong order.
    """
    wanted = prepared.rows.start
    for row, image in frames:
        if row < wanted:
            continue
        if wanted >= prepared.rows.stop:
            return
        if row > wanted:
            break
        pixels = np.asarray(image)
        if pixels.shape != (*prepared.source_size[::-1], 3):
            width, height = prepared.source_size
            raise InputError(
                f"The picture of row {row} has shape {pixels.shape}, but the track was made from pictures of "
                f"{width}x{height}; give the same video."
            )
        yield row - prepared.rows.start, prepared.crop.image(pixels)
        wanted += 1
    if wanted < prepared.rows.stop:
        raise InputError(
            f"The source has no picture for row {wanted} of the track, which has rows to {prepared.rows.stop - 1}; "
            "give the video that was tracked, whole and in order."
        )


def select_rows(track: Track, rows: slice) -> Track:
    """Some rows of a track."""
    count = len(track)
    params = FlameParams(*(getattr(track.params, f.name).expand(count, -1)[rows] for f in fields(FlameParams)))
    lens = {f.name: getattr(track.camera, f.name) for f in fields(Camera) if f.name not in ("size", "orthographic")}
    one_each = {"rotation": (count, 3, 3), "translation": (count, 3), "focal": (count, 2), "center": (count, 2)}
    camera = replace(track.camera, **{name: value.expand(one_each[name])[rows] for name, value in lens.items()})
    arrays = {
        f.name: value[rows]
        for f in fields(Track)
        if f.name != "albedo" and isinstance(value := getattr(track, f.name), np.ndarray)
    }
    return replace(track, params=params, camera=camera, **arrays)


def _exported_rows(track: Track) -> tuple[slice, tuple[str, ...]]:
    held = np.flatnonzero(np.asarray(track.status) != FrameStatus.LOST)
    if not len(held):
        raise InputError(f"No frame of the {len(track)} in the track shows the face; there is nothing to export.")
    first, last = int(held[0]), int(held[-1])
    notes = []
    if first or last + 1 < len(track):
        notes.append(
            f"{first} frames at the start and {len(track) - 1 - last} at the end, without the face, were left out."
        )
    inside = np.asarray(track.status)[first : last + 1]
    unseen = int((inside != FrameStatus.TRACKED).sum())
    if unseen:
        notes.append(
            f"In {unseen} of the exported frames the face was not seen; their heads are bridged or the nearest seen."
        )
    if track.scene is not None and len(np.unique(track.scene[first : last + 1])) > 1:
        notes.append("The track has several shots, which the exported files do not tell apart.")
    return slice(first, last + 1), tuple(notes)


def as_model(params: FlameParams, flame: Flame) -> FlameParams:
    """Parameters in the model's type and on its device."""
    return params.to(dtype=flame.template.dtype, device=flame.template.device)


def row_eyelids(track: Track, flame: Flame, row: int) -> torch.Tensor | None:
    """The eyelids of one row, where both the track and the model have them."""
    if track.eyelids is None or flame.eyelid_basis is None:
        return None
    return torch.as_tensor(np.asarray(track.eyelids[row])).to(flame.template)
