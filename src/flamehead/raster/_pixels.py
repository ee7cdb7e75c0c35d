"""Fragments and points on the CPU as the kernels read them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.raster._remember import is_rest
from flamehead.raster.fragments import Fragments

__all__ = ["Pixels", "plain", "points_of"]


class Pixels(NamedTuple):
    """Of B pictures, all contiguous; views of the fragments where these are so already, as those of the rasterizer."""

    ids: Int[np.ndarray, "B H W"]
    """int32."""
    planes: Float[np.ndarray, "B 3P"]
    """float32; barycentrics, one corner's after the other's, P = H W."""
    depth: Float[np.ndarray, "B H W"]
    """float32."""
    rest: bool
    """Whether the third barycentrics are exactly what the others leave of 1, or 0, as the rasterizer finds them."""

    @staticmethod
    def of(fragments: Fragments) -> Pixels:
        """Of any batch."""
        height, width = fragments.face_ids.shape[-2:]
        shape = -1, height, width
        ids, depth = plain(fragments.face_ids, torch.int32), plain(fragments.depth, torch.float32)
        corners = _on_cpu(fragments.barycentric, torch.float32).numpy().reshape(*shape, 3)
        planes = np.ascontiguousarray(corners.transpose(0, 3, 1, 2)).reshape(-1, 3 * height * width)
        return Pixels(ids.reshape(shape), planes, depth.reshape(shape), is_rest(fragments.barycentric))


def points_of(points: Float[Tensor, "*#batch V 3"], pictures: int) -> Float[np.ndarray, "B V 3"]:
    """Points for every picture, float32."""
    corners = _on_cpu(points, torch.float32).contiguous().reshape(-1, *points.shape[-2:])
    return corners.expand(pictures, -1, -1).numpy()


def plain(values: Tensor, dtype: torch.dtype) -> np.ndarray:
    """Contiguous, of the kind that is wanted; a view where it is so already."""
    return _on_cpu(values, dtype).contiguous().numpy()


def _on_cpu(values: Tensor, dtype: torch.dtype) -> Tensor:
    # To ask takes less than to convert nothing.
    values = values.detach()
    return values if values.dtype == dtype and values.device.type == "cpu" else values.to("cpu", dtype)
