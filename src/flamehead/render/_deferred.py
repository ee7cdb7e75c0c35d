"""Texture times light at pixels as one compiled step from fragments to pictures; for float32 on the CPU.

Its parts in plain torch are `interpolate`, `texture_level`, `sample_image`, `harmonic_light`, `encode_srgb` and
`antialias`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead.geometry.triangles import Triangles, triangles_of
from flamehead.raster import Fragments
from flamehead.raster._buffers import empty, empty_like
from flamehead.raster._jobs import Countdown, Job
from flamehead.raster._pixels import Pixels, points_of
from flamehead.raster._silhouette import Pairs
from flamehead.raster._threads import forking, run, threads_for
from flamehead.raster.edges import edges_among
from flamehead.render._packed import Packing, double_up, is_even, unpack_texels
from flamehead.render._regions import Regions
from flamehead.render._seams import CutMesh, cut_mesh
from flamehead.render.harmonics import HARMONIC_CONSTANTS
from flamehead.render.sampling import layout
from flamehead.render.texture import Texture

__all__ = ["paint"]

Sizes = tuple[tuple[int, int], ...]
"""Of a texture and its copies."""

_UNITS = 16
"""Bands of one picture at most; sums are taken band by band, so their bits do not depend on the number of threads."""

_BAND = 1 << 13
"""Pixels in a band, at least."""

_LEAST = 32
"""Pixels that a picture needs for the kernels, which is their block; smaller ones get background behind their end."""

_SECONDS = 10e-9
"""What one pixel costs on one core, roughly; it only decides how many threads a job is worth."""


def paint(
    points: Float[Tensor, "*batch V 3"],
    normals: Float[Tensor, "*batch V 3"],
    light: Float[Tensor, "*#batch 9 3"],
    faces: Int[Tensor, "F 3"],
    fragments: Fragments,
    texture: Texture,
    *,
    perspective: bool,
    encode: bool,
    smooth_edges: bool,
) -> tuple[Float[Tensor, "*batch H W 3"], Float[Tensor, "*batch H W"]]:
    """Texture times light, and 1 where something is seen; zeros elsewhere.

    Differentiable with respect to `points`, `normals`, `light`, and the texture's image and uv.

    Args:
        points: As they were rasterized.
        normals: At vertices, of any length.
        light: Coefficients as in `harmonic_light`.
        faces: Of the mesh.
        fragments: What is seen.
        texture: Of this mesh.
        perspective: As they were rasterized.
        encode: Decode the texture if it is sRGB, and encode the result; values pass as they are otherwise.
        smooth_edges: Blend outlines.
    """
    *batch, height, width = fragments.face_ids.shape
    cut = cut_mesh(faces, texture.uv_faces)
    scaled = light * light.new_tensor(HARMONIC_CONSTANTS)[:, None]
    triangles, uv_triangles = triangles_of(faces), triangles_of(texture.uv_faces).rows
    pixels, decode = Pixels.of(fragments), encode and texture.encoding == "srgb"
    searches = _searches(points, triangles, pixels, perspective) if smooth_edges else []
    scene = _Scene(
        _Seen.of(pixels), width, height, cut, triangles.rows, uv_triangles, perspective, encode, decode, searches
    )
    lights = scaled.expand(*batch, 9, 3).reshape(-1, 9, 3)
    shapes = (value.expand(*batch, *value.shape[-2:]).reshape(-1, *value.shape[-2:]) for value in (points, normals))
    found = _Paint.apply(*shapes, lights, texture.image, texture.uv, scene)
    assert isinstance(found, tuple)
    image, alpha = found
    return image.reshape(*batch, height, width, 3), alpha.reshape(*batch, height, width)


def _searches(points: Tensor, triangles: Triangles, pixels: Pixels, perspective: bool) -> list[Callable[[], Pairs]]:
    # Imported here: numba costs a second.
    from flamehead.raster._cpu.pairs import search

    edges, corners = edges_among(triangles), points_of(points, len(pixels.ids))
    options = {"perspective": perspective, "workers": 1}
    pictures = zip(corners, pixels.ids, pixels.depth, strict=True)
    return [lambda each=each: search(*each, edges, **options)[0] for each in pictures]


@dataclass(frozen=True)
class _Seen:
    """Fragments as the kernels read them."""

    ids: Int[np.ndarray, "B P"]
    planes: Float[np.ndarray, "B 3P"]
    depth: Float[np.ndarray, "B P"]

    @staticmethod
    def of(pixels: Pixels) -> _Seen:
        """Flat, with background up to the least number of pixels."""
        size, height, width = pixels.ids.shape
        count = height * width
        ids, planes, depth = pixels.ids.reshape(size, count), pixels.planes, pixels.depth.reshape(size, count)
        if (missing := _LEAST - count) > 0:
            more = (0, 0), (0, missing)
            ids, depth = np.pad(ids, more, constant_values=-1), np.pad(depth, more)
            planes = np.pad(planes.reshape(size, 3, count), ((0, 0), *more)).reshape(size, 3 * _LEAST)
        return _Seen(ids, planes, depth)

    def arrays(self, item: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of one picture."""
        return self.ids[item], self.planes[item], self.depth[item]


