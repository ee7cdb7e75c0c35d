"""What `pose` and `render` share: the model, the parameters of a file, and what lies on the surface."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flamehead.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from flamehead.cli._usage import FlameVariant
    from flamehead.data import FlameParams
    from flamehead.io import SavedFit, UvMap
    from flamehead.model import Flame

__all__ = ["Layout", "load_texture", "open_flame", "open_saved", "uv_layout", "widened"]


@dataclass(frozen=True)
class Layout:
    """UV coordinates of a model, v up."""

    uv: np.ndarray
    faces: np.ndarray


def open_flame(model: Path | None, *, variant: FlameVariant = "unknown", quiet: bool = True) -> Flame:
    """The built-in head, or a model by its path or by its bare name in the folders where assets are looked for."""
    from flamehead.assets import asset_folders
    from flamehead.builtin import cache_file
    from flamehead.model import load_flame

    if model is not None and not model.exists() and model.name == str(model):
        model = next((folder / model for folder in asset_folders() if (folder / model).is_file()), model)
    if model is None and not quiet and not cache_file().is_file():
        print("First run on this machine: building the built-in head ...", flush=True)
    return load_flame(model, variant=variant)


def open_saved(path: Path, flame: Flame) -> SavedFit:
    """A saved fit that belongs to the model, or the heads of a track where a folder or a VHAP npz is named."""
    from flamehead.formats import check_fingerprint, is_track, open_track
    from flamehead.io import SavedFit, is_track_file, load_params

    if is_track(path) and not is_track_file(path):
        track = open_track(path, flame)
        said = " ".join((f"{len(track)} frames of {path}.", *track.warnings))
        return SavedFit(track.params, track.camera, track.fingerprint, flame.arrays.source, said, format_version=2)
    saved = load_params(path)
    try:
        check_fingerprint(saved, flame)
    except InputError as error:
        source = f" ({saved.model_source})" if saved.model_source else ""
        raise InputError(
            f"The parameters in {path} belong to the model {saved.fingerprint}{source}, but {flame.arrays.source} is "
            f"{flame.fingerprint}; name theirs with --model."
        ) from error
    return saved


def widened(params: FlameParams, flame: Flame) -> FlameParams:
    """The parameters in the model's dtype, with as many coefficients as it has."""
    from dataclasses import replace

    import torch

    params = params.to(dtype=flame.template.dtype)
    for name, width in (("shape", flame.n_shape), ("expression", flame.n_expression)):
        value = getattr(params, name)
        if value.shape[-1] > width:
            raise InputError(
                f"The parameters have {value.shape[-1]} {name} coefficients, but {flame.arrays.source} has {width}; "
                "name the model they were made with by --model."
            )
        params = replace(params, **{name: torch.nn.functional.pad(value, (0, width - value.shape[-1]))})
    return params


def uv_layout(flame: Flame, uv: Path | None) -> Layout | None:
    """The model's UV layout: of the OBJ file that is given, or of the built-in head."""
    import numpy as np

    from flamehead.builtin import builtin_head
    from flamehead.model import is_builtin

    if uv is not None:
        from flamehead.assets import read_template

        template = read_template(uv)
        if template.uv is None or template.uv_faces is None:
            raise InputError(f"The mesh {uv} has no texture coordinates; give an OBJ file with `vt` lines.")
        if not np.array_equal(template.faces, flame.faces.cpu().numpy()):
            raise InputError(
                f"The mesh {uv} has other triangles than {flame.arrays.source}; give the template of this model."
            )
        return Layout(template.uv, template.uv_faces)
    if is_builtin(flame):
        head = builtin_head()
        return Layout(head.uv, head.uv_faces)
    return None


def load_texture(texture: str, flame: Flame, uv: Path | None) -> UvMap:
    """The picture that `--texture` names, on the model.

    Raises:
        InputError: There is no such picture, or no layout for it.
    """
    from flamehead.io import UvMap, read_image
    from flamehead.model import is_builtin

    if texture == "mean":
        if not is_builtin(flame):
            raise InputError("Only the built-in head has a texture of its own; give FLAME_texture.npz or a picture.")
        from flamehead.export import built_in_texture

        return built_in_texture()
    path = Path(texture)
    if path.suffix.lower() == ".npz":
        from flamehead.assets import read_texture

        if is_builtin(flame):
            raise InputError(
                f"The texture {path} is laid out for FLAME's mesh, not for the built-in head; name a FLAME file by "
                "--model, or give `mean` or a picture."
            )
        space = read_texture(path, n_components=1)
        if len(space.uv_faces) != len(flame.faces):
            raise InputError(f"The texture {path} belongs to another mesh than {flame.arrays.source}; see --model.")
        return UvMap(space.uv, space.uv_faces, space.mean)
    layout = uv_layout(flame, uv)
    if layout is None:
        raise InputError(
            f"{flame.arrays.source} has no texture coordinates for {path}; give an OBJ with them by --uv, such as "
            "head_template.obj of the FLAME site."
        )
    return UvMap(layout.uv, layout.faces, read_image(path))
