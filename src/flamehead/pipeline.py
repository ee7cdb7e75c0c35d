"""The main path in words: a photo in, a head out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from flamehead._atomic import disk_errors_explained
from flamehead._timed import timed
from flamehead._types import StrPath
from flamehead.builtin import SOURCE, builtin_head
from flamehead.data import Camera, Fit, FlameParams, Observation
from flamehead.detect import detect_face
from flamehead.errors import InputError
from flamehead.fit import (
    IdentityPrior,
    LandmarkFitSettings,
    describe_uncertainty,
    fit_landmarks,
    landmark_error_percent,
)
from flamehead.fit.appearance import Appearance, load_appearance
from flamehead.fit.painted import paint_head
from flamehead.fit.photometric import PhotometricFit, PhotometricSettings, fit_photometric
from flamehead.fit.unwrap import unwrap_photo
from flamehead.geometry.landmark_sets import FACE_OVAL, LEFT_IRIS, MEDIAPIPE_105, RIGHT_IRIS
from flamehead.geometry.rotation import exp
from flamehead.io import (
    SavedAppearance,
    UvMap,
    atomic_folder,
    read_focal,
    read_image,
    read_landmarks,
    save_fit,
    write_image,
    write_json,
    write_landmarks,
    write_obj,
    write_ply,
    write_textured_obj,
)
from flamehead.model import Flame, load_flame
from flamehead.render import overlay_sheet
from flamehead.render.sheet import Layer

__all__ = [
    "FittedPixels",
    "FocalSource",
    "ImageFit",
    "PixelOptions",
    "SeenImage",
    "fit_image",
    "fit_seen",
    "save_image_fit",
    "see_image",
]

_LARGEST_ERROR = 5.0
"""Percent of the eye distance; faces stay below 2, and what is no face lies above 15."""
_LARGEST_COEFFICIENT = 3.5
"""Standard deviations, one more than where the fit begins to resist; portraits stay below 2.6."""
_LEAST_SCORE = 0.3

FocalSource = Literal["given", "exif", "estimated"]
"""Where the focal length of a fit comes from."""


@dataclass(frozen=True)
class SeenImage:
    """A photo and the landmarks of the face in it."""

    image: Path
    photo: Float[np.ndarray, "H W 3"]
    observation: Observation
    focal: float | None
    """Pixels; None is unknown."""
    focal_source: FocalSource
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time by stage."""


@dataclass(frozen=True)
class ImageFit:
    """A head fitted to one photo, with what is needed to show and save it."""

    fit: Fit
    flame: Flame
    photo: Float[np.ndarray, "H W 3"]
    image: Path
    focal_source: FocalSource
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time by stage."""
    pixels: FittedPixels | None = None
    """What a photometric fit added; `fit` is then its result."""


@dataclass(frozen=True)
class PixelOptions:
    """That a photo is fitted by its pixels, too, and how."""

    texture: StrPath | None = None
    """A texture space of FLAME for a licensed model; the built-in head has its own."""
    uv: StrPath | None = None
    """An OBJ with texture coordinates, for a texture file that holds none."""
    mask: StrPath | None = None
    """A picture of the photo's size, white where pixels count."""
    settings: PhotometricSettings | None = None


@dataclass(frozen=True)
class FittedPixels:
    """The photometric part of a fit."""

    result: PhotometricFit
    appearance: Appearance
    landmarks_before: Float[np.ndarray, "L 2"]
    """`fitted` of the landmark fit that it began with."""
    mask: Bool[np.ndarray, "H W"] | None = None


def fit_image(
    image: StrPath,
    *,
    flame: Flame | None = None,
    landmarks: StrPath | None = None,
    focal: float | None = None,
    face: int = 0,
    settings: LandmarkFitSettings | None = None,
    photometric: PixelOptions | None = None,
) -> ImageFit:
    """Fit a head to the face in a photo.

    Args:
        image: Any picture that Pillow reads; EXIF orientation is applied.
        flame: The model; the built-in head by default.
        landmarks: A landmark file (npy, npz, json) to use instead of the detector.
        focal: Focal length in pixels; by default the one in the photo's EXIF data, else it is estimated with a prior.
        face: Which face, 0 being the largest.
        settings: Of the landmark fit.
        photometric: Go on from the landmarks to the pixels, with albedo and light; None does not.

    Raises:
        InputError: The photo or the landmark file cannot be used.
        NoFaceFound: The detector sees no face.
        MissingExtra: There is no detector and no landmark file.

    Example:
        >>> result = fit_image("portrait.jpg")  # doctest: +SKIP
        >>> str(result.fit.status)  # doctest: +SKIP
        'Converged: the cost fell by less than the tolerance after 7 iterations.'
    """
    seen = see_image(image, landmarks=landmarks, focal=focal, face=face)
    return fit_seen(seen, flame=flame, settings=settings, photometric=photometric)


