"""`flamehead fit`: photos in, heads out."""

from __future__ import annotations

import math
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import tyro

from flamehead.cli._begin import Init, check_init, open_beginning
from flamehead.cli._outputs import check_folder
from flamehead.cli._usage import FlameVariant, UsageError, check_variant
from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["FitPhotos"]

_Failed: TypeAlias = list[tuple[Path, str]]
"""Photos that could not be fitted, each with a sentence."""


@dataclass(frozen=True)
class FitPhotos:
    """Fit a head to the face in each photo.

    One photo: the files go into DIR. Several: into a folder each, named after the photo. Per photo: params.npz,
    mesh.obj and mesh.ply (with vertex colours), overlay.png, landmarks.npz, report.json. With --same-person and
    --cameras, DIR also gets what the photos share: params.npz, a mesh, sheet.png, report.json.
    """

    images: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PHOTO ...")]]
    """Photos: JPEG, PNG, WebP, TIFF, BMP, GIF."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR", aliases=["-o"])]
    """Folder for the results."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A licensed FLAME file, or its name in $FLAMEHEAD_ASSETS or the data folder; by default the built-in head."""
    flame_variant: FlameVariant = "unknown"
    """The release of the model, where its file does not say it; 2023-no-jaw keeps the jaw still."""
    landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Landmarks of the one photo (npy, npz or json with 68, 105, 468 or 478 points) instead of the detector; a folder
    of such files, named as the photos, with --same-person or --cameras."""
    focal: Annotated[float | None, tyro.conf.arg(metavar="PIXELS")] = None
    """Focal length in pixels (mm * image width / sensor width); by default from EXIF, else estimated."""
    face: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Which face: 0 is the largest in the photo, 1 the next, and so on."""
    init: Init | None = None
    """Begin with what MICA or DECA says of the photo; needs --checkpoint, and FLAME 2020 as --model."""
    checkpoint: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The official mica.tar or deca_model.tar for --init; nothing in it is executed."""
    identity_weight: Annotated[float | None, tyro.conf.arg(metavar="W")] = None
    """How much the identity of --init is believed, 1 being as much as the mean head is otherwise; by default 10 for
    MICA, while DECA's is only the start."""
    force: bool = False
    """Let --init drive a model that its codes are not for; the head then looks like somebody else."""
    photometric: bool = False
    """Fit the pixels, too: albedo, light and finer shape; adds texture.png, photo_texture.png and mesh.mtl."""
    texture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """With --photometric and a licensed model: FLAME_texture.npz, AlbedoMM's or the BFM's albedo."""
    uv: Annotated[Path | None, tyro.conf.arg(metavar="OBJ")] = None
    """Texture coordinates for a texture file that holds none, such as head_template.obj."""
    mask: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """With --photometric: a picture of the photo's size, white where pixels count; a folder of such pictures, named as
    the photos, with --same-person."""
    same_person: bool = False
    """All photos show one person: one identity, and pose, expression and lens of each photo; with --photometric, one
    albedo, too, and the light of each photo."""
    one_lens: bool = False
    """With --same-person: photos whose focal length is not known were taken at the same one; crops must not differ."""
    cameras: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """All photos were taken at once by known cameras (JSON with K, R, t, or a COLMAP text folder): one head in all."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        _check(self)
        if self.same_person or self.cameras is not None:
            from flamehead.cli._several import fit_together

            return fit_together(self)
        found = [(image, folder, _absent(image)) for image, folder in zip(self.images, _folders(self), strict=True)]
        failed = [(image, sentence) for image, _, sentence in found if sentence]
        if len(failed) < len(found):
            check_folder(self.out)
            failed += _fit_all(self, [(image, folder) for image, folder, sentence in found if not sentence])
        return _outcome(self, failed)


def _check(command: FitPhotos) -> None:
    """What can be known to be wrong before anything is imported or computed."""
    if not command.images:
        raise UsageError("No photo was given; the usage is: flamehead fit IMAGE... --out DIR")
    together = command.same_person or command.cameras is not None
    if command.landmarks is not None and len(command.images) > 1 and not together:
        raise InputError(f"One landmark file cannot serve {len(command.images)} photos; fit them one by one.")
    if command.face < 0:
        raise InputError(f"Asked for face {command.face}; give 0 for the largest, 1 for the next, and so on.")
    if command.landmarks is not None and command.face:
        raise InputError("--face chooses among detected faces; leave it out, as --landmarks names the face already.")
    check_variant(command.flame_variant, command.model)
    _check_pixels(command)
    if (command.cameras is not None and command.photometric) or (together and command.init is not None):
        option = "--photometric" if command.init is None else "--init"
        raise InputError(f"{option} works on single photos; leave it out, or fit the photos without the other option.")
    if command.one_lens and not command.same_person:
        raise InputError("--one-lens is about photos of one person; add --same-person, or leave it out.")
    if command.focal is not None and not (math.isfinite(command.focal) and command.focal > 0):
        raise InputError(f"The focal length is {command.focal}; give a positive number of pixels, or leave it out.")
    built_in, weight = command.model is None, command.identity_weight
    check_init(command.init, command.checkpoint, weight, force=command.force, built_in=built_in)


def _check_pixels(command: FitPhotos) -> None:
    for name in ("texture", "uv", "mask"):
        if getattr(command, name) is not None and not command.photometric:
            raise InputError(f"--{name} belongs to the photometric fit; add --photometric, or leave it out.")
    if command.mask is not None and len(command.images) > 1 and not command.same_person:
        raise InputError(f"One mask cannot serve {len(command.images)} photos; fit them one by one.")
    if command.photometric and command.model is not None and command.texture is None:
        raise InputError(
            "--photometric with a licensed model needs its colours: name FLAME_texture.npz or another texture space by "
            "--texture, or leave --model out to use the built-in head."
        )
    if command.texture is not None and command.model is None:
        raise InputError("--texture lies on FLAME's mesh; name the model with --model, or leave it out.")


def _absent(image: Path) -> str | None:
    """Why there is nothing to read; other defects show when the photo is read."""
    try:
        info = image.stat()
    except FileNotFoundError:
        return f"Image file not found: {image}; check the path."
    except OSError:
        return None
    if stat.S_ISDIR(info.st_mode):
        return f"Cannot read the image {image}: it is a folder; name image files, for example {image / '*.jpg'}."
    if stat.S_ISREG(info.st_mode) and info.st_size == 0:
        return f"Cannot read the image {image}: the file is empty; copy or download it again."
    return None


def _folders(command: FitPhotos) -> list[Path]:
    """Where each photo's files go."""
    return [command.out] if len(command.images) == 1 else _folders_of(command.images, command.out)


