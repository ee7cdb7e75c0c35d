"""The built-in head as a folder of files in the official formats, for programs that know only these."""

from __future__ import annotations

import json
import textwrap
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from flamehead._atomic import atomic_folder
from flamehead._types import StrPath
from flamehead.assets import LandmarkEmbedding
from flamehead.assets.write_embeddings import (
    write_dynamic_embedding,
    write_landmark_embedding,
    write_mediapipe_embedding,
    write_static_embedding,
)
from flamehead.assets.write_masks import write_masks
from flamehead.assets.write_model import write_model
from flamehead.assets.write_templates import write_offsets, write_template
from flamehead.assets.write_textures import write_albedo_space, write_texels, write_texture_space, write_uv_masks
from flamehead.builtin.albedo import to_srgb
from flamehead.builtin.head import BuiltinHead, builtin_head
from flamehead.builtin.uv_masks import find_texels, uv_masks
from flamehead.errors import FlameheadError, InputError

if TYPE_CHECKING:
    from flamehead.builtin.albedo_space import BuiltinAlbedo

__all__ = ["EXPORTED", "export_builtin"]

EXPORTED = (
    "README.txt",
    "generic_model.pkl",
    "components.json",
    "FLAME_masks.pkl",
    "landmark_embedding.npy",
    "landmark_embedding_with_eyes.npy",
    "flame_static_embedding.pkl",
    "flame_dynamic_embedding.npy",
    "mediapipe_landmark_embedding.npz",
    "head_template.obj",
    "head_template_mesh.obj",
    "l_eyelid.npy",
    "r_eyelid.npy",
    "FLAME_texture.npz",
    "albedoModel2020_FLAME_albedoPart.npz",
    "uv_masks.npz",
    "texture_data_256.npy",
    "texture_data_512.npy",
)
"""Names of the files that an export consists of."""
_MARK = "The built-in head of flamehead"
"""How the README of an export begins."""
_MASK_SIZE = 2048
_TEXEL_SIZES = (256, 512)
_EYE_CENTERS = [468, 473]
"""Front of the right and of the left eyeball among the 478 points."""


def export_builtin(
    folder: StrPath, *, overwrite: bool = False, head: BuiltinHead | None = None, albedo: BuiltinAlbedo | None = None
) -> tuple[Path, ...]:
    """Write the built-in head like a folder of official FLAME files, all of them or none.

    Reading the files back gives the same head: vertices within 1e-6 m for any parameters. README.txt in the folder
    states the licence and what means the same as in FLAME.

    Args:
        folder: where to; it need not exist. Other files in it stay.
        overwrite: replace the files of an earlier export. Files that are not of an export are never replaced: they
            may be licensed and hard to come by.
        head: instead of the built-in head.
        albedo: instead of the built-in albedo.

    Returns:
        The files, `EXPORTED` in order.

    Raises:
        InputError: the folder holds files of these names, or cannot be written, or the disk is full.
    """
    target = Path(folder)
    _check_free(target, overwrite=overwrite)
    head, albedo = head or builtin_head(), albedo or _albedo()
    try:
        with atomic_folder(target) as stage:
            _write_geometry(stage, head)
            _write_landmarks(stage, head)
            _write_textures(stage, head, albedo)
            (stage / "README.txt").write_text(_readme(head), encoding="utf-8", newline="\n")
            names = {"shape": head.shape_names, "expression": head.expression_names, "albedo": albedo.names}
            (stage / "components.json").write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8", newline="\n")
    except FlameheadError:
        raise
    except OSError as error:
        raise InputError(
            f"Cannot write the built-in head into {target} ({error.strerror or error}); it needs about 200 MB, so free "
            "some space or name another folder."
        ) from error
    return tuple(target / name for name in EXPORTED)


def _albedo() -> BuiltinAlbedo:
    # Imported here: it takes seconds to make, and a caller may bring another.
    from flamehead.builtin.albedo_space import builtin_albedo

    return builtin_albedo()


