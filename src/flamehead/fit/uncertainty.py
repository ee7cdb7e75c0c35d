"""What a fit knows: the posterior around its solution, and warnings in words.

At the minimum of `0.5 * |r_data|^2 + 0.5 * |r_prior|^2`, with D = J_data^T W J_data, P = J_prior^T J_prior and
H = D + P (Gauss-Newton, robust weights W), an estimate x of a truth that follows the prior errs by
`H^-1 (J_data^T n - P x)`. With noise n of s times the assumed standard deviation its covariance is

    C = H^-1 (s^2 D + P) H^-1,

which is the Laplace approximation H^-1 when s = 1 (Bishop, "Pattern Recognition and Machine Learning" (2006), 4.4).
The noise comes from the residuals, `s^2 = r^T W r / (m - tr(H^-1 D))`: m seen coordinates less the unknowns that the
data, not the prior, decides.

The solution is the mode of the posterior. Its mean lies at `x - 1/2 C grad log det H` (Tierney and Kadane, "Accurate
approximations for posterior moments" (1986), to first order), and the difference matters: D grows like the square of
the head's size in the image, so the mode prefers heads that are too near, by about as much as the depth is uncertain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.linalg import cho_factor, cho_solve

from flamehead.assets.model_file import LandmarkEmbedding
from flamehead.data import Fit, FlameParams, Posterior, TermResidual
from flamehead.errors import InputError
from flamehead.fit._so3 import exp, log
from flamehead.fit.landmark_model import Columns, HeadState, build_landmark_model, landmark_points
from flamehead.fit.residuals import ImageTargets
from flamehead.solve import RobustBlock, robust_cost, single_threaded_blas

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = [
    "System",
    "bending",
    "covariance_and_noise",
    "describe_uncertainty",
    "doubts",
    "expected_params",
    "linearize",
    "natural_columns",
    "natural_units",
    "posterior_of",
    "state_of",
    "vertex_deviation",
]

_OUTSIDE = 0.25
"""Share of the face's points beyond the image's border, or not seen, that is worth a warning."""
_UNLEARNT = 0.8
"""Posterior over prior deviation from which an observation is said not to tell a quantity."""
_AMBIGUOUS = 0.5
"""Deviation of the jaw for a known expression, over that for an unknown one, below which the two are confused."""
_NOTICEABLE_JAW = 0.035
"""Deviation of the jaw's opening that matters, radians; 2 degrees open a mouth by about 3 mm."""
_SHARE_OF_DEVIATION = 0.05
"""Step of the finite differences of the Hessian."""
_CHUNK = 1024


@dataclass(frozen=True)
class System:
    """A least-squares problem around its solution."""

    data: Float[np.ndarray, "N N"]
    """D, the landmarks' share of the Hessian."""
    prior: Float[np.ndarray, "N N"]
    """P, the share of what is believed."""
    squares: float
    """r^T W r of the landmarks."""
    count: int
    """m, the coordinates that were seen."""
    residuals: Mapping[str, TermResidual]


def linearize(
    residuals: Float[np.ndarray, "M"],
    jacobian: Float[np.ndarray, "M N"],
    seen: Bool[np.ndarray, "M"],
    terms: Mapping[str, Int[np.ndarray, "_"]],
    robust: Sequence[RobustBlock],
) -> System:
    """Split a problem into what was seen and what is believed.

    Args:
        residuals: At the solution, in standard deviations.
        jacobian: By the unknowns.
        seen: Rows of landmarks that were seen; the other rows are beliefs, or zero.
        terms: Rows by the name of their term; empty terms are left out.
        robust: Losses of the residuals.
    """
    weights = robust_cost(residuals, robust)[1]
    weighted = residuals**2 if weights is None else residuals**2 * weights
    scaled = jacobian if weights is None else jacobian * np.sqrt(weights)[:, None]
    data, beliefs = scaled[seen], scaled[~seen]
    by_term = {
        name: TermResidual(len(rows), float(np.sqrt(np.mean(residuals[rows] ** 2))), 0.5 * float(weighted[rows].sum()))
        for name, rows in terms.items()
        if len(rows)
    }
    return System(data.T @ data, beliefs.T @ beliefs, float(weighted[seen].sum()), int(seen.sum()), by_term)


