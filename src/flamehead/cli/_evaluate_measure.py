"""What `flamehead evaluate` does with one subject; runs in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from flamehead.cli._evaluate_files import Pair, Prediction, Subject
from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["Measured", "Settings", "Unit", "measure", "read_points"]

Unit = Literal["m", "cm", "mm"]


@dataclass(frozen=True)
class Settings:
    """All that the numbers depend on, besides the files."""

    verb: Literal["now", "regions", "vertices", "landmarks"]
    model: str | None = None
    metrical: bool = False
    unit: Unit = "mm"
    scan_unit: Unit = "mm"
    align: Literal["none", "rigid", "similarity"] = "none"
    region: str | None = None
    divide_by: Literal["none", "box", "eyes"] = "eyes"


@dataclass
class Measured:
    """The errors of one subject."""

    errors: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """By image, then by part."""
    failures: dict[str, str] = field(default_factory=dict)
    """A sentence for each image that could not be measured."""


def measure(subject: Subject, settings: Settings) -> Measured:
    """Measure everything of one subject; what is wrong with one image is noted and does not stop the others."""
    measured = Measured()
    if subject.scan is not None:
        try:
            scan = _Scan.read(subject, settings)
        except InputError as error:
            measured.failures = {prediction.name: str(error) for prediction in subject.predictions}
            return measured
        for prediction in subject.predictions:
            _note(measured, prediction.name, lambda p=prediction: _against_scan(p, scan, settings))
        return measured
    for pair in subject.pairs:
        _note(measured, pair.name, lambda p=pair: {"all": _against_truth(p, settings)})
    return measured


def _note(measured: Measured, name: str, work: Any) -> None:
    try:
        measured.errors[name] = work()
    except InputError as error:
        measured.failures[name] = str(error)


@dataclass(frozen=True)
class _Scan:
    """A scan that is measured several times."""

    vertices: np.ndarray
    landmarks: np.ndarray
    regions: dict[str, np.ndarray]

    @staticmethod
    def read(subject: Subject, settings: Settings) -> _Scan:
        from flamehead.evaluate import face_regions, regions_of_scan, seven_of
        from flamehead.io import read_mesh

        assert subject.scan is not None and subject.scan_landmarks is not None
        vertices = read_mesh(subject.scan).vertices
        landmarks = seven_of(read_points(subject.scan_landmarks, columns=3))
        if settings.verb != "regions":
            return _Scan(vertices, landmarks, {})
        flame = _model(settings.model)
        template = flame.arrays.template
        own = flame.landmarks(flame.template, "ibug51" if "ibug68" not in flame.embeddings else "ibug68")
        regions = regions_of_scan(
            vertices,
            landmarks,
            template,
            flame.arrays.faces,
            seven_of(own.double().numpy()),
            face_regions(template, flame.regions),
            scan_unit=settings.scan_unit,
        )
        return _Scan(vertices, landmarks, regions)


def _against_scan(prediction: Prediction, scan: _Scan, settings: Settings) -> dict[str, np.ndarray]:
    from flamehead.evaluate import now_error, region_errors, seven_of

    vertices, faces = _read_mesh(prediction.mesh, settings)
    if prediction.landmarks is not None:
        landmarks = seven_of(read_points(prediction.landmarks, columns=3))
    else:
        landmarks = _landmarks_by_model(prediction, vertices, settings)
    options: Any = {"metrical": settings.metrical, "unit": settings.unit, "scan_unit": settings.scan_unit}
    if settings.verb == "now":
        found = now_error(scan.vertices, scan.landmarks, vertices, faces, landmarks, **options)
        return {"all": found.distances}
    errors = region_errors(scan.vertices, scan.landmarks, scan.regions, vertices, faces, landmarks, **options)
    return {name: error.distances for name, error in errors.items()}


def _against_truth(pair: Pair, settings: Settings) -> np.ndarray:
    from flamehead.evaluate import MILLIMETRES, landmark_error_2d, landmark_error_3d, vertex_error

    scale = MILLIMETRES[settings.unit]
    if settings.verb == "vertices":
        ids = None
        if settings.region is not None:
            flame = _model(settings.model)
            flame.region_faces(settings.region)  # Raises where there is no such region.
            ids = flame.regions[settings.region]
        found, truth = (_read_mesh(file, settings, surface=False)[0] for file in (pair.predicted, pair.truth))
        distances = vertex_error(found, truth, align=settings.align, ids=ids).distances
        if not np.isfinite(distances).all():
            raise InputError(f"{pair.predicted} or {pair.truth} holds NaN coordinates; repair or export it again.")
        return scale * distances
    found, truth = read_points(pair.predicted), read_points(pair.truth)
    if truth.shape[1] == 2:
        distances = landmark_error_2d(found, truth, divide_by=settings.divide_by)
        return distances[np.isfinite(distances)] * (1.0 if settings.divide_by == "none" else 100.0)
    distances = landmark_error_3d(found, truth, align=settings.align).distances
    return scale * distances[np.isfinite(distances)]


def _read_mesh(path: Path, settings: Settings, *, surface: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces; a file of vertices alone gets the faces of the model where their number fits."""
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        arrays = _arrays(path)
        vertices = _named(arrays, ("vertices", "verts", "v", ""), path)
        faces = next((arrays[name] for name in ("faces", "triangles", "f") if name in arrays), np.empty((0, 3), int))
        vertices = vertices[0] if vertices.ndim == 3 and len(vertices) == 1 else vertices
        if vertices.ndim != 2 or vertices.shape[1] != 3 or vertices.dtype.kind not in "fiu":
            raise InputError(f"{path} holds an array {vertices.shape}, wanted vertices (V, 3); save them again.")
    else:
        from flamehead.io import read_mesh

        mesh = read_mesh(path)
        vertices, faces = mesh.vertices, mesh.faces
    if surface and not len(faces):
        flame = _model(settings.model)
        if len(vertices) != len(flame.arrays.template):
            raise InputError(
                f"{path} holds {len(vertices)} vertices without faces, and the model has {len(flame.arrays.template)}; "
                "save the mesh with its faces, or name its model with --model."
            )
        faces = flame.arrays.faces
    return np.asarray(vertices, dtype=np.float64), np.asarray(faces)


