"""metrical-tracker's `.frame` files: one tracked video frame each.

The head rests in its canonical frame - root, neck and translation are never used - and the camera moves. Rotations are
six numbers, the first two rows of the matrix; `eyes` holds the subject's left eye, then the right one. Eyelid offsets
are added after skinning: vertices += eyelids[0] L + eyelids[1] R, with offset fields that come with the tracker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead._types import StrPath
from flamehead.data import Camera, FlameParams
from flamehead.errors import InputError
from flamehead.formats._entries import Kind, fit_width, same_size, take, to_numpy, to_tensor
from flamehead.formats._torch_file import read_torch_file, write_torch_file
from flamehead.formats.cameras import camera_to_pytorch3d_ndc, check_pinhole, opencv_to_camera
from flamehead.formats.move import move_camera, root_joint
from flamehead.geometry.rotation import exp, from_6d, log, to_6d
from flamehead.model import Flame

__all__ = [
    "TrackerFrame",
    "params_to_tracker_frames",
    "read_tracker_frame",
    "tracker_frames_to_params",
    "write_tracker_frame",
]

_FINGERPRINT = "flamehead_fingerprint"
_KIND = Kind(
    "a metrical-tracker frame",
    {
        "flame.exp": (1, "E"),
        "flame.shape": (1, "S"),
        "flame.tex": (1, "T"),
        "flame.sh": (1, 9, 3),
        "flame.eyes": (1, 12),
        "flame.eyelids": (1, 2),
        "flame.jaw": (1, 6),
        "camera.R": (1, 6),
        "camera.t": (1, 3),
        "camera.fl": (1, 1),
        "camera.pp": (1, 2),
        "opencv.R": (1, 3, 3),
        "opencv.t": (1, 3),
        "opencv.K": (1, 3, 3),
    },
    ("flame.tex", "flame.sh", "flame.eyelids", "camera.R", "camera.t", "camera.fl", "camera.pp"),
)
_GROUPS = ("flame", "camera", "opencv")


@dataclass(frozen=True)
class TrackerFrame:
    """A `.frame` file as it is; arrays keep their type, absent entries are None."""

    exp: Float[np.ndarray, "1 E"]
    shape: Float[np.ndarray, "1 S"]
    eyes: Float[np.ndarray, "1 12"]
    jaw: Float[np.ndarray, "1 6"]
    opencv_R: Float[np.ndarray, "1 3 3"]
    """World to camera."""
    opencv_t: Float[np.ndarray, "1 3"]
    opencv_K: Float[np.ndarray, "1 3 3"]
    """Pixels of the tracked image."""
    img_size: Int[np.ndarray, "2"]
    """Height, width."""
    frame_id: str
    """Such as `00000`."""
    tex: Float[np.ndarray, "1 T"] | None = None
    sh: Float[np.ndarray, "1 9 3"] | None = None
    """Spherical harmonics, RGB."""
    eyelids: Float[np.ndarray, "1 2"] | None = None
    """Left, right."""
    camera_R: Float[np.ndarray, "1 6"] | None = None
    """This and the next three: the same camera in PyTorch3D's NDC convention."""
    camera_t: Float[np.ndarray, "1 3"] | None = None
    camera_fl: Float[np.ndarray, "1 1"] | None = None
    camera_pp: Float[np.ndarray, "1 2"] | None = None
    fingerprint: str = ""
    """Of the model, if flamehead wrote the file; else empty."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Everything else in the file, nested as there; `global_step` among it."""


_ENTRIES = {
    key: key.removeprefix("flame.").replace("camera.", "camera_").replace("opencv.", "opencv_") for key in _KIND.shapes
}
"""Entry of the file, as `group.name`, to field of `TrackerFrame`."""


class _Cameras(NamedTuple):
    """Both camera blocks of a batch of frames."""

    rotation: Tensor
    translation: Tensor
    matrix: Tensor
    six: Tensor
    view_translation: Tensor
    focal: Tensor
    principal: Tensor


