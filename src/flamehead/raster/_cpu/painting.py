"""`interpolate` and `antialias` as one step forward: silhouettes are looked for while the picture is painted."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.raster._buffers import empty
from flamehead.raster._cpu.blends import blend_in_place
from flamehead.raster._cpu.blocks import Places
from flamehead.raster._cpu.gradients import Blends
from flamehead.raster._cpu.lanes import FEW
from flamehead.raster._cpu.pairs import SECONDS, Painting, find_pairs, search
from flamehead.raster._cpu.spread import Seen, interpolate, seconds
from flamehead.raster._pixels import Pixels, points_of
from flamehead.raster._threads import run, threads_for
from flamehead.raster.edges import Edges

__all__ = ["paint"]


def paint(
    attributes: Float[Tensor, "A V C"],
    points: Float[Tensor, "Q V 3"],
    pixels: Pixels,
    edges: Edges,
    *,
    perspective: bool,
    threads: int | None,
) -> tuple[Float[Tensor, "B P C"], Seen | None, list[Blends]]:
    """The picture, what was noticed on the way, and what was blended."""
    size, height, width = pixels.ids.shape
    corners, options = points_of(points, size), {"perspective": perspective, "threads": threads}
    if attributes.shape[2] == 3 and attributes.dtype == torch.float32 and height * width >= FEW:
        return _paint_three(attributes, corners, pixels, edges, **options)
    (out, seen), blends = interpolate(attributes, edges.faces, pixels, threads=threads), []
    for image, pairs in zip(out.numpy(), find_pairs(corners, edges, pixels.ids, pixels.depth, **options), strict=True):
        differences = np.empty((len(pairs.numbers), image.shape[1]), image.dtype)
        blend_in_place(image, pairs.numbers, pairs.values, differences)
        blends.append(Blends(pairs.numbers, pairs.values, differences))
    return out, seen, blends


def _paint_three(
    attributes: Float[Tensor, "A V 3"],
    points: Float[np.ndarray, "B V 3"],
    pixels: Pixels,
    edges: Edges,
    *,
    perspective: bool,
    threads: int | None,
) -> tuple[Float[Tensor, "B P 3"], Seen, list[Blends]]:
    size, height, width = pixels.ids.shape
    out = empty(size, height * width, 3, dtype=torch.float32)
    workers = threads_for(seconds(out) + size * SECONDS, threads)
    seen = Seen.of(size, len(edges.faces), Painting.bands(height * width))
    values, images = attributes.detach().numpy(), out.numpy()
    blends: list[Blends | None] = [None] * size

    def one(n: int, workers: int) -> None:
        places = seen.places[n] = Places.of(len(edges.faces))
        own = values[n if len(values) > 1 else 0], pixels.planes[n], pixels.rest, images[n].reshape(-1)
        painting = Painting(*own, seen.faces[n], seen.counts[n], places)
        picture, options = (points[n], pixels.ids[n], pixels.depth[n]), {"perspective": perspective, "workers": workers}
        pairs, differences = search(*picture, edges, **options, painting=painting)
        blends[n] = Blends(pairs.numbers, pairs.values, differences)

    if size == 1:
        one(0, workers)
    else:
        run([partial(one, n, 1) for n in range(size)], workers)
    return out, seen, [each for each in blends if each is not None]
