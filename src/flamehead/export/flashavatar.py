"""FlashAvatar's two folders: metrical-tracker checkpoints, and pictures with opacity and two masks.

FlashAvatar reads K's focal length only and takes the middle of the picture for the principal point; pictures are square
and 512 wide. Its picture i + 1 belongs to checkpoint i.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from jaxtyping import Float

from flamehead._types import StrPath
from flamehead.data import Track
from flamehead.errors import InputError
from flamehead.export.folders import Exported, fresh_folder, write_report
from flamehead.export.masks import MaskSettings, Surface, feathered, surface_of
from flamehead.export.metrical import Canonical, canonical_head, canonical_track
from flamehead.export.pictures import write_grey
from flamehead.export.prepared import CropSettings, Frames, Prepared, cut_frames, prepare
from flamehead.formats import write_tracker_frame
from flamehead.io import write_image
from flamehead.model import Flame

__all__ = ["export_flashavatar"]

_SIZE, _TEST = 512, 500
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def export_flashavatar(
    track: Track,
    flame: Flame,
    frames: Frames,
    folder: StrPath,
    *,
    name: str = "head",
    bbox_scale: float = 2.5,
    mask: MaskSettings | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> Exported:
    """Write `metrical-tracker/output/NAME/checkpoint` and `dataset/NAME/{imgs,alpha,parsing}` into a folder.

    Args:
        track: The track.
        flame: Its model.
        frames: The source pictures by row; read once, in order.
        folder: Where to, such as FlashAvatar's own folder; other names in it stay.
        name: The person's.
        bbox_scale: Room around the face; the square grows until the principal point is its middle.
        mask: How the mesh's outline becomes the opacity.
        overwrite: Replace an earlier export of that name.
        force: Use another model than the track's.

    Raises:
        InputError: The track cannot be exported, pictures are missing, or the folders cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"The name {name!r} is no good folder name; use letters, digits, '-' and '_'.")
    settings = CropSettings(size=_SIZE, bbox_scale=bbox_scale)
    prepared = prepare(track, flame, settings, centered_principal_point=True, force=force)
    canonical, surface = canonical_track(prepared, flame), surface_of(flame)
    notes = [*prepared.notes, *canonical.notes]
    notes.append("Opacity and masks are the rendered mesh's and know no hair, glasses or shoulders.")
    if len(prepared) <= _TEST:
        notes.append(
            f"FlashAvatar keeps its last {_TEST} frames for tests, so that none of these {len(prepared)} would be for "
            "training; change its split or export a longer video."
        )
    root = Path(folder)
    with ExitStack() as stack:
        tracked, data = (
            stack.enter_context(fresh_folder(root / place / name, overwrite=overwrite))
            for place in (Path("metrical-tracker", "output"), Path("dataset"))
        )
        (tracked / "checkpoint").mkdir()
        for part in ("imgs", "alpha", "parsing"):
            (data / part).mkdir()
        for frame in canonical.frames:
            write_tracker_frame(tracked / "checkpoint" / f"{frame.frame_id}.frame", frame)
        for index, image in cut_frames(prepared, frames):
            _write_frame(data, index, image, prepared, canonical, flame, surface, mask or MaskSettings())
        for place in (tracked, data):
            write_report(place, prepared, flame, "FlashAvatar", tuple(notes))
    return Exported(root, len(prepared), prepared.rows.start, tuple(notes))


def _write_frame(
    data: Path,
    index: int,
    image: Float[np.ndarray, "H W 3"],
    prepared: Prepared,
    canonical: Canonical,
    flame: Flame,
    surface: Surface,
    settings: MaskSettings,
) -> None:
    name = f"{index + 1:05d}"
    vertices = canonical_head(canonical, prepared.track, flame, index)
    seen = surface.seen(vertices, canonical.camera.row(index))
    write_image(data / "imgs" / f"{name}.jpg", image)
    head = (seen >= 0) & prepared.covered
    write_grey(data / "alpha" / f"{name}.jpg", feathered(seen >= 0, settings) * prepared.covered)
    write_grey(data / "parsing" / f"{name}_neckhead.png", np.where(head, 255, 0).astype(np.uint8))
    mouth = head & surface.mouth[seen]
    write_grey(data / "parsing" / f"{name}_mouth.png", np.where(mouth, 255, 0).astype(np.uint8))
