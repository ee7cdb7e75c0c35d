"""`flamehead export`: a result in, files for another program out."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, TypeAlias

import tyro

from flamehead.cli._export_arkit import write_arkit
from flamehead.cli._export_html import write_html
from flamehead.cli._export_opened import Opened, Written, open_result
from flamehead.cli._export_options import (
    ArkitOptions,
    DataSetOptions,
    HtmlOptions,
    RigOptions,
    SurfaceOptions,
    TrackOptions,
)
from flamehead.cli._export_rigs import write_blender, write_gltf, write_usd
from flamehead.cli._export_sequences import write_obj, write_ply
from flamehead.cli._export_tracks import (
    write_flashavatar,
    write_gaussian_avatars,
    write_insta,
    write_metrical,
    write_track,
    write_vhap,
)
from flamehead.cli._outputs import check_file, check_folder, check_not_read
from flamehead.cli._usage import FlameVariant, UsageError, check_variant
from flamehead.errors import InputError, check_choice

__all__ = ["FORMATS", "Export", "Format"]


@dataclass(frozen=True)
class Export:
    """Write a fit or a track for other programs, or another program's result for flamehead.

    Animation and games: gltf (a rig in one .glb), blender (that and a script that opens it), usd (a rig), obj and ply
    (a mesh per frame), arkit (52 coefficients as a Live Link Face table).

    To show it: html (one page for any browser).

    Avatars and trackers, from a track and its video: metrical (the folder of metrical-tracker), insta, flashavatar,
    gaussian-avatars (the data set that VHAP exports), vhap (its npz).

    From other programs: track (a track.npz).
    """

    result: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="RESULT")]] = None
    """A params.npz or track.npz, or its folder; a folder of metrical-tracker or VHAP; by default the mean head."""
    to: Annotated[str | None, tyro.conf.arg(metavar="FORMAT")] = None
    """arkit, blender, flashavatar, gaussian-avatars, gltf, html, insta, metrical, obj, ply, track, usd, or vhap."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR", aliases=["-o"])] = None
    """Where to: a file for arkit (.csv), gltf (.glb), html, usd (.usdz, .usdc, .usda), track and vhap (.npz), a folder
    for the others."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    """Frames per second of heads without times, 25 by default; a track.npz knows its own times."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A licensed FLAME file; by default the built-in head."""
    flame_variant: FlameVariant = "unknown"
    """The release of the model, where its file does not say it."""
    force: bool = False
    """Use another model than the one that RESULT was made with."""
    quiet: bool = False
    """Print nothing but errors."""
    surface: SurfaceOptions = field(default_factory=SurfaceOptions)
    rig: RigOptions = field(default_factory=RigOptions)
    html: HtmlOptions = field(default_factory=HtmlOptions)
    arkit: ArkitOptions = field(default_factory=ArkitOptions)
    data_set: DataSetOptions = field(default_factory=DataSetOptions)
    track: TrackOptions = field(default_factory=TrackOptions)

    def run(self) -> int:
        target, out = _checked(self)
        found = open_result(self)
        if target.needs_track and found.track is None:
            raise InputError(
                f"--to {self.to} needs a track, and {self.result or 'the mean head'} is none; follow a video with "
                "`flamehead track VIDEO --out DIR` and export DIR."
            )
        done = target.write(self, found, out)
        if not self.quiet:
            for sentence in (*found.notes, *done.notes):
                print(f"flamehead: warning: {sentence}", file=sys.stderr)
            print("\n".join(done.sentences()))
        return 0


Writer: TypeAlias = Callable[[Export, Opened, Path], Written]


@dataclass(frozen=True)
class Format:
    """One word of `--to`."""

    write: Writer
    """Writes to the path and says what it wrote."""
    example: str
    """A good name for the file or folder."""
    suffixes: tuple[str, ...] = ()
    """Of the one file; empty for a folder."""
    options: tuple[str, ...] = ()
    """Names of the options in the groups of `Export` that it takes."""
    needs_track: bool = False
    """Whether a fit is not enough."""


