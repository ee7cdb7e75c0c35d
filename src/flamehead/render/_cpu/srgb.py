"""The sRGB curves in numba, one pass over memory each; formulas are those of `flamehead.render.srgb`."""

from __future__ import annotations

import numpy as np

from flamehead.raster._compile import compiled

__all__ = ["decode", "decode_backward", "encode", "encode_backward", "encoded", "encoding_slope"]


@compiled(inline="always")
def encoded(x):
    """One value; see `encode_srgb`."""
    if x <= np.float32(0.0031308):
        return x * np.float32(12.92)
    return np.float32(1.055) * x ** np.float32(1.0 / 2.4) - np.float32(0.055)


@compiled(inline="always")
def encoding_slope(x, y):
    """The derivative of `encoded` at x, where it is y: no second power is needed."""
    if x <= np.float32(0.0031308):
        return np.float32(12.92)
    return (y + np.float32(0.055)) / (np.float32(2.4) * x)


@compiled(nogil=True)
def encode(color, out):
    """Over a flat list."""
    for n in range(color.shape[0]):
        out[n] = encoded(color[n])


@compiled(nogil=True)
def encode_backward(color, out, g_out, g_color):
    """Over flat lists."""
    for n in range(color.shape[0]):
        g_color[n] = g_out[n] * encoding_slope(color[n], out[n])


@compiled(nogil=True)
def decode(color, out):
    """Over a flat list."""
    for n in range(color.shape[0]):
        s = color[n]
        if s <= np.float32(0.04045):
            out[n] = s * np.float32(1.0 / 12.92)
        else:
            out[n] = ((s + np.float32(0.055)) * np.float32(1.0 / 1.055)) ** np.float32(2.4)


@compiled(nogil=True)
def decode_backward(color, out, g_out, g_color):
    """Over flat lists."""
    for n in range(color.shape[0]):
        s = color[n]
        if s <= np.float32(0.04045):
            g_color[n] = g_out[n] * np.float32(1.0 / 12.92)
        else:
            g_color[n] = g_out[n] * np.float32(2.4) * out[n] / (s + np.float32(0.055))
