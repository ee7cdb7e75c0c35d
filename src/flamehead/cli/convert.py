"""`flamehead convert`: other face models to FLAME."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from flamehead.cli._usage import UsageError
from flamehead.errors import AssetNotFound, InputError

if TYPE_CHECKING:
    import numpy as np

    from flamehead.assets import BfmModel
    from flamehead.fit import BfmConverter, BfmFit
    from flamehead.model import Flame

__all__ = ["Bfm", "BfmColors", "Convert"]

_CORRESPONDENCE, _TEXELS = "BFM_to_FLAME_corr.npz", "cached_data.npy"
_SHAPES, _EXPRESSIONS = ("shape", "alpha", "id", "id_coeff"), ("expression", "delta", "exp", "exp_coeff")
_VERTICES = ("vertices", "verts", "v")
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]


@dataclass(frozen=True)
class Bfm:
    """Fit FLAME heads to meshes of the Basel Face Model (2009, 2009 cropped, 2017), or to its coefficients.

    Per input: NAME.obj, the FLAME mesh in the input's own frame and unit; NAME.npz, its parameters and the scale.
    """

    inputs: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="INPUT ...")]]
    """Meshes (obj, ply, stl, npy or npz with `vertices`), or coefficient vectors (npy, npz or json; with --bfm)."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR", aliases=["-o"])]
    """Folder for the results."""
    model: File = None
    """The FLAME model; the built-in head has another mesh and will not do with the official correspondence."""
    correspondence: File = None
    """BFM_to_FLAME_corr.npz; by default sought in $FLAMEHEAD_ASSETS and the data folder."""
    bfm: File = None
    """01_MorphableModel.mat or model2017-1_bfm_nomouth.h5, for coefficient vectors."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        import numpy as np

        if not self.inputs:
            raise UsageError("No input was given; the usage is: flamehead convert bfm MESH... --out DIR --model FILE")
        names = _names(self.inputs)

        from flamehead.assets import read_bfm, read_bfm_correspondence
        from flamehead.model import load_flame

        correspondence = read_bfm_correspondence(_sought(self.correspondence, _CORRESPONDENCE, "--correspondence"))
        flame = load_flame(self.model)
        basel = None if self.bfm is None else read_bfm(self.bfm)
        _make(self.out)
        converters: dict[str, BfmConverter] = {}
        failed: list[tuple[Path, str]] = []
        for path, name in zip(self.inputs, names, strict=True):
            try:
                vertices, n_faces = _read(path, basel)
                fit = _convert(vertices, n_faces, correspondence, flame, converters)
                _write(self.out / name, fit, flame)
            except InputError as error:
                failed.append((path, str(error)))
                continue
            if not self.quiet:
                millimetres = 1000.0 * float(np.median(fit.errors))
                print(
                    f"{path.name}: median distance {millimetres:.2f} mm, scale {fit.scale:.6g} -> {self.out / name}.obj"
                )
        return _outcome(failed, len(names))


@dataclass(frozen=True)
class BfmColors:
    """Turn the colours of the Basel Face Model 2017 into a texture space of FLAME, as FLAME_albedo_from_BFM.npz."""

    to: Path
    """The file to write, ending in .npz; 1.26 GB."""
    bfm: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """model2017-1_bfm_nomouth.h5."""
    texels: File = None
    """cached_data.npy; by default sought in $FLAMEHEAD_ASSETS and the data folder."""
    inpainting: File = None
    """mask_inpainting.npz, for the texels that the Basel Face Model does not cover; they are black without it."""
    overwrite: bool = False
    """Replace the file if it exists."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        if self.to.exists() and not self.overwrite:
            raise InputError(f"{self.to} exists already; name another file or pass --overwrite.")
        from flamehead.assets import BfmTexels, InpaintingSpace, open_asset, read_bfm
        from flamehead.fit import convert_bfm_colors

        source = _sought(self.texels, _TEXELS, "--texels")
        texels = open_asset(source)
        if not isinstance(texels, BfmTexels):
            raise InputError(f"{source} is no table of Basel texels; give {_TEXELS} of BFM_to_FLAME.")
        inpainting = None if self.inpainting is None else open_asset(self.inpainting)
        if inpainting is not None and not isinstance(inpainting, InpaintingSpace):
            raise InputError(f"{self.inpainting} is no inpainting space; give mask_inpainting.npz.")
        convert_bfm_colors(self.to, read_bfm(self.bfm), texels, inpainting=inpainting)
        if not self.quiet:
            print(f"Wrote {self.to}, {self.to.stat().st_size / 1e6:.0f} MB. The licence of the Basel Face Model holds.")
        return 0


