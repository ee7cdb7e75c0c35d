"""The rasterizer in numba: rows are shared among threads, whose number does not change a bit of the result."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._buffers import empty
from flamehead.raster._compile import compiled
from flamehead.raster._cpu.fill import fill_together, prepare
from flamehead.raster._cpu.fork import share
from flamehead.raster._cpu.scratch import BLOCK, in_row
from flamehead.raster._threads import run, threads_for
from flamehead.raster.fragments import Fragments

__all__ = ["gather", "rasterize"]

_MOST_SCRATCH = 2**18
"""Numbers in a thread's working memory, 1 MiB: about what a core's own cache holds."""

_STRIPS = 2
"""Strips for every thread that works on a picture: heads are not in the middle, and processors not equally fast."""

_FACE_SECONDS, _PIXEL_SECONDS = 3e-8, 1e-9
"""What a triangle and a pixel cost on one core, roughly; they only decide how many threads a job is worth."""


def rasterize(
    points: Float[Tensor, "B V 3"],
    faces: Int[np.ndarray, "F 3"],
    size: tuple[int, int],
    *,
    cull: bool,
    perspective: bool,
    near: float,
    threads: int | None = None,
) -> Fragments:
    """See `flamehead.raster.rasterize`; float32 points and int32 faces, contiguous, on the CPU."""
    width, height = size
    batch, pixels = points.shape[0], width * height
    ids = empty(batch * pixels, dtype=torch.int32)
    barycentric, depth = (empty(n * batch * pixels, dtype=torch.float32) for n in (3, 1))
    outputs = [(part.numpy(), part.numel() // max(1, batch)) for part in (ids, barycentric, depth)]
    workers = threads_for(batch * (len(faces) * _FACE_SECONDS + pixels * _PIXEL_SECONDS), threads)
    corners, triangles = points.numpy(), faces.reshape(-1)

    def one(n: int, workers: int) -> None:
        strips, rows = _cut(size, workers)
        view = corners[n], triangles, width, height, rows, cull, perspective, near
        scratch = empty(workers, rows * in_row(width) * BLOCK, dtype=torch.float32).numpy()
        into = [part[n * each : (n + 1) * each] for part, each in outputs]
        share(fill_together, workers, np.zeros(2, np.int64), strips, scratch, *prepare(*view), *view[1:], *into)

    if batch < workers:
        for n in range(batch):
            one(n, workers)
    else:
        run([partial(one, n, 1) for n in range(batch)], workers)
    planes = barycentric.view(batch, 3, height, width)
    return Fragments(ids.view(batch, height, width), planes.permute(0, 2, 3, 1), depth.view(batch, height, width))


def _cut(size: tuple[int, int], threads: int) -> tuple[int, int]:
    """How many strips a picture has, and how many rows a strip: threads take the next one when they are ready."""
    width, height = size
    most = max(1, _MOST_SCRATCH // (in_row(width) * BLOCK))
    strips = max(-(-height // most), min(height, 0 if threads == 1 else _STRIPS * threads))
    rows = -(-height // strips)
    return -(-height // rows), rows


def gather(
    attributes: Float[Tensor, "V C"],
    faces: Int[Tensor, "F 3"],
    face_ids: Int[Tensor, "N"],
    barycentric: Float[Tensor, "N 3"],
) -> Float[Tensor, "N C"]:
    """See `flamehead.raster.gather`; float32 on the CPU, without gradients."""
    out = np.empty((len(face_ids), attributes.shape[1]), dtype=np.float32)
    _gather(attributes.numpy(), faces.numpy(), face_ids.numpy(), barycentric.numpy(), out)
    return torch.from_numpy(out)


@compiled(nogil=True)
def _gather(attributes, faces, face_ids, barycentric, out):
    for pixel in range(face_ids.shape[0]):
        face = face_ids[pixel]
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        b0, b1, b2 = barycentric[pixel, 0], barycentric[pixel, 1], barycentric[pixel, 2]
        for channel in range(out.shape[1]):
            out[pixel, channel] = (
                b0 * attributes[i, channel] + b1 * attributes[j, channel] + b2 * attributes[k, channel]
            )
