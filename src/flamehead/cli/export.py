"""`flamehead export`: a result in, files for another program out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeAlias

import tyro

from flamehead.cli._export_rigs import write_blender, write_gltf, write_usd
from flamehead.cli._export_sequences import write_obj, write_ply
from flamehead.cli._export_tracks import TRACK_FORMATS, TrackOptions, export_track
from flamehead.cli._exported import Exported, open_exported
from flamehead.cli._outputs import check_file, check_folder, check_not_read
from flamehead.cli._usage import FlameVariant, check_variant
from flamehead.errors import InputError, check_choice

__all__ = ["Export"]


@dataclass(frozen=True)
class Export:
    """Write a fit or a track for other programs.

    gltf: a rig in one .glb, for Blender, three.js, Unity, Unreal. blender: that and a script that opens it. usd: a rig
    with usd-core. obj, ply: a folder with a mesh per frame. Of tracks only: metrical (metrical-tracker's output folder,
    which INSTA reads too), insta, flashavatar, gaussian-avatars (VHAP's exported data set), vhap (its tracked npz),
    track (a track.npz, from results of other programs).
    """

    result: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RESULT")]]
    """A params.npz or track.npz, or its folder; for formats of tracks also a folder of metrical-tracker or VHAP."""
    to: Annotated[str, tyro.conf.arg(metavar="blender|gltf|obj|ply|usd|" + "|".join(TRACK_FORMATS))]
    """What to write."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE|DIR", aliases=["-o"])]
    """Where to: a file for gltf (.glb), usd (.usdz, .usdc, .usda), vhap and track (.npz), a folder for the others."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A licensed FLAME file; by default the built-in head."""
    flame_variant: FlameVariant = "unknown"
    """The release of the model, where its file does not say it."""
    texture: Annotated[str | None, tyro.conf.arg(metavar="FILE|mean|none")] = None
    """A picture, FLAME_texture.npz, `mean` of the built-in head, or `none`; by default that of a photometric fit, else
    the built-in head's."""
    uv: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """An OBJ mesh with the texture coordinates of a licensed model."""
    rest: bool = False
    """Rigs: the person at rest in the origin, without the result's pose, expression and animation."""
    expressions: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Rigs: how many expression components are morph targets; by default the named ones, or 50 of a licensed model."""
    no_correctives: bool = False
    """Rigs: leave out the pose correctives, for programs that cannot drive them."""
    tracks: TrackOptions = field(default_factory=TrackOptions)
    fps: float | None = None
    """Frames per second of a params.npz with several heads, or of another program's folder; 25 where nothing says it. A
    track knows its own times."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        check_choice("--to", self.to, (*FORMATS, *TRACK_FORMATS))
        check_variant(self.flame_variant, self.model)
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"--fps is {self.fps}; give a positive number of frames per second.")
        if self.to in TRACK_FORMATS:
            return export_track(self)
        target = FORMATS[self.to]
        if target.suffixes:
            if self.out.suffix.lower() not in target.suffixes:
                wanted = ", ".join(target.suffixes)
                raise InputError(
                    f"Cannot write {self.out}: the suffix is {self.out.suffix!r}, and --to {self.to} wants {wanted}."
                )
            check_file(self.out)
        else:
            check_folder(self.out)
        check_not_read(self.out, [self.result, self.model, self.uv], what="a file that this command reads")
        written = target.write(self, open_exported(self))
        for path in written:
            if not self.quiet:
                print(f"Wrote {path}")
        return 0


Writer: TypeAlias = Callable[[Export, Exported], list[Path]]


@dataclass(frozen=True)
class Format:
    """One word of `--to`."""

    write: Writer
    """Writes to `command.out` and returns what it wrote."""
    suffixes: tuple[str, ...] = ()
    """Of the one file; empty for a folder."""


FORMATS: dict[str, Format] = {
    "blender": Format(write_blender),
    "gltf": Format(write_gltf, (".glb",)),
    "obj": Format(write_obj),
    "ply": Format(write_ply),
    "usd": Format(write_usd, (".usdz", ".usdc", ".usda", ".usd")),
}
