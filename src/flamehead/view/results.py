"""What `flamehead view` opens: a fitted photo, a track, a registered scan, or parameters alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float

from flamehead._types import StrPath
from flamehead.data import Camera, FlameParams, Track
from flamehead.errors import InputError
from flamehead.formats import check_fingerprint
from flamehead.io import Mesh, SavedFit, load_params, read_image, read_mesh, read_scan
from flamehead.io.results import load_arrays
from flamehead.io.tracks import is_track_file, load_track
from flamehead.model import Flame

__all__ = ["PhotoResult", "Result", "ScanResult", "TrackResult", "open_result"]

_LARGEST_MM = 3.0
"""Where the colours of `distances.ply` end, millimetres; what `flamehead scan` writes."""


@dataclass(frozen=True)
class PhotoResult:
    """A head, and the photo that it was fitted to where that is known."""

    name: str
    params: FlameParams
    camera: Camera | None
    """None where the parameters were made without a photo."""
    photo: Float[np.ndarray, "H W 3"] | None = None
    """sRGB in [0, 1]."""
    detected: Float[np.ndarray, "L 2"] | None = None
    """Pixels of the photo."""
    fitted: Float[np.ndarray, "L 2"] | None = None
    """The model's landmarks, pixels."""
    albedo: tuple[float, ...] = ()
    texture: Path | None = None
    """The photo, unwrapped onto the model's texture."""
    report: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What is missing, one sentence each."""


@dataclass(frozen=True)
class ScanResult:
    """A head registered to a scan, in metres in the scan's frame."""

    name: str
    params: FlameParams
    offsets: Float[torch.Tensor, "V 3"] | None
    """Personal displacements of the head at rest, metres."""
    distances: Mesh
    """The scan, coloured by its distance from the head."""
    scan: Mesh | None
    """The scan in its own colours; None where its file is gone."""
    report: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def limit(self) -> float:
        """Distance at which the colours end, millimetres."""
        return _LARGEST_MM


@dataclass(frozen=True)
class TrackResult:
    """A head followed through a video."""

    name: str
    track: Track
    video: Path | None
    """None where the source is gone."""
    albedo: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


Result: TypeAlias = PhotoResult | ScanResult | TrackResult


def open_result(path: StrPath, flame: Flame, *, photo: Path | None = None) -> Result:
    """Open a folder that `fit`, `scan` or `track` wrote, or one of their npz files.

    Args:
        path: The folder or the file.
        flame: The model that the result must belong to.
        photo: The photo or the video, where it is no longer at the place that the result names.

    Raises:
        InputError: There is no result, it belongs to another model, or the photo that was named cannot be read.
    """
    path = Path(path)
    file = _file(path)
    folder = file.parent if path.is_dir() or file.name == "params.npz" else None
    if is_track_file(file):
        return _open_track(file, flame, photo)
    saved = load_params(file)
    _check(saved, flame, file)
    params = _widened(_one(saved.params, file), flame)
    report = {} if folder is None else _report(folder)
    arrays = load_arrays(file)
    registered = "scan_scale" in arrays
    scale = float(arrays["scan_scale"]) if registered else 1.0
    offsets = torch.from_numpy(arrays["offsets"]).to(flame.template) if "offsets" in arrays else None
    if registered and folder is not None and (folder / "distances.ply").is_file():
        return _open_scan(file, folder, params, scale, offsets, report, photo)
    return _open_photo(file, folder, saved, params, report, photo)


def _file(path: Path) -> Path:
    if path.is_dir():
        for name in ("track.npz", "params.npz"):
            if (path / name).is_file():
                return path / name
        raise InputError(f"The folder {path} holds no params.npz or track.npz; give a folder that flamehead wrote.")
    if not path.is_file():
        raise InputError(f"There is no result {path}; give a folder or an .npz file that flamehead wrote.")
    return path


def _check(saved: SavedFit, flame: Flame, path: Path) -> None:
    try:
        check_fingerprint(saved, flame)
    except InputError as error:
        source = f" ({saved.model_source})" if saved.model_source else ""
        raise InputError(
            f"The parameters in {path} belong to the model {saved.fingerprint}{source}, but {flame.arrays.source} is "
            f"{flame.fingerprint}; name theirs with --model."
        ) from error


def _one(params: FlameParams, path: Path) -> FlameParams:
    """A batch is refused, unless it is one head."""
    count = math.prod(params.root.shape[:-1])
    if count != 1:
        raise InputError(f"The file {path} holds {count} heads and no times; view one head, or a track.npz.")
    return FlameParams(*(getattr(params, name).reshape(-1) for name in FlameParams.__dataclass_fields__))


