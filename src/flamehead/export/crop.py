"""The one square that every exported picture is cut to, over a whole track.

Trackers cut a fixed square around the face and speak of its pixels only. Ours is fixed too, so that K stays constant;
it follows the face over the whole track, may leave the picture (black there), and moves K exactly: pixel centres lie
at +0.5 before and after.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from flamehead.data import Camera, Track
from flamehead.errors import InputError
from flamehead.model import Flame
from flamehead.render import Crop

__all__ = ["constant_lens", "face_crop", "whole_crop"]

_SAME_LENS = 1e-4
"""Relative change of focal length and centre over a track that counts as rounding."""


def face_crop(
    track: Track, flame: Flame, *, size: int = 512, bbox_scale: float = 2.5, centered_principal_point: bool = False
) -> Crop:
    """The square around the face in every frame of a track.

    In each frame the box about the face's landmarks is enlarged about its middle to `bbox_scale` times its longer side,
    as metrical-tracker does in its first frame. The square holds these boxes of all frames, cut at the picture's edges;
    what it needs beyond them is black.

    Args:
        track: With one camera lens.
        flame: Its model.
        size: Of the exported picture, pixels along each side.
        bbox_scale: Room around the face.
        centered_principal_point: Put the principal point into the square's middle, for programs that ignore cx and cy
            (FlashAvatar, GaussianAvatars). The square grows until it holds the face and lies between pixels; K is
            still told as it is.

    Raises:
        InputError: A size or scale out of range, or a lens that changes.
    """
    _check(size, bbox_scale)
    width, height = track.camera.size
    boxes = _face_boxes(track, flame, bbox_scale)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    low, high = np.maximum(low, 0.0), np.minimum(high, [width, height])
    if (high - low < 2).any():
        raise InputError(
            "The face lies outside the picture in all frames, so there is nothing to cut out; check the track's camera "
            f"for pictures of {width}x{height}."
        )
    middle, half = (low + high) / 2, float((high - low).max()) / 2
    if centered_principal_point:
        middle = constant_lens(track.camera)[2:]
        half = float(np.maximum(high - middle, middle - low).max())
    return _square(middle, half, size, between_pixels=centered_principal_point)


def whole_crop(track: Track) -> Crop:
    """The picture as it is."""
    width, height = track.camera.size
    return Crop((0.0, 0.0), (float(width), float(height)), track.camera.size)


def constant_lens(camera: Camera) -> Float[np.ndarray, "4"]:
    """fx, fy, cx, cy of cameras that share them, float64: the mean.

    Raises:
        InputError: They change, or the camera is a parallel projection.
    """
    if camera.orthographic:
        raise InputError("The track's camera is a parallel projection, which these files cannot hold; give a pinhole.")
    values = torch.cat([camera.focal, camera.center], dim=-1).detach().cpu().double().reshape(-1, 4).numpy()
    lens = values.mean(axis=0)
    if (np.abs(values - lens) > _SAME_LENS * lens[:2].max()).any():
        low, high = values[:, 0].min(), values[:, 0].max()
        raise InputError(
            f"The lens changes over the track (focal length {low:.1f} to {high:.1f} pixels), but these files hold one; "
            "track with one focal length."
        )
    return lens


def crop_camera(camera: Camera, crop: Crop) -> Camera:
    """The cameras of the cut-out pictures, all with the same K."""
    lens = torch.as_tensor(constant_lens(camera))
    batch = camera.focal.shape
    one = replace(camera, focal=lens[:2].expand(batch), center=lens[2:].expand(batch))
    shown = crop.camera(one)
    return replace(shown, focal=shown.focal.to(camera.focal), center=shown.center.to(camera.center))


def _face_boxes(track: Track, flame: Flame, scale: float) -> Float[np.ndarray, "T 4"]:
    """left, top, right, bottom of the enlarged square about the 68 landmarks of each frame."""
    scheme = next((name for name in ("ibug68", "ibug51", "mediapipe105") if name in flame.embeddings), None)
    if scheme is None:
        raise InputError(
            f"{flame.arrays.source} has no landmarks to find the face by; put landmark_embedding.npy beside the model."
        )
    like = flame.template
    params = track.params.to(dtype=like.dtype)
    with torch.no_grad():
        points = flame.landmark_model(scheme)(params).points
        pixels = track.camera.to(dtype=like.dtype).project(points).double().numpy()
    pixels = pixels[np.isfinite(pixels).all(axis=(1, 2))]
    if not len(pixels):
        raise InputError("No frame of the track has a head that projects to finite pixels; track the video again.")
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    middle, half = (low + high) / 2, scale * (high - low).max(axis=1, keepdims=True) / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def _square(middle: Float[np.ndarray, "2"], half: float, size: int, *, between_pixels: bool) -> Crop:
    side = max(2, math.ceil(2 * half - 1e-6))
    corner = middle - side / 2
    left, top = (float(value) if between_pixels else int(np.rint(value)) for value in corner)
    return Crop((float(left), float(top)), (float(side), float(side)), (size, size))


def _check(size: int, scale: float) -> None:
    if not 16 <= size <= 8192:
        raise InputError(f"The exported pictures are to have {size} pixels a side; choose 16 to 8192.")
    if not 1.0 <= scale <= 20.0:
        raise InputError(f"The box is to be {scale} times the face; choose a scale from 1 to 20.")
