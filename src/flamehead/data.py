"""The nouns that travel between the rooms: parameters, cameras, observations, fits.

Units are metres and radians. Model space: x to the subject's left, y up, z out of the face. Camera space is OpenCV's
(x right, y down, z forward); pixel centres lie at +0.5, the image's corner at (0, 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from flamehead.geometry.camera import project, world_to_camera
from flamehead.solve import Status

__all__ = [
    "Camera",
    "Fit",
    "FlameParams",
    "FrameStatus",
    "LandmarkScheme",
    "Observation",
    "Posterior",
    "TermResidual",
    "Track",
]

LandmarkScheme = Literal["ibug68", "mediapipe105", "mediapipe468", "mediapipe478"]
"""Which points a set of landmarks holds, and in which order."""


@dataclass(frozen=True)
class FlameParams:
    """Everything that drives a FLAME head. Rotations are axis-angle vectors, relative to the parent joint."""

    shape: Float[Tensor, "*batch S"]
    """Identity coefficients in standard deviations."""
    expression: Float[Tensor, "*batch E"]
    """Expression coefficients in standard deviations."""
    root: Float[Tensor, "*batch 3"]
    neck: Float[Tensor, "*batch 3"]
    jaw: Float[Tensor, "*batch 3"]
    """A positive x rotation opens the mouth."""
    left_eye: Float[Tensor, "*batch 3"]
    right_eye: Float[Tensor, "*batch 3"]
    translation: Float[Tensor, "*batch 3"]
    """Added after skinning, metres."""

    @staticmethod
    def zeros(
        n_shape: int,
        n_expression: int,
        *,
        batch: tuple[int, ...] = (),
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> FlameParams:
        """The mean head in the rest pose."""

        def zero(size: int) -> Tensor:
            return torch.zeros(*batch, size, dtype=dtype, device=device)

        return FlameParams(zero(n_shape), zero(n_expression), *(zero(3) for _ in range(6)))

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> FlameParams:
        """A copy with another dtype or on another device."""
        return FlameParams(*(getattr(self, f.name).to(dtype=dtype, device=device) for f in fields(self)))

    def row(self, index: int) -> FlameParams:
        """One head of a batch."""
        return FlameParams(*(getattr(self, f.name)[index] for f in fields(self)))

    @property
    def pose(self) -> Float[Tensor, "*batch 5 3"]:
        """The five rotations in joint order: root, neck, jaw, left eye, right eye."""
        return torch.stack([self.root, self.neck, self.jaw, self.left_eye, self.right_eye], dim=-2)


@dataclass(frozen=True)
class Camera:
    """A camera, OpenCV convention: `x_camera = rotation @ x_world + translation`; a pinhole, or parallel projection."""

    rotation: Float[Tensor, "*batch 3 3"]
    """World to camera."""
    translation: Float[Tensor, "*batch 3"]
    """Metres."""
    focal: Float[Tensor, "*batch 2"]
    """Pixels, (fx, fy); pixels per metre of a parallel projection."""
    center: Float[Tensor, "*batch 2"]
    """Principal point in pixels, (cx, cy)."""
    size: tuple[int, int]
    """Image size in pixels, (width, height)."""
    orthographic: bool = field(default=False, kw_only=True)
    """Parallel projection, `pixel = focal * (x, y) + center`: depth does not shrink things and may have any sign."""

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Camera:
        """A copy with another dtype or on another device."""
        return self._each(lambda value: value.to(dtype=dtype, device=device))

    def row(self, index: int) -> Camera:
        """One camera of a batch."""
        return self._each(lambda value: value[index])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Camera:
        values = map(change, (self.rotation, self.translation, self.focal, self.center))
        return Camera(*values, size=self.size, orthographic=self.orthographic)

    def project(self, points: Float[Tensor, "*#batch N 3"]) -> Float[Tensor, "*#batch N 2"]:
        """Pixels of world points (metres); points behind a pinhole are not masked."""
        points_camera = world_to_camera(points, self.rotation, self.translation)
        return project(points_camera, self.focal, self.center, orthographic=self.orthographic)

    @property
    def matrix(self) -> Float[Tensor, "*batch 3 3"]:
        """The intrinsic matrix K; a parallel projection multiplies (x, y, 1) by it instead of (x, y, z)."""
        k = torch.zeros(*self.focal.shape[:-1], 3, 3, dtype=self.focal.dtype, device=self.focal.device)
        k[..., 0, 0], k[..., 1, 1], k[..., 2, 2] = self.focal[..., 0], self.focal[..., 1], 1.0
        k[..., 0, 2], k[..., 1, 2] = self.center[..., 0], self.center[..., 1]
        return k


@dataclass(frozen=True)
class Observation:
    """The landmarks of one face in one image, in pixels of that image."""

    points: Float[np.ndarray, "L 2"]
    """(x, y) in pixels; a row of NaN is a point that was not seen."""
    scheme: LandmarkScheme
    size: tuple[int, int]
    """Image size in pixels, (width, height)."""
    score: float = 1.0
    """Detector confidence in [0, 1]; 1 for landmarks from a file."""
    source: str = "file"
    """Who saw them: `"file"` or the detector's name and version."""


@dataclass(frozen=True)
class TermResidual:
    """How well one term of a fit, such as the nose's landmarks or the prior of the jaw, is met."""

    count: int
    """Residuals in the term; points that were not seen are not counted."""
    rms: float
    """Root mean square in the standard deviations that the fit assumes; 1 is as expected of landmarks."""
    cost: float
    """Share of the loss, 0.5 * sum of squares with the robust weights."""


