"""Frames as a folder of meshes, one file each: what programs call a vertex cache or a mesh sequence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from flamehead._atomic import atomic_folder, disk_errors_explained
from flamehead._types import StrPath
from flamehead.data import FlameParams
from flamehead.errors import check_choice
from flamehead.io import UvMap, write_image, write_json, write_obj, write_ply, write_textured_obj
from flamehead.model import Flame

__all__ = ["posed_frames", "write_sequence"]

_TOGETHER = 32
"""Frames that are posed at once."""


def write_sequence(
    folder: StrPath,
    flame: Flame,
    params: FlameParams,
    *,
    kind: Literal["obj", "ply"],
    times: Float[np.ndarray, "T"],
    eyelids: Float[np.ndarray, "T 2"] | None = None,
    offsets: Float[np.ndarray, "V 3"] | None = None,
    uv_map: UvMap | None = None,
    name: str = "head",
) -> int:
    """Write every frame as NAME_000000.obj or .ply, numbered without gaps, all or nothing.

    Vertices keep the model's number and order. `sequence.json` holds the seconds of each frame and the model's
    fingerprint; OBJ files have texture coordinates where `uv_map` is given, whose picture is NAME.png.

    Args:
        folder: Where to; files of other names in it stay.
        flame: The model.
        params: Of the frames, any batch, or one head.
        kind: OBJ is text that every program reads, PLY a third of the size.
        times: Seconds of the frames.
        eyelids: How far the left and the right eye are closed.
        offsets: Displacements of the head at rest, metres.
        uv_map: Texture coordinates, with or without a picture.
        name: Begin of the files' names.

    Returns:
        The number of frames.

    Raises:
        InputError: The folder cannot be written, or there is no such kind.
    """
    check_choice("The kind of a sequence", kind, ("obj", "ply"))
    count = 0
    with atomic_folder(folder) as stage, disk_errors_explained(folder):
        for vertices in posed_frames(flame, params, eyelids=eyelids, offsets=offsets):
            path = stage / f"{name}_{count:06d}.{kind}"
            if kind == "ply":
                write_ply(path, vertices, flame.faces, colors=flame.colors)
            elif uv_map is None:
                write_obj(path, vertices, flame.faces, colors=flame.colors)
            else:
                # One picture for all frames, so no material in each.
                bare = replace(uv_map, picture=None)
                write_textured_obj(path, vertices, flame.faces, uv_map=bare, colors=flame.colors)
            count += 1
        if kind == "obj" and uv_map is not None and uv_map.picture is not None:
            write_image(stage / f"{name}.png", uv_map.picture)
        write_json(
            stage / "sequence.json",
            {"frames": count, "times": times, "fingerprint": flame.fingerprint, "model": flame.source},
        )
    return count


def posed_frames(
    flame: Flame,
    params: FlameParams,
    *,
    eyelids: Float[np.ndarray, "*T 2"] | None = None,
    offsets: Float[np.ndarray, "V 3"] | None = None,
) -> Iterator[Float[np.ndarray, "V 3"]]:
    """The vertices of each frame, metres."""
    values = {field.name: getattr(params, field.name) for field in fields(FlameParams)}
    batch = torch.broadcast_shapes(*(value.shape[:-1] for value in values.values()))
    flat = {name: value.expand(*batch, -1).reshape(-1, value.shape[-1]) for name, value in values.items()}
    like = flame.template
    lids = None if eyelids is None else torch.as_tensor(eyelids).to(like).reshape(-1, 2)
    moved = None if offsets is None else torch.as_tensor(offsets).to(like)
    for start in range(0, len(flat["root"]), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        some = FlameParams(**{name: value[part].to(like) for name, value in flat.items()})
        with torch.no_grad():
            closed = None if lids is None else lids[part]
            yield from flame(some, eyelids=closed, frame_offsets=moved).vertices.cpu().numpy()
