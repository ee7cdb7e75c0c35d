"""Texture times light at pixels as one compiled step from fragments to pictures; for float32 on the CPU.

Its parts in plain torch are `interpolate`, `texture_level`, `sample_image`, `harmonic_light`, `encode_srgb` and
`antialias`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead._triangles import triangles_of
from flamehead.raster import Edges, Fragments
from flamehead.raster._buffers import empty
from flamehead.raster._pixels import Pixels
from flamehead.raster._silhouette import Pairs
from flamehead.raster._threads import threads_for
from flamehead.raster.edges import edges_among
from flamehead.render._packed import Packing, Unpacking, double_up, halve_on
from flamehead.render._regions import Regions
from flamehead.render._seams import CutMesh, cut_triangles
from flamehead.render.harmonics import HARMONIC_CONSTANTS
from flamehead.render.texture import Texture, check_same_faces

__all__ = ["paint"]

_UNITS = 16
"""Bands of one picture at most; sums are taken band by band, so their bits do not depend on the number of threads."""

_BAND = 1 << 13
"""Pixels in a band, at least."""

_LEAST = 32
"""Pixels that a picture needs for the kernels, which is their block; smaller ones get background behind their end."""

_CONSTANTS = np.array(HARMONIC_CONSTANTS, dtype=np.float32)[:, None]

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
    check_same_faces(faces, texture.uv_faces)
    triangles, uv_triangles = triangles_of(faces), triangles_of(texture.uv_faces)
    pixels, decode = Pixels.of(fragments), encode and texture.encoding == "srgb"
    cut, edges = cut_triangles(triangles, uv_triangles), edges_among(triangles)
    scene = _Scene(pixels, _Seen.of(pixels), cut, edges, uv_triangles.rows, perspective, encode, decode, smooth_edges)
    lights = light.expand(*batch, 9, 3).reshape(-1, 9, 3)
    shapes = (value.expand(*batch, *value.shape[-2:]).reshape(-1, *value.shape[-2:]) for value in (points, normals))
    found = _Paint.apply(*shapes, lights, texture.image, texture.uv, scene, fragments)
    assert isinstance(found, tuple)
    image, alpha = found
    return image.reshape(*batch, height, width, 3), alpha.reshape(*batch, height, width)


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

    pixels: Pixels
    seen: _Seen
    cut: CutMesh
    edges: Edges
    uv_faces: Int[np.ndarray, "F 3"]
    perspective: bool
    encode: bool
    decode: bool
    outlined: bool

    @property
    def width(self) -> int:
        """Of the picture."""
        return self.pixels.ids.shape[2]

    @property
    def bands(self) -> Int[np.ndarray, "bands+1"]:
        """First row of each band of a picture, and the end of the last one."""
        return _bands(*self.pixels.ids.shape[1:])[0]

    @property
    def workers(self) -> int:
        """How many threads a picture is worth."""
        _, height, width = self.pixels.ids.shape
        return threads_for(height * width * _SECONDS, None)


@cache
def _bands(height: int, width: int) -> tuple[Int[np.ndarray, "bands+1"], int]:
    """Borders of bands, and the most rows of one; not to be written to."""
    bands = max(1, min(_UNITS, height * width // _BAND, height))
    rows = height * np.arange(bands + 1) // bands
    return rows, int(np.diff(rows).max())


class _Paint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        normals: Tensor,
        light: Tensor,
        image: Tensor,
        uv: Tensor,
        scene: _Scene,
        fragments: Fragments,
    ) -> tuple[Tensor, Tensor]:
        points, normals, light, uv = (value.detach().contiguous() for value in (points, normals, light, uv))
        # The fragments too, so that torch notices when somebody writes to them before the way back.
        ctx.save_for_backward(points, uv, image, fragments.face_ids, fragments.barycentric, fragments.depth)
        ctx.set_materialize_grads(False)
        ctx.scene = scene
        size, pixels = scene.seen.ids.shape
        ctx.packing = Packing.of(image, decode=scene.decode)
        colors, alpha = empty(size, pixels, 3, dtype=torch.float32), empty(size, pixels, dtype=torch.float32)
        scaled = light.numpy() * _CONSTANTS
        given = points.numpy(), normals.numpy(), scaled, colors.numpy(), alpha.numpy()
        # The texture is packed with the first picture.
        ctx.painted = [
            _paint(scene, n, *each, uv.numpy(), ctx.packing) for n, each in enumerate(zip(*given, strict=True))
        ]
        shown = scene.pixels.ids.shape[1] * scene.width
        return colors[:, :shown], alpha[:, :shown]

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        points, uv, image, *_ = ctx.saved_tensors
        wanted = image if ctx.needs_input_grad[3] else None
        return (*_back(ctx.scene, ctx.packing, ctx.painted, points, uv, wanted, *gradients), None, None)


class _Painted(NamedTuple):
    """What the way back needs of one picture."""

    common: tuple[Any, ...]
    """Arguments of kernels, from `ids` to `size`."""
    extents: Float[np.ndarray, "bands 2"]
    pairs: Pairs
    differences: Float[np.ndarray, "N 4"]


def _paint(
    scene: _Scene,
    item: int,
    points: Float[np.ndarray, "V 3"],
    normals: Float[np.ndarray, "V 3"],
    scaled: Float[np.ndarray, "9 3"],
    image: Float[np.ndarray, "P 3"],
    alpha: Float[np.ndarray, "P"],
    uv: Float[np.ndarray, "T 2"],
    packing: Packing,
) -> _Painted:
    """Fill one picture."""
    # Imported here: numba costs a second.
    from flamehead.raster._cpu.fork import share
    from flamehead.raster._cpu.pairs import Search
    from flamehead.render._cpu import stages

    workers, (vertex_rows, uv_rows, cut_faces) = scene.workers, scene.cut.tables
    ids, depth = scene.pixels.ids[item], scene.pixels.depth[item]
    search = Search.of(points, ids, scene.edges, perspective=scene.perspective, workers=workers)
    search = search if scene.outlined else search.idle()
    tables = empty(8 * (len(vertex_rows) + len(scene.uv_faces)), dtype=torch.float32).numpy()
    table, steps = tables[: 8 * len(vertex_rows)], tables[8 * len(vertex_rows) :]
    share(
        stages.prepare_together, workers, search.counters, np.zeros(3, np.int64), scene.outlined, *search.picture,
        normals, vertex_rows, uv, uv_rows, table.reshape(-1, 8), scene.uv_faces, steps.reshape(-1, 8), *packing,
        item > 0, even=False,
    )  # fmt: skip
    if item == 0 and packing.halvings < len(packing.widths) - 1:
        halve_on(packing.texels, packing.sizes)
    common = (
        *scene.seen.arrays(item), scene.perspective, cut_faces, table, steps, scaled, scene.encode, packing.texels,
        packing.starts, np.array([packing.widths[0], packing.heights[0], len(packing.widths) - 1]),
    )  # fmt: skip
    bands, extents = scene.width * scene.bands, np.empty((len(scene.bands) - 1, 2), dtype=np.float32)
    bands[-1] = len(alpha)
    room = search.room(depth, 4)
    into = image.reshape(-1), alpha, extents
    share(stages.paint_together, workers, search.counters, bands, *common, *into, *search.picture, *room)
    return _Painted(common, extents, *search.pairs(room))


def _back(
    scene: _Scene,
    packing: Packing,
    painted: list[_Painted],
    points: Tensor,
    uv: Tensor,
    image: Tensor | None,
    g_image: Tensor | None,
    g_alpha: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """Gradients of points, normals, light, texture (where an image is given) and texture coordinates."""
    # Imported here: numba costs a second.
    from flamehead.raster._cpu.fork import share
    from flamehead.render._cpu import stages

    size, n_points, sizes = *points.shape[:2], packing.sizes
    g_image, g_alpha = _on_pixels(scene, g_image), None if g_alpha is None else g_alpha.contiguous()
    # Bands hand out in two halves, whose sums are added in the end.
    sums = empty(2 * (6 * size * n_points + uv.numel()), dtype=torch.float64).numpy()
    by_vertex, by_uv = sums[: 12 * size * n_points], sums[12 * size * n_points :].reshape(2, -1, 2)
    by_vertex = by_vertex.reshape(size, 2, n_points, 6)
    by_scaled = np.empty((size, 9, 3), dtype=np.float32)
    by_texels = empty(len(packing.texels) if image is not None else 0, dtype=torch.float32).numpy()
    to_texels, several = image is not None, size > 1 or not packing.halvings
    if not size:
        by_texels[:] = sums[:] = 0.0
    regions = None
    for item, each in enumerate(painted):
        alpha = np.empty(0, dtype=np.float32) if g_alpha is None else g_alpha[item].numpy()
        gradient, mixed = g_image[item].numpy().reshape(-1), (each.pairs.numbers, each.pairs.values)
        regions = Regions.of(each.extents, sizes)
        into = regions.parts, regions.spots, regions.ranges, regions.texels
        found = _room(scene)
        how = np.zeros(1, np.int64), scene.bands, scene.width, *each.common, gradient, *mixed, to_texels, *into, *found
        share(stages.visit_together, scene.workers, *how)
        whole = to_texels and item == size - 1 and packing.halvings == len(sizes) - 1
        adding = (
            to_texels, 0 if several else 1, regions.lows, regions.highs, regions.begins, packing.starts, packing.widths,
            packing.heights, regions.texels, item > 0, by_texels, packing.halvings if whole else 0,
        )  # fmt: skip
        vertex_rows, uv_rows, cut_faces = scene.cut.tables
        table, corners = each.common[5].reshape(-1, 8), points[item].detach().numpy()
        mesh = cut_faces, vertex_rows, uv_rows, table, corners, scene.perspective
        results = gradient, alpha, *mixed, each.differences, by_vertex[item], by_uv, by_scaled[item]
        share(stages.hand_on_together, scene.workers, np.zeros(3, np.int64), *adding, *found, *mesh, *results)
    if to_texels and packing.halvings < len(sizes) - 1:
        double_up(by_texels, sizes)
    unpacking = Unpacking.of(packing, by_texels, None if several or not to_texels else regions)
    by_points, by_normals, by_coordinates = torch.empty_like(points), torch.empty_like(points), torch.empty_like(uv)
    results = by_vertex, by_uv, by_normals.numpy(), by_points.numpy(), by_coordinates.numpy()
    share(stages.unpack_together, scene.workers, np.zeros(1, np.int64), to_texels, *unpacking, *results)
    by_image = None if image is None else torch.from_numpy(unpacking.out).view(image.shape)
    return by_points, by_normals, torch.from_numpy(by_scaled * _CONSTANTS), by_image, by_coordinates


def _on_pixels(scene: _Scene, gradient: Tensor | None) -> Tensor:
    """The gradient of the colours at all pixels that the kernels know."""
    size, pixels = scene.seen.ids.shape
    if gradient is None:
        return torch.zeros(size, pixels, 3, dtype=torch.float32, device="cpu")
    if (missing := pixels - gradient.shape[1]) > 0:
        gradient = torch.nn.functional.pad(gradient, (0, 0, 0, missing))
    return gradient.contiguous()


def _room(scene: _Scene) -> tuple[np.ndarray, ...]:
    """For what bands sum: faces in the order in which they are seen first, their sums, how many; and the light's."""
    from flamehead.render._cpu.faces import ROW

    ends, highest = _bands(*scene.pixels.ids.shape[1:])
    bands, most = len(ends) - 1, min(len(scene.uv_faces), highest * scene.width)
    rows = empty(bands, most, ROW, dtype=torch.float32).numpy()
    counts, sums = np.zeros((bands, 1), dtype=np.int64), np.zeros((bands, 9, 3), dtype=np.float32)
    return np.empty((bands, most), dtype=np.int32), rows, counts, sums
