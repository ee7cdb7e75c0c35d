"""The official checkpoints, opened without executing anything in them and kept in a form that opens at once.

Three gates, and no way around them: our own pickle reader names every tensor and refuses any foreign name, the names
and shapes are compared with the network's, and torch reads the weights in its weights-only mode, with an allow-list of
plain numpy types where the first try refuses them (MICA's training state holds some).
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flamehead._types import StrPath
from flamehead.assets import read_checkpoint, user_cache_folder
from flamehead.assets.safe_pickle import read_bytes
from flamehead.assets.safetensors import is_safetensors, read_safetensors, write_safetensors
from flamehead.errors import AssetNotFound, FlameheadError, InputError, UnsafeFile
from flamehead.regress._layout import Network, layout

__all__ = ["Weights", "check_checkpoint", "load_network", "read_weights"]

_log = logging.getLogger(__name__)

_SITE = {
    "MICA": "the MICA checkpoint mica.tar (https://zielon.github.io/mica)",
    "DECA": "the DECA checkpoint deca_model.tar (https://github.com/yfeng95/DECA)",
}
_AGAIN = "download it again from its official site"
_SAMPLE = 2**20


@dataclass(frozen=True)
class Weights:
    """The tensors of a checkpoint, float32 on the CPU, complete and of the right shapes."""

    network: Network
    tensors: Mapping[str, Tensor]
    """By `part.name`."""
    source: str
    """The file they came from."""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors of one part, by their names within it."""
        start = f"{prefix}."
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


def read_weights(path: StrPath, network: Network, *, cached: bool = True) -> Weights:
    """Read an official checkpoint; nothing in it is executed.

    Zip files of torch, its older streams, and the safetensors files that this function writes are read. The first time
    a copy without any pickle goes into the user's cache folder (about 300 MB), which later calls open instead.

    Args:
        path: the file, `mica.tar` or `deca_model.tar`.
        network: whose checkpoint it must be.
        cached: whether to use and write the copy.

    Raises:
        AssetNotFound: there is no such file.
        UnsafeFile: it asks for something that a checkpoint never needs; nothing of it was executed.
        InputError: it is damaged, of another network, or lacks tensors; the message names the first one.
    """
    path = Path(path)
    start = _start(path, network)
    if is_safetensors(start):
        return _from_copy(path, network, str(path))
    copy = _copy_path(path, network) if cached else None
    if copy is not None and copy.is_file():
        try:
            return _from_copy(copy, network, str(path))
        except FlameheadError as error:
            _log.warning("The cached copy of %s cannot be used (%s); making it again.", path, error)
    _check_names(path, network)
    tensors = _load(path, network)
    if copy is not None:
        _keep(copy, tensors, network)
    return Weights(network, tensors, str(path))


def check_checkpoint(path: StrPath, network: Network) -> None:
    """Refuse a wrong file by the names in it, in a moment, before a program does slow work that would be in vain.

    The weights themselves are not looked at: `read_weights` does that.

    Raises:
        AssetNotFound, UnsafeFile, InputError: as `read_weights`.
    """
    path = Path(path)
    if not is_safetensors(_start(path, network)) and not _copy_path(path, network).is_file():
        _check_names(path, network)


