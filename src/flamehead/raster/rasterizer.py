"""The one door to rasterization: triangles in, fragments out, whichever backend does the work."""

from __future__ import annotations

import math
import os
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead._triangles import Triangles
from flamehead.errors import InputError
from flamehead.raster._checks import check_faces, check_size, look_at
from flamehead.raster._grid import MOST_FACES, NEAR
from flamehead.raster._remember import promise, promise_rest
from flamehead.raster._threads import patience
from flamehead.raster.antialias import antialias
from flamehead.raster.fragments import Fragments
from flamehead.raster.interpolate import interpolate
from flamehead.raster.paint import paint

__all__ = ["Backend", "rasterize", "warmup"]

Backend = Literal["numba", "triton", "reference"]
"""Who fills the triangles: compiled CPU kernels, Triton's on CUDA, or plain torch on any device, for checking."""


def rasterize(
    points: Float[Tensor, "*batch V 3"],
    faces: Int[Tensor, "F 3"],
    size: tuple[int, int],
    *,
    cull: bool = False,
    perspective: bool = True,
    near: float = NEAR,
    threads: int | None = None,
    backend: Backend | None = None,
) -> Fragments:
    """Find the nearest triangle at every pixel centre; for gradients see `paint`, `interpolate` and `antialias`.

    Corners are snapped to 1/1024 pixel and pixels on an edge follow the top-left rule, so triangles that share an edge
    cover each pixel along it exactly once. Results do not depend on the machine's load or number of threads; where two
    triangles are equally near the first one wins.

    Triangles that cross the near plane are cut there. A corner behind the camera keeps the coordinates that the
    projection gives it, `x = fx X / z + cx` with its negative z, which is what `geometry.camera.project` returns.

    Limits: a triangle with a corner that is not finite, or without area, is left out. Coverage exactly once is
    guaranteed up to 2**15 pixels from the image.

    Args:
        points: (x, y) in pixels, pixel centres at +0.5, y down; z is view depth, positive in front of the camera.
        faces: Corners as rows of `points`, counter-clockwise seen from outside the object.
        size: (width, height) in pixels.
        cull: Leave out triangles that show their back.
        perspective: False for a parallel projection: barycentrics are linear on the screen, and depth has any sign.
        near: Depth of the near plane, in the unit of the points; nothing nearer is drawn. Perspective only.
        threads: At most so many; `None` follows the size of the job and `torch.get_num_threads()`.
        backend: `None` follows the device of `points`: numba on the CPU, triton on CUDA.

    Raises:
        InputError: Wrong shapes, a size below 1, faces that name missing points, or a device without a backend.

    Example:
        >>> points = torch.tensor([[0.0, 0.0, 1.0], [0.0, 4.0, 1.0], [4.0, 0.0, 1.0]])
        >>> rasterize(points, torch.tensor([[0, 1, 2]]), (4, 4)).covered.sum()
        tensor(6)
    """
    known = _check(points, faces, size, near if perspective else NEAR)
    batch, n_faces = points.shape[:-2], faces.shape[0]
    points = points.detach().float().reshape(math.prod(batch), *points.shape[-2:]).contiguous()
    options = {"cull": cull, "perspective": perspective, "near": float(near)}
    match chosen := backend or _default_backend(points):
        case "numba":
            # Imported here: numba costs a second, and nothing else in this room needs it.
            from flamehead.raster._cpu.rasterize import rasterize as rasterize_cpu

            if points.device.type != "cpu":
                raise InputError(f"The numba backend needs CPU tensors, got {points.device}; move them with `.cpu()`.")
            rows = known.rows if known else faces.detach().cpu().int().contiguous().numpy()
            seen = rasterize_cpu(points, rows, size, threads=threads, **options)
        case "triton":
            from flamehead.raster._triton.rasterize import rasterize as rasterize_triton

            if points.device.type == "cpu" and os.environ.get("TRITON_INTERPRET", "0") != "1":
                raise InputError("The triton backend needs CUDA tensors, got cpu; leave out `backend`, or move them.")
            seen = rasterize_triton(points, _moved(faces, points), size, **options)
        case "reference":
            from flamehead.raster._reference import rasterize as rasterize_plain

            seen = rasterize_plain(points, _moved(faces, points), size, **options)
        case other:
            raise InputError(f"There is no rasterizer backend {other!r}; choose 'numba', 'triton' or 'reference'.")
    if len(batch) != 1:
        parts = seen.face_ids, seen.barycentric, seen.depth
        seen = Fragments(*(part.unflatten(0, batch) if batch else part[0] for part in parts))
    promise(seen.face_ids, n_faces)
    if chosen == "numba":
        promise_rest(seen.barycentric)
    return seen


def warmup() -> None:
    """Compile and cache the kernels, a few seconds once per machine; later processes load them from the cache."""
    points = torch.tensor([[0.0, 0.0, 1.0], [0.0, 2.0, 1.0], [2.0, 0.0, 1.0]], requires_grad=True)
    faces = torch.tensor([[0, 1, 2]])
    with torch.enable_grad(), patience():
        # As many threads as torch has go through kernels together, others take jobs; three channels have their own.
        for threads in {1, torch.get_num_threads()}:
            seen = rasterize(points, faces, (4, 4), backend="numba", threads=threads)
            for channels in (3, 1):
                image = interpolate(points[:, :channels], faces, seen, points=points, threads=threads)
                antialias(image, points, faces, seen, threads=threads).sum().backward()
                paint(points[:, :channels], points, faces, seen, threads=threads).sum().backward()


def _moved(faces: Tensor, points: Tensor) -> Tensor:
    return faces.detach().to(points.device, torch.int32).contiguous()


def _default_backend(points: Tensor) -> Backend:
    if points.device.type == "cpu":
        return "numba"
    if points.device.type == "cuda":
        return "triton"
    raise InputError(
        f"There is no fast rasterizer for {points.device.type} tensors yet; "
        "move them to the CPU with `.cpu()`, or pass backend='reference' and wait."
    )


def _check(points: Tensor, faces: Tensor, size: tuple[int, int], near: float) -> Triangles | None:
    """Refuse what cannot be drawn; the faces, if they are on the CPU."""
    if not isinstance(points, Tensor) or not isinstance(faces, Tensor):
        got = f"{type(points).__name__} and {type(faces).__name__}"
        raise InputError(f"rasterize() needs tensors of points and faces, got {got}; use torch.as_tensor(...).")
    if points.ndim < 2 or points.shape[-1] != 3:
        raise InputError(
            f"rasterize() needs points of shape (*batch, V, 3), got {tuple(points.shape)}: x, y in pixels, and depth."
        )
    if not 0 < near < math.inf:
        raise InputError(f"rasterize() needs a near plane in front of the camera, got near={near}; give a small depth.")
    check_faces(faces)
    if faces.shape[0] >= MOST_FACES:
        raise InputError(f"rasterize() takes up to {MOST_FACES:,} faces, got {len(faces):,}; draw the mesh in parts.")
    check_size("rasterize()", size)
    known, (low, high) = look_at(faces)
    if low < 0 or high >= points.shape[-2]:
        raise InputError(
            f"faces name points {low} to {high}, but there are {points.shape[-2]} points from 0 on; "
            "the faces belong to another mesh."
        )
    return known
