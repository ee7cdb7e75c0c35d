"""`interpolate` in Triton, forward and backward.

The derivative through the barycentrics. With homogeneous corners `h_k = (x_k z_k, y_k z_k, z_k)` as rows of H, the
solution of `H^T a = (x, y, 1)` gives `b = a / sum a`. For `g_k = dL/db_k` and their mean `m = sum_k b_k g_k`,

    dL/dh_k = -a_k H^-1 (g - m) / sum a,

and by the chain rule, with `A` twice the area on the screen and indices modulo 3,

    dL/dx_k = -b_k z_k sum_j (g_j - m) (y_{j+1} - y_{j+2}) / (z_j A)
    dL/dy_k = -b_k z_k sum_j (g_j - m) (x_{j+2} - x_{j+1}) / (z_j A)
    dL/dz_k = -b_k (g_k - m) / z_k,

whatever the signs of the depths. Under parallel projection every z is 1 and dL/dz is 0.

Gradients are summed by atomic additions, in no fixed order: their last bits differ from run to run.
"""

from __future__ import annotations

import torch
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._triton.jit import kernel, on_device
from flamehead.raster._triton.kernels import SUBPIXEL, snap

__all__ = ["interpolate", "interpolate_backward", "interpolate_backward_kernel", "interpolate_kernel"]

_PIXELS = 128
_MOST_CHANNELS = 16


