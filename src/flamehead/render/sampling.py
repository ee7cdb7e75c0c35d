"""Values of an image at texture coordinates, smooth when enlarged and averaged when made smaller; differentiable.

An image becomes a pyramid of ever smaller copies, each the exact area average of the one before (Williams, "Pyramidal
parametrics", 1983); a sample blends the four nearest texels of two levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate, pairwise
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead.errors import InputError, check_choice
from flamehead.render._bands import bands, n_threads, run

__all__ = ["Pyramid", "build_pyramid", "double", "halve", "layout", "pyramid_sizes", "sample_image"]

Backend = Literal["numba", "reference"]


@dataclass(frozen=True)
class Pyramid:
    """An image and its smaller copies."""

    texels: Float[Tensor, "T C"]
    """All levels, the full image first, each row by row from the top."""
    sizes: tuple[tuple[int, int], ...]
    """(width, height) of each level."""

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The row of `texels` at which each level starts."""
        return tuple(accumulate((width * height for width, height in self.sizes[:-1]), initial=0))

    def level(self, which: int) -> Float[Tensor, "h w C"]:
        """One level as an image."""
        (width, height), start = self.sizes[which], self.starts[which]
        return self.texels[start : start + width * height].reshape(height, width, -1)


def build_pyramid(
    image: Float[Tensor, "H W C"], *, n_levels: int | None = None, backend: Backend | None = None
) -> Pyramid:
    """Halve an image until one texel is left; every level has the mean of the image, whatever its size.

    Differentiable with respect to `image`. A side of `2m + 1` texels becomes `m`, each the average of the
    2 + 1/m texels it covers.

    Args:
        image: Any values; light averages rightly when it is linear.
        n_levels: Stop at this many levels; 1 is the image alone.
        backend: `None` takes compiled kernels for float32 on the CPU, and plain torch otherwise.
    """
    if image.ndim != 3 or image.numel() == 0:
        raise InputError(
            f"An image of shape {tuple(image.shape)} has no texels to sample; give one of shape (H, W, C)."
        )
    height, width, channels = image.shape
    sizes = pyramid_sizes(width, height, n_levels=n_levels)
    if _backend(image, backend) == "numba" and len(sizes) > 1:
        texels = _Halvings.apply(image, sizes)
        assert isinstance(texels, Tensor)
        return Pyramid(texels, sizes)
    levels = [image]
    for _ in sizes[1:]:
        rows, columns = (_averaging(n).to(image) for n in levels[-1].shape[:2])
        levels.append(torch.einsum("ih,hwc,jw->ijc", rows, levels[-1], columns))
    return Pyramid(torch.cat([level.reshape(-1, channels) for level in levels]), sizes)


