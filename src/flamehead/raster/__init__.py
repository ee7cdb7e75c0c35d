"""Triangles to pixels; knows no heads."""

from flamehead.raster.antialias import antialias
from flamehead.raster.edges import Edges, edges_of
from flamehead.raster.fragments import Fragments, gather
from flamehead.raster.interpolate import interpolate
from flamehead.raster.paint import paint
from flamehead.raster.rasterizer import Backend, rasterize, warmup

__all__ = [
    "Backend",
    "Edges",
    "Fragments",
    "antialias",
    "edges_of",
    "gather",
    "interpolate",
    "paint",
    "rasterize",
    "warmup",
]
