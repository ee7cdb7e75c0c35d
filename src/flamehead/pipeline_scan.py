"""The main path for scans in words: a surface in, a head out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from flamehead._atomic import disk_errors_explained
from flamehead._timed import timed
from flamehead._types import StrPath
from flamehead.errors import InputError
from flamehead.fit.offsets import OffsetSettings, free_vertices, mouth_intersections
from flamehead.fit.points import PointFit, PointFitSettings, fit_points
from flamehead.fit.scan import ScanFitSettings, ScanRegistration, register_scan
from flamehead.fit.scan_distance import ScanDistances, scan_distances
from flamehead.fit.scan_landmarks import find_scan_landmarks
from flamehead.fit.scan_samples import Scan, clean_scan
from flamehead.fit.scan_units import METRES, UNITS, ScanUnit, check_landmarks_on_scan, guess_unit
from flamehead.geometry.rotation import exp
from flamehead.io import (
    Mesh,
    atomic_folder,
    read_points,
    read_scan,
    save_registration,
    write_image,
    write_json,
    write_obj,
    write_ply,
)
from flamehead.model import Flame, load_flame
from flamehead.render import distance_chart, field_colors, marks, render, side_view

__all__ = ["ScanFit", "fit_scan", "save_scan_fit"]

_LARGEST_MM = 2.0
"""Where the colours of distances end."""
_REACH = 0.01
"""Scan vertices farther than this from the head are not the head's: hair, clothes, background. Metres."""
_LEAST_EXPLAINED = 0.5
_LARGEST_COEFFICIENT = 4.0
_ANGLES = (0.0, 0.9, -0.9)


@dataclass(frozen=True)
class ScanFit:
    """A head registered to a scan, with what is needed to show and save it."""

    registration: ScanRegistration
    flame: Flame
    scan: Mesh
    file: Path
    unit: ScanUnit
    """Of the scan, given or guessed."""
    landmarks: Float[np.ndarray, "L 3"]
    """In the scan's frame and unit."""
    landmark_source: Literal["file", "found"]
    landmark_fit: PointFit
    offsets: Float[torch.Tensor, "V 3"] | None
    """Displacements of the head at rest, metres; None when they were not asked for."""
    vertices: Float[np.ndarray, "V 3"]
    """The head in the scan's frame and unit."""
    distances: ScanDistances
    mouth_intersections: int
    """Pairs of triangles around the mouth that cut each other."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time by stage."""


def fit_scan(
    scan: StrPath | Mesh,
    *,
    flame: Flame | None = None,
    landmarks: StrPath | Float[np.ndarray, "L 3"] | None = None,
    unit: ScanUnit | None = None,
    offsets: bool = False,
    settings: ScanFitSettings | None = None,
    offset_settings: OffsetSettings | None = None,
) -> ScanFit:
    """Register a head to the scan of a head.

    Args:
        scan: A mesh or point cloud (obj, ply, stl, npz, ...), or one in memory; any position, orientation and unit.
        flame: The model; the built-in head by default.
        landmarks: A file (npy, npz, json, txt, csv, pp) or an array with 51, 68, 105, 468 or 478 points in the frame of
            the scan; by default they are found by looking at the scan, which must be a mesh then.
        unit: Of the scan; by default guessed from the size of the face.
        offsets: Let vertices leave the model to lie on the scan.
        settings: Of the registration.
        offset_settings: Of the offsets.

    Raises:
        InputError: The scan or the landmarks cannot be used.
        NoFaceFound: No landmarks were given, and no face was found on the scan.
        MissingExtra: There is no detector and no landmarks were given.
        AssetNotFound: The model has no landmarks that match.

    Example:
        >>> result = fit_scan("scan.obj")  # doctest: +SKIP
        >>> result.unit, result.vertices.shape  # doctest: +SKIP
        ('mm', (5023, 3))
    """
    seconds = dict[str, float]()
    if unit is not None and unit not in UNITS:
        raise InputError(f"There is no unit {unit!r}; choose one of {', '.join(UNITS)}, or none to guess.")
    with timed(seconds, "read"):
        mesh = scan if isinstance(scan, Mesh) else read_scan(scan)
        clean = clean_scan(mesh.vertices, mesh.faces)
        given = None if landmarks is None else _given(landmarks)
    with timed(seconds, "load_model"):
        flame = load_flame() if flame is None else flame
    with timed(seconds, "landmarks"):
        points, found_unit, scale = _landmarks_and_unit(flame, mesh, clean, given, unit)
    free = found_unit == "unknown"
    with timed(seconds, "landmark_fit"):
        start = fit_points(flame, points, scale=None if free else scale, settings=_first_look(given is None))
    with timed(seconds, "registration"):
        registration = register_scan(flame, clean, start, points, free_scale=free, settings=settings)
    with timed(seconds, "offsets"):
        moved = None
        if offsets:
            moved = free_vertices(flame, registration.params, clean, scale=registration.scale, settings=offset_settings)
    with timed(seconds, "distances"):
        vertices = _posed(flame, registration, moved) / registration.scale
        measured = scan_distances(flame, vertices, mesh.vertices, scale=registration.scale)
        crossing = len(mouth_intersections(flame, vertices))
    return ScanFit(
        registration=registration,
        flame=flame,
        scan=mesh,
        file=Path("scan") if isinstance(scan, Mesh) else Path(scan),
        unit=found_unit,
        landmarks=points,
        landmark_source="found" if given is None else "file",
        landmark_fit=start,
        offsets=moved,
        vertices=vertices,
        distances=measured,
        mouth_intersections=crossing,
        seconds=seconds,
    )


