"""`flamehead fit`: photos in, heads out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from flamehead.errors import FlameheadError, InputError

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["FitPhotos"]


@dataclass(frozen=True)
class FitPhotos:
    """Fit a head to the face in each photo.

    One photo: the files go into DIR. Several: into a folder each, named after the photo. Per photo: params.npz, mesh.obj
    and mesh.ply (with vertex colours), overlay.png, landmarks.npz, report.json.
    """

    images: tyro.conf.Positional[tuple[Path, ...]]
    """Photos: JPEG, PNG, WebP, TIFF, BMP."""
    out: Path
    """Folder for the results."""
    model: Path | None = None
    """A licensed FLAME model file; the built-in head by default."""
    landmarks: Path | None = None
    """Landmarks of the one photo (npy, npz or json with 68, 105, 468 or 478 points) instead of the detector."""
    focal: float | None = None
    """Focal length in pixels; by default from EXIF, else estimated."""
    face: int = 0
    """Which face: 0 is the largest in the photo, 1 the next, and so on."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        _check(self)
        folders = _folders(self.images, self.out)
        failed: list[tuple[Path, str]] = []
        flame = _ready(self)
        with _progress(len(self.images), quiet=self.quiet) as advance:
            for image, folder in zip(self.images, folders, strict=True):
                try:
                    report = _fit_one(self, image, folder, flame)
                except FlameheadError as error:
                    failed.append((image, str(error)))
                else:
                    if not self.quiet:
                        print(_line(report, folder), flush=True)
                advance()
        if failed and len(self.images) == 1:
            raise InputError(failed[0][1])
        for image, sentence in failed:
            print(f"flamehead: {image}: {sentence}", file=sys.stderr)
        if failed:
            count = f"{len(failed)} of {len(self.images)} photos"
            print(f"flamehead: {count} failed, see above; the others are in {self.out}.", file=sys.stderr)
        return 1 if failed else 0


def _check(command: FitPhotos) -> None:
    """What can be known to be wrong before anything is computed."""
    if not command.images:
        raise InputError("No photo was given; name one or more image files.")
    if command.landmarks is not None and len(command.images) > 1:
        raise InputError(f"One landmark file cannot serve {len(command.images)} photos; fit them one by one.")
    if command.out.exists() and not command.out.is_dir():
        raise InputError(f"Cannot write into {command.out}: it is a file; name a folder with --out.")


def _folders(images: tuple[Path, ...], out: Path) -> list[Path]:
    """Where each photo's files go; photos of the same name get numbers."""
    if len(images) == 1:
        return [out]
    taken: dict[str, int] = {}
    folders = []
    for image in images:
        count = taken[image.stem] = taken.get(image.stem, 0) + 1
        folders.append(out / (image.stem if count == 1 else f"{image.stem}_{count}"))
    return folders


def _ready(command: FitPhotos) -> Flame:
    """Load the model; on a machine's first run build the head and compile the kernels side by side."""
    from flamehead.cli._prepare import built_in_head_coming, compile_kernels

    with built_in_head_coming(wanted=command.model is None) as building:
        if building and not command.quiet:
            print("First run on this machine: building the built-in head and compiling kernels ...", flush=True)
        if not any(image.is_file() for image in command.images):
            # Fail fast: nothing to fit, so there is nothing to prepare for.
            raise InputError(_absent(command.images))
        from flamehead.model import load_flame

        compile_kernels()
    flame = load_flame(command.model)
    if command.model is None and not command.quiet:
        print("Model: the built-in head (no licence needed); --model PATH selects a FLAME file.", flush=True)
    return flame


def _absent(images: tuple[Path, ...]) -> str:
    first = images[0]
    if first.is_dir():
        return f"{first} is a folder; name image files, for example {first}/*.jpg."
    return f"Image not found: {first}; check the path."


def _fit_one(command: FitPhotos, image: Path, folder: Path, flame: Flame) -> dict[str, Any]:
    from flamehead.pipeline import fit_image, save_image_fit

    result = fit_image(image, flame=flame, landmarks=command.landmarks, focal=command.focal, face=command.face)
    return save_image_fit(result, folder)


def _line(report: dict[str, Any], folder: Path) -> str:
    name, error = Path(report["image"]).name, report["landmark_error_percent"]
    return (
        f"{name}: landmark error {error:.2f} % of the eye distance, {report['iterations']} iterations, "
        f"{1000 * report['seconds']['fit']:.0f} ms -> {folder}"
    )


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Any]:
    """A progress bar on standard error for several photos on a terminal."""
    if quiet or total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Fitting", total=total)
        yield lambda: bar.advance(task)
