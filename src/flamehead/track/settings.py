"""What a tracker believes, and how long it looks at a frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from flamehead.errors import InputError
from flamehead.fit.landmarks import LandmarkFitSettings
from flamehead.fit.photometric import PhotometricSettings

__all__ = ["TrackSettings"]


@dataclass(frozen=True)
class TrackSettings:
    """What a tracker believes, and how long it looks at a frame.

    A step of the prior from frame to frame is a standard deviation at 25 frames per second; it grows with the root of
    the time between frames.
    """

    keyframes: int = 8
    """Frames that identity, colours and lens are found from."""
    landmarks_only: bool = False
    """Follow the landmarks alone, ten times faster; colours and light are not found."""
    sizes: tuple[int, ...] = (128, 256)
    """Longer side of the face in the picture at each step of a frame, pixels; a video with fewer is not enlarged."""
    iterations: tuple[int, ...] = (2, 2)
    """Gauss-Newton steps at each."""
    calibration_sizes: tuple[int, ...] = (64, 128, 256)
    """The same for the keyframes."""
    calibration_iterations: tuple[int, ...] = (5, 5, 4)
    calibration_doubt: float = 6.0
    """Factor on the landmarks' standard deviations beside the keyframes' pixels: what a detector gets wrong about a
    person, it gets wrong in all keyframes."""
    calibration_sigma: float = 0.025
    """Noise of the keyframes' pixels: what is not explained closely (hair, shadows) must not bend the identity."""
    calibration_trust: float = 0.1
    """Weight of the keyframes' pixels against beliefs: the errors of light and colours come back in all of them."""
    landmark_doubt: float = 2.0
    """Factor on the landmarks' standard deviations beside the pixels of a frame."""
    focal_spread: float = 0.5
    """Standard deviation of the logarithm of the focal length."""
    expression_step: float = 0.5
    """Of an expression coefficient from frame to frame."""
    jaw_step: float = 0.06
    """Radians."""
    gaze_step: float = 0.3
    """Radians."""
    turn_step: float = 0.08
    """Of the head, radians."""
    shift_step: tuple[float, float, float] = (0.02, 0.02, 0.01)
    """Of the head: sideways, up, in depth; metres."""
    light_step: float = 0.15
    """Of a coefficient of the light."""
    smooth: bool = True
    """Smooth all frames at the end: strongly where little moves, hardly where much does."""
    bridge_seconds: float = 1.0
    """Longest time without a face that is interpolated."""
    photometric: PhotometricSettings = field(
        default_factory=lambda: PhotometricSettings(
            outlier=2.0, landmarks=LandmarkFitSettings(n_shape=100, n_expression=60, expression_sigma=0.7)
        )
    )
    """Weights of pixels and landmarks in a frame, and beliefs about heads, colours and light."""

    @property
    def calibration(self) -> PhotometricSettings:
        """The same for the keyframes."""
        return replace(self.photometric, sigma=self.calibration_sigma, trust=self.calibration_trust)

    def __post_init__(self) -> None:
        """Refuse sizes and steps that do not go together.

        Raises:
            InputError: As many steps as sizes are wanted, sizes of 16 pixels or more, and one keyframe or more.
        """
        for name, sizes, steps in (
            ("", self.sizes, self.iterations),
            ("calibration_", self.calibration_sizes, self.calibration_iterations),
        ):
            if not sizes or len(sizes) != len(steps) or min(sizes) < 16:
                raise InputError(
                    f"The {name}sizes {sizes} and {name}iterations {steps} of a tracker do not go together; give as "
                    "many of one as of the other, at least one, and sizes of 16 pixels or more."
                )
        if self.keyframes < 1:
            raise InputError(f"The number of keyframes is {self.keyframes}; give 1 or more, 8 by default.")