def save_scan_fit(result: ScanFit, folder: StrPath) -> dict[str, Any]:
    """Write `params.npz`, `mesh.obj`, `mesh.ply`, `distances.ply`, `overlay.png`, `histogram.png`, `landmarks.npz` and
    `report.json`, all or nothing.

    The meshes are in the scan's frame and unit; `distances.ply` is the scan, coloured by its distance from the head.

    Returns:
        What `report.json` holds.

    Raises:
        InputError: The folder cannot be written, or the disk is full.
    """
    fit, flame, seconds = result.registration, result.flame, dict(result.seconds)
    report, faces = _report(result), flame.arrays.faces
    with timed(seconds, "overlay"):
        far = np.where(result.distances.distances < _REACH, result.distances.distances, np.nan)
        colors = field_colors(1000.0 * far, limits=(0.0, _LARGEST_MM), colormap="heat")
        sheet, camera = _sheet(result, colors)
    with atomic_folder(folder) as stage, disk_errors_explained(folder):
        with timed(seconds, "write"):
            offsets = None if result.offsets is None else result.offsets.detach().cpu().numpy()
            save_registration(
                stage / "params.npz",
                fit.params,
                camera,
                scale=fit.scale,
                offsets=offsets,
                fingerprint=flame.fingerprint,
                status=str(fit.status),
                model_source=flame.arrays.source,
            )
            write_obj(stage / "mesh.obj", result.vertices, faces)
            write_ply(stage / "mesh.ply", result.vertices, faces, colors=flame.colors)
            write_ply(stage / "distances.ply", result.scan.vertices, result.scan.faces, colors=colors)
            write_image(stage / "overlay.png", sheet)
            write_image(stage / "histogram.png", _histogram(result))
            with (stage / "landmarks.npz").open("wb") as file:
                np.savez(file, points=result.landmarks, fitted=result.landmark_fit.fitted)
        report["seconds"] = {name: round(value, 4) for name, value in seconds.items()}
        write_json(stage / "report.json", report)
    return report


def _landmarks_and_unit(
    flame: Flame, mesh: Mesh, clean: Scan, given: Float[np.ndarray, "L 3"] | None, unit: ScanUnit | None
) -> tuple[Float[np.ndarray, "L 3"], ScanUnit, float]:
    """Landmarks in the scan's frame, the unit, and its metres (which mean nothing for an unknown one)."""
    if given is None:
        points = find_scan_landmarks(flame, clean, colors=mesh.colors).points
    else:
        points = given
        check_landmarks_on_scan(points, clean.vertices)
    found, scale = guess_unit(flame, points) if unit is None else (unit, METRES.get(unit, 1.0))
    return points, found, scale


def _given(landmarks: StrPath | Float[np.ndarray, "L 3"]) -> Float[np.ndarray, "L 3"]:
    if isinstance(landmarks, np.ndarray):
        return np.asarray(landmarks, dtype=np.float64)
    return read_points(landmarks)


def _first_look(found: bool) -> PointFitSettings:
    """Found landmarks are many and lie on the surface; those of a file are placed by people."""
    return PointFitSettings() if not found else PointFitSettings(landmark_sigma=2.5e-3)


def _posed(flame: Flame, fit: ScanRegistration, offsets: Float[torch.Tensor, "V 3"] | None) -> Float[np.ndarray, "V 3"]:
    with torch.no_grad():
        return flame(fit.params, frame_offsets=offsets).vertices.cpu().double().numpy()


def _report(result: ScanFit) -> dict[str, Any]:
    """Everything that `report.json` holds but the times."""
    fit, start = result.registration, result.landmark_fit
    missed = 1000.0 * fit.scale * np.linalg.norm(start.fitted - result.landmarks, axis=1)
    coefficients = np.concatenate([fit.params.shape.cpu().numpy(), fit.params.expression.cpu().numpy()])
    return {
        "scan": os.fspath(result.file).encode("utf-8", "replace").decode(),
        "model": result.flame.arrays.source,
        "fingerprint": result.flame.fingerprint,
        "unit": result.unit,
        "scan_scale": fit.scale,
        "vertices": len(result.scan.vertices),
        "faces": len(result.scan.faces),
        "landmarks": {
            "source": result.landmark_source,
            "seen": int(np.isfinite(missed).sum()),
            "mean_mm": float(np.nanmean(missed)),
        },
        "face_mm": _statistics(result.distances.distances[result.distances.in_face]),
        "head_mm": _statistics(result.distances.distances[result.distances.distances < _REACH]),
        "explained": fit.explained,
        "offsets": result.offsets is not None,
        "mouth_intersections": result.mouth_intersections,
        "largest_coefficient": float(np.abs(coefficients).max(initial=0.0)),
        "status": str(fit.status),
        "converged": fit.status.converged,
        "loss": fit.loss,
        "warnings": _warnings(result, float(np.abs(coefficients).max(initial=0.0))),
    }