def interpolate(
    attributes: Float[Tensor, "A V C"],
    faces: Int[Tensor, "F 3"],
    face_ids: Int[Tensor, "B P"],
    barycentric: Float[Tensor, "B 3 P"],
) -> Float[Tensor, "B P C"]:
    """Values at pixels; `A` is `B`, or 1 where all pictures share their values; int32 and everything contiguous."""
    (size, pixels), channels = face_ids.shape, attributes.shape[2]
    out = torch.empty(size, pixels, channels, dtype=attributes.dtype, device=attributes.device)
    if out.numel():
        with on_device(attributes):
            interpolate_kernel[(size * -(-pixels // _PIXELS),)](
                attributes, faces, face_ids, barycentric, out, pixels, channels, _stride(attributes, size),
                PIXELS=_PIXELS, CHANNELS=_channels(channels),
            )  # fmt: skip
    return out


def interpolate_backward(
    gradient: Float[Tensor, "B P C"],
    attributes: Float[Tensor, "A V C"],
    points: Float[Tensor, "Q V 3"] | None,
    faces: Int[Tensor, "F 3"],
    face_ids: Int[Tensor, "B P"],
    barycentric: Float[Tensor, "B 3 P"],
    *,
    perspective: bool = True,
) -> tuple[Float[Tensor, "A V C"], Float[Tensor, "Q V 3"] | None]:
    """Gradients with respect to attributes, and to points where they are given; `Q` is `B` or 1; all contiguous."""
    (size, pixels), channels = face_ids.shape, attributes.shape[2]
    device = attributes.device
    # Sums of numbers with few digits would lose them; those of points cancel, one pixel against the next.
    sums = torch.zeros_like(attributes, dtype=torch.promote_types(attributes.dtype, torch.float32))
    by_points = None if points is None else torch.zeros(points.shape, dtype=torch.float64, device=device)
    if gradient.numel():
        corners = torch.zeros(1, dtype=torch.float32, device=device) if points is None else points.detach().float()
        with on_device(attributes):
            interpolate_backward_kernel[(size * -(-pixels // _PIXELS),)](
                gradient, attributes, corners, faces, face_ids, barycentric, sums,
                corners if by_points is None else by_points,
                pixels, channels, _stride(attributes, size), 0 if points is None else _stride(points, size),
                WITH_POINTS=points is not None, PERSPECTIVE=perspective,
                PIXELS=_PIXELS, CHANNELS=_channels(channels), enable_fp_fusion=False,
            )  # fmt: skip
    placed = None if points is None or by_points is None else by_points.to(points.dtype)
    return sums.to(attributes.dtype), placed


def _stride(values: Tensor, size: int) -> int:
    """How far the values of one picture are from those of the next; 0 where pictures share them."""
    return values.shape[1] * values.shape[2] if len(values) == size else 0


def _channels(count: int) -> int:
    """Channels taken at once: blocks need a power of two."""
    return min(_MOST_CHANNELS, 1 << (count - 1).bit_length())


@kernel()
def _seen(face_ids, faces, barycentric, pixels, PIXELS: tl.constexpr):
    """Picture, pixel numbers, which of them are covered, their corners and weights; one program has PIXELS of them."""
    blocks = tl.cdiv(pixels, PIXELS)
    batch = (tl.program_id(0) // blocks).to(tl.int64)
    pixel = (tl.program_id(0) % blocks) * PIXELS + tl.arange(0, PIXELS)
    face = tl.load(face_ids + batch * pixels + pixel, mask=pixel < pixels, other=-1).to(tl.int64)
    covered = face >= 0
    i = tl.load(faces + 3 * face, mask=covered, other=0).to(tl.int64)
    j = tl.load(faces + 3 * face + 1, mask=covered, other=0).to(tl.int64)
    k = tl.load(faces + 3 * face + 2, mask=covered, other=0).to(tl.int64)
    plane = barycentric + batch * 3 * pixels + pixel
    b0 = tl.load(plane, mask=covered, other=0.0)
    b1 = tl.load(plane + pixels, mask=covered, other=0.0)
    b2 = tl.load(plane + 2 * pixels, mask=covered, other=0.0)
    return batch, pixel, covered, i, j, k, b0, b1, b2


@kernel(do_not_specialize=["pixels", "channels", "stride"])
def interpolate_kernel(
    attributes, faces, face_ids, barycentric, out, pixels, channels, stride,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """attributes [A, V, C], faces [F, 3], face_ids [B, P], barycentric [B, 3, P] -> out [B, P, C]; background is 0."""
    batch, pixel, covered, i, j, k, b0, b1, b2 = _seen(face_ids, faces, barycentric, pixels, PIXELS)
    attributes += batch * stride
    out += (batch * pixels + pixel[:, None]) * channels
    for first in range(0, channels, CHANNELS):
        channel = first + tl.arange(0, CHANNELS)[None, :]
        mask = covered[:, None] & (channel < channels)
        v0 = tl.load(attributes + i[:, None] * channels + channel, mask=mask, other=0.0)
        v1 = tl.load(attributes + j[:, None] * channels + channel, mask=mask, other=0.0)
        v2 = tl.load(attributes + k[:, None] * channels + channel, mask=mask, other=0.0)
        value = b0[:, None] * v0 + b1[:, None] * v1 + b2[:, None] * v2
        tl.store(out + channel, value, mask=(pixel[:, None] < pixels) & (channel < channels))


@kernel(do_not_specialize=["pixels", "channels", "stride", "point_stride"])
def interpolate_backward_kernel(
    gradient, attributes, points, faces, face_ids, barycentric, sums, point_sums,
    pixels, channels, stride, point_stride,
    WITH_POINTS: tl.constexpr, PERSPECTIVE: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Adds to sums [A, V, C], and with points to point_sums [Q, V, 3] in float64."""
    batch, pixel, covered, i, j, k, b0, b1, b2 = _seen(face_ids, faces, barycentric, pixels, PIXELS)
    attributes += batch * stride
    sums += batch * stride
    gradient += (batch * pixels + pixel[:, None]) * channels
    wide = sums.dtype.element_ty
    # g_1 - g_0 and g_2 - g_0: differences of values first, so that a large common offset cannot drown them.
    d1, d2 = tl.zeros([PIXELS], wide), tl.zeros([PIXELS], wide)
    for first in range(0, channels, CHANNELS):
        channel = first + tl.arange(0, CHANNELS)[None, :]
        mask = covered[:, None] & (channel < channels)
        g = tl.load(gradient + channel, mask=mask, other=0.0).to(wide)
        at0, at1, at2 = (
            i[:, None] * channels + channel,
            j[:, None] * channels + channel,
            k[:, None] * channels + channel,
        )
        tl.atomic_add(sums + at0, b0[:, None].to(wide) * g, mask=mask, sem="relaxed")
        tl.atomic_add(sums + at1, b1[:, None].to(wide) * g, mask=mask, sem="relaxed")
        tl.atomic_add(sums + at2, b2[:, None].to(wide) * g, mask=mask, sem="relaxed")
        if WITH_POINTS:
            v0 = tl.load(attributes + at0, mask=mask, other=0.0).to(wide)
            d1 += tl.sum(g * (tl.load(attributes + at1, mask=mask, other=0.0).to(wide) - v0), axis=1)
            d2 += tl.sum(g * (tl.load(attributes + at2, mask=mask, other=0.0).to(wide) - v0), axis=1)
    if WITH_POINTS:
        w0, w1, w2 = b0.to(tl.float64), b1.to(tl.float64), b2.to(tl.float64)
        r1, r2 = d1.to(tl.float64), d2.to(tl.float64)
        mean = w1 * r1 + w2 * r2
        points += batch * point_stride
        point_sums += batch * point_stride
        _add_to_points(
            points, point_sums, i, j, k, w0, w1, w2, 0.0 - mean, r1 - mean, r2 - mean, covered, PERSPECTIVE
        )  # fmt: skip


@kernel()
def _add_to_points(points, point_sums, i, j, k, b0, b1, b2, r0, r1, r2, mask, PERSPECTIVE: tl.constexpr):
    """The formulas of this file's head; `r_k = g_k - m`, corners where the rasterizer put them."""
    x0, y0, z0 = _corner(points, i, mask, PERSPECTIVE)
    x1, y1, z1 = _corner(points, j, mask, PERSPECTIVE)
    x2, y2, z2 = _corner(points, k, mask, PERSPECTIVE)
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    mask = mask & (area != 0.0) & (tl.abs(area) < float("inf")) & (z0 * z1 * z2 != 0.0)
    area = tl.where(mask, area, 1.0)
    z0, z1, z2 = tl.where(mask, z0, 1.0), tl.where(mask, z1, 1.0), tl.where(mask, z2, 1.0)
    q0, q1, q2 = r0 / (z0 * area), r1 / (z1 * area), r2 / (z2 * area)
    across = q0 * (y1 - y2) + q1 * (y2 - y0) + q2 * (y0 - y1)
    down = q0 * (x2 - x1) + q1 * (x0 - x2) + q2 * (x1 - x0)
    tl.atomic_add(point_sums + 3 * i, -b0 * z0 * across, mask=mask, sem="relaxed")
    tl.atomic_add(point_sums + 3 * i + 1, -b0 * z0 * down, mask=mask, sem="relaxed")
    tl.atomic_add(point_sums + 3 * j, -b1 * z1 * across, mask=mask, sem="relaxed")
    tl.atomic_add(point_sums + 3 * j + 1, -b1 * z1 * down, mask=mask, sem="relaxed")
    tl.atomic_add(point_sums + 3 * k, -b2 * z2 * across, mask=mask, sem="relaxed")
    tl.atomic_add(point_sums + 3 * k + 1, -b2 * z2 * down, mask=mask, sem="relaxed")
    if PERSPECTIVE:
        tl.atomic_add(point_sums + 3 * i + 2, -b0 * r0 / z0, mask=mask, sem="relaxed")
        tl.atomic_add(point_sums + 3 * j + 2, -b1 * r1 / z1, mask=mask, sem="relaxed")
        tl.atomic_add(point_sums + 3 * k + 2, -b2 * r2 / z2, mask=mask, sem="relaxed")


@kernel()
def _corner(points, vertex, mask, PERSPECTIVE: tl.constexpr):
    """A snapped corner in pixels, and the depth that counts; float64."""
    x = snap(tl.load(points + 3 * vertex, mask=mask, other=0.0)) / SUBPIXEL
    y = snap(tl.load(points + 3 * vertex + 1, mask=mask, other=0.0)) / SUBPIXEL
    z = tl.load(points + 3 * vertex + 2, mask=mask, other=1.0).to(tl.float64)
    if not PERSPECTIVE:
        z = tl.full(z.shape, 1.0, tl.float64)
    return x, y, z
