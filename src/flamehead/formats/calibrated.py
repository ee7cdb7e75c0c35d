"""Calibrated cameras of several photos: our JSON, and COLMAP's text files; each to one noun.

JSON, one object:

    {"unit": "m", "convention": "opencv", "direction": "world_to_camera",
     "cameras": [{"image": "a.jpg", "K": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], "R": 3 x 3, "t": [x, y, z],
                  "size": [width, height], "distortion": [k1, k2]}]}

`unit` is m, cm, mm, or null where it is not known; `convention` is opencv (x right, y down, z forward) or opengl (x
right, y up, z backward); `direction` is world_to_camera (x_camera = R x_world + t) or camera_to_world. Those three, and
`size` and `distortion`, may be left out. COLMAP: a folder with cameras.txt and images.txt (world to camera, axes as
OpenCV's, pixel centres at +0.5, arbitrary unit), models SIMPLE_PINHOLE, PINHOLE, SIMPLE_RADIAL and RADIAL.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from flamehead.errors import InputError

__all__ = ["CalibratedCamera", "CameraRig", "read_camera_rig", "undistort", "undistort_image"]

_METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
_MODELS = {"SIMPLE_PINHOLE": 3, "PINHOLE": 4, "SIMPLE_RADIAL": 4, "RADIAL": 5}
_OPENGL = np.diag([1.0, -1.0, -1.0])
_ITERATIONS = 20


@dataclass(frozen=True)
class CalibratedCamera:
    """Where a photo was taken, and with which lens: x_camera = rotation @ x_world + translation, OpenCV axes."""

    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]
    matrix: Float[np.ndarray, "3 3"]
    """K, pixels."""
    size: tuple[int, int] | None = None
    """(width, height) of the photo that K is for; None where the file does not say it."""
    distortion: tuple[float, float] = (0.0, 0.0)
    """k1, k2: a ray at radius r appears at r (1 + k1 r^2 + k2 r^4), in units of the focal length."""


@dataclass(frozen=True)
class CameraRig:
    """The cameras of a file, by the names of their photos."""

    cameras: Mapping[str, CalibratedCamera]
    metric: bool
    """Whether translations are metres; otherwise their unit is not known."""
    source: Path

    def of(self, image: str | Path) -> CalibratedCamera:
        """The camera of a photo: by its path as the file writes it, else by its file name.

        Raises:
            InputError: There is none.
        """
        name = Path(image).name
        for key, camera in self.cameras.items():
            if key in (str(image), name) or Path(key).name == name:
                return camera
        known = ", ".join(list(self.cameras)[:5]) or "none"
        raise InputError(f"{self.source} has no camera for {name} (it has: {known}); name the photos as it does.")


def read_camera_rig(path: str | Path) -> CameraRig:
    """Read a JSON file or a COLMAP folder; the module says what they hold.

    Raises:
        InputError: It is missing, damaged, or a camera in it is none.
    """
    path = Path(path)
    if path.is_dir():
        return CameraRig(_read_colmap(path), False, path)
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is no JSON ({error}); give a cameras.json or a COLMAP folder.") from error
    if not isinstance(content, dict) or not isinstance(content.get("cameras"), list) or not content["cameras"]:
        raise InputError(f'{path} has no list "cameras"; write one object with "image", "K", "R" and "t" per photo.')
    unit = content.get("unit", "m")
    convention = _one_of(content, "convention", ("opencv", "opengl"), path)
    direction = _one_of(content, "direction", ("world_to_camera", "camera_to_world"), path)
    if unit is not None and unit not in _METRES:
        raise InputError(f'The unit in {path} is {unit!r}, wanted "m", "cm", "mm", or null where it is not known.')
    scale = 1.0 if unit is None else _METRES[unit]
    cameras = {}
    for i, entry in enumerate(content["cameras"]):
        name, camera = _json_camera(entry, f"camera {i + 1} in {path}", scale, convention, direction)
        cameras[name] = camera
    return CameraRig(cameras, unit is not None, path)


def undistort(points: Float[np.ndarray, "*N 2"], camera: CalibratedCamera) -> Float[np.ndarray, "*N 2"]:
    """Pixels without the lens's distortion; rays by Newton's method along the radius.

    Example:
        >>> camera = CalibratedCamera(np.eye(3), np.zeros(3), np.eye(3), distortion=(0.1, 0.0))
        >>> undistort(np.array([[0.5125, 0.0]]), camera).round(6).tolist()
        [[0.5, 0.0]]
    """
    k1, k2 = camera.distortion
    if k1 == 0.0 == k2:
        return points
    focal, center = camera.matrix[[0, 1], [0, 1]], camera.matrix[:2, 2]
    bent = (points - center) / focal
    wanted = np.linalg.norm(bent, axis=-1)
    r = wanted.copy()
    for _ in range(_ITERATIONS):
        slope = 1.0 + 3.0 * k1 * r**2 + 5.0 * k2 * r**4
        r = r - (r * (1.0 + k1 * r**2 + k2 * r**4) - wanted) / np.where(np.abs(slope) > 0.1, slope, 0.1)
    return bent * (r / np.where(wanted > 0.0, wanted, 1.0))[..., None] * focal + center


def undistort_image(photo: Float[np.ndarray, "H W 3"], camera: CalibratedCamera) -> Float[np.ndarray, "H W 3"]:
    """The photo as the same camera without distortion would have taken it; black where it saw nothing."""
    from scipy.ndimage import map_coordinates

    k1, k2 = camera.distortion
    if k1 == 0.0 == k2:
        return photo
    focal, center = camera.matrix[[0, 1], [0, 1]], camera.matrix[:2, 2]
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]] + 0.5
    rays = (np.stack([x, y], axis=-1) - center) / focal
    r2 = (rays**2).sum(axis=-1, keepdims=True)
    # Pixel centres lie at +0.5, but the first sample of an array has the index 0.
    where = rays * (1.0 + k1 * r2 + k2 * r2**2) * focal + center - 0.5
    channels = [map_coordinates(photo[..., c], [where[..., 1], where[..., 0]], order=1) for c in range(3)]
    return np.stack(channels, axis=-1).astype(photo.dtype)


def _one_of(content: Mapping[str, Any], key: str, choices: tuple[str, ...], path: Path) -> str:
    value = content.get(key, choices[0])
    if value not in choices:
        raise InputError(f'The "{key}" in {path} is {value!r}; write one of {", ".join(choices)}.')
    return value


def _json_camera(entry: Any, what: str, scale: float, convention: str, direction: str) -> tuple[str, CalibratedCamera]:
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise InputError(f'The {what} has no "image"; write the name of its photo.')
    rotation, matrix = (_numbers(entry, key, (3, 3), what) for key in ("R", "K"))
    translation = scale * _numbers(entry, "t", (3,), what)
    if direction == "camera_to_world":
        rotation, translation = rotation.T, -rotation.T @ translation
    if convention == "opengl":
        rotation, translation = _OPENGL @ rotation, _OPENGL @ translation
    size = None
    if entry.get("size") is not None:
        width, height = _numbers(entry, "size", (2,), what)
        size = (int(width), int(height))
    lens = _numbers(entry, "distortion", (2,), what) if "distortion" in entry else np.zeros(2)
    camera = CalibratedCamera(rotation, translation, matrix, size, (float(lens[0]), float(lens[1])))
    return entry["image"], _checked(camera, what)


def _numbers(entry: Mapping[str, Any], key: str, shape: tuple[int, ...], what: str) -> Float[np.ndarray, "..."]:
    try:
        value = np.array(entry[key], dtype=np.float64)
    except (KeyError, ValueError, TypeError):
        value = np.zeros(0)
    if value.shape != shape or not np.isfinite(value).all():
        wanted = " x ".join(map(str, shape))
        raise InputError(f'The {what} lacks a "{key}" of {wanted} finite numbers; write them row by row.')
    return value


def _checked(camera: CalibratedCamera, what: str) -> CalibratedCamera:
    rotation, k = camera.rotation, camera.matrix
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise InputError(f"The rotation of {what} is not one (a mirror, or a scale in it); give an orthonormal R.")
    upper = k[0, 0] > 0 and k[1, 1] > 0 and abs(k[2, 2] - 1.0) < 1e-6 and not k[[1, 2, 2], [0, 0, 1]].any()
    if not upper or k[0, 1] != 0:
        raise InputError(f"The K of {what} is not [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; give it in pixels, no skew.")
    return camera


def _read_colmap(folder: Path) -> dict[str, CalibratedCamera]:
    lenses = {}
    for line in _text(folder / "cameras.txt").splitlines():
        parts = line.split()
        if parts and not line.lstrip().startswith("#"):
            lenses[parts[0]] = _lens(parts, folder)
    lines = [line for line in _text(folder / "images.txt").splitlines() if not line.lstrip().startswith("#")]
    cameras = {}
    # Each image has two lines, of which the second, its points, may be empty.
    for line in lines[::2]:
        if not line.strip():
            continue
        parts = line.split(maxsplit=9)
        try:
            w, x, y, z, *translation = (float(number) for number in parts[1:8])
            matrix, size, distortion = lenses[parts[8]]
            name = parts[9].strip()
            rotation = Rotation.from_quat([x, y, z, w]).as_matrix()
        except (ValueError, IndexError, KeyError) as error:
            raise InputError(
                f"{folder / 'images.txt'} has a line that is no image ({line[:60]!r}); export the model as text again."
            ) from error
        camera = CalibratedCamera(rotation, np.array(translation), matrix, size, distortion)
        cameras[name] = _checked(camera, f"{name} in {folder}")
    if not cameras:
        raise InputError(f"{folder / 'images.txt'} holds no images; export the model as text again.")
    return cameras


def _lens(parts: Sequence[str], folder: Path) -> tuple[Float[np.ndarray, "3 3"], tuple[int, int], tuple[float, float]]:
    """K, size and distortion of a line of cameras.txt."""
    model = parts[1] if len(parts) > 1 else ""
    if model not in _MODELS:
        raise InputError(
            f"{folder / 'cameras.txt'} has the camera model {model!r}, wanted {', '.join(_MODELS)}; undistort the "
            "photos with COLMAP first."
        )
    try:
        size = (int(parts[2]), int(parts[3]))
        numbers = [float(number) for number in parts[4:]]
        if len(numbers) != _MODELS[model]:
            raise ValueError("count")
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{folder / 'cameras.txt'} has a {model} camera with wrong numbers; export the model as text again."
        ) from error
    fx, fy = (numbers[0], numbers[1]) if model == "PINHOLE" else (numbers[0], numbers[0])
    cx, cy, *lens = numbers[2:] if model == "PINHOLE" else numbers[1:]
    k1, k2 = [*lens, 0.0, 0.0][:2]
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]), size, (k1, k2)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"Camera file not found: {path}; give a cameras.json or a COLMAP text folder.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the cameras in {path} ({error}); give a JSON or COLMAP's text files.") from error
