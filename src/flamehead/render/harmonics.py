"""Light as spherical harmonics: nine numbers per colour hold what distant, diffuse light does to a surface.

Ramamoorthi and Hanrahan, "An efficient representation for irradiance environment maps" (2001), in the order and with
the constants of the FLAME trackers, so that their `sh` coefficients mean the same here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead.errors import InputError, check_choice
from flamehead.geometry.harmonics import HARMONIC_CONSTANTS, harmonics, turn_light

__all__ = ["HARMONIC_CONSTANTS", "constant_light", "harmonic_light", "harmonics", "turn_light"]

_CONSTANTS = np.array(HARMONIC_CONSTANTS, dtype=np.float32)[:, None]


def harmonic_light(
    normals: Float[Tensor, "*batch N 3"],
    coefficients: Float[Tensor, "*#batch 9 3"],
    *,
    backend: Literal["numba", "reference"] | None = None,
) -> Float[Tensor, "*batch N 3"]:
    """RGB light on surfaces: `sum_k coefficients[k] * harmonics(n)[k]`; times the albedo it is the colour.

    Differentiable with respect to both. Negative where the coefficients say so; nothing is clipped.

    Args:
        normals: Of any length, in the frame of the light; a zero normal, such as the background's, gets no light.
        coefficients: In the order of `harmonics`, one row per function, linear RGB.
        backend: `None` takes compiled kernels for float32 on the CPU, and plain torch otherwise.
    """
    if coefficients.shape[-2:] != (9, 3):
        raise InputError(f"Light needs coefficients of shape (..., 9, 3), got {tuple(coefficients.shape)}.")
    check_choice("backend", backend, (None, "numba", "reference"))
    fast = normals.device.type == "cpu" and normals.dtype == coefficients.dtype == torch.float32
    if backend == "numba" or (backend is None and fast):
        batch = torch.broadcast_shapes(normals.shape[:-2], coefficients.shape[:-2])
        rows = normals.expand(*batch, *normals.shape[-2:]).reshape(-1, *normals.shape[-2:])
        tables = coefficients.expand(*batch, 9, 3).reshape(-1, 9, 3)
        out = _Light.apply(rows, tables)
        assert isinstance(out, Tensor)
        return out.reshape(*batch, *normals.shape[-2:])
    square = (normals * normals).sum(-1, keepdim=True)
    seen = square > 0
    unit = normals / torch.where(seen, square, 1.0).sqrt()
    return torch.where(seen, harmonics(unit) @ coefficients, 0.0)


def constant_light(color: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 9 3"]:
    """Coefficients of light that is the same from everywhere: a surface shows its albedo times `color`."""
    return torch.nn.functional.pad((color / HARMONIC_CONSTANTS[0])[..., None, :], (0, 0, 0, 8))


class _Light(torch.autograd.Function):
    """The compiled kernels: normals (B, N, 3), coefficients (B, 9, 3)."""

    @staticmethod
    def forward(ctx: Any, normals: Tensor, coefficients: Tensor) -> Tensor:
        from flamehead.render._bands import bands
        from flamehead.render._cpu import harmonics as kernels

        normals, scaled = normals.detach().contiguous(), coefficients.detach().contiguous().numpy() * _CONSTANTS
        ctx.save_for_backward(normals)
        ctx.scaled = scaled
        out = torch.empty_like(normals)
        for rows, values, table in zip(normals.numpy(), out.numpy(), scaled, strict=True):
            bands(kernels.light, len(rows), (rows, values), (table,))
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, Tensor]:
        from flamehead.render._bands import ALONE_BELOW, BANDS, run
        from flamehead.render._cpu import harmonics as kernels

        (normals,) = ctx.saved_tensors
        g_normals, size = torch.empty_like(normals), normals.shape[1]
        count = 1 if size < ALONE_BELOW else BANDS
        sums = np.zeros((len(normals), count, 9, 3), dtype=np.float32)
        ends = list(pairwise(size * band // count for band in range(count + 1)))
        arrays = normals.numpy(), gradients[0].contiguous().numpy(), g_normals.numpy()
        for n, table in enumerate(ctx.scaled):
            jobs = [(*(each[n, i:j] for each in arrays), table, sums[n, k]) for k, (i, j) in enumerate(ends)]
            run(kernels.light_backward, jobs, alone=count == 1)
        total = sums.sum(axis=1, dtype=np.float64) * _CONSTANTS
        return g_normals, torch.from_numpy(total.astype(np.float32))
