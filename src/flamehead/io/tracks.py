"""A track on disk: one npz without pickles, which `load_params` reads too, as a batch of heads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.data import Track
from flamehead.errors import InputError
from flamehead.io.results import SavedAppearance, load_arrays, load_params, params_arrays

__all__ = ["is_track_file", "load_track", "save_track"]

_REMEDY = "give a track.npz written by flamehead"
_MEASURED = ("landmark_error", "photometric_error", "visible")
_BY_FRAME = ("frames", "times", "status", "scene", "eyelids", "landmarks", *_MEASURED)
_WANTED = ("frames", "times", "status")
_NARROW = {"landmarks", "eyelids", *_MEASURED}
"""Stored in single precision."""
_TAIL = {"eyelids": (2,), "landmarks": (-1, 2)}


def save_track(path: StrPath, track: Track, *, model_source: str = "", appearance: str = "") -> None:
    """Write a track as one `.npz`, whole or not at all.

    The keys are those of `save_params`, with a leading axis of frames; `track_` and the names of `Track`'s other
    fields; `track_about`, JSON text of the rest. The identity is stored for each frame, so that every row is a head.

    Args:
        path: The file to write, ending in `.npz`.
        track: The track.
        model_source: `FlameArrays.source` of the model.
        appearance: Where the texture space came from.

    Raises:
        InputError: Another suffix, values that are not finite, rows that do not match, or a folder that cannot be
            written.
    """
    path = Path(path)
    look = None
    if track.albedo is not None and track.light is not None:
        look = SavedAppearance(track.albedo, track.light, appearance)
    arrays = params_arrays(
        path, track.params, track.camera, fingerprint=track.fingerprint, model_source=model_source,
        status=f"Tracked {int(track.tracked.sum())} of {len(track)} frames.", appearance=look,
    )  # fmt: skip
    for name in _BY_FRAME:
        value = getattr(track, name)
        if value is None:
            continue
        if len(value) != len(track):
            raise InputError(
                f"Cannot save the track to {path}: {name!r} has {len(value)} rows for {len(track)} frames."
            )
        arrays[f"track_{name}"] = np.asarray(value, dtype=np.float32) if name in _NARROW else np.asarray(value)
    about = {
        "scheme": track.scheme, "source": track.source, "settings": dict(track.settings),
        "versions": dict(track.versions), "warnings": list(track.warnings),
    }  # fmt: skip
    arrays["track_about"] = np.array(json.dumps(about))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def is_track_file(path: StrPath) -> bool:
    """Whether a file is an npz that `save_track` wrote; reads its list of contents only."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return "track_frames.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def load_track(path: StrPath) -> Track:
    """Read what `save_track` wrote.

    Raises:
        InputError: The file is missing, damaged, of another program or of a newer flamehead.

    Example:
        >>> track = load_track("out/track.npz")  # doctest: +SKIP
        >>> flame(track.params).vertices.shape  # doctest: +SKIP
        torch.Size([400, 5023, 3])
    """
    path = Path(path)
    saved, arrays = load_params(path), load_arrays(path)
    if "track_frames" not in arrays:
        raise InputError(f"The file {path} holds heads but no track; {_REMEDY}.")
    count = len(arrays["track_frames"])
    rows = {name: _row(arrays, name, count, path) for name in _BY_FRAME if f"track_{name}" in arrays or name in _WANTED}
    if saved.params.root.shape != (count, 3) or saved.camera.translation.shape != (count, 3):
        raise InputError(f"The heads in {path} do not match its {count} frames; {_REMEDY}.")
    about = _about(arrays, path)
    return Track(
        params=saved.params, camera=saved.camera, fingerprint=saved.fingerprint,
        albedo=None if saved.albedo is None else saved.albedo.numpy(),
        light=None if saved.light is None else saved.light.numpy(),
        scheme=about.get("scheme", "mediapipe478"), source=str(about.get("source", "")),
        settings=about.get("settings", {}), versions=about.get("versions", {}),
        warnings=tuple(about.get("warnings", ())), **rows,
    )  # fmt: skip


def _row(arrays: dict[str, np.ndarray], name: str, count: int, path: Path) -> np.ndarray:
    value = arrays.get(f"track_{name}")
    tail = _TAIL.get(name, ())
    fits = value is not None and value.ndim == 1 + len(tail) and len(value) == count
    if value is None or not fits or value.dtype.kind not in "iuf" or any(
        want not in (-1, got) for want, got in zip(tail, value.shape[1:], strict=True)
    ):  # fmt: skip
        got = "nothing" if value is None else f"shape {value.shape} and type {value.dtype}"
        raise InputError(f"The entry 'track_{name}' in {path} has {got}, wanted {count} rows of numbers; {_REMEDY}.")
    return value


def _about(arrays: dict[str, np.ndarray], path: Path) -> dict[str, Any]:
    try:
        about = json.loads(str(arrays["track_about"]))
    except (KeyError, ValueError) as error:
        raise InputError(f"The entry 'track_about' in {path} is missing or damaged; {_REMEDY}.") from error
    if not isinstance(about, dict):
        raise InputError(f"The entry 'track_about' in {path} is no JSON object; {_REMEDY}.")
    return about