def _widened(params: FlameParams, flame: Flame) -> FlameParams:
    """In the model's dtype, with as many coefficients as it has."""
    params = params.to(dtype=flame.template.dtype)
    values = {name: getattr(params, name) for name in FlameParams.__dataclass_fields__}
    for name, width in (("shape", flame.n_shape), ("expression", flame.n_expression)):
        got = values[name].shape[-1]
        if got > width:
            raise InputError(
                f"The parameters have {got} {name} coefficients, but {flame.arrays.source} has {width}; name the model "
                "they were made with by --model."
            )
        values[name] = torch.nn.functional.pad(values[name], (0, width - got))
    return FlameParams(**values)


def _report(folder: Path) -> dict[str, Any]:
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def _source(named: object, folder: Path | None, given: Path | None) -> Path | None:
    """The file that was given, or that a report names, beside the result or where it was."""
    if given is not None:
        if not given.exists():
            raise InputError(f"There is no photo or video {given}; check the name.")
        return given
    if not isinstance(named, str) or not named:
        return None
    beside = [] if folder is None else [folder / Path(named).name]
    return next((place for place in (Path(named), *beside) if place.exists()), None)


def _open_photo(
    file: Path, folder: Path | None, saved: SavedFit, params: FlameParams, report: dict[str, Any], given: Path | None
) -> PhotoResult:
    notes: list[str] = []
    source = _source(report.get("image"), folder, given)
    photo = None if source is None else read_image(source)
    if "image" in report and photo is None:
        notes.append(f"The photo {report['image']} is not there any more; name it with `--photo FILE`.")
    camera = _one_camera(saved.camera)
    if photo is not None and (photo.shape[1], photo.shape[0]) != camera.size:
        notes.append(
            f"The photo is {photo.shape[1]} x {photo.shape[0]}, the fit's was {camera.size[0]} x {camera.size[1]}."
        )
        photo = None
    if camera.orthographic:
        notes.append("The photo is not shown: the camera of this fit is a parallel projection.")
    detected, fitted = _landmarks(folder)
    unwrapped = None if folder is None else folder / "photo_texture.png"
    return PhotoResult(
        name=str(file if folder is None else folder),
        params=params,
        camera=camera if (photo is not None or report) and not camera.orthographic else None,
        photo=photo,
        detected=detected,
        fitted=fitted,
        albedo=() if saved.albedo is None else tuple(saved.albedo.double().tolist()),
        texture=unwrapped if unwrapped is not None and unwrapped.is_file() else None,
        report=report,
        notes=tuple(notes),
    )


def _one_camera(camera: Camera) -> Camera:
    return Camera(
        camera.rotation.reshape(-1, 3, 3)[0],
        camera.translation.reshape(-1, 3)[0],
        camera.focal.reshape(-1, 2)[0],
        camera.center.reshape(-1, 2)[0],
        size=camera.size,
        orthographic=camera.orthographic,
    )


def _landmarks(folder: Path | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Detected and fitted, in pixels."""
    if folder is None or not (folder / "landmarks.npz").is_file():
        return None, None
    try:
        with np.load(folder / "landmarks.npz", allow_pickle=False) as arrays:
            points, fitted = (np.asarray(arrays[name], dtype=np.float64) for name in ("points", "fitted"))
    except (OSError, ValueError, KeyError):
        return None, None
    return (points, fitted) if points.ndim == 2 and points.shape[1] == 2 == fitted.shape[-1] else (None, None)


def _open_scan(
    file: Path,
    folder: Path,
    params: FlameParams,
    scale: float,
    offsets: torch.Tensor | None,
    report: dict[str, Any],
    given: Path | None,
) -> ScanResult:
    source = _source(report.get("scan"), folder, given)
    notes = () if source else (f"The scan {report.get('scan')} is not there any more; its own colours are not shown.",)
    return ScanResult(
        name=str(folder),
        params=params,
        offsets=offsets,
        distances=_scaled(read_mesh(folder / "distances.ply"), scale),
        scan=None if source is None else _scaled(read_scan(source), scale),
        report=report,
        notes=notes,
    )


def _scaled(mesh: Mesh, scale: float) -> Mesh:
    return Mesh(scale * mesh.vertices, mesh.faces, mesh.colors)


def _open_track(file: Path, flame: Flame, given: Path | None) -> TrackResult:
    track = load_track(file)
    _check(load_params(file), flame, file)
    video = _source(track.source, file.parent, given)
    note = f"The video {track.source} is not there any more; name it with `--photo FILE`."
    notes = (*track.warnings, *(() if video is not None or not track.source else (note,)))
    track = Track(**{**vars(track), "params": _widened(track.params, flame)})
    albedo = () if track.albedo is None else tuple(np.asarray(track.albedo, dtype=np.float64).tolist())
    return TrackResult(str(file), track, video, albedo, notes)
