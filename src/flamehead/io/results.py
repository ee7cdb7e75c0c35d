"""A fit on disk: parameters, camera and the fingerprint of the model they belong to, as npz without pickles."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float

from flamehead._atomic import atomic_path
from flamehead.data import Camera, Fit, FlameParams
from flamehead.errors import InputError

__all__ = ["SavedAppearance", "SavedFit", "load_params", "save_fit", "save_params", "write_json"]

_FORMAT = 2
"""2 says that the camera may be a parallel projection; all else is as in 1, which is written where it suffices."""
_PARAMS = tuple(field.name for field in fields(FlameParams))
_CAMERA = {"rotation": (3, 3), "translation": (3,), "focal": (2,), "center": (2,)}
_TEXTS = ("fingerprint", "model_source", "status")
_MAX_BYTES = 2_000_000_000
_REMEDY = "give a params.npz written by flamehead"


class PosedModel(Protocol):
    """What a saved fit needs to know about a model, such as `flamehead.model.Flame`."""

    @property
    def fingerprint(self) -> str:
        """Of the model."""
        ...

    @property
    def source(self) -> str:
        """For messages."""
        ...

    @property
    def template(self) -> torch.Tensor:
        """Tells dtype and device."""
        ...


@dataclass(frozen=True)
class SavedFit:
    """What `params.npz` holds: enough to pose, render and export the fitted head again."""

    params: FlameParams
    camera: Camera
    fingerprint: str
    """Of the model that `params` belong to; `params_for` compares it."""
    model_source: str
    """Where that model came from when the fit was made: a path or `built-in head`; empty if unknown."""
    status: str
    """How the solver ended, as a sentence."""
    format_version: int
    albedo: torch.Tensor | None = None
    """Coefficients of the texture space `appearance`, of a photometric fit."""
    light: torch.Tensor | None = None
    """Its spherical harmonics, (9, 3), linear RGB in the camera's frame."""
    appearance: str = ""
    """Where that texture space came from."""

    def params_for(self, model: PosedModel, *, force: bool = False) -> FlameParams:
        """The parameters for a model, in its dtype and on its device, after comparing fingerprints.

        Args:
            model: a `Flame`; parameters of one model mean nothing to another.
            force: give them all the same; the head then looks like somebody else, or like nobody.

        Raises:
            InputError: They belong to another model.

        Example:
            >>> saved = load_params("out/params.npz")  # doctest: +SKIP
            >>> vertices = flame(saved.params_for(flame)).vertices  # doctest: +SKIP
        """
        if self.fingerprint != model.fingerprint and not force:
            origin = f" ({self.model_source})" if self.model_source else ""
            raise InputError(
                f"These parameters belong to the model {self.fingerprint or 'unknown'}{origin}, but {model.source} is "
                f"{model.fingerprint}; load the model that they were made with, or pass force=True to apply them all "
                "the same."
            )
        return self.params.to(dtype=model.template.dtype, device=model.template.device)


@dataclass(frozen=True)
class SavedAppearance:
    """Albedo and light of a fit, as they are written."""

    albedo: Float[np.ndarray, "K"]
    """Coefficients of a texture space."""
    light: Float[np.ndarray, "9 3"]
    """Spherical harmonics, linear RGB in the camera's frame."""
    source: str
    """Where the texture space came from."""


def save_fit(path: str | Path, fit: Fit, *, model_source: str = "", appearance: SavedAppearance | None = None) -> None:
    """Write the parameters and the camera of a fit as `.npz`; see `save_params`.

    Args:
        path: The file to write, ending in `.npz`.
        fit: The fit; its landmarks are written by `write_landmarks`.
        model_source: `FlameArrays.source` of the model.
        appearance: Albedo and light, if they were fitted.
    """
    save_params(
        path, fit.params, fit.camera, fingerprint=fit.fingerprint, model_source=model_source, status=str(fit.status),
        appearance=appearance,
    )  # fmt: skip


