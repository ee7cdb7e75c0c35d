"""`interpolate` in numba, forward; three channels of float32 go through `blocks`, the kernels here serve everything."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from flamehead.raster._buffers import empty
from flamehead.raster._compile import compiled
from flamehead.raster._cpu import blocks
from flamehead.raster._cpu.lanes import FEW
from flamehead.raster._jobs import Job
from flamehead.raster._pixels import Pixels
from flamehead.raster._threads import ranges, run, threads_for

__all__ = ["UNITS", "Seen", "bands_for", "interpolate", "seconds", "work"]

UNITS = 16
"""Bands in all pictures of a batch together, at most; a larger batch has one for each picture."""

_BAND = 1 << 16
"""Pixels in a band, at least."""

_SECONDS = 3e-9
"""What three channels of a pixel cost on one core, roughly."""


@dataclass(frozen=True)
class Seen:
    """What was noticed while pictures were painted."""

    faces: Bool[np.ndarray, "B F"]
    """Which are seen in every picture."""
    counts: Int[np.ndarray, "B parts 1"]
    """On how many pixels, in parts of every picture."""
    places: list[blocks.Places | None]
    """Of the faces of every picture, where somebody had time to find them."""

    @staticmethod
    def of(pictures: int, faces: int, parts: int) -> Seen:
        """Nothing yet."""
        counts = np.zeros((pictures, parts, 1), dtype=np.int64)
        return Seen(np.zeros((pictures, faces), dtype=np.bool_), counts, [None] * pictures)

    @property
    def pixels(self) -> int:
        """On how many pixels any face is seen."""
        return int(self.counts.sum())

    def arrange(
        self, n: int, width: int, height: int, perspective: bool, points: np.ndarray, faces: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Faces and boxes of a picture, and the work before each."""
        if (found := self.places[n]) is None:
            found = blocks.Places.of(len(faces))
            found.used[0] = blocks.arrange(self.faces[n], width, height, perspective, points, faces, *found[:3])
        count = int(found.used[0])
        return found.chosen[:count], found.boxes[:count], found.before[: count + 1]


def interpolate(
    attributes: Float[Tensor, "A V C"],
    faces: Int[np.ndarray, "F 3"],
    pixels: Pixels,
    *,
    threads: int | None,
) -> tuple[Float[Tensor, "B P C"], Seen | None]:
    """Values at pixels; `A` is `B`, or 1 where all pictures share their values; everything contiguous."""
    size, height, width = pixels.ids.shape
    out = empty(size, height * width, attributes.shape[2], dtype=attributes.dtype)
    workers, values = threads_for(seconds(out), threads), attributes.detach().numpy()
    arrays = faces, pixels.ids.reshape(size, height * width), pixels.planes, out.numpy()
    if attributes.shape[2] == 3 and out.dtype == torch.float32 and height * width >= FEW:
        jobs, seen = _by_blocks(values, *arrays, rest=pixels.rest, workers=workers)
        run(jobs, workers)
        return out, seen
    bands, parts = bands_for(size, height * width), -(-workers // max(1, size))
    run([job for n in range(size) for job in ranges(_spread, bands, parts, n * bands, bands, values, *arrays)], workers)
    return out, None


def _by_blocks(
    values: np.ndarray,
    faces: np.ndarray,
    ids: np.ndarray,
    planes: np.ndarray,
    out: np.ndarray,
    *,
    rest: bool,
    workers: int,
) -> tuple[list[Job], Seen]:
    size, pixels = ids.shape
    parts = max(1, min(-(-2 * workers // max(1, size)), pixels // FEW)) if workers > 1 else 1
    seen, jobs = Seen.of(size, len(faces), parts), []
    for n in range(size):
        arrays = values[n if len(values) > 1 else 0], faces, ids[n], planes[n], rest, out[n].reshape(-1)
        for part in range(parts):
            ends = pixels * part // parts, pixels * (part + 1) // parts
            jobs.append(partial(blocks.paint, *ends, *arrays, seen.faces[n], seen.counts[n, part]))
    return jobs, seen


def bands_for(size: int, pixels: int) -> int:
    """In how many bands a picture is cut, by the size of the job alone."""
    return max(1, min(pixels // _BAND, UNITS // size)) if size else 1


def seconds(values: Tensor) -> float:
    """What such values cost on one core, roughly; it only decides how many threads a job is worth."""
    return work(values) * _SECONDS


def work(values: Tensor) -> int:
    """Pixels, counted again for every three channels."""
    size, pixels, channels = values.shape
    return size * pixels * ((channels + 2) // 3)


@compiled(nogil=True)
def _spread(first, last, before, bands, attributes, faces, face_ids, planes, out):
    """Bands `first` to `last` after so many of the pictures before, three channels at a time."""
    pixels, channels = out.shape[1], out.shape[2]
    barycentric = planes.reshape(planes.shape[0], 3, pixels)
    for unit in range(before + first, before + last):
        item, band = unit // bands, unit % bands
        start, stop = pixels * band // bands, pixels * (band + 1) // bands
        values = attributes[item if attributes.shape[0] > 1 else 0]
        for c in range(0, channels, 3):
            _spread_three(c, values, faces, face_ids[item, start:stop], barycentric[item, :, start:stop],
                          out[item, start:stop])  # fmt: skip


@compiled(nogil=True)
def _spread_three(c, values, faces, ids, barycentric, out):
    """Channels c, c + 1 and c + 2; those that are not there are the last one again."""
    d, e = min(c + 1, out.shape[1] - 1), min(c + 2, out.shape[1] - 1)
    zero = out.dtype.type(0)
    i0 = i1 = i2 = j0 = j1 = j2 = k0 = k1 = k2 = zero
    last = -1
    for pixel in range(ids.shape[0]):
        face = ids[pixel]
        if face < 0:
            out[pixel, c] = out[pixel, d] = out[pixel, e] = zero
            continue
        if face != last:
            last = face
            i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
            i0, i1, i2 = values[i, c], values[i, d], values[i, e]
            j0, j1, j2 = values[j, c], values[j, d], values[j, e]
            k0, k1, k2 = values[k, c], values[k, d], values[k, e]
        a, b, g = barycentric[0, pixel], barycentric[1, pixel], barycentric[2, pixel]
        out[pixel, c] = a * i0 + b * j0 + g * k0
        out[pixel, d] = a * i1 + b * j1 + g * k1
        out[pixel, e] = a * i2 + b * j2 + g * k2
