"""`interpolate` and `antialias` as one step forward: silhouettes are looked for while the picture is painted."""

from __future__ import annotations

from functools import partial

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._cpu.blends import blend_in_place
from flamehead.raster._cpu.gradients import Blends
from flamehead.raster._cpu.pairs import SECONDS, Search, parts_for
from flamehead.raster._cpu.spread import Seen, plan
from flamehead.raster._jobs import Countdown, Job
from flamehead.raster._threads import run, threads_for
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
    points, (size, height, width) = scene[0], scene[1].shape
    planned = plan(attributes, faces, face_ids, barycentric, threads=threads)
    workers = max(planned.workers, threads_for(size * SECONDS, threads))
    parts = parts_for(size, workers)
    searches = [Search(*each, edges, perspective=perspective, parts=parts) for each in zip(*scene, strict=True)]
    blends: list[Blends | None] = [None] * size

    def blend(n: int) -> None:
        searches[n].end()
        pairs, image = searches[n].pairs, planned.out[n].numpy()
        differences = np.empty((len(pairs.numbers), image.shape[1]), image.dtype)
        blend_in_place(image, pairs.numbers, pairs.values, differences)
        blends[n] = Blends(pairs.numbers, pairs.values, differences)

    # All in one go: threads that met in between would wait for one another.
    arranged = planned.seen.arrange_early(width, height, perspective, points, faces.numpy()) if planned.seen else []
    jobs: list[Job] = []
    for n, mine in enumerate(planned.jobs):
        done, painted = Countdown(len(mine) + parts, [partial(blend, n)]), Countdown(len(mine), arranged[n : n + 1])
        jobs += [partial(searches[n].begin, done), *(painted.after(done.after(job)) for job in mine)]
    run(jobs, workers)
    return planned.out, planned.seen, [each for each in blends if each is not None]
