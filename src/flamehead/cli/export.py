"""`flamehead export`: a head or a track in, a file for other programs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from flamehead.cli._outputs import check_file, check_not_read
from flamehead.cli._usage import FlameVariant, UsageError, check_variant
from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.data import FlameParams, Track
    from flamehead.model import Flame

__all__ = ["Export"]

Format = Literal["arkit", "html"]
_SUFFIX = {"arkit": ".csv", "html": ".html"}


@dataclass(frozen=True)
class Export:
    """Write a result for other programs.

    arkit: the 52 ARKit coefficients as a Live Link Face table, and a report of residuals. html: one file that shows
    the head, or plays the track, in any browser, without a network.
    """

    result: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="RESULT")]] = None
    """A params.npz or a track.npz; by default the mean head at rest."""
    to: Annotated[Format | None, tyro.conf.arg(metavar="FORMAT")] = None
    """arkit or html."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", aliases=["-o"])] = None
    """File to write; by default RESULT with another suffix."""
    fps: float = 60.0
    """arkit: frames per second of a RESULT that has no times."""
    ridge: float = 1.0
    """arkit: what a coefficient of 1 costs, square millimetres over the vertices; try 100 for photos and video."""
    smoothness: float = 0.0
    """arkit: ties neighbouring frames; 1 weighs a change like a misfit of the same size."""
    texture: Annotated[str | None, tyro.conf.arg(metavar="FILE|mean")] = None
    """html: a picture, FLAME_texture.npz, or `mean` of the built-in head."""
    uv: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """html: an OBJ mesh with the texture coordinates of a licensed model."""
    title: str | None = None
    """html: what stands above the head; by default the name of RESULT."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A licensed FLAME file; by default the built-in head."""
    flame_variant: FlameVariant = "unknown"
    """The release of the model, where its file does not say it."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        if self.to is None:
            raise UsageError("No format was named; the usage is: flamehead export [RESULT] --to arkit|html --out FILE")
        check_variant(self.flame_variant, self.model)
        out = _target(self, self.to)
        from flamehead.cli._heads import open_flame

        flame = open_flame(self.model, variant=self.flame_variant, quiet=self.quiet)
        head = _opened(self.result, flame)
        for written in _WRITERS[self.to](self, out, flame, head):
            if not self.quiet:
                print(f"Wrote {written}")
        return 0


def _target(command: Export, to: Format) -> Path:
    """The file to write, after seeing that it can be written."""
    suffix = _SUFFIX[to]
    if command.out is None and command.result is None:
        raise UsageError(f"No file to write was named; the usage is: flamehead export --to {to} --out head{suffix}")
    out = command.out or command.result.with_suffix(suffix)  # pyright: ignore[reportOptionalMemberAccess]
    if out.suffix.lower() != suffix:
        raise InputError(f"Cannot write {out}: the suffix is {out.suffix!r}, wanted {suffix!r}.")
    check_not_read(out, [command.result, command.model, command.uv], what="a file that is read")
    check_file(out)
    return out


def _opened(result: Path | None, flame: Flame) -> FlameParams | Track:
    """The heads of a file as they are."""
    if result is None:
        return flame.zeros()
    from dataclasses import replace

    from flamehead.cli._heads import open_saved, widened
    from flamehead.io import is_track_file, load_track

    params = widened(open_saved(result, flame).params, flame)
    if not is_track_file(result):
        return params
    return replace(load_track(result), params=params)


def _write_html(command: Export, out: Path, flame: Flame, head: FlameParams | Track) -> list[Path]:
    from flamehead.cli._heads import load_texture
    from flamehead.export import write_html

    uv_map = None if command.texture is None else load_texture(command.texture, flame, command.uv)
    title = command.title or _title(command.result)
    write_html(out, flame, head, uv_map=uv_map, title=title)
    return [out]


def _title(result: Path | None) -> str:
    """The name of a result; of its folder, where the file is called as all are."""
    if result is None:
        return "flamehead"
    return result.resolve().parent.name if result.stem in ("params", "track") else result.stem


def _write_arkit(command: Export, out: Path, flame: Flame, head: FlameParams | Track) -> list[Path]:
    from flamehead.data import Track
    from flamehead.export import ARKIT_NAMES, arkit_rig, arkit_take, to_arkit, track_to_arkit, write_live_link
    from flamehead.io import write_json

    rig = arkit_rig(flame)
    if isinstance(head, Track):
        fit = track_to_arkit(rig, head, ridge=command.ridge, smoothness=command.smoothness)
    else:
        fit = to_arkit(rig, head, ridge=command.ridge, smoothness=command.smoothness)
    write_live_link(out, arkit_take(fit, head, fps=command.fps))
    report = {
        "model": flame.source,
        "frames": len(fit.coefficients),
        "shapes_mm": {
            name: {"residual": rig.residual_mm[row], "motion": rig.motion_mm[row]}
            for row, name in enumerate(ARKIT_NAMES)
        },
        "frame_mean_mm": fit.residual_mm,
        "frame_worst_mm": fit.worst_mm,
        "notes": rig.approximate,
    }
    beside = out.with_suffix(".json")
    write_json(beside, report)
    if not command.quiet:
        print(f"Residual: {fit.residual_mm.mean():.2f} mm mean over frames, {fit.worst_mm.max():.2f} mm at worst")
    return [out, beside]


_WRITERS: dict[Format, Callable[[Export, Path, Flame, FlameParams | Track], list[Path]]] = {
    "arkit": _write_arkit,
    "html": _write_html,
}