def _check_free(target: Path, *, overwrite: bool) -> None:
    """Refuse to replace what is not ours, or ours without being asked to."""
    try:
        taken = [name for name in EXPORTED if (target / name).exists()]
        ours = (target / "README.txt").is_file() and (target / "README.txt").read_bytes().startswith(_MARK.encode())
    except OSError as error:
        raise InputError(
            f"Cannot look into {target} ({error.strerror or error}); name a folder you may read and write."
        ) from error
    if taken and not ours:
        raise InputError(f"{target} holds {taken[0]}, which this command did not write; name another folder.")
    if taken and not overwrite:
        raise InputError(f"{target} already holds an export; add --overwrite to replace it, or name another folder.")


def _write_geometry(stage: Path, head: BuiltinHead) -> None:
    arrays = head.arrays
    write_model(stage / "generic_model.pkl", arrays)
    write_masks(stage / "FLAME_masks.pkl", head.regions)
    write_template(stage / "head_template.obj", arrays.template, arrays.faces)
    layout = {"uv": head.uv, "uv_faces": head.uv_faces}
    write_template(stage / "head_template_mesh.obj", arrays.template, arrays.faces, **layout)
    for side, offsets in zip("lr", head.eyelids, strict=True):
        write_offsets(stage / f"{side}_eyelid.npy", offsets)


def _write_landmarks(stage: Path, head: BuiltinHead) -> None:
    ibug68, points = head.embeddings["ibug68"], head.embeddings["mediapipe478"]
    contour = head.contour_faces, head.contour_barycentric
    eyes = LandmarkEmbedding(points.face_ids[_EYE_CENTERS], points.barycentric[_EYE_CENTERS])
    write_landmark_embedding(stage / "landmark_embedding.npy", ibug68, *contour)
    write_landmark_embedding(stage / "landmark_embedding_with_eyes.npy", ibug68, *contour, eyes=eyes)
    write_static_embedding(stage / "flame_static_embedding.pkl", ibug68)
    write_dynamic_embedding(stage / "flame_dynamic_embedding.npy", *contour)
    write_mediapipe_embedding(stage / "mediapipe_landmark_embedding.npz", head.embeddings["mediapipe105"])


def _write_textures(stage: Path, head: BuiltinHead, albedo: BuiltinAlbedo) -> None:
    layout = {"uv": head.uv, "uv_faces": head.uv_faces}
    mean, basis = _display_space(albedo.mean_diffuse, albedo.diffuse_basis)
    write_texture_space(stage / "FLAME_texture.npz", mean, basis, **layout, names=albedo.names)
    write_albedo_space(
        stage / "albedoModel2020_FLAME_albedoPart.npz",
        (albedo.mean_diffuse, albedo.diffuse_basis),
        (albedo.mean_specular, albedo.specular_basis),
        **layout,
        names=albedo.names,
    )
    arrays = head.arrays
    found = find_texels(head.uv, head.uv_faces, _MASK_SIZE)
    write_uv_masks(stage / "uv_masks.npz", uv_masks(found, arrays.template, arrays.faces, head.regions, head.part))
    for size in _TEXEL_SIZES:
        found = find_texels(head.uv, head.uv_faces, size)
        path = stage / f"texture_data_{size}.npy"
        write_texels(path, found.face_ids, found.barycentric, faces=arrays.faces, **layout)


def _display_space(
    mean: Float[np.ndarray, "H W 3"], basis: Float[np.ndarray, "H W 3 K"]
) -> tuple[Float[np.ndarray, "H W 3"], Float[np.ndarray, "H W 3 K"]]:
    """A linear colour space as one of sRGB values: a component's effect is its central difference at one sigma."""
    out = np.empty(basis.shape, dtype=np.float32)
    for k in range(basis.shape[-1]):
        out[..., k] = 0.5 * (to_srgb(mean + basis[..., k]) - to_srgb(mean - basis[..., k]))
    return to_srgb(mean), out


def _readme(head: BuiltinHead) -> str:
    text = resources.files("flamehead.builtin").joinpath("export_readme.txt").read_text(encoding="utf-8")
    border = np.sort(head.arrays.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, uses = np.unique(border, axis=0, return_counts=True)
    facts = {
        "MARK": _MARK,
        "FINGERPRINT": head.arrays.fingerprint,
        "UV_COUNT": str(len(head.uv)),
        "NECK_RING": str(len(np.unique(edges[uses == 1]))),
        "REGIONS": textwrap.fill(", ".join(sorted(head.regions)), 110, subsequent_indent="    "),
    }
    for name, fact in facts.items():
        text = text.replace(f"{{{name}}}", fact)
    return text
