"""`flamehead render`: parameters and meshes in, pictures and videos out."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import tyro

from flamehead.cli._maps import NUMBERS
from flamehead.cli._outputs import check_file, check_not_read
from flamehead.cli._usage import FlameVariant, UsageError, check_variant
from flamehead.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from flamehead.cli._subjects import Subject
    from flamehead.data import Camera

__all__ = ["Render"]

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
_VIDEOS = (".mp4", ".gif")
_GREY16 = (".png", ".tif", ".tiff")
_LARGEST = 8192
_COLORS = {"white": "#ffffff", "black": "#000000", "grey": "#808080", "gray": "#808080", "studio": "#e3e5e9"}
Map = Literal["color", "clay", "depth", "depth-mm", "normals", "uv", "regions", "wireframe"]

_Behind: TypeAlias = "tuple[float, float, float] | np.ndarray"
"""One colour, or a photo."""


@dataclass(frozen=True)
class Render:
    """Draw heads and meshes, without a display: a picture, or a video of a turntable, a sweep or a track.

    Several inputs, or several heads in one params.npz, share one picture in rows and columns.
    """

    inputs: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE ...")]] = ()
    """params.npz files or meshes (OBJ, PLY, STL, GLB; y up, face towards +z); by default the mean head."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", aliases=["-o"])] = None
    """The picture (.png, .jpg, .webp, .tif, .bmp), video (.mp4, .gif) or numbers of --map (.npy, .npz) to write."""
    size: Annotated[tuple[int, ...], tyro.conf.arg(metavar="PIXELS ...")] = (512,)
    """Of each head's picture: one number, or width and height."""
    yaw: Annotated[float, tyro.conf.arg(metavar="DEG")] = 0.0
    """How far the camera stands to the head's left of the front, degrees."""
    pitch: Annotated[float, tyro.conf.arg(metavar="DEG")] = 0.0
    """How far it stands above, degrees."""
    fov: Annotated[float, tyro.conf.arg(metavar="DEG")] = 20.0
    """Angle between the upper and the lower edge of the picture, degrees; small is a long lens."""
    saved_camera: bool = False
    """See each params.npz by the camera it was fitted with, at its image's size."""
    photo: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The photo that the params.npz were fitted to: draw all of them over it, by their saved cameras."""
    opacity: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 1.0
    """Of what is drawn, 0 to 1."""
    turntable: bool = False
    """Turn once around; a picture shows the steps side by side."""
    sweep: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Move along a named direction and back (see `flamehead pose --list`), or shape:K and expression:K."""
    reach: Annotated[float, tyro.conf.arg(metavar="AMOUNT")] = 2.0
    """How far a sweep goes to either side, standard deviations or units of a turn."""
    frames: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Steps of a turntable or sweep; by default 72 in a video and 8 in a picture."""
    fps: Annotated[float, tyro.conf.arg(metavar="RATE")] = 24.0
    """Frames per second of a video."""
    map: Map = "color"
    """What to show: the surface's colour, plain clay, or another quantity; depth-mm is whole millimetres of 16 bits."""
    background: Annotated[str, tyro.conf.arg(metavar="COLOR")] = "studio"
    """#RRGGBB, white, black, grey or studio."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A licensed FLAME file; by default the built-in head."""
    flame_variant: FlameVariant = "unknown"
    """The release of the model, where its file does not say it."""
    texture: Annotated[str | None, tyro.conf.arg(metavar="FILE|mean")] = None
    """A picture, FLAME_texture.npz, or `mean` of the built-in head, instead of the head's own colours."""
    uv: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """An OBJ mesh with the texture coordinates of a licensed model."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        out = _check(self)
        color = parse_color(self.background)
        from flamehead.cli._subjects import open_subjects
        from flamehead.io import write_image, write_video

        subjects = open_subjects(self)
        count = _count(self, subjects, video=out.suffix.lower() in _VIDEOS)
        behind = color if self.photo is None else _photo(self.photo, subjects)
        if _wants_numbers(self):
            said = _numbers(self, subjects, count)
        elif out.suffix.lower() in _VIDEOS:
            with _progress(count, quiet=self.quiet) as advance:
                frames = (_row(self, subjects, k, count, behind) for k in range(count))
                written = write_video(out, (advance(_sheet(row, color)) for row in frames), fps=self.fps)
            said = f"{written} frames, {written / self.fps:.1f} s"
        else:
            if self.photo is None:
                tiles = [_draw(self, each, k, n, color) for each, k, n in _all(self, subjects, count)]
            else:
                tiles = [picture for k in range(count) for picture in _row(self, subjects, k, count, behind)]
            sheet = _sheet(tiles, color, columns=count if self.turntable or self.sweep else None)
            write_image(out, sheet)
            said = f"{sheet.shape[1]} x {sheet.shape[0]} pixels"
        if not self.quiet:
            print(f"Wrote {out}, {said}.")
        return 0


def parse_color(text: str) -> tuple[float, float, float]:
    """`#RRGGBB` or a name as sRGB in [0, 1].

    Raises:
        UsageError: It is neither.

    Example:
        >>> parse_color("#ff0080")
        (1.0, 0.0, 0.5019607843137255)
    """
    code = _COLORS.get(text.lower(), text).removeprefix("#")
    try:
        red, green, blue = bytes.fromhex(code)
    except ValueError:
        known = ", ".join(_COLORS)
        raise UsageError(f"Cannot understand the background {text!r}; write #RRGGBB or one of {known}.") from None
    return red / 255, green / 255, blue / 255


def _check(command: Render) -> Path:
    """What can be known to be wrong before anything is imported or computed."""
    out = command.out
    if out is None:
        raise UsageError("No file to write was named; the usage is: flamehead render [FILE...] --out head.png")
    suffix = out.suffix.lower()
    if suffix not in (*_PICTURES, *_VIDEOS, *NUMBERS):
        wanted = ", ".join((*_PICTURES, *_VIDEOS, *NUMBERS))
        raise InputError(f"Cannot write {out}: the suffix is {out.suffix!r}, wanted one of {wanted}.")
    check_file(out)
    read = (*command.inputs, command.photo, command.model, command.uv)
    check_not_read(out, (*read, Path(command.texture) if command.texture else None), what="one of its inputs")
    if len(command.size) not in (1, 2) or not all(8 <= side <= _LARGEST for side in command.size):
        got = " ".join(map(str, command.size))
        raise UsageError(f"--size got {got}; give one number or width and height, from 8 to {_LARGEST}.")
    if command.turntable and command.sweep:
        raise UsageError("--turntable and --sweep are two films; ask for one at a time.")
    by_camera = command.saved_camera or command.photo is not None
    if by_camera and (command.turntable or command.yaw or command.pitch):
        raise UsageError(
            "--saved-camera and --photo stand where the photo was taken from; leave out --turntable, --yaw, --pitch."
        )
    check_variant(command.flame_variant, command.model)
    _check_layers(command, suffix)
    _check_view(command)
    return out


def _check_view(command: Render) -> None:
    """Whether the numbers of the view and of a film make sense, each by itself."""
    if not abs(command.pitch) < 90:
        raise UsageError(f"--pitch got {command.pitch:g}; give more than -90 and less than 90 degrees.")
    if not 0 < command.fov < 180:
        raise UsageError(f"--fov got {command.fov:g}; give more than 0 and less than 180 degrees.")
    if not math.isfinite(command.yaw):
        raise UsageError(f"--yaw got {command.yaw:g}; give any angle in degrees.")
    if not 0 < command.fps <= 1000:
        raise UsageError(f"--fps got {command.fps:g}; give frames per second above 0, up to 1000.")
    if command.frames is not None and not 1 <= command.frames <= 10_000:
        raise UsageError(f"--frames got {command.frames}; give 1 to 10000.")
    if not math.isfinite(command.reach):
        raise UsageError(f"--reach got {command.reach:g}; give a finite number.")


def _check_layers(command: Render, suffix: str) -> None:
    """Whether the map, the photo and the kind of file go together."""
    if not 0 <= command.opacity <= 1:
        raise UsageError(f"--opacity got {command.opacity}; give a share from 0 to 1.")
    if command.photo is not None and not command.inputs:
        raise UsageError("--photo shows fitted heads in their photo; name the params.npz of its fit as well.")
    if _wants_numbers(command):
        if command.photo is not None or command.opacity < 1:
            raise UsageError("Numbers are not blended; leave out --photo and --opacity, or write a picture.")
        if command.map in ("clay", "wireframe"):
            raise UsageError(f"--map {command.map} is a picture without numbers; write it as .png.")
        if command.map == "depth-mm" and suffix not in (*_GREY16, *NUMBERS):
            wanted = ", ".join((*_GREY16, *NUMBERS))
            raise InputError(f"Cannot write 16 bits to {command.out}; the suffix for depth-mm is one of {wanted}.")


def _wants_numbers(command: Render) -> bool:
    assert command.out is not None
    return command.out.suffix.lower() in NUMBERS or command.map == "depth-mm"


def _numbers(command: Render, subjects: list[Subject], count: int) -> str:
    """Write what the map holds; says what."""
    from flamehead.cli._maps import map_numbers, write_numbers

    assert command.out is not None
    found = []
    for each, k, n in _all(command, subjects, count):
        found.append(map_numbers(each, *_view(command, each, k, n), command.map))
    return write_numbers(command.out, found, list(subjects[0].regions), command.map)


def _photo(path: Path, subjects: list[Subject]) -> np.ndarray:
    """The photo, if the heads were fitted to it."""
    from flamehead.io import read_image

    photo = read_image(path)
    height, width = photo.shape[:2]
    for subject in subjects:
        wanted = subject.camera(0).size
        if wanted != (width, height):
            raise InputError(
                f"The photo {path} has {width} x {height} pixels, but {subject.name} was fitted to {wanted[0]} x "
                f"{wanted[1]} pixels; give the photo of that fit."
            )
    return photo


def _count(command: Render, subjects: list[Subject], *, video: bool) -> int:
    """How many frames a film has."""
    if command.turntable or command.sweep:
        return command.frames or (72 if video else 8)
    longest = max(len(subject.vertices) for subject in subjects)
    if video and longest == 1:
        raise UsageError("Nothing moves in this video; add --turntable or --sweep NAME, or write a .png instead.")
    return longest


def _own(command: Render, subject: Subject, count: int) -> int:
    """How many tiles of a picture a subject takes."""
    return count if command.turntable or command.sweep else len(subject.vertices)


def _all(command: Render, subjects: list[Subject], count: int) -> Iterator[tuple[Subject, int, int]]:
    """Every frame of every subject, and how many frames that subject has."""
    for each in subjects:
        own = _own(command, each, count)
        yield from ((each, k, own) for k in range(own))


def _row(command: Render, subjects: list[Subject], k: int, count: int, behind: _Behind) -> list[np.ndarray]:
    """Frame `k` of all subjects: side by side, or in the one photo they belong to."""
    if isinstance(behind, tuple):
        return [_draw(command, each, k, count, behind) for each in subjects]
    # From the back to the front, so that nearer heads cover farther ones.
    from flamehead.cli._maps import view_depth

    for each in sorted(subjects, key=lambda each: -float(view_depth(*_view(command, each, k, count)).mean())):
        behind = _draw(command, each, k, count, behind)
    return [behind]


def _draw(command: Render, subject: Subject, k: int, count: int, behind: _Behind) -> np.ndarray:
    """Frame `k` of a subject."""
    from flamehead.cli._subjects import draw_subject

    vertices, camera = _view(command, subject, k, count)
    return draw_subject(subject, vertices, camera, command.map, behind, opacity=command.opacity)


def _view(command: Render, subject: Subject, k: int, count: int) -> tuple[torch.Tensor, Camera]:
    """The head of frame `k` and the camera that sees it."""
    from flamehead.render import orbit_camera

    size = (command.size[0], command.size[-1])
    if command.saved_camera or command.photo is not None:
        camera = subject.camera(k)
    else:
        yaw = command.yaw + (360 * k / count if command.turntable else 0.0)
        camera = orbit_camera(
            subject.vertices,
            size,
            yaw=math.radians(yaw),
            pitch=math.radians(command.pitch),
            fov=math.radians(command.fov),
        )
    # A shorter track waits at its end; a sweep has as many heads as frames.
    return subject.vertices[0 if command.turntable else min(k, len(subject.vertices) - 1)], camera


def _sheet(tiles: list[np.ndarray], color: tuple[float, float, float], *, columns: int | None = None) -> np.ndarray:
    """The tiles in one picture; those of different sizes (saved cameras) are set into the largest."""
    import numpy as np

    from flamehead.render import tile

    height, width = (max(picture.shape[axis] for picture in tiles) for axis in (0, 1))
    for number, picture in enumerate(tiles):
        if picture.shape[:2] != (height, width):
            place = np.broadcast_to(np.array(color, dtype=picture.dtype), (height, width, 3)).copy()
            top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
            place[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            tiles[number] = place
    return tile(tiles, columns=columns, background=color)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Any]:
    """A function that passes a frame on and, on a terminal, moves a bar on standard error."""
    if quiet or total < 2 or not sys.stderr.isatty():
        yield lambda frame: frame
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("Drawing", total=total)

        def passed(frame: Any) -> Any:
            bar.advance(task)
            return frame

        yield passed
