"""Meshes, cameras and light become pictures; no gradients."""

from flamehead.render.heat import distance_chart, distance_colors
from flamehead.render.marks import links, marks
from flamehead.render.picture import CLAY, Background, Colors, Picture, blend, render, warmup
from flamehead.render.shade import STUDIO, DirectionalLight, Lighting, linear_to_srgb, shade, srgb_to_linear
from flamehead.render.sheet import overlay_sheet
from flamehead.render.views import Crop, side_view
from flamehead.render.wireframe import wireframe

__all__ = [
    "CLAY",
    "STUDIO",
    "Background",
    "Colors",
    "Crop",
    "DirectionalLight",
    "Lighting",
    "Picture",
    "blend",
    "distance_chart",
    "distance_colors",
    "linear_to_srgb",
    "links",
    "marks",
    "overlay_sheet",
    "render",
    "shade",
    "side_view",
    "srgb_to_linear",
    "warmup",
    "wireframe",
]
