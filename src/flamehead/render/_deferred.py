"""Texture times light at pixels as one compiled step from fragments to colours; for float32 on the CPU.

Its parts in plain torch are `interpolate`, `texture_level`, `sample_image`, `harmonic_light` and `encode_srgb`.
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

from flamehead.raster import Fragments
from flamehead.raster._buffers import empty
from flamehead.raster._threads import ranges, run, threads_for
from flamehead.render._packed import pack_texels
from flamehead.render._seams import CutMesh, cut_mesh
from flamehead.render.harmonics import HARMONIC_CONSTANTS
from flamehead.render.sampling import layout
from flamehead.render.texture import Texture

__all__ = ["paint"]

_UNITS = 16
"""Bands of one picture at most; sums are taken band by band, so their bits do not depend on the number of threads."""

_BAND = 1 << 13
"""Pixels in a band, at least."""

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
) -> Float[Tensor, "*batch H W 4"]:
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
    """
    *batch, height, width = fragments.face_ids.shape
    texels, sizes = pack_texels(texture.image, decode=encode and texture.encoding == "srgb")
    cut = cut_mesh(faces, texture.uv_faces)
    scaled = light * light.new_tensor(HARMONIC_CONSTANTS)[:, None]
    seen = _Seen(
        fragments.face_ids.reshape(-1, height * width).int().contiguous(),
        fragments.barycentric.detach().movedim(-1, -3).reshape(-1, 3, height * width).float().contiguous(),
        fragments.depth.detach().reshape(-1, height * width).float().contiguous(),
    )
    scene = _Scene(seen, cut, faces.int(), texture.uv_faces.int(), sizes, perspective, encode)
    lights = scaled.expand(*batch, 9, 3).reshape(-1, 9, 3)
    shapes = (value.expand(*batch, *value.shape[-2:]).reshape(-1, *value.shape[-2:]) for value in (points, normals))
    out = _Paint.apply(*shapes, lights, texels, texture.uv, scene)
    assert isinstance(out, Tensor)
    return out.reshape(*fragments.face_ids.shape, 4)


