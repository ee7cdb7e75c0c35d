"""`flamehead export`: a tracked video in, files for another program out."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from flamehead.cli._export_tracks import TRACK_FORMATS
from flamehead.cli._outputs import check_file, check_folder, check_not_read
from flamehead.cli._usage import FlameVariant, check_variant
from flamehead.errors import InputError, check_choice

__all__ = ["Export"]

_FILES = ("vhap", "track")
"""Formats that are one npz; the others are folders."""


@dataclass(frozen=True)
class Export:
    """Write a tracked video for other programs.

    metrical: metrical-tracker's output folder, which INSTA reads too. insta: INSTA's data set itself. flashavatar:
    checkpoints, pictures and masks. gaussian-avatars: the data set that VHAP exports. vhap: VHAP's tracked npz. track:
    a track.npz, for results of other programs.
    """

    result: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RESULT")]]
    """A track.npz or its folder; an output folder of metrical-tracker; a run or an export of VHAP."""
    to: Annotated[str, tyro.conf.arg(metavar="|".join(TRACK_FORMATS))]
    """What to write."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR|FILE", aliases=["-o"])]
    """Where to: a folder; for vhap and track an .npz."""
    source: Annotated[Path | None, tyro.conf.arg(metavar="VIDEO|FOLDER")] = None
    """The video or folder of pictures that was tracked; by default where the track says it was."""
    size: int = 512
    """Width and height of the exported pictures, pixels."""
    bbox_scale: float = 2.5
    """Side of the square that is cut out over the longer side of the face."""
    whole: bool = False
    """Keep the pictures as they are, of any shape, instead of cutting a square out."""
    centered_principal_point: bool = False
    """metrical: cut the square around the principal point, as flashavatar and gaussian-avatars always do."""
    mask_grow: float = 0.0
    """Pixels by which the rendered mask is enlarged, to take in what the mesh lacks, such as short hair."""
    mask_feather: float = 2.0
    """Width of the mask's soft edge, pixels."""
    test_frames: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """insta: how many of the last frames are for tests; by default 350, or 30 % of a short track."""
    name: str = "head"
    """flashavatar: the person's name in both folders."""
    motion: Literal["camera", "head"] | None = None
    """track: put all rigid motion into the camera or into the head; by default it stays where it is."""
    no_pictures: bool = False
    """metrical: leave out video/ and video.avi, which no program reads."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    """Frames per second of another program's folder; by default what it says, or 25."""
    overwrite: bool = False
    """Replace an earlier export as a whole."""
    force: bool = False
    """Use another model than the one that the track was made with."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A licensed FLAME file; by default the built-in head."""
    flame_variant: FlameVariant = "unknown"
    """The release of the model, where its file does not say it."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        _check(self)
        from flamehead.cli._heads import open_flame
        from flamehead.formats import open_track

        flame = open_flame(self.model, variant=self.flame_variant, quiet=self.quiet)
        track = open_track(self.result, flame, fps=self.fps, force=self.force)
        done = TRACK_FORMATS[self.to](self, track, flame)
        if not self.quiet:
            for sentence in (*track.warnings, *done.notes):
                print(f"flamehead: warning: {sentence}", file=sys.stderr)
            print(f"Wrote {done.count} frames to {done.folder}")
        return 0


def _check(command: Export) -> None:
    """What can be known to be wrong before anything is opened."""
    check_choice("--to", command.to, TRACK_FORMATS)
    check_variant(command.flame_variant, command.model)
    if command.fps is not None and not (math.isfinite(command.fps) and command.fps > 0):
        raise InputError(f"--fps is {command.fps}; give a positive number of frames per second.")
    if command.to in _FILES:
        if command.out.suffix.lower() != ".npz":
            raise InputError(f"Cannot write {command.out}: --to {command.to} writes one file; name it with .npz.")
        check_file(command.out)
        check_not_read(command.out, [command.result, command.model], what="a file that this command reads")
    else:
        check_folder(command.out)
    if command.motion is not None and command.to != "track":
        raise InputError(
            "--motion belongs to --to track, because the other formats prescribe what moves; leave it out."
        )
