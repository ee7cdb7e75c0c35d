"""A linear space of skin, hair and eye colours for the built-in head, in its UV layout.

    diffuse = mean_diffuse + diffuse_basis c,   specular = mean_specular + specular_basis c,   c ~ N(0, 1)

in linear RGB with the same c, as in the public albedo morphable models for FLAME. The components come from our own
paint, not from people: each is the change of the painted texture when one trait of the look, or one smooth field of
the pigments, moves by one standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from flamehead.builtin._cache import cache_path, cached
from flamehead.builtin.albedo import Look, Paint, to_srgb
from flamehead.builtin.fields import parity_functions
from flamehead.builtin.head import builtin_head
from flamehead.builtin.sampling import HEAD_VERTICES
from flamehead.builtin.texture import nearest_rows, texel_table, texels_on_head
from flamehead.errors import InputError

__all__ = ["BuiltinAlbedo", "albedo_tables", "builtin_albedo", "decode"]

SIZE = 512
_FIELD_REACH = 5.0
"""Of the smooth colour fields, cm."""
_FIELDS = (
    ("even", 1, 0.050, 0.000),
    ("even", 2, 0.000, 0.045),
    ("even", 3, 0.035, 0.020),
    ("even", 4, -0.030, 0.030),
    ("odd", 0, 0.025, 0.000),
    ("odd", 1, 0.000, 0.030),
)
"""Smooth colour fields: mirror parity, number, standard deviation of melanin and of blood."""


@dataclass(frozen=True)
class BuiltinAlbedo:
    """Mean and components of the albedo; textures have row 0 at the top (v = 1)."""

    mean_diffuse: Float[np.ndarray, "512 512 3"]
    """Linear RGB, float32 like the rest."""
    mean_specular: Float[np.ndarray, "512 512 3"]
    diffuse_basis: Float[np.ndarray, "512 512 3 K"]
    """Per standard deviation."""
    specular_basis: Float[np.ndarray, "512 512 3 K"]
    """Grey: red, green and blue share one memory, so it cannot be written to."""
    names: tuple[str, ...]
    uv: Float[np.ndarray, "T 2"]
    uv_faces: Int[np.ndarray, "9976 3"]


@cache
def builtin_albedo() -> BuiltinAlbedo:
    """The albedo space of the built-in head; built at the first call on a machine, then read from the user's cache."""
    return from_tables(cached(cache_path("builtin_albedo"), _build))


def _build() -> dict[str, np.ndarray]:
    head = builtin_head()
    outlines = dict(head.outlines)
    paint = Paint(outlines, outlines.pop("eye")[0])
    faces = head.arrays.faces.astype(np.int64)
    # A triangle between skin and a pocket belongs to the pocket: the largest part of its corners.
    return albedo_tables(100.0 * head.arrays.template, faces, head.part[faces].max(1), head.uv, head.uv_faces, paint)


def decode(albedo: BuiltinAlbedo, coefficients: Float[np.ndarray, "k"]) -> Float[np.ndarray, "512 512 3"]:
    """Diffuse texture as sRGB in [0, 1].

    Args:
        albedo: the space.
        coefficients: of the first k components, in standard deviations.

    Example:
        >>> albedo = builtin_albedo()  # doctest: +SKIP
        >>> pale = decode(albedo, [2.0])  # doctest: +SKIP
    """
    c = np.asarray(coefficients, dtype=np.float32).ravel()
    if len(c) > len(albedo.names):
        raise InputError(
            f"There are {len(c)} albedo coefficients but only {len(albedo.names)} components; leave out the last ones."
        )
    linear = albedo.mean_diffuse.copy()
    for k in np.flatnonzero(c):
        linear += c[k] * albedo.diffuse_basis[..., k]
    return to_srgb(linear).astype(np.float32)


def albedo_tables(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    part_of_face: Int[np.ndarray, "F"],
    uv: Float[np.ndarray, "T 2"],
    uv_faces: Int[np.ndarray, "F 3"],
    paint: Paint,
) -> dict[str, np.ndarray]:
    """Everything that the cache keeps: bases in half precision, components first, specular with one channel.

    Args:
        vertices: of the neutral head, cm.
        faces: triangles.
        part_of_face: as `Paint` wants it.
        uv: texture coordinates.
        uv_faces: rows of `uv` for each triangle.
        paint: what to bake.
    """
    table = texel_table(uv, uv_faces, SIZE)
    rest, part = texels_on_head(table, vertices, faces, part_of_face)
    layers = paint.layers(rest, part, with_spots=True)
    rows = nearest_rows(table.valid)
    mean, mean_specular = paint.diffuse(layers, Look()), paint.specular(layers, Look())
    looks = [(field.name, Look(**{field.name: 1.0})) for field in fields(Look)]
    smooth = _fields(vertices, faces[table.face_ids[part == 0]], table.barycentric[part == 0])
    diffuse = [paint.diffuse(layers, look) - mean for _, look in looks]
    diffuse += [paint.diffuse(layers, Look(), melanin=melanin, blood=blood) - mean for melanin, blood in smooth]
    specular = [paint.specular(layers, look) - mean_specular for _, look in looks]
    specular += [np.zeros_like(mean_specular)] * len(smooth)
    names = [name for name, _ in looks] + [f"field_{k + 1}" for k in range(len(smooth))]
    return {
        "mean_diffuse": mean[rows],
        "mean_specular": mean_specular[rows],
        "diffuse_basis": np.stack([change.astype(np.float16)[rows] for change in diffuse]),
        "specular_basis": np.stack([change.astype(np.float16)[rows] for change in specular]),
        "names": np.array(names),
        "uv": uv,
        "uv_faces": uv_faces,
    }


def from_tables(tables: Mapping[str, np.ndarray]) -> BuiltinAlbedo:
    """The albedo space from what `albedo_tables` returned."""
    specular = tables["specular_basis"].astype(np.float32)[:, :, :, None]
    return BuiltinAlbedo(
        mean_diffuse=tables["mean_diffuse"],
        mean_specular=np.repeat(tables["mean_specular"][..., None], 3, axis=-1),
        diffuse_basis=np.moveaxis(tables["diffuse_basis"].astype(np.float32), 0, -1),
        specular_basis=np.moveaxis(np.broadcast_to(specular, (*specular.shape[:3], 3)), 0, -1),
        names=tuple(tables["names"].tolist()),
        uv=tables["uv"],
        uv_faces=tables["uv_faces"],
    )


def _fields(
    vertices: Float[np.ndarray, "V 3"], corners: Int[np.ndarray, "S 3"], weights: Float[np.ndarray, "S 3"]
) -> list[tuple[Float[np.ndarray, "S"], Float[np.ndarray, "S"]]]:
    """Melanin and blood of each smooth field at the skin's texels: eigenfunctions of a Gaussian process on the head."""
    points = vertices[:HEAD_VERTICES]
    samples = np.arange(0, HEAD_VERTICES, 10)
    near, far = (
        np.exp(-0.5 * cdist(points, points[samples] * [sign, 1.0, 1.0], "sqeuclidean") / _FIELD_REACH**2)
        for sign in (1.0, -1.0)
    )
    functions = parity_functions(near, far, samples, 6, left=points[:, 0] >= 0.0)
    out = []
    for parity, number, melanin, blood in _FIELDS:
        values = functions[1 if parity == "even" else -1][:, number]
        at = np.einsum("nk,nk->n", weights, (values / values.std())[corners]).astype(np.float32)
        out.append((melanin * at, blood * at))
    return out
