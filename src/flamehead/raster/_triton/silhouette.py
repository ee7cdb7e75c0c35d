"""The silhouette pass of `antialias` in Triton: which pixel pairs visible silhouettes cross, and blending across them.

Edges first: those with faces on one side only are silhouettes. Their crossings of rows and columns of pixel centres are
counted and numbered, and one lane looks at each: whether the edge is hidden, and whether its own surface is what the
inner pixel shows, which takes a walk from face to face. Where several edges cross one pair, the nearest counts. Which
pairs are found, and their order, is the same in every run.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._triton.jit import on_device
from flamehead.raster._triton.pairs import (
    blend_backward_kernel,
    blend_kernel,
    pairs_kernel,
    sides_kernel,
    silhouettes_kernel,
)

__all__ = ["blend", "blend_backward", "find_pairs"]

_BLOCK = 128
_MOST_CHANNELS = 16

Pairs = tuple[Int[Tensor, "N"], Int[Tensor, "N 5"], Float[Tensor, "N 4"]]
"""The picture of each pair; pixel A, pixel B, axis (0: neighbours in a row), vertices at the low and high end of the
edge; crossing t between A and B, weight, place s on the edge (0 at the low end), slope d along / d across."""


def find_pairs(
    points: Float[Tensor, "Q V 3"],
    faces: Int[Tensor, "F 3"],
    vertices: Int[Tensor, "E 2"],
    half_edges: Int[Tensor, "3F"],
    starts: Int[Tensor, "E+1"],
    face_edges: Int[Tensor, "F 3"],
    face_ids: Int[Tensor, "B H W"],
    depth: Float[Tensor, "B H W"],
    *,
    degree: int,
    perspective: bool,
    tolerance: float,
    steps: int,
) -> Pairs:
    """Neighbouring pixels with a visible silhouette between their centres; `Q` is `B`, or 1 if pictures share points.

    Float32 and int32, contiguous, on one device. The host waits twice for it: how many crossings, how many pairs.

    Args:
        points, faces: As passed to `rasterize`, which found `face_ids` and `depth`.
        vertices, half_edges, starts, face_edges: See `flamehead.raster.edges.Edges`.
        degree: The most faces that meet at an edge.
        perspective: As passed to `rasterize`.
        tolerance: Share of the depth by which a surface must be nearer than the edge to hide it.
        steps: The most faces between an edge and the next pixel centre.
    """
    (size, height, width), n_faces, n_edges = face_ids.shape, len(faces), len(vertices)
    device, stride = points.device, 3 * points.shape[1] if len(points) == size else 0
    if not size * n_edges:
        return _none(device)
    with on_device(points):
        sides = torch.empty(size, n_faces, dtype=torch.int8, device=device)
        sides_kernel[(size * -(-n_faces // _BLOCK),)](
            points, faces, sides, n_faces, stride, PERSPECTIVE=perspective, BLOCK=_BLOCK, enable_fp_fusion=False,
        )  # fmt: skip
        inside = torch.empty(size, n_edges, dtype=torch.int8, device=device)
        counts = torch.empty(size * n_edges, dtype=torch.int32, device=device)
        silhouettes_kernel[(size * -(-n_edges // _BLOCK),)](
            points, faces, vertices, half_edges, starts, sides, inside, counts, n_faces, n_edges, height, width, stride,
            degree, PERSPECTIVE=perspective, BLOCK=_BLOCK,
        )  # fmt: skip
        ends = counts.cumsum(0)
        total = int(ends[-1])
        if not total:
            return _none(device)
        owners = torch.repeat_interleave(torch.arange(len(counts), device=device), counts, output_size=total)
        keys = torch.empty(total, dtype=torch.int64, device=device)
        near = torch.empty(total, dtype=torch.float64, device=device)
        numbers = torch.empty(total, 5, dtype=torch.int32, device=device)
        values = torch.empty(total, 4, dtype=torch.float64, device=device)
        pairs_kernel[(-(-total // _BLOCK),)](
            points, faces, vertices, half_edges, starts, face_edges, face_ids, depth, sides, inside, owners, ends,
            counts, keys, near, numbers, values, total, n_faces, n_edges, height, width, stride, degree, steps,
            TOLERANCE=float(tolerance), PERSPECTIVE=perspective, BLOCK=_BLOCK, enable_fp_fusion=False,
        )  # fmt: skip
    kept = _nearest(keys, near)
    return (owners[kept] // n_edges).int(), numbers[kept], values[kept]


def _none(device: torch.device) -> Pairs:
    return (
        torch.empty(0, dtype=torch.int32, device=device),
        torch.empty(0, 5, dtype=torch.int32, device=device),
        torch.empty(0, 4, dtype=torch.float64, device=device),
    )


def _nearest(keys: Int[Tensor, "T"], near: Float[Tensor, "T"]) -> Int[Tensor, "N"]:
    """Of the crossings of each pair, which share a key of 0 or more, the nearest and among equals the first."""
    order = near.argsort(stable=True)
    order = order[keys[order].argsort(stable=True)]
    sorted_keys = keys[order]
    first = torch.ones_like(sorted_keys, dtype=torch.bool)
    first[1:] = sorted_keys[1:] != sorted_keys[:-1]
    return order[first & (sorted_keys >= 0)].sort().values


def blend(image: Float[Tensor, "B P C"], pairs: Pairs) -> Float[Tensor, "B P C"]:
    """Mix the colours of pairs; contiguous. A pixel in several pairs sums them in no fixed order."""
    out, (pictures, numbers, values), (_, pixels, channels) = image.clone(), pairs, image.shape
    if len(pictures) and channels:
        with on_device(image):
            blend_kernel[(-(-len(pictures) // _BLOCK),)](
                image, pictures, numbers, values, out, len(pictures), pixels, channels,
                BLOCK=_BLOCK, CHANNELS=_channels(channels),
            )  # fmt: skip
    return out


def blend_backward(
    gradient: Float[Tensor, "B P C"],
    image: Float[Tensor, "B P C"],
    points: Float[Tensor, "Q V 3"],
    pairs: Pairs,
) -> tuple[Float[Tensor, "B P C"], Float[Tensor, "Q V 3"]]:
    """Gradients with respect to the image, and to points through the places where edges cross; contiguous."""
    by_image, (pictures, numbers, values), (size, pixels, channels) = gradient.clone(), pairs, gradient.shape
    by_points = torch.zeros(points.shape, dtype=torch.float64, device=points.device)
    if len(pictures) and channels:
        stride = 3 * points.shape[1] if len(points) == size else 0
        with on_device(image):
            blend_backward_kernel[(-(-len(pictures) // _BLOCK),)](
                gradient, image, pictures, numbers, values, by_image, by_points, len(pictures), pixels, channels,
                stride, BLOCK=_BLOCK, CHANNELS=_channels(channels),
            )  # fmt: skip
    return by_image, by_points.to(points.dtype)


def _channels(count: int) -> int:
    """Channels taken at once: blocks need a power of two."""
    return min(_MOST_CHANNELS, 1 << (count - 1).bit_length())