def save_params(
    path: str | Path,
    params: FlameParams,
    camera: Camera,
    *,
    fingerprint: str,
    model_source: str = "",
    status: str = "",
    appearance: SavedAppearance | None = None,
) -> None:
    """Write parameters and a camera as `.npz`; float width and batch axes are kept, and `load_params` reads it.

    The keys are the fields of `FlameParams`, `camera_rotation`, `camera_translation`, `camera_focal`, `camera_center`,
    `camera_size`, `fingerprint`, `model_source`, `status`, `format`; `camera_orthographic` of a parallel camera;
    `albedo`, `light` and `appearance` of a photometric fit.

    Args:
        path: The file to write, ending in `.npz`.
        params: The head or heads.
        camera: That they are seen by.
        fingerprint: `Flame.fingerprint` of the model that the parameters belong to.
        model_source: `FlameArrays.source` of the model.
        status: How they came about, as a sentence.
        appearance: Albedo and light.

    Raises:
        InputError: Another suffix, values that are not finite, or a folder that cannot be written.
    """
    path = Path(path)
    arrays = params_arrays(
        path, params, camera, fingerprint=fingerprint, model_source=model_source, status=status, appearance=appearance
    )
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def params_arrays(
    path: Path,
    params: FlameParams,
    camera: Camera,
    *,
    fingerprint: str,
    model_source: str,
    status: str,
    appearance: SavedAppearance | None,
) -> dict[str, np.ndarray]:
    """What `save_params` writes, by its key; refuses what it would not write to `path`."""
    if path.suffix.lower() != ".npz":
        raise InputError(f"Cannot write {path}: the suffix is {path.suffix!r}, wanted '.npz'.")
    arrays = {name: _to_array(getattr(params, name)) for name in _PARAMS}
    arrays |= {f"camera_{name}": _to_array(getattr(camera, name)) for name in _CAMERA}
    if appearance is not None:
        arrays |= {"albedo": np.asarray(appearance.albedo), "light": np.asarray(appearance.light)}
    broken = [name for name, value in arrays.items() if not np.isfinite(value).all()]
    if broken:
        raise InputError(f"Cannot save the fit to {path}: {broken[0]!r} is not finite; fit again with other settings.")
    arrays["camera_size"] = np.array(camera.size, dtype=np.int64)
    arrays["format"] = np.array(2 if camera.orthographic else 1, dtype=np.int64)
    if camera.orthographic:
        arrays["camera_orthographic"] = np.array(True)
    texts = dict(zip(_TEXTS, (fingerprint, model_source, status), strict=True))
    arrays |= {name: np.array(text) for name, text in texts.items()}
    if appearance is not None:
        arrays["appearance"] = np.array(appearance.source)
    return arrays


def load_params(path: str | Path) -> SavedFit:
    """Read what `save_fit` or `save_params` wrote.

    Raises:
        InputError: The file is missing, damaged, of another program or of a newer flamehead.
    """
    path = Path(path)
    arrays = load_arrays(path)
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
    parallel = version > 1 and bool(np.all(arrays.get("camera_orthographic", np.array(False))))
    camera = Camera(**camera, size=(int(size[0]), int(size[1])), orthographic=parallel)
    saved = SavedFit(params, camera, texts[0], texts[1], texts[2], version)
    if "albedo" not in arrays:
        return saved
    albedo, light = (_tensor(arrays, name, size, path) for name, size in (("albedo", (0,)), ("light", (9, 3))))
    return replace(saved, albedo=albedo, light=light, appearance=str(_array(arrays, "appearance", path)))


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


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Everything in an npz of ours; nothing is executed, and damage becomes a sentence."""
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
    except zipfile.BadZipFile as error:
        raise InputError(f"The file {path} is no npz file, or a damaged one; {_REMEDY}.") from error
    except (ValueError, OSError, EOFError, KeyError, zlib.error, NotImplementedError) as error:
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