def _folders_of(images: Sequence[Path], out: Path) -> list[Path]:
    """A folder for each of several photos; those of the same name get numbers."""
    # Some file systems do not tell capitals from small letters.
    taken: set[str] = set()
    folders = []
    for image in images:
        stem = image.stem if image.stem.strip(".") else f"photo{image.stem.replace('.', '_')}"
        name, count = stem, 1
        while name.casefold() in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(name.casefold())
        folders.append(out / name)
    return folders


def _fit_all(command: FitPhotos, jobs: list[tuple[Path, Path]]) -> _Failed:
    """Fit photo after photo; the model and the kernels are made ready when the first usable photo asks for them."""
    from flamehead.cli._prepare import built_in_head_coming

    failed: _Failed = []
    # A licensed file is opened at once: a wrong one is refused before any photo is read.
    flame = None if command.model is None else _open_model(command)
    with built_in_head_coming(wanted=flame is None) as wait, _progress(len(jobs), quiet=command.quiet) as advance:
        from flamehead.pipeline import PixelOptions, fit_seen, save_image_fit, see_image

        pixels = PixelOptions(command.texture, command.uv, command.mask) if command.photometric else None
        prepared, beginning = False, None
        if command.init is not None and command.checkpoint is not None:
            flame, prepared = _prepare(command, flame, wait), True
            weight, force = command.identity_weight, command.force
            beginning = open_beginning(command.init, command.checkpoint, weight, flame=flame, force=force)
        for image, folder in jobs:
            try:
                seen = see_image(image, landmarks=command.landmarks, focal=command.focal, face=command.face)
                if not prepared:
                    flame, prepared = _prepare(command, flame, wait), True
                start, prior, started = (None, None, None) if beginning is None else beginning.of(seen)
                result = fit_seen(seen, flame=flame, start=start, identity_prior=prior, photometric=pixels)
                report = save_image_fit(result, folder, started=started)
            # Only what is wrong with this photo: without a detector, for example, the next one fails as well.
            except InputError as error:
                failed.append((image, str(error)))
            else:
                if not command.quiet:
                    print(_line(report, folder), flush=True)
                    for sentence in report["warnings"]:
                        print(f"flamehead: warning: {image}: {sentence}", file=sys.stderr, flush=True)
            advance()
    return failed


