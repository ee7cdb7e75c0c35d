"""What a rasterizer hands back, and how to read values off it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from flamehead.errors import InputError

__all__ = ["Fragments", "gather"]


@dataclass(frozen=True)
class Fragments:
    """The nearest triangle at every pixel centre.

    What is changed is changed through torch: the drawing functions do not notice writes through numpy.
    """

    face_ids: Int[Tensor, "*batch H W"]
    """int32 row of `faces`; -1 is background."""
    barycentric: Float[Tensor, "*batch H W 3"]
    """float32, perspective-correct, at least 0, rows sum to 1; 0 in the background. May be a view of three planes."""
    depth: Float[Tensor, "*batch H W"]
    """float32 view depth z in the unit of the input; +inf in the background."""

    @property
    def covered(self) -> Bool[Tensor, "*batch H W"]:
        """Where a triangle is seen."""
        return self.face_ids >= 0


def gather(
    attributes: Float[Tensor, "V C"],
    faces: Int[Tensor, "F 3"],
    face_ids: Int[Tensor, "N"],
    barycentric: Float[Tensor, "N 3"],
) -> Float[Tensor, "N C"]:
    """Values at a list of surface points: `sum_k barycentric[n, k] * attributes[faces[face_ids[n], k]]`.

    Differentiable with respect to `attributes`; where no gradient is asked for, float32 on the CPU is compiled.

    Raises:
        InputError: Shapes that do not fit together, or faces or vertices that are not there.
    """
    _check(attributes, faces, face_ids, barycentric)
    wants_gradient = attributes.requires_grad and torch.is_grad_enabled()
    if attributes.device.type == "cpu" and attributes.dtype == torch.float32 and not wants_gradient:
        # Imported here: numba costs a second, and nothing else in this file needs it.
        from flamehead.raster._cpu.rasterize import gather as gather_cpu

        plain = attributes.detach().contiguous(), faces.int().contiguous()
        return gather_cpu(*plain, face_ids.int().contiguous(), barycentric.float().contiguous())
    weights = barycentric.to(attributes.dtype)
    corners = faces.long()[face_ids.long()]
    first, second, third = (weights[:, k, None] * attributes[corners[:, k]] for k in range(3))
    return first + second + third


def _check(attributes: Tensor, faces: Tensor, face_ids: Tensor, barycentric: Tensor) -> None:
    # Compiled code would read foreign memory.
    shapes = attributes.ndim == 2 and faces.ndim == 2 and faces.shape[1] == 3 and face_ids.ndim == 1
    if not shapes or barycentric.shape != (len(face_ids), 3):
        raise InputError(
            "gather() needs attributes (V, C), faces (F, 3), face_ids (N,) and barycentrics (N, 3), got "
            f"{tuple(attributes.shape)}, {tuple(faces.shape)}, {tuple(face_ids.shape)} and {tuple(barycentric.shape)}."
        )
    for what, rows in (("faces", faces), ("face_ids", face_ids)):
        if rows.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
            raise InputError(f"{what} must be whole numbers, got {rows.dtype}; call `.long()`.")
    for what, rows, count in (("faces", faces, len(attributes)), ("face_ids", face_ids, len(faces))):
        low, high = map(int, rows.aminmax()) if rows.numel() else (0, -1)
        if low < 0 or high >= count:
            raise InputError(
                f"{what} hold rows {low} to {high}, but there are {count} rows from 0 on; "
                "values, faces and fragments must belong to one mesh."
            )