def covariance_and_noise(
    data: Float[np.ndarray, "N N"], prior: Float[np.ndarray, "N N"], *, squares: float, count: int
) -> tuple[Float[np.ndarray, "N N"], float]:
    """C and s of the module's formula."""
    inverse = cho_solve(cho_factor(data + prior), np.eye(len(data)))
    # The trace of a product of symmetric matrices needs no product.
    freedom = max(count - float((inverse * data).sum()), 1.0)
    noise = squares / freedom
    return inverse @ (noise * data + prior) @ inverse, float(np.sqrt(noise))


def natural_columns(columns: Columns, *, free_focal: bool) -> dict[str, slice]:
    """Names of the fitter's unknowns, which leave out the neck and put the focal length last."""
    stop = columns.eyes.stop
    names = ("shape", "expression", "translation", "root", "jaw", "eyes")
    found = {name: getattr(columns, name) for name in names}
    return found | ({"log_focal": slice(stop, stop + 1)} if free_focal else {})


def natural_units(state: HeadState, columns: Mapping[str, slice]) -> Float[np.ndarray, "N N"]:
    """From the solver's step to the unknowns: a longer lens takes the head's distance along, d tz = tz d log_focal."""
    size = max(where.stop for where in columns.values())
    turn = np.eye(size)
    if "log_focal" in columns:
        turn[columns["translation"].start + 2, columns["log_focal"].start] = state.translation[2]
    return turn


def posterior_of(
    system: System,
    near: Callable[[Float[np.ndarray, "N"]], System],
    units: Float[np.ndarray, "N N"],
    columns: Mapping[str, slice],
    *,
    bends: Int[np.ndarray, "_"] | None = None,
) -> Posterior:
    """The posterior of a problem, without warnings.

    Args:
        system: Around the solution.
        near: The problem around a state that is a step away from the solution.
        units: From the solver's steps to the unknowns.
        columns: Of the unknowns.
        bends: Components of the solver's step along which the Hessian changes; None is the pose and the focal length.
    """
    covariance, noise = covariance_and_noise(system.data, system.prior, squares=system.squares, count=system.count)
    slope = np.zeros(len(covariance))
    level = _log_determinant(system)
    for index in bending(columns) if bends is None else bends:
        step = np.zeros(len(covariance))
        step[index] = _SHARE_OF_DEVIATION * np.sqrt(covariance[index, index])
        slope[index] = (_log_determinant(near(step)) - level) / step[index]
    shift = -0.5 * covariance @ slope
    return Posterior(system.residuals, noise, units @ covariance @ units.T, columns, units @ shift)


def bending(columns: Mapping[str, slice]) -> Int[np.ndarray, "_"]:
    """Unknowns along which a Hessian changes; it hardly does along the others."""
    return np.r_[tuple(columns[name] for name in ("translation", "root", "log_focal", "log_scale") if name in columns)]


def _log_determinant(system: System) -> float:
    return 2.0 * float(np.log(cho_factor(system.data + system.prior)[0].diagonal()).sum())


def doubts(
    posterior: Posterior,
    placed: Float[np.ndarray, "L 2"],
    targets: ImageTargets,
    *,
    size: tuple[int, int],
    believed: Mapping[str, float],
) -> tuple[str, ...]:
    """What an image does not tell about a head, in words.

    Args:
        posterior: Of the fit.
        placed: Landmarks of the fitted head in pixels; NaN behind the camera.
        targets: What was seen.
        size: Of the image, pixels.
        believed: Prior deviation of `jaw` (opening) and `log_focal`.
    """
    found = []
    outside = ~((placed >= 0.0) & (placed <= np.array(size))).all(axis=1)
    unseen = ~targets.whitening.any(axis=(1, 2))
    if max(outside.mean(), unseen.mean()) > _OUTSIDE:
        found.append(
            f"{100 * max(outside.mean(), unseen.mean()):.0f} % of the face lies out of the frame or was not seen; "
            "that side of the head is a guess."
        )
    deviation = posterior.deviation
    if "log_focal" in deviation and deviation["log_focal"][0] > _UNLEARNT * believed["log_focal"]:
        found.append(
            f"The focal length is not observable here (known to {100 * deviation['log_focal'][0]:.0f} %), and with it "
            "the distance of the head; give it with --focal if it is known."
        )
    jaw = float(deviation["jaw"][0])
    if jaw > _NOTICEABLE_JAW and _given_expression(posterior) < _AMBIGUOUS * jaw:
        found.append(
            f"Jaw and expression are ambiguous: the jaw's opening is known to {np.rad2deg(jaw):.1f} degrees only, "
            "because expressions move the lips the same way."
        )
    return tuple(found)


