"""Small tables and images in texture space: texel tables, UV masks, displacement maps, eyelids."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flamehead._types import StrPath
from flamehead.assets._entries import Entries
from flamehead.assets.kinds import BfmTexels, EyelidOffsets, TexelTable, UvMaskImage, UvMasks
from flamehead.assets.safe_numpy import npz_headers, read_npz
from flamehead.assets.safe_pickle import read_bytes
from flamehead.errors import InputError, MissingExtra

__all__ = ["bfm_texels_in", "offsets_in", "read_mask_image", "read_uv_masks", "texels_in"]

_N_VERTICES = 5023
_N_BFM2017 = 53149
_MOST_TEXELS = 8192
_MOST_MASK_TEXELS = 4096
_MOST_MASKS = 100
_MOST_BYTES = 2**28


def texels_in(content: object, name: str) -> TexelTable | None:
    """The table of `texture_data_*.npy` in the entries of a file; None when it is something else."""
    if not isinstance(content, dict) or "valid_pixel_b_coords" not in content:
        return None
    entries = Entries(name, content)
    size = entries.number("img_size", most=_MOST_TEXELS)
    ids = entries.ids("valid_pixel_ids", (None,), below=size**2)
    uv = entries.floats("vt", (None, 2)) if "vt" in content else None
    return TexelTable(
        size=size,
        x=entries.floats("x_coords", (size**2,)),
        y=entries.floats("y_coords", (size**2,)),
        texel_ids=ids,
        vertex_ids=entries.ids("valid_pixel_3d_faces", (len(ids), 3), below=_N_VERTICES),
        barycentric=entries.shares("valid_pixel_b_coords", (len(ids), 3)),
        uv=uv,
        uv_faces=None if uv is None or "ft" not in content else entries.ids("ft", (None, 3), below=len(uv)),
        dense_faces=entries.ids("f", (None, 3), below=size**2) if "f" in content else None,
    )


def bfm_texels_in(content: object, name: str) -> BfmTexels | None:
    """The table of `cached_data.npy` in the entries of a file; None when it is something else."""
    if not isinstance(content, dict) or "valid_BFM_b_coords" not in content:
        return None
    entries = Entries(name, content)
    size = entries.number("w", most=_MOST_TEXELS), entries.number("h", most=_MOST_TEXELS)
    ids = entries.ids("ids", (None,), below=size[0] * size[1])
    return BfmTexels(
        size=size,
        x=entries.floats("x_coords", (size[0] * size[1],)),
        y=entries.floats("y_coords", (size[0] * size[1],)),
        texel_ids=ids,
        vertex_ids=entries.ids("valid_BFM_faces", (len(ids), 3), below=_N_BFM2017),
        barycentric=entries.shares("valid_BFM_b_coords", (len(ids), 3)),
    )


def read_uv_masks(path: StrPath) -> UvMasks:
    """The boolean images of `uv_masks.npz`.

    Raises:
        AssetNotFound: there is no such file.
        InputError: it is damaged or of another kind.
    """
    headers = npz_headers(path)
    if len(headers) > _MOST_MASKS:
        raise InputError(f"{path} has {len(headers)} entries, wanted at most {_MOST_MASKS} masks; pass uv_masks.npz.")
    for key, header in headers.items():
        if header.dtype != bool or len(header.shape) != 2 or not 1 <= max(header.shape) <= _MOST_MASK_TEXELS:
            raise Entries(str(path), {}).error(key, f"type {header.dtype} and shape {header.shape}", "a boolean image")
    masks = read_npz(path, most=_MOST_BYTES)
    for key, mask in masks.items():
        # A byte other than 0 and 1 in a boolean array misleads whatever uses it.
        if mask.view(np.uint8).max(initial=0) > 1:
            raise Entries(str(path), {}).error(key, "bytes above 1", "false and true")
    return UvMasks(masks)


def read_mask_image(path: StrPath) -> UvMaskImage:
    """A soft mask in texture space, `uv_face_mask.png` or `uv_face_eye_mask.png`.

    Raises:
        AssetNotFound: there is no such file.
        InputError: it is damaged, or no square picture.
    """
    data = read_bytes(path, most=2**25)
    if b"IEND\xaeB`\x82" not in data[-32:]:
        raise InputError(f"{path} is cut short; download it again.")
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("Reading pictures needs pillow; install it with `pip install pillow`.") from error
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            width, height = image.size
            if width != height or width > _MOST_MASK_TEXELS:
                raise InputError(
                    f"{path} is a picture of {width} x {height}, wanted a square of at most {_MOST_MASK_TEXELS}; pass "
                    "a mask of the texture such as uv_face_mask.png."
                )
            pixels = np.asarray(image.convert("RGB"))[..., 0]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a whole PNG picture ({type(error).__name__}); download it again.") from error
    return UvMaskImage(pixels.astype(np.float64) / 255)


def _side(path: StrPath) -> Literal["left", "right", "unknown"]:
    """The eye whose lid a file closes, by its name."""
    stem = Path(path).stem.lower()
    sides: dict[str, Any] = {"l_": "left", "left": "left", "r_": "right", "right": "right"}
    return next((side for start, side in sides.items() if stem.startswith(start)), "unknown")


def offsets_in(content: object, path: StrPath) -> EyelidOffsets | None:
    """Vertex offsets such as those of an eyelid; None when the array is something else."""
    if not isinstance(content, np.ndarray) or content.shape != (_N_VERTICES, 3) or content.dtype.kind != "f":
        return None
    Entries(str(path), {}).check_finite("(array)", content)
    return EyelidOffsets(content.astype(np.float64), _side(path))
