"""`interpolate` and `antialias` as one step forward: silhouettes are looked for while the picture is painted."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._cpu.blends import blend_in_place
from flamehead.raster._cpu.gradients import Blends, Seen, interpolate
from flamehead.raster._cpu.pairs import SECONDS, Search
from flamehead.raster._threads import threads_for
from flamehead.raster.edges import Edges

__all__ = ["paint"]


def paint(
    attributes: Float[Tensor, "A V C"],
    faces: Int[Tensor, "F 3"],
    face_ids: Int[Tensor, "B P"],
    barycentric: Float[Tensor, "B 3 P"],
    scene: tuple[Float[np.ndarray, "B V 3"], Int[np.ndarray, "B H W"], Float[np.ndarray, "B H W"]],
    edges: Edges,
    *,
    perspective: bool,
    threads: int | None,
) -> tuple[Float[Tensor, "B P C"], Seen | None, list[Blends]]:
    """The picture, what `interpolate` noticed, and what was blended; the scene is points, face ids and depth."""
    points, ids, depth = scene
    workers = threads_for(len(ids) * SECONDS, threads)
    search = Search(points, edges, ids, depth, perspective=perspective, workers=workers)
    out, seen = interpolate(attributes, faces, face_ids, barycentric, threads=threads, first=search.first)
    height, width = ids.shape[1:]
    early = seen.arrange_early(width, height, perspective, points, faces.numpy()) if seen is not None else []
    blends = []
    for each, pairs in zip(out.numpy(), search.pairs(early), strict=True):
        differences = np.empty((len(pairs.numbers), out.shape[2]), each.dtype)
        blend_in_place(each, pairs.numbers, pairs.values, differences)
        blends.append(Blends(pairs.numbers, pairs.values, differences))
    return out, seen, blends
