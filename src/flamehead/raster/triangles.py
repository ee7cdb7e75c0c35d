"""The one door to rasterization: triangles in, fragments out, whichever backend does the work."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.errors import InputError
from flamehead.raster.fragments import Fragments
from flamehead.raster.interpolate import interpolate

__all__ = ["Backend", "rasterize", "warmup"]

Backend = Literal["numba", "reference"]
"""Who fills the triangles: compiled CPU kernels, or plain torch on any device, for checking."""


def rasterize(
    points: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    size: tuple[int, int],
    *,
    cull: bool = False,
    backend: Backend | None = None,
) -> Fragments:
    """Find the nearest triangle at every pixel centre; no gradients.

    Corners are snapped to 1/1024 pixel and pixels on an edge follow the top-left rule, so triangles that share an edge
    cover each pixel along it exactly once. Results do not depend on the machine's load or number of threads; where two
    triangles are equally near the first one wins.

    Limits: nothing is clipped. A triangle with a corner at depth 1e-6 or nearer, or with a corner that is not finite,
    is left out whole; so is one without area. Coverage exactly once is guaranteed up to 2**15 pixels from the image.

    Args:
        points: (x, y) in pixels, pixel centres at +0.5, y down; z is view depth, positive in front of the camera.
        faces: Corners as rows of `points`, counter-clockwise seen from outside the object.
        size: (width, height) in pixels.
        cull: Leave out triangles that show their back.
        backend: `None` follows the device of `points`: numba on the CPU.

    Raises:
        InputError: Wrong shapes, a size below 1, faces that name missing points, or a device without a backend.

    Example:
        >>> points = torch.tensor([[0.0, 0.0, 1.0], [0.0, 4.0, 1.0], [4.0, 0.0, 1.0]])
        >>> rasterize(points, torch.tensor([[0, 1, 2]]), (4, 4)).covered.sum()
        tensor(6)
    """
    _check(points, faces, size)
    points, faces = points.detach().float().contiguous(), faces.detach().int().contiguous()
    match backend or _default_backend(points):
        case "numba":
            # Imported here: numba costs a second, and nothing else in this room needs it.
            from flamehead.raster import _cpu

            if points.device.type != "cpu":
                raise InputError(f"The numba backend needs CPU tensors, got {points.device}; move them with `.cpu()`.")
            return _cpu.rasterize(points, faces.cpu(), size, cull=cull)
        case "reference":
            from flamehead.raster import _reference

            return _reference.rasterize(points, faces.to(points.device), size, cull=cull)
        case other:
            raise InputError(f"There is no rasterizer backend {other!r}; choose 'numba' or 'reference'.")


def warmup() -> None:
    """Compile and cache the kernels, a few seconds once per machine; later processes load them from the cache."""
    triangle = torch.tensor([[0.0, 0.0, 1.0], [0.0, 2.0, 1.0], [2.0, 0.0, 1.0]])
    faces = torch.tensor([[0, 1, 2]])
    interpolate(triangle, faces, rasterize(triangle, faces, (2, 2), backend="numba"))


def _default_backend(points: Tensor) -> Backend:
    if points.device.type == "cpu":
        return "numba"
    raise InputError(
        f"There is no fast rasterizer for {points.device.type} tensors yet; "
        "move them to the CPU with `.cpu()`, or pass backend='reference' and wait."
    )


def _check(points: Tensor, faces: Tensor, size: tuple[int, int]) -> None:
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(
            f"rasterize() needs points of shape (V, 3), got {tuple(points.shape)}; pass one mesh at a time."
        )
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.is_floating_point():
        raise InputError(
            f"rasterize() needs whole-number faces of shape (F, 3), got {faces.dtype} {tuple(faces.shape)}."
        )
    if min(size) < 1:
        raise InputError(f"rasterize() needs a (width, height) of at least 1 pixel each, got {size}.")
    low, high = map(int, faces.aminmax()) if len(faces) else (0, -1)
    if low < 0 or high >= len(points):
        raise InputError(
            f"faces name points {low} to {high}, but there are {len(points)} points from 0 on; "
            "the faces belong to another mesh."
        )