def load_network(net: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A network, built on the meta device, with these weights, in evaluation mode and without gradients."""
    net.load_state_dict(dict(weights), strict=True, assign=True)
    return net.eval().requires_grad_(False)


def _start(path: Path, network: Network) -> bytes:
    if not path.exists():
        raise AssetNotFound(
            f"There is no file {path}; download {_SITE[network]} under its own licence and pass its path with "
            "--checkpoint."
        )
    if not path.is_file() or path.stat().st_size == 0:
        read_bytes(path)  # Says what is wrong.
    with path.open("rb") as stream:
        start = stream.read(512)
    if start.lstrip()[:1] == b"<":
        raise InputError(f"{path} is a web page, not a checkpoint; log in to its site and download the file again.")
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`.")
    if start[257:262] == b"ustar" or start.startswith(b"\x1f\x8b"):
        raise InputError(
            f"{path} is an archive, but the official {network} checkpoint, in spite of its name .tar, is none; "
            "unpack it and pass the file inside."
        )
    return start


def _check_names(path: Path, network: Network) -> None:
    """Names and shapes, before any weight is read."""
    try:
        found = read_checkpoint(path)
    except UnsafeFile as error:
        # Its files of PyTorch Lightning hold the objects of a configuration library, which our reader refuses.
        if "omegaconf" not in str(error):
            raise
        raise UnsafeFile(
            f"{path} holds objects of the library OmegaConf, as checkpoints of EMOCA do, which flamehead does not run; "
            f"nothing in it was executed: pass {_SITE[network]}."
        ) from error
    wanted = {name: shape for name, (shape, _) in layout(network).items()}
    if relative := _relative(found.shapes):
        raise InputError(f"{path} is {relative}; flamehead reads {network} here: pass {_SITE[network]}.")
    if found.network != network:
        held = ", ".join(map(repr, list(found.parts)[:6])) or "no tensors"
        what = f"a {found.network} checkpoint" if found.network != "unknown" else f"no {network} checkpoint"
        raise InputError(f"{path} is {what} (it holds {held}); pass {_SITE[network]}.")
    _compare({n: s for n, s in found.shapes.items() if n.startswith(_prefixes(network))}, wanted, path, network)


def _relative(names: Iterable[str]) -> str:
    """What a checkpoint of a related network calls itself, by the names of its tensors; empty for others."""
    for name in names:
        plain = name.removeprefix("state_dict.")
        if plain.startswith(("smirk_encoder.", "smirk_generator.")):
            return "a checkpoint of SMIRK, whose networks are not among those that flamehead runs"
        if plain.startswith("deca.E_expression."):
            return "a checkpoint of EMOCA, whose expression network is not among those that flamehead runs"
    return ""


def _prefixes(network: Network) -> tuple[str, ...]:
    return tuple({name.partition(".")[0] + "." for name in layout(network)})


def _compare(
    found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]], path: Path, name: str
) -> None:
    wrong = [key for key in wanted if key in found and found[key] != wanted[key]]
    for what, keys in (("lacks", [k for k in wanted if k not in found]), ("has unexpected", [*found.keys() - wanted])):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise InputError(
                f"{path} is not the official {name} checkpoint: it {what} {min(keys)!r}{more}; pass the released file."
            )
    if wrong:
        key = wrong[0]
        raise InputError(
            f"{path} is not the official {name} checkpoint: {key!r} has shape {found[key]}, wanted {wanted[key]}; "
            "pass the released file."
        )


def _load(path: Path, network: Network) -> dict[str, Tensor]:
    try:
        _check_content(path)
        content = _torch_load(path)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        zlib.error,
        zipfile.BadZipFile,
        ValueError,
    ) as error:
        if isinstance(error, FlameheadError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120].rstrip(".")
        raise InputError(f"{path} is damaged ({reason}); {_AGAIN}.") from error
    tensors = {}
    for name, (shape, dtype) in layout(network).items():
        part, _, key = name.partition(".")
        value = content[part][key]
        if not isinstance(value, Tensor) or value.dtype != dtype or tuple(value.shape) != shape:
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"{path}: {name!r} is {kind}, wanted {dtype} of shape {shape}; pass the released file.")
        if not bool(torch.isfinite(value).all()):
            raise InputError(f"{path}: {name!r} holds NaN or infinite values; {_AGAIN}.")
        tensors[name] = value.detach()
    return tensors


def _check_content(path: Path) -> None:
    """The checksums of a zip file, which torch itself does not compare; older streams have none."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if (bad := archive.testzip()) is not None:
                raise InputError(f"{path} is damaged (its member {bad!r} fails its checksum); {_AGAIN}.")


def _torch_load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        allow = getattr(torch.serialization, "safe_globals", None)
        if allow is None:
            raise
        with allow(_plain_numpy()):
            return torch.load(path, map_location="cpu", weights_only=True)


def _plain_numpy() -> list[Any]:
    """What rebuilds numpy's arrays and numbers, under the names of NumPy 1 and of NumPy 2."""
    reconstruct, scalar = (_numpy_builder(name) for name in ("_reconstruct", "scalar"))
    pairs = [
        (builder, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, builder in (("_reconstruct", reconstruct), ("scalar", scalar))
    ]
    return [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i8")), *pairs]


def _numpy_builder(name: str) -> Any:
    """`numpy.core` was renamed in NumPy 2 and warns under its old name; a pickled value leads to it under both."""
    sample = np.zeros(1) if name == "_reconstruct" else np.float64(0)
    return sample.__reduce__()[0]


def _copy_path(path: Path, network: Network) -> Path:
    """Where the copy of this file lies: named by its size, time, beginning and end (a zip file ends in checksums)."""
    info = path.stat()
    digest = hashlib.sha256(f"1 {info.st_size} {info.st_mtime_ns}".encode())
    with path.open("rb") as stream:
        digest.update(stream.read(_SAMPLE))
        stream.seek(max(info.st_size - _SAMPLE, 0))
        digest.update(stream.read())
    return user_cache_folder() / "checkpoints" / f"{network.lower()}-{digest.hexdigest()[:16]}.safetensors"


def _from_copy(copy: Path, network: Network, source: str) -> Weights:
    arrays, metadata = read_safetensors(copy)
    if metadata.get("network", network) != network:
        raise InputError(f"{copy} is a {metadata['network']} checkpoint; pass {_SITE[network]}.")
    wanted = layout(network)
    _compare(
        {name: array.shape for name, array in arrays.items()},
        {name: shape for name, (shape, _) in wanted.items()},
        copy,
        network,
    )
    # A copy in memory: the mapped file is read-only, and may change under our feet.
    return Weights(network, {n: torch.from_numpy(np.array(arrays[n])).to(wanted[n][1]) for n in wanted}, source)


def _keep(copy: Path, tensors: Mapping[str, Tensor], network: Network) -> None:
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_safetensors(copy, {n: t.contiguous().numpy() for n, t in tensors.items()}, {"network": network})
    except (OSError, FlameheadError) as error:
        _log.info("No copy of the checkpoint was kept (%s).", error)
