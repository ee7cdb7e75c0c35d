"""Building blocks of displacement fields on the built-in head."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["bump", "by_energy", "mirrored", "parity_functions", "remove_span", "rigid_fields", "step"]


def step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step: 0 below `low`, 1 above `high`."""
    u = np.clip((x - low) / (high - low), 0.0, 1.0)
    return u * u * (3.0 - 2.0 * u)


def bump(
    points: Float[np.ndarray, "N 3"], center: tuple[float, float, float], widths: tuple[float, float, float]
) -> Float[np.ndarray, "N"]:
    """Axis-aligned Gaussian of height 1."""
    return np.exp(-0.5 * (((points - center) / np.asarray(widths)) ** 2).sum(-1))


def mirrored(field: Float[np.ndarray, "V 3"], mirror: Int[np.ndarray, "V"]) -> Float[np.ndarray, "V 3"]:
    """The same displacement on the other side of the head."""
    return field[mirror] * [-1.0, 1.0, 1.0]


def rigid_fields(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N*3 6"]:
    """Three translations and three infinitesimal rotations as columns."""
    columns = []
    for axis in np.eye(3):
        columns.append(np.broadcast_to(axis, points.shape).ravel())
        columns.append(np.cross(axis, points).ravel())
    return np.stack(columns, -1)


def remove_span(columns: Float[np.ndarray, "M K"], span: Float[np.ndarray, "M L"]) -> Float[np.ndarray, "M K"]:
    """The part of each column that is orthogonal to the span."""
    basis = np.linalg.qr(span)[0]
    return columns - basis @ (basis.T @ columns)


def parity_functions(
    near: Float[np.ndarray, "N K"],
    far: Float[np.ndarray, "N K"],
    samples: Int[np.ndarray, "K"],
    count: int,
    *,
    left: Bool[np.ndarray, "N"],
) -> dict[int, Float[np.ndarray, "N count"]]:
    """Leading eigenfunctions of a mirror-symmetric kernel, times the roots of their eigenvalues, by mirror parity.

    Even functions (+1) are equal on both sides, odd ones (-1) opposite; without the split, pairs of nearly equal
    eigenvalues would mix differently on every machine.

    Args:
        near: k(x, s) for all points x and the sample points s.
        far: k(x, mirror image of s).
        samples: rows that are the sample points themselves.
        count: how many functions of each parity.
        left: points on the left side, midline included; they decide the sign.
    """
    return {sign: _nystroem(0.5 * (near + sign * far), samples, count, left) for sign in (1, -1)}


def _nystroem(
    kernel: Float[np.ndarray, "N K"], samples: Int[np.ndarray, "K"], count: int, left: Bool[np.ndarray, "N"]
) -> Float[np.ndarray, "N count"]:
    """Nystroem extension of the leading eigenvectors between the samples to all points."""
    small = kernel[samples]
    values, vectors = np.linalg.eigh(0.5 * (small + small.T))
    order = np.argsort(values)[::-1][:count]
    values, vectors = np.maximum(values[order], 1e-12 * values.max()), vectors[:, order]
    out = kernel @ (vectors / np.sqrt(values))
    # An eigenvector's sign is arbitrary and differs between machines: make the largest entry of the left side positive.
    peak = np.abs(out[left]).argmax(0)
    return out * np.sign(out[left][peak, np.arange(out.shape[1])])


def by_energy(columns: Float[np.ndarray, "M K"]) -> Int[np.ndarray, "K"]:
    """Columns from the strongest to the weakest; within a tenth of a percent they keep their order."""
    return np.argsort(-np.round(np.log((columns**2).sum(0)), 3), kind="stable")
