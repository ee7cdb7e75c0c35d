"""Other camera conventions, each behind one named conversion to ours and one back.

Ours is OpenCV: `x_camera = rotation @ x_world + translation` with x right, y down, z forward; focal length and centre
in pixels; the image's corner is (0, 0), pixel centres lie at +0.5.

PyTorch3D multiplies row vectors, X_view = X_world R + T, and its axes are x left, y up, z forward. With
D = diag(-1, -1, 1):

    rotation = D R^T       translation = D T

In its NDC mode the short side of the image spans [-1, 1] and both axes point against ours; with s = min(H, W)/2:

    focal_pixels = s focal       center = (W, H)/2 - s principal

In its screen mode focal length and principal point are in pixels, as ours. Its `OrthographicCameras` project with the
same numbers without dividing by depth, as our parallel projection does. OpenGL has x right, y up, z backward; datasets
store its camera-to-world matrix. View and projection matrices, pyrender and weak perspective have files of their own.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.data import Camera
from flamehead.errors import InputError

__all__ = [
    "camera_to_opencv",
    "camera_to_opengl",
    "camera_to_pytorch3d_ndc",
    "camera_to_pytorch3d_screen",
    "check_pinhole",
    "opencv_to_camera",
    "opengl_to_camera",
    "pytorch3d_ndc_to_camera",
    "pytorch3d_screen_to_camera",
]

_PYTORCH3D = (-1.0, -1.0, 1.0)
_OPENGL = (1.0, -1.0, -1.0)


def check_pinhole(camera: Camera, what: str) -> None:
    """Refuse a parallel projection where only a pinhole can be written; `what` names the target with its article."""
    if camera.orthographic:
        raise InputError(
            f"The camera is a parallel projection, which {what} cannot hold; give a pinhole camera, "
            "for example one fitted by `flamehead fit`."
        )


def opencv_to_camera(
    rotation: Float[Tensor, "*batch 3 3"],
    translation: Float[Tensor, "*batch 3"],
    matrix: Float[Tensor, "*batch 3 3"],
    *,
    size: tuple[int, int],
) -> Camera:
    """A camera from OpenCV's R, t and K.

    Raises:
        InputError: K has skew, which a `Camera` cannot hold.
    """
    if bool((matrix[..., 0, 1] != 0).any() or (matrix[..., 1, 0] != 0).any()):
        raise InputError("The intrinsic matrix has skew, which is not supported; rectify the images first.")
    focal = torch.stack([matrix[..., 0, 0], matrix[..., 1, 1]], dim=-1)
    return Camera(rotation, translation, focal, matrix[..., :2, 2], size)


def camera_to_opencv(
    camera: Camera,
) -> tuple[Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3 3"]]:
    """OpenCV's R, t and K of a pinhole camera; a parallel projection raises `InputError`."""
    check_pinhole(camera, "OpenCV's K")
    return camera.rotation, camera.translation, camera.matrix


def pytorch3d_ndc_to_camera(
    rotation: Float[Tensor, "*batch 3 3"],
    translation: Float[Tensor, "*batch 3"],
    focal: Float[Tensor, "*batch N"],
    principal: Float[Tensor, "*batch 2"],
    *,
    size: tuple[int, int],
    orthographic: bool = False,
) -> Camera:
    """A camera from PyTorch3D's R, T, focal length (one number, or one per axis) and principal point in NDC.

    `orthographic` says that they are of `OrthographicCameras` instead of `PerspectiveCameras`.
    """
    half = min(size) / 2
    center = torch.as_tensor(size, dtype=principal.dtype, device=principal.device) / 2 - half * principal
    return pytorch3d_screen_to_camera(rotation, translation, half * focal, center, size=size, orthographic=orthographic)