def _landmarks_by_model(prediction: Prediction, vertices: np.ndarray, settings: Settings) -> np.ndarray:
    """The seven landmarks of a mesh in the model's topology."""
    import torch

    from flamehead.evaluate import seven_of

    flame = _model(settings.model)
    if len(vertices) != len(flame.arrays.template):
        raise InputError(
            f"There are no landmarks beside {prediction.mesh}; save the seven of NoW as "
            f"{prediction.mesh.with_suffix('.txt').name}, seven rows of x, y, z."
        )
    scheme = "ibug68" if "ibug68" in flame.embeddings else "ibug51"
    points = flame.landmarks(torch.as_tensor(vertices, dtype=flame.template.dtype), scheme)
    return seven_of(points.double().numpy())


def read_points(path: Path, *, columns: int | None = None) -> np.ndarray:
    """Landmarks in a file: `.npy`, `.npz` (`points`, `landmarks`), `.json`, `.txt` or MeshLab's `.pp`; NaN is missing.

    Raises:
        InputError: The file holds no rows of 2 or 3 numbers, or not of `columns`.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".pp":
            from flamehead.assets.points_and_maps import read_picked_points

            picked = read_picked_points(path)
            table = np.where(picked.active[:, None], picked.points, np.nan)
        elif suffix == ".txt":
            rows = path.read_text(encoding="utf-8-sig").replace(",", " ").splitlines()
            table = np.array([[float(word) for word in row.split()] for row in rows if row.strip()])
        elif suffix == ".json":
            import json

            content = json.loads(path.read_text(encoding="utf-8-sig"))
            table = np.array(content["points"] if isinstance(content, dict) else content, dtype=np.float64)
        else:
            table = np.array(_named(_arrays(path), ("points", "landmarks", "lmks", ""), path), dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"Cannot read landmarks from {path} ({error}); give rows of numbers.") from error
    table = table[0] if table.ndim == 3 and len(table) == 1 else table
    if table.ndim != 2 or table.shape[1] not in ((2, 3) if columns is None else (columns,)):
        raise InputError(
            f"The landmarks in {path} have shape {table.shape}; give one row of {columns or '2 or 3'} each."
        )
    return table


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a NumPy file; a single one has no name. Nothing is unpickled."""
    import zipfile

    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"": content}
        with content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"Cannot read {path} as arrays ({type(error).__name__}); save it again with NumPy.") from error


def _named(arrays: dict[str, np.ndarray], names: tuple[str, ...], path: Path) -> np.ndarray:
    for name in names:
        if name in arrays:
            return arrays[name]
    raise InputError(f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}, wanted {names[0]!r}; save it again.")


@cache
def _model(path: str | None) -> Flame:
    from flamehead.model import load_flame

    return load_flame(path)
