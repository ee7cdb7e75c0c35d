"""Scans and registrations on disk."""

from __future__ import annotations

import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
from jaxtyping import Float

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.data import Camera, FlameParams
from flamehead.errors import InputError
from flamehead.io.meshes import Mesh, read_mesh

__all__ = ["read_scan", "save_registration"]

_FORMAT = 1
_MAX_BYTES = 4_000_000_000
_VERTICES, _FACES, _COLORS = ("vertices", "v", "points", "verts"), ("faces", "f", "triangles"), ("colors", "colours")


def read_scan(path: StrPath) -> Mesh:
    """Read a scan: what `read_mesh` reads, and `.npz` with `vertices` (or `points`) and perhaps `faces` and `colors`.

    Raises:
        InputError: The file is missing or is no mesh.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        return read_mesh(path)
    if not path.is_file():
        raise InputError(f"There is no mesh file {path}; check the name.")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
                raise ValueError("it is far too large")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        vertices = np.asarray(_first(arrays, _VERTICES), dtype=np.float64).reshape(-1, 3)
        faces = _first(arrays, _FACES) if any(name in arrays for name in _FACES) else np.zeros((0, 3))
        faces = np.asarray(faces).astype(np.int64).reshape(-1, 3)
        colors = next((np.asarray(arrays[name], dtype=np.float64) for name in _COLORS if name in arrays), None)
    # Parsers fail on broken files in every way that Python knows.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(".;")
        raise InputError(f"Cannot read {path} as a scan ({reason}); give an npz with vertices and faces.") from error
    if colors is not None and colors.shape != vertices.shape:
        colors = None
    elif colors is not None and colors.max(initial=0.0) > 1.0:
        colors = colors / 255.0
    if not len(vertices) or not np.isfinite(vertices).all():
        raise InputError(f"The scan {path} is empty or holds NaN or infinite coordinates; repair or export it again.")
    if len(faces) and not (0 <= faces.min() and faces.max() < len(vertices)):
        raise InputError(f"The faces of {path} name vertices that it does not have; export it again.")
    return Mesh(vertices, faces, colors)


def save_registration(
    path: StrPath,
    params: FlameParams,
    camera: Camera,
    *,
    scale: float,
    offsets: Float[np.ndarray, "V 3"] | None = None,
    fingerprint: str,
    status: str,
    model_source: str = "",
) -> None:
    """Write a head registered to a scan as `.npz` that `load_params` reads like any fit.

    Args:
        path: The file to write.
        params: Of the head, metres.
        camera: Any view of it.
        scale: Metres per unit of the scan, key `scan_scale`: vertices / scale lie in the scan's frame.
        offsets: Displacements of the head at rest, metres, key `offsets`: `flame(params, frame_offsets=offsets)`.
        fingerprint: Of the model.
        status: How the solver ended.
        model_source: `FlameArrays.source` of the model.
    """
    arrays = {field.name: getattr(params, field.name).detach().cpu().numpy() for field in fields(FlameParams)}
    for name in ("rotation", "translation", "focal", "center"):
        arrays[f"camera_{name}"] = getattr(camera, name).detach().cpu().numpy()
    arrays["camera_size"] = np.array(camera.size, dtype=np.int64)
    arrays |= {"format": np.array(_FORMAT, dtype=np.int64), "scan_scale": np.array(scale)}
    if offsets is not None:
        arrays["offsets"] = offsets
    texts = {"fingerprint": fingerprint, "model_source": model_source, "status": status}
    arrays |= {name: np.array(text) for name, text in texts.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _first(arrays: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    for name in names:
        if name in arrays:
            return arrays[name]
    raise ValueError(f"it holds {', '.join(sorted(arrays)[:8]) or 'nothing'} but no {names[0]}")
