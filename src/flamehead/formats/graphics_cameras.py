"""Cameras of programs that draw: OpenGL's view and projection matrices, and pyrender's cameras with their pose.

OpenGL's camera space has x right, y up, z backward; a clip coordinate divided by its w is in [-1, 1], y up. With depth
d = -z of a point, pixels u = fx x / d + cx and v = cy - fy y / d of a W x H image give

    P = [[2 fx / W, 0, 1 - 2 cx / W, 0], [0, 2 fy / H, 2 cy / H - 1, 0],
         [0, 0, -(f + n) / (f - n), -2 f n / (f - n)], [0, 0, -1, 0]]

and a parallel projection, u = fx x + cx and v = cy - fy y,

    P = [[2 fx / W, 0, 0, 2 cx / W - 1], [0, 2 fy / H, 0, 1 - 2 cy / H],
         [0, 0, -2 / (f - n), -(f + n) / (f - n)], [0, 0, 0, 1]]

pyrender stores the camera-to-world matrix in the same axes and one of three intrinsics: `IntrinsicsCamera` (focal
length and centre in pixels), `PerspectiveCamera` (`yfov` in radians, `aspectRatio`) and `OrthographicCamera` (half
extents `xmag`, `ymag` in metres).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.formats.cameras import camera_to_opengl, check_pinhole, opengl_to_camera

__all__ = [
    "camera_to_opengl_matrices",
    "camera_to_pyrender_fov",
    "camera_to_pyrender_intrinsics",
    "camera_to_pyrender_orthographic",
    "opengl_matrices_to_camera",
    "pyrender_fov_to_camera",
    "pyrender_intrinsics_to_camera",
    "pyrender_orthographic_to_camera",
]

_FLIP = (1.0, -1.0, -1.0)
_CENTERED = 1e-3
"""Pixels by which a principal point may miss the middle of the image and still count as there."""


def camera_to_opengl_matrices(
    camera: Camera, *, near: float = 0.01, far: float = 100.0
) -> tuple[Float[Tensor, "*batch 4 4"], Float[Tensor, "*batch 4 4"]]:
    """OpenGL's view matrix (`world_to_view`) and projection matrix (`view_to_clip`), for column vectors.

    Args:
        camera: Pinhole or parallel.
        near: Distance of the near plane, metres; must be positive for a pinhole.
        far: Distance of the far plane, metres.

    Raises:
        InputError: The planes are in the wrong order.
    """
    if not far > near or (near <= 0 and not camera.orthographic):
        raise InputError(
            f"The near plane is at {near} and the far plane at {far} metres; give 0 < near < far "
            "(a parallel projection allows near <= 0)."
        )
    rotation = camera.rotation
    view, clip = (rotation.new_zeros(*rotation.shape[:-2], 4, 4) for _ in range(2))
    flip = rotation.new_tensor(_FLIP)
    view[..., :3, :3], view[..., :3, 3], view[..., 3, 3] = flip[:, None] * rotation, flip * camera.translation, 1.0
    size = camera.focal.new_tensor(camera.size)
    scale, offset = 2 * camera.focal / size, (2 * camera.center / size - 1) * camera.focal.new_tensor([1.0, -1.0])
    clip[..., 0, 0], clip[..., 1, 1] = scale[..., 0], scale[..., 1]
    if camera.orthographic:
        clip[..., :2, 3], clip[..., 3, 3] = offset, 1.0
        clip[..., 2, 2], clip[..., 2, 3] = -2 / (far - near), -(far + near) / (far - near)
    else:
        clip[..., :2, 2], clip[..., 3, 2] = -offset, -1.0
        clip[..., 2, 2], clip[..., 2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
    return view, clip


def opengl_matrices_to_camera(
    world_to_view: Float[Tensor, "*batch 4 4"], view_to_clip: Float[Tensor, "*batch 4 4"], *, size: tuple[int, int]
) -> Camera:
    """A camera from OpenGL's view and projection matrices, for column vectors (transpose GLM's and NumPy row ones).

    The last row of the projection tells a pinhole, (0, 0, -1, 0), from a parallel projection, (0, 0, 0, 1).

    Raises:
        InputError: The projection is of neither kind, has skew, or its axes are mirrored.
    """
    last = view_to_clip[..., 3, :]
    kinds = [bool((last == last.new_tensor(row)).all()) for row in ((0.0, 0.0, -1.0, 0.0), (0.0, 0.0, 0.0, 1.0))]
    if not any(kinds):
        raise InputError(
            f"The last row of the projection matrix is {last.reshape(-1, 4)[0].tolist()}, wanted (0, 0, -1, 0) or, for "
            "a parallel projection, (0, 0, 0, 1); transpose the matrix if it is for row vectors."
        )
    scale = torch.stack([view_to_clip[..., 0, 0], view_to_clip[..., 1, 1]], dim=-1)
    if bool((scale <= 0).any() or (view_to_clip[..., 0, 1] != 0).any() or (view_to_clip[..., 1, 0] != 0).any()):
        raise InputError("The projection matrix has skew or a mirrored axis, which a camera here cannot hold; undo it.")
    offset = view_to_clip[..., :2, 3] if kinds[1] else -view_to_clip[..., :2, 2]
    extent, flip = scale.new_tensor(size), world_to_view.new_tensor(_FLIP)
    center = (offset * offset.new_tensor([1.0, -1.0]) + 1) * extent / 2
    rotation, translation = flip[:, None] * world_to_view[..., :3, :3], flip * world_to_view[..., :3, 3]
    return Camera(rotation, translation, scale * extent / 2, center, size, orthographic=kinds[1])


def camera_to_pyrender_intrinsics(
    camera: Camera,
) -> tuple[Float[Tensor, "*batch 4 4"], Float[Tensor, "*batch 2"], Float[Tensor, "*batch 2"]]:
    """Pose, (fx, fy) and (cx, cy) of pyrender's `IntrinsicsCamera`; a parallel projection raises `InputError`."""
    check_pinhole(camera, "pyrender's IntrinsicsCamera")
    return camera_to_opengl(camera)