def see_image(
    image: StrPath, *, landmarks: StrPath | None = None, focal: float | None = None, face: int = 0
) -> SeenImage:
    """The first half of `fit_image`, which needs no model: everything that can be wrong with a photo shows here.

    Raises:
        InputError: The photo or the landmark file cannot be used.
        NoFaceFound: The detector sees no face.
        MissingExtra: There is no detector and no landmark file.
    """
    path, seconds = Path(image), dict[str, float]()
    with timed(seconds, "read"):
        photo = read_image(path)
        size = (photo.shape[1], photo.shape[0])
        source: FocalSource = "given"
        if focal is None:
            focal = read_focal(path)
            source = "estimated" if focal is None else "exif"
        else:
            _check_focal(focal, size)
    with timed(seconds, "detect"):
        seen = detect_face(photo, face=face) if landmarks is None else read_landmarks(Path(landmarks), size=size)
    return SeenImage(path, photo, seen, focal, source, seconds)


def fit_seen(
    seen: SeenImage,
    *,
    flame: Flame | None = None,
    settings: LandmarkFitSettings | None = None,
    start: FlameParams | None = None,
    identity_prior: IdentityPrior | None = None,
    photometric: PixelOptions | None = None,
) -> ImageFit:
    """The second half of `fit_image`; `start` and `identity_prior` as in `fit_landmarks`.

    Raises:
        InputError: Too few landmarks, or they are not a face's.
        AssetNotFound: The model has no landmarks that match.
    """
    seconds = dict(seen.seconds)
    with timed(seconds, "load_model"):
        flame = load_flame() if flame is None else flame
    with timed(seconds, "fit"):
        fit = fit_landmarks(
            flame,
            seen.observation,
            focal=seen.focal,
            settings=settings,
            start=start,
            identity_prior=identity_prior,
        )
    result = ImageFit(fit, flame, seen.photo, seen.image, seen.focal_source, seconds)
    return result if photometric is None else _fit_pixels(result, photometric)


def _fit_pixels(start: ImageFit, options: PixelOptions) -> ImageFit:
    """Refine a landmark fit by the photo's pixels."""
    seconds = dict(start.seconds)
    with timed(seconds, "load_texture"):
        appearance = open_appearance(start.flame, options.texture, options.uv)
        mask = None if options.mask is None else read_mask(options.mask, start.photo.shape[:2])
    with timed(seconds, "photometric"):
        found = fit_photometric(
            start.flame, start.photo, start.fit.observation, start.fit, appearance.space, mask=mask,
            settings=options.settings,
        )  # fmt: skip
    pixels = FittedPixels(found, appearance, start.fit.fitted, mask)
    return replace(start, fit=found.fit, seconds=seconds, pixels=pixels)


@lru_cache(maxsize=1)
def open_appearance(flame: Flame, texture: StrPath | None, uv: StrPath | None) -> Appearance:
    """`load_appearance`, which keeps the last one."""
    # The next photo of a row is fitted with the same colours, and they take a second to load.
    return load_appearance(flame, texture, uv=uv)


def read_mask(path: StrPath, size: tuple[int, ...]) -> Bool[np.ndarray, "H W"]:
    """Pixels that a mask file leaves."""
    mask = read_image(Path(path)).mean(-1) > 0.5
    if mask.shape != size:
        raise InputError(
            f"The mask {path} has {mask.shape[1]} x {mask.shape[0]} pixels, but the photo has {size[1]} x {size[0]}; "
            "give a mask of the photo's size."
        )
    if not mask.any():
        raise InputError(f"The mask {path} is black everywhere; make the pixels white that may count.")
    return mask