def read_tracker_frame(path: StrPath) -> TrackerFrame:
    """Read a `.frame` file; nothing in it is executed.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that a frame never needs.
        InputError: it is damaged or no tracker frame.
    """
    content = read_torch_file(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, but {_KIND.name} is a dictionary.")
    left = dict(content)
    groups: dict[str, dict[str, Any]] = {}
    for group in _GROUPS:
        block = left.pop(group, {})
        if not isinstance(block, dict):
            raise InputError(f"The entry {group!r} of {path} is a {type(block).__name__}, wanted a dictionary.")
        groups[group] = dict(block)
    arrays = take(
        {f"{group}.{key}": value for group in groups for key, value in groups[group].items()}, _KIND, str(path)
    )
    for key in arrays:
        group, _, name = key.partition(".")
        del groups[group][name]
    size, frame_id = left.pop("img_size", None), left.pop("frame_id", None)
    _check_labels(size, frame_id, path)
    fingerprint = str(left.pop(_FINGERPRINT, ""))
    extra = left | {group: block for group, block in groups.items() if block}
    known = {_ENTRIES[key]: value for key, value in arrays.items()}
    return TrackerFrame(**known, img_size=size, frame_id=frame_id, fingerprint=fingerprint, extra=extra)


def write_tracker_frame(path: StrPath, frame: TrackerFrame) -> None:
    """Write a `.frame` file that the tracker's consumers open with plain `torch.load(..., weights_only=False)`."""
    content: dict[str, Any] = {group: dict(frame.extra.get(group, {})) for group in _GROUPS}
    entries = {key: getattr(frame, name) for key, name in _ENTRIES.items() if getattr(frame, name) is not None}
    for key, value in take(entries, _KIND, "the frame to write").items():
        group, _, entry = key.partition(".")
        content[group][entry] = value
    content = {group: block for group, block in content.items() if block}
    content |= {"img_size": frame.img_size, "frame_id": frame.frame_id}
    content |= {key: value for key, value in frame.extra.items() if key not in _GROUPS}
    if frame.fingerprint:
        content[_FINGERPRINT] = frame.fingerprint
    write_torch_file(path, content)


def tracker_frames_to_params(frames: Sequence[TrackerFrame]) -> tuple[FlameParams, Camera]:
    """Parameters and cameras of one or more frames, with a leading batch axis.

    Eyelids, texture and light are not part of them; see `TrackerFrame`.
    """
    size = same_size([(int(f.img_size[1]), int(f.img_size[0])) for f in frames], "The frames")
    shape, expression, eyes, jaw, rotation, translation, matrix = (
        to_tensor(_stack(frames, name)) for name in ("shape", "exp", "eyes", "jaw", "opencv_R", "opencv_t", "opencv_K")
    )
    turns = log(from_6d(torch.cat([jaw, eyes], dim=-1).unflatten(-1, (3, 6))))
    if not bool(turns.isfinite().all()):
        raise InputError(
            "A rotation of six numbers in the frames is degenerate; its two rows must not be parallel or zero."
        )
    jaw, left, right = turns.unbind(-2)
    rest = torch.zeros_like(jaw)
    params = FlameParams(shape, expression, rest, rest, jaw, left, right, rest)
    return params, opencv_to_camera(rotation, translation, matrix, size=size)


def params_to_tracker_frames(
    params: FlameParams,
    camera: Camera,
    flame: Flame,
    *,
    eyelids: Float[Tensor, "*#batch 2"] | None = None,
    texture: Float[Tensor, "*#batch T"] | None = None,
    light: Float[Tensor, "*#batch 9 3"] | None = None,
    first_id: int = 0,
    n_shape: int = 300,
    n_expression: int = 100,
) -> list[TrackerFrame]:
    """Frames as the tracker writes them; root and translation go into the camera, exactly.

    Args:
        params: batch () or (T,).
        camera: of the same batch or of none; fx must equal fy.
        flame: the model of the parameters: the root turns about a joint that depends on the identity.
        eyelids: coefficients left, right; zeros if not given.
        texture: codes of the texture space; 140 zeros if not given.
        light: spherical harmonics, RGB; zeros if not given.
        first_id: number of the first frame.
        n_shape: width of the files' shape code, filled with zeros.
        n_expression: width of the files' expression code, filled with zeros.

    Raises:
        InputError: the neck is bent, fx differs from fy, or coefficients would be lost.
    """
    if bool((params.neck != 0).any()):
        raise InputError(
            "The neck is bent, which a tracker frame cannot hold; straighten it or fit with a straight neck."
        )
    shape = fit_width(params.shape, n_shape, "shape", _KIND.name)
    expression = fit_width(params.expression, n_expression, "expression", _KIND.name)
    left, right = torch.broadcast_tensors(params.left_eye, params.right_eye)
    zeros = shape.new_zeros
    columns = {
        "shape": shape,
        "exp": expression,
        "jaw": to_6d(exp(params.jaw)),
        "eyes": torch.cat([to_6d(exp(left)), to_6d(exp(right))], dim=-1),
        "eyelids": zeros(2) if eyelids is None else eyelids,
        "tex": zeros(140) if texture is None else texture,
        "sh": zeros(9, 3) if light is None else light,
    }
    cameras = _tracker_cameras(_head_into_camera(params, camera, flame))
    names = ("opencv_R", "opencv_t", "opencv_K", "camera_R", "camera_t", "camera_fl", "camera_pp")
    columns |= dict(zip(names, cameras, strict=True))
    size = np.array(camera.size[::-1], dtype=np.int64)
    return [
        TrackerFrame(**row, img_size=size, frame_id=f"{first_id + i:05d}", fingerprint=flame.fingerprint)
        for i, row in enumerate(_rows(columns))
    ]


def _head_into_camera(params: FlameParams, camera: Camera, flame: Flame) -> Camera:
    """The camera that sees the resting head as the given one sees the moved head: x_world = R (u - J0) + J0 + t."""
    joint = root_joint(params, flame)
    turn = exp(params.root)
    shift = joint - (turn @ joint[..., None])[..., 0] + params.translation
    # The head's own frame is the new world; u = R^T (x - shift).
    back = turn.mT
    return move_camera(camera, rotation=back, translation=-(back @ shift[..., None])[..., 0])


def _tracker_cameras(camera: Camera) -> _Cameras:
    check_pinhole(camera, "a tracker frame")
    fx, fy = camera.focal.unbind(-1)
    if bool(((fx - fy).abs() > 1e-5 * fx.abs()).any()):
        raise InputError("fx differs from fy, but a tracker frame has one focal length; scale the images first.")
    view, shift, focal, principal = camera_to_pytorch3d_ndc(camera)
    return _Cameras(camera.rotation, camera.translation, camera.matrix, to_6d(view), shift, focal[..., :1], principal)


def _rows(columns: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """One dictionary for each frame, of arrays with a leading axis of one."""
    ranks = {"opencv_R": 2, "opencv_K": 2, "sh": 2}
    tails = {name: value.shape[value.ndim - ranks.get(name, 1) :] for name, value in columns.items()}
    batch = torch.broadcast_shapes(*(value.shape[: value.ndim - len(tails[name])] for name, value in columns.items()))
    if len(batch) > 1:
        raise InputError(f"The parameters have the batch {tuple(batch)}, but frames are numbered along one axis.")
    count = batch[0] if batch else 1
    arrays = {name: to_numpy(value.expand(count, *tails[name])) for name, value in columns.items()}
    return [{name: array[i : i + 1].copy() for name, array in arrays.items()} for i in range(count)]


def _stack(frames: Sequence[TrackerFrame], name: str) -> np.ndarray:
    try:
        return np.concatenate([getattr(frame, name) for frame in frames])
    except ValueError as error:
        raise InputError(f"The frames differ in the size of {name!r}; convert those of one tracked video.") from error


def _check_labels(size: Any, frame_id: Any, path: StrPath) -> None:
    if not isinstance(size, np.ndarray) or size.shape != (2,) or size.dtype.kind not in "iu" or (size <= 0).any():
        raise InputError(
            f"The entry 'img_size' of {path} is {size!s:.40}, wanted two positive integers: height, width."
        )
    if not isinstance(frame_id, str):
        raise InputError(f"The entry 'frame_id' of {path} is {frame_id!r:.40}, wanted text such as '00000'.")
