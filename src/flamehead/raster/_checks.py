"""What every door of this room asks of its inputs; compiled code would read foreign memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from flamehead._triangles import WHOLE, Triangles, is_list, triangles_of
from flamehead.errors import InputError
from flamehead.raster._remember import extent, promised
from flamehead.raster.fragments import Fragments

__all__ = ["check_faces", "check_fragments", "check_kernel_dtype", "check_named", "check_rows", "check_size", "look_at"]


def check_faces(faces: Tensor) -> None:
    """Refuse what is no list of triangles."""
    if not isinstance(faces, Tensor):
        raise InputError(
            f"faces must be a tensor, got {type(faces).__name__}; make it one with torch.as_tensor(faces)."
        )
    if not is_list(faces):
        raise InputError(f"faces must be whole numbers of shape (F, 3), got {faces.dtype} {tuple(faces.shape)}.")


def check_fragments(fragments: Fragments) -> None:
    """Refuse fragments whose parts are of different pictures."""
    shape, dtype = fragments.face_ids.shape, fragments.face_ids.dtype
    if len(shape) < 2 or dtype not in WHOLE:
        raise InputError(f"face_ids must be whole numbers of shape (*batch, H, W), got {dtype} {tuple(shape)}.")
    if fragments.barycentric.shape != (*shape, 3) or fragments.depth.shape != shape:
        raise InputError(
            f"Fragments with face_ids of shape {tuple(shape)} need barycentrics of {(*shape, 3)} and depth of "
            f"{tuple(shape)}, got {tuple(fragments.barycentric.shape)} and {tuple(fragments.depth.shape)}; "
            "cut all three alike."
        )


def check_rows(count: int, faces: Tensor, fragments: Fragments) -> Triangles | None:
    """Refuse faces that name missing vertices, and fragments that name missing faces; the faces if on the CPU."""
    check_faces(faces)
    check_fragments(fragments)
    known = check_named("faces", faces, count)
    if not promised(fragments.face_ids, faces.shape[0]):
        _check_extent("face_ids", extent(fragments.face_ids), -1, faces.shape[0])
    return known


def check_named(what: str, faces: Tensor, count: int) -> Triangles | None:
    """Refuse a list of triangles that names missing rows; the list as kernels read it if it is on the CPU."""
    known, (low, high) = look_at(faces)
    _check_extent(what, (low, high), 0, count)
    return known


def look_at(faces: Tensor) -> tuple[Triangles | None, tuple[int, int]]:
    """A list of triangles as kernels read it, if it is on the CPU, and its lowest and highest row."""
    if faces.device.type != "cpu":
        return None, extent(faces)
    known = triangles_of(faces)
    return known, (known.least, known.most)


def _check_extent(what: str, found: tuple[int, int], least: int, end: int) -> None:
    if found[0] < least or found[1] >= end:
        raise InputError(
            f"{what} hold rows {found[0]} to {found[1]}, but there are {end} rows from 0 on; "
            "values, faces and fragments must belong to one mesh."
        )


def check_kernel_dtype(what: str, values: Tensor) -> None:
    """Refuse numbers that the compiled kernels do not know."""
    if values.dtype not in (torch.float32, torch.float64):
        raise InputError(f"The numba backend needs float32 or float64 {what}, got {values.dtype}; call `.float()`.")


def check_size(who: str, size: tuple[int, int]) -> None:
    """Refuse what is no size of a picture."""
    pair = isinstance(size, tuple | list | torch.Size) and len(size) == 2
    if not pair or not all(isinstance(side, int | np.integer) and side >= 1 for side in size):
        raise InputError(f"{who} needs a (width, height) of at least 1 whole pixel each, got {size!r}.")
