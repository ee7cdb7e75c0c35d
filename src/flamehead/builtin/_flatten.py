"""Flatten a triangulated disc: a start without flips, then less stretch without ever flipping a triangle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix, csc_matrix
from scipy.sparse.linalg import splu

from flamehead.errors import FlameheadError

__all__ = ["Outline", "boundary_loop", "flat_corners", "reduce_stretch", "signed_areas", "spread_inside", "stretches"]


@dataclass(frozen=True)
class Outline:
    """The closed curve |x / a|^p + |y / b|^p = 1, a circle drawn towards a rectangle, and how hard it pulls."""

    axes: tuple[float, float]
    """a and b."""
    powers: tuple[float, float]
    """p of the upper and of the lower half; 2 is an ellipse."""
    stiffness: float
    """k of the energy k sum_b g(x_b)^2 with g = (|x / a|^p + |y / b|^p)^(1/p) - 1."""

    def at(self, angle: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N 2"]:
        """Where the rays of these angles meet the curve."""
        ray = np.stack([np.cos(angle), np.sin(angle)], -1)
        return ray / self._norm(ray)[2][:, None]

    def energy(self, points: Float[np.ndarray, "B 2"]) -> float:
        """Of border points that do not lie on the curve."""
        return self.stiffness * float(((self._norm(points)[2] - 1.0) ** 2).sum())

    def newton(self, points: Float[np.ndarray, "B 2"]) -> tuple[Float[np.ndarray, "B 2"], Float[np.ndarray, "B 2 2"]]:
        """Gradient and Gauss-Newton Hessian of the energy."""
        q, p, norm = self._norm(points)
        slope = np.sign(points) / self.axes * (q / norm[:, None]) ** (p[:, None] - 1.0)
        pull = 2.0 * self.stiffness * (norm - 1.0)[:, None] * slope
        return pull, 2.0 * self.stiffness * slope[:, :, None] * slope[:, None, :]

    def _norm(self, points: Float[np.ndarray, "N 2"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        q, p = np.abs(points) / self.axes, np.where(points[:, 1] > 0.0, *self.powers)
        return q, p, (q ** p[:, None]).sum(1) ** (1.0 / p)


def signed_areas(points: Float[np.ndarray, "N 2"], faces: Int[np.ndarray, "T 3"]) -> Float[np.ndarray, "T"]:
    """Areas of triangles in the plane, positive when counter-clockwise."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


def boundary_loop(faces: Int[np.ndarray, "T 3"], start: int) -> Int[np.ndarray, "B"]:
    """The border of a disc from `start` on, along the direction of its triangles."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    directed = {(a, b) for a, b in edges}
    following = {a: b for a, b in edges if (b, a) not in directed}
    out = [start]
    while following[out[-1]] != start:
        out.append(following[out[-1]])
    if len(out) != len(following):
        raise AssertionError(f"a disc has one border, this one of {len(following)} edges has several")
    return np.array(out)


def spread_inside(
    points: Float[np.ndarray, "N 3"],
    faces: Int[np.ndarray, "T 3"],
    border: Int[np.ndarray, "B"],
    outline: Float[np.ndarray, "B 2"],
) -> Float[np.ndarray, "N 2"]:
    """Each inner vertex becomes a mean of its neighbours; no triangle flips if the outline is convex.

    Mean-value weights (Floater 2003, "Mean value coordinates") are positive for every mesh, which is all that the
    theorem of Tutte and Floater asks for.
    """
    rows, columns, values = [], [], []
    for k in range(3):
        i, j, m = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        to_j, to_m = points[j] - points[i], points[m] - points[i]
        length_j, length_m = np.linalg.norm(to_j, axis=1), np.linalg.norm(to_m, axis=1)
        cosine = (to_j * to_m).sum(1) / (length_j * length_m)
        # tan(angle / 2), bounded so that slivers do not spoil the system.
        half = np.sqrt((1.0 - np.clip(cosine, -0.9999, 0.9999)) / (1.0 + np.clip(cosine, -0.9999, 0.9999)))
        rows += [i, i]
        columns += [j, m]
        values += [half / length_j, half / length_m]
    n = len(points)
    weights = coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (n, n)).tocsr()
    inner = np.setdiff1d(np.arange(n), border)
    inner = inner[np.isin(inner, faces)]
    out = np.zeros((n, 2))
    out[border] = outline
    between = weights[inner][:, inner]
    total = np.asarray(weights[inner].sum(1)).ravel()
    system = csc_matrix(coo_matrix((total, (np.arange(len(inner)),) * 2)) - between)
    out[inner] = splu(system).solve(np.asarray(weights[inner][:, border] @ outline))
    return out


def flat_corners(points: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "T 3"]) -> Float[np.ndarray, "T 3 2"]:
    """Each triangle laid into the plane, true to its edges."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    along = np.linalg.norm(b - a, axis=1)
    x = ((c - a) * (b - a)).sum(1) / along
    y = np.linalg.norm(np.cross(b - a, c - a), axis=1) / along
    zero = np.zeros_like(x)
    return np.stack([np.stack([zero, zero], -1), np.stack([along, zero], -1), np.stack([x, y], -1)], 1)