@dataclass(frozen=True)
class Posterior:
    """What a fit knows about its unknowns: a Gaussian around the solution, in the fit's own float64 unknowns."""

    residuals: Mapping[str, TermResidual]
    """By term: landmarks first, then beliefs."""
    noise: float
    """The landmarks' noise, estimated from their residuals, over the assumed one; 1 is as assumed."""
    covariance: Float[np.ndarray, "N N"]
    """Of all unknowns, in the order of `columns`."""
    columns: Mapping[str, slice]
    """Rows and columns of each unknown: `shape`, `expression`, `translation` (metres), `root` (a small rotation about
    the world's axes, radians), `jaw`, `eyes` (left pitch and yaw, right pitch and yaw), and `log_focal` if it was
    estimated. The neck and the components that a fit leaves at zero are taken as known."""
    shift: Float[np.ndarray, "N"]
    """Posterior mean minus solution: the most probable head is a little too near and too small, because a nearer head
    needs fewer of its coefficients. `flamehead.fit.expected_params` applies it; intervals have the mean in their
    middle."""
    warnings: tuple[str, ...] = ()
    """What the observation does not tell, one sentence each."""

    @property
    def deviation(self) -> dict[str, Float[np.ndarray, "_"]]:
        """Standard deviation of each unknown, by its name."""
        all_of_them = np.sqrt(np.maximum(self.covariance.diagonal(), 0.0))
        return {name: all_of_them[where] for name, where in self.columns.items()}


@dataclass(frozen=True)
class Fit:
    """A head fitted to one observation."""

    params: FlameParams
    camera: Camera
    status: Status
    """Why the solver stopped; `str(status)` is a sentence."""
    loss: float
    """Final cost, 0.5 * sum of squared weighted residuals, priors included."""
    observation: Observation
    fitted: Float[np.ndarray, "L 2"]
    """The model's landmarks in pixels, in the observation's order; NaN where the model has no such point."""
    fingerprint: str
    """Fingerprint of the model that `params` belong to."""
    evidence: Callable[[], Posterior] | None = field(default=None, repr=False, compare=False, kw_only=True)
    """Computes `posterior`; None where the recipe keeps none."""

    @cached_property
    def posterior(self) -> Posterior | None:
        """What the fit knows and what it does not; computed when first asked for, None where nothing was kept."""
        return None if self.evidence is None else self.evidence()

    @property
    def landmark_ids(self) -> Int[np.ndarray, "K"]:
        """Rows of `fitted` that the model can place."""
        return np.flatnonzero(np.isfinite(self.fitted).all(axis=1))


class FrameStatus(IntEnum):
    """What is known of one frame of a track."""

    TRACKED = 0
    """The face was seen and followed."""
    BRIDGED = 1
    """The face was not seen, or what was seen was not the face; the head is interpolated between the frames before and
    after."""
    LOST = 2
    """Likewise, and nothing bridges the gap; the head is that of the nearest tracked frame."""


@dataclass(frozen=True)
class Track:
    """One head followed through a video: row t of every array belongs to frame t."""

    params: FlameParams
    """Batch (T,); one identity, the same in every row."""
    camera: Camera
    """Batch (T,). Our tracker's cameras stand still in the origin and the head moves; other tools' may move."""
    frames: Int[np.ndarray, "T"]
    """Which frame of the source each row shows, counted from 0; increasing."""
    times: Float[np.ndarray, "T"]
    """Seconds since the start of the source; frames need not be evenly spaced."""
    status: Int[np.ndarray, "T"]
    """`FrameStatus` of each frame, int8."""
    fingerprint: str
    """Of the model that `params` belong to."""
    scene: Int[np.ndarray, "T"] | None = None
    """Number of the shot, from 0; nothing is smoothed across cuts. None is one shot."""
    eyelids: Float[np.ndarray, "T 2"] | None = None
    """How far the left and the right eye are closed by the model's eyelid fields; None where it has none."""
    landmarks: Float[np.ndarray, "T L 2"] | None = None
    """What was detected, pixels; NaN where nothing was."""
    scheme: LandmarkScheme = "mediapipe478"
    """Of `landmarks`."""
    landmark_error: Float[np.ndarray, "T"] | None = None
    """Mean distance of fitted to detected landmarks, percent of the outer-eye distance; NaN where none were seen."""
    photometric_error: Float[np.ndarray, "T"] | None = None
    """Mean absolute difference of sRGB over the face's visible pixels; NaN where it was not measured."""
    visible: Float[np.ndarray, "T"] | None = None
    """Share of the face's pixels that the model explains; hands and hair lower it. NaN where it was not measured."""
    albedo: Float[np.ndarray, "K"] | None = None
    """Coefficients of the texture space, one for the whole track."""
    light: Float[np.ndarray, "T 9 3"] | None = None
    """Spherical harmonics in the camera's frame (x right, y down, z forward), linear RGB."""
    source: str = ""
    """The video or folder."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the tracker was told, as plain numbers and text."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the programs that made it."""
    warnings: tuple[str, ...] = ()
    """What a reader should know, one sentence each."""

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def fps(self) -> float:
        """Mean frames per second; 25 for a single frame."""
        span = float(self.times[-1] - self.times[0]) if len(self) else 0.0
        return (len(self) - 1) / span if span > 0 else 25.0

    @property
    def tracked(self) -> Bool[np.ndarray, "T"]:
        """Frames in which the face was seen."""
        return self.status == FrameStatus.TRACKED
