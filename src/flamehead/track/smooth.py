"""Smooth a track over all its frames, forwards and backwards at once, and bridge frames in which no face was seen.

Each number x_t of the rows becomes the minimum over y of

    sum_t w_t (y_t - x_t)^2 + stiffness sum_t r_t (y_{t-1} - 2 y_t + y_{t+1})^2 + tie sum_t (y_t - y_{t-1})^2

(Whittaker, 1923). The head's place is that of the middle of its face in the picture, and the logarithm of its depth:
what is uncertain about a turn then does not move it. A frame's weight w_t falls with what its pixels are worth, so that
a hand before the face is passed by; r_t falls where y bends much more than the frames' noise explains, so that blinks
and words keep their edges.
"""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import solveh_banded
from scipy.spatial.transform import Rotation

from flamehead.data import FrameStatus
from flamehead.track.follow import RowLayout
from flamehead.track.settings import TrackSettings

__all__ = ["bridged", "noise_of", "reliability", "smooth", "whittaker"]

_STIFFNESS = {"expression": 0.5, "jaw": 0.5, "eyes": 0.5, "root": 5.0, "translation": 5.0, "light": 5.0}
_DISTRUST = {"root": 8.0, "translation": 8.0, "jaw": 6.0, "expression": 3.0, "eyes": 3.0, "light": 3.0}
"""Power of a frame's reliability that it counts with: a hand leads pose and jaw astray most, eyes are seldom hidden."""
_TIE = 1e-3
"""Keeps bridges straight: without it, curves run on with the speed that they had before a gap."""
_FAST = 3.0
"""Bend, in standard deviations of what noise makes, from which a movement is taken for real."""
_PASSES = 4
_DOUBTFUL = 0.6
"""Worth of a frame's pixels, of the usual frames', below which something seems to cover the face."""


def smooth(
    rows: Float[np.ndarray, "T W"],
    layout: RowLayout,
    *,
    times: Float[np.ndarray, "T"],
    scene: Int[np.ndarray, "T"],
    settings: TrackSettings,
    joint: Float[np.ndarray, "3"],
    middle: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "T W"]:
    """The rows, smoothed and bridged; status says which are bridges. Nothing crosses a cut.

    Args:
        rows: Of a `Follower`.
        layout: Its layout.
        times: Seconds.
        scene: Number of the shot of each frame.
        settings: `smooth` false bridges gaps only.
        joint: The root of this person, about which the head turns, metres.
        middle: Of the face at rest.
    """
    out = rows.copy()
    parts = layout.parts(out)
    lever = middle - joint
    parts["translation"][:] = _to_view(parts["root"], parts["translation"], joint, lever)
    lost = parts["quality"][:, 0] != FrameStatus.TRACKED
    trust = reliability(parts["quality"]) if settings.smooth else np.ones(len(rows))
    for number in np.unique(scene):
        where = np.flatnonzero(scene == number)
        seen = where[~lost[where]]
        if not seen.size:
            continue
        gaps = bridged(~lost[where], times[where], settings.bridge_seconds)
        whole = where[gaps | ~lost[where]]
        for run in np.split(whole, np.flatnonzero(np.diff(whole) > 1) + 1):
            _smooth_run(parts, run, np.where(lost[run], 0.0, trust[run]), 1.0 if settings.smooth else 1e-9)
        parts["quality"][where[gaps], 0] = FrameStatus.BRIDGED
        _hold(out, where, lost[where] & ~gaps, layout)
    parts["translation"][:] = _from_view(parts["root"], parts["translation"], joint, lever)
    if not settings.smooth:
        # What holds bridges straight pulls at their neighbours a little.
        out[~lost] = rows[~lost]
    return out


def _to_view(
    root: Float[np.ndarray, "T 3"], translation: Float[np.ndarray, "T 3"], joint: np.ndarray, lever: np.ndarray
) -> Float[np.ndarray, "T 3"]:
    """Slopes of the ray to the middle of the face, and the logarithm of its depth."""
    point = Rotation.from_rotvec(root).apply(lever) + joint + translation
    depth = np.maximum(-point[:, 2], 1e-6)
    return np.stack([point[:, 0] / depth, point[:, 1] / depth, np.log(depth)], axis=1)


def _from_view(
    root: Float[np.ndarray, "T 3"], view: Float[np.ndarray, "T 3"], joint: np.ndarray, lever: np.ndarray
) -> Float[np.ndarray, "T 3"]:
    """The inverse of `_to_view`."""
    depth = np.exp(view[:, 2])
    point = np.stack([view[:, 0] * depth, view[:, 1] * depth, -depth], axis=1)
    return point - Rotation.from_rotvec(root).apply(lever) - joint