@dataclass(frozen=True)
class _Scene:
    """What carries no gradient."""

    seen: _Seen
    width: int
    height: int
    cut: CutMesh
    faces: Int[np.ndarray, "F 3"]
    uv_faces: Int[np.ndarray, "F 3"]
    perspective: bool
    encode: bool
    decode: bool
    searches: list[Callable[[], Pairs]]
    """For the silhouettes of every picture; empty where outlines are not blended."""

    @property
    def bands(self) -> list[tuple[int, int]]:
        """First row of each band of a picture, and the one after its last."""
        bands = max(1, min(_UNITS, self.height * self.width // _BAND, self.height))
        return list(pairwise(self.height * band // bands for band in range(bands + 1)))

    @property
    def workers(self) -> int:
        """How many threads a picture is worth."""
        return threads_for(self.height * self.width * _SECONDS, None)


class _Paint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, points: Tensor, normals: Tensor, scaled: Tensor, image: Tensor, uv: Tensor, scene: _Scene
    ) -> tuple[Tensor, Tensor]:
        # Imported here: numba costs a second.
        from flamehead.raster._cpu.fork import ALONE
        from flamehead.render._cpu import deferred as kernels
        from flamehead.render._cpu import outlines

        points, normals, scaled, uv = (value.detach().contiguous() for value in (points, normals, scaled, uv))
        ctx.save_for_backward(points, uv, image)
        ctx.set_materialize_grads(False)
        ctx.scene = scene
        size, pixels = scene.seen.ids.shape
        packing = Packing.of(image, decode=scene.decode)
        ctx.sizes, workers = packing.sizes, max(packing.workers, scene.workers)
        colors, alpha = empty(size, pixels, 3, dtype=torch.float32), empty(size, pixels, dtype=torch.float32)
        found: list[Pairs | None] = [None] * len(scene.searches)

        def look_for(n: int) -> None:
            found[n] = scene.searches[n]()

        searched = (partial(look_for, n) for n in range(len(found)))
        prepared = [_arguments(scene, item, points, normals, scaled, uv, ctx.sizes) for item in range(size)]
        run([*searched, *packing.jobs, *(job for _, job in prepared)], workers)
        # Copies, which nobody writes to before the way back.
        ctx.common = [(*arguments, *_look(packing.texels, ctx.sizes)) for arguments, _ in prepared]
        ctx.extents = np.empty((size, len(scene.bands), 2), dtype=np.float32)
        ctx.pairs = [each for each in found if each is not None]
        ctx.differences = [np.empty((len(pairs.numbers), 4), dtype=np.float32) for pairs in ctx.pairs]
        ends = np.array([*(first * scene.width for first, _ in scene.bands), pixels])
        for item, common in enumerate(ctx.common):
            out, extents = (colors[item].reshape(-1).numpy(), alpha[item].numpy()), ctx.extents[item]
            if (together := forking(scene.workers)) is not None:
                crew = together.crew(), scene.workers
                together.late(kernels.paint_together(*crew, ends, common, *out, extents))
                continue
            each = [(ends[n : n + 2], extents[n : n + 1]) for n in range(len(scene.bands))]
            jobs = [partial(kernels.paint_together, ALONE, 1, pair, common, *out, own) for pair, own in each]
            run(jobs, scene.workers)
        for item, pairs in enumerate(ctx.pairs):
            numbers = pairs.numbers, pairs.values, ctx.differences[item]
            outlines.blend(colors[item].numpy(), alpha[item].numpy(), *numbers)
        shown = scene.width * scene.height
        return colors[:, :shown], alpha[:, :shown]

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        points, uv, image = ctx.saved_tensors
        scene: _Scene = ctx.scene
        # Bands hand out in two halves, whose sums are added in the end.
        by_vertex = torch.zeros(2, *points.shape[:2], 6, dtype=torch.float64)
        by_color = _through_outlines(ctx, gradients[0], gradients[1], by_vertex[0, ..., 3:])
        by_scaled = points.new_empty(len(points), 9, 3)
        by_uv, by_image = torch.zeros(2, *uv.shape, dtype=torch.float64), None
        to_image, several = ctx.needs_input_grad[3], len(points) > 1 or not is_even(ctx.sizes[0])
        by_texels = empty(sum(4 * width * height for width, height in ctx.sizes), dtype=torch.float32)
        for item, common in enumerate(ctx.common):
            regions = Regions.of(ctx.extents[item], ctx.sizes)
            found = _Found.of(scene, common, by_color[item].reshape(-1).numpy(), regions, to_image)
            by_scaled[item] = torch.from_numpy(found.sums.sum(axis=0, dtype=np.float64))
            corners = scene, common[5], points[item].numpy()
            into = zip(by_vertex[:, item].numpy(), by_uv.numpy(), strict=True)
            jobs: list[Job] = [partial(found.to_corners, half, *corners, *each) for half, each in enumerate(into)]
            last = item == len(points) - 1
            if to_image:
                how = {"finest": 0 if several else 1, "more": item > 0, "workers": scene.workers}
                more = regions.jobs(by_texels.numpy(), **how)
                double = partial(double_up, by_texels, ctx.sizes)
                added = Countdown(len(more), [double] if last else [])
                # First, because others wait for them.
                jobs = [*(added.after(job) for job in more), *jobs]
            run(jobs, scene.workers)
            if to_image and last:
                by_image = unpack_texels(image, by_texels, None if several else regions, decode=scene.decode)
        by_vertex = by_vertex.sum(0).float()
        return by_vertex[..., 3:], by_vertex[..., :3], by_scaled, by_image, by_uv.sum(0).float(), None


def _through_outlines(ctx: Any, g_image: Tensor | None, g_alpha: Tensor | None, by_points: Tensor) -> Tensor:
    """The gradient of the colours before outlines were blended; adds to that of the points."""
    from flamehead.render._cpu import outlines

    scene: _Scene = ctx.scene
    size, pixels = scene.seen.ids.shape
    if g_image is None:
        g_image = torch.zeros(size, scene.width * scene.height, 3)
    if (missing := pixels - g_image.shape[1]) > 0:
        g_image = torch.nn.functional.pad(g_image, (0, 0, 0, missing))
    g_image = g_image.contiguous()
    if not ctx.pairs:
        return g_image
    by_image = empty_like(g_image).copy_(g_image)
    for item, pairs in enumerate(ctx.pairs):
        alpha = np.empty(0, dtype=np.float32) if g_alpha is None else g_alpha[item].contiguous().numpy()
        numbers = pairs.numbers, pairs.values, ctx.differences[item]
        into = by_image[item].numpy(), by_points[item].numpy()
        outlines.blend_backward(g_image[item].numpy(), alpha, *numbers, *into)
    return by_image


def _arguments(
    scene: _Scene, item: int, points: Tensor, normals: Tensor, scaled: Tensor, uv: Tensor, sizes: Sizes
) -> tuple[tuple[Any, ...], Job]:
    """Of the kernels, for one picture, from `ids` to `encode`; and what is left to do for them."""
    from flamehead.render._cpu import faces as kernels

    vertex_rows, uv_rows, cut_faces = scene.cut.tables
    table = empty(len(vertex_rows), 8, dtype=torch.float32)
    shown = normals[item].numpy(), vertex_rows, uv.numpy(), uv_rows, table.numpy()
    steps = empty(len(scene.faces), 8, dtype=torch.float32)
    width, height = (float(side) for side in sizes[0])
    mesh = points[item].numpy(), scene.faces, uv.numpy(), scene.uv_faces
    change = len(scene.faces), *mesh, scene.perspective, width, height, steps.numpy()

    def job() -> None:
        kernels.corners(*shown)
        kernels.steps(0, *change)

    flat = table.reshape(-1).numpy(), steps.reshape(-1).numpy()
    known = *scene.seen.arrays(item), scene.perspective, cut_faces, *flat, scaled[item].numpy(), scene.encode
    return known, job


def _look(texels: Tensor, sizes: Sizes) -> tuple[Any, ...]:
    """Arguments of the kernels, from `texels` to `size`."""
    return texels.numpy(), layout(sizes)[0], (*sizes[0], len(sizes) - 1)


@dataclass(frozen=True)
class _Found:
    """Gradients of one picture, as far as pixels have been summed."""

    seen: Int[np.ndarray, "bands F"]
    rows: Float[np.ndarray, "bands F 24"]
    counts: Int[np.ndarray, "bands 1"]
    sums: Float[np.ndarray, "bands 9 3"]
    regions: Regions

    @staticmethod
    def of(scene: _Scene, common: tuple[Any, ...], gradient: np.ndarray, regions: Regions, to_texels: bool) -> _Found:
        """Run over all pixels."""
        from flamehead.raster._cpu.fork import ALONE
        from flamehead.render._cpu import deferred as kernels
        from flamehead.render._cpu.faces import ROW

        bands = scene.bands
        n_faces = min(len(scene.faces), max(last - first for first, last in bands) * scene.width)
        found = _Found(
            np.empty((len(bands), n_faces), dtype=np.int32),
            empty(len(bands), n_faces, ROW, dtype=torch.float32).numpy(),
            np.zeros((len(bands), 1), dtype=np.int64),
            np.zeros((len(bands), 9, 3), dtype=np.float32),
            regions,
        )
        rows = np.array([0, *(last for _, last in bands)])
        into = regions.parts, regions.spots, regions.ranges, regions.texels
        kept = found.seen, found.rows.reshape(len(bands), -1), found.counts, found.sums
        how, groups = (rows, scene.width, common, gradient, to_texels, into, kept), len(regions.lows)
        if (together := forking(scene.workers)) is not None:
            together.late(kernels.visit_together(together.crew(), scene.workers, 0, groups, *how))
        else:
            visit = partial(kernels.visit_together, ALONE, 1)
            run([partial(visit, group, group + 1, *how) for group in range(groups)], scene.workers)
        return found

    def to_corners(
        self,
        half: int,
        scene: _Scene,
        table: np.ndarray,
        points: np.ndarray,
        by_vertex: np.ndarray,
        by_uv: np.ndarray,
    ) -> None:
        """Add gradients of vertices and of texture coordinates, in the order of the bands; of one half of them."""
        from flamehead.render._cpu import faces as kernels

        vertex_rows, uv_rows, cut_faces = scene.cut.tables
        mesh = cut_faces, vertex_rows, uv_rows, table.reshape(-1, 8), points, scene.perspective
        middle = len(self.seen) // 2
        for n in range(middle) if half == 0 else range(middle, len(self.seen)):
            count = self.counts[n, 0]
            kernels.hand_out(self.seen[n, :count], self.rows[n, :count], *mesh, by_vertex, by_uv)
