"""The Basel Face Model, 2009 and 2017, and its correspondence with FLAME."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from flamehead._types import StrPath
from flamehead.assets._entries import Entries
from flamehead.assets._mat5 import is_mat5, mat5_arrays
from flamehead.assets.kinds import BfmCorrespondence, BfmModel, BfmToFlame
from flamehead.assets.safe_numpy import read_npz
from flamehead.assets.safe_pickle import read_bytes
from flamehead.errors import InputError, MissingExtra

__all__ = ["is_bfm2009", "is_bfm2017", "read_bfm", "read_bfm_correspondence"]

_MOST_VERTICES = 100_000
_N_VERTICES = 5023
_MICROMETRE, _MILLIMETRE = 1e-6, 1e-3
_KEYS_2009 = ("shapeMU", "shapePC", "shapeEV", "texMU", "texPC", "texEV", "tl")
_MODELS = {"BFM2017": "BFM2017_corr", "BFM2009": "BFM2009_corr", "BFM2009_cropped": "BFM2009_cropped_corr"}
_AGAIN = "download it again from the site of the Basel Face Model"


def read_bfm(path: StrPath) -> BfmModel:
    """`01_MorphableModel.mat` of 2009, or a `.h5` file of 2017; the content decides, not the name.

    Lengths are turned into metres, colours into RGB in [0, 1], and the columns of every basis are multiplied by their
    standard deviation: 2009 stores these, 2017 their squares.

    Raises:
        AssetNotFound: there is no such file.
        MissingExtra: it is an HDF5 file and h5py is not installed.
        InputError: it is damaged or no Basel Face Model; the message names key, found and wanted.
    """
    if Path(path).is_file():
        with Path(path).open("rb") as stream:
            if stream.read(4) == b"\x89HDF":
                return _read_2017(Path(path))
    return _read_2009(Path(path))


def is_bfm2009(path: StrPath) -> bool:
    """Whether a MATLAB file holds the model of 2009."""
    try:
        names = {array.name for array in mat5_arrays(read_bytes(path))}
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(path, error) from error
    return {"shapeMU", "shapePC"} <= names


def is_bfm2017(path: StrPath) -> bool:
    """Whether an HDF5 file holds the model of 2017; needs no h5py, because the names of its parts lie in the open."""
    with Path(path).open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return all(content.find(name) >= 0 for name in (b"pcaBasis", b"representer", b"expression"))


def _read_2009(path: Path) -> BfmModel:
    data = read_bytes(path)
    if not is_mat5(data[:128]):
        raise InputError(f"{path} is no MATLAB 5 file and no HDF5 file, so it is no Basel Face Model; {_AGAIN}.")
    try:
        arrays = {a.name: a.values for a in mat5_arrays(data, keys=_KEYS_2009) if a.values is not None}
    except ValueError as error:
        raise _damaged(path, error) from error
    file = Entries(str(path), arrays, _AGAIN)
    count = len(file.floats("shapeMU", (None, 1)))
    if count % 3 or count > 3 * _MOST_VERTICES:
        raise file.error("shapeMU", f"{count} coordinates", f"three for each of at most {_MOST_VERTICES} vertices")

    def part(name: str, scale: float) -> tuple[np.ndarray, np.ndarray]:
        mean, basis = file.floats(f"{name}MU", (count, 1)), file.floats(f"{name}PC", (count, None))
        sigma = file.floats(f"{name}EV", (basis.shape[1], 1))[:, 0]
        return _points(mean[:, 0] * scale), _points(basis * (sigma * scale).astype(np.float32))

    triangles = file.ids("tl", (None, 3), below=count // 3 + 1)
    if triangles.min() < 1:
        raise file.error("tl", "ids from 0", f"1..{count // 3}")
    return BfmModel("2009", *part("shape", _MICROMETRE), *part("tex", 1 / 255), None, None, triangles - 1)


def _read_2017(path: Path) -> BfmModel:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra(
            f"Opening {path} needs h5py; install it with `pip install 'flamehead[regress]'` or `pip install h5py`."
        ) from error
    try:
        with h5py.File(path, "r") as file:
            return _from_hdf5(h5py, file, path)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a whole HDF5 file ({type(error).__name__}); {_AGAIN}.") from error


def _from_hdf5(h5py: Any, file: Any, path: Path) -> BfmModel:
    complaints = Entries(str(path), {}, _AGAIN)

    def dataset(key: str, wanted: tuple[int | None, ...]) -> np.ndarray:
        found = file.get(key)
        if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiu":
            raise InputError(f"{path} has no key {key!r} with numbers, so it is no Basel Face Model 2017; {_AGAIN}.")
        # Checked before anything is read: a shape is only a claim.
        if len(found.shape) > 2 or max(found.shape, default=0) > 4 * _MOST_VERTICES or found.size > 2**27:
            raise complaints.error(key, f"shape {found.shape}", f"at most {_MOST_VERTICES} vertices")
        # What was never stored reads as zeros of any length; compression saves a thousandfold at most.
        if found.nbytes > 1100 * found.id.get_storage_size() + 65536:
            raise complaints.error(
                key, f"{found.id.get_storage_size()} stored bytes", f"numbers of shape {found.shape}"
            )
        return Entries(str(path), {key: found[()]}, _AGAIN).floats(key, wanted)

    count = len(dataset("shape/model/mean", (None,)))
    if count % 3:
        raise complaints.error("shape/model/mean", f"{count} numbers", "three for each vertex")

    def part(name: str, scale: float) -> tuple[np.ndarray, np.ndarray]:
        mean, basis = dataset(f"{name}/model/mean", (count,)), dataset(f"{name}/model/pcaBasis", (count, None))
        variance = dataset(f"{name}/model/pcaVariance", (basis.shape[1],))
        if variance.min() < 0:
            raise complaints.error(
                f"{name}/model/pcaVariance", f"a smallest value of {variance.min():.3g}", "variances"
            )
        return _points(mean * scale), _points(basis * (np.sqrt(variance) * scale).astype(np.float32))

    key = "shape/representer/cells"
    cells = Entries(str(path), {key: dataset(key, (3, None))}, _AGAIN).ids(key, (3, None), below=count // 3)
    return BfmModel(
        "2017",
        *part("shape", _MILLIMETRE),
        *part("color", 1.0),
        *part("expression", _MILLIMETRE),
        np.ascontiguousarray(cells.T),
    )


def _points(flat: np.ndarray) -> np.ndarray:
    """xyzxyz... as rows of vertices, float32."""
    return np.ascontiguousarray(flat.reshape(-1, 3, *flat.shape[1:]), dtype=np.float32)


def read_bfm_correspondence(path: StrPath) -> BfmCorrespondence:
    """`BFM_to_FLAME_corr.npz`. The right half of each matrix, which is reserved for normals, is left out.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that such a file never needs.
        InputError: it is damaged or of another kind.
    """
    content = read_npz(path, most=2**28)
    file = Entries(str(path), content)
    maps = {name: _map(file, key) for name, key in _MODELS.items() if key in content}
    if not maps:
        raise InputError(f"{path} has none of the keys {', '.join(_MODELS.values())}; pass BFM_to_FLAME_corr.npz.")
    return BfmCorrespondence(maps, file.ids("FLAME_mask_ids", (None,), below=_N_VERTICES))


def _map(file: Entries, key: str) -> BfmToFlame:
    held = file.entries[key]
    matrix = held.get("mtx") if isinstance(held, dict) else None
    if not isinstance(held, dict) or not scipy.sparse.issparse(matrix):
        raise file.error(key, f"a {type(held).__name__} without a sparse 'mtx'", "a dictionary with 'mtx'")
    rows, columns = matrix.shape  # pyright: ignore[reportOptionalMemberAccess]
    if rows != _N_VERTICES or columns % 2 or not 2 <= columns <= 2 * _MOST_VERTICES:
        raise file.error(key, f"a matrix of shape {(rows, columns)}", f"shape ({_N_VERTICES}, 2 N)")
    left = scipy.sparse.csr_matrix(matrix)[:, : columns // 2]
    file.check_finite(key, left.data)
    inner = Entries(f"{file.path} ({key})", held)
    return BfmToFlame(
        scipy.sparse.csr_matrix(left),
        inner.ids("f_in", (None, 3), below=columns // 2),
        inner.ids("f_out", (None, 3), below=_N_VERTICES),
    )


def _damaged(path: StrPath, error: Exception) -> InputError:
    return InputError(f"{path} is not a whole MATLAB file (it {error}); {_AGAIN}.")
