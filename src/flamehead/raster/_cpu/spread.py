"""`interpolate` in numba, forward; three channels of float32 go through `blocks`, the kernels here serve everything."""

from __future__ import annotations

from dataclasses import dataclass, field
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
from flamehead.raster._threads import ranges, run, threads_for

__all__ = ["UNITS", "Plan", "Seen", "bands_for", "interpolate", "plan", "work"]

UNITS = 16
"""Bands in all pictures of a batch together, at most; a larger batch has one for each picture."""

_BAND = 1 << 16
"""Pixels in a band, at least."""

_SECONDS = 3e-9
"""What three channels of a pixel cost on one core, roughly; it only decides how many threads a job is worth."""


@dataclass(frozen=True)
class Seen:
    """What `interpolate` noticed on its way."""

    faces: Bool[np.ndarray, "B F"]
    """Which are seen in every picture."""
    counts: Int[np.ndarray, "N 1"]
    """On how many pixels, in parts of the pictures."""
    places: list[tuple[np.ndarray, np.ndarray, np.ndarray] | None] = field(default_factory=list)
    """What `blocks.arrange` makes of every picture, where somebody had time for it."""

    @property
    def pixels(self) -> int:
        """On how many pixels any face is seen."""
        return int(self.counts.sum())

    def arrange(
        self, n: int, width: int, height: int, perspective: bool, points: np.ndarray, faces: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Faces and boxes of a picture, and the work before each."""
        found = self.places[n] if self.places else None
        return found or blocks.arrange(self.faces[n], width, height, perspective, points, faces)

    def arrange_early(
        self, width: int, height: int, perspective: bool, points: np.ndarray, faces: np.ndarray
    ) -> list[Job]:
        """Jobs that fill `places`, for points of every picture."""
        self.places[:] = [None] * len(self.faces)

        def one(n: int) -> None:
            self.places[n] = blocks.arrange(self.faces[n], width, height, perspective, points[n], faces)

        return [partial(one, n) for n in range(len(self.faces))]


@dataclass(frozen=True)
class Plan:
    """What there is to do for `interpolate`, for callers that have other work to share among the same threads."""

    out: Float[Tensor, "B P C"]
    """The values, when the jobs are done."""
    seen: Seen | None
    """The same; None where nobody notices anything."""
    jobs: list[list[Job]]
    """Of every picture."""
    workers: int
    """Threads that they are worth."""


def interpolate(
    attributes: Float[Tensor, "A V C"],
    faces: Int[Tensor, "F 3"],
    face_ids: Int[Tensor, "B P"],
    barycentric: Float[Tensor, "B 3 P"],
    *,
    threads: int | None,
) -> tuple[Float[Tensor, "B P C"], Seen | None]:
    """Values at pixels; `A` is `B`, or 1 where all pictures share their values; everything contiguous."""
    planned = plan(attributes, faces, face_ids, barycentric, threads=threads)
    run([job for jobs in planned.jobs for job in jobs], planned.workers)
    return planned.out, planned.seen


def plan(
    attributes: Float[Tensor, "A V C"],
    faces: Int[Tensor, "F 3"],
    face_ids: Int[Tensor, "B P"],
    barycentric: Float[Tensor, "B 3 P"],
    *,
    threads: int | None,
) -> Plan:
    """See `interpolate`."""
    size, pixels = face_ids.shape
    out = empty(size, pixels, attributes.shape[2], dtype=attributes.dtype)
    workers = threads_for(work(out) * _SECONDS, threads)
    values, *arrays = (x.detach().numpy() for x in (attributes, faces, face_ids, barycentric, out))
    if attributes.shape[2] == 3 and out.dtype == torch.float32 and pixels >= FEW:
        jobs, seen = _by_blocks(values, *arrays, workers=workers)
        return Plan(out, seen, jobs, workers)
    bands, parts = bands_for(size, pixels), -(-workers // max(1, size))
    jobs = [ranges(_spread, bands, parts, n * bands, bands, values, *arrays) for n in range(size)]
    return Plan(out, None, jobs, workers)


def _by_blocks(
    values: np.ndarray, faces: np.ndarray, ids: np.ndarray, barycentric: np.ndarray, out: np.ndarray, *, workers: int
) -> tuple[list[list[Job]], Seen]:
    size, pixels = ids.shape
    parts = max(1, min(-(-2 * workers // max(1, size)), pixels // FEW)) if workers > 1 else 1
    seen = Seen(np.zeros((size, len(faces)), dtype=np.bool_), np.zeros((size * parts, 1), dtype=np.int64))
    jobs: list[list[Job]] = [[] for _ in range(size)]
    for n in range(size):
        arrays = values[n if len(values) > 1 else 0], faces, ids[n], barycentric[n].reshape(-1), out[n].reshape(-1)
        for part in range(parts):
            ends = pixels * part // parts, pixels * (part + 1) // parts
            jobs[n].append(partial(blocks.paint, *ends, *arrays, seen.faces[n], seen.counts[n * parts + part]))
    return jobs, seen


def bands_for(size: int, pixels: int) -> int:
    """In how many bands a picture is cut, by the size of the job alone."""
    return max(1, min(pixels // _BAND, UNITS // size)) if size else 1


def work(values: Tensor) -> int:
    """Pixels, counted again for every three channels."""
    size, pixels, channels = values.shape
    return size * pixels * ((channels + 2) // 3)


@compiled(nogil=True)
def _spread(first, last, before, bands, attributes, faces, face_ids, barycentric, out):
    """Bands `first` to `last` after so many of the pictures before, three channels at a time."""
    pixels, channels = out.shape[1], out.shape[2]
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
