"""Video to track: calibrate once, then follow frame by frame."""

from flamehead.track.calibrate import Calibration, calibrate
from flamehead.track.keyframes import choose_keyframes
from flamehead.track.settings import TrackSettings

__all__ = ["Calibration", "TrackSettings", "calibrate", "choose_keyframes"]
