"""Texture spaces: big archives of which only the first components are kept, read block by block.

The texture space of the FLAME site has 1.3 GB; its arrays are stored as they are and read from their place in the file.
Compressed copies are unpacked as a stream. Either way the memory holds little more than what is returned.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flamehead._types import StrPath
from flamehead.assets._entries import Entries, matches
from flamehead.assets.kinds import AlbedoSpace, BfmAlbedo, InpaintingSpace, TextureSpace
from flamehead.assets.safe_numpy import ArrayHeader, map_member, npz_headers, opened_npz, read_npz
from flamehead.errors import InputError

__all__ = ["describe_texture", "is_texture", "read_albedo", "read_bfm_albedo", "read_texture"]

_MOST_TEXELS = 2048
"""Texels on a side."""
_MOST_COMPONENTS = 1000
_BLOCK_BYTES = 2**23
_N_FACES = 9976
_N_UV = 5118
_BFM_SIZE = 512
_AGAIN = "download it again from its official site"


def is_texture(keys: object) -> bool:
    """Whether an archive with these keys is a texture or albedo space."""
    return isinstance(keys, dict) and ({"mean", "tex_dir"} <= keys.keys() or {"MU", "PC"} <= keys.keys())


def read_texture(path: StrPath, *, n_components: int = 50) -> TextureSpace:
    """The texture space of the FLAME site, `FLAME_texture.npz`, turned into RGB in [0, 1].

    Args:
        path: the file.
        n_components: how many components to keep, the strongest first; 50 take 157 MB.

    Raises:
        AssetNotFound: there is no such file.
        InputError: it is damaged or of another kind; the message names the key, what was found and what was wanted.
    """
    archive = _Archive.open(path, n_components)
    archive.check_images("mean", "tex_dir")
    uv, uv_faces = archive.layout()
    mean, basis = archive.image("mean", 1 / 255), archive.image("tex_dir", 1 / 255)
    return TextureSpace(mean, basis, uv, uv_faces, archive.headers["tex_dir"].shape[-1])


def read_albedo(path: StrPath, *, n_components: int = 50) -> AlbedoSpace:
    """The albedo space of AlbedoMM, linear RGB; see `read_texture` for arguments and errors."""
    archive = _Archive.open(path, n_components)
    archive.check_images("MU", "PC")
    archive.check_images("specMU", "specPC")
    diffuse, specular = (
        (archive.image(f"{prefix}MU", 1.0), archive.image(f"{prefix}PC", 1.0)) for prefix in ("", "spec")
    )
    return AlbedoSpace(*diffuse, *specular, *archive.layout(), archive.headers["PC"].shape[-1])


def read_bfm_albedo(path: StrPath, *, n_components: int = 50) -> BfmAlbedo | InpaintingSpace:
    """The colours of the Basel Face Model on FLAME's texture, or the small space that fills their gaps.

    Both files have the same keys; the one with 512 x 512 texels is the albedo. See `read_texture` for arguments and
    errors.
    """
    archive = _Archive.open(path, n_components)
    size = _flat_size(archive)
    mean, basis = archive.flat_image("MU", size), archive.flat_image("PC", size)
    kind = BfmAlbedo if size == _BFM_SIZE else InpaintingSpace
    return kind(mean, basis, archive.header("PC").shape[-1])


def is_ours(path: Path) -> bool:
    """Whether a texture or albedo space is an export of the built-in head: only ours names its components."""
    try:
        keys = npz_headers(path).keys()
    except InputError:
        return False
    return "names" in keys and ({"mean", "tex_dir"} <= keys or {"MU", "PC"} <= keys)


def describe_texture(path: StrPath) -> str:
    """Sizes in words, from the directory alone: `512 x 512 texels, 200 components`.

    Raises:
        InputError: the shapes do not fit together.
    """
    archive = _Archive.open(path, 0)
    mean, basis = ("mean", "tex_dir") if "tex_dir" in archive.headers else ("MU", "PC")
    shape = archive.header(mean).shape
    if len(shape) == 1:
        size = _flat_size(archive)
        return f"{size} x {size} texels, {archive.header(basis).shape[-1]} components"
    archive.check_images(mean, basis)
    return f"{shape[1]} x {shape[0]} texels, {archive.header(basis).shape[-1]} components"


def _flat_size(archive: _Archive) -> int:
    """Texels on a side of a space whose images are flat."""
    count, flat, full = math.prod(archive.header("MU").shape), archive.header("MU").shape, archive.header("PC").shape
    size = math.isqrt(count // 3)
    if count != 3 * size**2 or size < 1:
        raise archive.file.error("MU", f"{count} values", "three for each texel of a square")
    if not matches(full, (*flat, None)):
        raise archive.file.error("PC", f"shape {full}", f"shape {(*flat, 'any')}")
    return size


class _Archive(NamedTuple):
    path: Path
    headers: dict[str, ArrayHeader]
    n_components: int
    file: Entries

    @classmethod
    def open(cls, path: StrPath, n_components: int) -> _Archive:
        if n_components < 0:
            raise InputError(f"n_components is {n_components}, wanted 0 or more.")
        headers = npz_headers(path)
        return cls(Path(path), headers, n_components, Entries(str(path), headers, _AGAIN))

    def header(self, key: str) -> ArrayHeader:
        if key not in self.headers:
            raise InputError(f"{self.path} has no key {key!r}, which a file of its kind needs; {_AGAIN}.")
        header = self.headers[key]
        if header.dtype.kind != "f" or len(header.shape) > 4:
            raise self.file.error(key, f"type {header.dtype} and shape {header.shape[:6]}", "floating-point numbers")
        if math.prod(header.shape) > 3 * _MOST_TEXELS**2 * _MOST_COMPONENTS:
            raise self.file.error(key, f"shape {header.shape}", f"at most {_MOST_TEXELS} x {_MOST_TEXELS} texels")
        return header

    def check_images(self, mean: str, basis: str) -> None:
        shape, full = self.header(mean).shape, self.header(basis).shape
        if not matches(shape, (None, None, 3)) or max(shape) > _MOST_TEXELS:
            raise self.file.error(mean, f"shape {shape}", "shape (H, W, 3)")
        if not matches(full, (*shape, None)) or full[-1] > _MOST_COMPONENTS:
            raise self.file.error(basis, f"shape {full}", f"shape {(*shape, 'any')}")

    def image(self, key: str, scale: float) -> np.ndarray:
        """An image or a basis of images: channels reversed to RGB, scaled, float32."""
        flat = _kept(self, key)
        shape = self.headers[key].shape
        image = flat.reshape(*shape[:3], *flat.shape[1:])
        # Both are float32, and one copy is made per channel at most.
        image[:, :, [0, 2]] = image[:, :, [2, 0]]
        if scale != 1.0:
            image *= np.float32(scale)
        return image

    def flat_image(self, key: str, size: int) -> np.ndarray:
        flat = _kept(self, key)
        image = flat.reshape(size, size, 3, *([] if key == "MU" else flat.shape[-1:]))
        image[:, :, [0, 2]] = image[:, :, [2, 0]]
        return image

    def layout(self) -> tuple[np.ndarray, np.ndarray]:
        """UV coordinates and triangles."""
        entries = Entries(str(self.path), read_npz(self.path, keys=("vt", "ft"), most=2**23), _AGAIN)
        uv = entries.floats("vt", (_N_UV, 2)).astype(np.float64)
        return uv, entries.ids("ft", (_N_FACES, 3), below=_N_UV)


def _kept(archive: _Archive, key: str) -> np.ndarray:
    """The rows of an array with the first components of each; a mean has no components. float32, finite."""
    header = archive.header(key)
    is_mean = key.endswith("MU") or key == "mean"
    shape = header.shape if not is_mean else (*header.shape, 1)
    n_rows, n_stored = math.prod(shape[:-1]), shape[-1]
    n_kept = min(n_stored, archive.n_components) if not is_mean else 1
    with opened_npz(archive.path) as file, np.errstate(over="ignore", invalid="ignore"):
        # Before the memory is claimed: the file must be as long as its header says.
        take = _taker(file, archive.path, key, header)
        kept = np.empty((n_rows, n_kept), dtype=np.float32)
        if header.fortran:
            # Components lie one behind the other, and each of them has its first index fastest.
            for component in range(n_kept):
                kept[:, component] = take(n_rows).reshape(shape[-2::-1]).transpose().reshape(-1)
        else:
            step = max(1, _BLOCK_BYTES // (n_stored * header.dtype.itemsize))
            for row in range(0, n_rows, step):
                count = min(step, n_rows - row)
                kept[row : row + count] = take(count * n_stored).reshape(count, n_stored)[:, :n_kept]
    archive.file.check_finite(key, kept)
    return kept[:, 0] if is_mean else kept


def _taker(archive: zipfile.ZipFile, path: Path, key: str, header: ArrayHeader) -> Callable[[int], np.ndarray]:
    """A function that gives the next so many numbers of a member, from the front to the back."""
    member = archive.getinfo(f"{key}.npy")
    size = header.start + math.prod(header.shape) * header.dtype.itemsize
    # The sizes in the directory are claims as well, but nothing unpacks to more than some thousand times its bytes.
    possible = 1100 * min(member.compress_size, path.stat().st_size)
    if member.file_size != size or size > possible:
        raise InputError(f"{path}: key {key!r} has {min(member.file_size, possible)} bytes, wanted {size}; {_AGAIN}.")
    if member.compress_type == zipfile.ZIP_STORED and archive.fp is not None:
        # The map checks the bounds; reading from its place keeps the pages of the file out of this process.
        file, start = archive.fp, map_member(path, member, header).offset
        file.seek(start)
        return lambda count: np.fromfile(file, dtype=header.dtype, count=count)
    stream = archive.open(member)
    stream.read(header.start)

    def take(count: int) -> np.ndarray:
        data = stream.read(count * header.dtype.itemsize)
        if len(data) != count * header.dtype.itemsize:
            raise InputError(f"{path}: key {key!r} is cut short; {_AGAIN}.")
        return np.frombuffer(data, dtype=header.dtype)

    return take
