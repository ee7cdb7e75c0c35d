"""The silhouette pass over several pictures and threads; the kernels are in `silhouette`."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int

from flamehead.raster._buffers import empty
from flamehead.raster._cpu.silhouette import cross, nearest, silhouettes
from flamehead.raster._jobs import Countdown, Job
from flamehead.raster._silhouette import STEPS, TOLERANCE, Pairs
from flamehead.raster._threads import run, threads_for
from flamehead.raster.edges import Edges

__all__ = ["SECONDS", "Search", "find_pairs", "parts_for"]

SECONDS = 0.5e-3
"""What one picture costs on one core, roughly; it only decides how many threads a job is worth."""


def find_pairs(
    points: Float[np.ndarray, "B V 3"],
    edges: Edges,
    face_ids: Int[np.ndarray, "B H W"],
    depth: Float[np.ndarray, "B H W"],
    *,
    perspective: bool,
    threads: int | None,
) -> list[Pairs]:
    """See `flamehead.raster.antialias.silhouette_pairs`; float32 points and depth, int32 faces."""
    workers = threads_for(len(face_ids) * SECONDS, threads)
    searches = [
        Search(*each, edges, perspective=perspective, parts=parts_for(len(face_ids), workers))
        for each in zip(points, face_ids, depth, strict=True)
    ]
    begun = [partial(search.begin, Countdown(search.parts, [search.end])) for search in searches]
    # Alone, it is done at once, so that threads begin with its parts.
    run(begun[0]() if len(begun) == 1 else begun, workers)
    return [search.pairs for search in searches]


def parts_for(pictures: int, workers: int) -> int:
    """In how many parts edges are walked: there may be fewer pictures than threads; smaller ones are shared evenly."""
    return -(-workers // max(1, pictures)) * (2 if workers > 1 else 1)


class Search:
    """The silhouettes of one picture: edges are chosen, walked in parts, and what they cross is brought together.

    Parts write to rows of their own, which come together in the order of the edges, so their number changes no bit.
    """

    pairs: Pairs
    """What is found, when it has ended."""

    def __init__(
        self,
        points: Float[np.ndarray, "V 3"],
        face_ids: Int[np.ndarray, "H W"],
        depth: Float[np.ndarray, "H W"],
        edges: Edges,
        *,
        perspective: bool,
        parts: int,
    ) -> None:
        self.points, self.face_ids, self.depth, self.edges = points, face_ids, depth, edges
        self.perspective, self.parts = perspective, parts

    def begin(self, walked: Countdown) -> list[Job]:
        """Choose edges; hands back as many jobs as there are parts, which are counted."""
        e, (height, width) = self.edges, self.face_ids.shape
        corners, sides, chosen, inside, before = silhouettes(
            self.points, e.vertices, e.sides, e.half_edges, e.starts, e.faces, self.perspective, height, width
        )
        most = max(1, int(before[-1]))
        self._numbers = empty(most, 5, dtype=torch.int32).numpy()
        self._values, self._depths = (empty(most, n, dtype=torch.float64).numpy() for n in (4, 1))
        ends = np.searchsorted(before, [before[-1] * part // self.parts for part in range(self.parts + 1)]).tolist()
        self._firsts, self._counts = before[ends], np.zeros((self.parts, 1), dtype=np.int64)
        scene = self.points, corners, sides, chosen, inside, e.vertices, e.half_edges, e.starts, e.face_edges, e.faces
        options, jobs = (self.face_ids, self.depth, self.perspective, TOLERANCE, STEPS), []
        for part, (first, last) in enumerate(pairwise(ends)):
            rows = slice(self._firsts[part], self._firsts[part + 1])
            kept = self._numbers[rows], self._values[rows], self._depths[rows, 0], self._counts[part]
            jobs.append(walked.after(partial(cross, first, last, *scene, *options, *kept)))
        return jobs

    def end(self) -> None:
        """Keep the nearest pair wherever several are the same."""
        found = nearest(self._numbers, self._values, self._depths[:, 0], self._firsts, self._counts)
        self.pairs = Pairs(*found)
        # The search lives as long as the picture's gradients; its memory is lent.
        del self._numbers, self._values, self._depths
