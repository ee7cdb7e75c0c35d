"""`flamehead fit --same-person` and `--cameras`: several photos, one head."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flamehead.cli._usage import UsageError
from flamehead.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from flamehead.cli.fit import FitPhotos
    from flamehead.data import FlameParams
    from flamehead.formats import CameraRig
    from flamehead.io import SavedAppearance
    from flamehead.model import Flame
    from flamehead.pipeline import ImageFit, SeenImage
    from flamehead.pipeline_person import PersonImages
    from flamehead.solve import Status

__all__ = ["fit_together"]

_SUFFIXES = (".npz", ".npy", ".json")
_MASK_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif")
_SHEET_WIDTH = 1200
"""Pixels, of the rows of the sheet."""


@dataclass(frozen=True)
class _Head:
    """What the photos have in common, to be written beside their folders."""

    params: FlameParams
    mesh: str
    """Name of its mesh file."""
    report: dict[str, Any]
    warnings: Sequence[str]
    status: Status
    loss: float
    person: PersonImages | None = None
    """With the colours that the photos share, where their pixels were fitted."""


def fit_together(command: FitPhotos) -> int:
    """Fit one person or one head to all photos; unlike photos on their own, one that cannot be used stops all."""
    from flamehead.cli._outputs import check_folder
    from flamehead.cli._prepare import built_in_head_coming
    from flamehead.cli.fit import _absent, _folders_of, _open_model, _prepare

    _check(command)
    for sentence in filter(None, map(_absent, command.images)):
        raise InputError(sentence)
    check_folder(command.out)
    rig = None
    if command.cameras is not None:
        from flamehead.formats import read_camera_rig

        rig = read_camera_rig(command.cameras)
        for image in command.images:
            rig.of(image)
    flame = None if command.model is None else _open_model(command)
    with built_in_head_coming(wanted=flame is None) as wait:
        seen = [_see(command, image) for image in command.images]
        flame = _prepare(command, flame, wait)
    folders = _folders_of(command.images, command.out)
    if rig is None:
        head, images = _same_person(command, flame, seen)
    else:
        head, images = _views(flame, seen, rig)
    return _save(command, flame, head, images, folders)


def _check(command: FitPhotos) -> None:
    option = "--same-person" if command.same_person else "--cameras"
    if command.same_person and command.cameras is not None:
        raise UsageError("--cameras is about one moment and implies one person; leave out --same-person.")
    if len(command.images) < 2:
        raise UsageError(f"{option} needs two or more photos, but got {len(command.images)}; name them all.")
    if command.cameras is not None and command.focal is not None:
        raise UsageError("--cameras brings the focal lengths; leave out --focal.")
    if command.landmarks is not None and not command.landmarks.is_dir():
        raise InputError(
            f"{option} with --landmarks needs a folder with one file per photo, named as the photo, but "
            f"{command.landmarks} is none."
        )
    if command.mask is not None and not command.mask.is_dir():
        raise InputError(
            f"{option} with --mask needs a folder with a mask named as the photo for each photo that wants one, but "
            f"{command.mask} is none."
        )


def _see(command: FitPhotos, image: Path) -> SeenImage:
    from flamehead.pipeline import see_image

    landmarks = None
    if command.landmarks is not None:
        files = [command.landmarks / f"{image.stem}{suffix}" for suffix in _SUFFIXES]
        landmarks = next((path for path in files if path.is_file()), None)
        if landmarks is None:
            raise InputError(f"No landmarks for {image.name} in {command.landmarks}; put {files[0].name} there.")
    try:
        return see_image(image, landmarks=landmarks, focal=command.focal, face=command.face)
    except InputError as error:
        named = str(error) if str(image) in str(error) else f"{image}: {error}"
        raise InputError(f"{named.rstrip('.')}, or leave this photo out.") from error


def _masks(command: FitPhotos) -> list[Path | None]:
    """The mask of each photo, where the folder has one."""
    folder = command.mask
    if folder is None:
        return [None] * len(command.images)
    files = [[folder / f"{image.stem}{suffix}" for suffix in _MASK_SUFFIXES] for image in command.images]
    found = [next((path for path in each if path.is_file()), None) for each in files]
    if not any(found):
        raise InputError(f"No mask for any of the photos in {folder}; put {files[0][0].name} there, for example.")
    return found


def _same_person(command: FitPhotos, flame: Flame, seen: Sequence[SeenImage]) -> tuple[_Head, Sequence[ImageFit]]:
    from flamehead.pipeline import PixelOptions
    from flamehead.pipeline_person import fit_person_images

    pixels = PixelOptions(command.texture, command.uv) if command.photometric else None
    person = fit_person_images(seen, flame=flame, one_lens=command.one_lens, photometric=pixels, masks=_masks(command))
    shared, solved = person.landmarks, person.pixels or person.landmarks
    report: dict[str, Any] = {"landmark_error_percent_alone": shared.alone}
    if person.pixels is not None:
        report["albedo"] = person.pixels.albedo
    head = _Head(
        person.neutral, "neutral", report, shared.warnings, solved.status, solved.loss,
        None if person.pixels is None else person,
    )  # fmt: skip
    return head, person.images


def _views(flame: Flame, seen: Sequence[SeenImage], rig: CameraRig) -> tuple[_Head, Sequence[ImageFit]]:
    from flamehead.fit import fit_views
    from flamehead.formats import undistort_image
    from flamehead.pipeline import ImageFit

    start = time.perf_counter()
    cameras = [rig.of(one.image) for one in seen]
    views = fit_views(flame, [one.observation for one in seen], cameras, metric=rig.metric)
    # The solve is one for all photos, so each report tells the time of all.
    together = time.perf_counter() - start
    images = [
        ImageFit(
            fit, flame, undistort_image(one.photo, camera), one.image, "given", {**one.seconds, "fit_all": together}
        )
        for one, camera, fit in zip(seen, cameras, views.fits, strict=True)
    ]
    report = {"metres_per_unit": views.metres_per_unit, "cameras": str(rig.source)}
    return _Head(views.fits[0].params, "mesh", report, (), views.status, views.loss), images


def _save(command: FitPhotos, flame: Flame, head: _Head, images: Sequence[ImageFit], folders: Sequence[Path]) -> int:
    """A folder per photo, then what they share."""
    from flamehead.pipeline import save_image_fit

    reports = []
    for result, folder in zip(images, folders, strict=True):
        reports.append(save_image_fit(result, folder))
        if not command.quiet:
            print(_line(reports[-1], folder), flush=True)
            for sentence in reports[-1]["warnings"]:
                print(f"flamehead: warning: {result.image}: {sentence}", file=sys.stderr, flush=True)
    for sentence in head.warnings if not command.quiet else ():
        print(f"flamehead: warning: {sentence}", file=sys.stderr, flush=True)
    _write_shared(command.out, flame, head, images, reports, folders)
    if not command.quiet:
        what = "head" if head.mesh != "neutral" else "identity" if head.person is None else "identity and one albedo"
        # The steps by pixels are few and of a fixed number, so that their limit is the usual end and no complaint.
        usual = head.person is not None and head.status.reason == "iterations"
        ended = "" if usual else f": {head.status}"
        print(f"One {what} for {len(images)} photos{ended} -> {command.out}", flush=True)
    return 0


def _line(report: dict[str, Any], folder: Path) -> str:
    name, error = Path(report["image"]).name, report["landmark_error_percent"]
    known = f"landmark error {'unknown' if error is None else f'{error:.2f} % of the eye distance'}"
    if "photometric" in report:
        pixels = report["photometric"]
        known += f", PSNR {pixels['psnr_before']:.1f}, then {pixels['psnr_after']:.1f} dB"
    return f"{name}: {known} -> {folder}"


def _write_shared(
    out: Path,
    flame: Flame,
    head: _Head,
    images: Sequence[ImageFit],
    reports: Sequence[dict[str, Any]],
    folders: Sequence[Path],
) -> None:
    import torch

    from flamehead.io import atomic_folder, save_params, write_image, write_json, write_obj, write_ply

    with torch.no_grad():
        points = flame(head.params).vertices.cpu().numpy()
    faces = flame.faces.cpu().numpy()
    with atomic_folder(out) as stage:
        save_params(
            stage / "params.npz",
            head.params,
            images[0].fit.camera,
            fingerprint=flame.fingerprint,
            model_source=flame.arrays.source,
            status=str(head.status),
            appearance=_appearance(head.person),
        )
        if head.person is None:
            write_obj(stage / f"{head.mesh}.obj", points, faces, colors=flame.colors)
        else:
            _write_textures(head.person, points, stage / f"{head.mesh}.obj")
        write_ply(stage / f"{head.mesh}.ply", points, faces, colors=flame.colors)
        write_image(stage / "sheet.png", _sheet(folders))
        names = ("image", "landmark_error_percent", "uncertainty", "photometric", "warnings")
        photos = [{name: report[name] for name in names if name in report} for report in reports]
        status = {"status": str(head.status), "converged": head.status.converged, "loss": head.loss}
        write_json(stage / "report.json", head.report | status | {"warnings": head.warnings, "photos": photos})


def _appearance(person: PersonImages | None) -> SavedAppearance | None:
    """The albedo, under even light: there is none that the photos share."""
    from flamehead.fit.painted import even_light
    from flamehead.pipeline import saved_appearance

    found = None if person is None else saved_appearance(person.images[0].pixels)
    return None if found is None else replace(found, light=even_light())


def _write_textures(person: PersonImages, points: Float[np.ndarray, "V 3"], mesh: Path) -> None:
    """The albedo, and the mesh that wears what all photos show."""
    from flamehead.io import UvMap, write_image, write_textured_obj
    from flamehead.pipeline_person import merged_texture

    pixels = person.images[0].pixels
    assert pixels is not None
    appearance = pixels.appearance
    write_image(mesh.parent / "texture.png", appearance.picture(pixels.result.albedo))
    uv_map = UvMap(appearance.uv, appearance.uv_faces, merged_texture(person))
    faces = person.flame.faces.cpu().numpy()
    write_textured_obj(mesh, points, faces, uv_map=uv_map, picture_name="photo_texture.png")


def _sheet(folders: Sequence[Path]) -> Any:
    """The overlays of all photos below each other."""
    import numpy as np
    from PIL import Image

    from flamehead.render import grid

    rows = []
    for folder in folders:
        with Image.open(folder / "overlay.png") as overlay:
            height = round(overlay.height * _SHEET_WIDTH / overlay.width)
            small = overlay.convert("RGB").resize((_SHEET_WIDTH, height), Image.Resampling.LANCZOS)
        rows.append(np.asarray(small, dtype=np.float32) / 255.0)
    return grid(rows, captions=[folder.name for folder in folders], columns=1)
