"""Texture times light at pixels, compiled as one step; its parts in plain torch are `harmonics`, `sampling`, `srgb`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.render._bands import BANDS, bands, run
from flamehead.render.harmonics import HARMONIC_CONSTANTS
from flamehead.render.sampling import Pyramid, layout, row_shares

__all__ = ["paint_pixels"]


def paint_pixels(
    seen: Float[Tensor, "B N 5"],
    level: Float[Tensor, "B N"],
    pyramid: Pyramid,
    light: Float[Tensor, "B 9 3"],
    *,
    encode: bool,
) -> Float[Tensor, "B N 4"]:
    """`encode(sample_image(pyramid, uv, level) * harmonic_light(normals, light))` and 1 where something is seen.

    Float32 on the CPU. Differentiable with respect to all but `level`.

    Args:
        seen: Normal and texture coordinates of each pixel.
        level: NaN in the background, which gets zeros.
        pyramid: Of a linear texture with three channels.
        light: Coefficients.
        encode: Whether the colour is encoded as sRGB.
    """
    scaled = light * light.new_tensor(HARMONIC_CONSTANTS)[:, None]
    out = _Paint.apply(seen, level, pyramid.texels, scaled, pyramid.sizes, encode)
    assert isinstance(out, Tensor)
    return out


class _Paint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, seen: Tensor, level: Tensor, texels: Tensor, scaled: Tensor, sizes: tuple, encode: bool
    ) -> Tensor:
        from flamehead.render import _cpu_pixels

        seen, level, texels, scaled = (value.detach().contiguous() for value in (seen, level, texels, scaled))
        out = torch.empty(*seen.shape[:2], 4)
        ctx.layout, ctx.encode = layout(sizes), encode
        for rows, levels, values, table in zip(seen, level, out, scaled, strict=True):
            split = (rows.numpy(), levels.numpy(), values.numpy())
            bands(_cpu_pixels.paint, len(rows), split, (table.numpy(), encode, texels.reshape(-1).numpy(), *ctx.layout))
        ctx.save_for_backward(seen, level, texels, scaled, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor):
        from flamehead.render import _cpu_pixels, _cpu_texture

        seen, level, texels, scaled, out = (value.detach() for value in ctx.saved_tensors)
        g_out, g_seen = grad_outputs[0].contiguous(), torch.empty_like(seen)
        size = seen.shape[1]
        sums = np.zeros((len(seen), BANDS, 9, 3), dtype=np.float32)
        g_albedo = torch.empty(*seen.shape[:2], 3)
        tables = (ctx.encode, texels.reshape(-1).numpy(), *ctx.layout)
        ends = list(pairwise(size * band // BANDS for band in range(BANDS + 1)))
        for b in range(len(seen)):
            rows = tuple(value[b].numpy() for value in (seen, level, out, g_out, g_seen, g_albedo))
            jobs = [
                (*(row[i:j] for row in rows), scaled[b].numpy(), *tables, sums[b, k]) for k, (i, j) in enumerate(ends)
            ]
            run(_cpu_pixels.paint_backward, jobs, alone=size < 8192)
        g_texels = None
        if ctx.needs_input_grad[2]:
            g_texels = torch.zeros_like(texels)
            for b in range(len(seen)):
                uv = seen[b, :, 3:]
                rows = (uv.numpy(), level[b].numpy(), g_albedo[b].numpy(), g_texels.numpy(), *ctx.layout)
                run(_cpu_texture.pull_texels, [(i, j, *rows) for i, j in pairwise(row_shares(uv, level[b]))])
        g_scaled = torch.from_numpy(sums.sum(axis=1, dtype=np.float64).astype(np.float32))
        return g_seen, None, g_texels, g_scaled, None, None
