"""The options of `flamehead export` in the groups that its help shows; `FORMATS` says which format takes which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

__all__ = ["ArkitOptions", "DataSetOptions", "HtmlOptions", "RigOptions", "SurfaceOptions", "TrackOptions"]


@dataclass(frozen=True)
class SurfaceOptions:
    """For blender, gltf, html, obj, usd: what lies on the head."""

    texture: Annotated[str | None, tyro.conf.arg(metavar="FILE|mean|none")] = None
    """A picture, FLAME_texture.npz, `mean` of the built-in head, or `none`; by default that of a photometric fit, else
    the built-in head's."""
    uv: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """An OBJ mesh with the texture coordinates of a licensed model."""


@dataclass(frozen=True)
class RigOptions:
    """For blender, gltf, usd."""

    rest: bool = False
    """The person at rest in the origin, without the result's pose, expression and animation."""
    expressions: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """How many expression components are morph targets; by default the named ones, or 50 of a licensed model."""
    no_correctives: bool = False
    """Leave out the pose correctives, for programs that cannot drive them."""


@dataclass(frozen=True)
class HtmlOptions:
    """For html."""

    title: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """What stands above the head; by default the name of RESULT."""


@dataclass(frozen=True)
class ArkitOptions:
    """For arkit."""

    ridge: float = 1.0
    """What a coefficient of 1 costs, square millimetres over the vertices; try 100 for photos and video."""
    smoothness: float = 0.0
    """Ties neighbouring frames; 1 weighs a change like a misfit of the same size."""


@dataclass(frozen=True)
class DataSetOptions:
    """For flashavatar, gaussian-avatars, insta, metrical; the square that is cut out also for vhap."""

    source: Annotated[Path | None, tyro.conf.arg(metavar="VIDEO|FOLDER")] = None
    """The video or folder of pictures that was tracked; by default where the track says it was."""
    size: Annotated[int, tyro.conf.arg(metavar="PIXELS")] = 512
    """Width and height of the exported pictures; flashavatar has 512 always."""
    bbox_scale: float = 2.5
    """Side of the square that is cut out over the longer side of the face."""
    whole: bool = False
    """insta, metrical: keep the pictures as they are, of any shape, instead of cutting a square out."""
    mask_grow: Annotated[float, tyro.conf.arg(metavar="PIXELS")] = 0.0
    """By how much the rendered mask is enlarged, to take in what the mesh lacks, such as short hair; not metrical."""
    mask_feather: Annotated[float, tyro.conf.arg(metavar="PIXELS")] = 2.0
    """Width of the mask's soft edge; not metrical."""
    overwrite: bool = False
    """Replace an earlier export as a whole."""
    centered_principal_point: bool = False
    """metrical: cut the square around the principal point, as flashavatar and gaussian-avatars always do."""
    no_pictures: bool = False
    """metrical: leave out video/ and video.avi, which no program reads."""
    test_frames: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """insta: how many of the last frames are for tests; by default 350, or 30 % of a short track."""
    name: Annotated[str, tyro.conf.arg(metavar="NAME")] = "head"
    """flashavatar: the person's name in both folders."""


@dataclass(frozen=True)
class TrackOptions:
    """For track."""

    motion: Literal["camera", "head"] | None = None
    """Put all rigid motion into the camera or into the head; by default it stays where it is."""