_GROUPS = ("surface", "rig", "html", "arkit", "data_set", "track")
_SURFACE = ("texture", "uv")
_RIG = (*_SURFACE, "rest", "expressions", "no_correctives")
_CUT = ("size", "bbox_scale")
_DATA = ("source", "overwrite", *_CUT)
_MASK = ("mask_grow", "mask_feather")
_METRICAL = (*_DATA, "whole", "centered_principal_point", "no_pictures")
_FLASHAVATAR = ("source", "overwrite", "bbox_scale", *_MASK, "name")
_INSTA = (*_DATA, *_MASK, "whole", "test_frames")

FORMATS: dict[str, Format] = {
    "arkit": Format(write_arkit, "head.csv", (".csv",), ("ridge", "smoothness")),
    "blender": Format(write_blender, "head", options=_RIG),
    "flashavatar": Format(write_flashavatar, "head", options=_FLASHAVATAR, needs_track=True),
    "gaussian-avatars": Format(write_gaussian_avatars, "head", options=(*_DATA, *_MASK), needs_track=True),
    "gltf": Format(write_gltf, "head.glb", (".glb",), _RIG),
    "html": Format(write_html, "head.html", (".html", ".htm"), (*_SURFACE, "title")),
    "insta": Format(write_insta, "head", options=_INSTA, needs_track=True),
    "metrical": Format(write_metrical, "head", options=_METRICAL, needs_track=True),
    "obj": Format(write_obj, "meshes", options=_SURFACE),
    "ply": Format(write_ply, "meshes"),
    "track": Format(write_track, "track.npz", (".npz",), ("motion",), needs_track=True),
    "usd": Format(write_usd, "head.usdz", (".usdz", ".usdc", ".usda", ".usd"), _RIG),
    "vhap": Format(write_vhap, "tracked_flame_params.npz", (".npz",), _CUT, needs_track=True),
}


def _checked(command: Export) -> tuple[Format, Path]:
    """The format and where it goes, after what can be known to be wrong before anything is opened."""
    if command.to is None:
        raise UsageError(
            "No format was named; the usage is: flamehead export [RESULT] --to FORMAT --out FILE|DIR, where FORMAT is "
            f"one of {', '.join(FORMATS)}."
        )
    check_choice("--to", command.to, FORMATS)
    target = FORMATS[command.to]
    if command.out is None:
        raise UsageError(
            f"Nothing to write to was named; the usage is: flamehead export [RESULT] --to {command.to} --out "
            f"{target.example}"
        )
    _check_options(command, command.to)
    check_variant(command.flame_variant, command.model)
    if command.fps is not None and not (math.isfinite(command.fps) and command.fps > 0):
        raise InputError(f"--fps is {command.fps}; give a positive number of frames per second.")
    _check_out(command.to, command.out)
    surface = command.surface
    read = [command.result, command.model, surface.uv, command.data_set.source]
    read += [] if command.result is None else [command.result / name for name in ("params.npz", "track.npz")]
    read += [Path(surface.texture)] if surface.texture not in (None, "mean", "none") else []
    check_not_read(command.out, read, what="what this command reads")
    return target, command.out


def _check_out(to: str, out: Path) -> None:
    suffixes = FORMATS[to].suffixes
    if not suffixes:
        check_folder(out)
        return
    if out.suffix.lower() not in suffixes:
        wanted = ", ".join(suffixes)
        raise InputError(f"Cannot write {out}: the suffix is {out.suffix!r}, and --to {to} wants {wanted}.")
    check_file(out)


def _check_options(command: Export, to: str) -> None:
    """Refuse what the format would ignore."""
    taken = FORMATS[to].options
    for name in sorted(changed(command) - set(taken)):
        those = ", ".join(word for word, format_ in FORMATS.items() if name in format_.options)
        flag = f"--{name.replace('_', '-')}"
        raise UsageError(f"{flag} belongs to --to {those}, and --to {to} has no use for it; leave it out.")


def changed(command: Export) -> set[str]:
    """Names of the options in the groups that are not as they are by default."""
    groups = (getattr(command, group) for group in _GROUPS)
    return {f.name for options in groups for f in fields(options) if getattr(options, f.name) != f.default}