def save_image_fit(result: ImageFit, folder: StrPath, *, started: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write `params.npz`, `mesh.obj`, `mesh.ply`, `overlay.png`, `landmarks.npz` and `report.json`, all or nothing.

    The mesh is the posed head in camera-aligned world space (metres, y up), as the overlay shows it. A photometric fit
    also gets `texture.png` (its albedo) and `photo_texture.png`, which `mesh.obj` shows through `mesh.mtl`.

    Args:
        result: What to write.
        folder: Where to; files of other names in it stay.
        started: What the report shall say of the code that the fit began with; its `warnings` join the fit's.

    Returns:
        What `report.json` holds.

    Raises:
        InputError: The folder cannot be written, or the disk is full.
    """
    fit, flame, seconds = result.fit, result.flame, dict(result.seconds)
    with torch.no_grad():
        vertices = flame(fit.params).vertices
    with timed(seconds, "overlay"):
        sheet = _overlay(result)
    report = _report(result)
    if started is not None:
        report["start"] = {name: value for name, value in started.items() if name != "warnings"}
        report["warnings"] += list(started.get("warnings", ()))
    with atomic_folder(folder) as stage, disk_errors_explained(folder):
        with timed(seconds, "write"):
            points, faces = vertices.cpu().numpy(), flame.faces.cpu().numpy()
            save_fit(
                stage / "params.npz", fit, model_source=flame.arrays.source, appearance=saved_appearance(result.pixels)
            )
            if result.pixels is None:
                write_obj(stage / "mesh.obj", points, faces, colors=flame.colors)
            else:
                _write_textures(result, result.pixels, points, stage)
            write_ply(stage / "mesh.ply", points, faces, colors=flame.colors)
            write_image(stage / "overlay.png", sheet)
            seen = fit.observation
            write_landmarks(
                stage / "landmarks.npz",
                detected=seen.points,
                fitted=fit.fitted,
                scheme=seen.scheme,
                size=seen.size,
                source=seen.source,
            )
        report["seconds"] = {name: round(value, 4) for name, value in seconds.items()}
        write_json(stage / "report.json", report)
    return report


def saved_appearance(pixels: FittedPixels | None) -> SavedAppearance | None:
    """Albedo and light as `save_params` wants them."""
    if pixels is None:
        return None
    return SavedAppearance(pixels.result.albedo, pixels.result.light, _text(pixels.appearance.source))


def _write_textures(result: ImageFit, pixels: FittedPixels, points: Float[np.ndarray, "V 3"], stage: Path) -> None:
    """The fitted albedo, the unwrapped photo, and the mesh that wears it."""
    found, appearance = pixels.result, pixels.appearance
    unwrapped = unwrap_photo(
        result.flame, result.photo, result.fit, appearance, found.albedo, found.light, mask=pixels.mask
    )
    write_image(stage / "texture.png", appearance.picture(found.albedo))
    uv_map = UvMap(appearance.uv, appearance.uv_faces, unwrapped.image)
    faces = result.flame.faces.cpu().numpy()
    write_textured_obj(stage / "mesh.obj", points, faces, uv_map=uv_map, picture_name="photo_texture.png")


def _check_focal(focal: float, size: tuple[int, int]) -> None:
    """Refuse what no lens has; beyond the upper limit the head is so far away that its shape drowns in rounding."""
    low, high = 0.2 * max(size), 100.0 * max(size)
    if not low <= focal <= high:
        raise InputError(
            f"The focal length is {focal}; give it in pixels, not in millimetres: from {low:.0f} to {high:.0f} for an "
            f"image of {size[0]} x {size[1]}, or none to estimate it."
        )


def _overlay(result: ImageFit) -> Float[np.ndarray, "h w 3"]:
    """The picture of a fit. The built-in head shows its teeth there; its mesh on disk keeps FLAME's 5023 vertices."""
    fit, flame = result.fit, result.flame
    if flame.arrays.source == SOURCE and flame.arrays is builtin_head().arrays:
        flame = _head_with_teeth(flame.template.dtype, flame.template.device)
    shown = np.intersect1d(_shown(fit.observation), fit.landmark_ids)
    with torch.no_grad():
        vertices = flame(fit.params).vertices
    return overlay_sheet(
        result.photo,
        vertices,
        flame.faces,
        fit.camera,
        detected=fit.observation.points[shown],
        fitted=fit.fitted[shown],
        colors=flame.colors if flame.paint is None else flame.paint,
        rotation=exp(fit.params.root),
        layers=None if result.pixels is None else _layers(result, result.pixels),
    )


def _layers(result: ImageFit, pixels: FittedPixels) -> dict[str, Layer]:
    """The painted face with its light, and without."""

    def layer(light: Float[np.ndarray, "9 3"] | None) -> Layer:
        def paint(camera: Camera) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
            found = pixels.result
            painted = paint_head(
                result.flame, found.fit.params, camera, pixels.appearance.space, found.albedo, light, samples=2
            )
            return painted.image, painted.alpha

        return paint

    return {"Albedo and light": layer(pixels.result.light), "Albedo": layer(None)}


@lru_cache(maxsize=1)
def _head_with_teeth(dtype: torch.dtype, device: torch.device) -> Flame:
    # Held by dtype and device: `.to()` would change it under another thread's feet.
    return load_flame(teeth=True, dtype=dtype, device=device)


def _shown(seen: Observation) -> Int[np.ndarray, "K"]:
    """The rows of landmarks that a person wants to see: features and outline, not the hundreds on smooth skin."""
    if seen.scheme not in ("mediapipe468", "mediapipe478"):
        return np.arange(len(seen.points))
    ids = np.concatenate([MEDIAPIPE_105, FACE_OVAL, LEFT_IRIS, RIGHT_IRIS])
    return ids[ids < len(seen.points)]


def _report(result: ImageFit) -> dict[str, Any]:
    """Everything that `report.json` holds but the times."""
    fit, camera = result.fit, result.fit.camera
    error = _landmark_error(fit)
    largest = max(float(c.abs().max()) if c.numel() else 0.0 for c in (fit.params.shape, fit.params.expression))
    photometric = {} if result.pixels is None else {"photometric": _pixel_report(fit, result.pixels)}
    return {
        "image": _text(result.image),
        "model": _text(result.flame.arrays.source),
        "fingerprint": fit.fingerprint,
        "landmark_error_percent": error,
        "largest_coefficient": largest,
        "status": str(fit.status),
        "converged": fit.status.converged,
        "iterations": fit.status.iterations,
        "loss": fit.loss,
        "camera": {
            "rotation": camera.rotation,
            "translation": camera.translation,
            "focal": camera.focal,
            "center": camera.center,
            "size": camera.size,
            "focal_source": result.focal_source,
        },
        "landmarks": {
            "scheme": fit.observation.scheme,
            "source": fit.observation.source,
            "score": fit.observation.score,
            "fitted": len(fit.landmark_ids),
        },
        "uncertainty": describe_uncertainty(result.flame, fit, vertices=_sample(result.flame)),
        **photometric,
        "warnings": _warnings(fit, error, largest, by_pixels=result.pixels is not None),
    }


def _pixel_report(fit: Fit, pixels: FittedPixels) -> dict[str, Any]:
    """What the pixels changed."""
    found, start = pixels.result, replace(fit, fitted=pixels.landmarks_before)
    return {
        "l1_before": found.before.l1,
        "l1_after": found.after.l1,
        "psnr_before": found.before.psnr,
        "psnr_after": found.after.psnr,
        "pixels": found.after.pixels,
        "landmark_error_percent_before": _landmark_error(start),
        "texture": _text(pixels.appearance.source),
        "albedo": found.albedo,
        "light": found.light,
    }


def _sample(flame: Flame) -> Int[np.ndarray, "K"]:
    """Some 150 vertices of the face, or of the head where a model has no regions."""
    face = np.asarray(flame.regions.get("face", np.arange(len(flame.template))))
    return face[:: 1 + len(face) // 150]


def _landmark_error(fit: Fit) -> float | None:
    """None when an outer eye corner was not seen, by which errors are measured."""
    try:
        return landmark_error_percent(fit.observation, fit.fitted)
    except InputError:
        return None


def _warnings(fit: Fit, error: float | None, largest: float, *, by_pixels: bool) -> list[str]:
    """Why a fit that ended well may be wrong all the same, one sentence each."""
    found = []
    # Mirrored landmarks fit well, but only the inside of a head that looks away.
    if error is None:
        found.append("An outer eye corner was not seen, so the landmark error is unknown; check the overlay.")
    if (error is not None and error > _LARGEST_ERROR) or not _faces_camera(fit):
        found.append("The landmarks do not look like a face seen from the front half; check the overlay.")
    # Pixels are followed for a set number of steps, however far they lead.
    if not fit.status.converged and not by_pixels:
        found.append(f"The fit is not finished: {fit.status}")
    if not largest < _LARGEST_COEFFICIENT:
        found.append(f"A coefficient is at its limit ({largest:.1f} standard deviations); the shape is not credible.")
    if not fit.observation.score >= _LEAST_SCORE:
        found.append(f"The detector is not sure of this face (score {fit.observation.score:.2f}); check the overlay.")
    return found


def _faces_camera(fit: Fit) -> bool:
    """Whether the face's own forward axis points to the camera's side of the head."""
    camera, params = fit.camera, fit.params
    forward = camera.rotation @ exp(params.root)[:, 2]
    head = camera.rotation @ params.translation + camera.translation
    return bool(forward @ head < 0)


def _text(path: StrPath) -> str:
    """A path as text that any file can hold: bytes of a name that are no UTF-8 become question marks."""
    return os.fspath(path).encode("utf-8", "replace").decode()