@dataclass(frozen=True)
class _Seen:
    """Fragments as the kernels read them."""

    ids: Int[Tensor, "B P"]
    planes: Float[Tensor, "B 3 P"]
    depth: Float[Tensor, "B P"]

    def arrays(self, item: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of one picture."""
        return self.ids[item].numpy(), self.planes[item].reshape(-1).numpy(), self.depth[item].numpy()


@dataclass(frozen=True)
class _Scene:
    """What carries no gradient."""

    seen: _Seen
    cut: CutMesh
    faces: Int[Tensor, "F 3"]
    uv_faces: Int[Tensor, "F 3"]
    sizes: tuple[tuple[int, int], ...]
    perspective: bool
    encode: bool

    @property
    def limits(self) -> list[tuple[int, int]]:
        """Where the bands of a picture start and end."""
        pixels = self.seen.ids.shape[1]
        bands = max(1, min(_UNITS, pixels // _BAND))
        return list(pairwise(pixels * band // bands for band in range(bands + 1)))

    @property
    def workers(self) -> int:
        """How many threads a picture is worth."""
        return threads_for(self.seen.ids.shape[1] * _SECONDS, None)

    def pyramid(self) -> tuple[np.ndarray, tuple[int, int, int]]:
        """First texel of each copy; width and height of the full image, and the last copy."""
        return layout(self.sizes)[0], (*self.sizes[0], len(self.sizes) - 1)


class _Paint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, points: Tensor, normals: Tensor, scaled: Tensor, texels: Tensor, uv: Tensor, scene: _Scene
    ) -> Tensor:
        # Imported here: numba costs a second.
        from flamehead.render._cpu import deferred as kernels

        points, normals, scaled, uv = (value.detach().contiguous() for value in (points, normals, scaled, uv))
        ctx.save_for_backward(points, uv)
        ctx.scene, ctx.texels = scene, len(texels)
        size, pixels = scene.seen.ids.shape
        out = empty(size, pixels, 4, dtype=torch.float32)
        # What the way back needs of them; the texels are inner to `paint`, so nobody can write to them in between.
        ctx.common = [_arguments(scene, item, points, normals, scaled, texels, uv) for item in range(size)]
        for item, common in enumerate(ctx.common):
            into = out[item].reshape(-1).numpy()
            jobs = [partial(kernels.paint, *ends, *common, into, *_room(0, 1)) for ends in scene.limits]
            run(jobs, scene.workers)
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        points, uv = ctx.saved_tensors
        scene, gradient = ctx.scene, gradients[0].contiguous()
        by_scaled = points.new_empty(len(points), 9, 3)
        by_vertex = torch.zeros(*points.shape[:2], 6, dtype=torch.float64)
        by_uv = torch.zeros(uv.shape, dtype=torch.float64)
        by_texels = empty(ctx.texels, dtype=torch.float32).zero_() if ctx.needs_input_grad[3] else None
        for item, common in enumerate(ctx.common):
            found = _Found.of(scene, common, gradient[item].reshape(-1).numpy())
            by_scaled[item] = torch.from_numpy(found.sums.sum(axis=0, dtype=np.float64))
            corners = common[5], points[item].numpy(), by_vertex[item].numpy(), by_uv.numpy()
            jobs = [partial(found.to_corners, scene, *corners)]
            if by_texels is not None:
                jobs = [*found.to_texels(scene, by_texels.numpy()), *jobs]
            run(jobs, scene.workers)
        return by_vertex[..., 3:].float(), by_vertex[..., :3].float(), by_scaled, by_texels, by_uv.float(), None


def _arguments(
    scene: _Scene, item: int, points: Tensor, normals: Tensor, scaled: Tensor, texels: Tensor, uv: Tensor
) -> tuple[Any, ...]:
    """Of the kernels, for one picture, from `ids` to `size`."""
    from flamehead.render._cpu import faces as kernels

    cut, faces = scene.cut, scene.faces.contiguous().numpy()
    table = empty(len(cut.vertex_rows), 8, dtype=torch.float32)
    rows = cut.vertex_rows.numpy(), uv.numpy(), cut.uv_rows.numpy()
    kernels.corners(normals[item].numpy(), *rows, table.numpy())
    steps = empty(len(faces), 8, dtype=torch.float32)
    width, height = (float(side) for side in scene.sizes[0])
    mesh = points[item].numpy(), faces, uv.numpy(), scene.uv_faces.contiguous().numpy()
    run(ranges(kernels.steps, len(faces), 1, *mesh, scene.perspective, width, height, steps.numpy()), 1)
    flat = table.reshape(-1).numpy(), steps.reshape(-1).numpy()
    look = scaled[item].numpy(), scene.encode, texels.detach().numpy(), *scene.pyramid()
    return *scene.seen.arrays(item), scene.perspective, cut.faces.int().reshape(-1).numpy(), *flat, *look


def _room(floats: int, numbers: int) -> list[np.ndarray]:
    """What a kernel needs for a block of pixels: the block, a float for each so many times, and whole numbers."""
    from flamehead.render._cpu.blocks import SIZE, N

    more = [np.zeros(floats * N, dtype=np.float32)] if floats else []
    return [np.zeros(SIZE, dtype=np.float32), *more, *(np.zeros(N, dtype=np.int64) for _ in range(numbers))]


@dataclass(frozen=True)
class _Found:
    """Gradients of one picture, as far as pixels have been summed."""

    seen: Int[np.ndarray, "bands F"]
    rows: Float[np.ndarray, "bands F 24"]
    samples: Float[np.ndarray, "P 8"]
    counts: Int[np.ndarray, "bands 2"]
    sums: Float[np.ndarray, "bands 9 3"]

    @staticmethod
    def of(scene: _Scene, common: tuple[Any, ...], gradient: np.ndarray) -> _Found:
        """Run over all pixels."""
        from flamehead.render._cpu import deferred as kernels
        from flamehead.render._cpu.faces import ROW

        limits = scene.limits
        n_faces = min(len(scene.faces), max(last - first for first, last in limits))
        found = _Found(
            np.empty((len(limits), n_faces), dtype=np.int32),
            empty(len(limits), n_faces, ROW, dtype=torch.float32).numpy(),
            empty(limits[-1][1], 8, dtype=torch.float32).numpy(),
            np.zeros((len(limits), 2), dtype=np.int64),
            np.zeros((len(limits), 9, 3), dtype=np.float32),
        )
        places = np.full((len(limits), len(scene.faces)), -1, dtype=np.int32)
        jobs = []
        for n, (first, last) in enumerate(limits):
            faces = places[n], found.seen[n], found.rows[n].reshape(-1)
            into = *faces, found.samples[first:last].reshape(-1), found.counts[n], found.sums[n]
            jobs.append(partial(kernels.paint_backward, first, last, *common, gradient, *into, *_room(3, 2)))
        run(jobs, scene.workers)
        return found

    def to_corners(
        self, scene: _Scene, table: np.ndarray, points: np.ndarray, by_vertex: np.ndarray, by_uv: np.ndarray
    ) -> None:
        """Add gradients of vertices and of texture coordinates, in the order of the bands."""
        from flamehead.render._cpu import faces as kernels

        rows = scene.cut.vertex_rows.numpy(), scene.cut.uv_rows.numpy()
        mesh = scene.cut.faces.int().numpy(), *rows, table.reshape(-1, 8), points, scene.perspective
        for seen, sums, (count, _) in zip(self.seen, self.rows, self.counts, strict=True):
            kernels.hand_out(seen[:count], sums[:count], *mesh, by_vertex, by_uv)

    def to_texels(self, scene: _Scene, by_texels: np.ndarray) -> list[Callable[[], None]]:
        """Jobs that add gradients of texels; each owns rows between which about equally many samples lie."""
        from flamehead.render._cpu import deferred as kernels

        starts = np.array([first for first, _ in scene.limits])
        parts = np.stack([starts, starts + self.counts[:, 1]], axis=1)
        # Two for each thread, because their work is not the same.
        parts_wanted = 2 * scene.workers if scene.workers > 1 else 1
        inner = np.empty(0)
        if parts_wanted > 1 and self.counts[:, 1].any():
            rows = np.concatenate([1.0 - self.samples[first:last:97, 1] for first, last in parts])
            inner = np.quantile(rows, np.arange(1, parts_wanted) / parts_wanted)
        ends = [0.0, *np.clip(inner, 0.0, 1.0).tolist(), 1.0]
        rest = self.samples.reshape(-1), parts, *scene.pyramid(), by_texels
        return [partial(kernels.pull_texels, *pair, *rest, *_room(0, 0)) for pair in pairwise(ends)]
