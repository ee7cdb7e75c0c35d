"""`flamehead export --to flashavatar|gaussian-avatars|insta|metrical|track|vhap`: a track, most with its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flamehead.cli._export_opened import Opened, Written

if TYPE_CHECKING:
    from flamehead.cli.export import Export
    from flamehead.data import Track
    from flamehead.export import CropSettings, Exported, MaskSettings
    from flamehead.export.prepared import Frames

__all__ = ["write_flashavatar", "write_gaussian_avatars", "write_insta", "write_metrical", "write_track", "write_vhap"]


def write_metrical(command: Export, found: Opened, out: Path) -> Written:
    """metrical-tracker's folder."""
    from flamehead.export import export_metrical

    track, options = _track(found), command.data_set
    done = export_metrical(
        track, found.flame, _frames(command, track), out, crop=_crop(command),
        centered_principal_point=options.centered_principal_point, pictures=not options.no_pictures,
        overwrite=options.overwrite,
    )  # fmt: skip
    return _written(done)


def write_insta(command: Export, found: Opened, out: Path) -> Written:
    """INSTA's data set."""
    from flamehead.export import export_insta

    track, options = _track(found), command.data_set
    done = export_insta(
        track, found.flame, _frames(command, track), out, crop=_crop(command), mask=_mask(command),
        test_frames=options.test_frames, overwrite=options.overwrite,
    )  # fmt: skip
    return _written(done)


def write_flashavatar(command: Export, found: Opened, out: Path) -> Written:
    """FlashAvatar's two folders."""
    from flamehead.export import export_flashavatar

    track, options = _track(found), command.data_set
    done = export_flashavatar(
        track, found.flame, _frames(command, track), out, name=options.name, bbox_scale=options.bbox_scale,
        mask=_mask(command), overwrite=options.overwrite,
    )  # fmt: skip
    return _written(done)


def write_gaussian_avatars(command: Export, found: Opened, out: Path) -> Written:
    """The data set of GaussianAvatars."""
    from flamehead.export import export_gaussian_avatars

    track = _track(found)
    done = export_gaussian_avatars(
        track, found.flame, _frames(command, track), out, crop=_crop(command), mask=_mask(command),
        overwrite=command.data_set.overwrite,
    )  # fmt: skip
    return _written(done)


def write_vhap(command: Export, found: Opened, out: Path) -> Written:
    """VHAP's tracked npz."""
    from flamehead.export import export_vhap

    return _written(export_vhap(_track(found), found.flame, out, crop=_crop(command)))


def write_track(command: Export, found: Opened, out: Path) -> Written:
    """flamehead's own track, as the other commands read it."""
    from flamehead.export import move_track
    from flamehead.io import save_track

    track, motion = _track(found), command.track.motion
    save_track(
        out,
        track if motion is None else move_track(track, found.flame, motion),
        model_source=found.flame.arrays.source,
    )
    return Written(out, count=len(track))


def _track(found: Opened) -> Track:
    """`Format.needs_track` has seen that there is one."""
    assert found.track is not None
    return found.track


def _written(done: Exported) -> Written:
    return Written(done.folder, count=done.count, notes=done.notes)


def _frames(command: Export, track: Track) -> Frames:
    from flamehead.export import source_frames

    return source_frames(track, command.data_set.source)


def _crop(command: Export) -> CropSettings:
    from flamehead.export import CropSettings

    return CropSettings(
        size=command.data_set.size, bbox_scale=command.data_set.bbox_scale, whole=command.data_set.whole
    )


def _mask(command: Export) -> MaskSettings:
    from flamehead.export import MaskSettings

    return MaskSettings(grow=command.data_set.mask_grow, feather=command.data_set.mask_feather)
