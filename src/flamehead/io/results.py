"""A fit on disk: parameters, camera and the fingerprint of the model they belong to, as npz without pickles."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flamehead._atomic import atomic_path
from flamehead.data import Camera, Fit, FlameParams
from flamehead.errors import InputError

__all__ = ["SavedFit", "load_params", "save_fit", "save_params", "write_json"]

_FORMAT = 1
_PARAMS = tuple(field.name for field in fields(FlameParams))
_CAMERA = {"rotation": (3, 3), "translation": (3,), "focal": (2,), "center": (2,)}
_TEXTS = ("fingerprint", "model_source", "status")
_MAX_BYTES = 2_000_000_000
_REMEDY = "give a params.npz written by flamehead"


@dataclass(frozen=True)
class SavedFit:
    """What `params.npz` holds: enough to pose, render and export the fitted head again."""

    params: FlameParams
    camera: Camera
    fingerprint: str
    """Of the model that `params` belong to; compare it before applying them."""
    model_source: str
    """Where that model came from when the fit was made: a path or `built-in head`; empty if unknown."""
    status: str
    """How the solver ended, as a sentence."""
    format_version: int


def save_fit(path: str | Path, fit: Fit, *, model_source: str = "") -> None:
    """Write the parameters and the camera of a fit as `.npz`; float width and batch axes are kept.

    The keys are the fields of `FlameParams`, `camera_rotation`, `camera_translation`, `camera_focal`, `camera_center`,
    `camera_size`, `fingerprint`, `model_source`, `status` and `format`.

    Args:
        path: The file to write, ending in `.npz`.
        fit: The fit; its landmarks are written by `write_landmarks`.
        model_source: `FlameArrays.source` of the model.
    """
    save_params(
        path, fit.params, fit.camera, fingerprint=fit.fingerprint, model_source=model_source, status=str(fit.status)
    )


def save_params(
    path: str | Path, params: FlameParams, camera: Camera, *, fingerprint: str, model_source: str = "", status: str = ""
) -> None:
    """Write parameters that no solver found, such as a network's, in the layout of `save_fit`; `load_params` reads it.

    Args:
        path: The file to write, ending in `.npz`.
        params: The head.
        camera: From where it is seen.
        fingerprint: Of the model that `params` belong to.
        model_source: `FlameArrays.source` of the model.
        status: How they came about, a sentence.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise InputError(f"Cannot write {path}: the suffix is {path.suffix!r}, wanted '.npz'.")
    arrays = {name: _to_array(getattr(params, name)) for name in _PARAMS}
    arrays |= {f"camera_{name}": _to_array(getattr(camera, name)) for name in _CAMERA}
    broken = [name for name, value in arrays.items() if not np.isfinite(value).all()]
    if broken:
        raise InputError(f"Cannot save the fit to {path}: {broken[0]!r} is not finite; fit again with other settings.")
    arrays["camera_size"] = np.array(camera.size, dtype=np.int64)
    arrays["format"] = np.array(_FORMAT, dtype=np.int64)
    texts = dict(zip(_TEXTS, (fingerprint, model_source, status), strict=True))
    arrays |= {name: np.array(text) for name, text in texts.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load_params(path: str | Path) -> SavedFit:
    """Read what `save_fit` wrote.

    Raises:
        InputError: The file is missing, damaged, of another program or of a newer flamehead.
    """
    path = Path(path)
    arrays = _load_arrays(path)
    if "format" not in arrays:
        names = ", ".join(map(repr, sorted(arrays)[:8])) or "nothing"
        raise InputError(f"The file {path} is not a saved fit of flamehead (it holds {names}); {_REMEDY}.")
    version = _scalar(arrays, "format", path)
    if version > _FORMAT:
        raise InputError(
            f"The file {path} has format {version}, but this flamehead reads up to {_FORMAT}; update flamehead."
        )
    params = FlameParams(
        **{name: _tensor(arrays, name, (0,) if i < 2 else (3,), path) for i, name in enumerate(_PARAMS)}
    )
    camera = {name: _tensor(arrays, f"camera_{name}", shape, path) for name, shape in _CAMERA.items()}
    size = _array(arrays, "camera_size", path)
    if size.shape != (2,) or size.dtype.kind not in "iu" or (size <= 0).any():
        raise InputError(f"The image size in {path} is {size.tolist()}, wanted two positive integers; {_REMEDY}.")
    texts = [str(_array(arrays, name, path)) for name in _TEXTS]
    return SavedFit(params, Camera(**camera, size=(int(size[0]), int(size[1]))), texts[0], texts[1], texts[2], version)


def write_json(path: str | Path, report: Mapping[str, Any]) -> None:
    """Write a report as indented JSON; arrays become lists, and NaN or infinity become null, which JSON lacks.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "report.json"
        >>> write_json(path, {"error": float("nan"), "points": np.arange(2)})
        >>> json.loads(path.read_text())
        {'error': None, 'points': [0, 1]}
    """
    text = json.dumps(_plain(report), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """The value as JSON's own types."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _to_array(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().numpy()


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.is_dir():
            raise InputError(f"Cannot read a fit from {path}: it is a folder; {_REMEDY}.")
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
                raise InputError(f"The file {path} is too large for a saved fit; {_REMEDY}.")
        # Objects would need pickle, which is never executed: NumPy refuses them with a ValueError.
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored}
    except FileNotFoundError as error:
        raise InputError(f"Saved fit not found: {path}; check the path.") from error
    except PermissionError as error:
        raise InputError(f"Not allowed to read {path}; change its permissions.") from error
    except InputError:
        raise
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise InputError(f"The file {path} is damaged or no saved fit ({reason}); {_REMEDY}.") from error


def _array(arrays: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    if name not in arrays:
        raise InputError(f"The saved fit {path} lacks {name!r}; {_REMEDY}.")
    return arrays[name]


def _scalar(arrays: dict[str, np.ndarray], name: str, path: Path) -> int:
    value = _array(arrays, name, path)
    if value.shape != () or value.dtype.kind not in "iu" or value < 1:
        raise InputError(f"The entry {name!r} in {path} is {value!s:.40}, wanted a positive integer; {_REMEDY}.")
    return int(value)


def _tensor(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...], path: Path) -> torch.Tensor:
    """A finite float tensor whose last axes are `shape`; 0 stands for any length."""
    value = _array(arrays, name, path)
    tail = value.shape[value.ndim - len(shape) :] if value.ndim >= len(shape) else ()
    fits = len(tail) == len(shape) and all(want in (0, got) for want, got in zip(shape, tail, strict=True))
    if not fits or value.dtype.kind != "f" or not np.isfinite(value).all():
        wanted = "x".join(str(n or "N") for n in shape)
        raise InputError(
            f"The entry {name!r} in {path} has shape {value.shape} and type {value.dtype}, "
            f"wanted finite floats of shape {wanted}; {_REMEDY}."
        )
    return torch.from_numpy(np.ascontiguousarray(value))
