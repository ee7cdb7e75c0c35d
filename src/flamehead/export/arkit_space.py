"""The parameters that a face moves by, as one vector: expression, jaw, eyes and, where a model has them, eyelids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.export.arkit_names import arkit_index

if TYPE_CHECKING:
    from flamehead.model import Flame, Head

__all__ = [
    "ParameterSpace",
    "fitted",
    "jacobian",
    "moved",
    "pack",
    "parameter_space",
    "pose_vectors",
    "posed_basis",
    "unpack",
]

_STEP = 0.02
"""Half the difference by which turns are differentiated, radians."""
_RIDGE = 3e-3
"""Misfit, root of a sum of squares over the vertices in metres, that is worth one standard deviation of a coefficient:
it keeps fitted fields from using components against each other."""


@dataclass(frozen=True)
class ParameterSpace:
    """Where each parameter stands in the vector."""

    flame: Flame
    columns: Mapping[str, slice]
    """`expression`, `jaw`, `left_eye`, `right_eye`, `eyelids` (empty without)."""
    size: int

    @property
    def n_vertices(self) -> int:
        """Of the model."""
        return len(self.flame.template)


def parameter_space(flame: Flame) -> ParameterSpace:
    """The parameters of a model's face."""
    sizes = {"expression": flame.n_expression, "jaw": 3, "left_eye": 3, "right_eye": 3}
    sizes["eyelids"] = 0 if flame.eyelid_basis is None else 2
    ends = np.cumsum(list(sizes.values())).tolist()
    columns = {
        name: slice(end - length, end) for (name, length), end in zip(sizes.items(), ends, strict=True)
    }  # fmt: skip
    return ParameterSpace(flame, columns, ends[-1])


def pack(
    space: ParameterSpace, params: FlameParams, eyelids: Float[np.ndarray, "T 2"] | None = None
) -> Float[np.ndarray, "T P"]:
    """Parameters of frames as rows; missing coefficients are zeros.

    Raises:
        InputError: more coefficients than the model has, or eyelids that it has not or not for each frame.
    """
    count = int(np.prod(torch.broadcast_shapes(*(getattr(params, n).shape[:-1] for n in _FIELDS))))
    out = np.zeros((count, space.size))
    for name in _FIELDS:
        value = getattr(params, name).detach().cpu().double().numpy()
        start, stop = space.columns[name].start, space.columns[name].stop
        if value.shape[-1] > stop - start:
            raise InputError(
                f"The parameters have {value.shape[-1]} {name} coefficients, but {space.flame.source} has "
                f"{stop - start}; give them to the model that they belong to."
            )
        out[:, start : start + value.shape[-1]] = value.reshape(-1, value.shape[-1])
    if eyelids is None:
        return out
    if space.flame.eyelid_basis is None:
        raise InputError(f"{space.flame.source} has no eyelids; leave them out, or put its eyelid files beside it.")
    if eyelids.shape != (count, 2):
        raise InputError(f"eyelids has shape {eyelids.shape}, wanted ({count}, 2): left and right eye of each frame.")
    out[:, space.columns["eyelids"]] = eyelids
    return out


_FIELDS = ("expression", "jaw", "left_eye", "right_eye")


def unpack(space: ParameterSpace, rows: Float[np.ndarray, "T P"]) -> tuple[FlameParams, torch.Tensor | None]:
    """Rows as parameters, with the model's mean identity at rest, and eyelids where the model has them."""
    like = space.flame.template

    def part(name: str) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(rows[:, space.columns[name]]), dtype=like.dtype, device=like.device)

    zeros = space.flame.zeros((len(rows),))
    params = replace(zeros, **{name: part(name) for name in _FIELDS})
    lids = part("eyelids")
    return params, lids if lids.shape[-1] else None


def pose_vectors(
    space: ParameterSpace, rows: Float[np.ndarray, "T P"], *, shape: torch.Tensor | None = None
) -> Float[np.ndarray, "T V 3"]:
    """Vertices of the frames, metres, the head itself at rest; one identity for all, or one for each."""
    params, eyelids = unpack(space, rows)
    head: Head = space.flame
    if shape is not None:
        given = shape.to(params.expression)
        if given.ndim == 1:
            # Built in, an identity costs nothing in each frame.
            head, given = space.flame.with_identity(given), head.template.new_zeros(0)
        params = replace(params, shape=given)
    with torch.no_grad():
        return head(params, eyelids=eyelids).vertices.double().cpu().numpy()


def jacobian(space: ParameterSpace) -> Float[np.ndarray, "V3 P"]:
    """Displacements (metres) per unit of each parameter, at rest."""
    flame = space.flame
    out = np.zeros((3 * space.n_vertices, space.size))
    out[:, space.columns["expression"]] = flame.expression_basis.double().cpu().numpy().T
    if flame.eyelid_basis is not None:
        out[:, space.columns["eyelids"]] = flame.eyelid_basis.double().cpu().numpy().T
    turns = np.arange(space.columns["jaw"].start, space.columns["right_eye"].stop)
    rows = np.zeros((2 * len(turns), space.size))
    rows[np.arange(len(turns)), turns] = _STEP
    rows[len(turns) + np.arange(len(turns)), turns] = -_STEP
    ahead, back = np.split(pose_vectors(space, rows).reshape(len(rows), -1), 2)
    out[:, turns] = ((ahead - back) / (2.0 * _STEP)).T
    return out


def moved(
    space: ParameterSpace, directions: Float[np.ndarray, "52 P"], *, shape: torch.Tensor | None = None
) -> Float[np.ndarray, "52 V 3"]:
    """Displacement by each coefficient at 1, metres; of `mouthClose` with the jaw open."""
    opened, close = directions[arkit_index("jawOpen")], arkit_index("mouthClose")
    rows = np.concatenate([directions, np.zeros((1, space.size)), opened[None]])
    rows[close] += opened
    posed = pose_vectors(space, rows, shape=shape)
    out = posed[:52] - posed[52]
    out[close] = posed[close] - posed[53]
    return out


def posed_basis(space: ParameterSpace, base: Float[np.ndarray, "P"]) -> Float[np.ndarray, "V3 E"]:
    """Displacements per unit of each expression coefficient, from the face that `base` makes."""
    rows = np.tile(base, (space.flame.n_expression + 1, 1))
    rows[1:, space.columns["expression"]] += np.eye(space.flame.n_expression)
    posed = pose_vectors(space, rows).reshape(len(rows), -1)
    return (posed[1:] - posed[0]).T


def fitted(basis: Float[np.ndarray, "V3 K"], field: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "K"]:
    """Coefficients of least squares with a ridge."""
    normal = basis.T @ basis + _RIDGE**2 * np.eye(basis.shape[1])
    return np.linalg.solve(normal, basis.T @ field.ravel())
