"""Compilation of kernels, under the name that the rooms above the rasterizer know."""

from flamehead._compile import compiled

__all__ = ["compiled"]
