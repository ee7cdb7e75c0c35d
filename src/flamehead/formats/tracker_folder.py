"""The output folder of metrical-tracker, or of a program that writes like it, as a `Track`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from flamehead._types import StrPath
from flamehead.assets import read_npy
from flamehead.data import FlameParams, FrameStatus, Track
from flamehead.errors import AssetNotFound, InputError
from flamehead.formats._entries import fit_width
from flamehead.formats.fingerprint import check_fingerprint
from flamehead.formats.metrical_tracker import TrackerFrame, read_tracker_frame, tracker_frames_to_params
from flamehead.geometry.harmonics import turn_light
from flamehead.model import Flame

__all__ = ["FPS", "is_tracker_folder", "read_tracker_folder"]

FPS = 25.0
"""Frames per second where a folder does not say it: metrical-tracker's and VHAP's default."""

_ID = re.compile(r"\d+")
_SAME = 1e-4


def is_tracker_folder(path: StrPath) -> bool:
    """Whether a folder, or a folder `checkpoint` in it, holds `.frame` files."""
    return any(_checkpoints(Path(path)).glob("*.frame"))


def read_tracker_folder(path: StrPath, flame: Flame, *, fps: float | None = None, force: bool = False) -> Track:
    """A tracked video from the `.frame` files of a folder.

    The camera moves and the head rests; `flamehead.export.move_track` turns that round. Landmarks are read from
    `kpt_dense` where there is one file for each frame. The tracker's light shines on display values and ours on linear
    ones, so that its `sh` are coefficients of another kind of light; they are turned into the camera's frame all the
    same. Texture codes are kept if they are not all zero.

    Args:
        path: The output folder, or its `checkpoint`.
        flame: The model of the parameters: FLAME 2020 for the original tracker.
        fps: Frames per second; `None` is what our own export says, or 25.
        force: Accept frames of another model.

    Raises:
        AssetNotFound: There is no such folder, or it holds no `.frame`.
        UnsafeFile: A frame asks for something that it never needs; nothing of it was executed.
        InputError: Numbers are missing in between, the sizes of the pictures differ, a frame is damaged, belongs to
            another model or has more coefficients than it.

    Example:
        >>> track = read_tracker_folder("output/person", flame)  # doctest: +SKIP
        >>> len(track)  # doctest: +SKIP
        400
    """
    folder = Path(path)
    files = _numbered(folder)
    frames = [read_tracker_frame(file) for file in files]
    for found in sorted({frame.fingerprint for frame in frames}):
        check_fingerprint(found, flame, force=force)
    params, camera = tracker_frames_to_params(frames)
    params, warnings = _one_identity(_fitted(params, flame))
    if not frames[0].fingerprint:
        warnings.append(f"The frames do not say which model they belong to; it was taken to be {flame.arrays.source}.")
    if float((camera.focal - camera.focal[:1]).abs().max()) > _SAME * float(camera.focal.max()):
        warnings.append("The focal length changes over the track.")
    about = _export_report(folder, len(frames))
    rate = fps or float(about.get("fps", FPS))
    landmarks = _landmarks(folder, [file.stem for file in files], warnings)
    light = _stacked(frames, "sh")
    if light is not None and np.any(light):
        light = turn_light(torch.from_numpy(light).float(), camera.rotation.float().mT).numpy()
    status = np.asarray(about.get("status", np.full(len(frames), FrameStatus.TRACKED)), dtype=np.int8)
    return Track(
        params=params, camera=camera, frames=np.arange(len(frames)), times=np.arange(len(frames)) / rate, status=status,
        fingerprint=flame.fingerprint, eyelids=_stacked(frames, "eyelids"), landmarks=landmarks,
        albedo=_albedo(frames), light=light if light is not None and np.any(light) else None,
        source=_pictures(folder), versions={"format": "metrical-tracker"}, warnings=tuple(warnings),
    )  # fmt: skip


def _checkpoints(folder: Path) -> Path:
    return folder / "checkpoint" if (folder / "checkpoint").is_dir() else folder


def _numbered(folder: Path) -> list[Path]:
    """The `.frame` files in order, numbered without holes."""
    place = _checkpoints(folder)
    files = sorted(place.glob("*.frame"))
    if not files:
        raise AssetNotFound(
            f"There are no .frame files in {place}; give metrical-tracker's output folder, which holds `checkpoint`."
        )
    for file in files:
        if not _ID.fullmatch(file.stem):
            raise InputError(f"The file {file} is not numbered, but frames are named 00000.frame, 00001.frame, ...")
    files.sort(key=lambda file: int(file.stem))
    numbers = [int(file.stem) for file in files]
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    if missing or len(set(numbers)) < len(numbers) or numbers[0] > 1:
        gap = f"the frame {(missing or [0])[0]:05d}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        reason = f"lacks {gap}" if missing or numbers[0] > 1 else "holds a number twice"
        raise InputError(
            f"The folder {place} {reason}, so that later frames would belong to other pictures; track it again, or "
            "rename the files without holes."
        )
    return files


def _fitted(params: FlameParams, flame: Flame) -> FlameParams:
    """In the model's type and as wide as the model; more numbers than it has must be zero."""
    params = params.to(dtype=flame.template.dtype)
    name = "the model " + flame.arrays.source
    return replace(
        params,
        shape=fit_width(params.shape, flame.n_shape, "shape", name),
        expression=fit_width(params.expression, flame.n_expression, "expression", name),
    )


