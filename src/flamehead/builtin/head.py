"""The built-in head: built by code once, then read from the user's cache. Metres from here on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from flamehead.assets import FlameArrays, LandmarkEmbedding
from flamehead.builtin._cache import cache_path, cached

__all__ = ["RECIPE", "SOURCE", "BuiltinHead", "builtin_head", "cache_file"]

RECIPE = "1"
"""Version of the recipe, and the head's fingerprint: raise it whenever parameters would mean another face."""
SOURCE = "built-in head"
"""`FlameArrays.source` of the head."""
_PARENTS = (-1, 0, 1, 1, 1)


@dataclass(frozen=True)
class BuiltinHead:
    """A head in the FLAME format that needs no licence."""

    arrays: FlameArrays
    embeddings: Mapping[str, LandmarkEmbedding]
    """By landmark scheme: ibug51, ibug68, mediapipe105, mediapipe468, mediapipe478."""
    contour_faces: Int[np.ndarray, "79 17"]
    """The jaw contour that slides with the view: one row per degree of yaw (0, +1..+39, -1..-39), its triangles."""
    contour_barycentric: Float[np.ndarray, "79 17 3"]
    regions: Mapping[str, Int[np.ndarray, "N"]]
    """Vertex ids by the names of FLAME_masks."""
    colors: Float[np.ndarray, "V 3"]
    """Painted vertex colours, sRGB in [0, 1]."""
    eyelids: Float[np.ndarray, "2 V 3"]
    """Displacements (metres) that close the left and the right eye at coefficient 1, for the unposed head."""
    uv: Float[np.ndarray, "T 2"]
    """Texture coordinates, u to the right, v up."""
    uv_faces: Int[np.ndarray, "F 3"]
    """Rows of `uv` at the corners of each triangle."""
    shape_names: tuple[str, ...]
    expression_names: tuple[str, ...]
    part: Int[np.ndarray, "V"]
    """0 skin, 1 eyeball, 2 mouth bag, 3 eye socket, 4 teeth, 5 gums."""
    outlines: Mapping[str, Float[np.ndarray, "K 3"]]
    """Outlines that the paint follows, cm."""

    def paint(self, face_ids: Int[np.ndarray, "N"], barycentric: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """Painted sRGB colour of points on the surface, finer than the vertex colours."""
        # Imported here: a head that is only posed needs neither the paint nor what it stands on.
        from flamehead.builtin.albedo import Paint, to_srgb
        from flamehead.builtin.teeth import TEETH_PART

        corners = self.arrays.faces[face_ids]
        rest = 100.0 * (self.arrays.template[corners] * barycentric[..., None]).sum(1)
        # A triangle between skin and a pocket belongs to the pocket: the largest part of its corners.
        part = self.part[corners].max(1)
        outlines = {name: line for name, line in self.outlines.items() if name != "eye"}
        out = to_srgb(Paint(outlines, self.outlines["eye"][0])(rest, part))
        return np.where((part >= TEETH_PART)[:, None], self.colors[corners[:, 0]], out)


@cache
def builtin_head() -> BuiltinHead:
    """The built-in head: 5023 vertices, 9976 triangles, 5 joints, 300 identity and 100 expression components.

    The first call on a machine builds it (several seconds) and keeps it in the user's cache folder, under a name that
    depends on the recipe's source, so that an upgrade builds anew; later calls only read the file. Without a writable
    cache folder it is built every time.
    """
    return _from_tables(cached(cache_file(), _build))


def _build() -> dict[str, np.ndarray]:
    # Imported here: the recipe needs half a second of imports, which a head from the cache does not.
    from flamehead.builtin.recipe import build_tables

    return build_tables()


def cache_file() -> Path:
    """Where the built head is kept; the file need not exist yet."""
    return cache_path("builtin_head")


def _from_tables(tables: Mapping[str, np.ndarray]) -> BuiltinHead:
    def group(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): table for name, table in tables.items() if name.startswith(prefix)}

    expression = tables["expression_basis"].astype(np.float64)
    names = tables["expression_names"].tolist()
    arrays = FlameArrays(
        template=tables["template"],
        faces=tables["faces"],
        shape_basis=tables["shape_basis"].astype(np.float64),
        expression_basis=expression,
        pose_basis=tables["pose_basis"].astype(np.float64),
        skin_weights=tables["skin_weights"],
        joint_regressor=tables["joint_regressor"],
        parents=_PARENTS,
        fingerprint=f"builtin-{RECIPE}",
        source=SOURCE,
    )
    return BuiltinHead(
        arrays=arrays,
        embeddings={
            name: LandmarkEmbedding(table[:, 0].astype(np.int64), table[:, 1:])
            for name, table in group("landmarks_").items()
        },
        contour_faces=tables["contour_faces"],
        contour_barycentric=tables["contour_barycentric"],
        regions=group("region_"),
        colors=tables["colors"],
        eyelids=np.stack([expression[..., names.index(f"blink_{side}")] for side in ("left", "right")]),
        uv=tables["uv"],
        uv_faces=tables["uv_faces"],
        shape_names=tuple(tables["shape_names"].tolist()),
        expression_names=tuple(names),
        part=tables["part"],
        outlines=group("outline_"),
    )
