"""The faces of a mesh as compiled kernels read them, worked out once for as long as their tensor lives."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["WHOLE", "Triangles", "is_list", "triangles_of"]


@dataclass(frozen=True, eq=False)
class Triangles:
    """A list of triangles that nobody writes to; compared by identity, so that more can be kept for each."""

    rows: Int[np.ndarray, "F 3"]
    """int32, contiguous."""
    least: int
    most: int
    """The lowest and the highest row that is named; 0 and -1 where there are no triangles."""

    def names_only(self, count: int) -> bool:
        """Whether all rows are from 0 on and below `count`."""
        return self.least >= 0 and self.most < count


_KNOWN: dict[int, tuple[weakref.ref[Tensor], Triangles]] = {}
"""By identity of the tensor; entries leave with it."""


WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def is_list(faces: Tensor) -> bool:
    """Whether it could be a list of triangles: whole numbers (F, 3)."""
    return faces.ndim == 2 and faces.shape[1] == 3 and faces.dtype in WHOLE


def triangles_of(faces: Int[Tensor, "F 3"]) -> Triangles:
    """The same for a tensor on the CPU, of whole numbers; what is in the tensor is compared every time.

    Writes through numpy do not count as changes of a tensor, and to look takes a few microseconds.
    """
    table = faces.numpy()
    if table.dtype.itemsize < 4 or not table.flags.c_contiguous:
        table = np.ascontiguousarray(table, dtype=np.int32 if table.dtype.itemsize < 4 else None)
    known = _KNOWN.get(id(faces))
    if known is not None and known[0]() is faces:
        # Imported here: numba costs a second, and whoever looks at a list once only does not need it.
        from flamehead._cpu_triangles import same

        if same(table, known[1].rows):
            return known[1]
    least, most = (int(table.min()), int(table.max())) if table.size else (0, -1)
    found = Triangles(table.astype(np.int32), least, most)
    key = id(faces)
    _KNOWN[key] = weakref.ref(faces, lambda _: _KNOWN.pop(key, None)), found
    return found