def _statistics(distances: Float[np.ndarray, "N"]) -> dict[str, float | int | None]:
    """In millimetres."""
    if not len(distances):
        return {"median": None, "mean": None, "std": None, "p95": None, "points": 0}
    d = 1000.0 * distances
    names = {"median": np.median(d), "mean": d.mean(), "std": d.std(), "p95": np.percentile(d, 95)}
    return {**{name: float(value) for name, value in names.items()}, "points": len(d)}


def _warnings(result: ScanFit, largest: float) -> list[str]:
    """Why a registration that ended well may be wrong all the same, one sentence each."""
    fit, found = result.registration, list[str]()
    if fit.explained < _LEAST_EXPLAINED:
        found.append(
            f"Only {100 * fit.explained:.0f} % of the scan lies on the head; check overlay.png and the landmarks."
        )
    if result.unit == "unknown":
        found.append(
            "The scan's unit is unknown, so the head's size is that of an average person; name it with --unit."
        )
    if largest > _LARGEST_COEFFICIENT:
        found.append(f"A coefficient is at its limit ({largest:.1f} standard deviations); the shape is not credible.")
    if result.mouth_intersections:
        found.append("The lips pass through each other; check the mouth.")
    if not fit.status.converged and fit.status.reason != "iterations":
        found.append(f"The fit is not finished: {fit.status}")
    return found


def _histogram(result: ScanFit) -> Float[np.ndarray, "h w 3"]:
    near = result.distances.distances[result.distances.in_face]
    title = (
        "The scan's face holds no vertices."
        if not len(near)
        else (
            f"Distance of {len(near)} scan vertices of the face: median {1000 * np.median(near):.2f} mm, "
            f"mean {1000 * near.mean():.2f} mm"
        )
    )
    return distance_chart(1000.0 * near, _LARGEST_MM, title=title, unit="mm")


def _sheet(result: ScanFit, colors: Float[np.ndarray, "N 3"]) -> tuple[Float[np.ndarray, "h w 3"], Any]:
    """Scan with landmarks, head, and distances, from the front and both sides; and the front camera, in metres."""
    fit, flame, size = result.registration, result.flame, (400, 440)
    like = torch.float32
    scale, scan = fit.scale, torch.as_tensor(fit.scale * result.scan.vertices).to(like)
    head, landmarks = torch.as_tensor(scale * result.vertices).to(like), scale * result.landmarks
    # Upright is how the head is held, not the chest.
    turn = exp(fit.params.root.cpu().double()) @ exp(fit.params.neck.cpu().double())
    columns, front = [], None
    for angle in _ANGLES:
        view = side_view(head, size, rotation=turn, angle=angle, fill=0.8)
        front = view if front is None else front
        x_camera = torch.as_tensor(landmarks).to(like) @ view.rotation.mT + view.translation
        pixels = (view.focal * x_camera[:, :2] / x_camera[:, 2:] + view.center).numpy()
        faces = torch.as_tensor(result.scan.faces)
        if len(faces):
            seen = render(scan, faces, view, colors=result.scan.colors, background=(1.0, 1.0, 1.0)).image
            heat = render(scan, faces, view, colors=colors, background=(1.0, 1.0, 1.0)).image
        else:
            seen, heat = _dots(scan, view, None), _dots(scan, view, colors)
        model = render(head, flame.faces.cpu(), view, background=(1.0, 1.0, 1.0)).image
        columns.append(np.concatenate([marks(seen, pixels, (0.85, 0.1, 0.1), radius=1.3), model, heat], axis=0))
    return np.concatenate(columns, axis=1), front


def _dots(points: Float[torch.Tensor, "N 3"], view: Any, colors: Float[np.ndarray, "N 3"] | None) -> np.ndarray:
    """A point cloud, each point one pixel, near ones over far ones."""
    width, height = view.size
    x_camera = points @ view.rotation.mT + view.translation
    pixels = (view.focal * x_camera[:, :2] / x_camera[:, 2:] + view.center).floor().long().numpy()
    picture = np.ones((height, width, 3), dtype=np.float32)
    inside = np.flatnonzero((pixels >= 0).all(axis=1) & (pixels < [width, height]).all(axis=1))
    inside = inside[np.argsort(-x_camera[inside, 2].numpy(), kind="stable")]
    shown = np.full((len(points), 3), 0.4) if colors is None else colors
    picture[pixels[inside, 1], pixels[inside, 0]] = shown[inside]
    return picture
