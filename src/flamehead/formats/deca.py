"""DECA's codes: the 236 outputs of its coarse encoder, as one vector, a dictionary, or an `.npz` of our own.

Slices of the vector: shape 0:100, tex 100:150, exp 150:200, pose 200:206 (root, jaw), cam 206:209 (scale, x, y),
light 209:236 (row-major 9 x 3: harmonics x RGB). The neck and the eyes rest and there is no translation. The camera is
weakly perspective, n = scale (x + tx, y + ty) with y then negated, in [-1, 1] over the 224-pixel crop: it has no
distance, and so no `Camera`; it stays a code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flamehead._types import StrPath
from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.formats._entries import Kind, fit_width, read_entries, write_entries

__all__ = [
    "DecaCodes",
    "deca_from_dict",
    "deca_from_vector",
    "deca_to_dict",
    "deca_to_params",
    "deca_to_vector",
    "params_to_deca",
    "read_deca",
    "write_deca",
]

_SIZES = {"shape": 100, "tex": 50, "exp": 50, "pose": 6, "cam": 3, "light": 27}
_TOTAL = sum(_SIZES.values())
_KIND = Kind("a set of DECA codes", {})


@dataclass(frozen=True)
class DecaCodes:
    """The codes, names as in DECA's dictionary."""

    shape: Float[Tensor, "*batch 100"]
    tex: Float[Tensor, "*batch 50"]
    exp: Float[Tensor, "*batch 50"]
    pose: Float[Tensor, "*batch 6"]
    """Root, jaw: axis-angle."""
    cam: Float[Tensor, "*batch 3"]
    """Scale, x, y of the weak perspective."""
    light: Float[Tensor, "*batch 9 3"]
    """Spherical harmonics, RGB."""
    detail: Float[Tensor, "*batch 128"] | None = None
    """Of the second encoder, if it ran."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Everything else in the dictionary, such as the images."""
    fingerprint: str = ""
    """Of the model, if flamehead wrote the file; else empty."""


def deca_from_vector(
    codes: Float[Tensor, "*batch 236"], *, detail: Float[Tensor, "*batch 128"] | None = None
) -> DecaCodes:
    """The encoder's outputs by name.

    Raises:
        InputError: there are not 236 of them.
    """
    if codes.shape[-1] != _TOTAL:
        raise InputError(f"DECA's code vector has {codes.shape[-1]} numbers, wanted {_TOTAL} in the last axis.")
    parts: dict[str, Any] = dict(zip(_SIZES, codes.split(list(_SIZES.values()), dim=-1), strict=True))
    return DecaCodes(**parts | {"light": parts["light"].unflatten(-1, (9, 3))}, detail=detail)


def deca_to_vector(codes: DecaCodes) -> Float[Tensor, "*batch 236"]:
    """The codes behind one another, without `detail` and `extra`."""
    parts = [codes.shape, codes.tex, codes.exp, codes.pose, codes.cam, codes.light.flatten(-2)]
    return torch.cat(parts, dim=-1)


def deca_from_dict(entries: Mapping[str, Any]) -> DecaCodes:
    """The codes of DECA's dictionary, tensors or arrays; `light` may be flat.

    Raises:
        InputError: a code is missing or has another size.
    """
    return _from_entries(entries, "the dictionary", "")


def deca_to_dict(codes: DecaCodes) -> dict[str, Any]:
    """The dictionary that DECA's decoder takes."""
    entries: dict[str, Any] = {name: getattr(codes, name) for name in _SIZES}
    if codes.detail is not None:
        entries["detail"] = codes.detail
    return entries | dict(codes.extra)


def read_deca(path: StrPath) -> DecaCodes:
    """Read codes that were saved as `.npz` under the names of DECA's dictionary.

    Raises:
        AssetNotFound: there is no such file.
        InputError: it is damaged or holds no DECA codes.
    """
    entries, fingerprint = read_entries(path, _KIND)
    return _from_entries(entries, str(path), fingerprint)


