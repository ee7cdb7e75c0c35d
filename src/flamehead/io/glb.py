"""The container of glTF 2.0 in one file (GLB): a JSON document and the numbers it points to.

Follows the specification, Khronos glTF 2.0: section 3.6 (buffers and accessors) and 4.4 (the binary container).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

__all__ = ["GlbBuffer", "glb_bytes", "split_seams"]

VertexData = Literal["vertices", "triangles"]
_TARGETS = {"vertices": 34962, "triangles": 34963}
_COMPONENTS = {"f4": 5126, "u4": 5125, "u2": 5123, "u1": 5121}
_SHAPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}


class GlbBuffer:
    """Collects arrays and files; every one becomes a buffer view, padded to four bytes."""

    def __init__(self) -> None:
        """Start empty."""
        self._blobs: list[bytes] = []
        self._size = 0
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, *, use: VertexData | None = None, bounds: bool = False) -> int:
        """Store an array and return the number of its accessor.

        Args:
            values: (N,), (N, 2), (N, 3), (N, 4), or (N, 4, 4) as matrices in mathematical order; float32, uint32,
                uint16 or uint8. Rows of vertex data must have a multiple of four bytes.
            use: for the mesh itself rather than for skins and animations.
            bounds: say the smallest and largest values, as positions and the times of animations must.
        """
        kind = values.dtype.str[1:]
        # Matrices are stored column by column.
        stored = np.swapaxes(values, 1, 2) if values.ndim == 3 else values
        view = self.add_file(np.ascontiguousarray(stored, dtype=f"<{kind}").tobytes())
        if use is not None:
            self._views[view]["target"] = _TARGETS[use]
        accessor: dict[str, Any] = {
            "bufferView": view,
            "componentType": _COMPONENTS[kind],
            "count": len(values),
            "type": _SHAPES[values.shape[1:]],
        }
        if bounds:
            rows = values.reshape(len(values), -1)
            accessor |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def add_file(self, data: bytes) -> int:
        """Store bytes, such as a picture, and return the number of their buffer view."""
        self._views.append({"buffer": 0, "byteOffset": self._size, "byteLength": len(data)})
        padded = data + b"\0" * (-len(data) % 4)
        self._blobs.append(padded)
        self._size += len(padded)
        return len(self._views) - 1

    def document(self) -> dict[str, Any]:
        """The parts of the JSON document that describe the buffer."""
        return {"accessors": self._accessors, "bufferViews": self._views, "buffers": [{"byteLength": self._size}]}

    def content(self) -> bytes:
        """All bytes."""
        return b"".join(self._blobs)


def glb_bytes(document: Mapping[str, Any], buffer: GlbBuffer) -> bytes:
    """A whole file: the document, completed by what describes the buffer, and the buffer."""
    text = json.dumps({**document, **buffer.document()}, separators=(",", ":"), allow_nan=False).encode("ascii")
    text += b" " * (-len(text) % 4)
    binary = buffer.content()
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(binary))
    return head + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary


def split_seams(triangles: np.ndarray, uv_faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row for each pair of vertex and uv that occurs, ordered by vertex, and the triangles in these rows.

    Returns:
        The vertex and the row of uv of each new row, and the triangles.
    """
    pairs = np.stack([triangles.reshape(-1), uv_faces.reshape(-1)], axis=1)
    rows, corners = np.unique(pairs, axis=0, return_inverse=True)
    return rows[:, 0], rows[:, 1], corners.reshape(-1, 3)
