"""MICA's output files, and ours beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from flamehead._types import StrPath
from flamehead.data import Camera
from flamehead.formats import write_mica
from flamehead.io import atomic_folder, save_params, write_image, write_json, write_obj, write_ply
from flamehead.regress._sheet import side_by_side
from flamehead.regress.mica import KPT7, Identity
from flamehead.render import render, side_view

__all__ = ["portrait", "save_identity"]

_HEIGHT = 448
_BACKGROUND = (0.88, 0.89, 0.90)


def save_identity(identity: Identity, folder: StrPath, *, report: Mapping[str, Any] | None = None) -> None:
    """Write what MICA writes, and our `params.npz` and `portrait.png`; all or nothing.

    As MICA: `identity.npy` (300,), `mesh.obj`, `mesh.ply`, `kpt68.npy` (1, 68, 3), `kpt7.npy` (7, 3), all of these but
    the first in millimetres; and what MICA puts into a folder of its own under the photo's name, `arcface.npy`, the
    network's input, and `arcface.jpg`, the aligned face; a median of several photos has neither. The camera in
    `params.npz` looks at the neutral head from the front: the photo's is not known.

    Args:
        identity: what to write.
        folder: where to; files of other names in it stay.
        report: what `report.json` shall hold; None writes none.

    Raises:
        InputError: the folder cannot be written.
    """
    vertices, faces = 1000.0 * identity.vertices, identity.flame.faces.cpu().numpy()
    landmarks = (1000.0 * identity.landmarks).astype(np.float32)
    with atomic_folder(folder) as stage:
        write_mica(stage / "identity.npy", identity.shape)
        write_obj(stage / "mesh.obj", vertices, faces)
        write_ply(stage / "mesh.ply", vertices, faces)
        np.save(stage / "kpt68.npy", landmarks[None], allow_pickle=False)
        np.save(stage / "kpt7.npy", landmarks[list(KPT7)], allow_pickle=False)
        if identity.blob is not None and identity.crop is not None:
            np.save(stage / "arcface.npy", identity.blob, allow_pickle=False)
            write_image(stage / "arcface.jpg", identity.crop / np.float32(255))
        save_params(
            stage / "params.npz",
            identity.params,
            _front(identity),
            fingerprint=identity.fingerprint,
            model_source=identity.flame.arrays.source,
            status=f"Regressed by MICA, the face aligned by {identity.points_source or 'unknown'}.",
        )
        write_image(stage / "portrait.png", portrait(identity))
        if report is not None:
            write_json(stage / "report.json", report)


def portrait(identity: Identity) -> Float[np.ndarray, "h w 3"]:
    """The aligned face, where there is one, and the neutral head from the front, from half left and from the left."""
    panels = [] if identity.crop is None else [identity.crop / np.float32(255)]
    vertices, faces = torch.from_numpy(identity.vertices), identity.flame.faces.cpu()
    colors = identity.flame.colors
    for angle in (0, 40, 85):
        camera = side_view(vertices, (_HEIGHT, _HEIGHT), angle=math.radians(angle))
        panels.append(render(vertices, faces, camera, colors=colors, background=_BACKGROUND).image)
    return side_by_side(panels, _HEIGHT)


def _front(identity: Identity) -> Camera:
    return side_view(torch.from_numpy(identity.vertices), (_HEIGHT, _HEIGHT), angle=0.0)