def camera_to_pytorch3d_ndc(
    camera: Camera,
) -> tuple[
    Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch 3"], Float[Tensor, "*batch 2"], Float[Tensor, "*batch 2"]
]:
    """PyTorch3D's R, T, focal length per axis and principal point in NDC, for the kind of camera that this one is."""
    rotation, translation, focal, center = camera_to_pytorch3d_screen(camera)
    half = min(camera.size) / 2
    middle = torch.as_tensor(camera.size, dtype=center.dtype, device=center.device) / 2
    return rotation, translation, focal / half, (middle - center) / half


def pytorch3d_screen_to_camera(
    rotation: Float[Tensor, "*batch 3 3"],
    translation: Float[Tensor, "*batch 3"],
    focal: Float[Tensor, "*batch N"],
    center: Float[Tensor, "*batch 2"],
    *,
    size: tuple[int, int],
    orthographic: bool = False,
) -> Camera:
    """A camera from PyTorch3D's R, T and, in pixels, focal length and principal point (`in_ndc=False`)."""
    flip = rotation.new_tensor(_PYTORCH3D)
    focal = focal.expand(*focal.shape[:-1], 2)
    return Camera(flip[:, None] * rotation.mT, flip * translation, focal, center, size, orthographic=orthographic)


def camera_to_pytorch3d_screen(
    camera: Camera,
) -> tuple[
    Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch 3"], Float[Tensor, "*batch 2"], Float[Tensor, "*batch 2"]
]:
    """PyTorch3D's R, T and, in pixels, focal length per axis and principal point (`in_ndc=False`)."""
    flip = camera.rotation.new_tensor(_PYTORCH3D)
    return (flip[:, None] * camera.rotation).mT, flip * camera.translation, camera.focal, camera.center


def opengl_to_camera(
    camera_to_world: Float[Tensor, "*batch 4 4"],
    focal: Float[Tensor, "*batch 2"],
    center: Float[Tensor, "*batch 2"],
    *,
    size: tuple[int, int],
    center_from_bottom: bool = False,
    orthographic: bool = False,
) -> Camera:
    """A camera from OpenGL's camera-to-world matrix, and intrinsics in pixels.

    Args:
        camera_to_world: the upper left 3 x 3 is a rotation.
        focal: (fx, fy).
        center: (cx, cy).
        size: (width, height).
        center_from_bottom: whether cy is counted from the lower edge, as VHAP does for calibrated cameras.
        orthographic: whether it is a parallel projection; `focal` is then in pixels per metre.
    """
    flip = camera_to_world.new_tensor(_OPENGL)
    rotation = flip[:, None] * camera_to_world[..., :3, :3].mT
    translation = -(rotation @ camera_to_world[..., :3, 3:])[..., 0]
    center = _from_top(center, size) if center_from_bottom else center
    return Camera(rotation, translation, focal, center, size, orthographic=orthographic)


def camera_to_opengl(
    camera: Camera, *, center_from_bottom: bool = False
) -> tuple[Float[Tensor, "*batch 4 4"], Float[Tensor, "*batch 2"], Float[Tensor, "*batch 2"]]:
    """OpenGL's camera-to-world matrix, focal length and centre in pixels; options as in `opengl_to_camera`.

    A parallel projection has the same three: `focal` is then in pixels per metre, which the caller must tell on.
    """
    back = camera.rotation.mT
    matrix = torch.zeros(*back.shape[:-2], 4, 4, dtype=back.dtype, device=back.device)
    matrix[..., :3, :3] = back * back.new_tensor(_OPENGL)
    matrix[..., :3, 3] = -(back @ camera.translation[..., None])[..., 0]
    matrix[..., 3, 3] = 1
    center = _from_top(camera.center, camera.size) if center_from_bottom else camera.center
    return matrix, camera.focal, center


def _from_top(center: Float[Tensor, "*batch 2"], size: tuple[int, int]) -> Float[Tensor, "*batch 2"]:
    """Mirror cy at the image's middle; undoes itself."""
    return torch.stack([center[..., 0], size[1] - center[..., 1]], dim=-1)
