"""The silhouette pass over several threads, which may paint the picture meanwhile; the kernels are in `silhouette`.

There are two regions of work, because nobody knows how much memory pairs take before silhouettes are chosen. In the
first, one thread chooses them and the others paint bands of the picture; in the second, all paint what is left, and
walk along the silhouettes. Whoever ends a kind of work goes on with what had to wait for it.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from flamehead.raster._buffers import empty
from flamehead.raster._compile import compiled
from flamehead.raster._cpu.blends import blend_in_place
from flamehead.raster._cpu.blocks import Places, arrange, paint
from flamehead.raster._cpu.fork import fork, reached, share, ticket
from flamehead.raster._cpu.lanes import FEW
from flamehead.raster._cpu.silhouette import cross, nearest, silhouettes
from flamehead.raster._silhouette import STEPS, TOLERANCE, Pairs
from flamehead.raster._threads import run, threads_for
from flamehead.raster.edges import Edges

__all__ = ["BAND", "SECONDS", "Painting", "Search", "all_done", "choose", "find_pairs", "search", "walk_part"]

SECONDS = 0.5e-3
"""What one picture costs on one core, roughly; it only decides how many threads a job is worth."""

_BAND = 1 << 13
"""Pixels in a band: so few that threads end at nearly the same time."""

_PARTS = 4
"""Parts in which silhouettes are walked, for every thread."""

_CHOOSER, _CHOSEN, BAND, _BANDS_DONE, _PART_NEXT, _DONE, _COUNTERS = range(7)
"""Tickets: who chooses silhouettes, and whether it has; bands and parts, those that have ended, and all of both."""


class Painting(NamedTuple):
    """A picture of three channels of float32 that is painted while its silhouettes are looked for."""

    values: Float[np.ndarray, "V 3"]
    barycentric: Float[np.ndarray, "3P"]
    """In three planes."""
    rest: bool
    """See `Pixels`."""
    out: Float[np.ndarray, "P3"]
    """The blended picture, in the end."""
    seen: Bool[np.ndarray, "F"]
    """Set where a face is seen; all False before."""
    covered: Int[np.ndarray, "bands 1"]
    """On how many pixels a face is seen, in every band."""
    places: Places
    """Filled."""

    @staticmethod
    def bands(pixels: int) -> int:
        """In how many bands pictures are painted."""
        return max(1, pixels // _BAND)


@cache
def _nothing() -> Painting:
    """Silhouettes are wanted alone."""
    none, bands = np.empty(0, np.float32), np.empty((0, 1), np.int64)
    return Painting(none.reshape(0, 3), none, False, none, np.empty(0, np.bool_), bands, Places.of(0))


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
    workers, size = threads_for(len(face_ids) * SECONDS, threads), len(face_ids)
    found: list[Pairs | None] = [None] * size

    def one(n: int, workers: int) -> None:
        picture = points[n], face_ids[n], depth[n]
        found[n], _ = search(*picture, edges, perspective=perspective, workers=workers)

    if size == 1:
        one(0, workers)
    else:
        run([partial(one, n, 1) for n in range(size)], workers)
    return [each for each in found if each is not None]


def search(
    points: Float[np.ndarray, "V 3"],
    face_ids: Int[np.ndarray, "H W"],
    depth: Float[np.ndarray, "H W"],
    edges: Edges,
    *,
    perspective: bool,
    workers: int,
    painting: Painting | None = None,
) -> tuple[Pairs, Float[np.ndarray, "N 3"]]:
    """The pairs of one picture, and by how much their pixels differed before they were blended, where it is painted."""
    found, own = Search.of(points, face_ids, edges, perspective=perspective, workers=workers), painting or _nothing()
    picture = *found.picture, *own[:-1], *own.places
    share(begin_together, workers, found.counters, *picture, even=False)
    pairs = found.room(depth, 3)
    share(walk_together, workers, found.counters, *picture, *pairs)
    return found.pairs(pairs)


class Search(NamedTuple):
    """What the two regions of work have in common, for one picture."""

    counters: Int[np.ndarray, "6"]
    picture: tuple[Any, ...]
    """Arguments of kernels: points, mesh, projection, face ids, and what they find in the first region."""
    parts: int

    @staticmethod
    def of(
        points: Float[np.ndarray, "V 3"],
        face_ids: Int[np.ndarray, "H W"],
        edges: Edges,
        *,
        perspective: bool,
        workers: int,
    ) -> Search:
        """Before the first region."""
        e, count = edges, len(edges.vertices)
        mesh = points, e.vertices, e.sides, e.half_edges, e.starts, e.face_edges, e.faces
        lists = (
            np.empty((len(points), 2)), np.empty(len(e.faces), np.int8), np.empty(count, np.int32),
            np.empty(count, np.int8), np.empty(count + 1, np.int64), np.empty(1, np.int64),
        )  # fmt: skip
        parts = 1 if workers == 1 else _PARTS * workers
        return Search(np.zeros(_COUNTERS, np.int64), (*mesh, perspective, face_ids, *lists), parts)

    def idle(self) -> Search:
        """Nobody wants silhouettes, and nobody need begin."""
        *_, before, found = self.picture
        before[0] = found[0] = 0
        return self._replace(parts=0)

    def room(self, depth: Float[np.ndarray, "H W"], channels: int) -> tuple[np.ndarray, ...]:
        """After the first region: arguments of kernels for the second, from `depth` to `differences`."""
        *_, before, found = self.picture
        lines = int(before[found[0]])
        # One loan: pairs live as long as the picture's gradients.
        room = empty((5 + (6 + channels) // 2) * lines, dtype=torch.float64).numpy()
        crossings, depths, rest = room[: 4 * lines].reshape(lines, 4), room[4 * lines : 5 * lines], room[5 * lines :]
        numbers = rest.view(np.int32)[: 5 * lines].reshape(lines, 5)
        differences = rest.view(np.float32)[5 * lines : (5 + channels) * lines].reshape(lines, channels)
        counts, firsts = np.zeros((self.parts, 1), np.int64), np.empty(self.parts, np.int64)
        return depth, numbers, crossings, depths, counts, firsts, np.zeros(1, np.int64), differences

    def pairs(self, room: tuple[np.ndarray, ...]) -> tuple[Pairs, Float[np.ndarray, "N C"]]:
        """After the second region."""
        _, numbers, crossings, *_, kept, differences = room
        count = int(kept[0])
        return Pairs(numbers[:count], crossings[:count]), differences[:count]


@compiled(nogil=True)
def begin_together(crew, counters, points, vertices, sides_of, half_edges, starts, face_edges, faces, perspective,
                   face_ids, corners, sides, chosen, inside, before, found, values, barycentric, rest, out, seen,
                   covered, listed, boxes, work, used):  # fmt: skip
    """Choose silhouettes, and begin to paint. Returns what `fork` does."""
    mesh, lists = (vertices, sides_of, half_edges, starts, faces), (corners, sides, chosen, inside, before, found)
    painting = values, barycentric, rest, out, seen, covered, listed, boxes, work, used
    return fork(crew, _begin, (counters, points, mesh, perspective, face_ids, lists, painting))


@compiled(nogil=True)
def _begin(counters, points, mesh, perspective, face_ids, lists, painting):
    if choose(counters, points, mesh, perspective, face_ids, lists):
        return
    while reached(counters, _CHOSEN) == 0 and _paint_band(counters, points, mesh[4], perspective, face_ids, painting):
        ticket(counters, _DONE)


@compiled(nogil=True)
def _paint_band(counters, points, faces, perspective, face_ids, painting):
    """Paint a band that nobody has painted yet; whether there was one. Faces are arranged after the last one."""
    values, barycentric, rest, out, seen, covered, listed, boxes, work, used = painting
    (height, width), bands = face_ids.shape, covered.shape[0]
    band = ticket(counters, BAND)
    if band >= bands:
        return False
    blocks = height * width // FEW
    begin, end = FEW * (blocks * band // bands), FEW * (blocks * (band + 1) // bands)
    if band == bands - 1:
        end = height * width
    paint(begin, end, values, faces, face_ids.reshape(-1), barycentric, rest, out, seen, covered[band])
    if ticket(counters, _BANDS_DONE) == bands - 1:
        used[0] = arrange(seen, width, height, perspective, points, faces, listed, boxes, work)
    return True


@compiled(nogil=True)
def walk_together(crew, counters, points, vertices, sides_of, half_edges, starts, face_edges, faces, perspective,
                  face_ids, corners, sides, chosen, inside, before, found, values, barycentric, rest, out, seen,
                  covered, listed, boxes, work, used, depth, numbers, crossings, depths, counts, firsts, kept,
                  differences):  # fmt: skip
    """Walk along the silhouettes that `begin_together` has chosen, paint the rest, and blend. Returns what `fork` does.

    `kept[0]` is how many of the rows of `numbers`, `crossings` and `differences` are in use in the end.
    """
    mesh = vertices, half_edges, starts, face_edges, faces
    lists = corners, sides, chosen, inside, before, found
    painting = values, barycentric, rest, out, seen, covered, listed, boxes, work, used
    pairs = numbers, crossings, depths, counts, firsts, kept, differences
    return fork(crew, _walk, (counters, points, mesh, perspective, face_ids, depth, lists, painting, pairs))


@compiled(nogil=True)
def _walk(counters, points, mesh, perspective, face_ids, depth, lists, painting, pairs):
    while _paint_band(counters, points, mesh[4], perspective, face_ids, painting):
        _end(counters, painting, pairs)
    while walk_part(counters, points, mesh, perspective, face_ids, depth, lists, pairs):
        _end(counters, painting, pairs)


@compiled(nogil=True)
def walk_part(counters, points, mesh, perspective, face_ids, depth, lists, pairs):
    """Walk along silhouettes that nobody has walked along yet; whether there were any."""
    vertices, half_edges, starts, face_edges, faces = mesh
    corners, sides, chosen, inside, before, found = lists
    numbers, crossings, depths, counts, firsts, _, _ = pairs
    parts, edges = counts.shape[0], found[0]
    part = ticket(counters, _PART_NEXT)
    if part >= parts:
        return False
    lines = before[: edges + 1]
    first = np.searchsorted(lines, lines[edges] * part // parts)
    last = np.searchsorted(lines, lines[edges] * (part + 1) // parts)
    firsts[part], rows = lines[first], slice(lines[first], lines[last])
    cross(first, last, points, corners, sides, chosen, inside, vertices, half_edges, starts, face_edges, faces,
          face_ids, depth, perspective, TOLERANCE, STEPS, numbers[rows], crossings[rows], depths[rows],
          counts[part])  # fmt: skip
    return True


@compiled(nogil=True)
def all_done(counters, units):
    """Count one unit of work of the second region; whether it was the last of so many."""
    return ticket(counters, _DONE) == units - 1


@compiled(nogil=True)
def choose(counters, points, mesh, perspective, face_ids, lists):
    """Choose silhouettes, if nobody has begun to; whether nobody had."""
    if ticket(counters, _CHOOSER) != 0:
        return False
    corners, sides, chosen, inside, before, found = lists
    height, width = face_ids.shape
    found[0] = silhouettes(points, *mesh, perspective, height, width, corners, sides, chosen, inside, before)
    ticket(counters, _CHOSEN)
    return True


@compiled(nogil=True)
def _end(counters, painting, pairs):
    """When all bands and parts have ended, keep the nearest pair wherever several are the same, and blend."""
    numbers, crossings, depths, counts, firsts, kept, differences = pairs
    out, bands = painting[3], painting[5].shape[0]
    if not all_done(counters, counts.shape[0] + bands):
        return
    count = kept[0] = nearest(numbers, crossings, depths, firsts, counts)
    if bands > 0:
        blend_in_place(out.reshape(-1, 3), numbers[:count], crossings[:count], differences[:count])