def _one_identity(params: FlameParams) -> tuple[FlameParams, list[str]]:
    """A track has one identity: the last one, which a tracker that was interrupted went on with."""
    last = params.shape[-1:]
    change = float((params.shape - last).abs().max())
    if change <= _SAME:
        return params, []
    sentence = f"The identity changes by up to {change:.2g} between frames; the last frame's is used for all."
    return replace(params, shape=last.expand_as(params.shape)), [sentence]


def _stacked(frames: Sequence[TrackerFrame], name: str) -> Float[np.ndarray, "T *rest"] | None:
    rows = [getattr(frame, name) for frame in frames]
    return None if any(row is None for row in rows) else np.concatenate(rows)


def _albedo(frames: Sequence[TrackerFrame]) -> Float[np.ndarray, "K"] | None:
    codes = frames[0].tex
    return codes[0] if codes is not None and np.any(codes) else None


def _landmarks(folder: Path, names: Sequence[str], warnings: list[str]) -> Float[np.ndarray, "T 478 2"] | None:
    """`kpt_dense`, NaN where the detector saw nothing."""
    place = folder / "kpt_dense"
    if not place.is_dir():
        return None
    files = [place / f"{name}.npy" for name in names]
    if not all(file.is_file() for file in files):
        warnings.append(f"The landmarks in {place} are not those of the frames and were left out.")
        return None
    arrays = [np.asarray(read_npy(file)) for file in files]
    for file, array in zip(files, arrays, strict=True):
        if array.shape != (478, 2) or array.dtype.kind != "f":
            raise InputError(
                f"{file} has shape {array.shape} and type {array.dtype}, wanted 478 x 2 numbers in pixels."
            )
    points = np.stack(arrays).astype(np.float32)
    # The tracker takes a point for missing iff x + y is zero.
    return np.where((points.sum(axis=-1) == 0)[..., None], np.float32(np.nan), points)


def _export_report(folder: Path, count: int) -> dict[str, Any]:
    """What our own export says of the frames; nothing where another program wrote the folder, or files were changed."""
    try:
        about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        ours = about.get("program") == "flamehead" and len(about["status"]) == count
        ours = ours and 0.0 < float(about["fps"]) < math.inf
        return (
            {"fps": float(about["fps"]), "status": [int(FrameStatus(value)) for value in about["status"]]}
            if ours
            else {}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _pictures(folder: Path) -> str:
    """The tracked pictures, whose pixels the camera speaks of."""
    places = [folder / name for name in ("input", "images") if (folder / name).is_dir()]
    return str(places[0]) if places else ""
