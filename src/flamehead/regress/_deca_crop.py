"""DECA's view of a face: a square around the landmarks, 224 pixels, sampled as scikit-image samples.

Pixel coordinates here are scikit-image's: the centre of the first pixel is (0, 0).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from flamehead.data import Observation
from flamehead.detect import select
from flamehead.errors import InputError

__all__ = ["SIDE", "crop_image", "crop_matrix", "points68"]

SIDE = 224
_LANDMARK_BOX = 1.1
"""A box around landmarks is smaller than the detectors' boxes that DECA was trained with."""
_SCALE = 1.25


def points68(seen: Observation) -> Float[np.ndarray, "68 2"]:
    """The 68 points of an observation in this file's coordinates.

    Raises:
        InputError: the scheme does not hold them, or fewer than ten were seen.
    """
    points = select(np.asarray(seen.points, float), seen.scheme, "ibug68") - 0.5
    if np.isfinite(points).all(axis=1).sum() < 10:
        raise InputError("Fewer than 10 of the 68 landmarks were seen; give landmarks of a face that shows more.")
    return points


def crop_matrix(points: Float[np.ndarray, "L 2"]) -> Float[np.ndarray, "3 3"]:
    """From the image to the crop: the landmarks' box, times 1.1 and 1.25, becomes the square from 0 to 223."""
    seen = points[np.isfinite(points).all(axis=1)]
    low, high = seen.min(axis=0), seen.max(axis=0)
    size = int(float((high - low).mean()) * _LANDMARK_BOX * _SCALE)
    if size < 1:
        raise InputError("The landmarks span less than a pixel; give those of a larger face.")
    scale = (SIDE - 1) / size
    corner = (low + high) / 2 - size / 2
    return np.array([[scale, 0.0, -scale * corner[0]], [0.0, scale, -scale * corner[1]], [0.0, 0.0, 1.0]])


def crop_image(image: Float[np.ndarray, "H W 3"], matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 224 224"]:
    """The network's input: bilinear, no filter against aliasing, neighbours outside the image count as black, float32.

    `grid-constant` is the border of the original; scipy's `constant` blackens all of a sample that is partly outside.
    """
    from scipy.ndimage import map_coordinates

    back = np.linalg.inv(matrix)
    steps = np.arange(SIDE)
    x, y = (back[axis, axis] * steps + back[axis, 2] for axis in (0, 1))
    places = np.stack(np.broadcast_arrays(y[:, None], x[None, :]))
    channels = [map_coordinates(image[..., c], places, order=1, mode="grid-constant", cval=0.0) for c in range(3)]
    return np.stack(channels).astype(np.float32)
