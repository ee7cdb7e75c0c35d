"""VHAP's `tracked_flame_params_*.npz`: one head over a whole video.

Rotations are axis-angle; the translation is added after skinning; `eyes_pose` holds the subject's left eye, then the
right one. Offsets are part of the shape: they are added before the joints are computed. A video from one camera has the
camera fixed at (0, 0, 1), looking along -z with y up (OpenGL), focal length `focal_length` in longer image sides and
the image's middle as principal point; the head moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flamehead._types import StrPath
from flamehead.data import Camera, FlameParams
from flamehead.errors import InputError
from flamehead.formats._entries import Kind, read_entries, take, to_numpy, to_tensor, write_entries
from flamehead.formats.cameras import check_pinhole
from flamehead.formats.move import move_head
from flamehead.model import Flame

__all__ = ["VhapTrack", "move_to_vhap_world", "params_to_vhap", "read_vhap", "vhap_to_params", "write_vhap"]

POSES = {
    "rotation": ("T", 3),
    "translation": ("T", 3),
    "neck_pose": ("T", 3),
    "jaw_pose": ("T", 3),
    "eyes_pose": ("T", 6),
    "shape": ("S",),
    "expr": ("T", "E"),
}
_KIND = Kind("a VHAP track", POSES | {"focal_length": (1,)}, ("focal_length",))
_CAMERA_AT = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class VhapTrack:
    """A tracked file as it is; arrays keep their type."""

    rotation: Float[np.ndarray, "T 3"]
    translation: Float[np.ndarray, "T 3"]
    neck_pose: Float[np.ndarray, "T 3"]
    jaw_pose: Float[np.ndarray, "T 3"]
    eyes_pose: Float[np.ndarray, "T 6"]
    """Left, right."""
    shape: Float[np.ndarray, "S"]
    expr: Float[np.ndarray, "T E"]
    focal_length: Float[np.ndarray, "1"] | None = None
    """In longer image sides; absent for calibrated cameras."""
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Everything else: offsets, texture, lights, `timestep_id`, `image_size` (height, width), ..."""
    fingerprint: str = ""
    """Of the model, if flamehead wrote the file; else empty."""


def read_vhap(path: StrPath) -> VhapTrack:
    """Read a tracked file.

    Raises:
        AssetNotFound: there is no such file.
        InputError: it is damaged or no VHAP track.
    """
    entries, fingerprint = read_entries(path, _KIND)
    known = take(entries, _KIND, str(path))
    rest = {key: value for key, value in entries.items() if key not in known}
    return VhapTrack(**known, extra=rest, fingerprint=fingerprint)


def write_vhap(path: StrPath, track: VhapTrack) -> None:
    """Write a tracked file."""
    entries = {key: getattr(track, key) for key in POSES}
    if track.focal_length is not None:
        entries["focal_length"] = track.focal_length
    entries = take(entries, _KIND, "the track to write") | dict(track.extra)
    write_entries(path, entries, fingerprint=track.fingerprint)


def vhap_to_params(track: VhapTrack) -> tuple[FlameParams, Camera | None]:
    """Parameters with a leading axis of frames, and the camera if the file describes it.

    Offsets and texture are not part of them: a head with offsets has other joints, see `VhapTrack.extra`.
    """
    params = poses_to_params({key: getattr(track, key) for key in POSES})
    size = track.extra.get("image_size")
    if track.focal_length is None or size is None:
        return params, None
    if size.shape != (2,) or size.dtype.kind not in "iuf" or not (size > 0).all():
        raise InputError(f"image_size of the VHAP track is {size!s:.40}, wanted two positive numbers: height, width.")
    height, width = (int(n) for n in size)
    focal = to_tensor(track.focal_length).to(params.shape.dtype) * max(height, width)
    return params, _fixed_camera(focal.expand(2), (width, height))


def params_to_vhap(
    params: FlameParams,
    *,
    camera: Camera | None = None,
    fingerprint: str = "",
    extra: Mapping[str, np.ndarray] | None = None,
) -> VhapTrack:
    """A track of heads, one per frame, in float32.

    Args:
        params: batch () or (T,); the identity is the same in all frames.
        camera: VHAP's fixed one, as `move_to_vhap_world` makes it; None leaves focal length and image size out.
        fingerprint: `Flame.fingerprint` of the model.
        extra: further entries of the file.

    Raises:
        InputError: the identity changes, or the camera is not VHAP's.
    """
    rest = dict(extra or {})
    focal = None
    if camera is not None:
        focal = to_numpy(_vhap_focal(camera).reshape(1))
        rest["image_size"] = np.array(camera.size[::-1])
    poses = params_to_poses(params)
    rest.setdefault("timestep_id", np.array([f"{i:05d}" for i in range(len(poses["expr"]))]))
    rest.setdefault("n_processed_frames", np.array(len(poses["expr"])))
    return VhapTrack(**poses, focal_length=focal, extra=rest, fingerprint=fingerprint)