def pyrender_intrinsics_to_camera(
    pose: Float[Tensor, "*batch 4 4"],
    focal: Float[Tensor, "*batch 2"],
    center: Float[Tensor, "*batch 2"],
    *,
    size: tuple[int, int],
) -> Camera:
    """A camera from the pose, (fx, fy) and (cx, cy) of pyrender's `IntrinsicsCamera`."""
    return opengl_to_camera(pose, focal, center, size=size)


def camera_to_pyrender_fov(
    camera: Camera,
) -> tuple[Float[Tensor, "*batch 4 4"], Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Pose, `yfov` (radians) and `aspectRatio` of pyrender's `PerspectiveCamera`, which sees the image's middle.

    Raises:
        InputError: The principal point lies elsewhere, or the projection is parallel.
    """
    check_pinhole(camera, "pyrender's PerspectiveCamera")
    _check_centered(camera, "PerspectiveCamera", "use IntrinsicsCamera")
    half = camera.focal.new_tensor(camera.size) / (2 * camera.focal)
    return camera_to_opengl(camera)[0], 2 * half[..., 1].atan(), half[..., 0] / half[..., 1]


def pyrender_fov_to_camera(
    pose: Float[Tensor, "*batch 4 4"],
    yfov: Float[Tensor, "*batch"],
    *,
    size: tuple[int, int],
    aspect: Float[Tensor, "*batch"] | None = None,
) -> Camera:
    """A camera from the pose, `yfov` (radians) and `aspectRatio` of pyrender's `PerspectiveCamera`.

    Without `aspect` pixels are square, as in pyrender.
    """
    width, height = size
    fy = height / 2 / (yfov / 2).tan()
    fx = fy if aspect is None else width / height * fy / aspect
    focal = torch.stack([fx, fy], dim=-1)
    return opengl_to_camera(pose, focal, (focal.new_tensor(size) / 2).expand_as(focal), size=size)


def camera_to_pyrender_orthographic(
    camera: Camera,
) -> tuple[Float[Tensor, "*batch 4 4"], Float[Tensor, "*batch 2"]]:
    """Pose and (`xmag`, `ymag`), metres, of pyrender's `OrthographicCamera`, which sees the image's middle.

    pyrender draws only what lies between its near and far plane in front of the camera.

    Raises:
        InputError: The principal point lies elsewhere, or the camera is a pinhole.
    """
    if not camera.orthographic:
        raise InputError("The camera is a pinhole, which pyrender's OrthographicCamera is not; use IntrinsicsCamera.")
    _check_centered(camera, "OrthographicCamera", "move the camera sideways instead")
    return camera_to_opengl(camera)[0], camera.focal.new_tensor(camera.size) / (2 * camera.focal)


def pyrender_orthographic_to_camera(
    pose: Float[Tensor, "*batch 4 4"], magnification: Float[Tensor, "*batch 2"], *, size: tuple[int, int]
) -> Camera:
    """A camera from the pose and (`xmag`, `ymag`), metres, of pyrender's `OrthographicCamera`."""
    extent = magnification.new_tensor(size)
    center = (extent / 2).expand_as(magnification)
    return opengl_to_camera(pose, extent / (2 * magnification), center, size=size, orthographic=True)


def _check_centered(camera: Camera, what: str, remedy: str) -> None:
    middle = camera.center.new_tensor(camera.size) / 2
    if bool(((camera.center - middle).abs() > _CENTERED).any()):
        raise InputError(
            f"The principal point is not the image's middle, which pyrender's {what} cannot hold; {remedy}."
        )