def _gradients(rest: Float[np.ndarray, "T 3 2"]) -> Float[np.ndarray, "T 3 2"]:
    """Rows g_k with F = sum_k x_k g_k^T: the linear map from the flat triangle to its image with corners x_k."""
    edges = np.stack([rest[:, 1] - rest[:, 0], rest[:, 2] - rest[:, 0]], -1)
    inverse = np.linalg.inv(edges)
    return np.concatenate([-inverse.sum(1, keepdims=True), inverse], 1)


def _turn(angle: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T 2 2"]:
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)


def _decompose(maps: Float[np.ndarray, "T 2 2"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F = U diag(s) V with rotations U and V; the smaller stretch carries the sign of the determinant."""
    e, f = 0.5 * (maps[:, 0, 0] + maps[:, 1, 1]), 0.5 * (maps[:, 0, 0] - maps[:, 1, 1])
    g, h = 0.5 * (maps[:, 1, 0] + maps[:, 0, 1]), 0.5 * (maps[:, 1, 0] - maps[:, 0, 1])
    q, r = np.hypot(e, h), np.hypot(f, g)
    first, second = np.arctan2(g, f), np.arctan2(h, e)
    return _turn(0.5 * (second + first)), np.stack([q + r, q - r], -1), _turn(0.5 * (second - first))


def stretches(
    points: Float[np.ndarray, "N 2"], faces: Int[np.ndarray, "T 3"], rest: Float[np.ndarray, "T 3 2"]
) -> Float[np.ndarray, "T 2"]:
    """Largest and smallest stretch of each triangle, against its flat rest shape."""
    return _decompose(np.einsum("tki,tkj->tij", points[faces], _gradients(rest)))[1]


def _energy(stretch: Float[np.ndarray, "T 2"], weight: Float[np.ndarray, "T"]) -> float:
    if stretch.min() <= 0.0:
        return np.inf
    return float(weight @ (stretch**2 + stretch**-2.0).sum(1))


def reduce_stretch(
    start: Float[np.ndarray, "N 2"],
    faces: Int[np.ndarray, "T 3"],
    rest: Float[np.ndarray, "T 3 2"],
    weight: Float[np.ndarray, "T"],
    *,
    free: Bool[np.ndarray, "N 2"],
    border: Int[np.ndarray, "B"],
    outline: Outline,
    steps: int = 40,
    tolerance: float = 1e-4,
) -> Float[np.ndarray, "N 2"]:
    """Minimise sum_t w_t (s1^2 + s1^-2 + s2^2 + s2^-2) over the stretches s, and k sum_b g(x_b)^2 along the border.

    The first is the symmetric Dirichlet energy; by the second, border vertices slide along the outline g = 0.

    Newton steps with each triangle's Hessian projected to be positive, by the eigensystem of isotropic energies
    (Smith, De Goes and Kim 2019, "Analytic eigensystems for isotropic distortion energies"). A step goes at most 0.9
    of the way to the first flip, so that a start without flips stays without.

    Args:
        start: no triangle flipped.
        faces: counter-clockwise.
        rest: the flat shape that each triangle would like to have.
        weight: of each triangle; its rest area is the natural choice.
        free: coordinates that may move.
        border: vertices that are drawn to the outline.
        outline: where the border shall lie.
        steps: at most.
        tolerance: stop when a step lowers the energy by a smaller share.
    """
    gradients, points = _gradients(rest), start.copy()
    number = np.where(free, np.cumsum(free.ravel()).reshape(free.shape) - 1, -1)
    energy = _energy(stretches(points, faces, rest), weight) + outline.energy(points[border])
    if not np.isfinite(energy):
        raise FlameheadError("The start of a flat layout has flipped triangles; give its outline a convex shape.")
    for _ in range(steps):
        slope, step = _newton_step(points, faces, gradients, weight, number, border, outline)
        move = np.zeros(points.shape)
        move[free] = step
        reach = min(1.0, 0.9 * _first_flip(points, move, faces))
        before = energy
        while True:
            moved = points + reach * move
            energy = _energy(stretches(moved, faces, rest), weight) + outline.energy(moved[border])
            if energy <= before + 1e-4 * reach * slope:
                break
            reach *= 0.5
            if reach < 1e-9:
                return points
        points = moved
        if before - energy < tolerance * before:
            break
    return points


def _newton_step(
    points: np.ndarray,
    faces: np.ndarray,
    gradients: np.ndarray,
    weight: np.ndarray,
    number: Int[np.ndarray, "N 2"],
    border: np.ndarray,
    outline: Outline,
) -> tuple[float, Float[np.ndarray, "K"]]:
    """Slope along the step, and the step of the free coordinates."""
    maps = np.einsum("tki,tkj->tij", points[faces], gradients)
    terms = (
        (number[faces].reshape(-1, 6), *_stretch_newton(maps, gradients, weight)),
        (number[border], *outline.newton(points[border])),
    )
    count = int(number.max()) + 1
    slope, entries = np.zeros(count), []
    for slots, gradient, hessian in terms:
        known = slots >= 0
        slope += np.bincount(slots[known], gradient[known], minlength=count)
        both = known[:, :, None] & known[:, None, :]
        rows, columns = (np.broadcast_to(s, hessian.shape)[both] for s in (slots[:, :, None], slots[:, None, :]))
        entries.append((hessian[both], rows, columns))
    values, rows, columns = (np.concatenate(part) for part in zip(*entries, strict=True))
    matrix = csc_matrix((values, (rows, columns)), (count, count))
    step = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(-slope)
    return float(slope @ step), step


def _stretch_newton(
    maps: Float[np.ndarray, "T 2 2"], gradients: Float[np.ndarray, "T 3 2"], weight: Float[np.ndarray, "T"]
) -> tuple[Float[np.ndarray, "T 6"], Float[np.ndarray, "T 6 6"]]:
    """Gradient and projected Hessian of each triangle's energy: two scalings, a twist and a flip as eigenvectors."""
    left, s, right = _decompose(maps)
    inverse = s**-3.0
    twist = 2.0 - 2.0 * inverse.sum(1) / s.sum(1)
    flip = 2.0 + 2.0 * (s[:, 0] ** 2 + s.prod(1) + s[:, 1] ** 2) * inverse.prod(1)
    values = np.concatenate([2.0 + 6.0 * s**-4.0, twist[:, None], flip[:, None]], axis=1)
    modes = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, -1], [1, 0]], [[0, 1], [1, 0]]], float)
    modes[2:] *= np.sqrt(0.5)
    directions = left[:, None] @ modes @ right[:, None]
    columns = np.einsum("teij,tkj->teki", directions, gradients).reshape(len(maps), 4, 6)
    gradient = weight[:, None] * np.einsum("te,tec->tc", 2.0 * (s - inverse), columns[:, :2])
    scaled = columns * (weight[:, None] * np.maximum(values, 1e-6))[..., None]
    return gradient, np.einsum("tec,ted->tcd", scaled, columns)


def _first_flip(points: np.ndarray, move: np.ndarray, faces: np.ndarray) -> float:
    """Smallest positive share of the move at which a triangle's area vanishes."""
    p, d = points[faces], move[faces]
    p1, p2, d1, d2 = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0], d[:, 1] - d[:, 0], d[:, 2] - d[:, 0]

    def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]

    a, b, c = cross(d1, d2), cross(p1, d2) + cross(d1, p2), cross(p1, p2)
    # The roots of a t^2 + b t + c with c > 0, written so that a = 0 does no harm.
    root = np.sqrt(np.maximum(b * b - 4.0 * a * c, 0.0))
    real = b * b - 4.0 * a * c >= 0.0
    q = -0.5 * (b + np.where(b >= 0.0, root, -root))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.stack([q / a, c / q])
    shares = np.where(real & np.isfinite(shares) & (shares > 0.0), shares, np.inf)
    return float(shares.min())
