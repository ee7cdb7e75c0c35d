"""VHAP's results as a `Track`: its tracked npz, the folder of a run, or the data set it exports for GaussianAvatars."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flamehead._types import StrPath
from flamehead.data import Camera, FlameParams, FrameStatus, Track
from flamehead.errors import AssetNotFound, InputError
from flamehead.formats._entries import same_size
from flamehead.formats.fingerprint import check_fingerprint
from flamehead.formats.gaussian_avatars import (
    GaussianAvatarsStep,
    gaussian_avatars_to_params,
    read_gaussian_avatars,
    transforms_entry_to_camera,
)
from flamehead.formats.tracker_folder import FPS, _fitted, _one_identity
from flamehead.formats.vhap import VhapTrack, read_vhap, vhap_to_params
from flamehead.geometry.harmonics import turn_light
from flamehead.io.frames import pictures_in
from flamehead.model import Flame

__all__ = ["is_vhap_folder", "read_vhap_folder"]

_TRACKED = re.compile(r"tracked_flame_params(?:_(\d+))?\.npz")
_WHOLE = "transforms.json"


def is_vhap_folder(path: StrPath) -> bool:
    """Whether a folder is a run of VHAP, or a data set it exported."""
    folder = Path(path)
    return _tracked_file(folder) is not None or _is_export(folder)


def read_vhap_folder(
    path: StrPath, flame: Flame, *, camera: int | None = None, fps: float | None = None, force: bool = False
) -> Track:
    """A tracked video from VHAP: a `tracked_flame_params*.npz`, the folder that holds some (the last epoch is read), or
    an exported data set (`transforms.json` and `flame_param/`), ours included.

    The head moves. Offsets of vertices are not part of a track; a sentence in `warnings` says if there are some.

    Args:
        path: The file or folder.
        flame: The model of the parameters: FLAME 2023 by VHAP's default.
        camera: `camera_index` of the data set's camera to take; `None` is the first.
        fps: Frames per second; `None` is 25.
        force: Accept parameters of another model.

    Raises:
        AssetNotFound: There is no such file or folder, or nothing of VHAP in it.
        InputError: Frames are missing or damaged, the cameras are not told, the sizes of the pictures differ, or the
            parameters belong to another model or have more coefficients than it.

    Example:
        >>> track = read_vhap_folder("output/person/2024-01-01", flame)  # doctest: +SKIP
    """
    place = Path(path)
    file = place if place.is_file() else _tracked_file(place)
    if file is not None:
        return _from_run(file, flame, fps or FPS, force)
    if not _is_export(place):
        raise AssetNotFound(
            f"There is no track of VHAP in {place}: neither tracked_flame_params_*.npz nor {_WHOLE} with flame_param; "
            "give the folder of a run or of an export."
        )
    return _from_export(place, flame, camera, fps or FPS, force)


def _tracked_file(folder: Path) -> Path | None:
    """The tracked parameters of the last epoch."""
    found = [(int(match[1] or -1), file) for file in folder.glob("*.npz") if (match := _TRACKED.fullmatch(file.name))]
    return max(found)[1] if found else None


def _is_export(folder: Path) -> bool:
    return (folder / _WHOLE).is_file() and (folder / "flame_param").is_dir()


def _from_run(file: Path, flame: Flame, fps: float, force: bool) -> Track:
    saved = read_vhap(file)
    check_fingerprint(saved.fingerprint, flame, force=force)
    params, camera = vhap_to_params(saved)
    if camera is None:
        raise InputError(
            f"{file} lacks focal_length or image_size, so its cameras were calibrated elsewhere; read the data set "
            "that VHAP exports from it."
        )
    count = len(params.expression)
    camera = _each(camera, count)
    numbers = _numbers(saved, count)
    light = saved.extra.get("lights")
    if light is not None and light.shape == (9, 3):
        world = torch.from_numpy(light.astype(np.float32)).expand(count, 9, 3)
        light = turn_light(world, camera.rotation.float().mT).numpy()
    warnings = [f"{name} of {file.name} moves vertices and was left out." for name in _moving(saved.extra)]
    return _track(_fitted(params, flame), camera, numbers, flame, fps, warnings, saved.fingerprint, light=light)


def _from_export(folder: Path, flame: Flame, camera: int | None, fps: float, force: bool) -> Track:
    entries = _entries(folder / _WHOLE, camera)
    steps: list[GaussianAvatarsStep] = []
    for entry in entries:
        name = entry.get("flame_param_path")
        if not isinstance(name, str) or not _inside(folder, name):
            raise InputError(
                f"A frame of {folder / _WHOLE} names the parameters {name!r}; wanted a file in that folder."
            )
        steps.append(read_gaussian_avatars(folder / name))
    cameras = [transforms_entry_to_camera(entry) for entry in entries]
    same_size([one.size for one in cameras], f"The frames of {folder / _WHOLE}")
    for found in sorted({step.fingerprint for step in steps}):
        check_fingerprint(found, flame, force=force)
    try:
        heads = [gaussian_avatars_to_params(step) for step in steps]
        params = FlameParams(*(torch.stack([getattr(h, n) for h in heads]) for n in FlameParams.__dataclass_fields__))
    except RuntimeError as error:
        raise InputError(
            f"The time steps of {folder} differ in their numbers of coefficients; export them again."
        ) from error
    names = ("rotation", "translation", "focal", "center")
    lens = replace(cameras[0], **{name: torch.stack([getattr(one, name) for one in cameras]).float() for name in names})
    source, numbers = _pictures(folder, entries)
    moving = sorted({name for step in steps for name in _moving(vars(step))})
    warnings = [f"{name} in flame_param moves vertices and was left out." for name in moving]
    params, changed = _one_identity(_fitted(params, flame))
    warnings += changed
    return _track(params, lens, numbers, flame, fps, warnings, steps[0].fingerprint, source=source)


def _track(
    params: FlameParams,
    camera: Camera,
    numbers: np.ndarray,
    flame: Flame,
    fps: float,
    warnings: list[str],
    fingerprint: str,
    *,
    light: np.ndarray | None = None,
    source: str = "",
) -> Track:
    if not fingerprint:
        warnings.append(f"The files do not say which model they belong to; it was taken to be {flame.arrays.source}.")
    status = np.full(len(numbers), FrameStatus.TRACKED, dtype=np.int8)
    return Track(
        params=params, camera=camera, frames=numbers, times=numbers / fps, status=status, light=light,
        fingerprint=flame.fingerprint, source=source, versions={"format": "VHAP"}, warnings=tuple(warnings),
    )  # fmt: skip


def _entries(path: Path, camera: int | None) -> list[dict[str, Any]]:
    """The frames of one camera in the order of time, without holes."""
    try:
        frames = json.loads(path.read_text(encoding="utf-8"))["frames"]
        found = [(int(entry["timestep_index"]), int(entry.get("camera_index", 0)), entry) for entry in frames]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no list of frames with timestep_index ({type(error).__name__}); export the data set again."
        ) from error
    cameras = sorted({index for _, index, _ in found})
    chosen = cameras[0] if camera is None and cameras else camera
    if chosen not in cameras:
        raise InputError(f"{path} has no camera {chosen}; it has {', '.join(map(str, cameras)) or 'no frames at all'}.")
    rows = sorted(((time, entry) for time, index, entry in found if index == chosen), key=lambda row: row[0])
    times = [time for time, _ in rows]
    missing = sorted(set(range(times[0], times[-1] + 1)) - set(times))
    if missing or len(set(times)) < len(times):
        what = f"lacks time step {missing[0]}" if missing else "has a time step twice"
        raise InputError(f"{path} {what} for camera {chosen}; export the data set again, whole.")
    return [entry for _, entry in rows]


def _pictures(folder: Path, entries: Sequence[Mapping[str, Any]]) -> tuple[str, np.ndarray]:
    """The folder of pictures and which of them, in the order of their names, the frames show."""
    named = [Path(str(entry.get("file_path", ""))) for entry in entries]
    places = {(folder / name).parent for name in named}
    if len(places) == 1 and (place := places.pop()).is_dir() and _inside(folder, str(named[0])):
        order = {file.name: row for row, file in enumerate(pictures_in(place))}
        if all(name.name in order for name in named):
            return str(place), np.array([order[name.name] for name in named])
    return "", np.array([int(entry["timestep_index"]) for entry in entries])


def _numbers(saved: VhapTrack, count: int) -> np.ndarray:
    """The frames' own numbers where they are numbers that grow, or 0, 1, 2, ..."""
    names = saved.extra.get("timestep_id")
    if names is not None and names.shape == (count,) and all(str(name).isdecimal() for name in names):
        numbers = np.array([int(str(name)) for name in names])
        if (np.diff(numbers) > 0).all():
            return numbers
    return np.arange(count)


def _moving(arrays: Mapping[str, Any]) -> list[str]:
    names = ("static_offset", "dynamic_offset")
    return [name for name in names if arrays.get(name) is not None and np.any(arrays[name])]


def _each(camera: Camera, count: int) -> Camera:
    shapes = {"rotation": (3, 3), "translation": (3,), "focal": (2,), "center": (2,)}
    return replace(
        camera, **{name: getattr(camera, name).float().expand(count, *shape) for name, shape in shapes.items()}
    )


def _inside(folder: Path, name: str) -> bool:
    """Whether a name stays within the folder; combined data sets name siblings, which are allowed."""
    target = (folder / name).resolve()
    return target.is_relative_to(folder.resolve().parent)