def _given_expression(posterior: Posterior) -> float:
    """Deviation of the jaw's opening if the expression were known."""
    c, jaw, faces = posterior.covariance, posterior.columns["jaw"].start, posterior.columns["expression"]
    if faces.start == faces.stop:
        return float(np.sqrt(c[jaw, jaw]))
    explained = c[jaw, faces] @ np.linalg.solve(c[faces, faces], c[faces, jaw])
    return float(np.sqrt(max(c[jaw, jaw] - explained, 0.0)))


def expected_params(fit: Fit) -> FlameParams:
    """The mean of a fit's posterior, in the middle of its intervals; the fit itself is the most probable head.

    Raises:
        InputError: The fit holds no posterior.
    """
    posterior = _posterior(fit)
    state, params = state_of(fit.params, posterior.columns), fit.params
    shift = {name: posterior.shift[where] for name, where in posterior.columns.items()}

    def changed(name: str, by: Float[np.ndarray, "n"]) -> torch.Tensor:
        value = getattr(params, name)
        padded = np.append(by, np.zeros(len(value) - len(by)))
        return value + torch.as_tensor(padded).to(dtype=value.dtype, device=value.device)

    root = torch.as_tensor(log(exp(shift["root"]) @ state.root)).to(params.root)
    names = ("shape", "expression", "translation", "jaw")
    eyes = {"left_eye": changed("left_eye", shift["eyes"][:2]), "right_eye": changed("right_eye", shift["eyes"][2:])}
    return replace(params, root=root, **eyes, **{name: changed(name, shift[name]) for name in names})


def _posterior(fit: Fit) -> Posterior:
    posterior = fit.posterior
    if posterior is None:
        raise InputError(
            "The fit holds no posterior (it was read from a file, or made by a recipe without); fit again."
        )
    return posterior


