"""Weak perspective, the camera of regressors such as DECA, EMOCA and SMIRK: a scale and a shift, no depth.

For a head in model space (y up, z out of the face) and s, tx, ty:

    n = s (x + tx, y + ty), then y negated: normalised image coordinates in [-1, 1] over the crop, y down
    u = (n_x + 1) W / 2,  v = (n_y + 1) H / 2

which is a parallel projection in front of the face: rotation diag(1, -1, -1), translation (tx, -ty, 0), focal length
s (W, H) / 2 in pixels per metre, centre (W, H) / 2. Depth is known up to a constant only and is kept in metres, smaller
being nearer; DECA scales it with s.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.data import Camera
from flamehead.errors import InputError

__all__ = ["camera_to_weak_perspective", "flatten_camera", "map_camera", "weak_perspective_to_camera"]

_FACING = (1.0, -1.0, -1.0)


def weak_perspective_to_camera(weak: Float[Tensor, "*batch 3"], *, size: tuple[int, int]) -> Camera:
    """A parallel camera from (s, tx, ty) for a crop of `size` pixels, 224 x 224 in DECA.

    `map_camera` carries it from the crop into the whole image.
    """
    scale, tx, ty = weak.unbind(-1)
    extent = weak.new_tensor(size)
    rotation = torch.diag(weak.new_tensor(_FACING)).expand(*weak.shape[:-1], 3, 3)
    shift = torch.stack([tx, -ty, torch.zeros_like(tx)], dim=-1)
    focal = scale[..., None] * extent / 2
    return Camera(rotation, shift, focal, (extent / 2).expand_as(focal), size, orthographic=True)


def camera_to_weak_perspective(camera: Camera) -> Float[Tensor, "*batch 3"]:
    """(s, tx, ty) of a parallel camera that looks straight at the model; its depth is lost.

    Raises:
        InputError: The camera is a pinhole, is turned, or its scale differs between x and y of [-1, 1].
    """
    if not camera.orthographic:
        raise InputError(
            "The camera is a pinhole, not a parallel projection; call `flatten_camera` with a depth first."
        )
    if bool(((camera.rotation - torch.diag(camera.rotation.new_tensor(_FACING))).abs() > 1e-5).any()):
        raise InputError(
            "The camera is turned against the model, which (s, tx, ty) cannot hold; turn the head instead, with "
            "`flamehead.formats.move_head`."
        )
    extent = camera.focal.new_tensor(camera.size)
    scale = 2 * camera.focal / extent
    if bool(((scale[..., 0] - scale[..., 1]).abs() > 1e-5 * scale[..., 0].abs()).any()):
        raise InputError(
            "The camera's scale differs along x and y of the image, but s is one number; crop to a square."
        )
    # The principal point off the middle is a shift, too.
    shift = camera.translation[..., :2] + (camera.center - extent / 2) / camera.focal
    return torch.stack([scale[..., 0], shift[..., 0], -shift[..., 1]], dim=-1)


def flatten_camera(camera: Camera, depth: Float[Tensor, "*#batch"] | float) -> Camera:
    """The parallel camera that sees the plane at `depth` (metres) exactly as the pinhole camera does."""
    if camera.orthographic:
        return camera
    focal = camera.focal / torch.as_tensor(depth, dtype=camera.focal.dtype, device=camera.focal.device)[..., None]
    return replace(camera, focal=focal, orthographic=True)


def map_camera(camera: Camera, similarity: Float[Tensor, "*batch 2 3"], *, size: tuple[int, int]) -> Camera:
    """The camera of an image from the camera of a crop, or the other way round.

    Args:
        camera: Of the image that the points come from, with square pixels; pinhole or parallel.
        similarity: [k R | b]: `pixel_new = k R pixel_old + b`, a rotation in the image plane, a scale and a shift.
        size: (width, height) of the new image.

    Raises:
        InputError: The map is no similarity (mirrors, shears, or scales x and y apart), or the pixels are not square.
    """
    matrix, shift = similarity[..., :2], similarity[..., 2]
    scale = torch.linalg.det(matrix).clamp(min=0).sqrt()
    turn = matrix / scale.clamp(min=torch.finfo(matrix.dtype).tiny)[..., None, None]
    eye = torch.eye(2, dtype=matrix.dtype, device=matrix.device)
    if not bool(torch.isfinite(turn).all()) or bool(((turn @ turn.mT - eye).abs() > 1e-4).any()):
        raise InputError("The map between the images is no similarity; give scale times rotation, and a shift.")
    spread = (camera.focal[..., 0] - camera.focal[..., 1]).abs()
    if bool((spread > 1e-5 * camera.focal[..., 0].abs()).any()) and bool(((turn - eye).abs() > 1e-6).any()):
        raise InputError("The camera's pixels are not square, so it cannot be turned in the image; make fx equal fy.")
    roll = torch.zeros(*turn.shape[:-2], 3, 3, dtype=turn.dtype, device=turn.device)
    roll[..., :2, :2], roll[..., 2, 2] = turn, 1.0
    center = (matrix @ camera.center[..., None])[..., 0] + shift
    translation = (roll @ camera.translation[..., None])[..., 0]
    return replace(
        camera,
        rotation=roll @ camera.rotation,
        translation=translation,
        focal=scale[..., None] * camera.focal,
        center=center,
        size=size,
    )
