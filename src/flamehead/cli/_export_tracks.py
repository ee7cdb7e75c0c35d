"""What `flamehead export` writes from a tracked video and its pictures: one function for each word of `--to`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from flamehead.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from flamehead.cli.export import Export
    from flamehead.data import Track
    from flamehead.export import CropSettings, Exported, MaskSettings
    from flamehead.export.prepared import Frames
    from flamehead.model import Flame

__all__ = ["TRACK_FORMATS", "Writer"]

Writer: TypeAlias = "Callable[[Export, Track, Flame], Exported]"
"""Writes to `command.out`."""


def write_metrical(command: Export, track: Track, flame: Flame) -> Exported:
    """metrical-tracker's folder."""
    from flamehead.export import export_metrical

    return export_metrical(
        track, flame, _frames(command, track), command.out, crop=_crop(command),
        centered_principal_point=command.centered_principal_point, pictures=not command.no_pictures,
        overwrite=command.overwrite, force=command.force,
    )  # fmt: skip


def write_insta(command: Export, track: Track, flame: Flame) -> Exported:
    """INSTA's data set."""
    from flamehead.export import export_insta

    return export_insta(
        track, flame, _frames(command, track), command.out, crop=_crop(command), mask=_mask(command),
        test_frames=command.test_frames, overwrite=command.overwrite, force=command.force,
    )  # fmt: skip


def write_flashavatar(command: Export, track: Track, flame: Flame) -> Exported:
    """FlashAvatar's two folders."""
    from flamehead.export import export_flashavatar

    if command.size != 512 or command.whole:
        raise InputError("FlashAvatar reads pictures of 512 x 512 only; leave out --size and --whole.")
    return export_flashavatar(
        track, flame, _frames(command, track), command.out, name=command.name, bbox_scale=command.bbox_scale,
        mask=_mask(command), overwrite=command.overwrite, force=command.force,
    )  # fmt: skip


def write_gaussian_avatars(command: Export, track: Track, flame: Flame) -> Exported:
    """The data set of GaussianAvatars."""
    from flamehead.export import export_gaussian_avatars

    return export_gaussian_avatars(
        track, flame, _frames(command, track), command.out, crop=_crop(command), mask=_mask(command),
        overwrite=command.overwrite, force=command.force,
    )  # fmt: skip


def write_vhap(command: Export, track: Track, flame: Flame) -> Exported:
    """VHAP's tracked npz."""
    from flamehead.export import export_vhap

    return export_vhap(track, flame, command.out, crop=_crop(command), force=command.force)


def write_track(command: Export, track: Track, flame: Flame) -> Exported:
    """flamehead's own track, as the other commands read it."""
    from flamehead.export import Exported, move_track
    from flamehead.io import save_track

    moved = track if command.motion is None else move_track(track, flame, command.motion)
    save_track(command.out, moved, model_source=flame.arrays.source)
    return Exported(command.out, len(moved), 0)


TRACK_FORMATS: dict[str, Writer] = {
    "metrical": write_metrical,
    "insta": write_insta,
    "flashavatar": write_flashavatar,
    "gaussian-avatars": write_gaussian_avatars,
    "vhap": write_vhap,
    "track": write_track,
}


def _frames(command: Export, track: Track) -> Frames:
    from flamehead.export import source_frames

    source: Path | None = command.source
    return source_frames(track, source)


def _crop(command: Export) -> CropSettings:
    from flamehead.export import CropSettings

    return CropSettings(size=command.size, bbox_scale=command.bbox_scale, whole=command.whole)


def _mask(command: Export) -> MaskSettings:
    from flamehead.export import MaskSettings

    return MaskSettings(grow=command.mask_grow, feather=command.mask_feather)
