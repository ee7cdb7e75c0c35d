"""The silhouette pass over several pictures and threads; the kernels are in `silhouette`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int

from flamehead.raster._buffers import empty
from flamehead.raster._cpu.silhouette import cross, nearest, silhouettes
from flamehead.raster._silhouette import STEPS, TOLERANCE, Pairs
from flamehead.raster._threads import run, threads_for
from flamehead.raster.edges import Edges

__all__ = ["SECONDS", "Search", "find_pairs"]

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
    size = len(face_ids)
    workers = threads_for(size * SECONDS, threads)
    search = Search(points, edges, face_ids, depth, perspective=perspective, workers=workers)
    run(search.first, workers)
    return search.pairs()


class Search:
    """`find_pairs` for callers that have other work to share among the same threads."""

    def __init__(
        self,
        points: Float[np.ndarray, "B V 3"],
        edges: Edges,
        face_ids: Int[np.ndarray, "B H W"],
        depth: Float[np.ndarray, "B H W"],
        *,
        perspective: bool,
        workers: int,
    ) -> None:
        scenes = zip(points, face_ids, depth, strict=True)
        self._pictures, self._workers = [_Picture(*each, edges, perspective) for each in scenes], workers
        # Edges are walked in parts where there are fewer pictures than threads; smaller ones, to share them evenly.
        parts = -(-workers // max(1, len(self._pictures))) * (2 if workers > 1 else 1)
        self.first = [partial(picture.prepare, parts) for picture in self._pictures]
        """Jobs that must be done before `pairs` is called."""

    def pairs(self, more: Sequence[Callable[[], None]] = ()) -> list[Pairs]:
        """What is found, by so many threads; they do more jobs beside it."""
        run([*(job for picture in self._pictures for job in picture.jobs), *more], self._workers)
        run([picture.finish for picture in self._pictures], self._workers)
        return [picture.pairs for picture in self._pictures]


class _Picture:
    """One picture on its way: edges are chosen, walked in parts that write to rows of their own, and brought together.

    The rows come together in the order of the edges, so the number of parts changes no bit.
    """

    def __init__(
        self, points: np.ndarray, face_ids: np.ndarray, depth: np.ndarray, edges: Edges, perspective: bool
    ) -> None:
        self.points, self.face_ids, self.depth, self.edges = points, face_ids, depth, edges
        self.perspective, self.jobs = perspective, []

    def prepare(self, parts: int) -> None:
        e, (height, width) = self.edges, self.face_ids.shape
        corners, sides, chosen, inside, before = silhouettes(
            self.points, e.vertices, e.sides, e.half_edges, e.starts, e.faces, self.perspective, height, width
        )
        most = max(1, int(before[-1]))
        self.numbers = empty(most, 5, dtype=torch.int32).numpy()
        self.values, self.depths = (empty(most, n, dtype=torch.float64).numpy() for n in (4, 1))
        ends = np.searchsorted(before, [before[-1] * part // parts for part in range(parts + 1)]).tolist()
        self.firsts, self.counts = before[ends], np.zeros((parts, 1), dtype=np.int64)
        scene = self.points, corners, sides, chosen, inside, e.vertices, e.half_edges, e.starts, e.face_edges, e.faces
        for part, (begin, end) in enumerate(pairwise(ends)):
            options = self.face_ids, self.depth, self.perspective, TOLERANCE, STEPS
            rows = slice(self.firsts[part], self.firsts[part + 1])
            kept = self.numbers[rows], self.values[rows], self.depths[rows, 0], self.counts[part]
            self.jobs.append(partial(cross, begin, end, *scene, *options, *kept))

    def finish(self) -> None:
        """Keep the nearest pair wherever several are the same."""
        self.pairs = Pairs(*nearest(self.numbers, self.values, self.depths[:, 0], self.firsts, self.counts))