@dataclass(frozen=True)
class Convert:
    """Turn other face models' meshes, coefficients and colours into FLAME's."""

    command: Annotated[Bfm, tyro.conf.subcommand("bfm")] | Annotated[BfmColors, tyro.conf.subcommand("bfm-colors")]

    @property
    def quiet(self) -> bool:
        return self.command.quiet

    def run(self) -> int:
        return self.command.run()


def _sought(path: Path | None, name: str, option: str) -> Path:
    """The file that was named, or the one of the usual name in the folders where assets are looked for."""
    if path is not None:
        return path
    from flamehead.assets import asset_folders

    found = next((folder / name for folder in asset_folders() if (folder / name).is_file()), None)
    if found is None:
        raise AssetNotFound(f"{name} is not in the asset folders; get it with BFM_to_FLAME and name it with {option}.")
    return found


def _names(inputs: tuple[Path, ...]) -> list[str]:
    names = [path.stem for path in inputs]
    twice = next((name for name in names if sum(n.casefold() == name.casefold() for n in names) > 1), None)
    if twice is not None:
        raise InputError(f"Several inputs are named {twice}, and their results would be, too; convert them one by one.")
    return names


def _read(path: Path, basel: BfmModel | None) -> tuple[np.ndarray, int | None]:
    """Vertices of a Basel mesh, and the number of its triangles where the file says it."""
    import numpy as np

    if path.suffix.lower() not in (".npy", ".npz", ".json"):
        from flamehead.io import read_mesh

        mesh = read_mesh(path)
        return mesh.vertices, len(mesh.faces) or None
    arrays = _arrays(path)
    only = arrays.get("", np.empty(0))
    vertices = next((arrays[name] for name in _VERTICES if name in arrays), only if only.ndim == 2 else None)
    if vertices is not None and vertices.shape[-1:] == (3,):
        return vertices, None
    shape = next((arrays[name] for name in _SHAPES if name in arrays), only if only.size else None)
    if shape is None:
        raise InputError(f"{path} holds neither 'vertices' nor 'shape' coefficients; rename what it holds.")
    if basel is None:
        raise InputError(f"{path} holds coefficients; name the Basel Face Model that they belong to with --bfm.")
    from flamehead.fit import bfm_vertices

    expression = next((arrays[name] for name in _EXPRESSIONS if name in arrays), None)
    return bfm_vertices(basel, shape, expression), len(basel.faces)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The numbers in a file; a single array has no name. Nothing is unpickled."""
    import numpy as np

    try:
        if path.suffix.lower() == ".json":
            content: Any = json.loads(path.read_text(encoding="utf-8-sig"))
        else:
            content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray | list):
            content = {"": content}
        return {str(name): np.asarray(content[name], dtype=np.float64) for name in content}
    except Exception as error:
        raise InputError(
            f"Cannot read {path} as numbers ({type(error).__name__}); save it again with NumPy."
        ) from error


def _convert(
    vertices: np.ndarray, n_faces: int | None, correspondence: Any, flame: Flame, converters: dict[str, BfmConverter]
) -> BfmFit:
    """Fit, with what is made ready once for each kind of Basel mesh."""
    from flamehead.fit import convert_bfm, prepare_bfm, recognize_bfm

    name = recognize_bfm(correspondence, n_vertices=len(vertices), n_faces=n_faces)
    if name not in converters:
        converters[name] = prepare_bfm(correspondence, name, flame)
    return convert_bfm(vertices, converters[name])


def _write(stem: Path, fit: BfmFit, flame: Flame) -> None:
    import numpy as np

    from flamehead.data import FlameParams
    from flamehead.io import atomic_path, write_obj

    write_obj(stem.with_name(f"{stem.name}.obj"), fit.vertices, flame.faces)
    arrays: dict[str, Any] = {field.name: getattr(fit.params, field.name).numpy() for field in fields(FlameParams)}
    arrays |= {
        "scale": np.array(fit.scale),
        "fingerprint": np.array(flame.fingerprint),
        "model_source": np.array(str(flame.arrays.source)),
        "status": np.array(str(fit.status)),
    }
    with atomic_path(stem.with_name(f"{stem.name}.npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"Cannot write into {folder} ({reason}); name a folder you may write to with --out."
        ) from error


def _outcome(failed: list[tuple[Path, str]], count: int) -> int:
    if failed and count == 1:
        raise InputError(failed[0][1])
    for path, sentence in failed:
        named = "" if str(path) in sentence else f"{path}: "
        print(f"flamehead: {named}{sentence}", file=sys.stderr)
    if failed:
        print(f"flamehead: {len(failed)} of {count} inputs could not be converted, see above.", file=sys.stderr)
    return 1 if failed else 0