@single_threaded_blas()
def vertex_deviation(
    flame: Flame,
    fit: Fit,
    *,
    vertices: Int[np.ndarray, "K"] | None = None,
    frame: Literal["head", "world"] = "head",
) -> Float[np.ndarray, "K 3"]:
    """Posterior standard deviation of vertex positions in millimetres, along x, y and z.

    Args:
        flame: The model of the fit.
        fit: With a posterior.
        vertices: Which; None is all.
        frame: `"head"` is about the head's form: its own axes, pose taken away. `"world"` has the uncertainty of pose
            and distance in it, along the world's axes.

    Raises:
        InputError: The fit holds no posterior, or belongs to another model.

    Example:
        >>> fit = fit_landmarks(flame, seen)  # doctest: +SKIP
        >>> vertex_deviation(flame, fit, vertices=flame.regions["face"]).mean()  # doctest: +SKIP
        1.6
    """
    posterior = _posterior(fit)
    if flame.fingerprint != fit.fingerprint:
        raise InputError(
            f"The fit belongs to the model {fit.fingerprint}, but got {flame.fingerprint}; give its model."
        )
    ids = np.arange(len(flame.arrays.template)) if vertices is None else np.asarray(vertices)
    columns = posterior.columns
    state = state_of(fit.params, columns)
    used = np.r_[tuple(columns[name] for name in ("shape", "expression", "translation", "root", "jaw", "eyes"))]
    if frame == "head":
        state = replace(state, root=np.eye(3), translation=np.zeros(3))
        used = np.setdiff1d(used, np.r_[columns["translation"], columns["root"]])
    factor = _root(posterior.covariance[np.ix_(used, used)])
    parts = [_deviation(flame, state, part, used, factor) for part in np.array_split(ids, 1 + len(ids) // _CHUNK)]
    return 1000.0 * np.concatenate(parts)


def describe_uncertainty(flame: Flame, fit: Fit, *, vertices: Int[np.ndarray, "K"] | None = None) -> dict[str, Any]:
    """What `report.json` says about a fit's posterior; nothing for a fit that holds none.

    Args:
        flame: The model of the fit.
        fit: Any.
        vertices: Over which `vertex_mm`, the median standard distance of the head's form, is taken; None is all.
    """
    posterior = fit.posterior
    if posterior is None:
        return {}
    spread = posterior.deviation
    form = vertex_deviation(flame, fit, vertices=vertices)
    lens = spread.get("log_focal")
    return {
        "noise": posterior.noise,
        "residuals": {name: term.rms for name, term in posterior.residuals.items()},
        "vertex_mm": float(np.median(np.linalg.norm(form, axis=1))),
        "pose_degrees": float(np.rad2deg(np.linalg.norm(spread["root"]))),
        "jaw_degrees": float(np.rad2deg(spread["jaw"][0])),
        "distance_mm": 1000.0 * float(spread["translation"][2]),
        "focal_percent": None if lens is None else 100.0 * float(lens[0]),
        "warnings": list(posterior.warnings),
    }


def _deviation(
    flame: Flame,
    state: HeadState,
    ids: Int[np.ndarray, "K"],
    used: Int[np.ndarray, "U"],
    factor: Float[np.ndarray, "U U"],
) -> Float[np.ndarray, "K 3"]:
    """Metres, by the Jacobian of the vertices, which are landmarks at the corners of triangles."""
    rows = LandmarkEmbedding(*_corners(flame.arrays.faces, ids))
    model = build_landmark_model(flame.arrays, rows, n_shape=len(state.shape), n_expression=len(state.expression))
    jacobian = landmark_points(model, state)[1][..., used]
    return np.linalg.norm(jacobian.reshape(-1, len(used)) @ factor, axis=1).reshape(-1, 3)


def _corners(
    faces: Int[np.ndarray, "F 3"], ids: Int[np.ndarray, "K"]
) -> tuple[Int[np.ndarray, "K"], Float[np.ndarray, "K 3"]]:
    """A triangle that holds each vertex, and its barycentric coordinates there."""
    holder = np.full(int(faces.max()) + 1, -1)
    holder[faces.reshape(-1)] = np.arange(faces.size)
    if len(ids) and (ids.min() < 0 or ids.max() >= len(holder) or (holder[ids] < 0).any()):
        raise InputError("Some of the vertices are in no triangle of the model; give vertex numbers of its mesh.")
    return holder[ids] // 3, np.eye(3)[holder[ids] % 3]


def _root(covariance: Float[np.ndarray, "U U"]) -> Float[np.ndarray, "U U"]:
    """F with F F^T = C, also where C is singular to rounding."""
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    return vectors * np.sqrt(np.maximum(values, 0.0))


def state_of(params: FlameParams, columns: Mapping[str, slice]) -> HeadState:
    """The parameters of one head as the fitter holds them, cut to the components it moved; its focal length is 1."""

    def array(name: str) -> Float[np.ndarray, "n"]:
        return getattr(params, name).detach().cpu().numpy().astype(np.float64)

    count = {name: columns[name].stop - columns[name].start for name in ("shape", "expression")}
    return HeadState(
        shape=array("shape")[: count["shape"]],
        expression=array("expression")[: count["expression"]],
        neck=array("neck"),
        jaw=array("jaw"),
        eyes=np.stack([array("left_eye")[:2], array("right_eye")[:2]]),
        root=exp(array("root")),
        translation=array("translation"),
        log_focal=0.0,
    )
