"""GaussianAvatars' dataset: one `flame_param/*.npz` for each time step, cameras in `transforms*.json`.

The parameters are VHAP's, float32; the identity has no batch axis. The teeth of VHAP's model make 5143 vertices of
FLAME's 5023, and the static offset of all of them is required. Cameras are OpenGL camera-to-world matrices; the program
itself reads only the field of view and ignores the principal point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from flamehead._types import StrPath
from flamehead.data import Camera, FlameParams
from flamehead.errors import InputError
from flamehead.formats._entries import Kind, read_entries, take, write_entries
from flamehead.formats.cameras import camera_to_opengl, check_pinhole, opengl_to_camera
from flamehead.formats.vhap import POSES, params_to_poses, poses_to_params

__all__ = [
    "GaussianAvatarsStep",
    "camera_to_transforms_entry",
    "gaussian_avatars_to_params",
    "params_to_gaussian_avatars",
    "read_gaussian_avatars",
    "transforms_entry_to_camera",
    "write_gaussian_avatars",
]

_WITH_TEETH = 5143
_SHAPES = {key: tuple(1 if n == "T" else n for n in shape) for key, shape in POSES.items()}
_OFFSETS = {"static_offset": (1, "V", 3), "dynamic_offset": (1, "V", 3)}
_KIND = Kind("a GaussianAvatars time step", _SHAPES | _OFFSETS, tuple(_OFFSETS))


@dataclass(frozen=True)
class GaussianAvatarsStep:
    """A `flame_param` file as it is; arrays keep their type."""

    rotation: Float[np.ndarray, "1 3"]
    translation: Float[np.ndarray, "1 3"]
    neck_pose: Float[np.ndarray, "1 3"]
    jaw_pose: Float[np.ndarray, "1 3"]
    eyes_pose: Float[np.ndarray, "1 6"]
    """Left, right."""
    shape: Float[np.ndarray, "S"]
    expr: Float[np.ndarray, "1 E"]
    static_offset: Float[np.ndarray, "1 V 3"] | None = None
    """Metres, part of the shape; required by the program unless told otherwise."""
    dynamic_offset: Float[np.ndarray, "1 V 3"] | None = None
    """Metres; not read by the program."""
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Everything else in the file."""
    fingerprint: str = ""
    """Of the model, if flamehead wrote the file; else empty."""


def read_gaussian_avatars(path: StrPath) -> GaussianAvatarsStep:
    """Read one time step, or `canonical_flame_param.npz`.

    Raises:
        AssetNotFound: there is no such file.
        InputError: it is damaged or no time step.
    """
    entries, fingerprint = read_entries(path, _KIND)
    known = take(entries, _KIND, str(path))
    rest = {key: value for key, value in entries.items() if key not in known}
    return GaussianAvatarsStep(**known, extra=rest, fingerprint=fingerprint)


def write_gaussian_avatars(path: StrPath, step: GaussianAvatarsStep) -> None:
    """Write one time step."""
    entries = {key: getattr(step, key) for key in (*POSES, *_OFFSETS) if getattr(step, key) is not None}
    entries = take(entries, _KIND, "the time step to write") | dict(step.extra)
    write_entries(path, entries, fingerprint=step.fingerprint)


def gaussian_avatars_to_params(step: GaussianAvatarsStep) -> FlameParams:
    """Parameters without a batch axis; offsets are not part of them."""
    stacked = poses_to_params({key: getattr(step, key) for key in POSES})
    return FlameParams(*(getattr(stacked, name)[0] for name in FlameParams.__dataclass_fields__))


def params_to_gaussian_avatars(params: FlameParams, *, fingerprint: str = "") -> list[GaussianAvatarsStep]:
    """Time steps of batch () or (T,), with static offsets of zero.

    Parameters of a moving camera are first brought into one world by `move_to_vhap_world`.

    Raises:
        InputError: the identity changes between the steps.
    """
    poses = params_to_poses(params)
    shape, none = poses.pop("shape"), np.zeros((1, _WITH_TEETH, 3), dtype=np.float32)
    rows: list[dict[str, Any]] = [
        {key: value[i : i + 1] for key, value in poses.items()} for i in range(len(poses["expr"]))
    ]
    return [GaussianAvatarsStep(**row, shape=shape, static_offset=none, fingerprint=fingerprint) for row in rows]


def transforms_entry_to_camera(entry: Mapping[str, Any]) -> Camera:
    """The camera of a frame of `transforms*.json`, float64; without `fl_x` its focal length follows from the angle.

    Raises:
        InputError: the entry lacks the matrix or the size, or they make no sense.
    """
    try:
        width, height = int(entry["w"]), int(entry["h"])
        matrix = torch.tensor(entry["transform_matrix"], dtype=torch.float64)
        across = entry["fl_x"] if "fl_x" in entry else width / 2 / math.tan(entry["camera_angle_x"] / 2)
        focal = torch.tensor([across, entry.get("fl_y", across)], dtype=torch.float64)
        center = torch.tensor([entry.get("cx", width / 2), entry.get("cy", height / 2)], dtype=torch.float64)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputError(
            f"A frame of transforms.json has no usable camera ({type(error).__name__}: {error!s:.60}); it needs "
            "transform_matrix, w, h and fl_x or camera_angle_x."
        ) from error
    turn = matrix[:3, :3] if matrix.shape == (4, 4) else matrix.new_zeros(3, 3)
    finite = bool(torch.cat([matrix.flatten(), focal, center]).isfinite().all())
    if not finite or min(width, height) <= 0 or not torch.allclose(turn @ turn.mT, torch.eye(3).double(), atol=1e-4):
        raise InputError("transform_matrix of a frame is not a 4 x 4 rigid motion, or its intrinsics make no sense.")
    return opengl_to_camera(matrix, focal, center, size=(width, height))


def camera_to_transforms_entry(camera: Camera) -> dict[str, Any]:
    """The camera keys of a frame of `transforms*.json`, for a pinhole camera without batch."""
    check_pinhole(camera, "a transforms.json")
    matrix, focal, center = camera_to_opengl(camera)
    (fx, fy), (cx, cy), (width, height) = focal.tolist(), center.tolist(), camera.size
    angles = {"camera_angle_x": 2 * math.atan(width / 2 / fx), "camera_angle_y": 2 * math.atan(height / 2 / fy)}
    intrinsics = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": width, "h": height}
    return intrinsics | angles | {"transform_matrix": matrix.tolist()}
