"""What `flamehead export` writes from a tracked video and its pictures: one function for each word of `--to`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro

from flamehead.cli._outputs import check_file, check_folder, check_not_read
from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.cli.export import Export
    from flamehead.data import Track
    from flamehead.export import CropSettings, Exported, MaskSettings
    from flamehead.export.prepared import Frames
    from flamehead.model import Flame

__all__ = ["TRACK_FORMATS", "TrackOptions", "Writer", "export_track"]

_FILES = ("vhap", "track")
"""Formats that are one npz; the others are folders."""


@dataclass(frozen=True)
class TrackOptions:
    """Options of the formats that are written from a tracked video."""

    source: Annotated[Path | None, tyro.conf.arg(metavar="VIDEO|FOLDER")] = None
    """Tracks: the video or folder that was tracked; by default where the track says it was."""
    size: int = 512
    """Tracks: width and height of the exported pictures, pixels."""
    bbox_scale: float = 2.5
    """Tracks: side of the square that is cut out over the longer side of the face."""
    whole: bool = False
    """Tracks: keep the pictures as they are, of any shape, instead of cutting a square out."""
    centered_principal_point: bool = False
    """metrical: cut the square around the principal point, as flashavatar and gaussian-avatars always do."""
    mask_grow: float = 0.0
    """Tracks: pixels by which the rendered mask is enlarged, to take in what the mesh lacks, such as short hair."""
    mask_feather: float = 2.0
    """Tracks: width of the mask's soft edge, pixels."""
    test_frames: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """insta: how many of the last frames are for tests; by default 350, or 30 % of a short track."""
    name: str = "head"
    """flashavatar: the person's name in both folders."""
    motion: Literal["camera", "head"] | None = None
    """track: put all rigid motion into the camera or into the head; by default it stays where it is."""
    no_pictures: bool = False
    """metrical: leave out video/ and video.avi, which no program reads."""
    overwrite: bool = False
    """Tracks: replace an earlier export as a whole."""
    force: bool = False
    """Tracks: use another model than the one that the track was made with."""


Writer: TypeAlias = "Callable[[Export, Track, Flame], Exported]"
"""Writes to `command.out`."""


def export_track(command: Export) -> int:
    """Open the track and write it; what a user should know goes to standard error."""
    _check(command)
    from flamehead.cli._heads import open_flame
    from flamehead.formats import open_track

    flame = open_flame(command.model, variant=command.flame_variant, quiet=command.quiet)
    track = open_track(command.result, flame, fps=command.fps, force=command.tracks.force)
    done = TRACK_FORMATS[command.to](command, track, flame)
    if not command.quiet:
        for sentence in (*track.warnings, *done.notes):
            print(f"flamehead: warning: {sentence}", file=sys.stderr)
        print(f"Wrote {done.count} frames to {done.folder}")
    return 0


def _check(command: Export) -> None:
    """What can be known to be wrong before anything is opened."""
    if command.to in _FILES:
        if command.out.suffix.lower() != ".npz":
            raise InputError(f"Cannot write {command.out}: --to {command.to} writes one file; name it with .npz.")
        check_file(command.out)
        check_not_read(command.out, [command.result, command.model], what="a file that this command reads")
    else:
        check_folder(command.out)
    if command.tracks.motion is not None and command.to != "track":
        raise InputError("--motion belongs to --to track, as the other formats prescribe what moves; leave it out.")


def write_metrical(command: Export, track: Track, flame: Flame) -> Exported:
    """metrical-tracker's folder."""
    from flamehead.export import export_metrical

    return export_metrical(
        track, flame, _frames(command, track), command.out, crop=_crop(command),
        centered_principal_point=command.tracks.centered_principal_point, pictures=not command.tracks.no_pictures,
        overwrite=command.tracks.overwrite, force=command.tracks.force,
    )  # fmt: skip


def write_insta(command: Export, track: Track, flame: Flame) -> Exported:
    """INSTA's data set."""
    from flamehead.export import export_insta

    return export_insta(
        track, flame, _frames(command, track), command.out, crop=_crop(command), mask=_mask(command),
        test_frames=command.tracks.test_frames, overwrite=command.tracks.overwrite, force=command.tracks.force,
    )  # fmt: skip


def write_flashavatar(command: Export, track: Track, flame: Flame) -> Exported:
    """FlashAvatar's two folders."""
    from flamehead.export import export_flashavatar

    if command.tracks.size != 512 or command.tracks.whole:
        raise InputError("FlashAvatar reads pictures of 512 x 512 only; leave out --size and --whole.")
    return export_flashavatar(
        track, flame, _frames(command, track), command.out, name=command.tracks.name,
        bbox_scale=command.tracks.bbox_scale, mask=_mask(command),
        overwrite=command.tracks.overwrite, force=command.tracks.force,
    )  # fmt: skip


def write_gaussian_avatars(command: Export, track: Track, flame: Flame) -> Exported:
    """The data set of GaussianAvatars."""
    from flamehead.export import export_gaussian_avatars

    return export_gaussian_avatars(
        track, flame, _frames(command, track), command.out, crop=_crop(command), mask=_mask(command),
        overwrite=command.tracks.overwrite, force=command.tracks.force,
    )  # fmt: skip


def write_vhap(command: Export, track: Track, flame: Flame) -> Exported:
    """VHAP's tracked npz."""
    from flamehead.export import export_vhap

    return export_vhap(track, flame, command.out, crop=_crop(command), force=command.tracks.force)


def write_track(command: Export, track: Track, flame: Flame) -> Exported:
    """flamehead's own track, as the other commands read it."""
    from flamehead.export import Exported, move_track
    from flamehead.io import save_track

    moved = track if command.tracks.motion is None else move_track(track, flame, command.tracks.motion)
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

    source: Path | None = command.tracks.source
    return source_frames(track, source)


def _crop(command: Export) -> CropSettings:
    from flamehead.export import CropSettings

    return CropSettings(size=command.tracks.size, bbox_scale=command.tracks.bbox_scale, whole=command.tracks.whole)


def _mask(command: Export) -> MaskSettings:
    from flamehead.export import MaskSettings

    return MaskSettings(grow=command.tracks.mask_grow, feather=command.tracks.mask_feather)
