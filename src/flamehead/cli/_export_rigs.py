"""`flamehead export --to gltf|blender|usd`: rigs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flamehead.cli._export_opened import Opened, Written, surface_of

if TYPE_CHECKING:
    from flamehead.cli.export import Export
    from flamehead.export import Motion, Rig

__all__ = ["write_blender", "write_gltf", "write_usd"]


def write_gltf(command: Export, found: Opened, out: Path) -> Written:
    """One .glb with the rig, in the result's pose or with the track as its animation."""
    from flamehead.export import write_gltf_rig

    rig, motion = rig_of(command, found)
    extras = {"result": found.name}
    uv_map, colors = surface_of(command, found), found.flame.colors
    write_gltf_rig(out, rig, motion, uv_map=uv_map, colors=colors, extras=extras)
    return Written(out)


def write_blender(command: Export, found: Opened, out: Path) -> Written:
    """A folder with the rig and a script that opens it in Blender."""
    from flamehead import export

    rig, motion = rig_of(command, found)
    extras = {"result": found.name}
    uv_map, colors = surface_of(command, found), found.flame.colors
    export.write_blender(out, rig, motion, uv_map=uv_map, colors=colors, extras=extras)
    return Written(out / "head.glb", beside=(out / "import_head.py",))


def write_usd(command: Export, found: Opened, out: Path) -> Written:
    """The rig as USD, with its picture beside it or in one package."""
    from flamehead import export

    rig, motion = rig_of(command, found)
    first, *others = export.write_usd(out, rig, motion, uv_map=surface_of(command, found))
    return Written(first, beside=tuple(others))


def rig_of(command: Export, found: Opened) -> tuple[Rig, Motion]:
    """The rig of a result and its frames."""
    from flamehead.export import build_rig, motion_of

    params, times, eyelids = found.params, found.times, found.eyelids
    if command.rig.rest:
        shape = params.shape.reshape(-1, params.shape.shape[-1])
        params, times, eyelids = replace(found.flame.zeros(), shape=shape[0]), times[:1], None
    rig = build_rig(
        found.flame,
        params,
        expressions=command.rig.expressions,
        eyelids=None if eyelids is None else True,
        correctives=not command.rig.no_correctives,
        offsets=found.offsets,
    )
    return rig, motion_of(rig, params, times=times, eyelids=eyelids)