def _open_model(command: FitPhotos) -> Flame:
    """The model by its path, or by its bare name in the folders where assets are looked for."""
    from flamehead.assets import asset_folders
    from flamehead.model import load_flame

    path = command.model
    assert path is not None
    if not path.exists() and path.name == str(path):
        path = next((folder / path for folder in asset_folders() if (folder / path).is_file()), path)
    flame = load_flame(path, variant=command.flame_variant)
    if not command.quiet:
        print(f"Model: {path} ({flame.n_shape} identity and {flame.n_expression} expression components).", flush=True)
        if "mediapipe468" not in flame.embeddings and "mediapipe478" not in flame.embeddings:
            print(
                "Its landmark files hold no outline and no pupils: only brows, eyes, nose and lips are fitted.",
                flush=True,
            )
    return flame


def _prepare(command: FitPhotos, flame: Flame | None, wait: Callable[[], None] | None) -> Flame:
    """Compile the kernels while another process builds the built-in head, if it does, then load it."""
    from flamehead.cli._prepare import compile_kernels
    from flamehead.model import load_flame

    if wait is not None and not command.quiet:
        print("First run on this machine: building the built-in head and compiling kernels ...", flush=True)
    compile_kernels()
    if flame is not None:
        return flame
    if wait is not None:
        wait()
    if not command.quiet:
        print("Model: the built-in head (no licence needed); --model PATH selects a FLAME file.", flush=True)
    return load_flame()


def _outcome(command: FitPhotos, failed: _Failed) -> int:
    """Say what failed; 1 if anything did."""
    if failed and len(command.images) == 1:
        raise InputError(failed[0][1])
    for image, sentence in failed:
        named = "" if str(image) in sentence else f"{image}: "
        print(f"flamehead: {named}{sentence}", file=sys.stderr)
    if failed:
        rest = "the others are in" if len(failed) < len(command.images) else "nothing was written into"
        count = f"{len(failed)} of {len(command.images)} photos failed, see above"
        print(f"flamehead: {count}; {rest} {command.out}.", file=sys.stderr)
    return 1 if failed else 0


def _line(report: dict[str, Any], folder: Path) -> str:
    name, error = Path(report["image"]).name, report["landmark_error_percent"]
    known = "unknown" if error is None else f"{error:.2f} % of the eye distance"
    if "photometric" in report:
        pixels, seconds = report["photometric"], report["seconds"]
        return (
            f"{name}: colours off by {pixels['l1_before']:.3f}, then {pixels['l1_after']:.3f} (PSNR "
            f"{pixels['psnr_before']:.1f}, then {pixels['psnr_after']:.1f} dB), landmark error {known}, "
            f"{1000 * (seconds['fit'] + seconds['photometric']):.0f} ms -> {folder}"
        )
    return (
        f"{name}: landmark error {known}, {report['iterations']} iterations, "
        f"{1000 * report['seconds']['fit']:.0f} ms -> {folder}"
    )


@contextmanager
def _progress(total: int, *, quiet: bool, what: str = "Fitting") -> Iterator[Any]:
    """A progress bar on standard error for several photos on a terminal."""
    if quiet or total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    # Printed lines pass through the bar only on a terminal: a redirected standard output keeps them.
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
