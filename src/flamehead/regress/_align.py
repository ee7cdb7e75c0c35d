"""ArcFace's alignment: five points of a face to a template, and the picture warped as OpenCV warps it.

Pixel coordinates here are OpenCV's and insightface's: the centre of the first pixel is (0, 0).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

__all__ = ["TEMPLATE", "blob_of", "similarity", "warp"]

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where eye, eye, nose tip, mouth corner and mouth corner lie in a crop of 112 pixels, each pair from left to right."""
TEMPLATE.setflags(write=False)

_FRACTIONS = 32
"""OpenCV rounds the place of a sample to this part of a pixel."""


def similarity(source: Float[np.ndarray, "N 2"], target: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "2 3"]:
    """The rotation, scale and shift that take `source` nearest to `target` in the least squares, never mirrored.

    In complex numbers, with the means taken off: `target = a source`, `a = sum(conj(source) target) / sum |source|^2`;
    without mirrors this is Umeyama's solution (PAMI 1991).
    """
    p, q = (points[:, 0] + 1j * points[:, 1] for points in (np.asarray(source, float), np.asarray(target, float)))
    spread = p - p.mean()
    a = np.vdot(spread, q - q.mean()) / np.vdot(spread, spread).real
    b = q.mean() - a * p.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def warp(
    image: UInt8[np.ndarray, "H W 3"], matrix: Float[np.ndarray, "2 3"], size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """`cv2.warpAffine(image, matrix, (size, size))`: bilinear in its fixed-point arithmetic, black outside.

    Args:
        image: 8-bit, any order of channels.
        matrix: from the picture to the crop.
        size: of the crop in pixels.
    """
    back = np.linalg.inv(np.vstack([matrix, [0.0, 0.0, 1.0]]))[:2]
    steps = np.arange(size)
    # Thousandths (1024) of a pixel, rounded to 32 parts, as the original tables are.
    x, y = (
        (np.rint(row[0] * steps * 1024)[None] + np.rint((row[1] * steps + row[2]) * 1024)[:, None] + 16) // _FRACTIONS
        for row in back
    )
    column, row, fx, fy = x // _FRACTIONS, y // _FRACTIONS, x % _FRACTIONS, y % _FRACTIONS
    total = np.zeros((size, size, 3))
    for dy, wy in ((0, _FRACTIONS - fy), (1, fy)):
        for dx, wx in ((0, _FRACTIONS - fx), (1, fx)):
            total += (wx * wy)[..., None] * _pixels(image, row + dy, column + dx)
    return ((total + _FRACTIONS**2 // 2) // _FRACTIONS**2).astype(np.uint8)


def _pixels(
    image: UInt8[np.ndarray, "H W 3"], rows: Float[np.ndarray, "h w"], columns: Float[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    height, width = image.shape[:2]
    inside = (0 <= rows) & (rows < height) & (0 <= columns) & (columns < width)
    found = image[np.where(inside, rows, 0).astype(np.int64), np.where(inside, columns, 0).astype(np.int64)]
    return found * inside[..., None]


def blob_of(crop: UInt8[np.ndarray, "112 112 3"]) -> Float[np.ndarray, "3 112 112"]:
    """The network's input, float32 in [-1, 1]: the divisor is 127.5 here, and 128 in the detector."""
    return np.ascontiguousarray(((crop.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1))
