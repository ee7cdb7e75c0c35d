"""Triangles to pixels; knows no heads."""

from flamehead.raster.fragments import Fragments, gather
from flamehead.raster.interpolate import interpolate
from flamehead.raster.triangles import Backend, rasterize, warmup

__all__ = ["Backend", "Fragments", "gather", "interpolate", "rasterize", "warmup"]
