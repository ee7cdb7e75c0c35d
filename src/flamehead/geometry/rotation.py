"""Rotations: axis-angle vectors, matrices, 6D and quaternions, exact and smooth wherever a smooth answer exists.

`exp` is Rodrigues' formula written in the squared angle t = |r|^2, R = I + a(t) K + b(t) K^2 with a = sin(|r|)/|r| and
b = (1 - cos(|r|))/|r|^2. Both are entire functions of t, so no derivative of any order is singular at r = 0. With the
half angle h = |r|/2 and s = sin(h)/h they are a = s cos(h) and b = s^2/2, which loses no digits; near zero, s is a
power series in h^2 and cos(h) follows from it.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from flamehead.errors import InputError

__all__ = [
    "RotationKind",
    "exp",
    "exp_original",
    "from_6d",
    "from_quaternion",
    "log",
    "matrices",
    "to_6d",
    "to_quaternion",
]

RotationKind = Literal["axis_angle", "6d", "matrix", "quaternion"]
"""How a rotation is written: 3 numbers in radians; the first two ROWS of the matrix; 3 x 3; (w, x, y, z)."""

_SERIES_BELOW = 0.25
"""Squared angle under which the series serves: seven terms leave 1e-20, its second derivative 1e-16."""
_SINC = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(7))

_ATAN_BELOW = 0.01
"""Squared tangent of the half angle under which `log` uses the series of atan(x)/x; eight terms leave 1e-17."""
_ATAN = tuple((-1) ** k / (2 * k + 1) for k in range(8))


def exp(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of axis-angle vectors in radians (Rodrigues).

    First and second derivatives are exact, also at zero. Safe under `torch.func` transforms and `torch.compile`.

    Example:
        >>> exp(torch.zeros(3))
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])
    """
    squared = (axis_angle * axis_angle).sum(-1)
    near = squared < _SERIES_BELOW
    # Both branches of `where` are differentiated, so each one gets an argument at which it is finite.
    small = torch.where(near, squared, torch.zeros_like(squared))
    half = torch.where(near, torch.ones_like(squared), squared).sqrt() / 2
    quarter = small / 4
    series = _series(_SINC, quarter)
    sinc = torch.where(near, series, half.sin() / half)
    cosine = torch.where(near, (1 - quarter * series * series).sqrt(), half.cos())
    k = _cross_matrix(axis_angle)
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + (sinc * cosine)[..., None, None] * k + (sinc * sinc / 2)[..., None, None] * (k @ k)