def pyramid_sizes(width: int, height: int, *, n_levels: int | None = None) -> tuple[tuple[int, int], ...]:
    """(width, height) of an image and its copies, each half the size, down to one texel or so many levels."""
    sizes = [(width, height)]
    while sizes[-1] != (1, 1) and len(sizes) != n_levels:
        sizes.append((max(1, sizes[-1][0] // 2), max(1, sizes[-1][1] // 2)))
    return tuple(sizes)


def sample_image(
    image: Pyramid | Float[Tensor, "H W C"],
    uv: Float[Tensor, "*batch 2"],
    *,
    level: Float[Tensor, "*batch"] | None = None,
    backend: Backend | None = None,
) -> Float[Tensor, "*batch C"]:
    """Look an image up at texture coordinates; differentiable with respect to the image and to `uv`, not to `level`.

    Texel (row, column) has its centre at u = (column + 0.5) / W, v = 1 - (row + 0.5) / H; beyond the outermost centres
    the border is repeated.

    Args:
        image: Row 0 at v = 1. A pyramid if `level` is given, or one is made.
        uv: u to the right, v up.
        level: How small a copy to look at: a pixel as wide as `2**level` texels; 0 if `None`. A row in which anything
            is NaN, such as the background's, gets 0 and sends no gradient.
        backend: `None` takes compiled kernels for float32 on the CPU, and plain torch otherwise.
    """
    pyramid = image if isinstance(image, Pyramid) else build_pyramid(image, n_levels=None if level is not None else 1)
    if uv.shape[-1] != 2 or (level is not None and level.shape != uv.shape[:-1]):
        got = None if level is None else tuple(level.shape)
        raise InputError(f"uv has shape {tuple(uv.shape)} and level {got}; give (u, v) rows and one level for each.")
    rows = uv.reshape(-1, 2)
    wanted = torch.zeros_like(rows[:, 0]) if level is None else level.detach().reshape(-1).to(rows)
    if _backend(pyramid.texels, backend) == "numba" and rows.dtype == torch.float32:
        out = _Sample.apply(pyramid.texels, rows, wanted, pyramid.sizes)
        assert isinstance(out, Tensor)
    else:
        out = _sample_reference(pyramid, rows, wanted)
    return out.reshape(*uv.shape[:-1], out.shape[-1])


def _backend(values: Tensor, backend: Backend | None) -> Backend:
    check_choice("backend", backend, (None, "numba", "reference"))
    if backend is not None:
        return backend
    return "numba" if values.device.type == "cpu" and values.dtype == torch.float32 else "reference"


def _averaging(n: int) -> Float[Tensor, "m n"]:
    """The matrix that halves a side of n texels: row i covers the texels from i n / m to (i + 1) n / m."""
    m = max(1, n // 2)
    edges = np.arange(m + 1)[:, None] * (n / m)
    filled = np.clip(edges - np.arange(n), 0.0, 1.0)
    return torch.from_numpy((filled[1:] - filled[:-1]) * (m / n))


@cache
def _taps(n: int, *, transposed: bool) -> tuple[Int[np.ndarray, "m k"], Float[np.ndarray, "m k"]]:
    """The columns and values of each row of `_averaging(n)`, or of its transpose, padded with zeros."""
    matrix = _averaging(n).numpy().astype(np.float32)
    matrix = matrix.T if transposed else matrix
    count = int((matrix != 0).sum(1).max())
    # The largest come first when zeros are sorted to the end; the order of taps does not matter.
    order = np.argsort(matrix == 0, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(matrix, order, axis=1)


def halve(image: np.ndarray, out: np.ndarray) -> None:
    """The next level of an image."""
    from flamehead.render._cpu import texture as kernels

    height, width = image.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        _by_rows(kernels.halve_even, out, image)
    else:
        _by_rows(kernels.halve, out, image, *_taps(height, transposed=False), *_taps(width, transposed=False))


def double(image: np.ndarray, out: np.ndarray, level: np.ndarray) -> None:
    """The transpose of `_halve`, added to `level`."""
    from flamehead.render._cpu import texture as kernels

    height, width = out.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        _by_rows(kernels.double_even, out, image, level)
    else:
        _by_rows(kernels.halve, out, image, *_taps(height, transposed=True), *_taps(width, transposed=True))
        out += level


def _by_rows(kernel: Callable[..., None], out: np.ndarray, *arguments: Any) -> None:
    """Call `kernel(rows of out, the first of them, *arguments)` for all rows."""
    parts = n_threads() if out.size > 100_000 else 1
    ends = [len(out) * part // parts for part in range(parts + 1)]
    run(kernel, [(out[i:j], i, *arguments) for i, j in pairwise(ends)])


class _Halvings(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image: Tensor, sizes: tuple[tuple[int, int], ...]) -> Tensor:
        ctx.sizes = sizes
        texels = torch.empty(sum(w * h for w, h in sizes), image.shape[2])
        pyramid = Pyramid(texels, sizes)
        pyramid.level(0).copy_(image)
        for which in range(len(sizes) - 1):
            halve(pyramid.level(which).numpy(), pyramid.level(which + 1).numpy())
        return texels

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        pyramid = Pyramid(grad_outputs[0].contiguous(), ctx.sizes)
        below = pyramid.level(len(ctx.sizes) - 1).contiguous()
        for which in range(len(ctx.sizes) - 2, -1, -1):
            level = torch.empty_like(pyramid.level(which), memory_format=torch.contiguous_format)
            double(below.numpy(), level.numpy(), pyramid.level(which).numpy())
            below = level
        return below, None


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, texels: Tensor, uv: Tensor, level: Tensor, sizes: tuple[tuple[int, int], ...]) -> Tensor:
        from flamehead.render._cpu import texture as kernels

        texels, uv, level = texels.contiguous(), uv.contiguous(), level.contiguous()
        ctx.save_for_backward(texels, uv, level)
        ctx.layout = layout(sizes)
        out = torch.empty(len(uv), texels.shape[1])
        rows = (uv.detach().numpy(), level.numpy(), out.numpy())
        bands(kernels.sample, len(uv), rows, (texels.detach().numpy(), *ctx.layout))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        from flamehead.render._cpu import texture as kernels

        texels, uv, level = (value.detach() for value in ctx.saved_tensors)
        g_out = grad_outputs[0].contiguous()
        rows = (uv.numpy(), level.numpy(), g_out.numpy())
        g_texels = g_uv = None
        if ctx.needs_input_grad[1]:
            g_uv = torch.empty_like(uv)
            bands(kernels.pull_uv, len(uv), (*rows, g_uv.numpy()), (texels.numpy(), *ctx.layout))
        if ctx.needs_input_grad[0]:
            g_texels = torch.zeros_like(texels)
            ends = row_shares(uv, level)
            jobs = [(i, j, *rows, g_texels.numpy(), *ctx.layout) for i, j in pairwise(ends)]
            run(kernels.pull_texels, jobs)
        return g_texels, g_uv, None, None


@cache
def layout(sizes: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, width and height of each level; not to be written to."""
    widths, heights = np.array(sizes, dtype=np.int64).T.copy()
    return np.concatenate([[0], np.cumsum(widths * heights)[:-1]]), widths, heights


def row_shares(uv: Tensor, level: Tensor) -> list[float]:
    """Borders of relative rows, from 0 to 1, between which about equally many samples lie, one part for each thread."""
    parts = n_threads() if len(uv) >= 8192 else 1
    step = max(1, len(uv) // 2000)
    rows, seen = 1.0 - uv[::step, 1].numpy(), np.isfinite(level[::step].numpy())
    rows = rows[seen & np.isfinite(rows)]
    if parts == 1 or not len(rows):
        return [0.0, 1.0]
    inner = np.clip(np.quantile(rows, np.arange(1, parts) / parts), 0.0, 1.0)
    return [0.0, *inner.tolist(), 1.0]


def _sample_reference(pyramid: Pyramid, uv: Float[Tensor, "N 2"], level: Float[Tensor, "N"]) -> Float[Tensor, "N C"]:
    texels = pyramid.texels
    seen = uv.detach().isfinite().all(-1) & ~level.isnan()
    uv = torch.where(seen[:, None], uv, 0.0).to(texels.dtype)
    level = torch.where(seen, level, 0.0).clamp(0.0, len(pyramid.sizes) - 1.0).to(texels.dtype)
    starts, widths, heights = (torch.from_numpy(array).to(uv.device) for array in layout(pyramid.sizes))
    fine = level.long()
    out = torch.zeros(len(uv), texels.shape[1], dtype=texels.dtype, device=texels.device)
    for step in range(2):
        which = (fine + step).clamp(max=len(pyramid.sizes) - 1)
        weight = (level - fine) if step else 1.0 - (level - fine)
        width, height, start = widths[which], heights[which], starts[which]
        x = (uv[:, 0] * width - 0.5).maximum(torch.zeros_like(level)).minimum((width - 1).to(level))
        y = ((1.0 - uv[:, 1]) * height - 0.5).maximum(torch.zeros_like(level)).minimum((height - 1).to(level))
        x0, y0 = x.detach().long(), y.detach().long()
        x1, y1 = (x0 + 1).minimum(width - 1), (y0 + 1).minimum(height - 1)
        fx, fy = (x - x0)[:, None], (y - y0)[:, None]
        top = (1.0 - fx) * texels[start + y0 * width + x0] + fx * texels[start + y0 * width + x1]
        bottom = (1.0 - fx) * texels[start + y1 * width + x0] + fx * texels[start + y1 * width + x1]
        out = out + weight[:, None] * ((1.0 - fy) * top + fy * bottom)
    return torch.where(seen[:, None], out, 0.0)