def write_deca(path: StrPath, codes: DecaCodes) -> None:
    """Write codes as `.npz` under the names of DECA's dictionary; DECA itself saves none."""
    _from_entries(deca_to_dict(codes), "the codes to write", "")
    arrays = {
        name: value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        for name, value in deca_to_dict(codes).items()
    }
    write_entries(path, arrays, fingerprint=codes.fingerprint)


def deca_to_params(codes: DecaCodes) -> FlameParams:
    """The head of the codes: root and jaw turn, neck and eyes rest at the origin."""
    rest = torch.zeros_like(codes.pose[..., :3])
    return FlameParams(codes.shape, codes.exp, codes.pose[..., :3], rest, codes.pose[..., 3:], rest, rest, rest)


def params_to_deca(params: FlameParams, codes: DecaCodes | None = None, *, fingerprint: str = "") -> DecaCodes:
    """DECA's codes of a head.

    Args:
        params: the head.
        codes: where texture, camera, light and detail come from; zeros and a camera of scale 1 if not given.
        fingerprint: `Flame.fingerprint` of the model.

    Raises:
        InputError: the neck or an eye turns, the head is translated, or coefficients would be lost.
    """
    moved = {name: getattr(params, name) for name in ("neck", "left_eye", "right_eye", "translation")}
    broken = [name for name, value in moved.items() if bool((value != 0).any())]
    if broken:
        raise InputError(f"{broken[0]} is not zero, which DECA's codes cannot hold; set it to zero first.")
    shape = fit_width(params.shape, _SIZES["shape"], "shape", _KIND.name)
    expression = fit_width(params.expression, _SIZES["exp"], "expression", _KIND.name)
    turns = torch.cat(torch.broadcast_tensors(params.root, params.jaw), dim=-1)
    batch = torch.broadcast_shapes(*(value.shape[:-1] for value in (shape, expression, turns)))
    base = codes or deca_from_vector(torch.nn.functional.pad(shape.new_ones(1), (206, 29)))
    rest = {name: getattr(base, name).expand(*batch, *getattr(base, name).shape[-1:]) for name in ("tex", "cam")}
    light = base.light.expand(*batch, 9, 3)
    own = {"shape": shape, "exp": expression, "pose": turns}
    own = {name: value.expand(*batch, value.shape[-1]) for name, value in own.items()}
    return DecaCodes(**own, **rest, light=light, detail=base.detail, extra=base.extra, fingerprint=fingerprint)


def _from_entries(entries: Mapping[str, Any], where: str, fingerprint: str) -> DecaCodes:
    known: dict[str, Tensor] = {}
    batch: tuple[int, ...] | None = None
    for name, size in {**_SIZES, "detail": 128}.items():
        if name not in entries:
            if name == "detail":
                continue
            held = ", ".join(map(repr, sorted(map(str, entries))[:8])) or "nothing"
            raise InputError(f"{where} is not {_KIND.name}: it lacks {name!r} (it holds {held}); pass the right file.")
        value = _code(entries[name], name, size, where)
        found = value.shape[: -2 if name == "light" else -1]
        if batch is not None and found != batch:
            raise InputError(
                f"The code {name!r} of {where} has the batch {tuple(found)}, the others have {tuple(batch)}."
            )
        batch, known[name] = found, value
    rest = {key: value for key, value in entries.items() if key not in known}
    return DecaCodes(**known, extra=rest, fingerprint=fingerprint)


def _code(value: Any, name: str, size: int, where: str) -> Tensor:
    """One code as a tensor, light as (*batch, 9, 3)."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = torch.from_numpy(np.array(value, order="C"))
    if isinstance(value, Tensor) and value.is_floating_point():
        if name == "light" and value.shape[-1:] == (size,):
            value = value.unflatten(-1, (9, 3))
        tail = (9, 3) if name == "light" else (size,)
        if tuple(value.shape[-len(tail) :]) == tail and bool(value.isfinite().all()):
            return value
    found = f"{value.dtype} of shape {tuple(value.shape)}" if hasattr(value, "shape") else f"a {type(value).__name__}"
    raise InputError(f"The code {name!r} of {where} is {found}, wanted finite floats (*batch, {size}).")
