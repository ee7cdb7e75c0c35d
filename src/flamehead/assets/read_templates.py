"""Template meshes: OBJ in every dialect that FLAME's files come in."""

from __future__ import annotations

import re

import numpy as np

from flamehead._types import StrPath
from flamehead.assets.kinds import Template
from flamehead.assets.safe_pickle import read_bytes
from flamehead.errors import InputError

__all__ = ["is_obj", "parse_template", "read_template"]

_MOST_BYTES = 2**24
_MOST_LINES = 400_000
_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:#|v[ \t]|vt[ \t]|vn[ \t]|mtllib\b|o[ \t]|g[ \t]|s[ \t]|usemtl\b)")
_AGAIN = "download it again or export it as triangles"


def is_obj(start: bytes) -> bool:
    """Whether a file that begins like this may be an OBJ mesh."""
    return _START.match(start) is not None


def read_template(path: StrPath) -> Template:
    """A triangle mesh with or without UV coordinates, in the order of the file.

    Line ends may be LF or CRLF; corners `v`, `v/vt`, `v/vt/vn` or `v//vn`, counted from the start or,
    negative, from the end of what was listed so far. Normals, materials, groups and comments are passed over.

    Raises:
        AssetNotFound: there is no such file.
        InputError: it is damaged, no OBJ mesh, or not made of triangles; the message names the line.
    """
    return parse_template(read_bytes(path, most=_MOST_BYTES), str(path))


def parse_template(data: bytes, name: str) -> Template:
    """Like `read_template`, for bytes in memory; `name` is used in messages."""
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    faces: list[list[int]] = []
    uv_faces: list[list[int]] = []
    # A backslash at the end of a line continues it.
    lines = data.removeprefix(b"\xef\xbb\xbf").replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines()
    if len(lines) > _MOST_LINES:
        raise InputError(f"{name} has {len(lines)} lines, wanted at most {_MOST_LINES} in a template; pass a template.")
    for number, line in enumerate(lines, 1):
        words = line.split(b"#", 1)[0].split()
        if not words or words[0] not in (b"v", b"vt", b"f"):
            continue
        try:
            if words[0] == b"v":
                vertices.append([float(word) for word in words[1:4]])
            elif words[0] == b"vt":
                uv.append([float(word) for word in words[1:3]])
            else:
                corners = [word.split(b"/") for word in words[1:]]
                faces.append([_index(corner[0], len(vertices)) for corner in corners])
                uv_faces.append([_index(corner[1], len(uv)) for corner in corners if len(corner) > 1 and corner[1]])
        except ValueError as error:
            raise InputError(f"{name}: line {number} ({line[:40]!r}) is no OBJ that can be read; {_AGAIN}.") from error
    if not vertices or not faces:
        raise InputError(f"{name} has {len(vertices)} vertices and {len(faces)} triangles, so it is no mesh; {_AGAIN}.")
    corners_without_uv = sum(len(row) != 3 for row in uv_faces)
    has_uv = bool(uv) and corners_without_uv == 0
    return Template(
        _table(vertices, 3, "v", name),
        _ids(faces, len(vertices), "f", name),
        _table(uv, 2, "vt", name) if has_uv else None,
        _ids(uv_faces, len(uv), "f (UV)", name) if has_uv else None,
    )


def _index(word: bytes, count: int) -> int:
    """From 0, whichever way the file counts."""
    value = int(word)
    if value == 0:
        raise ValueError("OBJ counts from 1")
    return value - 1 if value > 0 else count + value


def _table(rows: list[list[float]], columns: int, key: str, name: str) -> np.ndarray:
    if any(len(row) != columns for row in rows):
        raise InputError(f"{name}: a {key!r} line has too few numbers, wanted {columns}; {_AGAIN}.")
    table = np.array(rows, dtype=np.float64)
    if not np.isfinite(table).all():
        raise InputError(f"{name}: {key!r} has values that are not finite, wanted finite numbers; {_AGAIN}.")
    return table


def _ids(rows: list[list[int]], count: int, key: str, name: str) -> np.ndarray:
    if (sizes := {len(row) for row in rows}) != {3}:
        raise InputError(f"{name}: {key!r} has polygons of {sorted(sizes)[:4]} corners, wanted triangles; {_AGAIN}.")
    # Compared as Python's numbers first: a file may name an id beyond 64 bits.
    low, high = min(map(min, rows)), max(map(max, rows))
    if low < 0 or high >= count:
        raise InputError(f"{name}: {key!r} has ids {str(low)[:20]}..{str(high)[:20]}, wanted 0..{count - 1}; {_AGAIN}.")
    return np.array(rows, dtype=np.int64)
