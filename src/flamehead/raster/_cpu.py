"""The rasterizer in numba: a visibility pass over triangles, then barycentrics for the pixels that won.

The inner loop of the visibility pass runs over blocks of a fixed number of pixels without branches, which LLVM turns
into vector instructions; rows are padded by one block so that it may run over their end. Edge functions are integers
held in float64, see `_grid.SUBPIXEL`.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._compile import compiled
from flamehead.raster._grid import HALF, NEAR, SUBPIXEL
from flamehead.raster.fragments import Fragments

__all__ = ["gather", "rasterize"]

_LANES = 16


def rasterize(
    points: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], size: tuple[int, int], *, cull: bool
) -> Fragments:
    """See `flamehead.raster.rasterize`."""
    width, height = size
    corners, triangles = points.numpy(), faces.numpy()
    padded_ids = np.full((height, width + _LANES), -1, dtype=np.int32)
    nearest = np.zeros((height, width + _LANES), dtype=np.float32)
    _show(corners, triangles, width, height, cull, padded_ids, nearest)
    ids = np.empty((height, width), dtype=np.int32)
    barycentric = np.empty((height, width, 3), dtype=np.float32)
    depth = np.empty((height, width), dtype=np.float32)
    _resolve(corners, triangles, padded_ids, ids, barycentric, depth)
    return Fragments(torch.from_numpy(ids), torch.from_numpy(barycentric), torch.from_numpy(depth))


def gather(
    attributes: Float[Tensor, "V C"],
    faces: Int[Tensor, "F 3"],
    face_ids: Int[Tensor, "N"],
    barycentric: Float[Tensor, "N 3"],
) -> Float[Tensor, "N C"]:
    """See `flamehead.raster.gather`; float32 on the CPU, without gradients."""
    out = np.empty((len(face_ids), attributes.shape[1]), dtype=np.float32)
    _gather(attributes.numpy(), faces.numpy(), face_ids.numpy(), barycentric.numpy(), out)
    return torch.from_numpy(out)


@compiled(inline="always")
def _snap(value):
    """Nearest position on the sub-pixel grid; NaN and infinity stay what they are."""
    return np.floor(np.float64(value) * SUBPIXEL + 0.5)


@compiled(inline="always")
def _edge(ax, ay, bx, by, sign):
    """Coefficients of `e(x, y) = slope_x x + slope_y y + offset`, positive inside, and the least value that is inside.

    Reversing the edge negates every coefficient exactly. The least value is the top-left rule: 0 for the triangle on
    the right of an edge, or below it where it is level, and 1, the next integer, for the other one.
    """
    slope_x, slope_y, offset = sign * (ay - by), sign * (bx - ax), sign * (ax * by - bx * ay)
    least = 0.0 if slope_x > 0.0 or (slope_x == 0.0 and slope_y > 0.0) else 1.0
    return slope_x, slope_y, offset, least


@compiled(nogil=True)
def _show(points, faces, width, height, cull, ids, nearest):
    """Write the face with the greatest 1/z at every pixel; the first one wins a tie."""
    for face in range(faces.shape[0]):
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        z0, z1, z2 = np.float64(points[i, 2]), np.float64(points[j, 2]), np.float64(points[k, 2])
        # Comparisons with NaN are false, so the negated form drops it too.
        if not (NEAR < z0 < np.inf and NEAR < z1 < np.inf and NEAR < z2 < np.inf):
            continue
        x0, x1, x2 = _snap(points[i, 0]), _snap(points[j, 0]), _snap(points[k, 0])
        y0, y1, y2 = _snap(points[i, 1]), _snap(points[j, 1]), _snap(points[k, 1])
        # The columns and rows whose centres lie in the bounding box, still as floats: huge values must not reach int().
        left = max(0.0, np.ceil((min(x0, x1, x2) - HALF) / SUBPIXEL))
        right = min(width - 1.0, np.floor((max(x0, x1, x2) - HALF) / SUBPIXEL))
        top = max(0.0, np.ceil((min(y0, y1, y2) - HALF) / SUBPIXEL))
        bottom = min(height - 1.0, np.floor((max(y0, y1, y2) - HALF) / SUBPIXEL))
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        # The area of a triangle with a NaN or an infinite corner is not finite.
        if not (left <= right and top <= bottom and np.isfinite(area)) or area == 0.0 or (cull and area > 0.0):
            continue
        sign = 1.0 if area > 0.0 else -1.0
        ax, ay, a, a_least = _edge(x1, y1, x2, y2, sign)
        bx, by, b, b_least = _edge(x2, y2, x0, y0, sign)
        cx, cy, c, c_least = _edge(x0, y0, x1, y1, sign)
        # 1/z is linear on the screen; measured from a corner it suffers no cancellation.
        inverse, d1, d2 = 1.0 / z0, 1.0 / z1 - 1.0 / z0, 1.0 / z2 - 1.0 / z0
        inverse_x = (d1 * (y2 - y0) - d2 * (y1 - y0)) / area
        inverse_y = (d2 * (x1 - x0) - d1 * (x2 - x0)) / area
        for row in range(int(top), int(bottom) + 1):
            y = row * SUBPIXEL + HALF
            a_row, b_row, c_row = ay * y + a, by * y + b, cy * y + c
            inverse_row = inverse + inverse_y * (y - y0)
            for first in range(int(left), int(right) + 1, _LANES):
                block, block_ids = nearest[row, first : first + _LANES], ids[row, first : first + _LANES]
                start = first * SUBPIXEL + HALF
                for lane in range(_LANES):
                    x = start + lane * SUBPIXEL
                    value = np.float32(inverse_row + inverse_x * (x - x0))
                    old, old_id = block[lane], block_ids[lane]
                    seen = (
                        (ax * x + a_row >= a_least)
                        & (bx * x + b_row >= b_least)
                        & (cx * x + c_row >= c_least)
                        & (value > old)
                    )
                    block[lane] = value if seen else old
                    block_ids[lane] = np.int32(face) if seen else old_id


@compiled(nogil=True)
def _resolve(points, faces, padded_ids, ids, barycentric, depth):
    """Perspective-correct barycentrics `e_k / z_k / sum`, and depth, from the ids; setup is shared along a run."""
    height, width = ids.shape
    x0 = x1 = x2 = y0 = y1 = y2 = w0 = w1 = w2 = area = 0.0
    for row in range(height):
        y = row * SUBPIXEL + HALF
        last = -1
        for column in range(width):
            face = padded_ids[row, column]
            ids[row, column] = face
            if face < 0:
                barycentric[row, column, 0] = barycentric[row, column, 1] = barycentric[row, column, 2] = 0.0
                depth[row, column] = np.inf
                continue
            if face != last:
                last = face
                i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
                x0, x1, x2 = _snap(points[i, 0]), _snap(points[j, 0]), _snap(points[k, 0])
                y0, y1, y2 = _snap(points[i, 1]), _snap(points[j, 1]), _snap(points[k, 1])
                w0, w1, w2 = 1.0 / points[i, 2], 1.0 / points[j, 2], 1.0 / points[k, 2]
                area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            x = column * SUBPIXEL + HALF
            b0 = ((x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)) * w0
            b1 = ((x0 - x2) * (y - y2) - (y0 - y2) * (x - x2)) * w1
            b2 = ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) * w2
            scale = 1.0 / (b0 + b1 + b2)
            barycentric[row, column, 0] = b0 * scale
            barycentric[row, column, 1] = b1 * scale
            barycentric[row, column, 2] = b2 * scale
            depth[row, column] = area * scale


@compiled(nogil=True)
def _gather(attributes, faces, face_ids, barycentric, out):
    for pixel in range(face_ids.shape[0]):
        face = face_ids[pixel]
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        b0, b1, b2 = barycentric[pixel, 0], barycentric[pixel, 1], barycentric[pixel, 2]
        for channel in range(out.shape[1]):
            out[pixel, channel] = (
                b0 * attributes[i, channel] + b1 * attributes[j, channel] + b2 * attributes[k, channel]
            )