def log(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Axis-angle vectors in radians, of length pi at most, of rotation matrices: undoes `exp`.

    Goes through the quaternion and its largest component, so it keeps its digits at every angle; at exactly pi one of
    the two opposite vectors is returned. Derivatives exist everywhere below pi.
    """
    w, v = _quaternion(rotation)
    squared = (v * v).sum(-1)
    tangent = squared / (w * w).clamp_min(torch.finfo(w.dtype).tiny)
    near = tangent < _ATAN_BELOW
    small = torch.where(near, tangent, torch.zeros_like(tangent))
    ones = torch.ones_like(squared)
    length = torch.where(near, ones, squared).sqrt()
    series = 2 * _series(_ATAN, small) / torch.where(near, w, ones)
    factor = torch.where(near, series, 2 * torch.atan2(length, torch.where(near, ones, w)) / length)
    return factor[..., None] * v


def exp_original(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices as FLAME_PyTorch, smplx and DECA make them, for comparisons with their numbers.

    The angle is `|r + 1e-8|`, 1e-8 added to every component, and the axis `r / angle`. At zero this is the identity
    with the right first derivatives, but wrong second ones; vertices differ from those of `exp` by less than 4e-9 m.
    """
    angle = (axis_angle + 1e-8).norm(dim=-1, keepdim=True)
    k = _cross_matrix(axis_angle / angle)
    sine, cosine = angle.sin()[..., None], angle.cos()[..., None]
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + sine * k + (1 - cosine) * (k @ k)


def from_6d(rows: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices from their first two ROWS, one after the other, made orthonormal by Gram-Schmidt.

    The convention of PyTorch3D and metrical-tracker (Zhou et al. 2019 stack columns); (1, 0, 0, 0, 1, 0) turns nothing.
    """
    first, second = rows[..., :3], rows[..., 3:]
    first = first / first.norm(dim=-1, keepdim=True)
    second = second - (first * second).sum(-1, keepdim=True) * first
    second = second / second.norm(dim=-1, keepdim=True)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-2)


def to_6d(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """The first two rows of rotation matrices, one after the other: undone by `from_6d`."""
    return rotation[..., :2, :].flatten(-2)


def from_quaternion(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of quaternions in the order (w, x, y, z), of any length but zero; q and -q are the same."""
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    row0 = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    row1 = [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    row2 = [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return torch.stack([*row0, *row1, *row2], dim=-1).unflatten(-1, (3, 3))


def to_quaternion(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternions in the order (w, x, y, z), w >= 0, of rotation matrices."""
    w, v = _quaternion(rotation)
    return torch.cat([w[..., None], v], dim=-1)


def matrices(rotation: Tensor, kind: RotationKind) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of rotations that are written in one of four ways.

    Args:
        rotation: `(*batch, 3)`, `(*batch, 6)`, `(*batch, 3, 3)` or `(*batch, 4)`, as the kind says.
        kind: see `RotationKind`.

    Raises:
        InputError: there is no such kind, or the last axes do not fit it.

    Example:
        >>> matrices(torch.tensor([1.0, 0.0, 0.0, 0.0]), "quaternion").equal(torch.eye(3))
        True
    """
    wanted = {"axis_angle": (3,), "6d": (6,), "matrix": (3, 3), "quaternion": (4,)}.get(kind)
    if wanted is None:
        raise InputError(f"There is no rotation kind {kind!r}; choose 'axis_angle', '6d', 'matrix' or 'quaternion'.")
    if tuple(rotation.shape[-len(wanted) :]) != wanted:
        raise InputError(
            f"rotation has shape {tuple(rotation.shape)}, but {kind!r} needs (*batch, {', '.join(map(str, wanted))}); "
            "name the kind that the numbers are written in."
        )
    match kind:
        case "axis_angle":
            return exp(rotation)
        case "6d":
            return from_6d(rotation)
        case "quaternion":
            return from_quaternion(rotation)
        case _:
            return rotation


def _cross_matrix(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """K with `K @ x = cross(vector, x)`."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def _quaternion(rotation: Float[Tensor, "*batch 3 3"]) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch 3"]]:
    """Unit quaternion (w, v) with w >= 0.

    The four rows below are the quaternion times 4w, 4x, 4y and 4z; the longest one loses no digits.
    """
    (r00, r01, r02), (r10, r11, r12), (r20, r21, r22) = (row.unbind(-1) for row in rotation.unbind(-2))
    wx, wy, wz = r21 - r12, r02 - r20, r10 - r01
    xy, xz, yz = r10 + r01, r02 + r20, r21 + r12
    ww, xx, yy, zz = 1 + r00 + r11 + r22, 1 + r00 - r11 - r22, 1 - r00 + r11 - r22, 1 - r00 - r11 + r22
    rows = torch.stack([ww, wx, wy, wz, wx, xx, xy, xz, wy, xy, yy, yz, wz, xz, yz, zz], dim=-1).unflatten(-1, (4, 4))
    best = torch.stack([ww, xx, yy, zz], dim=-1).argmax(-1)
    row = rows.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    row = torch.where(row[..., :1] < 0, -row, row)
    row = row / (row * row).sum(-1, keepdim=True).sqrt()
    return row[..., 0], row[..., 1:]


def _series(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    """The polynomial sum_k coefficients[k] x^k (Horner)."""
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