def move_to_vhap_world(params: FlameParams, camera: Camera, flame: Flame) -> tuple[FlameParams, Camera]:
    """The same pictures from VHAP's fixed camera: the head takes over the camera's motion.

    The principal point is kept, although neither VHAP nor GaussianAvatars use it.
    """
    check_pinhole(camera, "VHAP")
    flip = camera.rotation.new_tensor([1.0, -1.0, -1.0])
    moved = move_head(
        params,
        flame,
        rotation=flip[:, None] * camera.rotation,
        translation=flip * camera.translation + camera.rotation.new_tensor(_CAMERA_AT),
    )
    fixed = _fixed_camera(camera.focal, camera.size)
    return moved, replace(fixed, center=camera.center)


def poses_to_params(poses: Mapping[str, np.ndarray]) -> FlameParams:
    """The entries of `POSES` as parameters, batch (T,), in the widest of their float types."""
    dtype = np.result_type(*poses.values())
    value = {key: to_tensor(array.astype(dtype, copy=False)) for key, array in poses.items()}
    shape = value["shape"].expand(len(value["expr"]), -1)
    left, right = value["eyes_pose"].unflatten(-1, (2, 3)).unbind(-2)
    turns = (value["rotation"], value["neck_pose"], value["jaw_pose"], left, right)
    return FlameParams(shape, value["expr"], *turns, value["translation"])


def params_to_poses(params: FlameParams) -> dict[str, np.ndarray]:
    """Parameters of batch () or (T,) as the entries of `POSES`, float32."""
    shape = params.shape.reshape(-1, params.shape.shape[-1])
    if bool((shape != shape[:1]).any()):
        raise InputError(
            "The identity changes between the frames, but a VHAP file holds one; give all frames the same."
        )
    columns = {
        "rotation": params.root,
        "translation": params.translation,
        "neck_pose": params.neck,
        "jaw_pose": params.jaw,
        "eyes_pose": torch.cat(torch.broadcast_tensors(params.left_eye, params.right_eye), dim=-1),
        "expr": params.expression,
    }
    batch = torch.broadcast_shapes(params.shape.shape[:-1], *(value.shape[:-1] for value in columns.values()))
    if len(batch) > 1:
        raise InputError(f"The parameters have the batch {tuple(batch)}, but frames are numbered along one axis.")
    count = batch[0] if batch else 1
    poses = {key: to_numpy(value.expand(count, value.shape[-1])).copy() for key, value in columns.items()}
    return poses | {"shape": to_numpy(shape[0])}


def _fixed_camera(focal: Float[Tensor, "*batch 2"], size: tuple[int, int]) -> Camera:
    """OpenGL's [I | (0, 0, -1)] with the principal point in the middle."""
    rotation = torch.diag(focal.new_tensor([1.0, -1.0, -1.0]))
    return Camera(rotation, focal.new_tensor(_CAMERA_AT), focal, focal.new_tensor(size) / 2, size)


def _vhap_focal(camera: Camera) -> Tensor:
    """The focal length in longer image sides of a camera that is VHAP's."""
    check_pinhole(camera, "a VHAP track")
    fixed = _fixed_camera(camera.focal, camera.size)
    pairs = ((camera.rotation, fixed.rotation), (camera.translation, fixed.translation))
    if any(bool(((got - wanted).abs() > 1e-5).any()) for got, wanted in pairs):
        raise InputError("The camera is not VHAP's fixed one; call move_to_vhap_world(params, camera, flame) first.")
    if bool(((camera.center - fixed.center).abs() > 1e-3).any()):
        raise InputError(
            "The principal point is not the image's middle, which a VHAP track cannot hold; crop the images around it "
            "or replace the camera's center."
        )
    flat = camera.focal.reshape(-1)
    if bool(((flat - flat[0]).abs() > 1e-5 * flat[0]).any()):
        raise InputError(
            "The focal length varies, but a VHAP track holds one number; fit with a shared square-pixel one."
        )
    return flat[0] / max(camera.size)