def reliability(quality: Float[np.ndarray, "T Q"]) -> Float[np.ndarray, "T"]:
    """What the pixels of each frame are worth against the track's usual frames, at most 1; 1 where it is not known."""
    worth = quality[:, 4]
    known = np.isfinite(worth) & (quality[:, 0] == FrameStatus.TRACKED)
    if not known.any():
        return np.ones(len(worth))
    ratio = np.where(known, worth, np.inf) / (_DOUBTFUL * np.median(worth[known]))
    ratio = np.clip(ratio, 0.01, 1.0)
    # What comes into the picture or leaves it disturbs before it is noticed.
    near = np.pad(ratio, 1, mode="edge")
    return np.minimum(np.minimum(near[:-2], near[2:]), ratio)


def bridged(seen: Bool[np.ndarray, "N"], times: Float[np.ndarray, "N"], longest: float) -> Bool[np.ndarray, "N"]:
    """Frames without a face between frames with one, in gaps that are short enough."""
    out = np.zeros(len(seen), dtype=bool)
    rows = np.flatnonzero(seen)
    for before, after in itertools.pairwise(rows.tolist()):
        if after - before > 1 and times[after] - times[before] <= longest + 1e-9:
            out[before + 1 : after] = True
    return out


def noise_of(values: Float[np.ndarray, "T N"]) -> Float[np.ndarray, "N"]:
    """Standard deviation of white noise, from the quieter half of the third differences of each column."""
    if len(values) < 8:
        return np.zeros(values.shape[1])
    third = np.abs(np.diff(values, n=3, axis=0))
    # The lower quartile of |N(0, 20 s^2)| lies at 0.3186 of its deviation; movements are in the upper half.
    return np.percentile(third, 25, axis=0) / (0.3186 * np.sqrt(20.0))


def whittaker(
    values: Float[np.ndarray, "T"],
    weights: Float[np.ndarray, "T"],
    bends: Float[np.ndarray, "T-2"],
    *,
    stiffness: float,
    tie: float = _TIE,
) -> Float[np.ndarray, "T"]:
    """One smoothed curve; `bends` are the weights of the second differences."""
    count = len(values)
    if count < 3:
        return values.copy()
    bands = np.zeros((3, count))
    b = stiffness * bends
    diagonal = weights + 1e-12
    diagonal[:-2] += b
    diagonal[1:-1] += 4.0 * b
    diagonal[2:] += b
    diagonal[:-1] += tie
    diagonal[1:] += tie
    bands[2] = diagonal
    bands[1, 1:] -= tie
    bands[1, 1:-1] -= 2.0 * b
    bands[1, 2:] -= 2.0 * b
    bands[0, 2:] = b
    return solveh_banded(bands, weights * values, check_finite=False)


def _smooth_run(
    parts: dict[str, Float[np.ndarray, "T _"]], run: Int[np.ndarray, "N"], trust: np.ndarray, share: float
) -> None:
    """Smooth one uninterrupted run of frames in place."""
    if len(run) < 3:
        return
    for name, stiffness in _STIFFNESS.items():
        weights = trust ** _DISTRUST[name]
        values = np.where(weights[:, None] > 0.0, parts[name][run], 0.0)
        if name == "root":
            values = _unwrapped(values, weights > 0.0)
        noise = noise_of(values[trust > 0.8])
        for column in range(values.shape[1]):
            x, bends = values[:, column], np.ones(len(run) - 2)
            y = x
            for _ in range(_PASSES):
                y = whittaker(x, weights, bends, stiffness=share * stiffness)
                bend = np.diff(y, n=2)
                # Noise of deviation s bends a curve by sqrt(6) s before it is smoothed.
                limit = max(_FAST * float(noise[column]), 1e-12)
                bends = 1.0 / (1.0 + (bend / limit) ** 2) ** 2
            parts[name][run, column] = y


def _unwrapped(turns: Float[np.ndarray, "N 3"], known: Bool[np.ndarray, "N"]) -> Float[np.ndarray, "N 3"]:
    """Axis-angle vectors that do not jump by a whole turn between neighbours."""
    out, last = turns.copy(), None
    for t in np.flatnonzero(known):
        angle = np.linalg.norm(out[t])
        if last is not None and angle > 1e-6:
            other = out[t] * (1.0 - 2.0 * np.pi / angle)
            if np.linalg.norm(other - last) < np.linalg.norm(out[t] - last):
                out[t] = other
        last = out[t]
    return out


def _hold(
    rows: Float[np.ndarray, "T W"], where: Int[np.ndarray, "N"], alone: Bool[np.ndarray, "N"], layout: RowLayout
) -> None:
    """Give frames that nothing bridges the head of the nearest frame that has one."""
    known = np.flatnonzero(~alone)
    for t in np.flatnonzero(alone):
        nearest = where[known[np.abs(known - t).argmin()]]
        quality = layout.parts(rows)["quality"][where[t]].copy()
        rows[where[t]] = rows[nearest]
        layout.parts(rows)["quality"][where[t]] = quality
