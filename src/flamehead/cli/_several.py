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
    from flamehead.cli.fit import FitPhotos
    from flamehead.data import FlameParams
    from flamehead.fit import SharedFit, ViewsFit
    from flamehead.formats import CameraRig
    from flamehead.model import Flame
    from flamehead.pipeline import SeenImage

__all__ = ["fit_together"]

_SUFFIXES = (".npz", ".npy", ".json")
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
    start = time.perf_counter()
    if rig is None:
        head, fits = _same_person(flame, seen)
    else:
        head, seen, fits = _views(flame, seen, rig)
    # The solve is one for all photos, so each report tells the time of all.
    together = time.perf_counter() - start
    seen = [replace(one, seconds={**one.seconds, "fit_all": together}) for one in seen]
    return _save(command, flame, head, seen, fits, folders)


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


def _same_person(flame: Flame, seen: Sequence[SeenImage]) -> tuple[_Head, SharedFit]:
    from flamehead.fit import fit_same_person

    shared = fit_same_person(flame, [one.observation for one in seen], focals=[one.focal for one in seen])
    report = {"landmark_error_percent_alone": shared.alone}
    return _Head(shared.neutral, "neutral", report, shared.warnings), shared


def _views(flame: Flame, seen: Sequence[SeenImage], rig: CameraRig) -> tuple[_Head, list[SeenImage], ViewsFit]:
    from flamehead.fit import fit_views
    from flamehead.formats import undistort_image

    cameras = [rig.of(one.image) for one in seen]
    views = fit_views(flame, [one.observation for one in seen], cameras, metric=rig.metric)
    straight = [
        replace(one, photo=undistort_image(one.photo, camera), focal_source="given")
        for one, camera in zip(seen, cameras, strict=True)
    ]
    report = {"metres_per_unit": views.metres_per_unit, "cameras": str(rig.source)}
    return _Head(views.fits[0].params, "mesh", report, ()), straight, views


def _save(
    command: FitPhotos,
    flame: Flame,
    head: _Head,
    seen: Sequence[SeenImage],
    found: SharedFit | ViewsFit,
    folders: Sequence[Path],
) -> int:
    """A folder per photo, then what they share."""
    from flamehead.pipeline import ImageFit, save_image_fit

    reports = []
    for one, fit, folder in zip(seen, found.fits, folders, strict=True):
        result = ImageFit(fit, flame, one.photo, one.image, one.focal_source, one.seconds)
        reports.append(save_image_fit(result, folder))
        if not command.quiet:
            error = reports[-1]["landmark_error_percent"]
            known = "unknown" if error is None else f"{error:.2f} % of the eye distance"
            print(f"{one.image.name}: landmark error {known} -> {folder}", flush=True)
            for sentence in reports[-1]["warnings"]:
                print(f"flamehead: warning: {one.image}: {sentence}", file=sys.stderr, flush=True)
    for sentence in head.warnings if not command.quiet else ():
        print(f"flamehead: warning: {sentence}", file=sys.stderr, flush=True)
    _write_shared(command.out, flame, head, found, reports, folders)
    if not command.quiet:
        what = "identity" if head.mesh == "neutral" else "head"
        print(f"One {what} for {len(seen)} photos: {found.status} -> {command.out}", flush=True)
    return 0


def _write_shared(
    out: Path,
    flame: Flame,
    head: _Head,
    found: SharedFit | ViewsFit,
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
            found.fits[0].camera,
            fingerprint=flame.fingerprint,
            model_source=flame.arrays.source,
            status=str(found.status),
        )
        write_obj(stage / f"{head.mesh}.obj", points, faces, colors=flame.colors)
        write_ply(stage / f"{head.mesh}.ply", points, faces, colors=flame.colors)
        write_image(stage / "sheet.png", _sheet(folders))
        names = ("image", "landmark_error_percent", "uncertainty", "warnings")
        photos = [{name: report[name] for name in names} for report in reports]
        status = {"status": str(found.status), "converged": found.status.converged, "loss": found.loss}
        write_json(stage / "report.json", head.report | status | {"warnings": head.warnings, "photos": photos})


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
