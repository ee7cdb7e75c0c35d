"""One person with the expressions of others: an animation from a folder of DECA's codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from flamehead._types import StrPath
from flamehead.errors import AssetNotFound, InputError
from flamehead.formats import DecaCodes, deca_to_params, read_deca, write_deca
from flamehead.io import atomic_folder, save_params, write_video
from flamehead.regress._deca_crop import SIDE
from flamehead.regress._sheet import side_by_side
from flamehead.regress._texels import sample_image
from flamehead.regress.deca import Deca, Encoded, telephoto, transfer
from flamehead.regress.deca_assets import DecaAssets
from flamehead.regress.deca_decode import Decoded, decode

__all__ = ["animate", "frame_picture", "read_frames", "save_animation"]

_BACKGROUND = 0.88
_FIELDS = ("shape", "tex", "exp", "pose", "cam", "light", "detail")


def read_frames(path: StrPath) -> list[tuple[str, DecaCodes]]:
    """The codes of an animation, by name and in the order of the names.

    Args:
        path: a folder with `codes.npz` anywhere below it, as `flamehead encode` writes them, or with npz files of codes
            directly in it; or one such file, whose batch is the frames.

    Raises:
        AssetNotFound: there is no such file or folder.
        InputError: it holds no codes, or one of the files is damaged.
    """
    base = Path(path)
    if not base.is_dir():
        codes = read_deca(base)
        if codes.shape.ndim > 2:
            raise InputError(f"{base} holds codes of shape {tuple(codes.shape)}; give one batch of frames.")
        count = 1 if codes.shape.ndim == 1 else len(codes.shape)
        return [(f"{index + 1:05d}", _frame(codes, index)) for index in range(count)]
    files = {file.parent.relative_to(base).as_posix().replace("/", "_"): file for file in base.rglob("codes.npz")}
    if not files:
        files = {file.stem: file for file in base.glob("*.npz")}
    if not files:
        raise AssetNotFound(f"The folder {base} holds no codes; name one that `flamehead encode` wrote codes.npz into.")
    frames = []
    for name, file in sorted(files.items()):
        codes = read_deca(file)
        if codes.shape.ndim != 1:
            raise InputError(f"{file} holds {len(codes.shape)} faces; in a folder each file is one frame.")
        frames.append((base.name if name == "." else name, codes))
    return frames


def animate(person: DecaCodes, frames: Sequence[DecaCodes], *, turn: bool = False) -> list[DecaCodes]:
    """The person's codes with the jaw and the expression of each frame.

    Args:
        person: whose shape, texture, light, camera and detail are kept.
        frames: the expressions.
        turn: also take the rotation of the head.
    """
    moved = [transfer(person, frame) for frame in frames]
    if not turn:
        return moved
    return [dataclasses.replace(codes, pose=frame.pose) for codes, frame in zip(moved, frames, strict=True)]


def save_animation(
    deca: Deca,
    encoded: Encoded,
    frames: Sequence[tuple[str, DecaCodes]],
    folder: StrPath,
    *,
    assets: DecaAssets | None = None,
    turn: bool = False,
    fps: float = 25.0,
) -> int:
    """Write `animation.gif`, and `NAME_codes.npz` and `NAME_params.npz` for each frame; all or nothing.

    The texture is the photo's in every frame; the wrinkles follow jaw and expression.

    Args:
        deca: the networks and the model.
        encoded: the person.
        frames: by name, see `read_frames`.
        folder: where to.
        assets: DECA's tables.
        turn: see `animate`.
        fps: frames per second.

    Returns:
        How many frames were written.

    Raises:
        InputError: the folder cannot be written.
    """
    person = decode(deca, encoded.codes, crop=encoded.crop, assets=assets)
    moved = animate(encoded.codes, [codes for _, codes in frames], turn=turn)
    with atomic_folder(folder) as stage:
        for (name, _), codes in zip(frames, moved, strict=True):
            write_deca(stage / f"{name}_codes.npz", codes)
            save_params(
                stage / f"{name}_params.npz",
                deca_to_params(codes),
                telephoto(encoded),
                fingerprint=deca.flame.fingerprint,
                model_source=deca.flame.arrays.source,
                status=f"Regressed by DECA, with the expression of {name}.",
            )
        write_video(stage / "animation.gif", _pictures(deca, encoded, person, moved, assets), fps=fps)
    return len(moved)


def _pictures(
    deca: Deca, encoded: Encoded, person: Decoded, moved: Sequence[DecaCodes], assets: DecaAssets | None
) -> Iterator[Float[np.ndarray, "h w 3"]]:
    # Before a plain background: what clay is cut away shows it instead of black.
    plain = np.full(encoded.crop.shape, _BACKGROUND, np.float32)
    for codes in moved:
        yield frame_picture(encoded, person, decode(deca, codes, crop=plain, assets=assets))


def frame_picture(encoded: Encoded, person: Decoded, frame: Decoded) -> Float[np.ndarray, "h w 3"]:
    """The photo, and the person with another expression, decoded before a plain crop: in its colours and as clay."""
    painted = sample_image(person.uv_texture_gt, frame.grid)
    colored = painted * frame.alpha_images + _BACKGROUND * (1 - frame.alpha_images)
    panels = [torch.from_numpy(encoded.crop), colored, frame.shape_detail_images]
    return side_by_side([panel.permute(1, 2, 0).clamp(0, 1).numpy() for panel in panels], 2 * SIDE)


def _frame(codes: DecaCodes, index: int) -> DecaCodes:
    """One frame of a batch."""
    if codes.shape.ndim == 1:
        return codes
    values = {name: getattr(codes, name) for name in _FIELDS}
    return dataclasses.replace(codes, **{n: None if v is None else v[index] for n, v in values.items()})
