"""`flamehead pose`: numbers in, a head out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from flamehead.cli._outputs import check_file
from flamehead.cli._usage import FlameVariant, UsageError, check_variant
from flamehead.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from flamehead.data import FlameParams
    from flamehead.model import Flame

__all__ = ["Pose"]

_SUFFIXES = (".obj", ".ply", ".glb", ".npz")
Degrees = Annotated[tuple[float, ...], tyro.conf.arg(metavar="DEG ...")]
Coefficients = Annotated[tuple[float, ...], tyro.conf.arg(metavar="SD ...")]


@dataclass(frozen=True)
class Pose:
    """Pose a head by numbers and write it as a mesh or as parameters.

    Coefficients are standard deviations, angles are degrees about x (down), y (to the subject's left) and z; they
    replace those of PARAMS, and named directions are added. `flamehead pose --set smile=1 jaw_open=0.5 --out head.glb`
    """

    params: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="PARAMS")]] = None
    """A params.npz of `flamehead fit` to start from; by default the mean head at rest."""
    out: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE ...", aliases=["-o"])] = ()
    """Files to write: .obj, .ply, .glb (meshes, metres, y up) or .npz (parameters, for other commands)."""
    shape: Coefficients = ()
    """Identity coefficients, from the first on."""
    expression: Coefficients = ()
    """Expression coefficients, from the first on."""
    jaw: Degrees = ()
    """Opening of the jaw, or its three angles."""
    neck: Degrees = ()
    """Three angles of the neck."""
    root: Degrees = ()
    """Three angles of the whole head."""
    eyes: Degrees = ()
    """Gaze of both eyes: down, and to the subject's left."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=AMOUNT ...")] = ()
    """Named directions: components of the built-in head in standard deviations, or turns such as jaw_open=0.5."""
    list: bool = False
    """Print the names that --set knows."""
    random: Annotated[int | None, tyro.conf.arg(metavar="SEED")] = None
    """A random identity; the same number gives the same person."""
    frame: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Which head of a PARAMS file that holds several, from 0 on."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A licensed FLAME file; by default the built-in head."""
    flame_variant: FlameVariant = "unknown"
    """The release of the model, where its file does not say it."""
    texture: Annotated[str | None, tyro.conf.arg(metavar="FILE|mean")] = None
    """A picture, FLAME_texture.npz, or `mean` of the built-in head, for .glb and .obj instead of vertex colours."""
    uv: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """An OBJ mesh with the texture coordinates of a licensed model."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        _check(self)
        from flamehead.cli._heads import open_flame

        flame = open_flame(self.model, variant=self.flame_variant, quiet=self.quiet)
        if self.list:
            _print_names(flame)
        if not self.out:
            return 0
        _write(self, flame, posed_params(self, flame))
        return 0


def posed_params(command: Pose, flame: Flame) -> FlameParams:
    """The parameters that the command's numbers ask for."""
    import torch

    from flamehead.cli._heads import open_saved, widened
    from flamehead.cli._named import parse_settings
    from flamehead.model import move_along

    params = flame.zeros()
    if command.params is not None:
        params = _picked(open_saved(command.params, flame).params, command)
        params = widened(params, flame)
    if command.random is not None:
        generator = torch.Generator().manual_seed(command.random)
        params = replace(params, shape=torch.randn(flame.n_shape, generator=generator))
    for name in ("shape", "expression"):
        given = getattr(command, name)
        value = getattr(params, name).clone()
        if len(given) > len(value):
            raise InputError(f"Got {len(given)} {name} coefficients, but {flame.arrays.source} has {len(value)}.")
        value[: len(given)] = torch.tensor(given, dtype=value.dtype)
        params = replace(params, **{name: value})
    for name, angles in _angles(command).items():
        params = replace(params, **{name: torch.tensor([math.radians(angle) for angle in angles])})
    return move_along(params, parse_settings(command.set), flame)


def _check(command: Pose) -> None:
    """What can be known to be wrong before anything is imported or computed."""
    from flamehead.cli._named import parse_settings

    if not command.out and not command.list:
        raise UsageError("No file to write was named; the usage is: flamehead pose [PARAMS] --out head.glb")
    for path in command.out:
        if path.suffix.lower() not in _SUFFIXES:
            raise InputError(f"Cannot write {path}: the suffix is {path.suffix!r}, wanted {', '.join(_SUFFIXES)}.")
        check_file(path)
    for name in ("shape", "expression", "jaw", "neck", "root", "eyes"):
        values = getattr(command, name)
        if not all(math.isfinite(value) for value in values):
            raise UsageError(f"--{name} got a number that is not finite; give plain numbers.")
    wanted = {"jaw": (0, 1, 3), "neck": (0, 3), "root": (0, 3), "eyes": (0, 2)}
    for name, counts in wanted.items():
        if len(getattr(command, name)) not in counts:
            said = " or ".join(str(count) for count in counts if count)
            raise UsageError(f"--{name} needs {said} angles in degrees, got {len(getattr(command, name))}.")
    if command.random is not None and (command.shape or not -(2**63) <= command.random < 2**63):
        raise UsageError("--random draws a whole identity from one 64-bit number; leave out --shape.")
    check_variant(command.flame_variant, command.model)
    parse_settings(command.set)


def _angles(command: Pose) -> dict[str, tuple[float, ...]]:
    """Degrees of the joints that were given."""
    out: dict[str, tuple[float, ...]] = {}
    for name in ("jaw", "neck", "root"):
        given = getattr(command, name)
        if given:
            out[name] = given if len(given) == 3 else (given[0], 0.0, 0.0)
    if command.eyes:
        out["left_eye"] = out["right_eye"] = (*command.eyes, 0.0)
    return out


def _picked(params: FlameParams, command: Pose) -> FlameParams:
    """One head of the file."""
    import torch

    from flamehead.data import FlameParams

    values = [getattr(params, name) for name in FlameParams.__dataclass_fields__]
    batch = torch.broadcast_shapes(*(value.shape[:-1] for value in values))
    count = math.prod(batch)
    if not batch and not command.frame:
        return params
    if command.frame is None or not 0 <= command.frame < count:
        asked = "" if command.frame is None else f", not {command.frame}"
        raise InputError(
            f"The file {command.params} holds {count} heads{asked}; choose one with --frame 0..{count - 1}."
        )
    return FlameParams(*(value.expand(*batch, -1).reshape(count, -1)[command.frame] for value in values))


def _write(command: Pose, flame: Flame, params: FlameParams) -> None:
    import torch

    with torch.no_grad():
        vertices = flame(params).vertices.numpy()
    writers = {".obj": _write_obj, ".glb": _write_glb, ".ply": _write_ply, ".npz": _write_npz}
    for path in command.out:
        for written in writers[path.suffix.lower()](path, vertices, params, flame, command):
            if not command.quiet:
                print(f"Wrote {written}")


def _write_npz(path: Path, vertices: np.ndarray, params: FlameParams, flame: Flame, command: Pose) -> list[Path]:
    import torch

    from flamehead.io import save_params
    from flamehead.render import orbit_camera

    camera = orbit_camera(torch.from_numpy(vertices), (512, 512))
    source = flame.arrays.source
    save_params(path, params, camera, fingerprint=flame.fingerprint, model_source=source, status="Posed by numbers.")
    return [path]


def _write_ply(path: Path, vertices: np.ndarray, params: FlameParams, flame: Flame, command: Pose) -> list[Path]:
    from flamehead.io import write_ply

    write_ply(path, vertices, flame.faces, colors=flame.colors)
    return [path]


def _write_obj(path: Path, vertices: np.ndarray, params: FlameParams, flame: Flame, command: Pose) -> list[Path]:
    from flamehead.cli._heads import load_texture, uv_layout
    from flamehead.io import UvMap, write_obj, write_textured_obj

    if command.texture is not None:
        uv_map = load_texture(command.texture, flame, command.uv)
        return write_textured_obj(path, vertices, flame.faces, uv_map=uv_map)
    layout = uv_layout(flame, command.uv)
    if layout is None:
        write_obj(path, vertices, flame.faces, colors=flame.colors)
        return [path]
    uv_map = UvMap(layout.uv, layout.faces)
    return write_textured_obj(path, vertices, flame.faces, uv_map=uv_map, colors=flame.colors)


def _write_glb(path: Path, vertices: np.ndarray, params: FlameParams, flame: Flame, command: Pose) -> list[Path]:
    from flamehead.cli._heads import load_texture
    from flamehead.io import write_glb

    uv_map = None if command.texture is None else load_texture(command.texture, flame, command.uv)
    write_glb(path, vertices, flame.faces, colors=flame.colors, uv_map=uv_map)
    return [path]


def _print_names(flame: Flame) -> None:
    from flamehead.model import TURNS, directions

    known = directions(flame)
    modes = [name for name in known if name.rpartition("_")[0] in ("mode", "local")]
    turns = [f"{name} (1 = {abs(math.degrees(d.unit)):.0f} degrees)" for name, d in TURNS.items()]
    groups = {"Turns": turns}
    for title, field in (("Identity", "shape"), ("Expression", "expression")):
        names = [name for name, d in known.items() if d.fields == (field,) and name not in modes]
        groups[f"{title} (standard deviations)"] = [
            f"{name} (or {name}_left, {name}_right)" if f"{name}_left" in known else name
            for name in names
            if not _side_of_pair(name, known)
        ]
    for title, names in groups.items():
        if names:
            print(f"{title}:")
            print("".join(f"    {name}\n" for name in names), end="")
    if modes:
        print("NAME_left and NAME_right move one side (the subject's). Unnamed components: mode_K, local_K.")


def _side_of_pair(name: str, known: object) -> bool:
    pair = name.removesuffix("_left").removesuffix("_right")
    return pair != name and isinstance(known, dict) and pair in known
